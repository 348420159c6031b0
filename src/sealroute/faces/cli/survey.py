"""`sealroute analyze --input FILE`: many domains, with progress, to be taken up again where it was broken off."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import uvloop

from sealroute.base.errors import OperatorError
from sealroute.faces.cli import screen
from sealroute.faces.cli.analyze_connectors import Connectors
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, warn
from sealroute.faces.cli.survey_files import State, read_domains, row_record, write_csv
from sealroute.faces.survey_words import STANDINGS, summary_record
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.services.survey import Row, Standing, SurveyLimits, Wanted, summary_of, survey

if TYPE_CHECKING:
    from rich.console import Console

    from sealroute.settings import Settings

SHOWN = 20
"""Broken domains listed on the screen; CSV, JSON and HTML have all."""
GC_THRESHOLD = 50_000
"""Objects made and not freed before the garbage collector looks at the youngest."""
_STYLE = {Standing.BROKEN: "red", Standing.UNKNOWN: "red", Standing.DANE: "green", Standing.STS_ENFORCE: "green"}


@dataclass(frozen=True, slots=True)
class Bulk:
    """What one bulk run asks."""

    source: str
    connector: str | None
    """None: for each domain the one that its mail goes through."""
    dane_mode: SmtpDaneMode | None
    sts_mode: MtaStsMode | None
    """None: the connector's own."""
    resolvers: tuple[str, ...]
    state: Path | None
    csv: str
    html: Path | None
    at_once: int
    step_seconds: float | None

    @property
    def question(self) -> dict[str, str]:
        """What the rows answer, whatever the connectors are."""
        return {
            "connector": self.connector or "as chosen",
            "smtpDaneMode": self.dane_mode.value if self.dane_mode else "the connector's",
            "mtaStsMode": self.sts_mode.value if self.sts_mode else "the connector's",
            "resolvers": " ".join(self.resolvers),
        }


def run_bulk(context: Context, bulk: Bulk, *, as_json: bool) -> int:
    """Analyse, keep, show; exit code 0 when mail would be delivered to all, 1 otherwise.  Raises OperatorError."""
    if bulk.csv == "-" and as_json:
        raise OperatorError.one("--csv", "it and --json both want standard output.", "Give --csv a file.")
    domains, problems = read_domains(bulk.source)
    warn(problems[:SHOWN])
    if len(problems) > SHOWN:
        warn([f"and {len(problems) - SHOWN} more lines without a domain"])
    wanted = _wanted(context, bulk, domains)
    state = State(bulk.state, bulk.question)
    try:
        _run(context, bulk, wanted, state)
    finally:
        state.close()
    rows = [state.rows[domain] for domain in domains]
    if bulk.csv:
        write_csv(bulk.csv, rows)
    if bulk.html is not None:
        _write_html(bulk.html, rows)
    if as_json:
        emit_json({"summary": summary_record(summary_of(rows)), "domains": [row_record(row) for row in rows]})
    elif bulk.csv != "-":
        screen.show_trimmed(lambda out: _show(out, rows))
    return 0 if all(row.would_deliver for row in rows) else 1


def _wanted(context: Context, bulk: Bulk, domains: Sequence[str]) -> list[Wanted]:
    connectors = Connectors(context, bulk.connector)
    wanted = []
    for domain in domains:
        connector = connectors.course(domain).connector
        modes = (bulk.dane_mode or connector.smtp_dane_mode, bulk.sts_mode or connector.mta_sts_mode)
        wanted.append(Wanted(domain, connector, modes))
    return wanted


def _run(context: Context, bulk: Bulk, wanted: Sequence[Wanted], state: State) -> None:
    """Analyse what is not known yet, each row kept as it comes."""
    known = (state.rows.get(item.domain) for item in wanted)
    left = [item for item, row in zip(wanted, known, strict=True) if row is None or not item.answered_by(row)]
    if not left:
        return
    # An analysis makes many objects that are soon gone; what the program itself is made of need not be looked at again.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    uvloop.run(_watched(_rows(context.settings, bulk, left), state, len(wanted), len(left)))


async def _rows(settings: Settings, bulk: Bulk, wanted: Sequence[Wanted]) -> AsyncIterator[Row]:
    from sealroute.faces.cli.analyze import witnesses_of

    open_analyzer: Any = import_module("sealroute.engine").open_analyzer
    async with AsyncExitStack() as stack:
        analyzer, canary, resolver = await stack.enter_async_context(open_analyzer(settings, step_seconds=bulk.step_seconds))
        witnesses = witnesses_of(bulk.resolvers, resolver, canary, bulk.step_seconds)
        for witness in witnesses[1:]:
            stack.push_async_callback(witness.resolver.close)
        async for row in survey(analyzer, wanted, SurveyLimits(at_once=bulk.at_once), witnesses):
            yield row


async def _watched(rows: AsyncIterator[Row], state: State, total: int, left: int) -> None:
    """Keep each row as it comes, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("domains"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    shown, started, done = sys.stderr.isatty(), monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task("domains", total=total, completed=total - left, rate="")
        async for row in rows:
            state.add(row)
            done += 1
            if shown:
                progress.update(task, advance=1, rate=f"{done / max(0.001, monotonic() - started):.1f}/s")


def _write_html(path: Path, rows: Sequence[Row]) -> None:
    from sealroute.faces.survey_html import page

    try:
        path.write_text(page(rows), encoding="utf-8")
    except OSError as error:
        raise OperatorError.one("--html", f"{path} cannot be written: {error.strerror or error}.") from None


def _show(out: Console, rows: Sequence[Row]) -> None:
    """The summary, the causes, and the first of those that are broken."""
    summary = summary_of(rows)
    out.print(screen.text((screen.plural(summary.total, "domain"), "bold"), f", {summary.tls_rpt} with TLS-RPT"))
    for standing, count in summary.standings:
        share = f"{100 * count / summary.total:.0f} %"
        out.print(
            screen.text(
                f"  {count:>6}  {share:>5}  ", (f"{standing.value:<12}", _STYLE.get(standing, "")), f" {STANDINGS[standing]}"
            )
        )
    if summary.causes:
        out.print()
        out.print(screen.text(("Why mail would be held or returned", "bold")))
        for reason, side, count in summary.causes:
            out.print(screen.text(f"  {count:>6}  {reason}", (f"  ({side})", "dim")))
    if summary.differ:
        out.print()
        out.print(screen.text(("The resolvers differ", "bold"), f" about {screen.plural(summary.differ, 'domain')}"))
        for row in [row for row in rows if row.resolvers_differ][:SHOWN]:
            out.print(screen.text("  ", (row.domain, "bold"), f"  {row.resolvers_differ}"))
    wrong = [row for row in rows if row.standing in (Standing.BROKEN, Standing.UNKNOWN)]
    if wrong:
        out.print()
        out.print(screen.text(("Broken", "bold"), f", the first {SHOWN} of {len(wrong)}" if len(wrong) > SHOWN else ""))
        for row in wrong[:SHOWN]:
            out.print(screen.text("  ", (row.domain, "bold"), f"  {row.sentence}"))
