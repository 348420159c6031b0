"""configure_rules: plan a change to transport rules, hold it against what must be true, and only then save it.

Planning and saving are two steps, as for connectors (services/configure), so that `-WhatIf`, the dry run and the change itself
show the same thing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.policy.connector import Connector
from sealroute.policy.parameters import Given, Parsed, Verb, parse_given
from sealroute.policy.transport.checks import check
from sealroute.policy.transport.json import ROUTE, read_record
from sealroute.policy.transport.parameters import BY_NAME, RULES, TABLE
from sealroute.policy.transport.rule import RuleState, TransportRule, with_values
from sealroute.ports import ConnectorStore, RuleStore
from sealroute.proto.exchange.clixml import read_clixml
from sealroute.proto.exchange.export import text_of
from sealroute.proto.exchange.json_export import read_json
from sealroute.services.configure import Difference

_QUIET = ("guid", "organization", "version", "when_created", "when_changed")


@dataclass(frozen=True, slots=True)
class Stores:
    """Where rules and the connectors they route through are kept, and whose they are."""

    rules: RuleStore
    connectors: ConnectorStore
    organization: str

    def all(self) -> list[TransportRule]:
        return self.rules.all(self.organization)

    def names(self) -> dict[str, str]:
        """Connectors' names by GUID."""
        return {connector.guid: connector.name for connector in self.connectors.all(self.organization)}


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One change that may be saved."""

    action: str
    """New, Set, Enable, Disable or Remove."""
    before: TransportRule | None
    after: TransportRule | None
    differences: tuple[Difference, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def subject(self) -> TransportRule:
        found = self.before or self.after
        assert found is not None
        return found


def plan_new(stores: Stores, given: Mapping[str, Given]) -> RulePlan:
    """The rule that `given` (Exchange names, Name among them) makes; raises OperatorError with every problem."""
    parsed = parse_given(given, Verb.NEW, table=RULES)
    values = _routed(stores, {"priority": len(stores.all())} | dict(parsed.values))
    blank = TransportRule(guid=str(uuid4()), organization=stores.organization, name="")
    after = with_values(blank, values)
    warnings = _judge(stores, after, parsed)
    shown = tuple(
        item
        for item in differences(None, after, stores.names())
        if item.after not in (None, "", []) and item.after is not False
    )
    return RulePlan("New", None, after, shown, warnings)


def plan_set(stores: Stores, identity: str, given: Mapping[str, Given]) -> RulePlan:
    """The rule as `given` changes it; raises OperatorError with every problem."""
    before = find(stores, identity)
    parsed = parse_given(given, Verb.SET, before, table=RULES)
    after = with_values(before, _routed(stores, parsed.values))
    warnings = _judge(stores, after, parsed)
    return RulePlan("Set", before, after, differences(before, after, stores.names()), warnings)


def plan_state(stores: Stores, identity: str, state: RuleState) -> RulePlan:
    """The rule enabled or disabled; raises OperatorError with every problem."""
    before = find(stores, identity)
    after = replace(before, state=state)
    warnings = _judge(stores, after, Parsed({})) if state is RuleState.ENABLED else ()
    action = "Enable" if state is RuleState.ENABLED else "Disable"
    return RulePlan(action, before, after, differences(before, after, stores.names()), warnings)


def plan_remove(stores: Stores, identity: str) -> RulePlan:
    """The end of a rule; raises OperatorError when there is none of that name."""
    return RulePlan("Remove", find(stores, identity), None, ())


def save(stores: Stores, plans: Sequence[RulePlan], actor: str) -> None:
    """Carry the plans out, all or none; one without change does nothing.  Raises OperatorError."""
    changes = [(plan.before, plan.after) for plan in plans if plan.before != plan.after]
    if changes:
        stores.rules.save(changes, actor)


def find(stores: Stores, identity: str) -> TransportRule:
    """The rule of that name or GUID; raises OperatorError, naming a similar one, when there is none."""
    found = stores.rules.get(stores.organization, identity)
    if found is not None:
        return found
    known = {rule.name.casefold(): rule.name for rule in stores.all()}
    close = difflib.get_close_matches(identity.casefold(), known, n=1)
    hint = f"Did you mean {known[close[0]]!r}?" if close else "" if known else "There are no transport rules yet."
    raise OperatorError.one("Identity", f"there is no transport rule {identity!r}.", hint)


def differences(before: TransportRule | None, after: TransportRule, names: Mapping[str, str]) -> tuple[Difference, ...]:
    """Each parameter that changes, in the table's order."""
    changed = []
    for parameter in TABLE:
        if parameter.field in _QUIET or parameter.name == "Enabled":
            continue
        now, then = parameter.kind.to_json(parameter.value(after)), None
        if before is not None:
            then = parameter.kind.to_json(parameter.value(before))
        if parameter.field == ROUTE:
            now, then = names.get(now or "", now), names.get(then or "", then)
        if now != then:
            changed.append(Difference(parameter.name, then, now))
    return tuple(changed)


