"""A transport rule as JSON, in the shape of Exchange's own record; the store keeps the same.

The route is a GUID in the store, so that a connector may be renamed, and a name where people read it.  A record with anything
this version does not know is refused: the part that was not understood may be the condition that matters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.policy.transport.parameters import BY_NAME, TABLE
from sealroute.policy.transport.rule import TransportRule, with_values

IDENTITY = "Identity"
ROUTE = "route_message_outbound_connector"
_EMPTY: tuple[Any, ...] = (None, "", [], {}, False)
_DESCRIBES = frozenset({
    "adadminsettings", "conditions", "exceptions", "actions", "description", "dlppolicy", "distinguishedname",
    "objectid", "immutableid", "organizationid", "organization", "whenchanged", "whencreated", "exchangeversion",
    "manuallymodified", "createdby", "lastmodifiedby", "ruleerroraction", "rulesubtype", "setauditseverity",
    "uselegacyregex", "isvalid", "objectstate", "size", "xml", "isruleconfigurationsupported", "ruleversion",
    "identity", "ruleconfigurationunsupportedreason", "dlppolicyid", "notifysender", "rulestate", "objectcategory",
    "objectclass", "orginatingserver", "originatingserver", "psshowcomputername", "pscomputername", "runspaceid",
    "state", "guid", "name", "adminmetadata",
})  # fmt: skip
"""Properties of Exchange's record, in lower case, that neither restrict nor change what a rule does to a message here."""


def to_record(rule: TransportRule, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The rule in plain JSON values; `names` gives connectors' names by GUID."""
    record: dict[str, Any] = {}
    for parameter in TABLE:
        if parameter.name == "Enabled":
            continue  # State says it
        value = parameter.kind.to_json(parameter.value(rule))
        if parameter.field == ROUTE and names is not None and value is not None:
            value = names.get(value, value)
        record[parameter.name] = value
        if parameter.field == "name":
            record[IDENTITY] = rule.name
    return record


@dataclass(frozen=True, slots=True)
class Reading:
    """A record that could be read; `unknown` names what Sealroute has no place for and is not empty."""

    rule: TransportRule
    unknown: tuple[str, ...]


def read_record(record: Mapping[str, Any], **instead: Any) -> Reading:
    """Read a record; `instead` gives fields that it lacks or that are to be replaced.  Raises OperatorError."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    unknown: list[str] = []
    for name, value in record.items():
        parameter = BY_NAME.get(name.lower())
        if parameter is None:
            if value not in _EMPTY and name.lower() not in _DESCRIBES:
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
    return Reading(with_values(TransportRule(guid=values["guid"], name=values["name"]), values), tuple(unknown))


def rule_to_json(rule: TransportRule) -> str:
    """The store's form."""
    return json.dumps(to_record(rule), ensure_ascii=False, separators=(",", ":"))


def rule_from_json(text: str, **instead: Any) -> TransportRule:
    """The rule that rule_to_json wrote; raises OperatorError, also for anything that is not known."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise OperatorError.one("rule record", f"it is not JSON: {error}.") from None
    if not isinstance(record, dict):
        raise OperatorError.one("rule record", "it is not a JSON object.")
    reading = read_record(record, **instead)
    if reading.unknown:
        fix = "Use the version that wrote it, or remove the rule."
        raise OperatorError(*(Problem(name, "this version of Sealroute does not know it.", fix) for name in reading.unknown))
    return reading.rule
