"""The durable queue: every transition of store/schema, and what is left after each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sealroute.base.errors import StoreUnavailable
from sealroute.policy.attempt import Fate
from sealroute.policy.record import attempt_record
from sealroute.ports import GroupState, TraceQuery
from sealroute.store import due
from sealroute.store.store import Store, open_store
from tests.store_making import (
    LATER,
    NOW,
    accept,
    counted,
    full_message,
    group_of,
    message_to,
    received,
    rows,
    run_of,
    url_in,
)

HOUR = timedelta(hours=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(url_in(tmp_path), node_id="node-a")
    await opened.queue.start_node(NOW)
    yield opened
    await opened.close()


def groups(folder: Path) -> list[tuple[str, str | None]]:
    found = rows(folder, "SELECT state, owner FROM recipient_group ORDER BY id")
    return [(state, owner) for state, owner in found]


async def test_a_message_comes_back_as_it_was_given(store: Store) -> None:
    message = full_message()
    await store.queue.add(message, [group_of(message)], received(message), active=False)
    stored = await store.queue.message(message.id)
    assert stored == message
    assert not stored.crlf_only  # what comes from the store is looked through before it goes out
    (group,) = await store.queue.take_due(NOW, 10)
    assert group.recipients == message.envelope.recipients


async def test_an_unknown_message_is_none(store: Store) -> None:
    assert await store.queue.message("no-such") is None


async def test_content_is_stored_once_for_all_domains(store: Store, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com", "eve@example.com")
    await store.queue.add(message, [group_of(message), group_of(message, "example.com")], [], active=True)
    assert counted(tmp_path) == {"message": 1, "recipient_group": 2}


async def test_an_active_message_is_not_due_for_others(store: Store, tmp_path: Path) -> None:
    await accept(store, active=True)
    assert groups(tmp_path) == [("active", "node-a")]
    assert await store.queue.take_due(NOW + HOUR, 10) == []
    assert await store.queue.next_due() is None


async def test_due_groups_are_leased_oldest_first_and_no_more_than_asked(store: Store, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com")
    times = [NOW + timedelta(minutes=minutes) for minutes in (3, 1, 2, 90)]
    waiting = [group_of(message, next_attempt_at=moment) for moment in times]
    await store.queue.add(message, waiting, [], active=False)
    assert await store.queue.next_due() == times[1]
    assert await store.queue.take_due(NOW, 10) == []
    assert await store.queue.take_due(NOW + HOUR, 2) == [waiting[1], waiting[2]]
    assert await store.queue.take_due(NOW + HOUR, 2) == [waiting[0]]
    assert await store.queue.next_due() == times[3]
    assert dict(await store.queue.depth()) == {GroupState.QUEUED: 1, GroupState.ACTIVE: 3, GroupState.SUSPENDED: 0}


async def test_domains_that_are_full_are_left_where_they_are(store: Store) -> None:
    message = message_to("bob@contoso.com")
    here, there = group_of(message), group_of(message, domain="fabrikam.com")
    await store.queue.add(message, [here, there], [], active=False)
    assert await store.queue.take_due(NOW + HOUR, 10, room={"contoso.com": 0, "example.com": 0}) == [there]
    assert await store.queue.take_due(NOW + HOUR, 10) == [here]


async def test_delivered_to_all_leaves_only_the_trace(store: Store, tmp_path: Path) -> None:
    message, group = await accept(store, "bob@contoso.com", "carol@contoso.com")
    await store.queue.settle(run_of(group, bob=Fate.DELIVERED, carol=Fate.FAILED))
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}
    assert rows(tmp_path, "SELECT recipient, status, to_ip, connector FROM trace_message ORDER BY recipient") == [
        ("bob@contoso.com", "Delivered", "192.0.2.25", "Contoso"),
        ("carol@contoso.com", "Failed", "192.0.2.25", "Contoso"),
    ]
    assert rows(tmp_path, "SELECT event FROM trace_event ORDER BY id") == ["RECEIVE", "SEND", "SEND"]
    assert await store.queue.message(message.id) is None


async def test_the_deferred_wait_and_the_others_have_left(store: Store) -> None:
    message, group = await accept(store, "bob@contoso.com", "carol@contoso.com", "dave@contoso.com")
    settled = replace(
        run_of(group, bob=Fate.DELIVERED, carol=Fate.DEFERRED), last_route=("mx.contoso.com", "192.0.2.25"), delay_notified=True
    )
    await store.queue.settle(settled)
    (waiting,) = await store.queue.take_due(NOW + HOUR, 10)
    assert waiting == replace(
        group,
        recipients=group.recipients[1:],
        next_attempt_at=NOW + timedelta(minutes=15),
        attempts=1,
        last_finding=LATER,
        last_route=("mx.contoso.com", "192.0.2.25"),
        delay_notified=True,
    )
    assert await store.queue.message(message.id) is not None
    assert {row.recipient[0]: row.status for row in store.admin.traces.search(TraceQuery(NOW - HOUR, NOW + HOUR))} == {
        "b": "Delivered",
        "c": "Pending",
        "d": "Pending",
    }


async def test_a_delay_notice_once_sent_stays_sent(store: Store) -> None:
    _, group = await accept(store)
    await store.queue.settle(replace(run_of(group, bob=Fate.DEFERRED), delay_notified=True))
    (group,) = await store.queue.take_due(NOW + HOUR, 10)
    await store.queue.settle(run_of(group, at=NOW + HOUR, number=2, bob=Fate.DEFERRED))
    (group,) = await store.queue.take_due(NOW + 2 * HOUR, 10)
    assert (group.delay_notified, group.attempts) == (True, 2)


async def test_recipients_left_without_a_time_are_refused_and_kept(store: Store, tmp_path: Path) -> None:
    _, group = await accept(store)
    with pytest.raises(ValueError, match="1 recipients, but no time"):
        await store.queue.settle(replace(run_of(group, bob=Fate.DEFERRED), next_attempt_at=None))
    assert groups(tmp_path) == [("active", "node-a")]


async def test_the_message_stays_until_its_last_group_is_done(store: Store, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com", "eve@example.com")
    first, second = group_of(message), group_of(message, "example.com")
    await store.queue.add(message, [first, second], [], active=True)
    await store.queue.settle(run_of(first, bob=Fate.DELIVERED))
    assert counted(tmp_path) == {"message": 1, "recipient_group": 1}
    await store.queue.settle(run_of(second, eve=Fate.DELIVERED))
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}


async def test_both_last_groups_settled_in_one_commit_take_the_message_along(store: Store, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com", "eve@example.com")
    first, second = group_of(message), group_of(message, "example.com")
    await store.queue.add(message, [first, second], [], active=True)
    await asyncio.gather(
        store.queue.settle(run_of(first, bob=Fate.DELIVERED)), store.queue.settle(run_of(second, eve=Fate.DELIVERED))
    )
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}


async def test_a_notice_enters_the_queue_with_the_run_that_caused_it(store: Store, tmp_path: Path) -> None:
    _, group = await accept(store)
    notice = message_to("anna@fabrikam.com", subject="Undeliverable")
    returned = group_of(notice, "fabrikam.com")
    await store.queue.settle(replace(run_of(group, bob=Fate.FAILED), notices=((notice, (returned,)),)))
    assert counted(tmp_path) == {"message": 1, "recipient_group": 1}
    assert await store.queue.take_due(NOW, 10) == [returned]
    assert await store.queue.message(notice.id) == notice


async def test_a_message_without_recipients_is_a_bug(store: Store) -> None:
    with pytest.raises(ValueError, match="no recipient group"):
        await store.queue.add(message_to(), [], [], active=False)


async def test_a_second_message_of_the_same_id_fails_alone(store: Store, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com")
    others = [message_to("bob@contoso.com") for _ in range(3)]
    await store.queue.add(message, [group_of(message)], [], active=True)
    results = await asyncio.gather(
        *(store.queue.add(item, [group_of(item)], [], active=True) for item in (others[0], message, *others[1:])),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), StoreUnavailable, type(None), type(None)]
    assert counted(tmp_path) == {"message": 4, "recipient_group": 4}


async def test_released_groups_are_due_at_their_old_time(store: Store, tmp_path: Path) -> None:
    _, group = await accept(store)
    await store.queue.release([group.id])
    await store.queue.release([])
    assert groups(tmp_path) == [("queued", None)]
    assert await store.queue.take_due(NOW, 10) == [group]


@pytest.mark.parametrize(("minutes", "due"), [(-5, 0), (5, 5)], ids=["long past", "later"])
async def test_a_group_may_be_given_back_for_later_but_never_for_earlier(store: Store, minutes: int, due: int) -> None:
    _, group = await accept(store)
    await store.queue.release([group.id], not_before=NOW + timedelta(minutes=minutes))
    assert await store.queue.next_due() == NOW + timedelta(minutes=due)


async def test_the_oldest_waiting_group(store: Store) -> None:
    assert await store.queue.oldest() is None
    for minutes in (1, 2, 3):  # ids are made in the order of time
        message = message_to("bob@contoso.com")
        await store.queue.add(message, [group_of(message, queued_at=NOW + timedelta(minutes=minutes))], [], active=False)
    assert await store.queue.oldest() == NOW + timedelta(minutes=1)


async def test_an_attempt_is_recorded_with_its_evidence(store: Store) -> None:
    message, group = await accept(store)
    settled = run_of(group, bob=Fate.DELIVERED)
    await store.queue.settle(settled)
    (record,) = store.admin.traces.attempts(message.id)
    assert record.pop("evidence") == {"domain": "contoso.com", "gathered_at": "2026-11-22T12:00:00Z", "ttl_seconds": 300} | {
        "port": 25,
        "resolver_trusted": True,
    }
    assert record == json.loads(json.dumps(attempt_record(settled.attempts[0])))


async def test_evidence_is_kept_once_and_its_use_noted_hourly(store: Store, tmp_path: Path) -> None:
    used = []
    for minutes in (0, 30, 61):
        _, group = await accept(store)
        await store.queue.settle(run_of(group, at=NOW + timedelta(minutes=minutes), bob=Fate.DELIVERED))
        used += rows(tmp_path, "SELECT last_used_us / 60000000 FROM evidence")
    start = int(NOW.timestamp()) // 60
    assert used == [start, start, start + 61]


async def test_text_that_no_database_takes_is_recorded_all_the_same(store: Store, tmp_path: Path) -> None:
    _, group = await accept(store)
    settled = run_of(group, bob=Fate.DELIVERED)
    odd = replace(settled.events[0], description="the peer said \udcff")
    await store.queue.settle(replace(settled, events=(odd,)))
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}
    assert rows(tmp_path, "SELECT description FROM trace_event ORDER BY id")[-1] == "the peer said ?"


# ------------------------------------------------------------------------------------------------------- several nodes


@pytest.fixture
async def other(store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(url_in(tmp_path), node_id="node-b")
    await opened.queue.start_node(NOW)
    yield opened
    await opened.close()


async def lose_lease(other: Store) -> None:
    """The other node was there all the time, ours was not."""
    assert await other.queue.renew_node(NOW + HOUR) == 0  # it was away itself for an hour: nobody is dead yet
    assert await other.queue.renew_node(NOW + HOUR) == 1


async def test_after_the_store_was_away_every_node_gets_a_turn_to_renew(store: Store, other: Store, tmp_path: Path) -> None:
    await accept(store)
    assert await other.queue.renew_node(NOW + HOUR) == 0
    assert await store.queue.renew_node(NOW + HOUR) == 0
    assert await other.queue.renew_node(NOW + HOUR + timedelta(seconds=20)) == 0
    assert groups(tmp_path) == [("active", "node-a")]


async def test_a_starting_node_leaves_others_to_their_leases(store: Store, tmp_path: Path) -> None:
    await accept(store)
    late = open_store(url_in(tmp_path), node_id="node-b")
    assert await late.queue.start_node(NOW + HOUR) == 0
    assert await late.queue.renew_node(NOW + HOUR + timedelta(seconds=20)) == 1
    await late.close()


async def test_evidence_that_two_attempts_share_goes_in_once(store: Store, tmp_path: Path) -> None:
    _, group = await accept(store)
    settled = run_of(group, bob=Fate.DEFERRED)
    await store.queue.settle(replace(settled, attempts=settled.attempts * 2))
    assert (rows(tmp_path, "SELECT count(*) FROM evidence"), rows(tmp_path, "SELECT count(*) FROM attempt")) == ([1], [2])


async def test_a_silent_nodes_groups_come_back_when_its_lease_ends(store: Store, other: Store) -> None:
    _, group = await accept(store)
    later = NOW + timedelta(seconds=60)
    assert await other.queue.renew_node(later) == 0  # a lease is good to its last moment
    assert await other.queue.renew_node(later + timedelta(seconds=1)) == 1
    (taken,) = await other.queue.take_due(later + timedelta(seconds=1), 10)
    assert taken == replace(group, next_attempt_at=later + timedelta(seconds=1))


async def test_a_renewed_lease_keeps_the_groups(store: Store, other: Store) -> None:
    await accept(store)
    await store.queue.renew_node(NOW + timedelta(seconds=50))
    assert await other.queue.renew_node(NOW + timedelta(seconds=100)) == 0


async def test_a_node_that_comes_back_late_does_not_lose_its_own_groups(store: Store, tmp_path: Path) -> None:
    await accept(store)
    assert await store.queue.renew_node(NOW + HOUR) == 0
    assert groups(tmp_path) == [("active", "node-a")]


async def test_a_starting_node_takes_back_what_it_held_in_its_former_life(store: Store, tmp_path: Path) -> None:
    await accept(store)
    assert await store.queue.start_node(NOW + timedelta(seconds=1)) == 1
    assert groups(tmp_path) == [("queued", None)]


async def test_the_only_gateway_takes_everything_back_at_once(store: Store, other: Store, tmp_path: Path) -> None:
    await accept(store)
    other.lock_gateway()
    assert await other.queue.start_node(NOW) == 1
    assert rows(tmp_path, "SELECT id FROM node") == ["node-b"]


async def test_settling_after_the_lease_was_lost_records_and_changes_nothing_else(
    store: Store, other: Store, tmp_path: Path
) -> None:
    message, group = await accept(store)
    await lose_lease(other)
    (taken,) = await other.queue.take_due(NOW + HOUR, 10)
    notice = message_to("anna@fabrikam.com")
    settled = replace(run_of(group, bob=Fate.DELIVERED), notices=((notice, (group_of(notice, "fabrikam.com"),)),))
    await store.queue.settle(settled)
    assert groups(tmp_path) == [("active", "node-b")]
    assert counted(tmp_path) == {"message": 1, "recipient_group": 1}
    assert len(store.admin.traces.attempts(message.id)) == 1
    await other.queue.settle(run_of(taken, bob=Fate.DELIVERED))
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}


async def test_deferring_after_the_lease_was_lost_does_not_take_the_group_back(
    store: Store, other: Store, tmp_path: Path
) -> None:
    _, group = await accept(store)
    await lose_lease(other)
    await other.queue.take_due(NOW + HOUR, 10)
    await store.queue.settle(run_of(group, bob=Fate.DEFERRED))
    await store.queue.release([group.id])
    assert groups(tmp_path) == [("active", "node-b")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the line and at destinations that are soon at their bounds."""
    monkeypatch.setattr(due, "WINDOW", 6)
    monkeypatch.setattr(due, "STEPS", 4)
    monkeypatch.setattr(due, "STRIDE", 2)
    monkeypatch.setattr(due, "SHARE", 2)


