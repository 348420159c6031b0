"""Connectors and their parameters, what `make mutation` found that no other test noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.connector_json import connector_to_json
from sealroute.policy.exceptions import MAX_REASON_CHARACTERS, MAX_SPAN, problems
from tests.unit.test_exceptions import BANK, GOOD

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
    assert '"Name":"Größte Bank"' in connector_to_json(replace(BANK, name="Größte Bank"))


def test_an_exception_may_last_and_say_as_much_as_allowed_and_no_more() -> None:
    longest = replace(GOOD, until=GOOD.created_at + MAX_SPAN, reason="x" * MAX_REASON_CHARACTERS)
    assert problems(BANK, longest) == ()
    longer = replace(longest, until=longest.until + timedelta(microseconds=1), reason=longest.reason + "x")
    assert [problem.where for problem in problems(BANK, longer)] == ["until", "reason"]
