"""`sealroute trace`: find messages, and the whole story of one.

Exchange's cmdlets for the same are in trace_cmdlets.py; what both may ask is in services/trace.py.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import address_domain
from sealroute.base.times import EPOCH, rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json
from sealroute.policy.record import plain
from sealroute.ports import TraceEvent, TraceQuery, TraceRow
from sealroute.services.trace import Asked, attempt_text, query_of

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False)
_STATUS_STYLE = {"Delivered": "green", "Failed": "red", "Pending": "yellow"}
_EVENT_STYLE = {"SEND": "green", "DELIVER": "green", "FAIL": "red", "DEFER": "yellow"}


@app.command(epilog="--config FILE names the configuration file, before or after the command.")
def trace(
    ctx: typer.Context,
    identity: Annotated[str | None, typer.Argument(metavar="MESSAGE_TRACE_ID", show_default=False)] = None,
    sender: Annotated[list[str] | None, typer.Option(help="From this address; * is a wildcard. Repeatable.")] = None,
    recipient: Annotated[list[str] | None, typer.Option(help="To this address; * is a wildcard. Repeatable.")] = None,
    message_id: Annotated[list[str] | None, typer.Option(help="With this Message-ID header. Repeatable.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Pending, Delivered, Failed, Expanded, ... Repeatable.")] = None,
    subject: Annotated[str, typer.Option(help="With this in the subject.")] = "",
    since: Annotated[str, typer.Option(help="Received after: a date, a moment, or a span back such as 12h or 7d.")] = "2d",
    until: Annotated[str, typer.Option(help="Received before.", show_default="now")] = "",
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many at most.")] = 1000,
    full: Annotated[
        bool, typer.Option("--full", help="With an id: every attempt in full, not only those of the last run.")
    ] = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Find messages; with an id, tell what became of the message and why, recipient by recipient."""
    context: Context = ctx.obj
    now = context.now()
    if identity:
        _story(context, identity, recipient or [], full=full, as_json=as_json)
        return
    asked = Asked(
        start=screen.parse_moment("--since", since, now),
        end=screen.parse_moment("--until", until, now) if until else None,
        senders=tuple(sender or ()),
        recipients=tuple(recipient or ()),
        header_message_ids=tuple(message_id or ()),
        statuses=tuple(status or ()),
        subject=subject,
        limit=limit,
    )
    query = query_of(asked, now, days_back=context.settings.trace.retention_days, max_span=None)
    rows = context.store.traces.search(query)
    if as_json:
        emit_json([row_record(row) for row in rows])
        return
    _print_rows(rows, limit, query)


def _print_rows(rows: list[TraceRow], limit: int, query: TraceQuery) -> None:
    from rich.padding import Padding

    out = screen.console()
    if not rows:
        out.print(f"No message between {screen.moment(query.start)} and {screen.moment(query.end)} matches.")
        return
    out.print(screen.text((f"{'RECEIVED':<20}  {'STATUS':<13}  MESSAGE TRACE ID", "bold")))
    for row in rows:
        style = _STATUS_STYLE.get(row.status, "")
        out.print(
            screen.text(f"{screen.moment(row.received):<20}  ", (f"{row.status:<13}", style), f"  {row.message_trace_id}")
        )
        out.print(Padding(screen.text(f"{screen.mailbox(row.sender)} → {row.recipient}"), (0, 0, 0, 2), expand=False))
        if row.subject:
            out.print(Padding(screen.text((row.subject, "dim")), (0, 0, 0, 2), expand=False))
    more = " (limit reached: narrow the search or raise --limit)" if len(rows) == limit else ""
    out.print(f"{screen.plural(len(rows), 'row')}{more}; `sealroute trace ID` tells a message's story.")


# ----------------------------------------------------------------------------------------------------------- the story


