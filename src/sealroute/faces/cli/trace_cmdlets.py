"""Get-MessageTraceV2 and Get-MessageTraceDetailV2 [Exchange Online].

The parameters, limits, ordering and paging of Exchange: when a page is full, the next one begins with EndDate = the last
Received and StartingRecipientAddress = the last recipient, which a warning spells out.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.base.times import EPOCH, rfc3339
from sealroute.faces.cli.cmdlets import Bound, CliContext, Cmdlet, CmdletParameter, Takes, register
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import Format, emit, warn
from sealroute.policy.record import plain
from sealroute.ports import TraceEvent, TraceQuery, TraceRow
from sealroute.services.trace import DEFAULT_RESULTS, STATUSES, SUBJECT_FILTERS, Asked, detail_of, parse_date, query_of

EVENTS = ("RECEIVE", "SEND", "FAIL", "DELIVER", "EXPAND", "TRANSFER", "DEFER")
_WHEN = "2026-01-31T12:00:00Z, 2026-01-31, 01/31/2026 12:00:00; UTC unless a zone is given"
TRACE = (
    CmdletParameter("StartDate", "Received at or after this; by default 48 hours before EndDate.", allowed=_WHEN),
    CmdletParameter("EndDate", "Received at or before this; by default now.", allowed=_WHEN),
    CmdletParameter("SenderAddress", "From these addresses; * is a wildcard.", Takes.LIST),
    CmdletParameter("RecipientAddress", "To these addresses; * is a wildcard.", Takes.LIST),
    CmdletParameter("MessageId", "With these Message-ID headers.", Takes.LIST),
    CmdletParameter("MessageTraceId", "This message; the id that Get-MessageTraceV2 shows."),
    CmdletParameter("FromIP", "Handed to us from this address."),
    CmdletParameter("ToIP", "Handed by us to this address."),
    CmdletParameter("Status", "With these statuses.", Takes.LIST, allowed=", ".join(STATUSES)),
    CmdletParameter("Subject", "With this in the subject."),
    CmdletParameter("SubjectFilterType", "How Subject is compared.", allowed=", ".join(SUBJECT_FILTERS)),
    CmdletParameter("StartingRecipientAddress", "With EndDate: go on after this recipient of an earlier page."),
    CmdletParameter("ResultSize", f"Rows at most; by default {DEFAULT_RESULTS}.", allowed="1 to 5000"),
)
DETAIL = (
    CmdletParameter("MessageTraceId", "The id that Get-MessageTraceV2 shows.", position=1, required=True),
    CmdletParameter("RecipientAddress", "The recipient.", position=2, required=True),
    CmdletParameter("StartDate", "Events at or after this.", allowed=_WHEN),
    CmdletParameter("EndDate", "Events at or before this.", allowed=_WHEN),
    CmdletParameter("Event", "Only these events.", Takes.LIST, allowed=", ".join(EVENTS)),
)
COLUMNS = ("Received", "SenderAddress", "RecipientAddress", "Subject", "Status")
DETAIL_COLUMNS = ("Date", "Event", "Detail")
FAR = datetime(9000, 1, 1, tzinfo=UTC)


def get_message_trace(bound: Bound, context: CliContext) -> int:
    """Rows of the trace, Received descending, then RecipientAddress."""
    ours = _context(context)
    start, end = bound.get("StartDate"), bound.get("EndDate")
    asked = Asked(
        start=parse_date("-StartDate", start) if start else None,
        end=parse_date("-EndDate", end) if end else None,
        senders=bound.items("SenderAddress"),
        recipients=bound.items("RecipientAddress"),
        header_message_ids=bound.items("MessageId"),
        message_trace_id=bound.get("MessageTraceId"),
        from_ip=bound.get("FromIP"),
        to_ip=bound.get("ToIP"),
        statuses=bound.items("Status"),
        subject=bound.get("Subject"),
        subject_filter=bound.get("SubjectFilterType"),
        starting_recipient=bound.get("StartingRecipientAddress"),
        limit=_count(bound.get("ResultSize")),
    )
    query = query_of(asked, ours.now(), days_back=ours.settings.trace.retention_days)
    rows = ours.store.traces.search(query)
    emit([trace_record(row) for row in rows], bound.format(Format.TABLE), columns=COLUMNS)
    if len(rows) == query.limit:
        last = rows[-1]
        page = f'-EndDate "{rfc3339(last.received)}" -StartingRecipientAddress "{last.recipient}"'
        warn([f"There may be more results. For the next ones repeat the command with {page}."])
    return 0


def get_message_trace_detail(bound: Bound, context: CliContext) -> int:
    """The events of one message and recipient, oldest first."""
    ours = _context(context)
    identity, recipient = bound.get("MessageTraceId"), bound.get("RecipientAddress")
    start, end = bound.get("StartDate"), bound.get("EndDate")
    wanted = {_event(name) for name in bound.items("Event")}
    first = parse_date("-StartDate", start) if start else EPOCH
    last = parse_date("-EndDate", end) if end else None
    # Where no end is given, the newest event counts, also where a lab's clock has run ahead of this one.
    query = TraceQuery(EPOCH, last or FAR, recipients=(recipient,), message_trace_id=identity)
    rows = ours.store.traces.search(query)
    if not rows:
        fix = "Get-MessageTraceV2 shows ids and recipients."
        raise OperatorError.one("-MessageTraceId, -RecipientAddress", "no such message and recipient in the trace.", fix)
    attempts = ours.store.traces.attempts(identity, recipient)
    events = [
        event
        for event in ours.store.traces.events(identity, recipient)
        if event.at >= first and (last is None or event.at <= last) and (not wanted or event.event in wanted)
    ]
    records = [detail_record(event, rows[0], detail_of(event, attempts)) for event in events]
    emit(records, bound.format(Format.TABLE), columns=DETAIL_COLUMNS)
    return 0


def _context(context: CliContext) -> Context:
    # The entry point makes the context; these two cmdlets need its trace, which other cmdlets do not.
    if not isinstance(context, Context):
        raise TypeError(f"{type(context).__name__} has no trace")
    return context


def _count(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise OperatorError.one("-ResultSize", f"{text!r} is not a whole number.", "Give 1 to 5000.")
    return int(text)


def _event(name: str) -> str:
    if name.upper() not in EVENTS:
        raise OperatorError.one("-Event", f"{name!r} is not an event.", f"Allowed: {', '.join(EVENTS)}.")
    return name.upper()


def trace_record(row: TraceRow) -> dict[str, Any]:
    """A row with Exchange's property names."""
    return {
        "MessageTraceId": row.message_trace_id,
        "MessageId": row.message_id,
        "Received": rfc3339(row.received),
        "SenderAddress": row.sender,
        "RecipientAddress": row.recipient,
        "Subject": row.subject,
        "Status": row.status,
        "FromIP": row.from_ip,
        "ToIP": row.to_ip,
        "Size": row.size_bytes,
        "Connector": row.connector,
    }


def detail_record(event: TraceEvent, row: TraceRow, detail: str) -> dict[str, Any]:
    """An event with Exchange's property names; Data is JSON text."""
    return {
        "MessageTraceId": row.message_trace_id,
        "MessageId": row.message_id,
        "Date": rfc3339(event.at),
        "Event": event.event,
        "Detail": detail,
        "Data": json.dumps(plain(dict(event.data)), ensure_ascii=False),
        "SenderAddress": row.sender,
        "RecipientAddress": row.recipient,
    }


CMDLETS = (
    Cmdlet("Get-MessageTraceV2", "Find messages by sender, recipient, time, status or subject.", TRACE, get_message_trace),
    Cmdlet("Get-MessageTraceDetailV2", "Show what became of one message for one recipient.", DETAIL, get_message_trace_detail),
)


def register_all() -> None:
    """Make these cmdlets known to run_cmdlet."""
    register(*CMDLETS)
