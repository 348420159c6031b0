"""One analysis on a terminal: headline, what each mode would do, the tree of checks, and what is to be done by whom.

Readable without colour: every check has a mark.  Lines that are to be copied (records, policy files) are never folded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sealroute.base.dnsdata import Answer
from sealroute.faces.analysis_words import MARKS, Report, Todo, cell, headline, matrix, modes_of, reasons, todos, whose_words
from sealroute.faces.cli import screen
from sealroute.faces.cli.foretold_screen import show_foretold
from sealroute.faces.cli.output import printable
from sealroute.policy.modes import MtaStsMode
from sealroute.services.analysis.model import Check, Outcome, Status, Would

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text
    from rich.tree import Tree

    from sealroute.services.compare_resolvers import Compared

_STYLE = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "bold red", Status.INFO: "dim"}
_WOULD_STYLE = {Would.DELIVER: "green", Would.HOLD: "yellow", Would.RETURN: "red"}
MARGIN = 2


def show(report: Report) -> None:
    """Print it."""
    screen.show_trimmed(lambda out: _show(report, out))


def _show(report: Report, out: Console) -> None:
    analysis = report.analysis
    for outcome in analysis.in_force:
        _headline(out, report, outcome)
    for title, part in (("What each mode would do", _matrix(report)), ("Why", _reasons(report))):
        if part is not None:
            _section(out, title, part)
    if report.rules:
        out.print()
        show_foretold(report.rules, out)
    if report.changes is not None:
        _section(out, f"What changed since {report.recorded_at}", _changes(report))
    numbers = {id(todo.check): todo.number for todo in todos(analysis)}
    out.print()
    out.print(screen.text(("Checks", "bold"), ("   ✓ ok   ! warning   ✗ error   · fact   → number of what to do", "dim")))
    for check in analysis.checks:
        out.print(_tree(check, numbers))
    if report.witnesses:
        _section(out, "Resolvers side by side", _compared(report))
    if todos(analysis):
        out.print()
        out.print(screen.text(("What to do", "bold")))
        for todo in todos(analysis):
            _todo(out, todo)


def _section(out: Console, title: str, part: RenderableType) -> None:
    out.print()
    out.print(screen.text((title, "bold")))
    out.print(part)


def _headline(out: Console, report: Report, outcome: Outcome) -> None:
    from rich.padding import Padding

    analysis = report.analysis
    style = _WOULD_STYLE[outcome.would]
    out.print(screen.text((analysis.domain, "bold"), ": ", (headline(outcome), f"bold {style}"), f" under {modes_of(outcome)}"))
    out.print(Padding(screen.text((outcome.sentence, style)), (0, 0, 0, MARGIN), expand=False))
    if outcome.finding is not None:
        side = outcome.finding.reason.facts.side.value
        out.print(Padding(screen.text(f"Who can fix it: {side}"), (0, 0, 0, MARGIN), expand=False))
    exception = analysis.seen.connector.exception_id
    through = f"through {analysis.seen.connector.name}" + (f", exception {exception}" if exception else "")
    at = screen.moment(analysis.seen.at)
    words = f"{through}, {at}, {analysis.took_seconds:.1f} s; no mail was sent"
    out.print(Padding(screen.text((words, "dim")), (0, 0, 0, MARGIN), expand=False))


def _matrix(report: Report) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  DANE ↓   MTA-STS →", no_wrap=True)
    for sts in MtaStsMode:
        table.add_column(sts.value, no_wrap=True)
    for dane, outcomes in matrix(report.analysis):
        cells = [_cell(outcome) for outcome in outcomes]
        table.add_row(screen.text(f"  {dane.value}"), *cells)
    return table


def _cell(outcome: Outcome | None) -> Text:
    if outcome is None:
        return screen.text("–")
    style = _WOULD_STYLE[outcome.would]
    if outcome.in_force:
        return screen.text((f"[{cell(outcome)}]", f"bold {style}"))
    return screen.text((f" {cell(outcome)}", style))


def _reasons(report: Report) -> RenderableType | None:
    from rich.table import Table

    found = reasons(report.analysis)
    if not found:
        return None
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    total = len(report.analysis.outcomes)
    for sentence, count in found:
        table.add_row("  ", screen.text(sentence, (f"  ({count} of {total} pairs of modes)", "dim")))
    return table


def _changes(report: Report) -> RenderableType:
    from rich.table import Table

    if not report.changes:
        return screen.text("  nothing: DNS, policy and certificates are as they were")
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for change in report.changes:
        table.add_row("  ", screen.text((change.what, "bold")))
        table.add_row("", screen.text(("then ", "dim"), change.then))
        table.add_row("", screen.text(("now  ", "dim"), change.now))
    return table


# ---------------------------------------------------------------------------------------------------------------- checks


def _tree(check: Check, numbers: Mapping[int, int]) -> Tree:
    from rich.tree import Tree

    tree = Tree(_line(check, numbers), guide_style="dim")
    _add(tree, check, numbers)
    return tree


def _add(tree: Tree, check: Check, numbers: Mapping[int, int]) -> None:
    for fact in check.facts:
        tree.add(screen.text((fact, "dim")))
    for child in check.children:
        _add(tree.add(_line(child, numbers)), child, numbers)


def _line(check: Check, numbers: Mapping[int, int]) -> Text:
    style = _STYLE[check.status]
    number = numbers.get(id(check))
    whose = whose_words(check)
    return screen.text(
        (f"{MARKS[check.status]} ", style), (check.title, "bold"), f"  {check.said}" if check.said else "",
        (f"  ({whose})", "dim") if whose else "", (f"  → {number}", "cyan") if number else "",
    )  # fmt: skip


def _todo(out: Console, todo: Todo) -> None:
    """The advice folded to the screen, what is to be published as it is."""
    from rich.table import Table

    check = todo.check
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    head = screen.text((todo.about, "bold"), (f"  ({check.whose.value})", "dim"))
    table.add_row(screen.text((f"{todo.number:>3} {MARKS[check.status]}", _STYLE[check.status])), head)
    table.add_row("", screen.text(check.advice))
    out.print(table)
    for item in check.publish:
        out.print(screen.text((f"      {item.where}:", "dim")), soft_wrap=True)
        for line in item.lines:
            out.print(screen.text("        ", (line, "cyan")), soft_wrap=True)


# -------------------------------------------------------------------------------------------------------------- resolvers


def _compared(report: Report) -> RenderableType:
    from rich.console import Group

    names = [witness.name for witness in report.witnesses]
    width = max(map(len, names))
    silent = [all(item.answers[index].failed for item in report.compared) for index in range(len(names))]
    lines = []
    for index, witness in enumerate(report.witnesses):
        why = report.compared[0].answers[index].detail if silent[index] else witness.why_not
        style = "bold red" if silent[index] else "yellow"
        gave = "no answer to anything: " if silent[index] else "not believed: " if why else "believed"
        lines.append(screen.text(f"  {witness.name:<{width}}  ", (f"{gave}{why}", style if why else "")))
    differing = [item for item in report.compared if item.differs_among([not mute for mute in silent])]
    same = len(report.compared) - len(differing)
    lines.append(screen.text(f"  {same} of {screen.plural(len(report.compared), 'answer')} are the same everywhere"))
    for item in differing:
        lines.append(screen.text(("  ✗ ", "bold red"), (f"{item.question[0]} {item.question[1]}", "bold")))
        lines += [_said(item, index, f"    {name:<{width}}") for index, name in enumerate(names) if not silent[index]]
    return Group(*lines)


def _said(item: Compared, index: int, name: str) -> Text:
    answer = item.answers[index]
    claim = "" if item.believed[index] or answer.failed else " (claimed, not believed)"
    return screen.text(f"{name}  {answer.security.value}{claim}: {records_of(answer)}")


def records_of(answer: Answer[object]) -> str:
    """The records of an answer as text, or what it says instead."""
    if not answer.records:
        return answer.detail or answer.outcome.value
    if answer.rtype == "MX":
        return ", ".join(f"{getattr(item, 'preference', '')} {getattr(item, 'host', '') or '.'}" for item in answer.records)
    return printable(", ".join(map(str, answer.records)))