def _judge(stores: Stores, rule: TransportRule, parsed: Parsed) -> tuple[Problem, ...]:
    """The warnings; raises OperatorError with what could not be read and what must not be."""
    findings = check(rule, stores.all(), _target(stores, rule))
    unread = {BY_NAME[problem.where.lower()].name for problem in parsed.problems if problem.where.lower() in BY_NAME}
    problems = (*parsed.problems, *(item for item in findings.problems if item.where not in unread))
    if problems:
        raise OperatorError(*problems)
    return findings.warnings


def _target(stores: Stores, rule: TransportRule) -> Connector | None:
    route = rule.route_message_outbound_connector
    return None if route is None else stores.connectors.get(stores.organization, route)


def _routed(stores: Stores, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the connector by its GUID; a name that nobody has stays, for the check to refuse."""
    values = dict(values)
    if (named := values.get(ROUTE)) is not None and (found := stores.connectors.get(stores.organization, named)) is not None:
        values[ROUTE] = found.guid
    return values


# -------------------------------------------------------------------------------------------------------- files


def read_file(stores: Stores, name: str, raw: bytes) -> list[TransportRule]:
    """The rules of a file: Get-TransportRule as ConvertTo-Json or Export-Clixml wrote it, or our own JSON.

    Raises OperatorError naming file, rule and place.  A rule with a condition, exception or action that Sealroute does not have
    is refused: without it, it would be another rule.
    """
    rules: list[TransportRule] = []
    problems: list[Problem] = []
    try:
        exported = read_clixml(raw) if text_of(raw).lstrip().startswith("<") else read_json(raw)
    except InputError as error:
        raise OperatorError.one(name, f"{error}.", "Give Get-TransportRule's JSON or Clixml.") from None
    for number, record in enumerate(exported):
        where = f"{name}: {record.where}"
        try:
            rules.append(_read(stores, record.values, number))
        except OperatorError as error:
            problems += [Problem(f"{where}: {item.where}", item.what, item.fix) for item in error.problems]
        except InputError as error:
            problems.append(Problem(where, f"{error}."))
    if problems:
        raise OperatorError(*problems)
    return rules


def _read(stores: Stores, values: Mapping[str, Any], number: int) -> TransportRule:
    there: dict[str, Any] = {}
    for name, value in values.items():
        parameter = BY_NAME.get(name.lower())
        if parameter is None:
            there[name] = value
        elif value is not None and parameter.name not in ("RuleVersion", "WhenCreatedUTC", "WhenChangedUTC", "Organization"):
            if parameter.name in there:
                raise OperatorError.one(parameter.name, "it is given twice.")
            there[parameter.name] = str(value) if value is True or value is False else _plain(value, many=parameter.kind.many)
    guid = str(there.pop("Guid", "") or uuid4()).strip("{}").lower()
    there.setdefault("Priority", number)
    reading = read_record(there, guid=guid, organization=stores.organization)
    if reading.unknown:
        fix = "Make the rule without it, if it still is the rule that you want."
        raise OperatorError(*(Problem(item, "Sealroute rules do not have it.", fix) for item in reading.unknown))
    route = _routed(stores, {ROUTE: reading.rule.route_message_outbound_connector})[ROUTE]
    return replace(reading.rule, route_message_outbound_connector=route)


def _plain(value: Any, *, many: bool) -> Any:
    """What PowerShell wrapped, unwrapped; a list of one may stand as its one item."""
    if isinstance(value, dict):
        inner = value.get("value") if isinstance(value.get("value"), list) else value.get("Value")
        if not isinstance(inner, (str, list)):
            raise InputError("it is an object of a shape that is not known; export it with more -Depth, or as text")
        value = inner
    if not many or isinstance(value, list):
        return value
    return [] if value == "" else [value]


def plan_import(stores: Stores, rules: Sequence[TransportRule], *, replacing: bool) -> list[RulePlan]:
    """Each rule new, or in place of the one of its name when `replacing`; raises OperatorError with every problem."""
    stored = {rule.name.casefold(): rule for rule in stores.all()}
    guids = {rule.guid for rule in stored.values()}
    known, plans, problems = list(stored.values()), list[RulePlan](), list[Problem]()
    names = stores.names()
    for rule in sorted(rules, key=lambda item: item.priority):
        before = stored.get(rule.name.casefold())
        if before is not None and not replacing:
            problems.append(Problem(rule.name, "there is a rule of this name already.", "Give --replace to replace it."))
            continue
        if before is None:
            guid = str(uuid4()) if rule.guid in guids else rule.guid
            after = replace(rule, guid=guid, priority=sum(item.guid != guid for item in known))
        else:
            after = replace(
                rule, guid=before.guid, priority=before.priority, version=before.version,
                when_created=before.when_created, when_changed=before.when_changed,
            )  # fmt: skip
        findings = check(after, known, _target(stores, after))
        problems += [Problem(f"{rule.name}: {item.where}", item.what, item.fix) for item in findings.problems]
        known = [item for item in known if item.guid != after.guid] + [after]
        guids.add(after.guid)
        action = "New" if before is None else "Set"
        plans.append(RulePlan(action, before, after, differences(before, after, names), findings.warnings))
    if problems:
        raise OperatorError(*problems)
    return plans