def _story(context: Context, identity: str, recipients: list[str], *, full: bool, as_json: bool) -> None:
    traces = context.store.traces
    # A day ahead, because a lab's clock may run faster than the one this command reads.
    query = TraceQuery(EPOCH, _far(context.now()), message_trace_id=identity, recipients=tuple(recipients), limit=5000)
    rows = traces.search(query)
    if not rows:
        raise OperatorError.one(identity, "no message in the trace has this id.", "`sealroute trace` lists messages.")
    wanted = {row.recipient.lower() for row in rows}
    events = [event for event in traces.events(identity) if not event.recipient or event.recipient.lower() in wanted]
    domains = {_domain_of(row.recipient) for row in rows}
    attempts = [record for record in traces.attempts(identity) if record.get("domain") in domains]
    if as_json:
        emit_json(
            {
                "message_trace_id": identity,
                "recipients": [row_record(row) for row in rows],
                "events": [event_record(event) for event in events],
                "attempts": attempts,
            }
        )
        return
    _print_message(rows[0])
    _print_events([event for event in events if not event.recipient])
    for domain in dict.fromkeys(_domain_of(row.recipient) for row in rows):
        for row in rows:
            if _domain_of(row.recipient) == domain:
                _print_recipient(row, events)
        _print_attempts([record for record in attempts if record.get("domain") == domain], full=full)


def _far(now: datetime) -> datetime:
    return now + timedelta(days=3650)


def _domain_of(address: str) -> str:
    try:
        return address_domain(address)
    except InputError:
        return ""


def _print_message(row: TraceRow) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Message", screen.text(row.message_trace_id))
    table.add_row("From", screen.text(screen.mailbox(row.sender) + (f" ({row.from_ip})" if row.from_ip else "")))
    table.add_row("Subject", screen.text(row.subject))
    table.add_row("Message-ID", screen.text(row.message_id))
    table.add_row("Received", f"{screen.moment(row.received)}, {screen.size(row.size_bytes)}")
    screen.console().print(table)


def _print_recipient(row: TraceRow, events: list[TraceEvent]) -> None:
    out = screen.console()
    through = f"  through {row.connector}" if row.connector else ""
    out.print()
    out.print(screen.text((row.recipient, "bold"), "  ", (row.status, _STATUS_STYLE.get(row.status, "")), through))
    _print_events([event for event in events if event.recipient.lower() == row.recipient.lower()])


def _print_attempts(attempts: list[dict[str, Any]], *, full: bool) -> None:
    """The last run in full, those before it in a line each: a day of retries is two dozen attempts that say the same."""
    from sealroute.faces.cli.attempt_tree import attempt_line, attempt_tree

    out = screen.console()
    last = max((record.get("number", 0) for record in attempts), default=0)
    earlier = [] if full else [record for record in attempts if record.get("number", 0) != last]
    if earlier:
        out.print()
        for _, run in groupby(earlier, lambda record: (record.get("host"), record.get("ip"), attempt_text(record))):
            same = list(run)
            out.print(attempt_line(same[0]))
            if len(same) > 1:
                out.print(f"  … the same {screen.plural(len(same) - 1, 'more time')}, up to attempt {same[-1].get('number')}")
    for record in attempts:
        if record not in earlier:
            out.print()
            out.print(attempt_tree(record))


def _print_events(events: list[TraceEvent]) -> None:
    from rich.table import Table

    if not events:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for _, run in groupby(events, lambda event: (event.event, event.description)):
        same = list(run)
        event, style = same[0], _EVENT_STYLE.get(same[0].event, "")
        table.add_row(f"  {screen.moment(event.at)}", screen.text((event.event, style)), screen.text(event.description))
        if len(same) > 1:
            more = f"the same {screen.plural(len(same) - 1, 'more time')}, the last at {screen.moment(same[-1].at)}"
            table.add_row("  …", "", more)
    screen.console().print(table)


def row_record(row: TraceRow) -> dict[str, Any]:
    """A trace row as JSON, with the keys of ports.TraceRow."""
    return {
        "message_trace_id": row.message_trace_id,
        "message_id": row.message_id,
        "received": rfc3339(row.received),
        "sender": row.sender,
        "recipient": row.recipient,
        "subject": row.subject,
        "status": row.status,
        "size_bytes": row.size_bytes,
        "from_ip": row.from_ip,
        "to_ip": row.to_ip,
        "connector": row.connector,
    }


def event_record(event: TraceEvent) -> dict[str, Any]:
    """An event as JSON."""
    return {
        "at": rfc3339(event.at),
        "event": event.event,
        "recipient": event.recipient,
        "description": event.description,
        "data": plain(dict(event.data)),
    }
