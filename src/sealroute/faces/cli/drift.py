"""`sealroute drift list | known`: destinations whose DANE or MTA-STS went or came back, and what is remembered of each.

Events are written by the running gateway when it plans mail to a destination or probes it; they change nothing about delivery.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable
from sealroute.policy.history import Drift, Remembered

app = typer.Typer(
    help="Protection of destinations that went or came: list, known.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
DomainOption = Annotated[str, typer.Option(help="Only this recipient domain.")]
LimitOption = Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")]


@app.command("list")
def list_(ctx: typer.Context, domain: DomainOption = "", limit: LimitOption = 1000, as_json: screen.JsonFlag = False) -> None:
    """List what changed, the newest first."""
    context: Context = ctx.obj
    found = context.store.drift.events(context.organization, _domain(domain), limit)
    if as_json:
        emit_json([event_record(event) for event in found])
        return
    if not found:
        sys.stdout.write("Nothing has changed.\n")
        return
    width = max(len(event.kind.value) for event in found)
    for event in found:
        sys.stdout.write(f"{screen.moment(event.at)}  {event.kind.value:<{width}}  {printable(event.sentence)}\n")


@app.command()
def known(ctx: typer.Context, domain: DomainOption = "", limit: LimitOption = 1000, as_json: screen.JsonFlag = False) -> None:
    """List the destinations that are or were protected, by domain."""
    context: Context = ctx.obj
    found = context.store.drift.remembered(context.organization, _domain(domain), limit)
    if as_json:
        emit_json([known_record(item) for item in found])
        return
    if not found:
        sys.stdout.write("No destination with DANE or an MTA-STS policy in enforce mode was seen yet.\n")
        return
    width = max(len(item.domain) for item in found)
    for item in found:
        dane = f"DANE {item.dane.value}{_span(item.dane_first, item.dane_last)}"
        sts = f"MTA-STS {item.sts.value}{_span(item.sts_first, item.sts_last)}"
        sys.stdout.write(f"{printable(item.domain):<{width}}  {dane}  {sts}\n")


def event_record(event: Drift) -> dict[str, Any]:
    """An event as plain JSON values."""
    return {
        "at": rfc3339(event.at),
        "domain": event.domain,
        "kind": event.kind.value,
        "detail": event.detail,
        "knownSince": _text(event.known_since),
        "lastSeen": _text(event.last_seen),
    }


def known_record(item: Remembered) -> dict[str, Any]:
    """A destination as plain JSON values; the moments are those of its having had it."""
    return {
        "domain": item.domain,
        "dane": item.dane.value,
        "daneFirst": _text(item.dane_first),
        "daneLast": _text(item.dane_last),
        "mtaSts": item.sts.value,
        "mtaStsFirst": _text(item.sts_first),
        "mtaStsLast": _text(item.sts_last),
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _span(first: datetime | None, last: datetime | None) -> str:
    return f" ({first:%Y-%m-%d} to {last:%Y-%m-%d})" if first and last else ""


def _domain(text: str) -> str | None:
    try:
        return compared(text) if text else None
    except InputError as error:
        raise OperatorError.one("--domain", f"{error}.") from None
