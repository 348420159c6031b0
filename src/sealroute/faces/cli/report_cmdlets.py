"""Get-OutboundConnectorReport: which connectors carried mail to which domains, how much, and by which TLS version."""

from __future__ import annotations

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.cmdlets import Bound, CliContext, Cmdlet, CmdletParameter, register
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import Format, emit
from sealroute.faces.cli.queue_destinations import domain_pattern
from sealroute.faces.cli.report import connector_rows
from sealroute.services import report
from sealroute.services.trace import parse_date

_WHEN = "2026-01-31T12:00:00Z, 2026-01-31, 01/31/2026 12:00:00; UTC unless a zone is given"
REPORT = (
    CmdletParameter("Domain", "Only mail for this recipient domain; * is a wildcard.", position=1),
    CmdletParameter("StartDate", "Received at or after this; by default seven days before EndDate.", allowed=_WHEN),
    CmdletParameter("EndDate", "Received at or before this; by default now.", allowed=_WHEN),
)


def get_outbound_connector_report(bound: Bound, context: CliContext) -> int:
    """One record per connector and recipient domain, the greatest volume first."""
    if not isinstance(context, Context):
        raise TypeError(f"{type(context).__name__} has no trace")
    start, end = bound.get("StartDate"), bound.get("EndDate")
    last = parse_date("-EndDate", end) if end else context.now()
    first = parse_date("-StartDate", start) if start else last - report.DEFAULT_SPAN
    if first > last:
        raise OperatorError.one("-StartDate", "it is after EndDate.", "Exchange the two.")
    stories = context.store.reports.told(first, last, domain_pattern(bound.get("Domain") or None))
    found = report.connectors(stories, by_domain=True)
    emit(connector_rows(found, by_domain=True), bound.format(Format.TABLE))
    return 0


CMDLETS = (
    Cmdlet(
        "Get-OutboundConnectorReport", "Show what each connector carried to each domain.", REPORT, get_outbound_connector_report
    ),
)


def register_all() -> None:
    """Make these cmdlets known to run_cmdlet."""
    register(*CMDLETS)
