"""`sealroute migrate start | status | advance | rollback`: one pinned connector's way to Mandatory, step by step.

Exit codes: 0; 1 when something is still missing for the next step; 2 for unusable input.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.migrate_show import (
    change_record,
    check_document,
    move_record,
    show_change,
    show_status,
    show_table,
    write_document,
)
from sealroute.faces.cli.output import emit_json, printable, warn
from sealroute.faces.cli.screen import JsonFlag
from sealroute.policy.connector import Connector
from sealroute.policy.move import MAX_HELD, Mark, Move, MoveRules, MoveStep, missing
from sealroute.ports import MoveChange
from sealroute.services import move as moving
from sealroute.services import propose_moves
from sealroute.services.propose_moves import Partner, Proposal
from sealroute.settings.durations import format_duration, parse_duration

_DEFAULT = MoveRules()
LONGEST = timedelta(days=3650)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The connector's name or GUID.", show_default=False)]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Show the exact changes, and write nothing.")]
DocumentOption = Annotated[
    Path | None, typer.Option("--document", metavar="FILE", help="Write the record of evidence: FILE.md or FILE.html.")
]


def start(
    ctx: typer.Context,
    name: NameArgument,
    observe: Annotated[str, typer.Option(help="How long every session must be satisfied.")] = format_duration(_DEFAULT.observe),
    sessions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many satisfied sessions there must be.")
    ] = _DEFAULT.sessions,
    max_held: Annotated[int, typer.Option(min=1, max=MAX_HELD, help="So many held messages roll it back.")] = _DEFAULT.max_held,
    max_age: Annotated[str, typer.Option(help="A message held for so long rolls it back.")] = format_duration(_DEFAULT.max_age),
    review: Annotated[str, typer.Option(help="From Mandatory to the review date.")] = format_duration(_DEFAULT.review),
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Route a pinned connector by MX under the mode that its partner is ready for, Opportunistic; keep the old one, disabled.

    The partner is looked at first, as by `migrate plan`. JSON: move (as of `migrate status`), change (dryRun, step, changes,
    added, removed).
    """
    context: Context = ctx.obj
    rules = MoveRules(
        _span("--observe", observe),
        sessions,
        max_held,
        _span("--max-age", max_age),
        _span("--review", review),
    )
    around = _around(context)
    connector = moving.startable(around, name)
    proposal = asyncio.run(_propose(context, connector))
    change = moving.plan_start(around, proposal, rules, context.actor, context.now())
    _finish(context, change, dry_run=dry_run, as_json=as_json)
    told = context.settings.alerts
    if told.mail_to is None and told.webhook_url is None:
        warn(["nobody would be told of a roll-back: the settings name neither alerts.mail_to nor alerts.webhook_url."])


def status(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The connector's name or GUID.", show_default=False)] = "",
    document: DocumentOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show where moves stand: counts, what is missing, the next step, the review date. Without a name: all, the newest first.

    JSON, per move: id, connector, guid, kept, domains, to, step, started, mandatory, ended (at, by, why), review, rules,
    observed, held, heldSince, missing, partnerBefore, partnerMandatory; without a name in an array.
    """
    context: Context = ctx.obj
    check_document(document)
    if document is not None and not name:
        raise OperatorError.one("--document", "it is about one connector.", "Name it.")
    around = _around(context)
    wanted = [moving.find_move(around, name)] if name else around.moves.all(around.organization)
    found = [(move, moving.situation(around.moves, move, context.now())) for move in wanted]
    if as_json:
        records = [move_record(move, seen) for move, seen in found]
        emit_json(records[0] if name else records)
    elif name:
        show_status(*found[0], context.connectors.get(context.organization, found[0][0].connector_guid))
    elif not found:
        sys.stdout.write("No connector was moved yet; `sealroute migrate plan` shows which could be.\n")
    else:
        show_table(found)
    if document is not None:
        write_document(document, *found[0])


def advance(
    ctx: typer.Context,
    name: NameArgument,
    force: Annotated[bool, typer.Option("--force", help="Though something is missing; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why it is forced; kept with the move and in the connectors' history.")] = "",
    document: DocumentOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Go on to Mandatory when nothing is missing, and after the review date to the end; else say exactly what is missing.

    The partner is looked at once more. JSON: as of `migrate start`, or only missing.
    """
    context: Context = ctx.obj
    if force != bool(reason.strip()):
        raise OperatorError.one("--force", "it and --reason belong together.", "Say why, for those who read it later.")
    check_document(document)
    around = _around(context)
    move = moving.find_move(around, name)
    partners = asyncio.run(_look(context, move)) if move.step.active else []
    now = context.now()
    seen = moving.situation(around.moves, move, now, partners)
    lacks = missing(move, seen)
    if lacks and not force:
        _show_missing(move, lacks, as_json=as_json)
        raise typer.Exit(1)
    change = moving.plan_advance(around, move, seen, partners, Mark(now, context.actor, reason.strip()))
    _finish(context, change, dry_run=dry_run, as_json=as_json)
    if document is not None and not dry_run:
        write_document(document, change.after, moving.situation(around.moves, change.after, now))


def rollback(
    ctx: typer.Context,
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="Why; kept with the move.")] = "",
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Go back to the fixed smart hosts as the kept connector has them, and try held mail again at once.

    JSON: as of `migrate start`.
    """
    context: Context = ctx.obj
    around = _around(context)
    move = moving.find_move(around, name)
    now = context.now()
    change = moving.plan_roll_back(around, move, Mark(now, context.actor, reason.strip()))
    _finish(context, change, dry_run=dry_run, as_json=as_json)
    if not dry_run:
        again = around.moves.try_again(move, context.now() + moving.KNOWN_AFTER)
        if not as_json:
            sys.stdout.write(f"Due again at once: {again} of what waits.\n")


def _finish(context: Context, change: MoveChange, *, dry_run: bool, as_json: bool) -> None:
    around, now = _around(context), context.now()
    if not dry_run:
        moving.carry_out(around, change, now, context.actor)
    if as_json:
        seen = moving.situation(around.moves, change.after, now)
        emit_json({"move": move_record(change.after, seen), "change": change_record(change, dry_run=dry_run)})
    else:
        show_change(change, dry_run=dry_run)


def _show_missing(move: Move, lacks: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        emit_json({"missing": list(lacks)})
        return
    goal = f"{move.mode} Mandatory" if move.step is MoveStep.OBSERVING else "the end"
    sys.stdout.write(printable(f"Connector {move.connector_name!r} is not ready for {goal} yet; nothing was changed.") + "\n")
    sys.stdout.writelines(printable(f"  {text}") + "\n" for text in lacks)


def _around(context: Context) -> moving.Around:
    return moving.Around(context.connectors, context.store.moves, context.organization, context.accepted_domains)


async def _propose(context: Context, connector: Connector) -> Proposal:
    open_analyzer: Any = import_module("sealroute.engine").open_analyzer
    async with open_analyzer(context.settings) as (analyzer, _, _):
        return await propose_moves.propose(analyzer, connector)


async def _look(context: Context, move: Move) -> list[Partner]:
    open_analyzer: Any = import_module("sealroute.engine").open_analyzer
    async with open_analyzer(context.settings) as (analyzer, _, _):
        return await propose_moves.look(analyzer, move.before)


def _span(option: str, text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise OperatorError.one(option, f"{error}.") from None
    if not timedelta(seconds=1) <= found <= LONGEST:
        raise OperatorError.one(option, f"{text} is not between 1s and {LONGEST.days}d.")
    return found
