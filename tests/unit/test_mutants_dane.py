"""DANE, what `make mutation` found that no other test noticed: bounds to the octet, and the words of a result."""

from __future__ import annotations

import re

import pytest

from sealroute.base.dnsdata import Tlsa
from sealroute.base.errors import InputError
from sealroute.proto.dane.records import MAX_DATA_BYTES, parse
from sealroute.proto.dane.verify import MAX_RECORDS, DaneVerdict, verify
from tests.unit.test_dane_verify import HOST, NOW, leaf, middle, root, spoiled, verdict


@pytest.mark.parametrize("text", ["0003 1 1 00", "3 0001 1 00", "3 1 0001 00", "256 1 1 00"])
def test_numbers_have_three_digits_at_most(text: str) -> None:
    with pytest.raises(InputError, match="is not a number from 0 to 255"):
        parse(text)


def test_data_may_fill_a_dns_message_and_no_octet_more() -> None:
    assert parse("3 1 0 " + "ab" * MAX_DATA_BYTES) == Tlsa(3, 1, 0, b"\xab" * MAX_DATA_BYTES)
    with pytest.raises(InputError, match=f"more than {MAX_DATA_BYTES} octets"):
        parse("3 1 0 " + "ab" * (MAX_DATA_BYTES + 1))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("w" * 100, "w" * 80), ("x" * 50 + " 1 1 00", "x" * 20), ("3 1 1 " + "z" * 50, "z" * 20)],
)
def test_foreign_text_is_quoted_up_to_a_bound(text: str, quoted: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"'{quoted}'")):
        parse(text)


def test_every_result_says_whether_its_record_is_usable() -> None:
    right, wrong = leaf().tlsa(3, 1, 1), spoiled(leaf().tlsa(3, 1, 2))
    result = verdict(leaf().chain(), right, wrong, middle().tlsa(2, 1, 1), spoiled(middle().tlsa(2, 0, 1)), "1 1 1 00")
    # The first is out-ranked by the stronger digest; it stays usable all the same.
    assert [item.usable for item in result.records] == [True, True, True, True, False]
    assert [item.matched for item in result.records] == [False, False, True, False, False]
    assert verdict(leaf().chain(), right).records[0].usable


def test_what_is_beyond_the_bound_is_usable_and_not_compared() -> None:
    wrong = [Tlsa(3, 1, 1, number.to_bytes(32)) for number in range(MAX_RECORDS)]
    right = parse(leaf().tlsa(3, 1, 1))
    last = verify(leaf().chain(), [*wrong, right], [HOST], NOW).records[-1]
    assert (last.usable, last.matched) == (True, False)
    assert last.why == f"not compared: the set has more than {MAX_RECORDS} usable records"
    assert verify(leaf().chain(), [*wrong[1:], right], [HOST], NOW).verdict is DaneVerdict.MATCH


@pytest.mark.parametrize(
    ("data", "shown"),
    [("aabbccdd11223344", "aabbccdd11223344"), ("aabbccdd1122334455", "aabbccdd…22334455"), ("00", "00")],
)
def test_long_data_is_shown_by_its_ends(data: str, shown: str) -> None:
    assert verdict(leaf().chain(), f"9 1 1 {data}").detail == f"TLSA 9 1 1 {shown}: usage 9 is unknown"


@pytest.mark.parametrize("form", [(0, 1), (1, 0), (1, 2)])
def test_an_anchor_that_is_not_there_is_called_so(form: tuple[int, int]) -> None:
    """A digest or a key is not mistaken for a certificate that failed to issue anything."""
    result = verdict([leaf().der], root().tlsa(2, *form))
    assert result.detail.endswith("no certificate in the presented chain, above the server's own, is the anchor it names")
