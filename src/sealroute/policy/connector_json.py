"""A connector as a record with Exchange's names in Exchange's order, and back: for `--json`, the store and imports.

The record says everything: `from_record(to_record(c)) == c`.  Reading takes names in any case and in any order.  What is
missing gets its default; what is not known is *named*, never dropped in silence, because a setting that is dropped may
be the one that made the connector strict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroute.policy.connector import Connector
from sealroute.policy.parameter_json import load_record, read_values, refuse_unknown
from sealroute.policy.parameters import BY_NAME, TABLE

IDENTITY = "Identity"
"""In Exchange's record between Name and WhenChangedUTC, with the same value as Name."""


def to_record(connector: Connector) -> dict[str, Any]:
    """The connector in plain JSON values."""
    record: dict[str, Any] = {}
    for parameter in TABLE:
        record[parameter.name] = parameter.kind.to_json(getattr(connector, parameter.field))
        if parameter.field == "name":
            record[IDENTITY] = connector.name
    return record


@dataclass(frozen=True, slots=True)
class Reading:
    """A record that could be read; `unknown` names what Sealroute has no place for."""

    connector: Connector
    unknown: tuple[str, ...]


def read_record(record: Mapping[str, Any], **instead: str) -> Reading:
    """Read a record; `instead` gives fields that the record lacks or that are to be replaced (guid, organization).

    Raises OperatorError with every problem.  The save-time rules are not applied.
    """
    values, unknown = read_values(record, BY_NAME, instead)
    return Reading(Connector(**values), tuple(name for name in unknown if name.lower() != IDENTITY.lower()))


def from_record(record: Mapping[str, Any]) -> Connector:
    """The connector that to_record wrote; raises OperatorError, also for a name that is not known."""
    reading = read_record(record)
    refuse_unknown(reading.unknown, "connector")
    return reading.connector


def connector_to_json(connector: Connector) -> str:
    """The store's form."""
    return json.dumps(to_record(connector), ensure_ascii=False, separators=(",", ":"))


def connector_from_json(text: str) -> Connector:
    """The connector that connector_to_json wrote; raises OperatorError."""
    return from_record(load_record(text, "connector"))
