"""The words everyone speaks: names, times, status codes, DNS answers, errors, envelopes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base import names, times
from sealroute.base.dnsdata import AliasStep, Answer, Mx, Outcome, Security, Tlsa
from sealroute.base.errors import InputError, OperatorError, Problem, SealrouteError
from sealroute.base.mail import DEFAULT_NOTIFY, Envelope, Message, Notify, Recipient
from sealroute.base.status import Enhanced, Reply

NOW = datetime(2026, 11, 22, 1, 39, 36, 120000, tzinfo=UTC)


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Contoso.COM", "contoso.com"),
        (" contoso.com. ", "contoso.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("_25._tcp.mx.example", "_25._tcp.mx.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_domains_in_compared_form(text: str, name: str) -> None:
    assert names.domain(text) == name
    assert names.domain(name) == name


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the domain name is empty"),
        (" . ", "the domain name is empty"),
        ("a..b", "'a..b' has an empty label"),
        (".a", "'.a' has an empty label"),
        ("a" * 64 + ".b", f"'{'a' * 64}.b' has a label of more than 63 octets"),
        (".".join(["abcdefgh"] * 29), "the domain name is 260 octets long, more than 253"),
        ("-a.b", "'-a.b' has the label '-a', which cannot be part of a host name"),
        ("a-.b", "'a-.b' has the label 'a-', which cannot be part of a host name"),
        ("a b.c", "'a b.c' has the label 'a b', which cannot be part of a host name"),
        ("a\r\nb.c", "'a\\r\\nb.c' has the label 'a\\r\\nb', which cannot be part of a host name"),
    ],
)
def test_what_is_no_domain(text: str, error: str) -> None:
    with pytest.raises(InputError) as caught:
        names.domain(text)
    assert str(caught.value) == error


def test_what_is_no_internationalized_domain() -> None:
    with pytest.raises(InputError, match="is not a valid internationalized domain name"):
        names.domain("\u200d.example")


@given(st.text(max_size=80))
def test_a_domain_is_one_or_an_error_and_stays_the_same(text: str) -> None:
    """Whatever text comes, the compared form is stable and bounded, or InputError says why."""
    try:
        name = names.domain(text)
    except InputError:
        return
    assert names.domain(name) == name
    assert name.isascii()
    assert len(name) <= 253


@pytest.mark.parametrize(
    ("address", "domain"),
    [("a@Contoso.com", "contoso.com"), ('"x@y"@contoso.com', "contoso.com"), ("a@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]")],
)
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert names.address_domain(address) == domain


@pytest.mark.parametrize("address", ["", "a", "@contoso.com", "a@"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError):
        names.address_domain(address)


@pytest.mark.parametrize(
    ("text", "ip"),
    [("192.0.2.1", "192.0.2.1"), ("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"),
     ("contoso.com", None), ("[contoso.com]", None), ("192.0.2.256", None), ("", None)],
)  # fmt: skip
def test_addresses(text: str, ip: str | None) -> None:
    parsed = names.parse_ip(text)
    assert (None if parsed is None else str(parsed)) == ip


def test_subdomains() -> None:
    assert names.is_subdomain("mx.contoso.com", "contoso.com")
    assert not names.is_subdomain("contoso.com", "contoso.com")
    assert not names.is_subdomain("notcontoso.com", "contoso.com")


# --------------------------------------------------------------------------------------------------------------- times


def test_times_in_every_form() -> None:
    plus_two = NOW.astimezone(timezone(timedelta(hours=2)))
    assert times.rfc3339(plus_two) == "2026-11-22T01:39:36.120000Z"
    assert times.rfc3339(NOW.replace(microsecond=0)) == "2026-11-22T01:39:36Z"
    assert times.parse_rfc3339(" 2026-11-22T03:39:36.12+02:00 ") == NOW
    assert times.parse_rfc3339(times.rfc3339(NOW)) == NOW
    assert times.rfc5322(plus_two) == "Sun, 22 Nov 2026 01:39:36 +0000"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22T01:39:36", "2026-13-01T00:00:00Z"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        times.parse_rfc3339(text)


def test_a_moment_without_zone_says_how_to_write_it() -> None:
    with pytest.raises(ValueError, match="has no time zone; write it as 2026-01-31T12:00:00Z"):
        times.parse_rfc3339("2026-11-22T01:39:36")


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact(moment: datetime) -> None:
    """Every moment comes back from the store as it went in."""
    assert times.from_us(times.to_us(moment)) == moment


# -------------------------------------------------------------------------------------------------------------- status


@pytest.mark.parametrize("text", ["4.7.324", "2.0.0", "5.999.999"])
def test_enhanced_codes(text: str) -> None:
    assert str(Enhanced.parse(text)) == text


@pytest.mark.parametrize("text", ["", "3.0.0", "4.7", "4.7.1.1", "4.7.x", "4.-1.0", "4.7.1000", "4..1", "4.7.²"])
def test_what_is_no_enhanced_code(text: str) -> None:
    assert Enhanced.parse(text) is None


def test_a_code_as_temporary_and_final() -> None:
    assert str(Enhanced(4, 7, 324).as_class(5)) == "5.7.324"


@pytest.mark.parametrize(
    ("reply", "text", "kind"),
    [
        (Reply(250, ("OK",)), "250 OK", (True, False, False)),
        (Reply(354), "354", (True, False, False)),
        (Reply(451, ("Try", "", "later"), Enhanced(4, 7, 1)), "451 4.7.1 Try later", (False, True, False)),
        (Reply(550, (), Enhanced(5, 1, 1)), "550 5.1.1", (False, False, True)),
    ],
)
def test_replies(reply: Reply, text: str, kind: tuple[bool, bool, bool]) -> None:
    assert str(reply) == text
    assert (reply.positive, reply.transient, reply.permanent) == kind


# ----------------------------------------------------------------------------------------------------------------- DNS


def answer(outcome: Outcome, security: Security, records: tuple[Any, ...] = (), **changes: Any) -> Answer[Any]:
    return Answer("mx.contoso.com", "A", outcome, security, records, **changes)


@pytest.mark.parametrize("security", list(Security))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_unknown_is_never_absent(outcome: Outcome, security: Security) -> None:
    records = ("192.0.2.1",) if outcome is Outcome.DATA else ()
    failed = security in (Security.BOGUS, Security.UNKNOWN)
    if failed != (outcome is Outcome.FAILED):
        with pytest.raises(ValueError, match="cannot be"):
            answer(outcome, security, records)
        return
    made = answer(outcome, security, records)
    assert (made.failed, made.secure) == (failed, security is Security.SECURE)
    assert made.absent == (outcome in (Outcome.NODATA, Outcome.NXDOMAIN))
    assert not (made.failed and made.absent)


def test_data_has_records_and_nothing_else_has() -> None:
    with pytest.raises(ValueError, match="with 0 records"):
        answer(Outcome.DATA, Security.SECURE)
    with pytest.raises(ValueError, match="with 1 records"):
        answer(Outcome.NODATA, Security.SECURE, ("192.0.2.1",))


def test_the_name_after_all_aliases() -> None:
    steps = (AliasStep("mx.contoso.com", "a.example", Security.SECURE), AliasStep("a.example", "b.example", Security.INSECURE))
    assert answer(Outcome.NODATA, Security.SECURE).final_name == "mx.contoso.com"
    assert answer(Outcome.NODATA, Security.INSECURE, aliases=steps).final_name == "b.example"


def test_the_weaker_proof() -> None:
    order = [Security.SECURE, Security.INSECURE, Security.UNKNOWN, Security.BOGUS]
    for index, first in enumerate(order):
        for second in order[index:]:
            assert first.weaker(second) is second.weaker(first) is second


def test_records_in_text() -> None:
    assert str(Tlsa(3, 1, 1, b"\xab\xcd")) == "3 1 1 abcd"
    assert Mx(5, "b") < Mx(10, "a")


# -------------------------------------------------------------------------------------------------------------- errors


def test_an_operators_error_tells_every_problem() -> None:
    error = OperatorError(Problem("Name", "it is taken.", "Choose another."), Problem("", "nothing fits."))
    assert isinstance(error, SealrouteError)
    assert str(error) == "Name: it is taken. Choose another.\nnothing fits."
    assert OperatorError.one("a", "b").problems == (Problem("a", "b"),)


# ---------------------------------------------------------------------------------------------------------------- mail


def test_wishes_and_sizes() -> None:
    assert Recipient("a@contoso.com").effective_notify is DEFAULT_NOTIFY
    assert Recipient("a@contoso.com", Notify.NEVER).effective_notify is Notify.NEVER
    message = Message("m", "default", Envelope("", ()), b"12345", NOW)
    assert message.size_bytes == 5
    assert "12345" not in repr(message)
