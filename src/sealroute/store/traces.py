"""Message trace, read side: ports.Traces, and its retention.

A filter without a wildcard is answered by an index; the others look at the rows of the asked period only.  Every order of rows
is total, so that paging neither repeats nor loses one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, delete, func, literal_column, or_, select, text

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import address_domain
from sealroute.base.times import from_us, to_us
from sealroute.policy.attempt import Fate
from sealroute.ports import TraceEvent, TraceQuery, TraceRow
from sealroute.store.engine import Database
from sealroute.store.patterns import matches
from sealroute.store.records import event_of
from sealroute.store.schema import attempt, evidence, trace_event, trace_message

MAX_ROWS = 5000
MAX_VALUES = 1000
"""How many values one filter may list."""
SLICE, FIRST_SLICE = 500, 50
"""How many messages a slice of a clean-up may have at most, and how many the first has."""
SLICE_SECONDS = 0.02
"""How long a slice shall take: so long other writers wait."""
REST_SECONDS = 0.002
"""Between slices at least: who waits for SQLite's lock looks again after 1.5 ms at the latest."""
EVIDENCE_KEPT_LONGER_US = 86_400_000_000
DELIVERED = "Delivered"
_FINAL = (Fate.DELIVERED.value, Fate.FAILED.value)
row = trace_message.c


