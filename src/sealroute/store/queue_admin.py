"""Looking at the queue and steering it: ports.QueueAdmin, from this process or another.

Changes are made in slices of some hundred groups, so that a command for a long queue does not keep the gateway from writing.
Each slice looks again at the state: what a node has taken meanwhile is left alone.  The gateway notices by asking when the
next group is due; on PostgreSQL it is woken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    case,
    delete,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)

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
SWEEP = 5_000
group = recipient_group.c


class SqlQueueAdmin:
    """The queue as administrators see it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, *, domain: str | None = None, state: GroupState | None = None, sender: str | None = None, limit: int = 1000
    ) -> list[QueueItem]:
        """Oldest received first; `*` in domain and sender is a wildcard.  `expires_at` is left to who knows the connector."""
        query = _items
        if domain is not None:
            query = query.where(matches(group.domain, domain if "*" in domain else compared(domain)))
        if sender is not None:
            query = query.where(matches(message.c.sender, sender, any_case=True))
        in_order = query.order_by(group.message_id, group.id).limit(limit)  # message ids are ordered by time of receipt
        if state is None and (domain is None or "*" in domain):
            return self._items(in_order)
        # The waiting and those at work each have indexes of their own.  The latter are no more than the nodes hold in memory;
        # in SQL's order SQLite would look for them in the whole queue.
        items: list[QueueItem] = []
        if state is not GroupState.ACTIVE:
            items += self._items(in_order.where(_IS_WAITING if state is None else _stands(state)))
        if state in (None, GroupState.ACTIVE):
            items += self._items(query.where(_stands(GroupState.ACTIVE)))
        return sorted(items, key=lambda item: (item.group.message_id, item.group.id))[:limit]

    def show(self, message_or_group_id: str) -> list[QueueItem]:
        """The group, or all groups of the message; empty when neither is in the queue."""
        found = or_(group.id == message_or_group_id, group.message_id == message_or_group_id)
        return self._items(_items.where(found).order_by(group.id))

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
        query = select(group.id).where(group.state.in_([state.value for state in states]))
        if tuple(ids) == ALL:
            yield from self._pages(query)
            return
        found: dict[str, None] = {}
        with self._database.read() as connection:
            for start in range(0, len(ids), SLICE):
                some = list(ids[start : start + SLICE])
                meant = or_(group.id.in_(some), group.message_id.in_(some))
                found.update(dict.fromkeys(connection.scalars(query.where(meant))))
        chosen = list(found)
        for start in range(0, len(chosen), SLICE):
            yield chosen[start : start + SLICE]

    def _pages(self, query: Select[Any]) -> Iterator[list[str]]:
        """The groups of a query, so many at a time as a slice holds, however long the queue is."""
        last = ""
        while True:
            with self._database.read() as connection:
                page: list[str] = list(connection.scalars(query.where(group.id > last).order_by(group.id).limit(SLICE)))
            if not page:
                return
            yield page
            last = page[-1]

    def sweep(self) -> int:
        """Delete messages that have no group any more; returns how many.

        On PostgreSQL two nodes that finish a message's last two groups at the same moment leave it behind.  SQLite has one
        writer at a time, so there is none to look for.
        """
        swept, last = 0, ""
        while self._database.path is None:
            with self._database.read() as connection:
                query = select(message.c.id).where(message.c.id > last).order_by(message.c.id).limit(SWEEP)
                page = list(connection.scalars(query))
                if not page:
                    break
                last = page[-1]
                lost = list(connection.scalars(select(message.c.id).where(message.c.id.in_(page), _IS_LOST)))
            if lost:
                with self._database.write() as connection:
                    swept += connection.execute(delete(message).where(message.c.id.in_(lost), _IS_LOST)).rowcount
        return swept


def _stands(state: GroupState) -> ColumnElement[bool]:
    return group.state == literal_column(f"'{state.value}'")


_IS_WAITING = group.state != literal_column("'active'")
"""These two in the words of the part indexes (store/schema)."""
_IS_LOST = ~exists(select(1).select_from(recipient_group).where(group.message_id == message.c.id))
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
            _IS_LOST,
        )
    )
    return len(gone)
