"""`_smtp._tls` TXT sets: one difference each from a good record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.proto.tlsrpt.txt import MAX_ADDRESSES, RptStatus, RptTxt, parse_txt

MAIL = "mailto:reports@example.com"
WEB = "https://reports.example.com/v1/tlsrpt"
GOOD = f"v=TLSRPTv1; rua={MAIL}"


def invalid(reason: str) -> RptTxt:
    return RptTxt(RptStatus.INVALID, (), reason)


@pytest.mark.parametrize(
    ("record", "rua"),
    [
        (GOOD, (MAIL,)),
        (f"v=TLSRPTv1;rua={MAIL};", (MAIL,)),
        (f"v=TLSRPTv1 \t; rua={WEB} \t;\t", (WEB,)),
        (f"v=TLSRPTv1; rua={MAIL},{WEB}", (MAIL, WEB)),
        (f"v=TLSRPTv1; rua={WEB}\t, {MAIL}", (WEB, MAIL)),
        (f"v=TLSRPTv1; rua={MAIL}; rua={WEB}", (MAIL, WEB)),
        (f"v=TLSRPTv1; rua={MAIL},{MAIL}", (MAIL,)),
        (f"v=TLSRPTv1; x=1; rua={MAIL}; y=2", (MAIL,)),
        (f"v=TLSRPTv1; rua=ftp://example.com/,{MAIL}", (MAIL,)),
        ("v=TLSRPTv1; rua=MAILTO:Reports@Example.com", ("MAILTO:Reports@Example.com",)),
        ("v=TLSRPTv1; rua=mailto:a%2Cb%21c@example.com", ("mailto:a%2Cb%21c@example.com",)),
        ("v=TLSRPTv1; rua=mailto:a@example.com?subject=x", ("mailto:a@example.com?subject=x",)),
        ("v=TLSRPTv1; rua=https://[2001:db8::1]:8443/a?b=c", ("https://[2001:db8::1]:8443/a?b=c",)),
        ("v=TLSRPTv1; rua=https://example.com", ("https://example.com",)),
    ],
)
def test_one_good_record(record: str, rua: tuple[str, ...]) -> None:
    assert parse_txt([record]) == RptTxt(RptStatus.OK, rua)


NOT_URI = "in rua is not a URI ('!' ',' and ';' must be percent-encoded)"
NOT_OURS = "no rua address is a mailto: or https: one that reports can be sent to:"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("v=TLSRPTv1", "the record has no rua field"),
        ("v=TLSRPTv1;", "the record has no rua field"),
        ("v=TLSRPTv1; RUA=" + MAIL, "the record has no rua field"),
        ("v=TLSRPTv1 rua=x", "v=TLSRPTv1 must be followed by a semicolon, not by ' rua=x'"),
        ("v=TLSRPTv1; rua=", f"'' {NOT_URI}"),
        (f"v=TLSRPTv1; rua={MAIL},", f"'' {NOT_URI}"),
        (f"v=TLSRPTv1; rua={MAIL}!10m", f"'{MAIL}!10m' {NOT_URI}"),
        ("v=TLSRPTv1; rua=reports@example.com", f"'reports@example.com' {NOT_URI}"),
        ("v=TLSRPTv1; rua=mailto:a%2@example.com", f"'mailto:a%2@example.com' {NOT_URI}"),
        ("v=TLSRPTv1; rua=mailto:a b@example.com", f"'mailto:a b@example.com' {NOT_URI}"),
        ("v=TLSRPTv1; rua=http://example.com/", f"{NOT_OURS} 'http://example.com/'"),
        ("v=TLSRPTv1; rua=mailto:nobody", f"{NOT_OURS} 'mailto:nobody'"),
        ("v=TLSRPTv1; rua=https:///path", f"{NOT_OURS} 'https:///path'"),
        ("v=TLSRPTv1; rua=https://user@example.com/", f"{NOT_OURS} 'https://user@example.com/'"),
        ("v=TLSRPTv1; rua=a:1,b:2,c:3,d:4,e:5", f"{NOT_OURS} 'a:1', 'b:2', 'c:3', 'd:4', ..."),
        (f"v=TLSRPTv1; rua={MAIL}; x", "'x' is not a field; fields are written name=value"),
        (f"v=TLSRPTv1; rua={MAIL};;", "'' is not a field; fields are written name=value"),
        (f"v=TLSRPTv1; .x=1; rua={MAIL}", "the field name '.x' is not 1 to 32 letters, digits, '_', '-' and '.'"),
        (f"v=TLSRPTv1; x=; rua={MAIL}", "the field x has the value '', which is empty or has characters not allowed"),
    ],
)
def test_one_record_that_breaks_the_grammar(record: str, reason: str) -> None:
    assert parse_txt([record]) == invalid(reason)


@pytest.mark.parametrize(
    "record", ["", "v=spf1 -all", "V=TLSRPTv1; rua=x:y", " " + GOOD, "v=TLSRPTv12; rua=x:y", "v=TLSRPTv2; rua=x:y"]
)
def test_records_of_something_else_are_discarded(record: str) -> None:
    assert parse_txt([record]) == RptTxt(RptStatus.NONE)
    assert parse_txt([record, GOOD]).status is RptStatus.OK


def test_several_records() -> None:
    reason = "2 records begin with v=TLSRPTv1; there must be exactly one, so no reports are sent"
    assert parse_txt([GOOD, GOOD]) == invalid(reason)


def test_the_number_of_addresses_is_bounded() -> None:
    many = ",".join(f"mailto:a{number}@example.com" for number in range(100))
    assert len(parse_txt([f"v=TLSRPTv1; rua={many}"]).rua) == MAX_ADDRESSES


@given(
    st.lists(
        st.one_of(st.text(), st.text(alphabet="rua=mailto:x@y.z, \t;%").map(lambda tail: "v=TLSRPTv1;" + tail)), max_size=4
    )
)
def test_any_set_gives_a_bounded_judgement(records: list[str]) -> None:
    judged = parse_txt(records)
    assert (judged.status is RptStatus.OK) == bool(judged.rua)
    assert (judged.status is RptStatus.INVALID) == (judged.reason is not None)
    assert len(judged.reason or "") < 2000