async def fill(store: Store, *domains: str) -> list[str]:
    """A waiting message for each, due in this order; their group ids."""
    ids = []
    for number, domain in enumerate(domains):
        message = message_to(f"bob@{domain}")
        group = group_of(message, domain, next_attempt_at=NOW + timedelta(seconds=number))
        await store.queue.add(message, [group], [], active=False)
        ids.append(group.id)
    return ids


async def looks(store: Store, count: int, limit: int = 2, **room: int) -> list[list[str]]:
    """The domains that so many looks take."""
    wanted = {f"{name}.example": places for name, places in room.items()}
    return [
        [group.domain.removesuffix(".example") for group in await store.queue.take_due(NOW + HOUR, limit, room=wanted)]
        for _ in range(count)
    ]


async def test_a_destination_gets_no_more_than_it_has_room_for(store: Store) -> None:
    await fill(store, *["dead.example"] * 5, "b.example")
    assert await looks(store, 1, limit=4, dead=2) == [["dead", "dead", "b"]]


async def test_a_dead_destination_in_front_of_the_line_hides_nobody(store: Store, small: None) -> None:
    await fill(store, *["dead.example"] * 20, "b.example", "c.example", "z.example")
    # The first look finds the line blocked; then they come by name, the dead one passed over in one step.
    assert await looks(store, 4, dead=0) == [[], ["b", "c"], ["z"], []]
    assert await looks(store, 1) == [["dead", "dead"]]


