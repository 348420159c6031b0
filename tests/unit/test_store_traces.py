"""Message trace: filters, order, paging, and what is forgotten when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from sealroute.base.errors import OperatorError
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.ports import Settled, TraceEvent, TraceQuery, TraceRow
from sealroute.store import traces as traces_module
from sealroute.store.schema import trace_message
from sealroute.store.store import Store, open_store
from sealroute.store.traces import SqlTraces
from tests.store_making import EVIDENCE, NOW, accept, counted, group_of, message_to, received, rows, run_of, url_in

MINUTE = timedelta(minutes=1)
ALL = TraceQuery(NOW - timedelta(days=9), NOW + timedelta(days=9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three messages: one delivered and failed, one deferred, one just accepted."""
    folder = tmp_path_factory.mktemp("traces")
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Path) -> None:
    store = open_store(url_in(folder))
    message = message_to("bob@contoso.com", "Carol@contoso.com", id="m1", subject="100% off_er", received_at=NOW)
    group = group_of(message)
    await store.queue.add(message, [group], received(message), active=True)
    await store.queue.settle(run_of(group, bob=Fate.DELIVERED, Carol=Fate.FAILED))
    _, group = await accept(store, "dave@contoso.com", id="m2", subject="Re: HELLO", received_at=NOW + MINUTE, client_ip="::1")
    await store.queue.settle(run_of(group, dave=Fate.DEFERRED))
    other = message_to("eve@example.com", id="m3", received_at=NOW + MINUTE, header_message_id="<Case@example.com>")
    other = replace(other, envelope=replace(other.envelope, sender="Zoe@Example.com"))
    await store.queue.add(other, [group_of(other, "example.com")], [], active=False)
    await store.close()


