"""Which group is worked on when: turns, bounds, a store that fails, and stopping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from sealroute.base.mail import Message
from sealroute.base.status import Reply
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding, Reason
from sealroute.ports import Group, GroupState, Settled
from sealroute.services.schedule import Schedule, ScheduleLimits
from tests.unit.fakes import NOW, FakeClock, FakeQueue, message
from tests.unit.fakes import group as a_group

QUEUED, ACTIVE = GroupState.QUEUED, GroupState.ACTIVE


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def settled(group: Group, fate: Fate, reached: bool = True, **changes: Any) -> Settled:
    """What a run brought, one fate for all."""
    why = Finding(Reason.CONNECT_TIMEOUT) if fate is not Fate.DELIVERED else None
    fates = tuple(RecipientFate(item.address, fate, Reply(250), why) for item in group.recipients)
    attempt = Attempt(
        NOW, 1, "g", "Contoso", SmtpDaneMode.NONE, MtaStsMode.NONE, group.domain, (), why, recipients=fates if reached else ()
    )  # fmt: skip
    later = NOW + timedelta(minutes=15) if fate is Fate.DEFERRED else None
    return Settled(group, fates, (attempt,), (), later, finding=why if later else None, **changes)


class Script:
    """services/deliver: destinations answer at once, wait at a gate, are dead, or raise."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.under_way: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.dead: set[str] = set()
        self.errors: dict[str, Exception] = {}
        self.notices: tuple[tuple[Message, tuple[Group, ...]], ...] = ()

    async def run(self, group: Group, message: Message) -> Settled:
        domain = group.domain
        self.runs.append(group.id)
        self.under_way[domain] = self.under_way.get(domain, 0) + 1
        self.most[domain] = max(self.most.get(domain, 0), self.under_way[domain])
        try:
            if domain in self.gates:
                await self.gates[domain].wait()
            if domain in self.errors:
                raise self.errors[domain]
        finally:
            self.under_way[domain] -= 1
        if domain in self.dead:
            return settled(group, Fate.DEFERRED, reached=False)
        return settled(group, Fate.DELIVERED, notices=self.notices)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.troubles: list[str] = []

    def settled(self, message: Message, settled: Settled) -> None:
        self.seen.append(settled.group.id)

    def trouble(self, what: str, error: BaseException) -> None:
        self.troubles.append(f"{what}: {error}")


class Node:
    def __init__(self, **limits: Any) -> None:
        self.clock = FakeClock()
        self.queue = FakeQueue(self.clock)
        self.script, self.watcher = Script(), Watcher()
        limits = {"poll_seconds": 0.01, "settle_retry_seconds": 0.01, **limits}
        self.schedule = Schedule(self.queue, self.script, self.clock, self.watcher, ScheduleLimits(**limits))
        self.count = 0

    def make(
        self, domain: str = "contoso.com", number: int = 1, size: int = 100, **changes: Any
    ) -> list[tuple[Message, Group]]:
        made = []
        for _ in range(number):
            self.count += 1
            mail = message(f"bob@{domain}", id=f"m{self.count}", content=b"x" * size)
            made.append((mail, a_group(mail, id=f"{domain} {self.count}", domain=domain, **changes)))
        return made

    def store(self, *args: Any, **changes: Any) -> list[str]:
        """Put messages into the queue."""
        made = self.make(*args, **changes)
        for mail, group in made:
            self.queue.put(mail, [group])
        return [group.id for _, group in made]

    def hand_over(self, *args: Any, **changes: Any) -> list[str]:
        """Messages just accepted."""
        made = self.make(*args, **changes)
        for mail, group in made:
            self.queue.put(mail, [group], ACTIVE)
            assert self.schedule.handover(mail, [group])
        return [group.id for _, group in made]

    def states(self) -> set[GroupState]:
        return {entry.state for entry in self.queue.entries.values()}

    @property
    def counters(self) -> tuple[int, int, int, int]:
        schedule = self.schedule
        return schedule.in_memory, schedule.bytes_in_memory, schedule._working_bytes, schedule._running


@asynccontextmanager
async def node(**limits: Any) -> AsyncIterator[Node]:
    """A node at work; when it is over nothing is counted any more and nothing is left ACTIVE."""
    it = Node(**limits)
    working = asyncio.create_task(it.schedule.work())
    try:
        yield it
    finally:
        for gate in it.script.gates.values():
            gate.set()
        it.queue.down = False
        await asyncio.wait_for(it.schedule.stop(2), 10)
        await asyncio.wait_for(working, 5)
    assert it.counters == (0, 0, 0, 0)
    assert len(it.schedule._lanes) == 0
    assert ACTIVE not in it.states()


