"""Connectors and their parameters, what `make mutation` found that no other test noticed."""

from __future__ import annotations

from datetime import timedelta

from sealroute.policy.connector import Connector, default_connector

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
