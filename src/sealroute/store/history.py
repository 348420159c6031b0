"""What destinations had, and the events of its going: ports.HistoryStore for the gateway, ports.DriftLog for administrators.

A row is changed only if it is still as it was read, and its events are written with it; so of several nodes that see the same
loss one tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, tuple_, update

from sealroute.base.times import from_us, to_us
from sealroute.policy.alerts import AlertRules
from sealroute.policy.history import DaneState, Drift, DriftKind, Remembered, StsState
from sealroute.ports import HistoryChange
from sealroute.store.alerts import write_alerts
from sealroute.store.engine import Database, Readers
from sealroute.store.schema import destination_history as table
from sealroute.store.schema import drift_event
from sealroute.store.writer import Job, Writer

Key = tuple[str, str]


class SqlHistory:
    """ports.HistoryStore."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self.alerts = AlertRules()
        """Who is told of the events."""

    async def known(self, keys: Sequence[Key]) -> Mapping[Key, Remembered]:
        """What is remembered of these destinations (organisation, domain)."""
        query = select(table).where(tuple_(table.c.organization, table.c.domain).in_(list(keys)))
        rows = await self._readers.run(lambda connection: connection.execute(query).all())
        return {(row.organization, row.domain): _remembered(row) for row in rows}

    async def record(self, changes: Sequence[HistoryChange]) -> list[Drift]:
        """Keep what is remembered from now on; returns the events that were written."""
        written: list[Drift] = await self._writer.run(Job(call=lambda connection: _record(connection, changes, self.alerts)))
        return written


class SqlDrift:
    """ports.DriftLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, organization: str, domain: str | None = None, limit: int = 1000) -> list[Drift]:
        """The newest first."""
        query = select(drift_event).where(drift_event.c.organization == organization)
        if domain is not None:
            query = query.where(drift_event.c.domain == domain)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(drift_event.c.id.desc()).limit(limit)).all()
        return [_drift(row) for row in rows]

    def remembered(self, organization: str, domain: str | None = None, limit: int = 1000) -> list[Remembered]:
        """By domain."""
        query = select(table).where(table.c.organization == organization)
        if domain is not None:
            query = query.where(table.c.domain == domain)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.domain).limit(limit)).all()
        return [_remembered(row) for row in rows]

    def purge(self, before: datetime) -> int:
        """Drop events older than that; returns how many.  What is remembered stays."""
        with self._database.write() as connection:
            return connection.execute(delete(drift_event).where(drift_event.c.at_us < to_us(before))).rowcount


_INSERT = text(
    """
    INSERT INTO destination_history
        (organization, domain, dane, dane_first_us, dane_last_us, sts, sts_first_us, sts_last_us)
    VALUES (:organization, :domain, :dane, :dane_first_us, :dane_last_us, :sts, :sts_first_us, :sts_last_us)
    ON CONFLICT (organization, domain) DO NOTHING
    """
)


def _record(connection: Connection, changes: Sequence[HistoryChange], rules: AlertRules) -> list[Drift]:
    written: list[Drift] = []
    for change in changes:
        values, before = _row(change.after), change.before
        if before is None:
            done = connection.execute(_INSERT, values)
        else:
            unchanged = (
                table.c.organization == before.organization,
                table.c.domain == before.domain,
                table.c.dane == before.dane.value,
                table.c.sts == before.sts.value,
            )
            done = connection.execute(update(table).where(*unchanged).values(**values))
        if done.rowcount and change.events:
            write_events(connection, change.events, rules)
            written += change.events
    return written


def write_events(connection: Connection, events: Sequence[Drift], rules: AlertRules) -> None:
    """Write events, and what is to be told of them."""
    connection.execute(insert(drift_event), [_event_row(event) for event in events])
    write_alerts(connection, events, rules)


def _row(known: Remembered) -> dict[str, Any]:
    return {
        "organization": known.organization,
        "domain": known.domain,
        "dane": known.dane.value,
        "dane_first_us": _us(known.dane_first),
        "dane_last_us": _us(known.dane_last),
        "sts": known.sts.value,
        "sts_first_us": _us(known.sts_first),
        "sts_last_us": _us(known.sts_last),
    }


def _remembered(row: Any) -> Remembered:
    return Remembered(
        organization=row.organization,
        domain=row.domain,
        dane=DaneState(row.dane),
        dane_first=_moment(row.dane_first_us),
        dane_last=_moment(row.dane_last_us),
        sts=StsState(row.sts),
        sts_first=_moment(row.sts_first_us),
        sts_last=_moment(row.sts_last_us),
    )


def _event_row(event: Drift) -> dict[str, Any]:
    return {
        "organization": event.organization,
        "domain": event.domain,
        "at_us": to_us(event.at),
        "kind": event.kind.value,
        "detail": event.detail.encode("utf-8", "replace").decode().replace("\0", ""),
        "known_since_us": _us(event.known_since),
        "last_seen_us": _us(event.last_seen),
    }


def _drift(row: Any) -> Drift:
    return Drift(
        organization=row.organization,
        domain=row.domain,
        at=from_us(row.at_us),
        kind=DriftKind(row.kind),
        detail=row.detail,
        known_since=_moment(row.known_since_us),
        last_seen=_moment(row.last_seen_us),
    )


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_us(microseconds)
