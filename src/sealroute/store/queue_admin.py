"""Looking at the queue and steering it: ports.QueueAdmin, from this process or another.

Changes are made in slices of some hundred groups, so that a command for a long queue does not keep the gateway from writing.
Each slice looks again at the state: what a node has taken meanwhile is left alone.  The gateway notices by asking when the
next group is due; on PostgreSQL it is woken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, delete, exists, insert, or_, select, update

from sealroute.base.names import domain as compared
from sealroute.base.times import from_us, to_us
from sealroute.ports import Changed, GroupState, QueueItem, TraceEvent
from sealroute.store.engine import Database
from sealroute.store.notify import notify
from sealroute.store.patterns import matches
from sealroute.store.records import event_row, group_of, recipients_of
from sealroute.store.schema import message, recipient_group, trace_event, trace_message
from sealroute.store.statements import EVENT

ALL = ("*",)
SLICE = 500
group = recipient_group.c


class SqlQueueAdmin:
    """The queue as administrators see it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, *, domain: str | None = None, state: GroupState | None = None, sender: str | None = None, limit: int = 1000
    ) -> list[QueueItem]:
        """Oldest received first; `*` in domain and sender is a wildcard.  `expires_at` is left to who knows the connector."""
        query = _items.order_by(group.message_id, group.id).limit(limit)  # message ids are ordered by time of receipt
        if domain is not None:
            query = query.where(matches(group.domain, domain if "*" in domain else compared(domain)))
        if state is not None:
            query = query.where(group.state == state.value)
        if sender is not None:
            query = query.where(matches(message.c.sender, sender, any_case=True))
        return self._items(query)

    def show(self, message_or_group_id: str) -> list[QueueItem]:
        """The group, or all groups of the message; empty when neither is in the queue."""
        return self._items(
            _items.where(or_(group.id == message_or_group_id, group.message_id == message_or_group_id)).order_by(group.id)
        )

    def _items(self, query: Any) -> list[QueueItem]:
        with self._database.read() as connection:
            return [_item_of(row) for row in connection.execute(query)]

    def retry(self, ids: Sequence[str], now: datetime) -> int:
        """Make QUEUED groups due now; those that are due already stay where they are in line."""
        now_us = to_us(now)
        due = case((group.next_attempt_us > now_us, now_us), else_=group.next_attempt_us)
        return self._change(ids, GroupState.QUEUED, {"next_attempt_us": due})

    def hold(self, ids: Sequence[str]) -> int:
        """QUEUED → SUSPENDED."""
        return self._change(ids, GroupState.QUEUED, {"state": GroupState.SUSPENDED.value})

    def release(self, ids: Sequence[str], now: datetime) -> int:
        """SUSPENDED → QUEUED, due now."""
        return self._change(ids, GroupState.SUSPENDED, {"state": GroupState.QUEUED.value, "next_attempt_us": to_us(now)})

    def _change(self, ids: Sequence[str], state: GroupState, values: dict[str, Any]) -> int:
        changed = 0
        for some in self._slices(ids, (state,)):
            with self._database.write() as connection:
                changed += connection.execute(
                    update(recipient_group).where(group.id.in_(some), group.state == state.value).values(**values)
                ).rowcount
                if "next_attempt_us" in values:
                    notify(connection, Changed.QUEUE)
        return changed

    def remove(self, ids: Sequence[str], now: datetime, actor: str) -> int:
        """Drop QUEUED and SUSPENDED groups without an NDR; their recipients are Failed in the trace."""
        removed = 0
        for some in self._slices(ids, (GroupState.QUEUED, GroupState.SUSPENDED)):
            with self._database.write() as connection:
                removed += _remove(connection, some, now, actor)
        return removed

    def _slices(self, ids: Sequence[str], states: Sequence[GroupState]) -> Iterator[list[str]]:
        """The ids of the groups that are meant and now in one of the states, some at a time."""
        found: dict[str, None] = {}
        with self._database.read() as connection:
            query = select(group.id).where(group.state.in_([state.value for state in states]))
            if tuple(ids) == ALL:
                found.update(dict.fromkeys(connection.scalars(query)))
            else:
                for start in range(0, len(ids), SLICE):
                    some = list(ids[start : start + SLICE])
                    meant = or_(group.id.in_(some), group.message_id.in_(some))
                    found.update(dict.fromkeys(connection.scalars(query.where(meant))))
        chosen = list(found)
        for start in range(0, len(chosen), SLICE):
            yield chosen[start : start + SLICE]


_items = select(
    recipient_group,
    message.c.sender,
    message.c.subject,
    message.c.header_message_id,
    message.c.size_bytes,
    message.c.received_us,
).join(message, message.c.id == group.message_id)


def _item_of(row: Any) -> QueueItem:
    return QueueItem(
        group=group_of(row),
        state=GroupState(row.state),
        sender=row.sender,
        subject=row.subject,
        header_message_id=row.header_message_id,
        size_bytes=row.size_bytes,
        received_at=from_us(row.received_us),
    )


def _remove(connection: Connection, ids: Sequence[str], now: datetime, actor: str) -> int:
    gone = connection.execute(
        delete(recipient_group)
        .where(group.id.in_(ids), group.state != GroupState.ACTIVE.value)
        .returning(group.message_id, group.recipients)
    ).all()
    events = []
    for row in gone:
        addresses = [recipient.address for recipient in recipients_of(row.recipients)]
        connection.execute(
            update(trace_message)
            .where(trace_message.c.message_id == row.message_id, trace_message.c.recipient.in_(addresses))
            .values(status="Failed")
        )
        for address in addresses:
            event = TraceEvent(row.message_id, now, "FAIL", address, f"Removed from the queue by {actor}, without an NDR.")
            events.append(dict(zip(EVENT, event_row(event), strict=True)))
    if events:
        connection.execute(insert(trace_event), events)
    connection.execute(
        delete(message).where(
            message.c.id.in_({row.message_id for row in gone}),
            ~exists(select(1).select_from(recipient_group).where(group.message_id == message.c.id)),
        )
    )
    return len(gone)
