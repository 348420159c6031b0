"""How much goes to each destination at once: ports.WindowStore for the gateway, ports.DestinationLog for administrators.

Each node has rows of its own and replaces them whole; what they mean, and when they go, stands in store/schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select

from sealroute.base.times import from_us, to_us
from sealroute.ports import DestinationRow, DestinationState, GroupState, Reach
from sealroute.store.engine import Database, Readers
from sealroute.store.patterns import matches
from sealroute.store.schema import destination_window as table
from sealroute.store.schema import recipient_group
from sealroute.store.writer import Job, Writer


class SqlWindows:
    """ports.WindowStore."""

    def __init__(self, database: Database, writer: Writer, readers: Readers) -> None:
        self._put = database.upsert(table, "node", "domain")
        self._writer = writer
        self._readers = readers

    async def load(self, node: str, limit: int) -> list[DestinationState]:
        """Those of a node that changed last, the longest unchanged of them first."""
        query = select(table).where(table.c.node == node).order_by(table.c.changed_us.desc()).limit(limit)
        rows = await self._readers.run(lambda connection: connection.execute(query).all())
        return [_state(row) for row in reversed(rows)]

    async def save(self, node: str, states: Sequence[DestinationState]) -> None:
        """Keep them instead of what was kept for the same domains."""
        rows = [_row(node, state) for state in states]
        await self._writer.run(Job(call=lambda connection: self._save(connection, rows)))

    def _save(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        connection.execute(self._put, rows)


class SqlDestinations:
    """ports.DestinationLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, domain: str | None = None, limit: int = 1000) -> list[DestinationRow]:
        """By domain and node."""
        query = select(table).order_by(table.c.domain, table.c.node).limit(limit)
        if domain is not None:
            query = query.where(matches(table.c.domain, domain))
        with self._database.read() as connection:
            states = [_state(row) for row in connection.execute(query)]
            counts = _counts(connection, sorted({state.domain for state in states}))
        return [
            DestinationRow(
                state, counts.get((state.domain, GroupState.ACTIVE), 0), counts.get((state.domain, GroupState.QUEUED), 0)
            )
            for state in states
        ]

    def purge(self, before: datetime) -> int:
        """Drop what has not changed since; returns how many rows."""
        with self._database.write() as connection:
            return connection.execute(delete(table).where(table.c.changed_us < to_us(before))).rowcount


_AT_ONCE = 500
"""Domains asked for in one statement; databases bound the number of its parameters."""


def _counts(connection: Connection, domains: Sequence[str]) -> dict[tuple[str, GroupState], int]:
    """How many groups each domain has in the queue, by state."""
    group = recipient_group.c
    counts: dict[tuple[str, GroupState], int] = {}
    for start in range(0, len(domains), _AT_ONCE):
        query = (
            select(group.domain, group.state, func.count())
            .where(group.domain.in_(domains[start : start + _AT_ONCE]))
            .group_by(group.domain, group.state)
        )
        counts |= {(domain, GroupState(state)): count for domain, state, count in connection.execute(query)}
    return counts


def _row(node: str, state: DestinationState) -> dict[str, Any]:
    return {
        "node": node,
        "domain": state.domain,
        "size": state.window,
        "halved": state.halved,
        "reach": state.reach.value,
        "changed_us": to_us(state.changed_at),
        "why": state.why.encode("utf-8", "replace").decode().replace("\0", ""),
    }


def _state(row: Row[Any]) -> DestinationState:
    return DestinationState(row.domain, row.size, row.halved, Reach(row.reach), from_us(row.changed_us), row.why, row.node)