async def test_from_the_queue_and_from_acceptance() -> None:
    async with node() as it:
        ids = [*it.store(number=3), *it.hand_over("fabrikam.com", number=3)]
        await until(lambda: sorted(it.watcher.seen) == sorted(ids))
        assert it.queue.entries == {}
        assert sorted(it.queue.loads) == ["m1", "m2", "m3"]  # what was handed over is not read again
        assert repr(it.schedule) == "<Schedule 0 groups in 0 lanes, 0 running>"


async def test_not_before_it_is_due() -> None:
    async with node() as it:
        (group_id,) = it.store(next_attempt_at=NOW + timedelta(minutes=15))
        await asyncio.sleep(0.03)
        assert it.script.runs == []
        it.clock.advance(minutes=15)
        await until(lambda: it.script.runs == [group_id])


async def test_a_nudge_is_seen_at_once_even_between_two_looks() -> None:
    async with node(poll_seconds=60) as it:
        await asyncio.sleep(0.01)
        it.store()
        it.schedule.nudge()
        await until(lambda: len(it.script.runs) == 1)
        take = it.queue.take_due

        async def nudged(*args: Any, **rest: Any) -> list[Group]:
            taken = await take(*args, **rest)
            it.queue.take_due = take  # type: ignore[method-assign]
            it.store()
            it.schedule.nudge()  # after the look, before the pause
            return taken

        it.queue.take_due = nudged  # type: ignore[method-assign]
        it.schedule.nudge()
        await until(lambda: len(it.script.runs) == 2)


async def test_notices_are_sent_without_waiting_for_the_next_look() -> None:
    async with node(poll_seconds=60) as it:
        ((notice, group),) = it.make("example.com")
        it.script.notices = ((notice, (group,)),)
        it.hand_over("contoso.com")
        await until(lambda: group.id in it.script.runs)


# ------------------------------------------------------------------------------------------------ nobody blocks others


async def test_a_dead_destination_does_not_stop_a_live_one() -> None:
    async with node(runs=30, groups=200, runs_per_destination=5, groups_per_destination=50, take_at_once=20) as it:
        it.script.gates["dead.example"] = asyncio.Event()
        it.store("dead.example", 500)
        it.store("live.example", 100)
        await until(lambda: sum(run.startswith("live") for run in it.script.runs) == 100)
        assert it.script.most["dead.example"] == 5
        assert it.schedule.in_memory <= 55
        it.hand_over("live.example", 10)
        await until(lambda: sum(run.startswith("live") for run in it.script.runs) == 110)


async def test_many_dead_destinations_leave_memory_and_runs_to_the_others() -> None:
    async with node(runs=40, groups=400, runs_per_destination=5, groups_per_destination=100, take_at_once=50) as it:
        dead = [f"dead{number}.example" for number in range(8)]
        it.script.dead = set(dead)
        for domain in dead:
            it.store(domain)
        await until(lambda: len(it.script.runs) == 8)  # now they are known to fail
        for domain in dead:
            it.script.gates[domain] = asyncio.Event()
            it.store(domain, 200)
        it.store("live.example", 50)
        await until(lambda: sum(run.startswith("live") for run in it.script.runs) == 50)
        assert max(it.script.most[domain] for domain in dead) == 2
        assert sum(it.script.under_way[domain] for domain in dead) == 10  # a quarter of all runs


async def test_lanes_take_turns() -> None:
    async with node(runs=1) as it:
        gate = it.script.gates["first.example"] = asyncio.Event()
        it.hand_over("first.example")
        it.hand_over("a.example", 3)
        it.hand_over("b.example", 3)
        gate.set()
        await until(lambda: len(it.script.runs) == 7)
        assert [run.split(".")[0] for run in it.script.runs] == ["first", "a", "b", "a", "b", "a", "b"]


async def test_bounds_on_runs() -> None:
    async with node(runs=7, runs_per_destination=3) as it:
        domains = ("a.example", "b.example", "c.example")
        for domain in domains:
            it.hand_over(domain)
        await until(lambda: len(it.script.runs) == 3)  # known to be alive
        for domain in domains:
            it.script.gates[domain] = asyncio.Event()
            it.hand_over(domain, 10)
        await asyncio.sleep(0.02)
        assert it.schedule._running == 7
        assert max(it.script.most.values()) == 3
        for gate in it.script.gates.values():
            gate.set()
        await until(lambda: len(it.script.runs) == 33)


