"""Transport rules at rest: ports.RuleStore.

A change and its audit (in `connector_change`) are one transaction, which also makes `connector_version` grow: a running gateway
loads rules together with connectors (LiveConnectors).  Priorities of an organisation's rules are always 0, 1, 2, ...; a rule
that moves makes the others move.  A connector that a rule routes through cannot be removed under it, nor be taken out of use
under an enabled rule: both sides of that are held here, in the transaction that would break it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from sealroute.base.errors import OperatorError, Problem
from sealroute.base.times import from_us, to_us
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import connector_from_json
from sealroute.policy.transport.checks import usable
from sealroute.policy.transport.json import rule_from_json, rule_to_json
from sealroute.policy.transport.rule import MAX_RULES, TransportRule
from sealroute.ports import Change
from sealroute.store.changes import RULE_ACTIONS, grow_version, note_change
from sealroute.store.engine import Database
from sealroute.store.schema import connector, connector_change, organization
from sealroute.store.schema import transport_rule as table


class SqlRules:
    """ports.RuleStore.

    `when_created`, `when_changed` and the version are the store's; what the caller says there is ignored.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def all(self, organization: str) -> list[TransportRule]:
        """By priority; raises OperatorError naming a rule that cannot be read."""
        with self._database.read() as connection:
            return load(connection, organization)

    def get(self, organization: str, identity: str) -> TransportRule | None:
        """By name (any case) or GUID."""
        with self._database.read() as connection:
            return _find(connection, organization, identity)

    def save(self, changes: Sequence[tuple[TransportRule | None, TransportRule | None]], actor: str) -> None:
        """Each (as the caller saw it, as it shall be; None: there is none), all in one transaction, or none.

        Raises OperatorError when a name is taken, a rule has changed meanwhile, or a route cannot be used.
        """
        now = self._now()
        with self._database.write() as connection:
            grow_version(connection)  # first: on PostgreSQL its row lock makes others wait
            for before, after in changes:
                if before is not None and _find(connection, before.organization, before.guid) != before:
                    what = f"rule {before.name!r} was changed or removed meanwhile."
                    raise OperatorError.one("Identity", what, "Look at it and try again.")
                if after is None:
                    assert before is not None
                    _remove(connection, before, actor, now)
                else:
                    _put(connection, before, after, actor, now)

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        """The newest first."""
        change = connector_change.c
        mine = (change.organization == organization) & change.action.in_(RULE_ACTIONS)
        query = select(connector_change).where(mine).order_by(change.id.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Change(from_us(row.at_us), row.actor, row.action, row.connector_name, _mapping(row.before), _mapping(row.after))
            for row in rows
        ]


def load(connection: Connection, of: str | None = None) -> list[TransportRule]:
    """An organisation's rules by priority, or everybody's; raises OperatorError naming one that cannot be read."""
    query = select(table).order_by(table.c.organization, table.c.priority)
    rows = connection.execute(query if of is None else query.where(table.c.organization == of)).all()
    return [rule_of(row) for row in rows]


def refuse_if_routed(connection: Connection, before: Connector, after: Connector | None) -> None:
    """Raise OperatorError when a rule needs the connector as it was."""
    if after is not None and (usable(after) or not usable(before)):
        return
    mine = (table.c.organization == before.organization) & (table.c.route == before.guid)
    needing = [rule for rule in map(rule_of, connection.execute(select(table).where(mine))) if after is None or rule.enabled]
    if needing:
        names = ", ".join(repr(rule.name) for rule in needing)
        fix = "Remove or change the rule first." if after is None else "Disable or change the rule first."
        raise OperatorError.one("Identity", f"transport rule {names} routes mail through connector {before.name!r}.", fix)


def rule_of(row: Any) -> TransportRule:
    """The rule of a row."""
    try:
        return rule_from_json(row.parameters, priority=row.priority, version=row.version)
    except OperatorError as error:
        raise OperatorError(
            *(Problem(f"transport rule {row.name!r}: {item.where}", item.what, item.fix) for item in error.problems)
        ) from None


def _find(connection: Connection, of: str, identity: str) -> TransportRule | None:
    by = or_(table.c.guid == identity.lower(), table.c.name_key == identity.casefold())
    row = connection.execute(select(table).where(table.c.organization == of, by)).first()
    return None if row is None else rule_of(row)


