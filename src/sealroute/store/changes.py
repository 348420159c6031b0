"""The audit of connectors: one row per change, for good; and the version by which a running gateway notices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sealroute.base.times import to_us
from sealroute.ports import Changed
from sealroute.store.notify import notify
from sealroute.store.schema import connector_change, counter

VERSION = "connector_version"
RULE_ACTIONS = ("NewRule", "SetRule", "RemoveRule")
"""Changes to transport rules, kept beside those to connectors."""
Record = Mapping[str, Any] | str | None
"""A mapping, or its JSON."""


def note_change(
    connection: Connection, connector: tuple[str, str, str], actor: str, at: datetime, action: str,
    values: tuple[Record, Record],
) -> None:  # fmt: skip
    """Record a change to a connector (organisation, GUID, name) with its values before and after."""
    organization, guid, name = connector
    before, after = (json.dumps(value) if isinstance(value, Mapping) else value for value in values)
    change = {
        "organization": organization,
        "connector_guid": guid,
        "connector_name": name,
        "at_us": to_us(at),
        "actor": actor,
        "action": action,
        "before": before,
        "after": after,
    }
    connection.execute(insert(connector_change), change)


def grow_version(connection: Connection) -> None:
    """Make running gateways look."""
    connection.execute(update(counter).where(counter.c.name == VERSION).values(value=counter.c.value + 1))
    notify(connection, Changed.CONNECTORS)


def version(connection: Connection) -> int:
    """Grows with every change."""
    return int(connection.scalars(select(counter.c.value).where(counter.c.name == VERSION)).one())
