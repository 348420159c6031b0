"""`sealroute analyze DOMAIN...`: what delivery would do with mail for a domain now, under each mode, and why; sends none.

Exit codes: 0 mail would be delivered under the modes in question, at every domain; 1 it would be held or returned somewhere;
2 unusable input.  The modes in question are those of `--dane-mode` and `--sts-mode`, else those of the connector
that the domain's mail goes through.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared_form
from sealroute.faces.analysis_words import Report
from sealroute.faces.cli import analyze_options as options
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.explained import show_explained
from sealroute.faces.cli.output import emit_json
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode

if TYPE_CHECKING:
    from sealroute.policy.connector import Connector
    from sealroute.policy.transport.foresee import Foretold
    from sealroute.services.analysis.model import Analysis
    from sealroute.services.analyze import Analyzer
    from sealroute.services.compare_resolvers import Witness

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False)
MAX_DOMAINS = 50
MAX_RESOLVERS = 8
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Target:
    """One domain, through which connector, and what was recorded of it earlier."""

    domain: str
    connector: Connector
    recorded: tuple[dict[str, Any], ...] = ()
    rules: tuple[Foretold, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one command asks."""

    targets: tuple[Target, ...]
    dane_mode: SmtpDaneMode | None
    sts_mode: MtaStsMode | None
    resolvers: tuple[str, ...]
    step_seconds: float | None


@app.command(epilog="--config FILE names the configuration file, before or after the command.")
def analyze(
    ctx: typer.Context,
    domains: options.Domains = None,
    connector: options.ConnectorOption = None,
    dane_mode: options.DaneMode = None,
    sts_mode: options.StsMode = None,
    from_trace: options.FromTrace = None,
    resolver: options.ResolverOption = None,
    explain: options.Explain = None,
    html: options.Html = None,
    timeout: options.Timeout = None,
    source: options.Input = None,
    state: options.StateFile = None,
    csv: options.Csv = "",
    at_once: options.AtOnce = 60,
    as_json: screen.JsonFlag = False,
) -> None:
    """Say what delivery would do with mail for a domain now, under each mode, and why. Sends no mail.

    Exit status 0: it would be delivered under the modes in question; 1: held or returned. These are --dane-mode and --sts-mode,
    else those of the connector that the domain's mail goes through, as transport rules make it that ask for nothing but the
    recipient's domain. Rules that may apply to a message are named. A connector that is named is taken as it is.
    """
    context: Context = ctx.obj
    if explain is not None:
        if domains or from_trace:
            raise OperatorError.one("--explain", "it stands alone.", "Leave the domains out.")
        show_explained(explain, as_json=as_json)
        return
    if source is not None:
        if domains or from_trace:
            raise OperatorError.one("--input", "domains come from it alone.", "Leave DOMAIN and --from-trace out.")
        from sealroute.faces.cli.survey import Bulk, run_bulk

        bulk = Bulk(source, connector, dane_mode, sts_mode, _resolvers(resolver), state, csv, html, at_once, timeout)
        raise typer.Exit(run_bulk(context, bulk, as_json=as_json))
    if state is not None or csv:
        raise OperatorError.one("--state, --csv", "they go with --input.", "Leave them out, or give --input.")
    targets = _targets(context, domains or [], connector, from_trace)
    wanted = Wanted(targets, dane_mode, sts_mode, _resolvers(resolver), timeout)
    reports = asyncio.run(_run(context, wanted))
    if html is not None:
        _write_html(html, reports)
    _print(reports, as_json=as_json)
    raise typer.Exit(0 if all(report.analysis.would_deliver for report in reports) else 1)


# ---------------------------------------------------------------------------------------------------------- what is asked


def _resolvers(given: list[str] | None) -> tuple[str, ...]:
    resolvers = tuple(dict.fromkeys(given or ()))
    if len(resolvers) > MAX_RESOLVERS:
        raise OperatorError.one("--resolver", f"{len(resolvers)} are too many.", f"Give at most {MAX_RESOLVERS}.")
    return resolvers


