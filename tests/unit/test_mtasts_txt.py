"""`_mta-sts` TXT sets: one difference each from a good record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.proto.mtasts.txt import StsTxt, TxtStatus, parse_txt

GOOD = "v=STSv1; id=20260101T000000"


def invalid(reason: str) -> StsTxt:
    return StsTxt(TxtStatus.INVALID, None, reason)


@pytest.mark.parametrize(
    ("record", "policy_id"),
    [
        (GOOD, "20260101T000000"),
        ("v=STSv1;id=a", "a"),
        ("v=STSv1; id=a;", "a"),
        ("v=STSv1 \t;\t id=a \t; \t", "a"),
        ("v=STSv1; id=" + "a" * 32, "a" * 32),
        ("v=STSv1; x=1; id=a", "a"),
        ("v=STSv1; id=a; x.y_z-1=!:<>~;", "a"),
        ("v=STSv1; id=a; id=b", "a"),
        ("v=STSv1; id=a; v=STSv2", "a"),
        ("v=STSv1; ID=b; id=a", "a"),
    ],
)
def test_one_good_record(record: str, policy_id: str) -> None:
    assert parse_txt([record]) == StsTxt(TxtStatus.OK, policy_id)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("v=STSv1", "the record has no id field"),
        ("v=STSv1;", "the record has no id field"),
        ("v=STSv1; ", "the record has no id field"),
        ("v=STSv1; x=1", "the record has no id field"),
        ("v=STSv1; ID=a", "the record has no id field"),
        ("v=STSv1 id=a", "v=STSv1 must be followed by a semicolon, not by ' id=a'"),
        ("v=STSv1, id=a", "v=STSv1 must be followed by a semicolon, not by ', id=a'"),
        ("v=STSv1; id=", "the id '' is not 1 to 32 letters and digits"),
        ("v=STSv1; id=a-b", "the id 'a-b' is not 1 to 32 letters and digits"),
        ("v=STSv1; id=é", "the id '\\xe9' is not 1 to 32 letters and digits"),
        ("v=STSv1; id=a ", "the id 'a ' is not 1 to 32 letters and digits"),
        ("v=STSv1; id = a", "the field name 'id ' is not 1 to 32 letters, digits, '_', '-' and '.'"),
        ("v=STSv1; id=" + "a" * 33, f"the id '{'a' * 33}' is not 1 to 32 letters and digits"),
        ("v=STSv1; id=" + "a" * 90, f"the id '{'a' * 57}...' is not 1 to 32 letters and digits"),
        ("v=STSv1;; id=a", "'' is not a field; fields are written name=value"),
        ("v=STSv1; id=a;;", "'' is not a field; fields are written name=value"),
        ("v=STSv1; id=a; x", "'x' is not a field; fields are written name=value"),
        ("v=STSv1; id=a; -x=1", "the field name '-x' is not 1 to 32 letters, digits, '_', '-' and '.'"),
        ("v=STSv1; id=a; x=", "the field x has the value '', which is empty or has characters not allowed"),
        ("v=STSv1; id=a; x=1=2", "the field x has the value '1=2', which is empty or has characters not allowed"),
        ("v=STSv1; id=a; x=1 2", "the field x has the value '1 2', which is empty or has characters not allowed"),
    ],
)
def test_one_record_that_breaks_the_grammar(record: str, reason: str) -> None:
    assert parse_txt([record]) == invalid(reason)


@pytest.mark.parametrize(
    "record", ["", "v=spf1 -all", "V=STSv1; id=a", " v=STSv1; id=a", "v=STSv10; id=a", "v=STSv2; id=a", "id=a; v=STSv1"]
)
def test_records_of_something_else_are_discarded(record: str) -> None:
    assert parse_txt([record]) == StsTxt(TxtStatus.NONE)
    assert parse_txt([record, GOOD]).status is TxtStatus.OK


def test_no_record() -> None:
    assert parse_txt([]) == StsTxt(TxtStatus.NONE)


def test_several_records() -> None:
    assert parse_txt([GOOD, "x", GOOD]) == invalid("2 records begin with v=STSv1; there must be exactly one")


def test_a_record_without_its_semicolon_does_not_count_beside_a_good_one() -> None:
    assert parse_txt(["v=STSv1", GOOD]).status is TxtStatus.OK


@given(st.lists(st.one_of(st.text(), st.text(alphabet="v=STSv1;id= \tax").map(lambda tail: "v=STSv1;" + tail)), max_size=4))
def test_any_set_gives_a_bounded_judgement(records: list[str]) -> None:
    judged = parse_txt(records)
    assert (judged.status is TxtStatus.OK) == (judged.id is not None)
    assert (judged.status is TxtStatus.INVALID) == (judged.reason is not None)
    assert len(judged.reason or "") < 700
    assert judged.id is None or (judged.id.isascii() and judged.id.isalnum() and len(judged.id) <= 32)
