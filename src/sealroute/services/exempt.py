"""exempt: except one recipient domain of a connector from its modes, for a while; list such exceptions, end one.

The connector must be the one that mail to the domain goes through, or the exception would do nothing.  What an exception may
be stands in policy/exceptions, what it does in policy/decide; the store keeps the audit.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.base.names import domain as compared
from sealroute.policy.choose import choose
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException, apply, problems
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.ports import ConnectorStore, ExceptionStore
from sealroute.services.configure import find


@dataclass(frozen=True, slots=True)
class Asked:
    """What an administrator wants excepted."""

    connector: str
    """Name or GUID; the default connector's name for mail that no connector matches."""
    domain: str
    until: datetime
    reason: str
    smtp_dane_mode: SmtpDaneMode | None = None
    mta_sts_mode: MtaStsMode | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where it is to apply: the organisation's connectors, and the default one."""

    connectors: ConnectorStore
    default: Connector
    accepted_domains: Sequence[str] = ()


def plan(asked: Asked, around: Surroundings, author: str, now: datetime) -> TimedException:
    """The exception as it would be made; raises OperatorError with every problem."""
    connector = _connector(asked.connector, around)
    domain, found = "", list[Problem]()
    try:
        domain = _domain(asked.domain)
    except InputError as error:
        found.append(Problem("domain", f"{error}.", "Name one recipient domain, such as contoso.com."))
    exception = TimedException(
        id=f"x{secrets.token_hex(4)}",
        organization=connector.organization,
        connector_guid=connector.guid,
        connector_name=connector.name,
        domain=domain,
        smtp_dane_mode=asked.smtp_dane_mode,
        mta_sts_mode=asked.mta_sts_mode,
        created_at=now,
        until=asked.until,
        reason=asked.reason.strip(),
        author=author,
    )
    found += problems(connector, exception)
    if domain:
        found += _elsewhere(connector, domain, around)
    if found:
        raise OperatorError(*found)
    return exception


def _connector(identity: str, around: Surroundings) -> Connector:
    if identity.casefold() in (around.default.name.casefold(), around.default.guid):
        return around.default
    return find(around.connectors, around.default.organization, identity)


def _domain(text: str) -> str:
    if "*" in text:
        raise InputError(f"{text!r} has a wildcard, and an exception is for one recipient domain")
    return compared(text)


def _elsewhere(connector: Connector, domain: str, around: Surroundings) -> list[Problem]:
    """The problem that mail to the domain does not go through this connector."""
    choice = choose(around.connectors.all(connector.organization), domain, accepted_domains=around.accepted_domains)
    used = choice.connector or around.default
    if used.guid == connector.guid:
        return []
    text = f"mail to {domain} does not go through connector {connector.name!r}: {choice.why}."
    return [Problem("connector", text, f"Name {used.name!r}, the one it goes through.")]


def in_force(store: ExceptionStore, connector: Connector, domain: str, now: datetime) -> Connector:
    """The connector as delivery uses it for the domain, an exception applied."""
    for exception in store.all(connector.organization):
        excepted = apply(connector, exception, domain, now)
        if excepted is not connector:
            return excepted
    return connector
