"""Which connector a domain goes through, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.policy.choose import ConnectorIndex, choose
from sealroute.policy.connector import Connector
from sealroute.policy.modes import ConnectorType
from tests.unit.connector_fakes import NOW, guid

ACCEPTED = ("example.org", "*.corp.example.org")


def connector(number: int, name: str, *domains: str, **values: Any) -> Connector:
    made: dict[str, Any] = {"when_created": NOW + timedelta(days=number)} | values
    return Connector(guid=guid(number), name=name, recipient_domains=domains, **made)


EXACT = connector(1, "Exact", "contoso.com")
WILD = connector(2, "Wild", "*.contoso.com")
DEEP = connector(3, "Deep", "*.eu.contoso.com")
ANY = connector(4, "Any", "*")
OURS = connector(5, "Ours", all_accepted_domains=True, connector_type=ConnectorType.ON_PREMISES)
ALL = (ANY, DEEP, WILD, EXACT, OURS)

NO_MATCH = "no connector matches contoso.com; the default applies"
OWN = "AllAcceptedDomains: a.corp.example.org is an accepted domain"
OF_TWO = "wildcard *.contoso.com, the most specific of 2"
TIE = "exact recipient domain x.test; 2 connectors have it, and"
CASES: list[tuple[str, tuple[Connector, ...], str, str | None, str, tuple[str, ...]]] = [
    ("exact", ALL, "contoso.com", "Exact", "exact recipient domain contoso.com", ("Exact", "Any")),
    ("wildcard, one label", ALL, "x.contoso.com", "Wild", OF_TWO, ("Wild", "Any")),
    ("wildcard, many labels", ALL, "a.b.contoso.com", "Wild", OF_TWO, ("Wild", "Any")),
    ("deepest", ALL, "x.eu.contoso.com", "Deep", "wildcard *.eu.contoso.com, the most specific of 3", ("Deep", "Wild", "Any")),
    ("not itself", (DEEP,), "eu.contoso.com", None, "no connector matches eu.contoso.com; the default applies", ()),
    ("everything", ALL, "fabrikam.com", "Any", "wildcard *", ("Any",)),
    ("literal", ALL, "[192.0.2.1]", "Any", "wildcard *", ("Any",)),
    ("accepted", ALL, "example.org", "Ours", "AllAcceptedDomains: example.org is an accepted domain", ("Ours", "Any")),
    ("accepted below", ALL, "a.corp.example.org", "Ours", OWN, ("Ours", "Any")),
    ("not accepted", (OURS,), "contoso.com", None, NO_MATCH, ()),
    (
        "exact before accepted", (OURS, connector(9, "Branch", "example.org")), "example.org",
        "Branch", "exact recipient domain example.org", ("Branch", "Ours"),
    ),
    (
        "accepted before wildcard", (OURS, connector(9, "Org", "*.example.org")), "a.corp.example.org",
        "Ours", OWN, ("Ours", "Org"),
    ),
    ("none", (), "contoso.com", None, NO_MATCH, ()),
    ("disabled", (replace(EXACT, enabled=False),), "contoso.com", None, NO_MATCH, ()),
    ("test mode", (replace(EXACT, test_mode=True), ANY), "contoso.com", "Any", "wildcard *", ("Any",)),
    ("rule", (replace(EXACT, is_transport_rule_scoped=True),), "contoso.com", None, NO_MATCH, ()),
    (
        "oldest", (connector(8, "A", "contoso.com"), EXACT), "contoso.com",
        "Exact", "exact recipient domain contoso.com; 2 connectors have it, and Exact is the oldest", ("Exact", "A"),
    ),
    (
        "same age, by name", (connector(8, "b", "x.test", when_created=NOW), connector(7, "A", "x.test", when_created=NOW)),
        "x.test", "A", f"{TIE} A comes first by age and name", ("A", "b"),
    ),
    (
        "no date is newest", (connector(8, "A", "x.test", when_created=None), connector(9, "B", "x.test")), "x.test",
        "B", f"{TIE} B is the oldest", ("B", "A"),
    ),
    ("named twice in one", (connector(1, "A", "x.test", "x.test"),), "x.test", "A", "exact recipient domain x.test", ("A",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("connectors", "domain", "name", "why", "considered"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_choice(
    connectors: tuple[Connector, ...], domain: str, name: str | None, why: str, considered: tuple[str, ...]
) -> None:
    for order in (connectors, connectors[::-1]):
        choice = choose(order, domain, accepted_domains=ACCEPTED)
        assert (choice.connector.name if choice.connector else None, choice.why, choice.considered) == (name, why, considered)
        assert ConnectorIndex(order, ACCEPTED).find(domain) == choice.connector


_domains = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)
_patterns = st.lists(st.one_of(_domains, _domains.map("*.{}".format), st.just("*")), max_size=4)


def covers(pattern: str, domain: str) -> bool:
    return pattern in ("*", domain) or (pattern[0] == "*" and domain.endswith(pattern[1:]))


@given(st.lists(_patterns, max_size=5), st.lists(_domains, max_size=2), st.booleans(), _domains)
def test_against_a_plain_scan(patterns: list[list[str]], accepted: list[str], ours: bool, domain: str) -> None:
    """The index finds what scanning every pattern finds: exact, then accepted, then the longest, the oldest first."""
    connectors = [connector(number, f"c{number}", *domains) for number, domains in enumerate(patterns)]
    fallback = connector(99, "ours", all_accepted_domains=True) if ours and domain in accepted else None
    matching = [(p, c) for c in connectors for p in c.recipient_domains if covers(p, domain)]
    exact = [c for p, c in matching if p == domain]
    longest = max(matching, key=lambda match: len(match[0]), default=(None, None))[1]
    expected = exact[0] if exact else fallback or longest
    index = ConnectorIndex([*connectors, *([fallback] if fallback else [])], accepted)
    assert index.find(domain) == expected
    assert index.choose(domain).connector == expected


def test_repr_tells_what_it_holds() -> None:
    assert repr(ConnectorIndex(ALL)) == "<ConnectorIndex of 1 domains, 2 wildcards>"
