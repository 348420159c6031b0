"""`sealroute queue destinations`: how much goes to each destination at once, what waits for it, and what changed last.

Read from the store, where every node writes its windows within a few seconds.  With several nodes or workers each has a
window, and a line, of its own; the numbers of groups are those of all together.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json
from sealroute.ports import DestinationRow, Reach

DomainOption = Annotated[str | None, typer.Option("--domain", help="Only mail for this recipient domain; * is a wildcard.")]
MOST = 100_000
_LINE = "{:<32} {:>6} {:>7} {:>7}  {:<9} {}"
_STYLES = {Reach.REACHED: "", Reach.UNREACHED: "yellow", Reach.UNKNOWN: "dim"}


def domain_pattern(name: str | None) -> str | None:
    """What `--domain` names, in compared form; raises OperatorError."""
    try:
        return None if name is None else name.lower() if "*" in name else compared(name)
    except InputError as error:
        raise OperatorError.one("--domain", f"{error}.") from None


def destinations(
    ctx: typer.Context,
    domain: DomainOption = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many at most.")] = 1000,
    as_json: screen.JsonFlag = False,
) -> None:
    """List destinations: how many runs at once, what is in memory and waits, what changed last and why."""
    context: Context = ctx.obj
    rows = context.store.destinations.rows(domain_pattern(domain), limit)
    if as_json:
        emit_json([row_record(row) for row in rows])
        return
    out = screen.console()
    if not rows:
        out.print("No destination is remembered." if domain is None else "No destination that is remembered matches.")
        return
    out.print(screen.text((_LINE.format("DESTINATION", "WINDOW", "ACTIVE", "QUEUED", "REACHED", "CHANGED"), "bold")))
    for row in rows:
        state = row.state
        ago = f"{screen.span(context.now() - state.changed_at)} ago"
        style = _STYLES[state.reach]
        line = _LINE.format(state.domain, state.window, row.active, row.queued, _word(state.reach), ago)
        out.print(screen.text((line, style)))
        node = f"node {state.node}: " if state.node else ""
        out.print(screen.text(f"  {node}{state.why}"))


def _word(reach: Reach) -> str:
    return {Reach.REACHED: "yes", Reach.UNREACHED: "no", Reach.UNKNOWN: "-"}[reach]


def row_record(row: DestinationRow) -> dict[str, Any]:
    """A destination as plain JSON values."""
    state = row.state
    return {
        "domain": state.domain,
        "node": state.node,
        "window": state.window,
        "halved": state.halved,
        "reach": state.reach.value,
        "active": row.active,
        "queued": row.queued,
        "changed_at": rfc3339(state.changed_at),
        "why": state.why,
    }