def _targets(context: Context, domains: Sequence[str], connector: str | None, from_trace: str | None) -> tuple[Target, ...]:
    if from_trace is not None:
        if domains or connector:
            raise OperatorError.one("--from-trace", "the trace names domain and connector itself.", "Give the id alone.")
        from sealroute.faces.cli.analyze_trace import traced

        return tuple(Target(*item) for item in traced(context, from_trace))
    if not domains:
        raise OperatorError.one("DOMAIN", "none is given.", "Name a recipient domain, such as contoso.com.")
    if len(domains) > MAX_DOMAINS:
        raise OperatorError.one("DOMAIN", f"{len(domains)} are too many at once.", f"Give at most {MAX_DOMAINS}.")
    try:
        names = list(dict.fromkeys(compared_form(name.rpartition("@")[2]) for name in domains))
    except InputError as error:
        raise OperatorError.one("DOMAIN", f"{error}.") from None
    from sealroute.faces.cli.analyze_connectors import Connectors

    connectors = Connectors(context, connector)
    courses = {name: connectors.course(name) for name in names}
    return tuple(Target(name, course.connector, rules=course.rules()) for name, course in courses.items())


# ------------------------------------------------------------------------------------------------------------ running it


async def _run(context: Context, wanted: Wanted) -> list[Report]:
    open_analyzer: Any = import_module("sealroute.engine").open_analyzer
    room = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:
        analyzer, canary, resolver = await stack.enter_async_context(
            open_analyzer(context.settings, step_seconds=wanted.step_seconds)
        )
        witnesses = witnesses_of(wanted.resolvers, resolver, canary, wanted.step_seconds)
        for witness in witnesses[1:]:
            stack.push_async_callback(witness.resolver.close)

        async def one(target: Target) -> Report:
            async with room:
                return await _report(analyzer, target, wanted, witnesses)

        return list(await asyncio.gather(*map(one, wanted.targets)))


def witnesses_of(resolvers: Sequence[str], ours: Any, canary: Any, step_seconds: float | None) -> tuple[Witness, ...]:
    """Our own resolver first, then those named; the caller closes all but the first.  None when none is named."""
    if not resolvers:
        return ()
    from sealroute.services.compare_resolvers import Witness

    open_witness: Any = import_module("sealroute.parts").open_witness
    others = (open_witness(address, step_seconds) for address in resolvers)
    return (Witness("ours", ours, canary.trusted(), canary.why_not()), *others)


async def _report(analyzer: Analyzer, target: Target, wanted: Wanted, witnesses: tuple[Witness, ...]) -> Report:
    from sealroute.services.compare_resolvers import compare, questions_of

    connector = target.connector
    modes = (wanted.dane_mode or connector.smtp_dane_mode, wanted.sts_mode or connector.mta_sts_mode)
    analysis = await analyzer.run(target.domain, connector, asked=(modes,))
    compared = await compare(witnesses, questions_of(analysis)) if witnesses else ()
    if not target.recorded:
        return Report(analysis, witnesses, compared, rules=target.rules)
    return Report(analysis, witnesses, compared, _changes(analysis, target), str(target.recorded[-1].get("at", "")))


def _changes(analysis: Analysis, target: Target) -> Any:
    from sealroute.policy.record import attempt_record, plain
    from sealroute.services.analysis.changes import changes

    now = [
        attempt_record(attempt) | {"evidence": plain(attempt.evidence)}
        for outcome in analysis.in_force
        for attempt in outcome.attempts
    ]
    return changes(target.recorded, now)


# --------------------------------------------------------------------------------------------------------------- showing


def _print(reports: Sequence[Report], *, as_json: bool) -> None:
    if as_json:
        emit_json([_record(report) for report in reports])
        return
    from sealroute.faces.cli.analysis_screen import show

    for number, report in enumerate(reports):
        if number:
            sys.stdout.write("\n\n")
        show(report)


def _record(report: Report) -> dict[str, Any]:
    from sealroute.faces.rule_words import foretold_record
    from sealroute.services.analysis.record import analysis_record, changes_record, compared_record

    record = analysis_record(report.analysis)
    record["transportRules"] = [foretold_record(told) for told in report.rules]
    if report.witnesses:
        record["compared"] = compared_record(report.witnesses, report.compared)
    if report.changes is not None:
        record["changes"] = {"since": report.recorded_at, "found": changes_record(report.changes)}
    return record


def _write_html(path: Path, reports: Sequence[Report]) -> None:
    from sealroute.faces.analysis_html import page

    try:
        path.write_text(page(reports), encoding="utf-8")
    except OSError as error:
        raise OperatorError.one("--html", f"{path} cannot be written: {error.strerror or error}.") from None
