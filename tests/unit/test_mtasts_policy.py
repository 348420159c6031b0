"""MTA-STS policy files: one difference each from a good one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.proto.mtasts.policy import MAX_AGE_SECONDS, MAX_POLICY_BYTES, PolicyInvalid, StsMode, StsPolicy, parse_policy

LINES = ["version: STSv1", "mode: enforce", "mx: mail.example.com", "mx: *.example.net", "max_age: 604800"]
GOOD = "\r\n".join(LINES) + "\r\n"
MX = ("mail.example.com", "*.example.net")


def policy(text: str, **difference: object) -> StsPolicy:
    values = {"mode": StsMode.ENFORCE, "max_age_seconds": 604800, "mx": MX, "text": text} | difference
    return StsPolicy(**values)  # type: ignore[arg-type]


def with_line(number: int, line: str) -> str:
    return "\n".join([*LINES[: number - 1], line, *LINES[number:]])


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\r\n", "\n"),
        GOOD.rstrip(),
        "\n".join([LINES[4], *LINES[1:4], LINES[0]]),
        GOOD.replace(": ", ":"),
        GOOD.replace(": ", ": \t "),
        GOOD.replace("\r\n", " \t\r\n"),
        GOOD + "x-note: anything = goes; über allem\r\n",
        GOOD + "Mode: none\r\n",
        GOOD + "mode: none\r\nversion: STSv2\r\nmax_age: soon\r\n",
        GOOD + "mx: mail.example.com\r\n",
        GOOD.replace("mail", "MAIL"),
        GOOD.replace("604800", "0000604800"),
    ],
)
def test_the_same_policy_in_other_words(text: str) -> None:
    assert parse_policy(text) == policy(text)
    assert parse_policy(text.encode()) == policy(text)


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("enforce", "testing", {"mode": StsMode.TESTING}),
        ("enforce", "none", {"mode": StsMode.NONE}),
        ("604800", "0", {"max_age_seconds": 0}),
        ("604800", str(MAX_AGE_SECONDS), {"max_age_seconds": MAX_AGE_SECONDS}),
        ("mail.example.com", "xn--mnchen-3ya.example", {"mx": ("xn--mnchen-3ya.example", "*.example.net")}),
        ("mail.example.com", "mail", {"mx": ("mail", "*.example.net")}),
    ],
)
def test_other_policies(old: str, new: str, difference: dict[str, object]) -> None:
    text = GOOD.replace(old, new)
    assert parse_policy(text) == policy(text, **difference)


def test_mode_none_needs_no_mx() -> None:
    text = "version: STSv1\nmode: none\nmax_age: 86400"
    assert parse_policy(text) == StsPolicy(StsMode.NONE, 86400, (), text)


LABELS = "is not 1 to 32 letters, digits, '_', '-' and '.'"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The policy is empty."),
        ("\n", "Line 1: the line is empty."),
        (GOOD + "\r\n", "Line 6: the line is empty."),
        (GOOD + "  ", "Line 6: the line is empty."),
        (with_line(2, ""), "Line 2: the line is empty."),
        (with_line(1, "# policy"), "Line 1: '# policy' is not a field; fields are written name: value."),
        (with_line(1, "\ufeffversion: STSv1"), "Line 1: the file begins with a byte order mark."),
        (with_line(1, "version: STSv2"), "Line 1: the version 'STSv2' is not STSv1."),
        (with_line(1, "version: stsv1"), "Line 1: the version 'stsv1' is not STSv1."),
        (with_line(1, " version: STSv1"), f"Line 1: the field name ' version' {LABELS}."),
        (with_line(1, "version : STSv1"), f"Line 1: the field name 'version ' {LABELS}."),
        (with_line(1, "Version: STSv1"), "The policy has no version field."),
        (with_line(2, "mode: Enforce"), "Line 2: the mode 'Enforce' is none of enforce, testing and none."),
        (with_line(2, "mode:"), "Line 2: the field mode has no value."),
        (with_line(2, "mode: enforce\rmode: none"), "Line 2: the field mode has a control character in its value."),
        (with_line(2, "x: 1"), "The policy has no mode field."),
        (with_line(2, "x: 1\t2"), "Line 2: the field x has a control character in its value."),
        (with_line(5, "x: 1"), "The policy has no max_age field."),
        (with_line(5, "max_age: -1"), "Line 5: max_age '-1' is not a number of 1 to 10 digits."),
        (with_line(5, "max_age: 1_000"), "Line 5: max_age '1_000' is not a number of 1 to 10 digits."),
        (with_line(5, "max_age: ٣"), "Line 5: max_age '\\u0663' is not a number of 1 to 10 digits."),
        (with_line(5, "max_age: 00000000001"), "Line 5: max_age '00000000001' is not a number of 1 to 10 digits."),
        (with_line(5, "max_age: 31557601"), "Line 5: max_age 31557601 is above the maximum of 31557600 seconds."),
        (with_line(4, "mx: "), "Line 4: the field mx has no value."),
        (with_line(4, "mx: *"), "Line 4: the mx '*' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: *."), "Line 4: the mx '*.' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: *.*.example"), "Line 4: the mx '*.*.example' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: a.*.example"), "Line 4: the mx 'a.*.example' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: a*.example"), "Line 4: the mx 'a*.example' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: .example"), "Line 4: the mx '.example' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: a.example."), "Line 4: the mx 'a.example.' is neither a host name nor '*.' and a domain."),
        (with_line(4, "mx: -a.example"), "Line 4: the mx '-a.example' is neither a host name nor '*.' and a domain."),
        (
            with_line(4, "mx: a.example b.example"),
            "Line 4: the mx 'a.example b.example' is neither a host name nor '*.' and a domain.",
        ),
        (with_line(4, "mx: [192.0.2.1]"), "Line 4: the mx '[192.0.2.1]' is neither a host name nor '*.' and a domain."),
        (
            with_line(4, "mx: münchen.example"),
            "Line 4: the mx 'm\\xfcnchen.example' is not in ASCII; international names are written as A-labels (xn--...).",
        ),
        (
            with_line(4, "mx: " + "a" * 64),
            f"Line 4: the mx '{'a' * 57}...' is longer than a domain name or one of its labels may be.",
        ),
        ("\n".join([*LINES[:2], LINES[4]]), "The policy has no mx field; mode enforce needs at least one."),
        (GOOD + "x: " + "y" * MAX_POLICY_BYTES, "The policy is larger than 65536 octets."),
        (GOOD + "\x00: y", f"Line 6: the field name '\\x00' {LABELS}."),
        (GOOD + "é: y", f"Line 6: the field name '\\xe9' {LABELS}."),
    ],
)
def test_what_is_malformed_is_invalid(text: str, reason: str) -> None:
    assert parse_policy(text.encode()) == PolicyInvalid(reason)


@pytest.mark.parametrize("bad", [b"x: \xff\n", b"x: \xc0\xaf\n", b"x: \xed\xa0\x80\n"])
def test_what_is_not_utf8(bad: bytes) -> None:
    assert parse_policy(GOOD.encode() + bad) == PolicyInvalid("Line 6 is not UTF-8.")


def test_a_lone_surrogate_in_text_is_not_utf8() -> None:
    assert parse_policy("x: \ud800") == PolicyInvalid("Line 1 is not UTF-8.")


def test_exactly_the_largest_policy() -> None:
    text = GOOD + "x: "
    text += "y" * (MAX_POLICY_BYTES - len(text))
    assert parse_policy(text) == policy(text)


line = st.one_of(
    st.sampled_from(LINES),
    st.text(max_size=30),
    st.tuples(st.sampled_from(["version", "mode", "mx", "max_age", "x"]), st.text(max_size=12)).map(": ".join),
)


@given(st.one_of(st.binary(), st.text(), st.lists(line).map("\n".join)))
def test_any_body_gives_a_policy_that_reads_the_same_again_or_one_bounded_sentence(body: bytes | str) -> None:
    read = parse_policy(body)
    if isinstance(read, PolicyInvalid):
        assert read.reason.endswith(".")
        assert "\n" not in read.reason
        assert len(read.reason) < 900
    else:
        assert parse_policy(read.text) == read
        assert 0 <= read.max_age_seconds <= MAX_AGE_SECONDS
        assert read.mx or read.mode is StsMode.NONE
