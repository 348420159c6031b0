"""`sealroute analyze --explain CODE` on a terminal or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealroute.faces.cli import screen
from sealroute.faces.cli.output import emit_json
from sealroute.services.explain import Explained, explain

if TYPE_CHECKING:
    from rich.console import Console


def show_explained(asked: str, *, as_json: bool) -> None:
    """Everything the code or keyword may mean; raises OperatorError when that is nothing."""
    found = explain(asked)
    if as_json:
        emit_json([record(item) for item in found])
        return
    screen.show_trimmed(lambda out: _show(found, out))


def _show(found: tuple[Explained, ...], out: Console) -> None:
    from rich.table import Table

    for number, item in enumerate(found):
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        if number:
            out.print()
        table.add_row("Keyword", item.reason.value)
        if item.queued:
            table.add_row("While queued", screen.text(item.queued))
        table.add_row("When returned", screen.text(item.returned))
        table.add_row("When", item.cause)
        table.add_row("Who can fix it", item.facts.side.value)
        table.add_row("What to do", screen.text(item.facts.fix))
        out.print(table)


def record(item: Explained) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "keyword": item.reason.value,
        "queued": item.queued or None,
        "returned": item.returned,
        "cause": item.cause,
        "side": item.facts.side.value,
        "fix": item.facts.fix,
    }
