"""What probes look after and what they saw: ports.WatchStore for the gateway, ports.WatchLog for administrators.

Which node probes a destination is settled by its row (store/schema): a node takes it by moving its time while it is as it was
read, and its result counts only if the row still is as the node left it.  What changed, the events and the alerts about them
are written in the transaction that keeps the sighting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, tuple_, update

from sealroute.base.times import from_us, to_us
from sealroute.policy.alerts import AlertRules
from sealroute.policy.history import Drift
from sealroute.policy.sighting import Sighting
from sealroute.policy.sighting_changes import ChangeKind, SeenChange
from sealroute.policy.sighting_json import from_record, to_record
from sealroute.ports import Destination, ProbeEnd, Watched
from sealroute.store.engine import Database, Readers
from sealroute.store.history import write_events
from sealroute.store.schema import destination_change, observation_day
from sealroute.store.schema import destination_watch as table
from sealroute.store.writer import Job, Writer

MAX_CHANGES = 100
"""Changes kept of one destination."""
MAX_TROUBLE = 500


class SqlWatch:
    """ports.WatchStore."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self.alerts = AlertRules()
        """Who is told of the events."""

    async def traffic(self, since: date, limit: int) -> list[Destination]:
        """Where mail was tried to go since that day, those with the most attempts first."""
        days = observation_day.c
        query = (
            select(days.organization, days.domain)
            .where(days.day >= since.isoformat())
            .group_by(days.organization, days.domain)
            .order_by(func.sum(days.attempts).desc(), days.organization, days.domain)
            .limit(limit)
        )
        rows = await self._readers.run(lambda connection: connection.execute(query).all())
        return [(row.organization, row.domain) for row in rows]

    async def enrol(self, first: Mapping[Destination, datetime], now: datetime) -> int:
        """Add those that are not there."""
        rows = [
            {"organization": organization, "domain": domain, "due_us": to_us(first[organization, domain]), "now_us": to_us(now)}
            for organization, domain in sorted(first)
        ]
        added: int = await self._writer.run(Job(call=lambda connection: _enrol(connection, rows)))
        return added

    async def due(self, now: datetime, limit: int) -> list[Watched]:
        """What is to be probed, the longest due first."""
        query = select(table).where(table.c.due_us <= to_us(now)).order_by(table.c.due_us, table.c.domain).limit(limit)
        rows = await self._readers.run(lambda connection: connection.execute(query).all())
        return [_watched(row) for row in rows]

    async def hasten(self, keys: Sequence[Destination], now: datetime, apart: timedelta) -> int:
        """Make due now what is not due within `apart` (as it would be with a probe under way) nor was probed within that."""
        later, before = to_us(now + apart), to_us(now - apart)
        change = (
            update(table)
            .where(tuple_(table.c.organization, table.c.domain).in_(list(keys)), table.c.due_us > later)
            .where(table.c.probed_us < before)
            .values(due_us=to_us(now))
        )
        hastened: int = await self._writer.run(Job(call=lambda connection: connection.execute(change).rowcount))
        return hastened

    async def take(self, watched: Watched, until: datetime) -> Watched | None:
        """Make it ours until then; None: another node has it."""
        change = update(table).where(*_as_it_was(watched)).values(due_us=to_us(until))
        taken: bool = await self._writer.run(Job(call=lambda connection: connection.execute(change).rowcount == 1))
        if not taken:
            return None
        return Watched(watched.organization, watched.domain, until, watched.sighting, watched.probed_at, watched.trouble)

    async def end(self, ended: ProbeEnd) -> list[Drift] | None:
        """Keep what a probe came to; returns the events that were written, None when it was not ours any more."""
        written: list[Drift] | None = await self._writer.run(
            Job(call=lambda connection: _end(connection, ended, self.alerts))
        )  # fmt: skip
        return written


