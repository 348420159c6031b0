"""Chooses the connector for a recipient in the running gateway: the live set, timed exceptions, transport rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from sealroute.base.mail import Message
from sealroute.base.times import rfc3339
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.exceptions import TimedException, apply
from sealroute.services.apply_rules import RulesInForce
from sealroute.settings import Settings
from sealroute.store.store import Store

log = structlog.get_logger("sealroute")


class Choosing:
    """The connector for a recipient, from the live set; the index is rebuilt when the set changes.

    A timed exception gives the domain a connector value of its own, made once and remembered; transport rules then make of it
    what this message needs (services/apply_rules).
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._indexes: dict[str, tuple[Sequence[Connector], ConnectorIndex, Connector]] = {}
        self._excepted: dict[str, tuple[Connector, Connector]] = {}
        """By exception: the connector, and what the exception makes of it."""
        self._ruled = RulesInForce()

    def stored(self, organization: str, domain: str) -> Connector:
        """The connector as it is stored: an exception changes its modes only, never its limits."""
        connectors = self._store.connectors.all(organization)
        known = self._indexes.get(organization)
        if known is None or known[0] is not connectors:
            known = self._indexes[organization] = self._index(organization, connectors)
            self._excepted.clear()  # with the connectors the exceptions were loaded anew, too
        return known[1].find(domain) or known[2]

    def __call__(self, message: Message, domain: str) -> Connector:
        live, organization = self._store.connectors, message.organization
        connector = self.stored(organization, domain)
        exceptions = live.exceptions(organization)
        if exceptions and (exception := exceptions.get((connector.guid, domain))) is not None:
            connector = self._except(connector, exception, domain)
        if rules := live.rules(organization):
            return self._ruled(message, domain, connector, rules, live.all(organization))
        return connector

    def _except(self, connector: Connector, exception: TimedException, domain: str) -> Connector:
        # By the wall's clock, like the date that an administrator gave, whatever time the queue keeps.
        now = datetime.now(UTC)
        if not exception.in_force(now):
            if self._excepted.pop(exception.id, None) is not None:
                log.info("exception ended by its date", exception=exception.id, domain=domain, connector=connector.name)
            return connector
        known = self._excepted.get(exception.id)
        if known is None or known[0] is not connector:
            known = self._excepted[exception.id] = (connector, apply(connector, exception, domain, now))
            log.warning(
                "exception in force", exception=exception.id, domain=domain, connector=connector.name,
                until=rfc3339(exception.until), reason=exception.reason, author=exception.author,
            )  # fmt: skip
        return known[1]

    def _index(
        self, organization: str, connectors: Sequence[Connector]
    ) -> tuple[Sequence[Connector], ConnectorIndex, Connector]:
        retry = self._settings.retry
        fallback = default_connector(organization, retry_schedule=retry.schedule, message_expiration=retry.message_expiration)
        return connectors, ConnectorIndex(connectors, self._settings.accepted_domains), fallback
