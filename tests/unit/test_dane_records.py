"""TLSA records: text, usability, digest agility."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.dnsdata import Tlsa
from sealroute.base.errors import InputError
from sealroute.proto.dane.records import classify, outranked, parse, why_unusable
from simnet.pki import Ca

CA = Ca("Root")


def test_presentation_format() -> None:
    assert parse("3 1 1 00ff") == Tlsa(3, 1, 1, b"\x00\xff")
    assert parse("  2\t0  2   AA bB\n Cc ") == Tlsa(2, 0, 2, b"\xaa\xbb\xcc")
    assert parse("255 255 255 00") == Tlsa(255, 255, 255, b"\x00")


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(min_size=1, max_size=80))
def test_a_record_reads_back_as_it_was_written(usage: int, selector: int, matching: int, data: bytes) -> None:
    record = Tlsa(usage, selector, matching, data)
    assert parse(str(record)) == record


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not a TLSA record"),
        ("3 1 1", "'3 1 1' is not a TLSA record: write usage, selector, matching type and data"),
        ("x 1 1 00", "the TLSA usage 'x' is not a number from 0 to 255"),
        ("-1 1 1 00", "the TLSA usage '-1' is not"),
        ("256 1 1 00", "the TLSA usage '256' is not"),
        ("3 1000 1 00", "the TLSA selector '1000' is not"),
        ("3 1 ٣ 00", "the TLSA matching type '٣' is not"),
        ("3 1 1 0", "the TLSA data '0'… is not hexadecimal"),
        ("3 1 1 xyz0", "the TLSA data 'xyz0'… is not hexadecimal"),
        ("3 1 1 " + "00" * 65_533, "the TLSA data has more than 65532 octets"),
    ],
)
def test_text_that_is_no_record(text: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).startswith(complaint)


@given(st.text(max_size=40))
def test_any_text_is_a_record_or_an_input_error(text: str) -> None:
    try:
        record = parse(text)
    except InputError:
        return
    assert max(record.usage, record.selector, record.matching) <= 255


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (Tlsa(3, 1, 1, bytes(32)), ""),
        (Tlsa(2, 0, 2, bytes(64)), ""),
        (Tlsa(3, 0, 0, CA.der), ""),
        (Tlsa(2, 1, 0, CA.spki), ""),
        (Tlsa(0, 0, 1, bytes(32)), "usage 0 (PKIX-TA) is not used with SMTP"),
        (Tlsa(1, 0, 1, bytes(32)), "usage 1 (PKIX-EE) is not used with SMTP"),
        (Tlsa(4, 0, 1, bytes(32)), "usage 4 is unknown"),
        (Tlsa(255, 0, 1, bytes(32)), "usage 255 is unknown"),
        (Tlsa(3, 2, 1, bytes(32)), "selector 2 is unknown"),
        (Tlsa(3, 1, 3, bytes(32)), "matching type 3 is unknown"),
        (Tlsa(3, 1, 1, bytes(31)), "the digest has 31 octets instead of 32"),
        (Tlsa(3, 1, 2, bytes(32)), "the digest has 32 octets instead of 64"),
        (Tlsa(3, 1, 1, b""), "the digest has 0 octets instead of 32"),
        (Tlsa(3, 0, 0, b""), "the data is not a certificate"),
        (Tlsa(2, 0, 0, CA.der[:-1]), "the data is not a certificate"),
        (Tlsa(2, 0, 0, CA.der + b"\x00"), "the data is not a certificate"),
        (Tlsa(2, 0, 0, CA.spki), "the data is not a certificate"),
        (Tlsa(2, 1, 0, b""), "the data is not a public key (subjectPublicKeyInfo)"),
        (Tlsa(3, 1, 0, CA.der), "the data is not a public key (subjectPublicKeyInfo)"),
        (Tlsa(3, 1, 0, CA.spki + b"\x00"), "the data is not a public key (subjectPublicKeyInfo)"),
    ],
)
def test_which_records_can_be_used(record: Tlsa, why: str) -> None:
    assert why_unusable(record) == why


def test_a_set_is_sorted_by_use_in_published_order() -> None:
    good, other, bad = Tlsa(3, 1, 1, bytes(32)), Tlsa(2, 1, 1, bytes(32)), Tlsa(1, 1, 1, bytes(32))
    classified = classify([bad, other, good])
    assert classified.usable == (other, good)
    assert classified.unusable == ((bad, "usage 1 (PKIX-EE) is not used with SMTP"),)
    assert classify([]).usable == ()


def test_digest_agility_is_within_usage_and_selector_and_never_against_full_values() -> None:
    sha256, sha512 = Tlsa(3, 1, 1, bytes(32)), Tlsa(3, 1, 2, bytes(64))
    full, other_selector, other_usage = Tlsa(3, 1, 0, CA.spki), Tlsa(3, 0, 2, bytes(64)), Tlsa(2, 1, 2, bytes(64))
    assert outranked(sha256, [sha256, sha512]) == sha512
    assert outranked(sha512, [sha256, sha512]) is None
    assert outranked(full, [full, sha512]) is None
    assert outranked(sha256, [sha256, full, other_selector, other_usage]) is None