async def test_by_destination_every_one_has_its_turn_however_many_there_are(store: Store, small: None) -> None:
    names = [f"d{number}" for number in range(10)]
    await fill(store, *["dead.example"] * 20, *(f"{name}.example" for name in names), "d0.example", "d9.example")
    found = await looks(store, 12, dead=0)
    assert found[:6] == [[], ["d0", "d0"], ["d1", "d2"], ["d3", "d4"], ["d5", "d6"], ["d7", "d8"]]
    assert sorted(name for taken in found for name in taken) == sorted([*names, "d0", "d9"])


async def test_by_destination_only_what_is_due_is_taken_and_one_domain_does_not_fill_a_look(store: Store, small: None) -> None:
    await fill(store, *["dead.example"] * 20, *["b.example"] * 5, "c.example")
    later = message_to("bob@a.example")
    await store.queue.add(later, [group_of(later, "a.example", next_attempt_at=NOW + 2 * HOUR)], [], active=False)
    assert await looks(store, 2, limit=4, dead=0) == [[], ["b", "b", "c"]]
    assert await looks(store, 1, limit=4, dead=0, b=1) == [["b"]]  # after the last name the first comes again


async def test_once_the_line_is_free_groups_come_by_time_again(store: Store, small: None) -> None:
    await fill(store, *["dead.example"] * 8, "z.example", "a.example")
    assert await looks(store, 1, dead=0) == [[]]
    assert await looks(store, 6) == [["dead", "a"], ["dead", "z"], *[["dead", "dead"]] * 3, []]