_ENROL = text(
    """
    INSERT INTO destination_watch (organization, domain, due_us, probed_us, trouble, sighting)
    VALUES (:organization, :domain, :due_us, :now_us, '', NULL)
    ON CONFLICT (organization, domain) DO NOTHING
    """
)


def _enrol(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(connection.execute(_ENROL, row).rowcount for row in rows)


def _as_it_was(watched: Watched) -> tuple[Any, ...]:
    return (
        table.c.organization == watched.organization,
        table.c.domain == watched.domain,
        table.c.due_us == to_us(watched.due_at),
    )


def _end(connection: Connection, ended: ProbeEnd, rules: AlertRules) -> list[Drift] | None:
    values: dict[str, Any] = {
        "due_us": to_us(ended.due_at), "probed_us": to_us(ended.at), "trouble": _storable(ended.trouble)[:MAX_TROUBLE]
    }  # fmt: skip
    compared = ended.compared
    if compared is not None:
        values["sighting"] = json.dumps(to_record(compared.after))
    if not connection.execute(update(table).where(*_as_it_was(ended.watched)).values(**values)).rowcount:
        return None
    if compared is None:
        return []
    if compared.changes:
        _write_changes(connection, ended.watched, compared.changes)
    if compared.events:
        write_events(connection, compared.events, rules)
    return list(compared.events)


def _write_changes(connection: Connection, about: Watched, changes: Sequence[SeenChange]) -> None:
    rows = [
        {
            "organization": about.organization,
            "domain": about.domain,
            "at_us": to_us(change.at),
            "kind": change.kind.value,
            "host": change.host,
            "text": _storable(change.text),
        }
        for change in changes
    ]
    connection.execute(insert(destination_change), rows)
    mine = (destination_change.c.organization == about.organization, destination_change.c.domain == about.domain)
    newest = select(destination_change.c.id).where(*mine).order_by(destination_change.c.id.desc())
    too_old = connection.scalar(newest.offset(MAX_CHANGES).limit(1))
    if too_old is not None:
        connection.execute(delete(destination_change).where(*mine, destination_change.c.id <= too_old))


def _storable(words: str) -> str:
    """Without the characters that a database refuses."""
    return words.encode("utf-8", "replace").decode().replace("\0", "")


class SqlWatchLog:
    """ports.WatchLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def watched(self, organization: str, domains: Sequence[str] = ()) -> dict[str, Watched]:
        """What the last probes showed, by domain; of all domains when none is named."""
        query = select(table).where(table.c.organization == organization)
        if domains:
            query = query.where(table.c.domain.in_(list(domains)))
        with self._database.read() as connection:
            return {row.domain: _watched(row) for row in connection.execute(query.order_by(table.c.domain))}

    def changes(self, organization: str, domain: str, limit: int) -> list[SeenChange]:
        """What a destination changed, the latest first."""
        query = select(destination_change).where(
            destination_change.c.organization == organization, destination_change.c.domain == domain
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(destination_change.c.id.desc()).limit(limit)).all()
        return [SeenChange(from_us(row.at_us), ChangeKind(row.kind), row.host, row.text) for row in rows]

    def purge(self, before: datetime) -> int:
        """Drop older changes, and destinations that were not probed since; returns how many rows."""
        with self._database.write() as connection:
            return sum(
                connection.execute(delete(old).where(column < to_us(before))).rowcount
                for old, column in ((destination_change, destination_change.c.at_us), (table, table.c.probed_us))
            )


def _watched(row: Row[Any]) -> Watched:
    sighting = _sighting(row.sighting)
    probed_at = from_us(row.probed_us) if row.sighting is not None or row.trouble else None
    return Watched(row.organization, row.domain, from_us(row.due_us), sighting, probed_at, row.trouble)


def _sighting(words: str | None) -> Sighting | None:
    """None also for one that cannot be read: the next probe is then like the first."""
    try:
        return None if words is None else from_record(json.loads(words))
    except (ValueError, KeyError, TypeError):
        return None
