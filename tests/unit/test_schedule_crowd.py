"""Ten thousand messages to dead destinations beside live ones, and rate limits, with the whole scheduler at work.

Nothing here is timed: what goes first is read from the order of runs, and the clock stands still until a test moves it.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace
from datetime import timedelta

import pytest

from sealroute.policy.connector import Connector
from sealroute.ports import GroupState, Reach
from sealroute.services.schedule import Schedule, ScheduleLimits
from tests.unit.fakes import NOW
from tests.unit.test_schedule import Node, node, until

COUNT = 10_000


def crowd(it: Node, domains: int, *, hang: bool) -> None:
    """Messages that are due to dead destinations: connections are refused at once, or nothing ever answers."""
    for number in range(domains):
        domain = f"dead{number}.example"
        it.script.dead.add(domain)
        if hang:
            it.script.gates[domain] = asyncio.Event()
        it.store(domain, COUNT // domains)


def has_delivered(it: Node, domain: str, count: int) -> bool:
    return delivered(it, domain) == count


def delivered(it: Node, domain: str = "live") -> int:
    return sum(seen.startswith(domain) for seen in it.watcher.seen)


@pytest.mark.parametrize("domains", [1, 100, COUNT], ids=["one domain", "a hundred", "each its own"])
@pytest.mark.parametrize("hang", [False, True], ids=["refused", "black hole"])
async def test_mail_to_live_destinations_goes_at_once(domains: int, hang: bool) -> None:
    async with node() as it:
        it.hand_over("live.example")
        await until(lambda: delivered(it) == 1)
        crowd(it, domains, hang=hang)
        await until(lambda: len(it.script.runs) > 1, 30)
        waiting = len(it.script.runs)
        it.hand_over("live.example", 50)
        it.store("live.example", 50)
        await until(lambda: delivered(it) == 101, 60)
        if hang:
            # None of the dead ones has ended: nothing waited for them, neither a run, a connection, nor memory.
            assert all(it.script.under_way[run.split()[0]] for run in it.script.runs if run.startswith("dead"))
            assert it.schedule._running <= 375  # three quarters of 500 connections
            assert it.schedule.in_memory <= 3750 + 375
        assert waiting > 1


async def test_a_live_destination_never_seen_before_waits_for_no_dead_one_that_is_known() -> None:
    async with node() as it:
        for number in range(200):
            it.script.dead.add(f"dead{number}.example")
            it.store(f"dead{number}.example")
        await until(lambda: it.schedule.destinations.counts()[Reach.UNREACHED] == 200)
        crowd(it, 200, hang=True)
        await until(lambda: it.schedule._running == 125)  # a quarter of 500 connections, and none of these ends
        it.hand_over("live.example", 5)
        await until(lambda: delivered(it) == 5)
        assert it.schedule._running == 125


async def test_what_found_no_room_goes_on_when_there_is_some() -> None:
    async with node(groups=40, runs=8) as it:
        it.script.dead = {f"dead{number}.example" for number in range(100)}
        for number in range(100):
            it.script.gates[f"dead{number}.example"] = asyncio.Event()
            it.store(f"dead{number}.example")
        await until(lambda: all(entry.group.next_attempt_at > NOW for entry in it.queue.entries.values()
                                if entry.state is GroupState.QUEUED))  # fmt: skip
        assert it.schedule.in_memory == 36  # three quarters wait, six run
        for gate in it.script.gates.values():
            gate.set()
        await until(lambda: it.schedule.in_memory == 0)
        for _ in range(3):
            it.clock.advance(seconds=30)
            await asyncio.sleep(0.05)
        await until(lambda: len(set(it.script.runs)) == 100)


# --------------------------------------------------------------------------------------------------------- rate limits


def limited(it: Node, per_minute: int) -> None:
    """The node again, with a connector for slow domains that has a limit."""
    slow = Connector(guid="slow", name="Slow", max_messages_per_minute=per_minute)
    free = Connector(guid="free", name="Free")
    limits = replace(it.schedule._limits, poll_seconds=60)
    it.schedule = Schedule(
        it.queue, it.script, it.clock, it.watcher, limits,
        lambda organization, domain: slow if domain.startswith("slow") else free,
    )  # fmt: skip


async def test_a_limited_connector_wakes_when_its_token_is_due_and_holds_up_nobody() -> None:
    it = Node()
    limited(it, 60)
    it.hand_over("slow1.example", 2)
    it.hand_over("slow2.example", 2)
    it.hand_over("live.example", 20)
    await until(lambda: len(it.watcher.seen) == 21)
    assert (delivered(it, "live"), delivered(it, "slow"), it.schedule.parked) == (20, 1, 2)
    for second in range(1, 4):
        it.clock.advance(seconds=0.999)
        await asyncio.sleep(0.01)
        assert delivered(it, "slow") == second
        it.clock.advance(seconds=0.001)
        await until(functools.partial(has_delivered, it, "slow", second + 1))
    assert it.schedule._lanes.rates.due is None
    await it.schedule.stop(1)


async def test_what_a_limit_lets_through_much_later_waits_in_the_queue() -> None:
    it = Node()
    limited(it, 6)
    working = asyncio.create_task(it.schedule.work())
    for number in range(50):
        it.store(f"slow{number}.example", 10)
    it.store("live.example", 10)
    await until(lambda: delivered(it, "live") == 10)
    await until(lambda: it.schedule.in_memory <= 6)
    times = {entry.group.next_attempt_at - NOW for entry in it.queue.entries.values() if entry.state is GroupState.QUEUED}
    assert timedelta(seconds=30) <= min(times) < max(times) <= timedelta(hours=1)
    looks = len(it.queue.loads)
    await asyncio.sleep(0.05)
    assert len(it.queue.loads) == looks  # nothing is looked at again before its time
    for _ in range(20):
        it.clock.advance(seconds=10)
        await asyncio.sleep(0.01)
    assert 19 <= delivered(it, "slow") <= 21
    await it.schedule.stop(1)
    await asyncio.wait_for(working, 5)


async def test_a_limit_per_destination() -> None:
    async with node(messages_per_minute_per_destination=6) as it:
        it.hand_over("a.example", 5)
        it.hand_over("b.example", 5)
        await until(lambda: len(it.watcher.seen) == 2)
        it.clock.advance(seconds=10)
        await until(lambda: len(it.watcher.seen) == 4)
        await asyncio.sleep(0.01)
        assert (delivered(it, "a."), delivered(it, "b.")) == (2, 2)


async def test_tokens_that_fall_due_while_all_runs_are_in_use_are_not_spun_for() -> None:
    it = Node(runs=1)
    limited(it, 60)
    it.hand_over("slow.example", 2)
    await until(lambda: delivered(it, "slow") == 1)
    gate = it.script.gates["live.example"] = asyncio.Event()
    it.hand_over("live.example")
    await until(lambda: it.script.under_way.get("live.example") == 1)
    it.clock.advance(seconds=2)
    await asyncio.sleep(0.02)
    assert it.schedule._alarm is None
    gate.set()
    await until(lambda: delivered(it, "slow") == 2)
    await it.schedule.stop(1)


async def test_the_earliest_token_sets_the_alarm() -> None:
    it = Node()
    it.schedule = Schedule(
        it.queue, it.script, it.clock, it.watcher, ScheduleLimits(),
        lambda organization, domain: Connector(guid=domain, name=domain, max_messages_per_minute=1 if domain[0] == "a" else 30),
    )  # fmt: skip
    it.hand_over("a.example", 1)
    it.hand_over("b.example", 2)
    await until(lambda: len(it.watcher.seen) == 2)
    assert it.schedule._alarm_at == NOW + timedelta(seconds=2)
    it.hand_over("a.example", 1)
    assert it.schedule._alarm_at == NOW + timedelta(seconds=2)
    it.clock.advance(seconds=2)
    await until(lambda: len(it.watcher.seen) == 3)
    assert it.schedule._alarm_at == NOW + timedelta(seconds=60)
    it.hand_over("b.example", 2)
    await asyncio.sleep(0.01)
    assert it.schedule._alarm_at == NOW + timedelta(seconds=4)  # earlier than what was set
    await it.schedule.stop(1)


async def test_stopping_blames_no_destination() -> None:
    it = Node()
    it.script.gates["contoso.com"] = asyncio.Event()
    it.hand_over()
    await until(lambda: it.script.runs)
    await it.schedule.stop(0.01)
    assert it.schedule.destinations.changed == {}