async def test_what_a_full_lane_cannot_take_stays_in_the_queue_until_there_is_room() -> None:
    async with node(runs_per_destination=1, groups_per_destination=4, poll_seconds=60) as it:
        gate = it.script.gates["contoso.com"] = asyncio.Event()
        it.hand_over(number=10)
        await asyncio.sleep(0.01)
        assert it.schedule.in_memory == 5
        assert sum(entry.state is QUEUED for entry in it.queue.entries.values()) == 5
        gate.set()
        await until(lambda: len(it.script.runs) == 10)  # woken by the lane, not by the poll


async def test_taken_groups_that_no_lane_takes_go_back() -> None:
    async with node(runs_per_destination=1, groups_per_destination=4, take_at_once=20) as it:
        gate = it.script.gates["contoso.com"] = asyncio.Event()
        it.store(number=20)
        await asyncio.sleep(0.03)
        assert it.schedule.in_memory == 5
        gate.set()
        await until(lambda: len(it.script.runs) == 20)


async def test_no_room_is_waited_for_and_not_spun_for() -> None:
    async with node(groups=4, poll_seconds=60) as it:
        gate = it.script.gates["contoso.com"] = asyncio.Event()
        it.store(number=10)
        it.schedule.nudge()
        await until(lambda: len(it.script.runs) == 4)
        looks = 0
        next_due = it.queue.next_due

        async def counted() -> Any:
            nonlocal looks
            looks += 1
            return await next_due()

        it.queue.next_due = counted  # type: ignore[method-assign]
        await asyncio.sleep(0.05)
        assert looks <= 1
        assert not it.schedule.room()
        gate.set()
        await until(lambda: len(it.script.runs) == 10)


async def test_room_counts_groups_and_bytes() -> None:
    async with node(groups=3, content_bytes=1000) as it:
        it.script.gates["contoso.com"] = asyncio.Event()
        assert it.schedule.room(3, 1000)
        it.hand_over(size=600)
        assert (it.schedule.room(2, 400), it.schedule.room(3), it.schedule.room(1, 401)) == (True, False, False)


async def test_content_loaded_by_runs_is_bounded() -> None:
    async with node(content_bytes=1000, loads=2) as it:
        gate = it.script.gates["contoso.com"] = asyncio.Event()
        it.store(number=10, size=400)
        await asyncio.sleep(0.05)
        assert len(it.script.runs) <= 4
        assert it.counters[2] <= 1600
        gate.set()
        await until(lambda: len(it.script.runs) == 10)


# -------------------------------------------------------------------------------------------------------------- trouble


async def test_a_delivered_message_is_not_delivered_again_while_the_store_is_away() -> None:
    async with node() as it:
        gate = it.script.gates["contoso.com"] = asyncio.Event()
        (group_id,) = it.hand_over()
        await until(lambda: it.script.runs == [group_id])
        it.queue.down = True
        gate.set()
        await until(lambda: sum("could not be stored" in trouble for trouble in it.watcher.troubles) > 2)
        assert it.schedule.in_memory == 1
        it.queue.down = False
        await until(lambda: it.watcher.seen == [group_id])
        assert it.script.runs == [group_id]


async def test_the_queue_away_is_reported_and_waited_out() -> None:
    async with node() as it:
        it.queue.down = True
        it.store()
        await until(lambda: len(it.watcher.troubles) > 1)
        assert it.watcher.troubles[0] == "the queue could not be read: the disk is full"
        it.queue.down = False
        await until(lambda: len(it.watcher.seen) == 1)


@pytest.mark.parametrize("how", ["handed over", "stored"])
async def test_a_run_that_raises_gives_its_group_back_for_later(how: str) -> None:
    async with node() as it:
        it.script.errors["contoso.com"] = RuntimeError("a bug")
        (group_id,) = it.hand_over() if how == "handed over" else it.store()
        await until(lambda: it.queue.state(group_id) is QUEUED and it.watcher.troubles)
        assert it.queue.entries[group_id].group.next_attempt_at == NOW + timedelta(minutes=1)
        assert it.watcher.troubles == [f"the run of group {group_id} to contoso.com broke off: a bug"]
        del it.script.errors["contoso.com"]
        it.clock.advance(minutes=1)
        await until(lambda: it.watcher.seen == [group_id])


async def test_a_message_without_content_is_reported() -> None:
    async with node() as it:
        (group_id,) = it.store()
        it.queue.messages.clear()
        await until(lambda: it.watcher.troubles)
        assert it.watcher.troubles == [f"a queued message has no content: message m1 of group {group_id}"]
        assert it.script.runs == []