@pytest.fixture
def traces(folder: Path) -> Iterator[SqlTraces]:
    admin = open_store(url_in(folder)).admin
    yield admin.traces
    admin.close()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ["dave", "eve", "Carol", "bob"]),
        ({"limit": 3}, ["dave", "eve", "Carol"]),
        ({"start": NOW + MINUTE}, ["dave", "eve"]),
        ({"end": NOW}, ["Carol", "bob"]),
        ({"end": NOW + MINUTE, "starting_recipient": "dave@contoso.com"}, ["eve", "Carol", "bob"]),
        ({"end": NOW + MINUTE, "starting_recipient": "eve@example.com"}, ["Carol", "bob"]),
        ({"senders": ("zoe@example.com",)}, ["eve"]),
        ({"senders": ("*@FABRIKAM.com",)}, ["dave", "Carol", "bob"]),
        ({"senders": ("anna@fabrikam.com", "z*")}, ["dave", "eve", "Carol", "bob"]),
        ({"recipients": ("carol@contoso.com", "BOB@contoso.com")}, ["Carol", "bob"]),
        ({"recipients": ("*e*@*.com",)}, ["dave", "eve"]),
        ({"recipients": ("b_b@contoso.com",)}, []),
        ({"recipients": ("b_b*",)}, []),
        ({"header_message_ids": ("<Case@example.com>",)}, ["eve"]),
        ({"message_trace_id": "m2"}, ["dave"]),
        ({"from_ip": "::1"}, ["dave"]),
        ({"to_ip": "192.0.2.25"}, ["dave", "Carol", "bob"]),
        ({"statuses": ("Failed", "Pending")}, ["dave", "eve", "Carol"]),
        ({"statuses": ("Delivered",)}, ["bob"]),
        ({"statuses": ("Failed", "Pending"), "limit": 2}, ["dave", "eve"]),
        ({"statuses": ("Failed", "Pending", "Failed"), "end": NOW}, ["Carol"]),
        ({"statuses": ("Failed", "Delivered")}, ["Carol", "bob"]),
        ({"statuses": ("Failed",), "recipients": ("carol@contoso.com",), "senders": ("anna@fabrikam.com",)}, ["Carol"]),
        ({"header_message_ids": ("<1@fabrikam.com>",), "recipients": ("dave@contoso.com",)}, ["dave"]),
        ({"subject": "hello"}, ["dave", "eve"]),
        ({"subject": "0% off_"}, ["Carol", "bob"]),
        ({"subject": "%"}, ["Carol", "bob"]),
        ({"subject": "re:", "subject_filter": "StartsWith"}, ["dave"]),
        ({"subject": "hello", "subject_filter": "StartsWith"}, ["eve"]),
        ({"subject": "OFF_er", "subject_filter": "EndsWith"}, ["Carol", "bob"]),
    ],
    ids=str,
)
def test_search(traces: SqlTraces, changes: dict[str, Any], found: list[str]) -> None:
    assert [row.recipient.partition("@")[0] for row in traces.search(replace(ALL, **changes))] == found


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"limit": 0}, "ResultSize: 0 is not between 1 and 5000."),
        ({"limit": 5001}, "ResultSize: 5001 is not between 1 and 5000."),
        ({"senders": ("a",) * 1001}, "SenderAddress: 1001 values are more than 1000."),
        (
            {"subject": "x", "subject_filter": "Like"},
            "SubjectFilterType: 'Like' is not Contains, StartsWith or EndsWith.",
        ),
    ],
    ids=["limit-0", "limit-5001", "too-many", "subject-filter"],
)
def test_search_refuses(traces: SqlTraces, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(OperatorError) as caught:
        traces.search(replace(ALL, **changes))
    assert str(caught.value) == problem


def test_a_row_says_what_exchange_says(traces: SqlTraces) -> None:
    (row,) = traces.search(replace(ALL, recipients=("bob@contoso.com",)))
    assert row == TraceRow(
        message_trace_id="m1",
        message_id="<1@fabrikam.com>",
        received=NOW,
        sender="anna@fabrikam.com",
        recipient="bob@contoso.com",
        subject="100% off_er",
        status="Delivered",
        size_bytes=25,
        from_ip="192.0.2.9",
        to_ip="192.0.2.25",
        connector="Contoso",
    )


def test_events_oldest_first_for_all_or_one(traces: SqlTraces) -> None:
    assert [(event.event, event.recipient) for event in traces.events("m1")] == [
        ("RECEIVE", ""),
        ("SEND", "bob@contoso.com"),
        ("SEND", "Carol@contoso.com"),
    ]
    assert traces.events("m1", "carol@contoso.com") == [
        TraceEvent("m1", NOW, "RECEIVE", "", "Accepted.", {"ip": "192.0.2.9"}),
        TraceEvent("m1", NOW, "SEND", "Carol@contoso.com", "failed"),
    ]
    assert traces.events("no-such") == []


async def test_attempts_of_one_recipient_end_with_its_fate(tmp_path: Path) -> None:
    store = open_store(url_in(tmp_path))
    message = message_to("bob@contoso.com", "carol@contoso.com", "eve@example.com")
    first, second = group_of(message), group_of(message, "example.com")
    await store.queue.add(message, [first, second], [], active=True)
    await store.queue.settle(_runs(run_of(first, bob=Fate.DELIVERED, carol=Fate.DEFERRED), ("mx1", ""), ("mx2", "bob carol")))
    (left,) = await store.queue.take_due(NOW + timedelta(hours=1), 10)
    await store.queue.settle(_runs(run_of(left, carol=Fate.DELIVERED), ("mx1", ""), ("mx3", "carol")))
    await store.queue.settle(_runs(run_of(second, eve=Fate.DELIVERED), ("mx.example.com", "eve")))

    def hosts(recipient: str | None) -> list[str]:
        return [record["host"] for record in store.admin.traces.attempts(message.id, recipient)]

    assert hosts("Bob@contoso.com") == ["mx1", "mx2"]
    assert hosts("carol@contoso.com") == ["mx1", "mx2", "mx1", "mx3"]
    assert hosts("eve@example.com") == ["mx.example.com"]
    assert hosts(None) == ["mx1", "mx2", "mx1", "mx3", "mx.example.com"]
    assert hosts("not an address") == []
    await store.close()


def _runs(settled: Settled, *hosts: tuple[str, str]) -> Settled:
    """The run with one attempt per host, each deciding about those named."""
    (attempt,) = settled.attempts

    def at(host: str, names: str) -> Attempt:
        own: tuple[RecipientFate, ...] = tuple(
            fate for fate in settled.fates if fate.address.partition("@")[0] in names.split()
        )
        return replace(attempt, host=host, recipients=own)

    return replace(settled, attempts=tuple(at(host, names) for host, names in hosts))


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[Store]:
    """Sixty messages, all old."""
    store = open_store(url_in(tmp_path))
    await asyncio.gather(*(accept(store, received_at=NOW - timedelta(days=3)) for _ in range(60)))
    yield store
    await store.close()


def slices(store: Store, seconds_per_row: float, slice_rows: int = 500) -> tuple[list[int], list[float]]:
    """How many rows each slice of a clean-up had, and how long it rested after each, if a row takes so long."""
    passed, left, rests = [0.0], [store_rows(store)], list[float]()

    def timer() -> float:
        now = store_rows(store)
        passed[0] += (left[0] - now) * seconds_per_row
        left[0] = now
        sizes.append(now)
        return passed[0]

    sizes: list[int] = []
    traces = SqlTraces(store._database, timer, rests.append)
    assert traces.purge(NOW, slice_rows) == 60
    steps = [before - after for before, after in pairwise(dict.fromkeys([60, *sizes]))]
    return steps, rests


def store_rows(store: Store) -> int:
    return len(store.admin.traces.search(ALL))


async def test_slices_grow_while_they_are_quick_and_never_above_their_bound(many: Store) -> None:
    assert slices(many, 0.000_1, 20)[0] == [20, 20, 20]


async def test_slices_shrink_when_rows_are_slow_and_the_gateway_has_as_much_time(
    many: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces_module, "FIRST_SLICE", 40)
    steps, rests = slices(many, 0.002)
    assert steps == [40, 10, 10]  # 80 ms, then 20 ms as wanted
    assert [round(rest, 3) for rest in rests[:3]] == [0.08, 0.02, 0.02]
    assert min(rests) >= traces_module.REST_SECONDS


async def test_a_slice_has_a_row_at_least(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces_module, "FIRST_SLICE", 58)
    assert slices(many, 1.0)[0] == [58, 1, 1]


async def test_others_write_between_the_slices(many: Store) -> None:
    written = []

    def rest(seconds: float) -> None:
        with many._database.write() as connection:  # would wait for ever if a slice were still open
            written.append(connection.scalar(select(func.count()).select_from(trace_message)))

    assert SqlTraces(many._database, rest=rest, timer=lambda: 0.0).purge(NOW, 25) == 60
    assert written == [35, 10, 0]


async def test_purging_forgets_what_is_old_and_nothing_else(tmp_path: Path) -> None:
    store = open_store(url_in(tmp_path))
    for days in (5, 4, 3, 1):
        moment = NOW - timedelta(days=days)
        _, group = await accept(store, "bob@contoso.com", "carol@contoso.com", received_at=moment)
        settled = run_of(group, at=moment, bob=Fate.DELIVERED, carol=Fate.DELIVERED)
        own = replace(settled.attempts[0], evidence=replace(EVIDENCE, gathered_at=moment))
        await store.queue.settle(replace(settled, attempts=(own,)))
    await accept(store, received_at=NOW)
    assert store.admin.traces.purge(NOW - timedelta(days=2), slice_rows=1) == 6
    kept = {table: len(rows(tmp_path, f"SELECT 1 FROM {table}")) for table in ("trace_message", "trace_event", "attempt")}
    assert kept == {"trace_message": 3, "trace_event": 4, "attempt": 1}
    ages = rows(tmp_path, f"SELECT ({int(NOW.timestamp())} - last_used_us / 1000000) / 86400 FROM evidence ORDER BY 1")
    assert ages == [1, 3]  # a day longer than the attempts that name it
    assert counted(tmp_path) == {"message": 1, "recipient_group": 1}
    assert store.admin.traces.purge(NOW - timedelta(days=2)) == 0
    await store.close()
