"""Which connector a recipient's domain goes through, and why, in a sentence an administrator reads.

In Exchange's order: the exact recipient domain; AllAcceptedDomains, when the domain is one of the organisation's own; the
most specific wildcard (`*.a.example` before `*.example` before `*`).  A connector that is disabled, in test mode or
scoped to a rule is never chosen.  Of two that match alike the one created first wins, then the name that sorts first, so
that every node chooses the same one.

`*.contoso.com` covers names below contoso.com, not contoso.com itself.  `*` covers everything, address literals too: an
administrator who demands Mandatory of `*` must not find mail to `[192.0.2.1]` going out under the default.

On the path of every message: an index is built once per set of connectors; choosing is a few dictionary look-ups, one
per label of the domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sealroute.policy.connector import Connector

_NO_DATE = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Choice:
    """The connector for one recipient domain."""

    connector: Connector | None
    """None: no connector matches; the default applies."""
    why: str
    considered: tuple[str, ...] = ()
    """Names of all connectors that match, best first; the chosen one leads."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """The connectors of one pattern, the winner first."""

    best: Connector
    names: tuple[str, ...]
    wins: str
    """How the best one comes before the second."""


class ConnectorIndex:
    """A set of connectors, arranged for choosing; build anew when the set changes."""

    __slots__ = ("_accepted", "_all_accepted", "_any", "_exact", "_wild")

    def __init__(self, connectors: Iterable[Connector], accepted_domains: Iterable[str] = ()) -> None:
        """`accepted_domains` are the organisation's own, in compared form; `*.x` covers what is below x."""
        exact: dict[str, list[Connector]] = {}
        wild: dict[str, list[Connector]] = {}
        accepted: list[Connector] = []
        anything: list[Connector] = []
        for connector in sorted(filter(eligible, connectors), key=_rank):
            if connector.all_accepted_domains:
                accepted.append(connector)
            for pattern in dict.fromkeys(connector.recipient_domains):
                if pattern == "*":
                    anything.append(connector)
                elif pattern.startswith("*."):
                    wild.setdefault(pattern[2:], []).append(connector)
                else:
                    exact.setdefault(pattern, []).append(connector)
        self._exact = {domain: _entry(found) for domain, found in exact.items()}
        self._wild = {parent: _entry(found) for parent, found in wild.items()}
        self._all_accepted = _entry(accepted) if accepted else None
        self._any = _entry(anything) if anything else None
        self._accepted = frozenset(accepted_domains)

    def __repr__(self) -> str:
        return f"<ConnectorIndex of {len(self._exact)} domains, {len(self._wild)} wildcards>"

    def find(self, recipient_domain: str) -> Connector | None:
        """The connector for a domain in compared form, or None when the default applies; the same as `choose` finds."""
        entry = self._exact.get(recipient_domain)
        if entry is None and self._all_accepted is not None and self._is_accepted(recipient_domain):
            entry = self._all_accepted
        if entry is None and self._wild:
            entry = next((self._wild[parent] for parent in _parents(recipient_domain) if parent in self._wild), None)
        if entry is None:
            entry = self._any
        return None if entry is None else entry.best

    def choose(self, recipient_domain: str) -> Choice:
        """The connector with the reason, for a domain in compared form."""
        matches: list[tuple[str, _Entry]] = []
        if entry := self._exact.get(recipient_domain):
            matches.append((f"exact recipient domain {recipient_domain}", entry))
        if self._all_accepted is not None and self._is_accepted(recipient_domain):
            matches.append((f"AllAcceptedDomains: {recipient_domain} is an accepted domain", self._all_accepted))
        wild = [(f"wildcard *.{parent}", self._wild[parent]) for parent in _parents(recipient_domain) if parent in self._wild]
        if self._any is not None:
            wild.append(("wildcard *", self._any))
        if len(wild) > 1:
            wild[0] = (f"{wild[0][0]}, the most specific of {len(wild)}", wild[0][1])
        matches += wild
        if not matches:
            return Choice(None, f"no connector matches {recipient_domain}; the default applies")
        why, entry = matches[0]
        if len(entry.names) > 1:
            why += f"; {len(entry.names)} connectors have it, and {entry.best.name} {entry.wins}"
        return Choice(entry.best, why, tuple(dict.fromkeys(name for _, found in matches for name in found.names)))

    def _is_accepted(self, domain: str) -> bool:
        return domain in self._accepted or any(f"*.{parent}" in self._accepted for parent in _parents(domain))


def choose(connectors: Sequence[Connector], recipient_domain: str, *, accepted_domains: Iterable[str] = ()) -> Choice:
    """Choose once; whoever chooses often keeps a ConnectorIndex."""
    return ConnectorIndex(connectors, accepted_domains).choose(recipient_domain)


def eligible(connector: Connector) -> bool:
    """Whether the connector can be chosen by domain at all."""
    return connector.enabled and not connector.test_mode and not connector.is_transport_rule_scoped


def _rank(connector: Connector) -> tuple[datetime, str, str]:
    return connector.when_created or _NO_DATE, connector.name.casefold(), connector.guid


def _entry(ranked: list[Connector]) -> _Entry:
    tied = len(ranked) > 1 and ranked[0].when_created == ranked[1].when_created
    wins = "comes first by age and name" if tied else "is the oldest"
    return _Entry(ranked[0], tuple(connector.name for connector in ranked), wins)


def _parents(domain: str) -> Iterable[str]:
    """The names above the domain, nearest first; none for an address literal."""
    if domain.startswith("["):
        return
    _, dot, parent = domain.partition(".")
    while dot:
        yield parent
        _, dot, parent = parent.partition(".")
