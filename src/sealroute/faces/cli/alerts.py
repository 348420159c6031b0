"""`sealroute alerts list | test`: what administrators were told of changes, and a test of the ways it is told."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from sealroute.base.errors import OperatorError
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable
from sealroute.policy.alerts import Alert, AlertState, Channel

app = typer.Typer(
    help="What administrators are told of changes: list, test.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
    as_json: screen.JsonFlag = False,
) -> None:
    """List what was told and what waits to be told, the newest first."""
    context: Context = ctx.obj
    found = context.store.alerts.all(context.organization, limit)
    if as_json:
        emit_json([_record(alert) for alert in found])
        return
    if not found:
        sys.stdout.write("Nothing was told yet.\n")
    for alert in found:
        why = f"  {alert.last_error}" if alert.last_error else ""
        tries = " after 1 try" if alert.attempts == 1 else f" after {alert.attempts} tries"
        state = alert.state.value if alert.state is AlertState.SENT else f"{alert.state.value}{tries}"
        about = f"{alert.kind}  {alert.domain or '-'}"
        sys.stdout.write(
            printable(f"{screen.moment(alert.created_at)}  {alert.channel.value:<7}  {about}  {state}{why}") + "\n"
        )


@app.command()
def test(ctx: typer.Context) -> None:
    """Send a test over every configured way; the running gateway sends it within seconds, also in quiet hours."""
    context: Context = ctx.obj
    wanted = context.settings.alerts
    channels = [Channel.MAIL] if wanted.mail_to is not None else []
    channels += [Channel.WEBHOOK] if wanted.webhook_url is not None else []
    if not channels:
        fix = "Set alerts.mail_to or alerts.webhook_url, and restart the gateway."
        raise OperatorError.one("alerts", "nobody is configured to be told.", fix)
    context.store.alerts.add_test(context.organization, channels, context.now())
    ways = " and ".join(channel.value for channel in channels)
    sys.stdout.write(f"Handed to the gateway, by {ways}. `sealroute alerts list` shows what became of it.\n")


def _record(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "createdAt": rfc3339(alert.created_at),
        "channel": alert.channel.value,
        "kind": alert.kind,
        "domain": alert.domain,
        "state": alert.state.value,
        "attempts": alert.attempts,
        "dueAt": rfc3339(alert.due_at) if alert.state is AlertState.WAITING else None,
        "lastError": alert.last_error,
    }
