"""Connectors at rest, their audit, and the view of them that a running gateway reads without waiting.

A change and its audit are one transaction, which also makes `connector_version` grow; that is how a running gateway notices.
A stored connector that cannot be read in full is an error, never a connector with defaults: the part that was not understood
may be the one that made it strict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, delete, insert, literal_column, or_, select, update

from sealroute.base.errors import OperatorError, Problem
from sealroute.base.times import from_us, to_us
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import connector_from_json, connector_to_json
from sealroute.policy.exceptions import TimedException
from sealroute.policy.transport.rule import TransportRule
from sealroute.ports import Change
from sealroute.store.changes import RULE_ACTIONS, grow_version, note_change, version
from sealroute.store.engine import Database, Readers
from sealroute.store.exceptions import end_of_connector, load_in_force
from sealroute.store.rules import load as load_rules
from sealroute.store.rules import refuse_if_routed
from sealroute.store.schema import connector as table
from sealroute.store.schema import connector_change, connector_move, organization

VALIDATE = "Validate"
"""The action under which a validation's tasks stand in the audit."""


def utc_now() -> datetime:
    """The wall clock; connectors are stamped with it, whatever time the queue keeps."""
    return datetime.now(UTC)


class SqlConnectors:
    """ports.ConnectorStore.

    `when_created` and `when_changed` are the store's; what the caller's connector says there is ignored, but for an import's
    `when_created`, which decides between two connectors of the same domain.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    def all(self, organization: str) -> list[Connector]:
        """By name; raises OperatorError naming a connector that cannot be read."""
        with self._database.read() as connection:
            rows = connection.execute(selected.where(table.c.organization == organization).order_by(table.c.name_key)).all()
        return [_connector_of(row) for row in rows]

    def get(self, organization: str, identity: str) -> Connector | None:
        """By name (any case) or GUID."""
        with self._database.read() as connection:
            return find_in(connection, organization, identity)

    def add(self, connector: Connector, actor: str) -> None:
        """Raises OperatorError when the name is taken or there is no such organisation."""
        now = self._now()
        with self._database.write() as connection:
            add_to(connection, replace(connector, when_created=now, when_changed=now), actor, now)

    def save_all(self, added: Sequence[Connector], replaced: Sequence[tuple[Connector, Connector]], actor: str) -> None:
        """All in one transaction, or none; raises OperatorError."""
        now = self._now()
        with self._database.write() as connection:
            for seen, after in replaced:
                if find_in(connection, seen.organization, seen.guid) != seen:
                    raise OperatorError.one("Identity", f"connector {seen.name!r} was changed or removed meanwhile.")
                # The age of the connector stays: it decides between two of the same domain.
                replace_in(connection, seen, replace(after, when_created=seen.when_created, when_changed=now), actor)
            for connector in added:
                created = connector.when_created or now
                add_to(connection, replace(connector, when_created=created, when_changed=now), actor, now)

    def replace(self, connector: Connector, actor: str) -> None:
        """Replace by GUID; raises OperatorError when it is gone or the new name is taken."""
        now = self._now()
        with self._database.write() as connection:
            before = find_in(connection, connector.organization, connector.guid)
            if before is None:
                raise OperatorError.one("Identity", f"there is no connector {connector.name!r} any more.", "It was removed.")
            replace_in(connection, before, replace(connector, when_created=before.when_created, when_changed=now), actor)

    def remove(self, organization: str, guid: str, actor: str) -> None:
        """Raises OperatorError when it is gone."""
        with self._database.write() as connection:
            row = connection.execute(selected.where(table.c.organization == organization, table.c.guid == guid)).one_or_none()
            if row is None:
                raise OperatorError.one("Identity", f"there is no connector with GUID {guid}.")
            remove_from(connection, row, actor, self._now())

    def validated(self, seen: Connector, after: Connector, record: Mapping[str, Any], actor: str) -> None:
        """Keep what a validation of the connector `seen` came to; raises OperatorError when it has changed meanwhile."""
        now = self._now()
        with self._database.write() as connection:
            if find_in(connection, seen.organization, seen.guid) != seen:
                raise OperatorError.one("Identity", f"connector {seen.name!r} was changed or removed meanwhile.")
            replace_in(connection, seen, replace(after, when_created=seen.when_created, when_changed=now), actor)
            about = (seen.organization, seen.guid, seen.name)
            note_change(connection, about, actor, now, VALIDATE, (None, record))

    def last_validation(self, organization: str, guid: str) -> Mapping[str, Any] | None:
        """What `validated` kept last; None when the connector was never validated."""
        change = connector_change.c
        query = select(change.after).where(
            change.organization == organization, change.connector_guid == guid, change.action == VALIDATE
        )
        with self._database.read() as connection:
            return _mapping(connection.scalar(query.order_by(change.id.desc()).limit(1)))

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        """The newest first."""
        change = connector_change.c
        mine = (change.organization == organization) & change.action.not_in(RULE_ACTIONS)
        query = select(connector_change).where(mine).order_by(change.id.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Change(from_us(row.at_us), row.actor, row.action, row.connector_name, _mapping(row.before), _mapping(row.after))
            for row in rows
        ]

    def version(self) -> int:
        """Grows with every change."""
        with self._database.read() as connection:
            return version(connection)


class LiveConnectors:
    """ports.Connectors: the set as last loaded, organisation by organisation; `refresh` looks whether it changed."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._version = -1
        self._loaded: Mapping[str, tuple[Connector, ...]] = MappingProxyType({})
        self._exceptions: Mapping[str, Mapping[tuple[str, str], TimedException]] = MappingProxyType({})
        self._moves: Mapping[str, Mapping[str, tuple[str, datetime]]] = MappingProxyType({})
        self._rules: Mapping[str, tuple[TransportRule, ...]] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"<LiveConnectors version {self._version}, {sum(map(len, self._loaded.values()))} connectors>"

    def all(self, organization: str) -> Sequence[Connector]:
        """The latest loaded set, by name; empty before the first refresh."""
        return self._loaded.get(organization, ())

    def everywhere(self) -> Iterator[Connector]:
        """Those of all organisations."""
        for connectors in self._loaded.values():
            yield from connectors

    def exceptions(self, organization: str) -> Mapping[tuple[str, str], TimedException]:
        """Those in force when last loaded, by connector GUID and recipient domain; their date may have passed since."""
        return self._exceptions.get(organization, _NO_EXCEPTIONS)

    def moves(self, organization: str) -> Mapping[str, tuple[str, datetime]]:
        """Moves under way by connector GUID: their id, and when they were started; as last loaded."""
        return self._moves.get(organization, _NO_MOVES)

    def rules(self, organization: str) -> Sequence[TransportRule]:
        """The transport rules that are enabled, by priority."""
        return self._rules.get(organization, ())

    async def refresh(self) -> bool:
        """Load connectors, exceptions, moves and transport rules if they changed; True when they did.

        Raises OperatorError when one cannot be read and StoreUnavailable when the store cannot: the last set then stays.
        """
        found = await self._readers.run(self._changed)
        if found is None:
            return False
        number, rows, excepted, moving, enabled = found
        loaded: dict[str, list[Connector]] = {}
        for row in rows:
            loaded.setdefault(row.organization, []).append(_connector_of(row))
        exceptions: dict[str, dict[tuple[str, str], TimedException]] = {}
        for item in excepted:
            exceptions.setdefault(item.organization, {})[item.connector_guid, item.domain] = item
        rules: dict[str, list[TransportRule]] = {}
        for rule in enabled:
            rules.setdefault(rule.organization, []).append(rule)
        self._loaded = MappingProxyType({organization: tuple(items) for organization, items in loaded.items()})
        self._exceptions = MappingProxyType(exceptions)
        moves: dict[str, dict[str, tuple[str, datetime]]] = {}
        for organization_, guid, identity, started_us in moving:
            moves.setdefault(organization_, {})[guid] = identity, from_us(started_us)
        self._moves = MappingProxyType(moves)
        self._rules = MappingProxyType({organization: tuple(items) for organization, items in rules.items()})
        self._version = number
        return True

    def _changed(
        self, connection: Connection
    ) -> tuple[int, Sequence[Any], list[TimedException], Sequence[Any], list[TransportRule]] | None:
        number = version(connection)
        if number == self._version:
            return None
        rows = connection.execute(selected.order_by(table.c.name_key)).all()
        rules = [rule for rule in load_rules(connection) if rule.enabled]
        return number, rows, load_in_force(connection, utc_now()), connection.execute(_moving).all(), rules