async def test_a_group_that_cannot_even_be_given_back() -> None:
    async with node() as it:
        gate = it.script.gates["contoso.com"] = asyncio.Event()
        it.script.errors["contoso.com"] = RuntimeError("a bug")
        it.hand_over()
        await until(lambda: it.script.runs)
        it.queue.down = True
        gate.set()
        await until(lambda: any("could not be given back" in trouble for trouble in it.watcher.troubles))
        assert it.counters == (0, 0, 0, 0)
        it.queue.down = False
        await until(lambda: it.states() == {QUEUED})


# ------------------------------------------------------------------------------------------------------------- stopping


async def test_stop_finishes_what_is_under_way_and_gives_the_rest_back() -> None:
    it = Node(runs_per_destination=2)
    gate = it.script.gates["contoso.com"] = asyncio.Event()
    ids = it.hand_over(number=5)
    await until(lambda: len(it.script.runs) == 2)
    stopping = asyncio.create_task(it.schedule.stop(5))
    await asyncio.sleep(0.01)
    assert [it.queue.state(group_id) for group_id in ids] == [ACTIVE, ACTIVE, QUEUED, QUEUED, QUEUED]
    assert not it.schedule.room()
    gate.set()
    await asyncio.wait_for(stopping, 5)
    assert sorted(it.watcher.seen) == ids[:2]
    assert len(it.script.runs) == 2
    assert it.counters == (0, 0, 0, 0)


async def test_stop_does_not_wait_for_ever() -> None:
    it = Node()
    it.script.gates["contoso.com"] = asyncio.Event()
    (group_id,) = it.hand_over()
    await until(lambda: it.script.runs)
    await asyncio.wait_for(it.schedule.stop(0.02), 5)
    assert it.queue.state(group_id) is QUEUED
    assert it.queue.entries[group_id].group.next_attempt_at == NOW  # at once, not a minute later
    assert it.watcher.troubles == []
    ((mail, group),) = it.make()
    assert not it.schedule.handover(mail, [group])


async def test_stop_lets_results_be_stored_that_are_being_stored() -> None:
    it = Node()
    entered, go = asyncio.Event(), asyncio.Event()
    settle = it.queue.settle

    async def slow(result: Settled) -> None:
        entered.set()
        await go.wait()
        await settle(result)

    it.queue.settle = slow  # type: ignore[method-assign, assignment]
    (group_id,) = it.hand_over()
    await entered.wait()
    stopping = asyncio.create_task(it.schedule.stop(0.01))
    await asyncio.sleep(0.05)
    go.set()
    await asyncio.wait_for(stopping, 5)
    assert it.watcher.seen == [group_id]


async def test_stop_with_the_store_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealroute.services.schedule.STORE_GRACE_SECONDS", 0.05)
    it = Node(runs_per_destination=1)
    gate = it.script.gates["contoso.com"] = asyncio.Event()
    it.hand_over(number=2)
    await until(lambda: it.script.runs)
    it.queue.down = True
    stopping = asyncio.create_task(it.schedule.stop(0.02))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(stopping, 5)
    assert it.watcher.troubles[-1] == (
        "groups could not be given back; they come back when this node starts again: the disk is full"
    )
    assert it.counters == (0, 0, 0, 0)


async def test_groups_taken_while_stopping_go_back() -> None:
    it = Node()
    take = it.queue.take_due

    async def late(*args: Any, **rest: Any) -> list[Group]:
        taken = await take(*args, **rest)
        await it.schedule.stop(0.01)
        return taken

    it.queue.take_due = late  # type: ignore[method-assign]
    (group_id,) = it.store()
    await asyncio.wait_for(it.schedule.work(), 5)
    assert (it.queue.state(group_id), it.script.runs) == (QUEUED, [])


async def test_nothing_drifts_under_mixed_load() -> None:
    """Deliveries, deferrals, errors and an absent store, many at once: afterwards all is accounted for."""
    async with node(runs=20, groups=60, runs_per_destination=4, groups_per_destination=15, take_at_once=10) as it:
        it.script.dead = {"dead.example"}
        it.script.errors["odd.example"] = RuntimeError("a bug")
        for turn in range(30):
            for domain in ("a.example", "dead.example", "odd.example"):
                (it.store if turn % 2 else it.hand_over)(domain, 5, turn * 10)
            it.queue.down = turn % 7 == 0
            await asyncio.sleep(0.001)
            it.queue.down = False
        it.clock.advance(minutes=2)  # whose content could not be read comes back by now
        await until(lambda: not any(key.startswith("a.") for key in it.queue.entries), 20)
        assert len([seen for seen in it.watcher.seen if seen.startswith("a.")]) == 150
        assert it.schedule.in_memory <= 75
