"""try_rules: what transport rules would have done to messages of the trace, or would do to one at hand.  Changes nothing.

The rules tried are taken as enabled and enforced, by themselves, in their order.  The trace keeps envelope, size and subject of
a message, and neither its header nor its content: a rule that asks for those is reported as one that cannot be told, never as
one that does not match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sealroute.base.errors import InputError
from sealroute.base.names import address_domain
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException
from sealroute.policy.transport.apply import Hit, RuleEffect, apply_rules, hits
from sealroute.policy.transport.checks import usable
from sealroute.policy.transport.facts import MessageFacts, TracedFacts
from sealroute.policy.transport.match import Work
from sealroute.policy.transport.parameters import BY_FIELD
from sealroute.policy.transport.rule import RuleMode, RuleState, TransportRule
from sealroute.ports import TraceRow, Traces

TLS_UNKNOWN = "?"
"""An attempt does not say which TlsSettings its connector had."""


@dataclass(frozen=True, slots=True)
class Way:
    """A connector and what it demands, as text."""

    connector: str
    smtp_dane_mode: str
    mta_sts_mode: str
    tls_settings: str

    def __str__(self) -> str:
        tls = f", TLS {self.tls_settings}" if self.tls_settings not in ("", TLS_UNKNOWN) else ""
        return f"{self.connector} (DANE {self.smtp_dane_mode}, MTA-STS {self.mta_sts_mode}{tls})"

    def same(self, other: Way) -> bool:
        """Whether nothing is known to differ."""
        alike = self.tls_settings == other.tls_settings or TLS_UNKNOWN in (self.tls_settings, other.tls_settings)
        return alike and replace(self, tls_settings="") == replace(other, tls_settings="")


@dataclass(frozen=True, slots=True)
class Untold:
    """A rule of which it cannot be told whether it is met."""

    rule: str
    conditions: tuple[str, ...]
    """Parameters."""
    why: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One message and recipient."""

    sender: str
    recipient: str
    was: Way
    """As it went; without an attempt in the trace, as it would go without the rules."""
    would: Way
    """With the rules that are certainly met."""
    effects: tuple[RuleEffect, ...]
    untold: tuple[Untold, ...] = ()
    would_if_met: Way | None = None
    """With those that cannot be told, too."""
    row: TraceRow | None = None

    @property
    def changes(self) -> bool:
        return not self.was.same(self.would)


@dataclass(frozen=True, slots=True)
class Around:
    """The connectors of today."""

    connectors: Sequence[Connector]
    default: Connector
    accepted_domains: Sequence[str] = ()
    exceptions: Sequence[TimedException] = ()
    """In force."""


class Trials:
    """Tries rules, which were checked, on one message after the other."""

    def __init__(self, rules: Sequence[TransportRule], around: Around) -> None:
        enforced = (replace(rule, state=RuleState.ENABLED, mode=RuleMode.ENFORCE) for rule in rules)
        self._rules = sorted(enforced, key=lambda rule: rule.priority)
        self._index = ConnectorIndex(around.connectors, around.accepted_domains)
        self._around = around
        self._by_guid = {connector.guid: connector for connector in around.connectors if usable(connector)}

    def traced(self, row: TraceRow, traces: Traces) -> Trial | None:
        """A message of the trace; None for a recipient without a domain.  Raises OperatorError for a route that is gone."""
        try:
            domain = address_domain(row.recipient)
        except InputError:
            return None
        own = self._own(domain)
        found = hits(self._rules, TracedFacts(row.sender, row.size_bytes, row.subject), domain, Work())
        certain = [hit for hit in found if hit.certain]
        would = apply_rules(own, certain, self._by_guid)
        untold = tuple(_untold(hit) for hit in found if not hit.certain)
        if_met = _way(apply_rules(own, found, self._by_guid)) if untold else None
        was = _recorded(traces, row) or _way(own)
        return Trial(row.sender, row.recipient, was, _way(would), would.rule_effects, untold, if_met, row)

    def message(self, content: bytes, sender: str, recipient: str) -> Trial:
        """A message at hand; what cannot be told counts as it does in the gateway.  Raises InputError for a bad recipient."""
        domain = address_domain(recipient)
        own = self._own(domain)
        found = hits(self._rules, MessageFacts(sender, len(content), content), domain, Work())
        would = apply_rules(own, found, self._by_guid)
        return Trial(sender, recipient, _way(own), _way(would), would.rule_effects)

    def _own(self, domain: str) -> Connector:
        own = self._index.find(domain) or self._around.default
        for exception in self._around.exceptions:
            if (exception.connector_guid, exception.domain) == (own.guid, domain):
                dane, sts = exception.smtp_dane_mode or own.smtp_dane_mode, exception.mta_sts_mode or own.mta_sts_mode
                return replace(own, smtp_dane_mode=dane, mta_sts_mode=sts)
        return own


def _way(connector: Connector) -> Way:
    tls = connector.tls_settings.value if connector.tls_settings else ""
    return Way(connector.name, connector.smtp_dane_mode.value, connector.mta_sts_mode.value, tls)


def _recorded(traces: Traces, row: TraceRow) -> Way | None:
    """What the last attempt for the recipient was made under."""
    records = traces.attempts(row.message_trace_id, row.recipient)
    if not records:
        return None
    last = records[-1]
    modes = (str(last.get("smtp_dane_mode", "")), str(last.get("mta_sts_mode", "")))
    return Way(str(last.get("connector_name", "")), *modes, TLS_UNKNOWN)


def _untold(hit: Hit) -> Untold:
    names = tuple(BY_FIELD[_field(name)].name for name in hit.judged.conditions)
    return Untold(hit.rule.name, names, "; ".join(sorted(item.value for item in hit.judged.unseen)))


def _field(name: str) -> str:
    return name if name in BY_FIELD else f"{name}_"
