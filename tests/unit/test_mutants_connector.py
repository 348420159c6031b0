"""Connectors and their parameters, what `make mutation` found that no other test noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sealroute.base.errors import InputError
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.connector_json import connector_to_json
from sealroute.policy.connector_rules import MAX_ITEMS, MAX_TEXT_CHARACTERS, check
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.parameter_kinds import parse_duration, parse_smart_host
from sealroute.policy.parameters import split_list

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BANK = Connector(guid="g", name="Größte Bank", recipient_domains=("contoso.com",))


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


@pytest.mark.parametrize("field", MAX_ITEMS)
def test_a_list_may_be_as_long_as_allowed_and_no_longer(field: str) -> None:
    item: Any = HOUR if field == "retry_schedule" else "mx.contoso.com"

    def wrong(count: int) -> bool:
        values: dict[str, Any] = {field: (item,) * count}
        said = [str(problem) for problem in check(replace(BANK, **values)).problems]
        return any(f"it has {count} entries. At most {MAX_ITEMS[field]} are allowed." in sentence for sentence in said)

    assert (wrong(MAX_ITEMS[field]), wrong(MAX_ITEMS[field] + 1)) == (False, True)


def test_a_comment_may_be_as_long_as_allowed() -> None:
    assert check(replace(BANK, comment="x" * MAX_TEXT_CHARACTERS)).problems == ()


def test_the_first_address_is_the_one_that_mandatory_is_refused_for() -> None:
    two = replace(
        BANK, use_mx_record=False, smart_hosts=("192.0.2.1", "192.0.2.2"), smtp_dane_mode=SmtpDaneMode.MANDATORY,
        mta_sts_mode=MtaStsMode.MANDATORY,
    )  # fmt: skip
    assert [str(problem).partition(": an address")[0] for problem in check(two).problems] == [
        "SmtpDaneMode: Mandatory can never hold for the smart host 192.0.2.1",
        "MtaStsMode: Mandatory can never hold for the smart host 192.0.2.1",
    ]


def test_only_the_first_wait_must_be_shorter_than_the_messages_life() -> None:
    assert check(replace(BANK, retry_schedule=(HOUR, 3 * HOUR), message_expiration=2 * HOUR)).warnings == ()


def test_the_stores_form_keeps_letters_as_they_are() -> None:
    assert '"Name":"Größte Bank"' in connector_to_json(BANK)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("@(a,b)", ("a", "b")),
        ("@(a,b", ("@(a", "b")),
        ("a,b)", ("a", "b)")),
        ("'a','b'", ("a", "b")),
        ("'a,b'", ("a,b",)),
        ("'a,b', \"c,d\" ,e", ("a,b", "c,d", "e")),
        ("'a,b'c", ("'a", "b'c")),
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


def test_a_connector_by_itself_is_under_no_rule() -> None:
    assert (BANK.exception_id, BANK.rule_effects, BANK.rule_key) == ("", (), "")


@pytest.mark.parametrize("limit", ["max_messages_per_minute", "max_connections_per_destination"])
def test_limits_of_a_connector_that_only_rules_choose_are_warned_about(limit: str) -> None:
    scoped = replace(BANK, is_transport_rule_scoped=True, **{limit: 5})  # type: ignore[arg-type]
    warned = {(warning.where, warning.what) for warning in check(scoped).warnings}
    assert ("MaxMessagesPerMinute", "limits do not count for mail that a rule sends here.") in warned
    for other in (replace(scoped, is_transport_rule_scoped=False), replace(scoped, **{limit: None})):  # type: ignore[arg-type]
        assert not any("limits do not count" in warning.what for warning in check(other).warnings)
