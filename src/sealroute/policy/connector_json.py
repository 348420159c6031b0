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

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.policy.connector import Connector
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
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    unknown: list[str] = []
    for name, value in record.items():
        parameter = BY_NAME.get(name.lower())
        if parameter is None:
            if name.lower() != IDENTITY.lower():
                unknown.append(name)
        elif parameter.field in values:
            problems.append(Problem(parameter.name, "it is given twice."))
        elif parameter.field not in instead:
            try:
                values[parameter.field] = parameter.kind.from_json(value)
            except InputError as error:
                problems.append(Problem(parameter.name, f"{error}.", f"Allowed: {parameter.kind.allowed}."))
    values |= instead
    named = {problem.where for problem in problems}
    for field, name in (("guid", "Guid"), ("name", "Name")):
        if not values.get(field) and name not in named:
            problems.append(Problem(name, "the record has none."))
    if problems:
        raise OperatorError(*problems)
    return Reading(Connector(**values), tuple(unknown))


def from_record(record: Mapping[str, Any]) -> Connector:
    """The connector that to_record wrote; raises OperatorError, also for a name that is not known."""
    reading = read_record(record)
    if reading.unknown:
        raise OperatorError(
            *(
                Problem(
                    name,
                    "this version of Sealroute does not know it.",
                    "Use the version that wrote it, or remove the connector.",
                )
                for name in reading.unknown
            )
        )
    return reading.connector


def connector_to_json(connector: Connector) -> str:
    """The store's form."""
    return json.dumps(to_record(connector), ensure_ascii=False, separators=(",", ":"))


def connector_from_json(text: str) -> Connector:
    """The connector that connector_to_json wrote; raises OperatorError."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise OperatorError.one("connector record", f"it is not JSON: {error}.") from None
    if not isinstance(record, dict):
        raise OperatorError.one("connector record", "it is not a JSON object.")
    return from_record(record)