class SqlTraces:
    """What happened to messages, for as long as it is kept."""

    def __init__(
        self,
        database: Database,
        timer: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._timer = timer
        self._rest = rest

    def search(self, query: TraceQuery) -> list[TraceRow]:
        """Received descending, then recipient ascending; raises OperatorError for a limit or filter out of bounds."""
        with self._database.read() as connection:
            if self._database.dialect == "postgresql":
                # A plan for any sender would sort all that a busy one has sent, instead of stopping at the limit.
                connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
            found = [[_row_of(item) for item in connection.execute(_ordered(part))] for part in _parts(query)]
        return list(islice(merge(*found, key=_place), query.limit))

    def events(self, message_trace_id: str, recipient: str | None = None) -> list[TraceEvent]:
        """Oldest first; with a recipient, its own and those that concern all."""
        event = trace_event.c
        query = select(trace_event).where(event.message_id == message_trace_id).order_by(event.at_us, event.id)
        with self._database.read() as connection:
            found = [event_of(item) for item in connection.execute(query)]
        wanted = recipient and recipient.casefold()
        return [item for item in found if not wanted or not item.recipient or item.recipient.casefold() == wanted]

    def attempts(self, message_trace_id: str, recipient: str | None = None) -> list[dict[str, Any]]:
        """The attempt records, oldest first, evidence filled in; with a recipient, those that were made for it."""
        query = (
            select(attempt.c.domain, attempt.c.record, evidence.c.text)
            .outerjoin(evidence, evidence.c.digest == attempt.c.evidence_digest)
            .where(attempt.c.message_id == message_trace_id)
            .order_by(attempt.c.at_us, attempt.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        records: list[dict[str, Any]] = []
        for domain, record, known_then in rows:
            known = json.loads(record)
            if known_then is not None:
                known["evidence"] = json.loads(known_then)
            records.append(known | {"domain": domain})
        return records if recipient is None else _made_for(recipient, records)

    def purge(self, before: datetime, slice_rows: int = SLICE) -> int:
        """Forget messages received before the moment, with their events and attempts; returns how many rows of the trace went.

        Each slice is a short transaction of its own, and after each the gateway has as much time to write as the slice took.
        """
        before_us, total, rows = to_us(before), 0, min(slice_rows, FIRST_SLICE)
        while True:
            oldest = select(row.message_id).where(row.received_us < before_us).order_by(row.received_us).limit(rows)
            with self._database.read() as connection:
                ids = list(dict.fromkeys(connection.scalars(oldest)))
                _read_ahead(connection, ids)
            if not ids:
                break
            with self._database.write() as connection:
                started = self._timer()
                for table in (trace_event, attempt):
                    connection.execute(delete(table).where(table.c.message_id.in_(ids)))
                total += connection.execute(delete(trace_message).where(row.message_id.in_(ids))).rowcount
            rows = self._next_slice(rows, slice_rows, self._timer() - started)
        unused = evidence.c.last_used_us < before_us - EVIDENCE_KEPT_LONGER_US
        while True:
            with self._database.write() as connection:
                started = self._timer()
                some = select(evidence.c.digest).where(unused).limit(rows)
                gone = connection.execute(delete(evidence).where(evidence.c.digest.in_(some))).rowcount
            if gone < rows:
                return total
            rows = self._next_slice(rows, slice_rows, self._timer() - started)

    def _next_slice(self, rows: int, most: int, took_seconds: float) -> int:
        """Rest as long as the slice took; so many rows as should take SLICE_SECONDS, never more than twice as many."""
        self._rest(max(took_seconds, REST_SECONDS))
        wanted = rows * SLICE_SECONDS / max(took_seconds, 1e-6)
        return max(1, min(most, rows * 2, round(wanted)))


def _read_ahead(connection: Connection, ids: Sequence[str]) -> None:
    """Look at the index entries and rows that are to be deleted, so that nobody waits for the disk behind the write lock.

    The oldest rows are the ones that no cache holds any more, and each is in places of the indexes that are its own.
    """
    if ids:
        same, doomed = trace_message.alias(), row.message_id.in_(ids)
        for column in ("recipient_key", "sender_key"):
            entry = (same.c[column] == row[column]) & (same.c.received_us == row.received_us)
            connection.execute(select(select(func.count()).where(entry).scalar_subquery()).where(doomed)).all()
        header = same.c.header_message_id == row.header_message_id
        connection.execute(select(select(func.count()).where(header).scalar_subquery()).where(doomed)).all()
        for table, read in ((trace_event, trace_event.c.at_us), (attempt, attempt.c.at_us)):
            connection.execute(select(func.max(read)).where(table.c.message_id.in_(ids))).all()


def _parts(query: TraceQuery) -> list[TraceQuery]:
    """The questions that together are this one: each status by itself comes out of its index in order."""
    if _leading(query) == "undelivered":
        return [replace(query, statuses=(status,)) for status in dict.fromkeys(query.statuses)]
    return [query]


def _ordered(query: TraceQuery) -> Select[Any]:
    order = (row.received_us.desc(), row.recipient, row.message_id)
    return select(trace_message).where(*_conditions(query)).order_by(*order).limit(query.limit)


def _place(found: TraceRow) -> tuple[int, str, str]:
    return (-to_us(found.received), found.recipient, found.message_trace_id)


def _leading(query: TraceQuery) -> str:
    """Which filter finds the rows, by its index; the others look at what it found.

    Told to the database, which knows no more of the trace than we do: it would look for a newsletter's sender rather than for
    one recipient of it.
    """

    def exact(values: Sequence[str]) -> bool:
        return bool(values) and not any("*" in value for value in values)

    if query.message_trace_id:
        return "message"
    if exact(query.header_message_ids):
        return "header"
    if exact(query.recipients):
        return "recipient"
    if exact(query.senders):
        return "sender"
    if exact(query.statuses) and DELIVERED not in query.statuses:
        return "undelivered"
    return "received"


def _conditions(query: TraceQuery) -> list[ColumnElement[bool]]:
    if not 1 <= query.limit <= MAX_ROWS:
        raise OperatorError.one("ResultSize", f"{query.limit} is not between 1 and {MAX_ROWS}.")
    end_us = to_us(query.end)
    conditions = [row.received_us >= to_us(query.start), row.received_us <= end_us]
    if query.starting_recipient:
        conditions.append(
            or_(row.received_us < end_us, and_(row.received_us == end_us, row.recipient > query.starting_recipient))
        )
    leading = _leading(query)

    def column(name: str, of: Column[str]) -> ColumnElement[str]:
        return of if leading == name else of + literal_column("''")  # an expression: no index can be meant

    conditions += _any_of("SenderAddress", column("sender", row.sender_key), [item.casefold() for item in query.senders])
    recipients = [address.casefold() for address in query.recipients]
    conditions += _any_of("RecipientAddress", column("recipient", row.recipient_key), recipients)
    conditions += _any_of("MessageId", column("header", row.header_message_id), query.header_message_ids)
    conditions += _any_of("Status", row.status, query.statuses)
    if leading == "undelivered":
        conditions.append(row.status != literal_column(f"'{DELIVERED}'"))  # in the words of the part index (store/schema)
    for exact, value in ((row.message_id, query.message_trace_id), (row.from_ip, query.from_ip), (row.to_ip, query.to_ip)):
        if value:
            conditions.append(exact == value)
    if query.subject:
        conditions.append(_subject(query.subject, query.subject_filter))
    return conditions


def _any_of(name: str, column: ColumnElement[str], values: Sequence[str]) -> list[ColumnElement[bool]]:
    if len(values) > MAX_VALUES:
        raise OperatorError.one(name, f"{len(values)} values are more than {MAX_VALUES}.")
    exact = [value for value in values if "*" not in value]
    choices = [matches(column, value) for value in values if "*" in value]
    if exact:
        choices.append(column.in_(exact))
    return [or_(*choices)] if choices else []


def _subject(text: str, kind: str) -> ColumnElement[bool]:
    match kind:
        case "Contains":
            return row.subject.icontains(text, autoescape=True)
        case "StartsWith":
            return row.subject.istartswith(text, autoescape=True)
        case "EndsWith":
            return row.subject.iendswith(text, autoescape=True)
    raise OperatorError.one("SubjectFilterType", f"{kind!r} is not Contains, StartsWith or EndsWith.")


def _row_of(item: Any) -> TraceRow:
    return TraceRow(
        message_trace_id=item.message_id,
        message_id=item.header_message_id,
        received=from_us(item.received_us),
        sender=item.sender,
        recipient=item.recipient,
        subject=item.subject,
        status=item.status,
        size_bytes=item.size_bytes,
        from_ip=item.from_ip,
        to_ip=item.to_ip,
        connector=item.connector,
    )


def _made_for(recipient: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Attempts of the recipient's domain that decided about it or about nobody, up to the one that settled its fate."""
    try:
        domain = address_domain(recipient)
    except InputError:
        return []  # no attempt is ever made for what has no domain
    chosen: list[dict[str, Any]] = []
    wanted = recipient.casefold()
    for record in records:
        if record["domain"] != domain:
            continue
        fates = record.get("recipients", [])
        own = [fate["fate"] for fate in fates if fate["address"].casefold() == wanted]
        if own or not fates:
            chosen.append(record)
        if any(fate in _FINAL for fate in own):
            break
    return chosen
