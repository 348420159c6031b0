"""What reports are made of: ports.ReportSource.

A period is that in which messages were *received*: `ix_trace_message_received` finds them, and `ix_attempt_message` and
`ix_trace_event_message` what became of them.  So no table needs an index on the time of attempts, which every delivery would
have to pay for, and all that concerns one message comes together.

Each slice is a short read of its own, so that a long report never keeps SQLite from folding its log back.  Records are read
by Python, not by the database's JSON functions: PostgreSQL's refuse a whole record for one `\\u0000` in what a peer once said.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from sealroute.base.errors import InputError
from sealroute.base.names import address_domain
from sealroute.base.times import from_us, to_us
from sealroute.ports import GroupState, Told, TraceEvent, Waits
from sealroute.store.engine import Database
from sealroute.store.patterns import matches
from sealroute.store.records import event_of, finding_of
from sealroute.store.schema import attempt, recipient_group, trace_event, trace_message

SLICE = 400
"""Messages read at once; each may have many attempts, and databases bound the number of a statement's parameters."""
GROUPS = 2000
_WHY = ("DEFER", "FAIL")


class SqlReports:
    """Reads, and nothing else."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def told(self, start: datetime, end: datetime, domain: str | None = None) -> Iterator[Told]:
        """Messages received from `start` to `end`, oldest first; only what concerns the domain, in which `*` is a wildcard."""
        row = trace_message.c
        after: tuple[int, str] = (to_us(start), "")
        while True:
            received_us, last = after
            query = (
                select(row.received_us, row.message_id, row.size_bytes)
                .where(row.received_us >= received_us, row.received_us <= to_us(end))
                .where(or_(row.received_us > received_us, and_(row.received_us == received_us, row.message_id > last)))
                .distinct()
                .order_by(row.received_us, row.message_id)
                .limit(SLICE)
            )
            with self._database.read() as connection:
                found = connection.execute(query).all()
                ids = [item.message_id for item in found]
                events, attempts = _histories(connection, ids, domain)
            for item in found:
                about = Told(item.message_id, item.size_bytes, tuple(events[item.message_id]), tuple(attempts[item.message_id]))
                if about.events or about.attempts:
                    yield about
            if len(found) < SLICE:
                return
            after = found[-1].received_us, found[-1].message_id

    def waiting(self, queued_before: datetime, domain: str | None = None) -> Iterator[Waits]:
        """Groups that wait since before the moment; ids are ordered, so that none is read twice."""
        group = recipient_group.c
        last = ""
        while True:
            query = (
                select(group.id, group.domain, group.state, group.queued_us, group.last_finding)
                .where(group.id > last, group.queued_us < to_us(queued_before))
                .order_by(group.id)
                .limit(GROUPS)
            )
            if domain is not None:
                query = query.where(matches(group.domain, domain))
            with self._database.read() as connection:
                found = connection.execute(query).all()
            yield from map(_waits, found)
            if len(found) < GROUPS:
                return
            last = found[-1].id


def _histories(
    connection: Connection, ids: Sequence[str], domain: str | None
) -> tuple[dict[str, list[TraceEvent]], dict[str, list[dict[str, Any]]]]:
    """Why each of the messages waited or was returned, and the attempts made for it."""
    events: dict[str, list[TraceEvent]] = defaultdict(list)
    attempts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    event, tried = trace_event.c, attempt.c
    why = select(trace_event).where(event.message_id.in_(ids), event.event.in_(_WHY)).order_by(event.id)
    for row in connection.execute(why):
        if domain is None or _concerns(row.recipient, domain):
            events[row.message_id].append(event_of(row))
    records = select(tried.message_id, tried.domain, tried.record).where(tried.message_id.in_(ids)).order_by(tried.id)
    if domain is not None:
        records = records.where(matches(tried.domain, domain))
    for row in connection.execute(records):
        attempts[row.message_id].append(json.loads(row.record) | {"domain": row.domain})
    return events, attempts


def _concerns(recipient: str, domain: str) -> bool:
    try:
        return fnmatchcase(address_domain(recipient), domain.replace("[", "[[]").replace("?", "[?]"))
    except InputError:
        return False


def _waits(row: Any) -> Waits:
    return Waits(row.domain, GroupState(row.state), from_us(row.queued_us), finding_of(row.last_finding))
