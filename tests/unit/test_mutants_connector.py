"""Connectors and their parameters, what `make mutation` found that no other test noticed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sealroute.base.errors import InputError
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.connector_json import connector_to_json
from sealroute.policy.parameter_kinds import parse_duration, parse_smart_host
from sealroute.policy.parameters import split_list

DAY = timedelta(days=1)


def test_the_default_connector_is_made_of_defaults() -> None:
    made = default_connector("contoso", retry_schedule=(DAY,), message_expiration=2 * DAY)
    assert made == Connector(
        guid="00000000-0000-0000-0000-000000000000",
        organization="contoso",
        name="(default)",
        retry_schedule=(DAY,),
        message_expiration=2 * DAY,
    )


def test_a_stored_connector_is_under_no_exception() -> None:
    assert default_connector().exception_id == ""


def test_the_stores_form_keeps_letters_as_they_are() -> None:
    assert '"Name":"Größte Bank"' in connector_to_json(Connector(guid="g", name="Größte Bank"))


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("@(a,b)", ("a", "b")),
        ("@(a,b", ("@(a", "b")),
        ("a,b)", ("a", "b)")),
        ("'a','b'", ("a", "b")),
        ("'a,b'", ("'a", "b'")),
        ("'a\",b", ("'a\"", "b")),
        ("'", ("'",)),
        ("xax", ("xax",)),
    ],
)
def test_brackets_and_quotes_are_taken_away_in_pairs(text: str, items: tuple[str, ...]) -> None:
    assert split_list(text) == items


def test_a_quoted_nothing_is_an_empty_item() -> None:
    with pytest.raises(InputError, match="has an empty item"):
        split_list("a,''")


@pytest.mark.parametrize("text", ["[mx.contoso.com", "mx.contoso.com]"])
def test_half_a_pair_of_square_brackets_is_no_smart_host(text: str) -> None:
    with pytest.raises(InputError, match="cannot be part of a host name"):
        parse_smart_host(text)


def test_a_time_span_goes_to_the_last_second_of_the_day() -> None:
    assert parse_duration("23:59:59") == timedelta(days=1, seconds=-1)


@pytest.mark.parametrize("text", ["24:00:00", "00:60:00", "00:00:60"])
def test_a_time_span_has_no_24th_hour_nor_60th_minute_or_second(text: str) -> None:
    with pytest.raises(InputError, match="hours go to 23, minutes and seconds to 59"):
        parse_duration(text)
