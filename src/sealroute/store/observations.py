"""What attempts saw, by destination and day, and by move: ports.ObservationStore for the gateway, ObservationLog for others.

Numbers are added to the row that is there, never put in its place, so that several nodes count together; rows are written in
the order of their keys, so that two nodes never wait for each other in a circle.  Attempts with mail, those of a move, and
probes have a table each, alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, TextClause, delete, select, text

from sealroute.base.times import from_us, to_us
from sealroute.policy.readiness import Day, Tally, Trouble
from sealroute.ports import Observed
from sealroute.store.engine import Database
from sealroute.store.schema import move_day, observation_day, probe_day
from sealroute.store.writer import Job, Writer

_SEEN = ("satisfied", "failed", "not_offered", "unknown")
_COUNTS = (
    "attempts", "dane_satisfied", "dane_failed", "dane_not_offered", "dane_unknown", "sts_satisfied", "sts_failed",
    "sts_not_offered", "sts_unknown",
)  # fmt: skip


def _adding(table: Table) -> TextClause:
    columns, keys = [column.name for column in table.columns], ", ".join(column.name for column in table.primary_key)
    changes = [f"{name} = {table.name}.{name} + excluded.{name}" for name in _COUNTS]
    for kind in ("dane", "sts"):
        later = f"excluded.{kind}_trouble_us > COALESCE({table.name}.{kind}_trouble_us, 0)"
        for name in (f"{kind}_trouble", f"{kind}_trouble_us"):
            changes.append(f"{name} = CASE WHEN {later} THEN excluded.{name} ELSE {table.name}.{name} END")
    return text(
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)}) "
        f"ON CONFLICT ({keys}) DO UPDATE SET {', '.join(changes)}"
    )


_ADD_TO_MOVE = _adding(move_day)


class SqlObservations:
    """ports.ObservationStore, of attempts with mail or of probes."""

    def __init__(self, writer: Writer, table: Table = observation_day) -> None:
        self._writer = writer
        self._adding = _adding(table)

    async def add(self, observed: Sequence[Observed]) -> None:
        """Add these counts to what is kept."""
        ordered = sorted(observed, key=lambda item: (item.move, item.organization, item.domain, item.day.day))
        rows = [_row(item) for item in ordered if not item.move]
        moved = [_row(item) | {"move": item.move} for item in ordered if item.move]
        await self._writer.run(Job(call=lambda connection: _add(connection, self._adding, rows, moved)))


def _add(
    connection: Connection, adding: TextClause, rows: list[dict[str, Any]], moved: list[dict[str, Any]]
) -> None:  # fmt: skip
    if rows:
        connection.execute(adding, rows)
    if moved:
        connection.execute(_ADD_TO_MOVE, moved)


class SqlObservationLog:
    """ports.ObservationLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def days(self, organization: str, since: date, domains: Sequence[str] = ()) -> dict[str, list[Day]]:
        """What was seen from a day on, by domain, with mail and by probes; of all domains when none is named."""
        found: dict[str, dict[date, Day]] = {}
        with self._database.read() as connection:
            for row in connection.execute(_query(observation_day, organization, since, domains)):
                found.setdefault(row.domain, {})[date.fromisoformat(row.day)] = day_of(row)
            for row in connection.execute(_query(probe_day, organization, since, domains)):
                days, probed = found.setdefault(row.domain, {}), day_of(row)
                day = days.get(probed.day, Day(probed.day, 0, Tally(), Tally()))
                days[day.day] = replace(day, probes=probed.attempts, probed_dane=probed.dane, probed_sts=probed.sts)
        return {domain: [found[domain][day] for day in sorted(found[domain])] for domain in sorted(found)}

    def purge(self, before: datetime) -> int:
        """Drop older days; returns how many rows."""
        with self._database.write() as connection:
            return sum(
                connection.execute(delete(table).where(table.c.day < before.date().isoformat())).rowcount
                for table in (observation_day, probe_day)
            )


def _query(table: Table, organization: str, since: date, domains: Sequence[str]) -> Select[Any]:
    query = select(table).where(table.c.organization == organization, table.c.day >= since.isoformat())
    return query.where(table.c.domain.in_(list(domains))) if domains else query


def _row(item: Observed) -> dict[str, Any]:
    day = item.day
    return {
        "organization": item.organization,
        "domain": item.domain,
        "day": day.day.isoformat(),
        "attempts": day.attempts,
        **_tally_row("dane", day.dane),
        **_tally_row("sts", day.sts),
    }


def _tally_row(kind: str, tally: Tally) -> dict[str, Any]:
    why = tally.trouble.why.encode("utf-8", "replace").decode().replace("\0", "") if tally.trouble else None
    return {
        f"{kind}_satisfied": tally.satisfied,
        f"{kind}_failed": tally.failed,
        f"{kind}_not_offered": tally.not_offered,
        f"{kind}_unknown": tally.unknown,
        f"{kind}_trouble_us": to_us(tally.trouble.at) if tally.trouble else None,
        f"{kind}_trouble": why,
    }


def day_of(row: Any) -> Day:
    """The day of a row of any of the tables."""
    return Day(date.fromisoformat(row.day), row.attempts, _tally(row._mapping, "dane"), _tally(row._mapping, "sts"))


def _tally(row: Any, kind: str) -> Tally:
    at_us = row[f"{kind}_trouble_us"]
    trouble = None if at_us is None else Trouble(from_us(at_us), row[f"{kind}_trouble"])
    satisfied, failed, not_offered, unknown = (row[f"{kind}_{name}"] for name in _SEEN)
    return Tally(satisfied, failed, not_offered, unknown, trouble)