_NO_EXCEPTIONS: Mapping[tuple[str, str], TimedException] = MappingProxyType({})
_NO_MOVES: Mapping[str, tuple[str, datetime]] = MappingProxyType({})


selected = select(table.c.guid, table.c.organization, table.c.name, table.c.parameters)
is_active = connector_move.c.step.in_((literal_column("'observing'"), literal_column("'mandatory'")))
"""Of a move under way, in the words of its index."""
_moving = select(
    connector_move.c.organization, connector_move.c.connector_guid, connector_move.c.id, connector_move.c.started_us
).where(is_active)


def _connector_of(row: Any) -> Connector:
    try:
        return connector_from_json(row.parameters)
    except OperatorError as error:
        raise OperatorError(
            *(Problem(f"connector {row.name!r}: {item.where}", item.what, item.fix) for item in error.problems)
        ) from None


def _row(connector: Connector) -> dict[str, Any]:
    changed = connector.when_changed
    assert changed is not None
    return {
        "name": connector.name,
        "name_key": connector.name.casefold(),
        "parameters": connector_to_json(connector),
        "changed_us": to_us(changed),
    }


def find_in(connection: Connection, organization: str, identity: str) -> Connector | None:
    """By name (any case) or GUID."""
    query = selected.where(
        table.c.organization == organization, or_(table.c.guid == identity.lower(), table.c.name_key == identity.casefold())
    )
    rows = connection.execute(query).all()  # two, if someone named a connector like another's GUID: the GUID decides
    rows = [row for row in rows if row.guid == identity.lower()] or list(rows)
    return _connector_of(rows[0]) if rows else None


