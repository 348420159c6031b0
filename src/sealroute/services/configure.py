"""Changing connectors: read what was given, hold it against the rules, say what would change, and only then save.

Planning and saving are two steps, so that `-WhatIf`, a review page and the real change show the same thing.  A plan either
is complete and allowed, or does not exist: every problem is in the one OperatorError.  The store records who changed what.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from sealroute.base.errors import OperatorError, Problem
from sealroute.policy.choose import eligible
from sealroute.policy.connector import Connector
from sealroute.policy.connector_rules import check, falls_back
from sealroute.policy.parameters import TABLE, Given, Parsed, Verb, parse_given
from sealroute.ports import ConnectorStore


@dataclass(frozen=True, slots=True)
class Difference:
    """One parameter that changes; the values are plain JSON."""

    parameter: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """One change that may be saved."""

    action: str
    """New, Set or Remove."""
    before: Connector | None
    after: Connector | None
    differences: tuple[Difference, ...]
    """In the table's order; empty when Set changes nothing."""
    warnings: tuple[Problem, ...] = ()

    @property
    def subject(self) -> Connector:
        """The connector the change is about, as it is now or, when new, as it will be."""
        found = self.before or self.after
        assert found is not None
        return found


def plan_new(
    store: ConnectorStore, organization: str, given: Mapping[str, Given], now: datetime, *, defaults: Connector | None = None
) -> Plan:
    """The connector that `given` (Exchange names, Name among them) makes; raises OperatorError with every problem.

    RetrySchedule and MessageExpiration come from `defaults` when they are not given.
    """
    parsed = parse_given(given, Verb.NEW)
    values: dict[str, Any] = {"name": ""} | dict(parsed.values)
    if defaults is not None:
        values = {"retry_schedule": defaults.retry_schedule, "message_expiration": defaults.message_expiration} | values
    after = Connector(guid=str(uuid4()), organization=organization, when_created=now, when_changed=now, **values)
    warnings = _judge(store, after, parsed)
    shown = tuple(item for item in differences(None, after) if item.after not in (None, "", []))
    return Plan("New", None, after, shown, warnings)


def plan_set(store: ConnectorStore, organization: str, identity: str, given: Mapping[str, Given], now: datetime) -> Plan:
    """The connector as `given` changes it; raises OperatorError with every problem, also when there is none of that name."""
    before = find(store, organization, identity)
    parsed = parse_given(given, Verb.SET, before)
    after = replace(before, **parsed.values)
    warnings = _judge(store, after, parsed)
    if after != before:
        after = replace(after, when_changed=now)
    return Plan("Set", before, after, differences(before, after), warnings)


def plan_remove(store: ConnectorStore, organization: str, identity: str) -> Plan:
    """The end of a connector; raises OperatorError when there is none of that name."""
    before = find(store, organization, identity)
    warning = falls_back(before) if eligible(before) else None
    return Plan("Remove", before, None, (), (Problem("Identity", warning),) if warning else ())


def save(store: ConnectorStore, plan: Plan, actor: str) -> Connector | None:
    """Carry the plan out and return the connector as stored, None after Remove; a plan without change does nothing.

    Raises OperatorError when the connector is no longer what the plan was made from: somebody else's Mandatory must not be
    undone by a review page left open.
    """
    if plan.before is not None and store.get(plan.before.organization, plan.before.guid) != plan.before:
        name = plan.before.name
        raise OperatorError.one(
            "Identity", f"connector {name!r} was changed or removed meanwhile.", "Look at it and try again."
        )
    match plan:
        case Plan(before=None, after=Connector() as after):
            store.add(after, actor)
        case Plan(before=Connector() as before, after=None):
            store.remove(before.organization, before.guid, actor)
        case Plan(before=before, after=Connector() as after) if before != after:
            store.replace(after, actor)
    return None if plan.after is None else store.get(plan.after.organization, plan.after.guid)


def find(store: ConnectorStore, organization: str, identity: str) -> Connector:
    """The connector of that name or GUID; raises OperatorError, naming a similar one, when there is none."""
    found = store.get(organization, identity)
    if found is not None:
        return found
    known = {connector.name.casefold(): connector.name for connector in store.all(organization)}
    close = difflib.get_close_matches(identity.casefold(), known, n=1)
    hint = f"Did you mean {known[close[0]]!r}?" if close else "" if known else "There are no connectors yet."
    raise OperatorError.one("Identity", f"there is no connector {identity!r}.", hint)


def connectors(store: ConnectorStore, organization: str, *, include_test_mode: bool = False) -> list[Connector]:
    """All connectors by name, those in test mode only when asked for."""
    shown = (connector for connector in store.all(organization) if include_test_mode or not connector.test_mode)
    return sorted(shown, key=lambda connector: connector.name.casefold())


def _judge(store: ConnectorStore, connector: Connector, parsed: Parsed) -> tuple[Problem, ...]:
    """The warnings; raises OperatorError with what could not be read and what the rules refuse."""
    findings = check(connector, store.all(connector.organization), unread=parsed.failed)
    if problems := parsed.problems + findings.problems:
        raise OperatorError(*problems)
    return findings.warnings


_UNINTERESTING = ("when_changed", "when_created", "guid", "organization", "is_valid")


def differences(before: Connector | None, after: Connector) -> tuple[Difference, ...]:
    """The parameters that differ, in the table's order."""
    changed = []
    for parameter in TABLE:
        now = parameter.kind.to_json(getattr(after, parameter.field))
        then = None if before is None else parameter.kind.to_json(getattr(before, parameter.field))
        if now != then and parameter.field not in _UNINTERESTING:
            changed.append(Difference(parameter.name, then, now))
    return tuple(changed)
