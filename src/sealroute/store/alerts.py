"""Alerts at rest: ports.AlertStore for the gateway, ports.AlertLog for administrators; their states stand in store/schema.

They are written in the transaction of the event they tell.  A node that sends one first takes it, by moving its time ahead
while it is still as it was read; so of several nodes one sends it, and if that one dies another does later.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from sealroute.base.mail import Message
from sealroute.base.times import from_us, to_us
from sealroute.policy.alerts import (
    ROLLED_BACK,
    TEST,
    Alert,
    AlertRules,
    AlertState,
    Channel,
    body_of_drift,
    body_of_roll_back,
    body_of_test,
)
from sealroute.policy.history import Drift
from sealroute.policy.move import Move
from sealroute.ports import Group
from sealroute.store.engine import Database, Readers
from sealroute.store.queue import DurableQueue
from sealroute.store.schema import alert as table
from sealroute.store.statements import Statement
from sealroute.store.writer import Job, Writer

MAX_WAITING = 10_000
"""With more than that waiting no more are written; `sealroute drift list` still has every event."""
MAX_ERROR = 500
_MAILED = Statement(
    23, 1, "UPDATE alert SET state = 'sent', last_error = '' WHERE state = 'waiting' AND id IN (VALUES {rows})", exact=True
)


def write_alerts(connection: Connection, events: Iterable[Drift], rules: AlertRules) -> None:
    """Write what is to be told of the events."""
    for event in events:
        for channel in rules.channels:
            since_us = to_us(event.at - rules.repeat_after)
            alike = (
                table.c.organization == event.organization,
                table.c.domain == event.domain,
                table.c.kind == event.kind.value,
                table.c.channel == channel.value,
                table.c.created_us > since_us,
            )
            if connection.scalar(select(table.c.id).where(*alike).limit(1)) is not None or _waiting(connection) >= MAX_WAITING:
                continue
            identity = secrets.token_hex(16)
            about = (event.organization, event.domain, event.kind.value)
            connection.execute(insert(table), _row(identity, about, channel, event.at, body_of_drift(event, identity)))


def write_alert_of_move(connection: Connection, move: Move, rules: AlertRules) -> None:
    """Write that a gateway has rolled a move back; it happens once, so nothing alike keeps it from being told."""
    assert move.ended is not None
    for channel in rules.channels:
        identity = secrets.token_hex(16)
        about = (move.organization, move.domains[0], ROLLED_BACK)
        connection.execute(
            insert(table), _row(identity, about, channel, move.ended.at, body_of_roll_back(move, move.ended, identity))
        )


def _waiting(connection: Connection) -> int:
    return connection.scalar(select(func.count()).where(table.c.state == AlertState.WAITING.value)) or 0


def _row(
    identity: str, about: tuple[str, str, str], channel: Channel, at: datetime, body: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    organization, domain, kind = about
    return {
        "id": identity,
        "organization": organization,
        "domain": domain,
        "kind": kind,
        "channel": channel.value,
        "state": AlertState.WAITING.value,
        "created_us": to_us(at),
        "due_us": to_us(at),
        "attempts": 0,
        "body": json.dumps(body),
        "last_error": "",
    }


class SqlAlerts:
    """ports.AlertStore."""

    def __init__(self, writer: Writer, readers: Readers, queue: DurableQueue) -> None:
        self._writer = writer
        self._readers = readers
        self._queue = queue

    async def due(self, now: datetime, channels: Sequence[Channel], limit: int, *, tests_only: bool) -> list[Alert]:
        """What is to be sent now over these channels, the longest due first."""
        wanted = [channel.value for channel in channels]
        query = select(table).where(table.c.state == AlertState.WAITING.value, table.c.due_us <= to_us(now))
        query = query.where(table.c.channel.in_(wanted))
        if tests_only:
            query = query.where(table.c.kind == TEST)
        query = query.order_by(table.c.due_us, table.c.id).limit(limit)
        rows = await self._readers.run(lambda connection: connection.execute(query).all())
        return [_alert(row) for row in rows]

    async def take(self, alert: Alert, until: datetime) -> bool:
        """Make it ours until then, when it is tried again; False: another node has it."""
        change = (
            update(table)
            .where(table.c.id == alert.id, table.c.state == AlertState.WAITING.value, table.c.due_us == to_us(alert.due_at))
            .values(due_us=to_us(until), attempts=alert.attempts + 1)
        )
        taken: bool = await self._writer.run(Job(call=lambda connection: connection.execute(change).rowcount == 1))
        return taken

    async def note(self, identity: str, state: AlertState, error: str) -> None:
        """Record how a try went."""
        said = error.encode("utf-8", "replace").decode().replace("\0", "")[:MAX_ERROR]
        change = update(table).where(table.c.id == identity).values(state=state.value, last_error=said)
        await self._writer.run(Job(call=lambda connection: connection.execute(change).rowcount))

    async def mail(self, identity: str, message: Message, group: Group) -> None:
        """Put its mail into the queue, and take it for sent, in one transaction."""
        rows = [*self._queue.arrival(message, (group,)), (_MAILED, [(identity,)])]
        await self._writer.run(Job(rows, size_bytes=len(message.content)))


class SqlAlertLog:
    """ports.AlertLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, organization: str, limit: int) -> list[Alert]:
        """The newest first."""
        query = select(table).where(table.c.organization == organization).order_by(table.c.created_us.desc(), table.c.id)
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(query.limit(limit))]

    def add_test(self, organization: str, channels: Sequence[Channel], now: datetime) -> None:
        """Write a test for each channel."""
        with self._database.write() as connection:
            for channel in channels:
                identity = secrets.token_hex(16)
                row = _row(identity, (organization, "", TEST), channel, now, body_of_test(organization, now, identity))
                connection.execute(insert(table), row)

    def purge(self, before: datetime) -> int:
        """Drop older ones; returns how many."""
        with self._database.write() as connection:
            return connection.execute(delete(table).where(table.c.created_us < to_us(before))).rowcount


def _alert(row: Any) -> Alert:
    return Alert(
        id=row.id,
        organization=row.organization,
        domain=row.domain,
        kind=row.kind,
        channel=Channel(row.channel),
        state=AlertState(row.state),
        created_at=from_us(row.created_us),
        due_at=from_us(row.due_us),
        attempts=row.attempts,
        body=row.body,
        last_error=row.last_error,
    )
