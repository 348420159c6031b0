"""Hosts against mx patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import InputError
from sealroute.proto.mtasts.match import compared_pattern, match


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("mail.example.com", "mail.example.com"),
        ("MAIL.example.COM", "mail.Example.com"),
        ("mail.example.com.", "mail.example.com"),
        ("mail.example.com", "mail.example.com."),
        ("mail.example.com", "*.example.com"),
        ("mail.example.com.", "*.EXAMPLE.com."),
        ("münchen.example.com", "xn--mnchen-3ya.example.com"),
        ("mail.xn--mnchen-3ya.example", "*.münchen.example"),
        ("a.b.c.example.com", "*.b.c.example.com"),
        ("mail", "mail"),
        ("a.com", "*.com"),
    ],
)
def test_a_pattern_that_covers(host: str, pattern: str) -> None:
    assert match(host, [pattern]) == pattern


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("example.com", "*.example.com"),
        ("a.mail.example.com", "*.example.com"),
        ("mail.example.com", "example.com"),
        ("mail.example.com", "mail.example.org"),
        ("contoso-com.o-v1.mx.example", "*.mx.example"),
        ("mail.example.com", "*"),
        ("mail", "*"),
        ("mail", "*."),
        ("mail.example.com", "m*.example.com"),
        ("mail.example.com", "mail.*.com"),
        ("a.mail.example.com", "*.*.example.com"),
        ("*.example.com", "*.example.com"),
        ("mail.example.com", ""),
        ("mail.example.com", "ma il.münchen.example"),
        ("", "*.example.com"),
        (".example.com", "*.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "*.0.2.1"),
        ("[IPv6:2001:db8::1]", "*.example.com"),
    ],
)
def test_a_pattern_that_does_not(host: str, pattern: str) -> None:
    assert match(host, [pattern]) is None


def test_the_first_that_covers_is_named() -> None:
    assert match("mail.example.com", ["mx.example.org", "*.example.com", "mail.example.com"]) == "*.example.com"


def test_no_pattern_covers_nothing() -> None:
    assert match("mail.example.com", []) is None


@pytest.mark.parametrize("text", ["*", "*.", "a.*", "*.*.a", "", "a..b"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(InputError):
        compared_pattern(text)


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_is_answered(host: str, patterns: list[str]) -> None:
    found = match(host, patterns)
    assert found is None or found in patterns


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)


@given(st.lists(label, min_size=2, max_size=5), label)
def test_a_wildcard_covers_exactly_one_more_label(parent: list[str], left: str) -> None:
    pattern = "*." + ".".join(["x", *parent])
    assert match(f"{left}.{pattern[2:]}", [pattern]) == pattern
    assert match(f"{left}.{left}.{pattern[2:]}", [pattern]) is None
    assert match(pattern[2:], [pattern]) is None
