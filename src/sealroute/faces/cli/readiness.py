"""`sealroute readiness`: which destinations could be held to a Mandatory mode, and what is in the way elsewhere.

Reads what the running gateways counted (services/observe) and what their probes saw (services/watch); the rules of the
verdict are in policy/readiness_verdict.  What a destination shows is printed by faces/cli/sighting_screen.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen, sighting_screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.history import Drift
from sealroute.policy.outlook import caveats_of
from sealroute.policy.readiness import Day, Mechanism
from sealroute.policy.readiness_verdict import Readiness, Rules, State, judge
from sealroute.policy.sighting_changes import SeenChange
from sealroute.ports import Watched

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False)
_STYLE = {State.READY: "green", State.WAIT: "yellow", State.NOT_OFFERED: "", State.BROKEN: "red"}
CHANGES_SHOWN = 10
_DEFAULT = Rules()


@dataclass(frozen=True, slots=True)
class Report:
    """One destination."""

    domain: str
    days: Sequence[Day]
    dane: Readiness
    sts: Readiness
    events: Sequence[Drift] = ()
    watched: Watched | None = None
    changes: Sequence[SeenChange] = ()

    @property
    def attempts(self) -> int:
        return sum(day.attempts for day in self.days)

    @property
    def probes(self) -> int:
        return sum(day.probes for day in self.days)


@app.command(epilog="--config FILE names the configuration file, before or after the command.")
def readiness(
    ctx: typer.Context,
    domains: Annotated[list[str] | None, typer.Argument(metavar="DOMAIN", show_default=False)] = None,
    connector: Annotated[str, typer.Option(help="Only recipient domains whose mail takes this connector.")] = "",
    days: Annotated[int, typer.Option(min=1, max=365, help="Good days that make a destination ready.")] = _DEFAULT.days,
    sessions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Satisfied sessions on those days that make it ready.")
    ] = _DEFAULT.sessions,
    probes: Annotated[
        int, typer.Option(min=0, max=10_000, help="Satisfied probes that do instead of sessions; 0: they never do.")
    ] = _DEFAULT.probes or 0,
    as_json: screen.JsonFlag = False,
) -> None:
    """Show which destinations could be held to DANE or MTA-STS Mandatory; with domains, each in full."""
    context: Context = ctx.obj
    named = [_domain(name) for name in domains or ()]
    reports = _reports(context, named, Rules(days, sessions, probes=probes or None))
    if connector:
        reports = _of_connector(context, reports, connector)
    if as_json:
        emit_json([_record(report) for report in reports])
    elif not reports:
        sys.stdout.write("No mail was tried yet, and nobody was probed.\n")
    elif named:
        for number, report in enumerate(reports):
            _print_report(report, context.now(), first=not number)
    else:
        _print_table(reports)


def _reports(context: Context, named: Sequence[str], rules: Rules) -> list[Report]:
    since = context.now().date() - timedelta(days=context.settings.trace.retention_days)
    store, organization = context.store, context.organization
    found = store.observations.days(organization, since, named)
    watched = store.watched.watched(organization, named)
    reports = []
    for domain in dict.fromkeys(named) or found:
        report = _report(domain, found.get(domain, []), watched.get(domain), context.now(), rules)
        if named:
            events = store.drift.events(organization, domain, CHANGES_SHOWN)
            report = replace(report, events=events, changes=store.watched.changes(organization, domain, CHANGES_SHOWN))
        reports.append(report)
    return reports


def _report(domain: str, seen: Sequence[Day], watched: Watched | None, now: datetime, rules: Rules) -> Report:
    sighting = watched.sighting if watched is not None else None
    dane, sts = (
        judge(mechanism, seen, now.date(), rules, caveats_of(sighting, mechanism, now)) for mechanism in Mechanism
    )  # fmt: skip
    return Report(domain, seen, dane, sts, watched=watched)


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
    counts = f"{'DAYS':>4}  {'ATTEMPTS':>8}  {'PROBES':>6}"
    head = f"{'DOMAIN':<{width}}  {counts}  {'DANE':<11}  {'SHARE':>6}  {'MTA-STS':<11}  {'SHARE':>6}"
    out.print(screen.text((head, "bold")), soft_wrap=True)
    for report in reports:
        dane, sts = report.dane, report.sts
        line = screen.text(
            f"{report.domain:<{width}}  {len(report.days):>4}  {report.attempts:>8}  {report.probes:>6}  ",
            (f"{dane.state.value:<11}", _STYLE[dane.state]),
            f"  {_percent(dane):>6}  ",
            (f"{sts.state.value:<11}", _STYLE[sts.state]),
            f"  {_percent(sts):>6}",
        )
        out.print(line, soft_wrap=True)


def _print_report(report: Report, now: datetime, *, first: bool) -> None:
    out = screen.console()
    if not first:
        out.print()
    tried = screen.plural(report.attempts, "attempt") + (f", {screen.plural(report.probes, 'probe')}" if report.probes else "")
    out.print(screen.text((report.domain, "bold"), f"  {tried}{_between(report.days)}"))
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
    sighting_screen.show(out, report.watched, report.changes, now)
    for event in report.events:
        words = f"  {screen.moment(event.at)}  {event.kind.value}: {printable(event.detail)}"
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
        "probes": report.probes,
        "dane": _mechanism_record(report.dane),
        "mtaSts": _mechanism_record(report.sts),
        **sighting_screen.record(report.watched, report.changes),
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