def add_to(connection: Connection, added: Connector, actor: str, now: datetime) -> None:
    """Add it, audited; raises OperatorError when its name or GUID is taken or there is no such organisation."""
    known = connection.scalar(select(organization.c.id).where(organization.c.id == added.organization))
    if known is None:
        raise OperatorError.one("Organization", f"there is no organisation {added.organization!r}.")
    _refuse_taken_name(connection, added)
    if connection.scalar(select(table.c.guid).where(table.c.guid == added.guid)) is not None:
        raise OperatorError.one("Guid", f"there is a connector with GUID {added.guid} already.")
    stored = _row(added)
    created = to_us(added.when_created or now)
    connection.execute(insert(table), stored | {"guid": added.guid, "organization": added.organization, "created_us": created})
    _record(connection, added, actor, now, "New", None, stored["parameters"])


def remove_from(connection: Connection, row: Any, actor: str, now: datetime) -> None:
    """Remove the connector of a row of `selected`."""
    connection.execute(delete(table).where(table.c.guid == row.guid))
    gone = Connector(guid=row.guid, organization=row.organization, name=row.name)
    refuse_if_routed(connection, gone, None)
    end_of_connector(connection, row.organization, row.guid, actor, now)
    _record(connection, gone, actor, now, "Remove", row.parameters, None)


def replace_in(connection: Connection, before: Connector, after: Connector, actor: str) -> None:
    """Put `after`, stamped, in the place of `before`, audited; raises OperatorError when its name is taken."""
    changed = after.when_changed
    assert changed is not None
    _refuse_taken_name(connection, after)
    refuse_if_routed(connection, before, after)
    stored = _row(after)
    connection.execute(update(table).where(table.c.guid == after.guid).values(**stored))
    _record(connection, after, actor, changed, "Set", connector_to_json(before), stored["parameters"])


def _refuse_taken_name(connection: Connection, connector: Connector) -> None:
    taken = connection.scalar(
        select(table.c.name).where(
            table.c.organization == connector.organization,
            table.c.name_key == connector.name.casefold(),
            table.c.guid != connector.guid,
        )
    )
    if taken is not None:
        raise OperatorError.one("Name", f"there is a connector {taken!r} already.", "Choose another name.")


def _record(
    connection: Connection, connector: Connector, actor: str, at: datetime, action: str, before: str | None, after: str | None
) -> None:
    about = (connector.organization, connector.guid, connector.name)
    note_change(connection, about, actor, at, action, (before, after))
    grow_version(connection)


def _mapping(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)
