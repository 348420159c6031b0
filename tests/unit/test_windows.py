"""What is kept of destinations: written in batches, read at the start, shown to administrators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sealroute.base.errors import StoreUnavailable
from sealroute.faces.cli.main import run
from sealroute.policy.pace import SERVED, Feedback, Heard
from sealroute.policy.reasons import Finding, Reason
from sealroute.ports import DestinationRow, DestinationState, Reach
from sealroute.services import windows as windows_module
from sealroute.services.destinations import Destinations
from sealroute.services.windows import Windows
from sealroute.store.store import open_store
from tests.store_making import NOW, group_of, message_to, url_in
from tests.unit.cli_world import FakeStore, world

GOOD = DestinationState("contoso.com", 7, False, Reach.REACHED, NOW, "mail was taken")
GONE = DestinationState("gone.example", 2, True, Reach.UNREACHED, NOW - timedelta(minutes=5), "450 4.4.316 Connection refused")
Capture = pytest.CaptureFixture[str]


class FakeWindows:
    def __init__(self) -> None:
        self.kept: list[DestinationState] = []
        self.saves: list[int] = []
        self.down = False

    async def load(self, node: str, limit: int) -> list[DestinationState]:
        assert (node, limit) == ("gw#1", 10_000)
        return self.kept

    async def save(self, node: str, states: Sequence[DestinationState]) -> None:
        if self.down:
            raise StoreUnavailable("the disk is full")
        self.saves.append(len(states))
        self.kept += states


def learned(destinations: Destinations, number: int) -> None:
    for index in range(number):
        destinations.learn(destinations.get(f"{index}.example"), SERVED, 20, NOW)


# ------------------------------------------------------------------------------------------------------- the service


async def test_a_restart_goes_on_where_it_stopped() -> None:
    store, before, after = FakeWindows(), Destinations(), Destinations()
    overloaded = Heard(Feedback.OVERLOADED, False, Finding(Reason.CONNECT_TIMEOUT))
    learned(before, 1)
    before.learn(before.get("slow.example"), overloaded, 20, NOW)
    await Windows(store, before, "gw#1").flush()
    await Windows(store, after, "gw#1").load()
    for domain in ("0.example", "slow.example"):
        assert after.get(domain).state() == before.get(domain).state()
    assert after.get("slow.example").window.halved


async def test_only_what_changed_is_written_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "BATCH", 4)
    store, destinations = FakeWindows(), Destinations()
    windows = Windows(store, destinations, "gw#1")
    learned(destinations, 10)
    assert repr(windows) == "<Windows of 'gw#1': 10 to be written>"
    await windows.flush()
    await windows.flush()
    assert store.saves == [4, 4, 2]


async def test_what_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "WRITE_EVERY_SECONDS", 0.001)
    store, destinations = FakeWindows(), Destinations()
    working = asyncio.create_task(Windows(store, destinations, "gw#1").work())
    store.down = True
    learned(destinations, 3)
    await asyncio.sleep(0.02)
    assert len(destinations.changed) == 3
    store.down = False
    async with asyncio.timeout(5):
        while destinations.changed:
            await asyncio.sleep(0.002)
    assert store.saves == [3]
    working.cancel()


# --------------------------------------------------------------------------------------------------------- the store


async def test_each_node_has_rows_of_its_own(tmp_path: Path) -> None:
    store = open_store(url_in(tmp_path), node_id="n1")
    try:
        await store.windows.save("a", [GOOD, GONE])
        await store.windows.save("b", [replace(GOOD, window=3, why="odd \0 \ud800")])
        await store.windows.save("a", [replace(GOOD, window=8)])
        assert await store.windows.load("a", 10) == [replace(GONE, node="a"), replace(GOOD, node="a", window=8)]
        assert [state.domain for state in await store.windows.load("a", 1)] == ["contoso.com"]  # what changed last
        assert await store.windows.load("c", 10) == []
        arrived = message_to("ann@contoso.com", "bob@contoso.com")
        await store.queue.add(arrived, [group_of(arrived)], (), active=True)
        rows = store.admin.destinations.rows()
        assert [(row.state.domain, row.state.node, row.state.window, row.active, row.queued) for row in rows] == [
            ("contoso.com", "a", 8, 1, 0), ("contoso.com", "b", 3, 1, 0), ("gone.example", "a", 2, 0, 0),
        ]  # fmt: skip
        assert rows[1].state.why == "odd  ?"
        assert [row.state.domain for row in store.admin.destinations.rows("*.example")] == ["gone.example"]
        assert len(store.admin.destinations.rows(limit=2)) == 2
        assert store.admin.destinations.purge(NOW - timedelta(minutes=1)) == 1
        assert store.admin.destinations.rows("gone.example") == []
    finally:
        await store.close()


async def test_what_is_taken_from_the_queue_says_whose_it_is(tmp_path: Path) -> None:
    store = open_store(url_in(tmp_path), node_id="n1")
    try:
        arrived = replace(message_to("bob@contoso.com"), organization="other")
        await store.queue.add(arrived, [group_of(arrived)], (), active=False)
        (taken,) = await store.queue.take_due(NOW + timedelta(days=1), 10)
        assert taken.organization == "other"
    finally:
        await store.close()


# -------------------------------------------------------------------------------------------------------- the command


def told(capsys: Capture, *argv: str, rows: Sequence[DestinationRow] = (), code: int = 0) -> tuple[str, FakeStore]:
    context = world(hostname="gw.contoso.com")
    store = context.preset_store
    assert isinstance(store, FakeStore)
    store.destinations.kept = list(rows)
    assert run(["queue", "destinations", *argv], lambda _asked: context) == code
    out, err = capsys.readouterr()
    return (out if code == 0 else err), store


ROWS = [DestinationRow(GOOD, 5, 12), DestinationRow(replace(GONE, node="gw#2"), 0, 40)]


def test_the_list(capsys: Capture) -> None:
    out, store = told(capsys, rows=ROWS)
    assert [line.rstrip() for line in out.splitlines()] == [
        "DESTINATION                      WINDOW  ACTIVE  QUEUED  REACHED   CHANGED",
        "contoso.com                           7       5      12  yes       0s ago",
        "  mail was taken",
        "gone.example                          2       0      40  no        5m ago",
        "  node gw#2: 450 4.4.316 Connection refused",
    ]
    assert store.destinations.asked == [(None, 1000)]


def test_as_json(capsys: Capture) -> None:
    out, store = told(capsys, "--json", "--domain", "Contoso.COM", "--limit", "1", rows=ROWS)
    assert json.loads(out) == [{
        "domain": "contoso.com", "node": "", "window": 7, "halved": False, "reach": "reached", "active": 5, "queued": 12,
        "changed_at": "2026-11-22T12:00:00Z", "why": "mail was taken",
    }]  # fmt: skip
    assert store.destinations.asked == [("contoso.com", 1)]


def test_nothing_to_list(capsys: Capture) -> None:
    assert told(capsys)[0] == "No destination is remembered.\n"
    assert told(capsys, "--domain", "*.example")[0] == "No destination that is remembered matches.\n"
    assert "--domain" in told(capsys, "--domain", "not a domain", code=2)[0]