async def test_groups_that_another_node_took_between_the_look_and_the_lease_are_left(
    store: Store, other: Store, small: None
) -> None:
    await fill(store, *["dead.example"] * 20, "b.example", "c.example")
    assert await looks(store, 1, dead=0) == [[]]
    read, wanted = store.queue._readers.run, {"dead.example": 0}

    async def overtaken(work: Any) -> Any:
        found = await read(work)
        assert len(await looks(other, 2, dead=0)) == 2
        return found

    store.queue._readers.run = overtaken  # type: ignore[method-assign]
    assert await store.queue.take_due(NOW + HOUR, 2, room=wanted) == []


# ------------------------------------------------------------------------------------------------- cancelled callers


async def test_a_message_whose_accepting_was_cancelled_is_not_left_with_nobody(store: Store, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com")
    task = asyncio.ensure_future(store.queue.add(message, [group_of(message)], [], active=True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until_given_back(store)
    assert groups(tmp_path) == [("queued", None)]


async def test_groups_taken_by_a_cancelled_caller_are_given_back(store: Store, tmp_path: Path) -> None:
    await accept(store, active=False)
    task = asyncio.ensure_future(store.queue.take_due(NOW, 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until_given_back(store)
    assert groups(tmp_path) == [("queued", None)]


async def _until_given_back(store: Store) -> None:
    """Jobs are committed in order: after the first the groups are taken, after the second they are given back."""
    await store.queue.renew_node(NOW)
    await store.queue.renew_node(NOW)
