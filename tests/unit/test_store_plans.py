"""How SQLite finds what is asked: by an index, and never by looking through the queue or the trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from sealroute.policy.attempt import Fate
from sealroute.ports import GroupState, TraceQuery
from sealroute.store import statements
from sealroute.store.statements import Statement
from sealroute.store.store import Store, open_store
from tests.store_making import NOW, accept, peek, run_of, url_in

HOT = {name: item for name, item in vars(statements).items() if isinstance(item, Statement)}
LARGE = ("message", "recipient_group", "trace_message", "trace_event", "attempt", "evidence", "first")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(url_in(tmp_path), node_id="node-a")
    yield opened
    opened.admin.close()


def scans(plan: list[str]) -> list[str]:
    """The steps that look at every row of a large table: a scan, unless it goes through a part index."""
    part = ("ix_recipient_group_owner", "ix_recipient_group_suspended")
    return [
        step
        for step in plan
        if step.split()[0] == "SCAN" and step.split()[1] in LARGE and not step.endswith(part)
    ]  # fmt: skip


@contextmanager
def plans(store: Store) -> Iterator[list[str]]:
    """Collects the plan of every statement that is run meanwhile."""
    found: list[str] = []

    def explain(connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        if sql.split()[0] in ("SELECT", "WITH", "UPDATE", "DELETE"):
            found.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))

    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", explain)
    yield found
    event.remove(engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("rows", [1, 2, 50])
@pytest.mark.parametrize("name", HOT)
def test_no_hot_statement_scans(tmp_path: Path, name: str, rows: int) -> None:
    url_in(tmp_path)
    statement = HOT[name]
    with peek(tmp_path) as database:
        text = statements._text(statement, "?", rows)
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {text}", ["1"] * statement.width * rows)]
    assert scans(plan) == []


async def test_no_step_of_the_queue_scans(store: Store) -> None:
    with plans(store) as found:
        await store.queue.start_node(NOW)
        await accept(store, active=False)
        store.queue._blocked = True  # by destination and in line
        assert len(await store.queue.take_due(NOW, 2, room={"example.com": 0})) == 1
        await store.queue.next_due()
        await store.queue.renew_node(NOW)
        await store.queue.take_over("node-b", NOW)
    assert len(found) > 10
    assert scans(found) == []


async def test_the_oldest_and_the_lists_come_in_the_order_of_an_index(store: Store) -> None:
    with plans(store) as found:
        await store.queue.oldest()
        store.admin.queue.find()
        store.admin.queue.find(state=GroupState.QUEUED)
    assert [step for step in found if "SCAN" in step] == ["SCAN recipient_group USING INDEX ix_recipient_group_message"] * 3
    assert not any(step == "USE TEMP B-TREE FOR ORDER BY" for step in found)


@pytest.mark.parametrize(
    "filters",
    [
        {"domain": "contoso.com"},
        {"state": GroupState.SUSPENDED},
        {"state": GroupState.ACTIVE},
        {"domain": "contoso.com", "state": GroupState.ACTIVE},
    ],
    ids=str,
)
def test_lists_of_a_domain_or_a_state_do_not_scan(store: Store, filters: dict[str, Any]) -> None:
    with plans(store) as found:
        store.admin.queue.find(**filters)
        store.admin.queue.show("some-id")
        store.admin.queue.retry(["some-id"], NOW)
    assert scans(found) == []


async def test_the_count_reads_indexes_only(store: Store) -> None:
    with plans(store) as found:
        await store.queue.depth()
    read = [step for step in found if "recipient_group" in step]
    assert len(read) == 3
    assert all("INDEX ix_recipient_group_" in step for step in read)


WIDE = TraceQuery(NOW - timedelta(days=9), NOW + timedelta(days=9))


@pytest.mark.parametrize(
    ("changes", "index"),
    [
        ({}, "received"),
        ({"starting_recipient": "b"}, "received"),
        ({"subject": "x"}, "received"),
        ({"recipients": ("bob@contoso.com",)}, "recipient"),
        ({"recipients": ("bob@contoso.com",), "senders": ("anna@fabrikam.com",)}, "recipient"),
        ({"recipients": ("bob@contoso.com",), "statuses": ("Failed",)}, "recipient"),
        ({"recipients": ("*@contoso.com",), "senders": ("anna@fabrikam.com",)}, "sender"),
        ({"senders": ("anna@fabrikam.com",)}, "sender"),
        ({"header_message_ids": ("<1@x>",), "recipients": ("bob@contoso.com",)}, "header"),
        ({"message_trace_id": "m", "recipients": ("bob@contoso.com",)}, "message"),
        ({"statuses": ("Failed",)}, "undelivered"),
        ({"statuses": ("Failed", "Pending")}, "undelivered"),
        ({"statuses": ("Failed",), "starting_recipient": "b"}, "undelivered"),
        ({"statuses": ("Failed", "Delivered")}, "received"),
    ],
    ids=str,
)
def test_a_search_begins_with_the_filter_that_finds_least(store: Store, changes: dict[str, Any], index: str) -> None:
    name = "sqlite_autoindex_trace_message_1" if index == "message" else f"ix_trace_message_{index}"
    with plans(store) as found:
        store.admin.traces.search(replace(WIDE, **changes))
    searched = [step for step in found if "trace_message" in step]
    assert searched
    assert all(f"SEARCH trace_message USING INDEX {name} (" in step for step in searched)
    if index in ("received", "undelivered"):
        assert "USE TEMP B-TREE FOR ORDER BY" not in found  # it stops when it has enough


async def test_cleaning_up_does_not_scan(store: Store) -> None:
    await store.queue.start_node(NOW)
    _, group = await accept(store)
    await store.queue.settle(run_of(group, bob=Fate.DELIVERED))
    with plans(store) as found:
        assert store.admin.traces.purge(NOW + timedelta(days=1)) == 1
    assert scans(found) == []
