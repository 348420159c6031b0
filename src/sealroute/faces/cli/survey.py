"""`sealroute analyze --input FILE`: many domains, with progress, to be taken up again where it was broken off."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from sealroute.base.errors import OperatorError
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, warn
from sealroute.faces.cli.survey_files import State, read_domains, row_record, write_csv
from sealroute.faces.survey_words import STANDINGS, summary_record
from sealroute.services.survey import Row, Standing, SurveyLimits, summary_of, survey

if TYPE_CHECKING:
    from rich.console import Console

    from sealroute.policy.connector import Connector
    from sealroute.services.analysis.model import Modes

SHOWN = 20
"""Broken domains listed on the screen; CSV, JSON and HTML have all."""
_STYLE = {Standing.BROKEN: "red", Standing.UNKNOWN: "red", Standing.DANE: "green", Standing.STS_ENFORCE: "green"}


@dataclass(frozen=True, slots=True)
class Bulk:
    """What one bulk run asks."""

    source: str
    connector: Connector
    asked: Modes
    state: Path | None
    csv: str
    html: Path | None
    at_once: int
    step_seconds: float | None


def run_bulk(context: Context, bulk: Bulk, *, as_json: bool) -> int:
    """Analyse, keep, show; exit code 0 when mail would be delivered to all, 1 otherwise.  Raises OperatorError."""
    if bulk.csv == "-" and as_json:
        raise OperatorError.one("--csv", "it and --json both want standard output.", "Give --csv a file.")
    domains, problems = read_domains(bulk.source)
    warn(problems[:SHOWN])
    if len(problems) > SHOWN:
        warn([f"and {len(problems) - SHOWN} more lines without a domain"])
    question = {"connector": bulk.connector.name, "smtpDaneMode": bulk.asked[0].value, "mtaStsMode": bulk.asked[1].value}
    state = State(bulk.state, question)
    try:
        uvloop.run(_run(context, bulk, domains, state))
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


async def _run(context: Context, bulk: Bulk, domains: Sequence[str], state: State) -> None:
    left = [domain for domain in domains if domain not in state.rows]
    if not left:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    open_analyzer: Any = import_module("sealroute.app").open_analyzer
    columns = (TextColumn("domains"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    loop = asyncio.get_running_loop()
    async with open_analyzer(context.settings, step_seconds=bulk.step_seconds) as (analyzer, _, _):
        with progress:
            task = progress.add_task("domains", total=len(domains), completed=len(domains) - len(left), rate="")
            started, done = loop.time(), 0
            async for row in survey(analyzer, left, bulk.connector, bulk.asked, SurveyLimits(at_once=bulk.at_once)):
                state.add(row)
                done += 1
                rate = done / max(0.001, loop.time() - started)
                progress.update(task, advance=1, rate=f"{rate:.1f}/s")


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
    wrong = [row for row in rows if row.standing in (Standing.BROKEN, Standing.UNKNOWN)]
    if wrong:
        out.print()
        out.print(screen.text(("Broken", "bold"), f", the first {SHOWN} of {len(wrong)}" if len(wrong) > SHOWN else ""))
        for row in wrong[:SHOWN]:
            out.print(screen.text("  ", (row.domain, "bold"), f"  {row.sentence}"))
