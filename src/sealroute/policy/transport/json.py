"""A transport rule as JSON, in the shape of Exchange's own record; the store keeps the same.

The route is a GUID in the store, so that a connector may be renamed, and a name where people read it.  A record with anything
this version does not know is refused: the part that was not understood may be the condition that matters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroute.policy.parameter_json import load_record, read_values, refuse_unknown
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
    values, names = read_values(record, BY_NAME, instead)
    unknown = tuple(name for name in names if record[name] not in _EMPTY and name.lower() not in _DESCRIBES)
    return Reading(with_values(TransportRule(guid=values["guid"], name=values["name"]), values), unknown)


def rule_to_json(rule: TransportRule) -> str:
    """The store's form."""
    return json.dumps(to_record(rule), ensure_ascii=False, separators=(",", ":"))


def rule_from_json(text: str, **instead: Any) -> TransportRule:
    """The rule that rule_to_json wrote; raises OperatorError, also for anything that is not known."""
    reading = read_record(load_record(text, "rule"), **instead)
    refuse_unknown(reading.unknown, "rule")
    return reading.rule
