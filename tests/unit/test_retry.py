"""When a group is tried again, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.policy.connector import Connector
from sealroute.policy.retry import RetryRules, delay_notice_due, expires_at, next_attempt

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CONNECTOR = Connector(guid="g", name="Contoso")
SHORT = Connector(guid="g", name="Lab", retry_schedule=(timedelta(seconds=5),), message_expiration=timedelta(hours=1))


@pytest.mark.parametrize(
    ("connector", "runs", "age", "chance", "wait"),
    [
        (CONNECTOR, 1, timedelta(), 0.0, timedelta(minutes=15)),
        (CONNECTOR, 2, timedelta(minutes=15), 0.0, timedelta(minutes=15)),
        (CONNECTOR, 3, timedelta(minutes=30), 0.0, timedelta(hours=1)),
        (CONNECTOR, 9, timedelta(hours=6), 0.0, timedelta(hours=1)),
        (CONNECTOR, 1, timedelta(), 1.0, timedelta(minutes=16, seconds=30)),
        (CONNECTOR, 1, timedelta(), -1.0, timedelta(minutes=13, seconds=30)),
        (CONNECTOR, 0, timedelta(), 0.0, timedelta(minutes=15)),
        (CONNECTOR, 25, timedelta(hours=23, minutes=50), 0.0, timedelta(minutes=10)),  # the last try is at the end itself
        (CONNECTOR, 25, timedelta(hours=24), 0.0, None),
        (CONNECTOR, 1, timedelta(days=9), 0.0, None),
        (SHORT, 700, timedelta(minutes=59), 0.0, timedelta(seconds=5)),
        (SHORT, 700, timedelta(hours=1), 0.0, None),
    ],
)
def test_the_next_attempt(connector: Connector, runs: int, age: timedelta, chance: float, wait: timedelta | None) -> None:
    moment = next_attempt(connector, NOW - age, runs, NOW, chance)
    assert moment == (None if wait is None else NOW + wait)


@given(st.integers(1, 40), st.floats(-1, 1), st.timedeltas(timedelta(), timedelta(hours=24)))
def test_the_next_attempt_is_never_after_the_end(runs: int, chance: float, age: timedelta) -> None:
    """Whenever a run ends before the expiry, the next is after now and not after the expiry."""
    moment = next_attempt(CONNECTOR, NOW - age, runs, NOW, chance)
    assert moment is None if age >= timedelta(hours=24) else moment is not None
    assert moment is None or NOW < moment <= expires_at(CONNECTOR, NOW - age)


def test_jitter_is_settable() -> None:
    assert next_attempt(CONNECTOR, NOW, 1, NOW, 1.0, RetryRules(jitter=0.0)) == NOW + timedelta(minutes=15)


@pytest.mark.parametrize(("hours", "already", "due"), [(3.99, False, False), (4, False, True), (9, True, False)])
def test_the_delay_notice(hours: float, already: bool, due: bool) -> None:
    assert delay_notice_due(NOW - timedelta(hours=hours), NOW, already) == due


def test_the_delay_notices_time_is_settable() -> None:
    rules = RetryRules(delay_notice_after=timedelta(minutes=1))
    assert delay_notice_due(NOW - timedelta(minutes=1), NOW, False, rules)
