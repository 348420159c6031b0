"""Messages per minute: the bucket."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.policy.rate import Bucket
from tests.unit.fakes import NOW

SECOND = timedelta(seconds=1)


def taken(bucket: Bucket, seconds: float) -> list[float]:
    """When tokens are taken by somebody who always wants one, in seconds from NOW."""
    now, end, times = NOW, NOW + SECOND * seconds, []
    while now <= end:
        while bucket.tokens(now):
            bucket.take(now)
            times.append((now - NOW) / SECOND)
        now = bucket.due(now)
    return times


def test_slow_limits_are_spread_evenly() -> None:
    assert taken(Bucket(6, NOW), 60) == [0, 10, 20, 30, 40, 50, 60]
    assert Bucket(7, NOW).interval == timedelta(microseconds=8_571_429)  # rounded up
    assert Bucket(1, NOW).interval == timedelta(minutes=1)
    assert [Bucket(limit, NOW).burst for limit in (1, 119, 120)] == [1, 1, 2]
    assert repr(Bucket(6, NOW)) == "<Bucket 6/min>"


def test_fast_ones_keep_what_one_second_allows() -> None:
    bucket = Bucket(600, NOW)
    assert taken(bucket, 0) == [0.0] * 10
    assert bucket.due(NOW) == NOW + timedelta(seconds=0.1)
    assert bucket.tokens(NOW + timedelta(seconds=0.35)) == 3
    assert bucket.tokens(NOW + timedelta(hours=1)) == 10


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    bucket = Bucket(6, NOW)
    bucket.take(NOW)
    before = NOW - timedelta(hours=1)
    assert bucket.due(before) == before + timedelta(seconds=10)
    bucket.take(before)
    assert bucket.tokens(before + timedelta(seconds=20)) == 1


def test_a_token_taken_too_early_is_owed() -> None:
    bucket = Bucket(60, NOW)
    bucket.take(NOW)
    bucket.take(NOW)
    assert bucket.tokens(NOW + SECOND) == 0
    assert bucket.tokens(NOW + 2 * SECOND) == 1


@settings(deadline=None)
@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=60))
def test_no_minute_sees_more_than_the_limit_and_one_seconds_share(per_minute: int, pauses: list[float]) -> None:
    bucket, now, times = Bucket(per_minute, NOW), NOW, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        for _ in range(bucket.tokens(now)):
            bucket.take(now)
            times.append(now)
        assert bucket.tokens(now) == 0
        assert bucket.due(now) > now
    most = per_minute + bucket.burst
    assert all(later - first >= timedelta(minutes=1) for first, later in zip(times, times[most:], strict=False))
