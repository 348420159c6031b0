"""The event loop and the store's writer on one processor: when, and that nobody else is bound."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.seat import BUSY, PAUSE_INTERVALS, TOLERATED, Binding, Seat, possible
from sealroute.store.writer import THREAD_NAME

SHARES = st.floats(min_value=0, max_value=1)


def test_busy_is_bound_and_idle_is_let_go() -> None:
    binding = Binding()
    assert not binding.next(BUSY / 2, 0.0)
    assert binding.next(0.8, 0.0)
    assert binding.next(0.8, TOLERATED / 2)
    assert not binding.next(BUSY / 3, BUSY / 3)
    assert binding.next(0.8, 0.0), "being idle is no reason to wait"


def test_who_had_to_wait_is_let_go_for_a_while() -> None:
    binding = Binding()
    assert binding.next(0.9, 0.0)
    assert not binding.next(0.6, TOLERATED * 1.5)
    assert [binding.next(0.9, 0.0) for _ in range(PAUSE_INTERVALS)] == [False] * (PAUSE_INTERVALS - 1) + [True]


def test_waiting_is_no_reason_where_the_free_wait_as_long() -> None:
    binding = Binding()
    assert binding.next(0.5, 0.4)
    assert binding.next(0.5, 0.4 + TOLERATED / 2)
    assert not binding.next(0.3, 0.4 + TOLERATED * 1.5)


@given(st.lists(st.tuples(SHARES, SHARES), max_size=60))
def test_only_the_busy_are_bound(intervals: list[tuple[float, float]]) -> None:
    binding = Binding()
    for ran, waited in intervals:
        assert not binding.next(ran, waited) or ran + waited >= BUSY


@pytest.fixture
def partner() -> Iterator[threading.Thread]:
    """A thread with the writer's name, and one that is none of our business."""
    over = threading.Event()
    threads = [threading.Thread(target=over.wait, name=name, daemon=True) for name in (THREAD_NAME, "other")]
    for thread in threads:
        thread.start()
    yield threads[0]
    over.set()
    for thread in threads:
        thread.join()


@pytest.mark.skipif(not possible(), reason="this system binds no threads, or has one processor")
def test_two_threads_sit_together_and_all_others_stay_free(partner: threading.Thread) -> None:
    allowed = os.sched_getaffinity(0)
    seat = Seat()
    try:
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass
        seat.look(0.1)
        taken = os.sched_getaffinity(0)
        assert len(taken) == 1
        assert partner.native_id is not None
        assert os.sched_getaffinity(partner.native_id) == taken

        # A thread that a bound thread starts inherits its place, until the next look.
        over = threading.Event()
        late = threading.Thread(target=over.wait, daemon=True)
        late.start()
        while time.thread_time() - began < 0.2:
            pass
        seat.look(0.1)
        assert os.sched_getaffinity(0) == taken, "it stays where it is"
        assert late.native_id is not None
        assert os.sched_getaffinity(late.native_id) == allowed
        over.set()
        late.join()

        seat.look(1000.0)
        assert os.sched_getaffinity(0) == allowed
        assert os.sched_getaffinity(partner.native_id) == allowed
    finally:
        os.sched_setaffinity(0, allowed)
