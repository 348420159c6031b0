"""`sealroute readiness`: which destinations could be held to a Mandatory mode, and what is in the way elsewhere.

Reads what the running gateways counted (services/observe); the rules of the verdict are in policy/readiness.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.history import Drift
from sealroute.policy.readiness import Day, Mechanism, Readiness, Rules, State, judge

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False)
_STYLE = {State.READY: "green", State.WAIT: "yellow", State.NOT_OFFERED: "", State.BROKEN: "red"}
CHANGES_SHOWN = 5
_DEFAULT = Rules()


@dataclass(frozen=True, slots=True)
class Report:
    """One destination."""

    domain: str
    days: Sequence[Day]
    dane: Readiness
    sts: Readiness
    changes: Sequence[Drift] = ()

    @property
    def attempts(self) -> int:
        return sum(day.attempts for day in self.days)


@app.command(epilog="--config FILE names the configuration file, before or after the command.")
def readiness(
    ctx: typer.Context,
    domains: Annotated[list[str] | None, typer.Argument(metavar="DOMAIN", show_default=False)] = None,
    connector: Annotated[str, typer.Option(help="Only recipient domains whose mail takes this connector.")] = "",
    days: Annotated[int, typer.Option(min=1, max=365, help="Good days that make a destination ready.")] = _DEFAULT.days,
    sessions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Satisfied sessions on those days that make it ready.")
    ] = _DEFAULT.sessions,
    as_json: screen.JsonFlag = False,
) -> None:
    """Show which destinations could be held to DANE or MTA-STS Mandatory; with domains, each in full."""
    context: Context = ctx.obj
    named = [_domain(name) for name in domains or ()]
    reports = _reports(context, named, Rules(days, sessions))
    if connector:
        reports = _of_connector(context, reports, connector)
    if as_json:
        emit_json([_record(report) for report in reports])
    elif not reports:
        sys.stdout.write("No mail was tried yet.\n")
    elif named:
        for number, report in enumerate(reports):
            _print_report(report, first=not number)
    else:
        _print_table(reports)


def _reports(context: Context, named: Sequence[str], rules: Rules) -> list[Report]:
    today = context.now().date()
    since = today - timedelta(days=context.settings.trace.retention_days)
    found = context.store.observations.days(context.organization, since, named)
    reports = []
    for domain in dict.fromkeys(named) or found:
        seen = found.get(domain, [])
        changes = context.store.drift.events(context.organization, domain, CHANGES_SHOWN) if named else ()
        reports.append(_report(domain, seen, changes, today, rules))
    return reports


def _report(domain: str, seen: Sequence[Day], changes: Sequence[Drift], today: date, rules: Rules) -> Report:
    dane, sts = (judge(mechanism, seen, today, rules) for mechanism in Mechanism)
    return Report(domain, seen, dane, sts, changes)


def _of_connector(context: Context, reports: Sequence[Report], name: str) -> list[Report]:
    wanted = context.connectors.get(context.organization, name)
    if wanted is None:
        raise OperatorError.one("--connector", f"there is no connector {name!r}.", "`sealroute connector list` lists them.")
    index = ConnectorIndex(context.connectors.all(context.organization), context.accepted_domains)
    taken = ((report, index.find(report.domain)) for report in reports)
    return [report for report, found in taken if found is not None and found.guid == wanted.guid]


def _print_table(reports: Sequence[Report]) -> None:
    out = screen.console()
    width = max(6, *(len(report.domain) for report in reports))
    head = f"{'DOMAIN':<{width}}  {'DAYS':>4}  {'ATTEMPTS':>8}  {'DANE':<11}  {'SHARE':>6}  {'MTA-STS':<11}  {'SHARE':>6}"
    out.print(screen.text((head, "bold")), soft_wrap=True)
    for report in reports:
        dane, sts = report.dane, report.sts
        line = screen.text(
            f"{report.domain:<{width}}  {len(report.days):>4}  {report.attempts:>8}  ",
            (f"{dane.state.value:<11}", _STYLE[dane.state]),
            f"  {_percent(dane):>6}  ",
            (f"{sts.state.value:<11}", _STYLE[sts.state]),
            f"  {_percent(sts):>6}",
        )
        out.print(line, soft_wrap=True)


def _print_report(report: Report, *, first: bool) -> None:
    out = screen.console()
    if not first:
        out.print()
    out.print(screen.text((report.domain, "bold"), f"  {screen.plural(report.attempts, 'attempt')}{_between(report.days)}"))
    for mechanism, found in ((Mechanism.DANE, report.dane), (Mechanism.MTA_STS, report.sts)):
        total = found.total
        out.print(screen.text(f"  {mechanism.value:<7}  ", (found.state.value, _STYLE[found.state]), f"  {_percent(found)}"))
        for reason in found.reasons:
            out.print(screen.text(f"           {reason}"), soft_wrap=True)
        if total.certain or total.unknown:
            counts = (
                f"{total.satisfied} satisfied, {total.failed} failed, {total.not_offered} not offered, {total.unknown} unknown"
            )
            out.print(screen.text(f"           {counts}"), soft_wrap=True)
    for change in report.changes:
        words = f"  {screen.moment(change.at)}  {change.kind.value}: {printable(change.detail)}"
        out.print(screen.text(words), soft_wrap=True)


def _between(days: Sequence[Day]) -> str:
    return f" on {screen.plural(len(days), 'day')} from {days[0].day} to {days[-1].day}" if days else ""


def _percent(found: Readiness) -> str:
    """Rounded down: 100 % is said of nothing less."""
    return "-" if found.share is None else f"{int(found.share * 1000) / 10:g} %"


def _record(report: Report) -> dict[str, Any]:
    return {
        "domain": report.domain,
        "daysObserved": len(report.days),
        "firstDay": report.days[0].day.isoformat() if report.days else None,
        "lastDay": report.days[-1].day.isoformat() if report.days else None,
        "attempts": report.attempts,
        "dane": _mechanism_record(report.dane),
        "mtaSts": _mechanism_record(report.sts),
    }


def _mechanism_record(found: Readiness) -> dict[str, Any]:
    total = found.total
    return {
        "state": found.state.value,
        "reasons": list(found.reasons),
        "share": found.share,
        "satisfied": total.satisfied,
        "failed": total.failed,
        "notOffered": total.not_offered,
        "unknown": total.unknown,
        "lastTrouble": {"at": rfc3339(total.trouble.at), "why": total.trouble.why} if total.trouble else None,
    }


def _domain(text: str) -> str:
    try:
        return compared(text)
    except InputError as error:
        raise OperatorError.one("DOMAIN", f"{error}.") from None
