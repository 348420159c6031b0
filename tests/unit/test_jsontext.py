"""JSON text as the store keeps it: ASCII, short, and the same value when it is read again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.jsontext import encode

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
SURROGATES = st.text(st.characters(codec=None))
VALUES = st.recursive(
    LEAVES | SURROGATES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SURROGATES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_reading_gives_the_value_back_and_all_is_ascii(value: object) -> None:
    text = encode(value)
    assert text.isascii()
    assert json.loads(text) == value


def test_the_shortest_form() -> None:
    assert encode({"a": [1, "b", None], "c": ("d",)}) == '{"a":[1,"b",null],"c":["d"]}'


@pytest.mark.parametrize("value", ["Grüße", "\udcff", "\ud83d\ude00 and \ud83d", "日本"])
def test_other_scripts_and_lone_surrogates_are_escaped(value: str) -> None:
    assert encode([value]) == json.dumps([value])


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="datetime"):
        encode({"at": datetime(2026, 11, 24, tzinfo=UTC)})
