"""Moves of pinned connectors at rest: ports.MoveStore; their steps stand in policy/move.

A step is one transaction: the move's row, every connector that it changes, the audit of all, and the alert if there is one.
It is carried out only while the move and the connectors are as they were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, literal_column, select, update

from sealroute.base.errors import OperatorError
from sealroute.base.times import from_us, rfc3339, to_us
from sealroute.policy.alerts import AlertRules
from sealroute.policy.connector import Connector
from sealroute.policy.move import Held, Mark, Move, MoveStep
from sealroute.policy.move_json import move_from_json, move_to_json
from sealroute.policy.readiness import Day
from sealroute.ports import Changed, MoveChange
from sealroute.store.alerts import write_alert_of_move
from sealroute.store.changes import grow_version, note_change
from sealroute.store.connectors import add_to, find_in, is_active, remove_from, replace_in, selected
from sealroute.store.engine import Database
from sealroute.store.notify import notify
from sealroute.store.observations import day_of
from sealroute.store.queue_admin import SLICE
from sealroute.store.records import finding_of
from sealroute.store.schema import attempt, connector, move_day, recipient_group
from sealroute.store.schema import connector_move as table

_ACTIONS = {MoveStep.OBSERVING: "StartMove", MoveStep.ROLLED_BACK: "RollBackMove"}
group = recipient_group.c
_IS_QUEUED = group.state == literal_column("'queued'")
"""In the words of the part indexes (store/schema)."""


class _Changed(Exception):
    """Something is no longer as it was seen; undoes the transaction."""


class SqlMoves:
    """ports.MoveStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.alerts = AlertRules()
        """Who is told of a roll-back."""

    def all(self, organization: str) -> list[Move]:
        """Under way and ended, the newest first."""
        query = select(table).where(table.c.organization == organization).order_by(table.c.started_us.desc(), table.c.id)
        return self._moves(query)

    def under_way(self) -> list[Move]:
        """Those of all organisations that have not ended."""
        return self._moves(select(table).where(is_active).order_by(table.c.started_us, table.c.id))

    def _moves(self, query: Any) -> list[Move]:
        with self._database.read() as connection:
            return [move_from_json(dict(row._mapping), row.record) for row in connection.execute(query)]

    def carry_out(self, change: MoveChange, now: datetime, actor: str, *, alert: bool = False) -> bool:
        """One step, in one transaction; see ports.MoveStore."""
        try:
            with self._database.write() as connection:
                self._carry_out(connection, change, now, actor, alert=alert)
        except _Changed:
            return False
        return True

    def _carry_out(self, connection: Connection, change: MoveChange, now: datetime, actor: str, *, alert: bool) -> None:
        grow_version(connection)  # first: on PostgreSQL its row lock makes others wait
        if not (_as_seen(connection, change) and _put(connection, change)):
            raise _Changed
        for gone in change.removed:
            row = connection.execute(selected.where(connector.c.guid == gone.guid)).one()
            remove_from(connection, row, actor, now)
        for before, after in change.replaced:
            replace_in(connection, before, replace(after, when_created=before.when_created, when_changed=now), actor)
        for new in change.added:
            add_to(connection, replace(new, when_changed=now), actor, now)
        _audit(connection, change, actor, now)
        if alert:
            write_alert_of_move(connection, change.after, self.alerts)

    def days(self, move: Move) -> dict[str, list[Day]]:
        """What attempts through the moved connector saw, by domain."""
        query = select(move_day).where(move_day.c.move == move.id).order_by(move_day.c.domain, move_day.c.day)
        found: dict[str, list[Day]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.domain, []).append(day_of(row))
        return found

    def held(self, move: Move, limit: int) -> list[Held]:
        """Messages that wait after an attempt since the start; of more than `limit` waiting, those due first are looked at."""
        waits = (
            select(group.id, group.message_id, group.domain, group.last_finding)
            .where(group.domain.in_(move.domains), _IS_QUEUED, group.last_finding.is_not(None))
            .order_by(group.next_attempt_us)
            .limit(limit)
            .subquery()
        )
        tried = and_(
            attempt.c.message_id == waits.c.message_id,
            attempt.c.domain == waits.c.domain,
            attempt.c.at_us >= to_us(move.started.at),
        )
        query = (
            select(waits.c.id, waits.c.domain, waits.c.last_finding, func.min(attempt.c.at_us).label("since_us"))
            .join_from(waits, attempt, tried)
            .group_by(waits.c.id, waits.c.domain, waits.c.last_finding)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = ((row, finding_of(row.last_finding)) for row in rows)
        return [Held(row.domain, from_us(row.since_us), finding.reason) for row, finding in found if finding is not None]

    def try_again(self, move: Move, due: datetime) -> int:
        """Make what waits due at the moment, if it is not earlier, some at a time; returns how many."""
        later = (group.domain.in_(move.domains), _IS_QUEUED, group.next_attempt_us > to_us(due))
        some = select(group.id).where(*later).limit(SLICE)
        changed = 0
        while True:
            with self._database.write() as connection:
                ids = list(connection.scalars(some))
                if not ids:
                    return changed
                hurried = update(recipient_group).where(group.id.in_(ids), *later).values(next_attempt_us=to_us(due))
                changed += connection.execute(hurried).rowcount
                notify(connection, Changed.QUEUE)


def _as_seen(connection: Connection, change: MoveChange) -> bool:
    """Whether the connectors are as they were seen."""
    seen: Sequence[Connector] = (*(before for before, _ in change.replaced), *change.removed)
    return all(find_in(connection, item.organization, item.guid) == item for item in seen)


def _put(connection: Connection, change: MoveChange) -> bool:
    """Write the move's row; False when it is no longer at the step that was seen."""
    move, before = change.after, change.before
    values = {"step": move.step.value, "record": move_to_json(move)}
    if before is not None:
        seen = (table.c.id == before.id, table.c.step == before.step.value)
        return connection.execute(update(table).where(*seen).values(**values)).rowcount == 1
    other = select(table.c.id).where(
        table.c.organization == move.organization, table.c.connector_guid == move.connector_guid, is_active
    )
    if connection.scalar(other) is not None:
        return False
    if connection.scalar(select(table.c.id).where(table.c.id == move.id)) is not None:
        raise OperatorError.one("move", f"the id {move.id} is taken.", "Try again.")
    keys = {"id": move.id, "organization": move.organization, "connector_guid": move.connector_guid}
    about = {"connector_name": move.connector_name, "started_us": to_us(move.started.at)}
    connection.execute(insert(table), keys | about | values)
    return True


def _audit(connection: Connection, change: MoveChange, actor: str, at: datetime) -> None:
    """What `sealroute connector history` shows of the step itself."""
    move = change.after
    about = {"Move": move.id, "Name": move.connector_name, "Guid": move.connector_guid}
    before = about | {"Step": None if change.before is None else change.before.step.value, "Why": None}
    mark: Mark = move.ended or move.mandatory or move.started
    after = about | {"Step": move.step.value, "Why": mark.why or None}
    if move.review_at is not None:
        after["Review"] = rfc3339(move.review_at)
    note_change(
        connection, (move.organization, move.connector_guid, move.connector_name), actor, at,
        _ACTIONS.get(move.step, "AdvanceMove"), (before, after),
    )  # fmt: skip