def _put(connection: Connection, before: TransportRule | None, after: TransportRule, actor: str, now: datetime) -> None:
    _refuse(connection, after)
    if before is None:
        after = replace(after, version=1, when_created=now, when_changed=now)
        priority = _count(connection, after.organization)
        row = _row(after) | {"guid": after.guid, "organization": after.organization, "created_us": to_us(now)}
        connection.execute(insert(table), row | {"priority": priority})
    else:
        after = replace(after, version=before.version + 1, when_created=before.when_created, when_changed=now)
        connection.execute(update(table).where(table.c.guid == after.guid).values(**_row(after)))
    order = _reorder(connection, after)
    moved = before is None or before.priority != after.priority
    _audit(connection, (before, after), actor, now, order if moved else ())


def _refuse(connection: Connection, after: TransportRule) -> None:
    """Raise OperatorError for what only the store can know at this moment."""
    of = after.organization
    if connection.scalar(select(organization.c.id).where(organization.c.id == of)) is None:
        raise OperatorError.one("Organization", f"there is no organisation {of!r}.")
    same = (table.c.organization == of) & (table.c.name_key == after.name.casefold()) & (table.c.guid != after.guid)
    if (taken := connection.scalar(select(table.c.name).where(same))) is not None:
        raise OperatorError.one("Name", f"there is a rule {taken!r} already.", "Choose another name.")
    if _count(connection, of, but=after.guid) >= MAX_RULES:
        raise OperatorError.one("rule", f"there are {MAX_RULES} rules already.", f"At most {MAX_RULES} are allowed.")
    if (route := after.route_message_outbound_connector) is not None:
        mine = (connector.c.organization == of) & (connector.c.guid == route)
        stored = connection.scalar(select(connector.c.parameters).where(mine))
        if stored is None or (after.enabled and not usable(connector_from_json(stored))):
            what = f"connector {route} is not there, disabled, or in test mode."
            raise OperatorError.one("RouteMessageOutboundConnector", what, "Look at it and try again.")


def _remove(connection: Connection, before: TransportRule, actor: str, now: datetime) -> None:
    connection.execute(delete(table).where(table.c.guid == before.guid))
    _audit(connection, (before, None), actor, now, _reorder(connection, before, gone=True))


def _count(connection: Connection, of: str, but: str = "") -> int:
    query = select(func.count()).where(table.c.organization == of, table.c.guid != but)
    return int(connection.scalars(query).one())


def _reorder(connection: Connection, rule: TransportRule, *, gone: bool = False) -> tuple[str, ...]:
    """Give everybody its place, the rule the one it asks for; the names in their order."""
    query = select(table.c.guid, table.c.name, table.c.priority).where(table.c.organization == rule.organization)
    rows = list(connection.execute(query.order_by(table.c.priority, table.c.created_us)))
    if not gone:
        own = next(row for row in rows if row.guid == rule.guid)
        rows.remove(own)
        rows.insert(min(rule.priority, len(rows)), own)
    for place, row in enumerate(rows):
        if row.priority != place:
            connection.execute(update(table).where(table.c.guid == row.guid).values(priority=place))
    return tuple(row.name for row in rows)


def _row(rule: TransportRule) -> dict[str, Any]:
    assert rule.when_changed is not None
    return {
        "name": rule.name,
        "name_key": rule.name.casefold(),
        "route": rule.route_message_outbound_connector,
        "parameters": rule_to_json(rule),
        "version": rule.version,
        "changed_us": to_us(rule.when_changed),
    }


def _audit(
    connection: Connection, values: tuple[TransportRule | None, TransportRule | None], actor: str, at: datetime,
    order: tuple[str, ...],
) -> None:  # fmt: skip
    """Every value before and after; where rules moved, the order that came of it."""
    before, after = values
    rule = after or before
    assert rule is not None
    action = "NewRule" if before is None else "RemoveRule" if after is None else "SetRule"
    records = [None if item is None else json.loads(rule_to_json(item)) for item in values]
    if records[1] is not None and order:
        records[1]["Order"] = list(order)
    about = (rule.organization, rule.guid, rule.name)
    note_change(connection, about, actor, at, action, (records[0], records[1]))


def _mapping(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)
