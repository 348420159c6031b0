"""apply_rules: the connector for one group of a message, as the transport rules in force make it.

Rules are applied when the way is chosen, at every run, not once at acceptance: held mail takes the rules as they stand, as it
takes connectors and DNS [ADR 9].  Without rules nothing is looked at.  What was seen of a message that goes to several
destinations is kept for the next of them, without its content; what a combination of rules makes of a connector is made once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sealroute.base.mail import Message
from sealroute.policy.connector import Connector
from sealroute.policy.transport.apply import apply_rules, hits
from sealroute.policy.transport.checks import usable
from sealroute.policy.transport.facts import MessageFacts
from sealroute.policy.transport.match import Work
from sealroute.policy.transport.rule import Conditions, TransportRule

MAX_MESSAGES = 16
"""Whose facts are kept: half a megabyte of text each, at most twice that."""
MAX_MADE = 4096
Made = tuple[Connector, Connector]


@dataclass(slots=True)
class _Set:
    """An organisation's rules and connectors, as loaded together."""

    rules: Sequence[TransportRule]
    connectors: Sequence[Connector]
    by_guid: Mapping[str, Connector]
    look_inside: bool
    """Some rule asks for text or attachments."""
    seen: OrderedDict[str, tuple[MessageFacts, Work]] = field(default_factory=OrderedDict)
    made: dict[tuple[object, ...], Made] = field(default_factory=dict)


class RulesInForce:
    """The rules of all organisations, as they are used."""

    def __init__(self) -> None:
        self._sets: dict[str, _Set] = {}

    def __call__(
        self, message: Message, domain: str, own: Connector, rules: Sequence[TransportRule], connectors: Sequence[Connector]
    ) -> Connector:
        """`own` as the rules make it; raises OperatorError when a rule cannot be carried out."""
        known = self._sets.get(message.organization)
        if known is None or known.rules is not rules or known.connectors is not connectors:
            known = self._sets[message.organization] = _set(rules, connectors)
        facts, work = self._facts(known, message)
        found = hits(rules, facts, domain, work)
        if not found:
            return own
        key: tuple[object, ...] = (id(own), *((hit.rule.guid, hit.certain, hit.judged.unseen) for hit in found))
        made = known.made.get(key)
        if made is None:
            if len(known.made) >= MAX_MADE:
                known.made.clear()
            # Kept beside its own: as long as it is kept, no other connector can have its identity.
            made = known.made[key] = (own, apply_rules(own, found, known.by_guid))
        return made[1]

    def _facts(self, known: _Set, message: Message) -> tuple[MessageFacts, Work]:
        if len(message.envelope.recipients) == 1:
            return MessageFacts.of(message), Work()
        found = known.seen.get(message.id)
        if found is None:
            facts = MessageFacts.of(message)
            facts.let_go(look_inside=known.look_inside)
            found = known.seen[message.id] = (facts, Work())
            if len(known.seen) > MAX_MESSAGES:
                known.seen.popitem(last=False)
        return found


def _set(rules: Sequence[TransportRule], connectors: Sequence[Connector]) -> _Set:
    by_guid = {connector.guid: connector for connector in connectors if usable(connector)}
    return _Set(rules, connectors, by_guid, any(_inside(part) for rule in rules for part in (rule.when, rule.unless)))


def _inside(asked: Conditions) -> bool:
    return bool(
        asked.subject_or_body_contains_words
        or asked.subject_or_body_matches_patterns
        or asked.attachment_name_matches_patterns
        or asked.attachment_extension_matches_words
    )
