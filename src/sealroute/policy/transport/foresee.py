"""What transport rules will make of mail to a domain, when nothing is known yet but that domain.

The rules are judged as for a message (policy/transport/match), but one of which nothing is known: a rule that asks only for the
recipient's domain is met or not, everything else depends on the message.  Rules that are certainly met are carried out
(policy/transport/apply): so goes a message that meets none of those that depend on it.  Of each of these it is said what
delivery does with a message that meets it and no other of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealroute.policy.connector import Connector
from sealroute.policy.transport.apply import Hit, RuleEffect, apply_rules, hits
from sealroute.policy.transport.facts import NoMessage
from sealroute.policy.transport.match import YES, Work
from sealroute.policy.transport.rule import RuleMode, TransportRule

_FIELD_OF = {
    "header_contains_words": "header_contains_message_header",
    "header_matches_patterns": "header_matches_message_header",
}
"""A condition about a header field is two parameters."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """A rule that applies to mail to the domain, or may."""

    rule: TransportRule
    depends_on: tuple[str, ...]
    """Conditions and exceptions that depend on the message, named as in rule.value_of; empty: the rule certainly applies."""
    left_out_by: tuple[str, ...]
    """Names of rules before it that depend on the message and stop the processing: where one is met, this is not reached."""
    effect: RuleEffect
    """What it changes; of a rule that depends on the message, when it and no other of them is met."""
    connector: Connector
    """As delivery uses it then."""

    @property
    def certain(self) -> bool:
        return not self.depends_on

    @property
    def stops(self) -> bool:
        """Whether the rules behind it are left out."""
        return _stops(self.rule)


def may_apply(rules: Sequence[TransportRule], domain: str) -> tuple[Hit, ...]:
    """The rules that apply to mail to the domain, or may, in order; `rules` are those enabled, by priority."""
    return hits(rules, NoMessage(), domain, Work())


def for_certain(own: Connector, found: Sequence[Hit], connectors: Mapping[str, Connector]) -> Connector:
    """`own` for a message that meets no rule which depends on it; raises OperatorError as apply_rules does."""
    return apply_rules(own, [hit for hit in found if hit.certain], connectors)


def foretell(own: Connector, found: Sequence[Hit], connectors: Mapping[str, Connector]) -> tuple[Foretold, ...]:
    """Each rule of `may_apply` with what it does to mail through `own`; raises OperatorError as apply_rules does."""
    told: list[Foretold] = []
    stopping: tuple[str, ...] = ()
    for at, hit in enumerate(found):
        # As if it were met, so that it may replace and stop like one that is.
        alone = [other for other in found[:at] if other.certain] + [Hit(hit.rule, YES)]
        place = len(alone) - 1
        if not _stops(hit.rule):
            alone += [other for other in found[at + 1 :] if other.certain]
        connector = apply_rules(own, alone, connectors)
        told.append(Foretold(hit.rule, _depends_on(hit), stopping, connector.rule_effects[place], connector))
        if _stops(hit.rule):
            stopping += (hit.rule.name,)
    return tuple(told)


def _stops(rule: TransportRule) -> bool:
    return rule.stop_rule_processing and rule.mode is RuleMode.ENFORCE


def _depends_on(hit: Hit) -> tuple[str, ...]:
    names: list[str] = []
    for name in hit.judged.conditions:
        bare = next((field for field in _FIELD_OF if name.endswith(field)), None)
        if bare is not None:
            names.append(name.removesuffix(bare) + _FIELD_OF[bare])
        names.append(name)
    return tuple(names)
