"""The durable queue: ports.Queue on the writer thread and a few reading threads.

Each transition of a group stands in store/schema.  What this file adds is *when* a caller may rely on it: every method
returns after the commit, and one that is cancelled while it waits leaves nothing behind that nobody works on.

A settle whose lease was lost records what happened (events, attempts, trace) and leaves group, message and notices to the
group's new owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, func, literal_column, select, update

from sealroute.base.mail import Message
from sealroute.base.times import from_us, to_us
from sealroute.policy.attempt import Attempt, Fate
from sealroute.policy.evidence import Evidence
from sealroute.policy.record import evidence_record
from sealroute.ports import Group, GroupState, Settled, TraceEvent
from sealroute.store import statements as sql
from sealroute.store.due import Room, by_destination, in_line, is_queued
from sealroute.store.engine import Database, Readers
from sealroute.store.nodes import Nodes
from sealroute.store.notify import wakes
from sealroute.store.records import (
    AttemptTexts,
    Remembered,
    event_row,
    finding_text,
    group_of,
    group_row,
    message_of,
    message_row,
    recipients_text,
)
from sealroute.store.schema import message, recipient_group
from sealroute.store.statements import Row, Statement
from sealroute.store.writer import Job, Rows, Writer

ACTIVE, QUEUED = GroupState.ACTIVE.value, GroupState.QUEUED.value
STATUS = {Fate.DELIVERED: "Delivered", Fate.DEFERRED: "Pending", Fate.FAILED: "Failed"}
_OWNED_BY = (
    select(message.c.organization).where(message.c.id == recipient_group.c.message_id).scalar_subquery().label("organization")
)
NO_ROOM_SAID: Mapping[str, int] = MappingProxyType({})
EVIDENCE_REFRESH_US = 3_600_000_000
"""How far `evidence.last_used_us` may lag behind its use; Traces.purge allows for it."""


_COUNTED = select(
    *(
        select(func.count())
        .select_from(recipient_group)
        .where(recipient_group.c.state == literal_column(f"'{state.value}'"))
        .scalar_subquery()
        .label(state.value)
        for state in GroupState
    )
)
"""Each state by its own index, which is a tenth of the table."""


class DurableQueue:
    """The queue as one gateway process sees it."""

    def __init__(self, database: Database, writer: Writer, readers: Readers, node_id: str, lease: timedelta) -> None:
        self._database = database
        self._writer = writer
        self._readers = readers
        self.node_id = node_id
        self.lease = lease
        self._attempts = AttemptTexts()
        self._evidence: Remembered[tuple[str, str]] = Remembered(4096)
        self._evidence_used: dict[str, int] = {}
        self._wake = wakes(database, node_id)
        """Tells the other nodes, in the same transaction, that something is due now."""
        self._nodes = Nodes(database, node_id, lease)
        self._renewed_us = 0
        self._blocked = False
        """The last look found the line full of what there was no room for; the next one goes by destination."""
        self._next_destination = ""
        self.alone = False
        """True when no other gateway can be running (the gateway lock is held): every other node is dead."""

    def __repr__(self) -> str:
        return f"<DurableQueue of {self.node_id} on {self._database!r}>"

    # ------------------------------------------------------------------------------------------------ in and out

    async def add(self, message: Message, groups: Sequence[Group], events: Sequence[TraceEvent], *, active: bool) -> None:
        """Take a message in; durable when this returns.  Raises StoreUnavailable; then nothing of it is stored."""
        rows = _arrival(message, groups, self.node_id if active else None)
        rows.append((sql.INSERT_EVENT, list(map(event_row, events))))
        if not active:
            rows += self._wake
        job = Job(rows, size_bytes=len(message.content))
        if active:
            job.abandoned = lambda outcome: self._give_back(groups)
        await self._writer.run(job)

    def arrival(self, message: Message, groups: Sequence[Group]) -> Rows:
        """The rows of a notice, for who writes it together with something else; due at once."""
        return [*_arrival(message, groups, None), *self._wake]

    async def settle(self, settled: Settled) -> None:
        """Record a run.  Raises StoreUnavailable: the group then is still active, and the caller must try again."""
        facts = self._facts(settled)
        rows = [*facts, *self._verdict(settled)]
        size = 0
        for notice, groups in settled.notices:
            rows += self.arrival(notice, groups)
            size += len(notice.content)
        await self._writer.run(Job(rows, otherwise=facts, size_bytes=size, mend=True, patient=True))
        now_us = to_us(settled.attempts[-1].at) if settled.attempts else 0
        for attempt in settled.attempts:
            if attempt.evidence is not None:
                self._note_used(attempt.evidence, now_us)

    def _verdict(self, settled: Settled) -> Rows:
        """What becomes of the group, and of its message."""
        group = settled.group
        done = {fate.address for fate in settled.fates if fate.fate is not Fate.DEFERRED}
        left = tuple(recipient for recipient in group.recipients if recipient.address not in done)
        if not left:
            return [(sql.DELETE_GROUP, [(group.id, self.node_id)]), (sql.DELETE_MESSAGE, [(group.message_id,)])]
        if settled.next_attempt_at is None:
            raise ValueError(f"group {group.id} still has {len(left)} recipients, but no time for the next attempt")
        change = (
            recipients_text(left), to_us(settled.next_attempt_at), group.attempts + 1, settled.delay_notified or
            group.delay_notified, finding_text(settled.finding), *settled.last_route, group.id, self.node_id,
        )  # fmt: skip
        return [(sql.DEFER_GROUP, [change])]

    def _facts(self, settled: Settled) -> Rows:
        """What happened, whatever becomes of the group."""
        group = settled.group
        attempts: list[Row] = []
        evidence: list[Row] = []
        by_recipient: dict[str, Attempt] = {}
        for attempt in settled.attempts:
            at_us = to_us(attempt.at)
            digest = None
            if attempt.evidence is not None:
                digest, text = self._record(attempt.evidence)
                if at_us >= self._evidence_used.get(digest, 0) + EVIDENCE_REFRESH_US:
                    evidence.append((digest, text, at_us))
            attempts.append((group.message_id, attempt.domain, at_us, self._attempts.text(attempt), digest))
            for fate in attempt.recipients:
                by_recipient[fate.address] = attempt
        last = settled.attempts[-1] if settled.attempts else None
        trace: list[Row] = []
        for fate in settled.fates:
            attempted = by_recipient.get(fate.address, last)
            ip, connector = (attempted.ip, attempted.connector_name) if attempted else ("", "")
            trace.append((STATUS[fate.fate], ip, connector, group.message_id, fate.address))
        rows: list[tuple[Statement, list[Row]]] = [
            (sql.INSERT_EVENT, list(map(event_row, settled.events))),
            (sql.INSERT_ATTEMPT, attempts),
            (sql.UPDATE_TRACE, trace),
        ]
        if evidence:
            rows.append((sql.PUT_EVIDENCE, evidence))
        return rows

    def _record(self, evidence: Evidence) -> tuple[str, str]:
        """(digest, text), made once for evidence that many attempts share."""
        return self._evidence.get(evidence) or self._evidence.put(evidence, evidence_record(evidence))

    def _note_used(self, evidence: Evidence, at_us: int) -> None:
        """Committed: need not be written again for a while."""
        digest = self._record(evidence)[0]
        if at_us >= self._evidence_used.get(digest, 0) + EVIDENCE_REFRESH_US:
            if len(self._evidence_used) >= 8192:
                del self._evidence_used[next(iter(self._evidence_used))]
            self._evidence_used[digest] = at_us

    async def release(self, group_ids: Sequence[str], *, not_before: datetime | None = None) -> None:
        """Give ACTIVE groups back unworked: QUEUED at their old time, or at `not_before` if that is later."""
        if group_ids:
            earliest_us = 0 if not_before is None else to_us(not_before)
            rows = [(earliest_us, group_id, self.node_id) for group_id in group_ids]
            await self._writer.run(Job([(sql.RELEASE_GROUP, rows), *self._wake]))

    def _give_back(self, groups: Sequence[Group]) -> None:
        """The caller was cancelled before it could work on them."""
        if groups:
            rows = [(0, group.id, self.node_id) for group in groups]
            self._writer.submit_now(Job([(sql.RELEASE_GROUP, rows), *self._wake]))

    async def take_due(self, now: datetime, limit: int, *, room: Mapping[str, int] = NO_ROOM_SAID) -> list[Group]:
        """Lease up to `limit` due groups, oldest due first, of a destination in `room` no more than it says.

        While destinations without room block the line, the others come by name (store/due).
        """
        now_us, chosen = to_us(now), list[str]()
        if self._blocked:  # read before anything is taken, so that a caller who is cancelled here leaves nothing behind
            chosen, self._next_destination = await self._readers.run(
                lambda connection: by_destination(connection, now_us, limit, Room(room), self._next_destination)
            )
        groups, self._blocked = await self._writer.run(
            Job(
                call=lambda connection: self._take_due(connection, now_us, limit, Room(room), chosen),
                abandoned=lambda outcome: self._give_back(outcome[0]),
            )
        )
        return sorted(groups, key=lambda item: item.next_attempt_at)

    def _take_due(
        self, connection: Connection, now_us: int, limit: int, room: Room, chosen: Sequence[str]
    ) -> tuple[list[Group], bool]:
        groups = self._lease(connection, chosen)
        for item in groups:
            room.take(item.domain)
        blocked = self._blocked  # as long as others fill every look, nobody looks at the line
        if len(groups) < limit:
            ids, blocked = in_line(connection, now_us, limit - len(groups), room)
            groups += self._lease(connection, ids)
        return groups, blocked

    def _lease(self, connection: Connection, ids: Sequence[str]) -> list[Group]:
        """Of these, those that are still queued and that no other node is just taking."""
        if not ids:
            return []
        group = recipient_group.c
        still = select(group.id).where(group.id.in_(ids), is_queued).with_for_update(skip_locked=True)
        taken = connection.execute(
            update(recipient_group)
            .where(group.id.in_(still))
            .values(state=ACTIVE, owner=self.node_id)
            .returning(*recipient_group.columns, _OWNED_BY)
        )
        return [group_of(row, row.organization) for row in taken]

    # ---------------------------------------------------------------------------------------------------- reading

    async def next_due(self) -> datetime | None:
        """When the next QUEUED group is due."""
        group = recipient_group.c
        query = select(func.min(group.next_attempt_us)).where(is_queued)
        first: int | None = await self._readers.run(lambda connection: connection.scalar(query))
        return None if first is None else from_us(first)

    async def oldest(self) -> datetime | None:
        """When the oldest waiting message was queued: that with the first id, for ids are ordered by time of receipt."""
        group = recipient_group.c
        query = select(group.queued_us).order_by(group.message_id).limit(1)
        first: int | None = await self._readers.run(lambda connection: connection.scalar(query))
        return None if first is None else from_us(first)

    async def message(self, message_id: str) -> Message | None:
        """The message with its content."""
        query = select(message).where(message.c.id == message_id)
        row: Any = await self._readers.run(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else message_of(row)

    async def depth(self) -> Mapping[GroupState, int]:
        """How many groups there are in each state, counted: takes longer the longer the queue is (services/census)."""
        counted = await self._readers.run(lambda connection: connection.execute(_COUNTED).one())
        return {state: getattr(counted, state.value) for state in GroupState}

    # ------------------------------------------------------------------------------------------------------ nodes

    async def start_node(self, now: datetime) -> int:
        """Register this node and take back what a node of this name held before it died; alone, what any node held."""
        back: int = await self._writer.run(
            Job(call=lambda connection: self._nodes.start(connection, to_us(now), alone=self.alone))
        )
        self._renewed_us = to_us(now)
        return back

    async def renew_node(self, now: datetime) -> int:
        """Extend this node's lease and take back what nodes with expired leases held.

        Not at once after a time in which this node itself could not renew: the store was away, then, for the others too, and
        they shall have a turn to renew before they are taken for dead.
        """
        late = to_us(now) - self._renewed_us > self.lease // timedelta(microseconds=1)
        back: int = await self._writer.run(Job(call=lambda connection: self._nodes.renew(connection, to_us(now), late=late)))
        self._renewed_us = to_us(now)
        return back

    async def take_over(self, node_id: str, now: datetime) -> int:
        """Take back at once what a node held that is known to be dead, and never comes back under this name."""
        back: int = await self._writer.run(Job(call=lambda connection: self._nodes.take_over(connection, node_id, to_us(now))))
        return back

    def recover(self, now: datetime) -> int:
        """Take back what all nodes held, without being one: for a parent that holds the gateway lock and runs no worker yet."""
        if not self.alone:
            return 0
        with self._database.write() as connection:
            return self._nodes.recover(connection, to_us(now))


def _arrival(arrived: Message, groups: Sequence[Group], owner: str | None) -> list[tuple[Statement, list[Row]]]:
    """The rows of a message that enters the queue."""
    if not groups:
        raise ValueError(f"message {arrived.id} has no recipient group")
    sender = arrived.envelope.sender
    sender_key, received_us, size_bytes = sender.casefold(), to_us(arrived.received_at), len(arrived.content)
    addresses = dict.fromkeys(recipient.address for group in groups for recipient in group.recipients)
    trace = [
        (
            arrived.id, address, address.casefold(), sender, sender_key, arrived.subject, "Pending", received_us,
            arrived.client_ip, "", arrived.header_message_id, size_bytes, "",
        )
        for address in addresses
    ]  # fmt: skip
    state = QUEUED if owner is None else ACTIVE
    return [
        (sql.INSERT_MESSAGE, [message_row(arrived)]),
        (sql.INSERT_GROUP, [group_row(group, state, owner) for group in groups]),
        (sql.INSERT_TRACE, trace),
    ]
