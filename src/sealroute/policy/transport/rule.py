"""A transport rule: when it applies to a message, what it does then, and what it may not do.

Names are Exchange's.  The rules that hold:

* Conditions are all to be met, and of one condition's values any; one exception (ExceptIf...) that is met is enough.
* A rule raises: it adds to what the connector demands.  Only with `allow_weaker` may it lower anything, and then it must say
  why in its comments.
* A condition that cannot be evaluated is neither met nor unmet (policy/transport/match); what follows from that never makes
  mail weaker (policy/transport/apply).

Elsewhere: parameters and their spelling (policy/transport/parameters), rules at save time (policy/transport/checks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import Enum
from typing import Any

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings

MAX_RULES = 300
"""Of one organisation, as in Exchange Online."""
EXCEPT = "except_if_"


class RuleMode(Enum):
    """Whether a rule acts."""

    ENFORCE = "Enforce"
    AUDIT = "Audit"
    """It is evaluated and recorded in the trace, and changes nothing."""


class RuleState(Enum):
    """Whether a rule is evaluated at all."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class SenderAddressLocation(Enum):
    """Where conditions about the sender look."""

    HEADER = "Header"
    ENVELOPE = "Envelope"
    HEADER_OR_ENVELOPE = "HeaderOrEnvelope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is looked for; empty: not asked.  Texts are as the administrator wrote them."""

    recipient_domain_is: tuple[str, ...] = ()
    """Compared form, `*.contoso.com` for what is below."""
    sender_domain_is: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    """Whole addresses."""
    from_address_contains_words: tuple[str, ...] = ()
    from_address_matches_patterns: tuple[str, ...] = ()
    subject_contains_words: tuple[str, ...] = ()
    subject_matches_patterns: tuple[str, ...] = ()
    subject_or_body_contains_words: tuple[str, ...] = ()
    subject_or_body_matches_patterns: tuple[str, ...] = ()
    header_contains_message_header: str | None = None
    header_contains_words: tuple[str, ...] = ()
    header_matches_message_header: str | None = None
    header_matches_patterns: tuple[str, ...] = ()
    message_size_over: int | None = None
    """Octets."""
    attachment_name_matches_patterns: tuple[str, ...] = ()
    attachment_extension_matches_words: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return self != _NOTHING


_NOTHING = Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportRule:
    """One rule."""

    guid: str
    organization: str = "default"
    name: str
    priority: int = 0
    """0 is first; no two rules of an organisation share one."""
    state: RuleState = RuleState.ENABLED
    mode: RuleMode = RuleMode.ENFORCE
    comments: str = ""
    sender_address_location: SenderAddressLocation = SenderAddressLocation.HEADER
    when: Conditions = field(default_factory=Conditions)
    unless: Conditions = field(default_factory=Conditions)
    route_message_outbound_connector: str | None = None
    """GUID of a connector."""
    smtp_dane_mode: SmtpDaneMode | None = None
    mta_sts_mode: MtaStsMode | None = None
    tls_settings: TlsSettings | None = None
    allow_weaker: bool = False
    stop_rule_processing: bool = False
    version: int = 1
    """Grows with every change to the rule."""
    when_created: datetime | None = None
    when_changed: datetime | None = None

    @property
    def enabled(self) -> bool:
        return self.state is RuleState.ENABLED

    @property
    def acts(self) -> bool:
        """Whether it does anything but stop."""
        demands = (self.smtp_dane_mode, self.mta_sts_mode, self.tls_settings)
        return self.route_message_outbound_connector is not None or any(item is not None for item in demands)


CONDITION_FIELDS = tuple(item.name for item in fields(Conditions))
_OWN = frozenset(item.name for item in fields(TransportRule))


def value_of(rule: TransportRule, name: str) -> Any:
    """A field of the rule, of its conditions, or (`except_if_...`) of its exceptions."""
    if name in _OWN:
        return getattr(rule, name)
    if name.startswith(EXCEPT):
        return getattr(rule.unless, _condition(name.removeprefix(EXCEPT)))
    return getattr(rule.when, name)


def with_values(rule: TransportRule, values: Mapping[str, Any]) -> TransportRule:
    """The rule with these fields, named as in `value_of`."""
    own = {name: value for name, value in values.items() if name in _OWN}
    when = {name: value for name, value in values.items() if name in CONDITION_FIELDS}
    unless = {_condition(name.removeprefix(EXCEPT)): value for name, value in values.items() if name.startswith(EXCEPT)}
    return replace(rule, when=replace(rule.when, **when), unless=replace(rule.unless, **unless), **own)


def _condition(name: str) -> str:
    return "from_" if name == "from" else name
