"""foresee: which connector mail to a domain goes through, as delivery would have it before a message is known.

The connector by domain, a timed exception in force, and the transport rules that certainly apply, in this order; and the rules
that may apply, depending on the message.  The steps are delivery's own (policy/choose, policy/exceptions, policy/transport).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sealroute.policy.choose import Choice, ConnectorIndex
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException, apply
from sealroute.policy.transport.apply import Hit
from sealroute.policy.transport.checks import usable
from sealroute.policy.transport.foresee import Foretold, for_certain, foretell, may_apply
from sealroute.policy.transport.rule import TransportRule


@dataclass(frozen=True, slots=True)
class Configured:
    """What an organisation's administrators have set, all of it."""

    default: Connector
    connectors: Sequence[Connector] = ()
    accepted_domains: Sequence[str] = ()
    exceptions: Sequence[TimedException] = ()
    rules: Sequence[TransportRule] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """The way that mail to one domain takes."""

    choice: Choice
    """By domain."""
    own: Connector
    """The connector chosen by domain, a timed exception applied."""
    connector: Connector
    """For a message that meets no rule which depends on it."""
    found: tuple[Hit, ...] = field(default=(), repr=False)
    by_guid: Mapping[str, Connector] = field(default_factory=dict, repr=False)

    def rules(self) -> tuple[Foretold, ...]:
        """The rules that apply, or may; raises OperatorError for a route that cannot be used."""
        return foretell(self.own, self.found, self.by_guid)


class Foresight:
    """Looks at any number of domains under one configuration and at one moment."""

    def __init__(self, configured: Configured, now: datetime) -> None:
        self._configured = configured
        self._now = now
        self._index = ConnectorIndex(configured.connectors, configured.accepted_domains)
        self._by_guid = {connector.guid: connector for connector in configured.connectors if usable(connector)}
        self._rules = sorted((rule for rule in configured.rules if rule.enabled), key=lambda rule: rule.priority)

    def of(self, domain: str) -> Course:
        """For a domain in compared form; raises OperatorError when a rule that applies routes where it cannot."""
        choice = self._index.choose(domain)
        own = self.excepted(choice.connector or self._configured.default, domain)
        found = may_apply(self._rules, domain)
        return Course(choice, own, for_certain(own, found, self._by_guid), found, self._by_guid)

    def excepted(self, connector: Connector, domain: str) -> Connector:
        """The connector for the domain, as a timed exception in force makes it."""
        made = (apply(connector, exception, domain, self._now) for exception in self._configured.exceptions)
        return next((other for other in made if other is not connector), connector)
