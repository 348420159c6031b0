"""`sealroute exception add | list | end`: other modes for one recipient domain in one connector, until a date.

`--until` takes a moment (`2026-01-31T12:00:00Z`) or a span from now (`3d`, `12h`).  Nothing has to be done at its end.
Exit codes: 0, or 2 for unusable input.
"""

from __future__ import annotations

import sys
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeVar

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.times import parse_rfc3339, rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable
from sealroute.policy.exceptions import TimedException
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.parameter_kinds import parse_duration
from sealroute.services import exempt

app = typer.Typer(
    help="Timed exceptions for one recipient domain: add, list, end.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
M = TypeVar("M", SmtpDaneMode, MtaStsMode)


@app.command()
def add(
    ctx: typer.Context,
    connector: Annotated[str, typer.Option(help="The connector's name or GUID; `(default)` where none matches.")],
    domain: Annotated[str, typer.Option(help="The one recipient domain.")],
    until: Annotated[str, typer.Option(help="Its end: 2026-01-31T12:00:00Z, or from now: 12h, 3d; at most 30d.")],
    reason: Annotated[str, typer.Option(help="Why; shown wherever the exception is.")],
    smtp_dane_mode: Annotated[str, typer.Option(help="none, reportonly, opportunistic or mandatory.")] = "",
    mta_sts_mode: Annotated[str, typer.Option(help="none, reportonly, opportunistic or mandatory.")] = "",
    as_json: screen.JsonFlag = False,
) -> None:
    """Give mail to one domain other modes than its connector's, until a date; it ends by itself."""
    context: Context = ctx.obj
    now = context.now()
    asked = exempt.Asked(
        connector,
        domain,
        _moment(until, now),
        reason,
        _mode("--smtp-dane-mode", smtp_dane_mode, SmtpDaneMode),
        _mode("--mta-sts-mode", mta_sts_mode, MtaStsMode),
    )
    around = exempt.Surroundings(context.connectors, context.default_connector, context.accepted_domains)
    exception = exempt.plan(asked, around, context.actor, now)
    context.store.exceptions.add(exception)
    if as_json:
        emit_json(record(exception, now))
        return
    end = screen.moment(exception.until)
    sys.stdout.write(
        f"Exception {exception.id}: {exception.domain} in connector {printable(exception.connector_name)} has "
        f"{_changes(exception)} until {end} (in {screen.span(exception.until - now)}).\n"
    )


@app.command("list")
def list_(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """List the exceptions, the newest first."""
    context: Context = ctx.obj
    now = context.now()
    found = [item for item in context.store.exceptions.all(context.organization) if everything or item.in_force(now)]
    if as_json:
        emit_json([record(item, now) for item in found])
        return
    if not found:
        sys.stdout.write("No exception is in force.\n" if not everything else "There has been no exception.\n")
        return
    for item in found:
        until = screen.moment(item.until)
        left = f", {screen.until(item.until, now)}" if item.in_force(now) else ""
        sys.stdout.write(
            f"{item.id}  {item.state(now)}\n"
            f"    {item.domain} in connector {printable(item.connector_name)}: {_changes(item)}, until {until}{left}\n"
            f"    {printable(item.reason)} ({printable(item.author)}, {screen.moment(item.created_at)})\n"
        )


@app.command()
def end(ctx: typer.Context, identity: Annotated[str, typer.Argument(metavar="ID", help="The exception's id.")]) -> None:
    """End an exception before its date."""
    context: Context = ctx.obj
    was = context.store.exceptions.end(context.organization, identity, context.actor, context.now())
    sys.stdout.write(f"Exception {was.id} has ended: {was.domain} has the connector's own modes again.\n")


def record(exception: TimedException, now: datetime) -> dict[str, Any]:
    """The exception as plain JSON values."""
    dane, sts = exception.smtp_dane_mode, exception.mta_sts_mode
    return {
        "id": exception.id,
        "state": exception.state(now),
        "inForce": exception.in_force(now),
        "connector": exception.connector_name,
        "guid": exception.connector_guid,
        "domain": exception.domain,
        "smtpDaneMode": dane.value if dane else None,
        "mtaStsMode": sts.value if sts else None,
        "created": rfc3339(exception.created_at),
        "until": rfc3339(exception.until),
        "ended": rfc3339(exception.ended_at) if exception.ended_at else None,
        "reason": exception.reason,
        "author": exception.author,
    }


def _changes(exception: TimedException) -> str:
    modes = (("SmtpDaneMode", exception.smtp_dane_mode), ("MtaStsMode", exception.mta_sts_mode))
    return " and ".join(f"{name} {mode.value}" for name, mode in modes if mode is not None)


def _mode(option: str, text: str, kind: type[M]) -> M | None:
    if not text:
        return None
    members: dict[str, Enum] = {member.value.lower(): member for member in kind}
    found = members.get(text.replace("-", "").lower())
    if found is None:
        allowed = ", ".join(member.value for member in kind)
        raise OperatorError.one(option, f"{text!r} is not one of them.", f"Allowed: {allowed}.")
    return kind(found.value)


def _moment(text: str, now: datetime) -> datetime:
    try:
        return now + parse_duration(text)
    except InputError:
        pass
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        fix = "Write a moment such as 2026-01-31T12:00:00Z, or a span from now such as 3d or 12h."
        raise OperatorError.one("--until", f"{text!r} is neither a moment nor a span of time.", fix) from None
