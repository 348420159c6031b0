"""The queue as administrators see and steer it, beside a running gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sealroute.base.errors import InputError
from sealroute.base.mail import Message
from sealroute.policy.attempt import Fate
from sealroute.ports import Group, GroupState, QueueItem, TraceQuery
from sealroute.store import queue_admin
from sealroute.store.store import AdminStore, Store, open_store
from tests.store_making import LATER, NOW, accept, counted, group_of, message_to, rows, run_of, url_in

LATE = NOW + timedelta(hours=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(url_in(tmp_path), node_id="node-a")
    yield opened
    await opened.close()


@pytest.fixture
async def admin(store: Store, tmp_path: Path) -> AsyncIterator[AdminStore]:
    """Another process's view of the same store."""
    other = open_store(url_in(tmp_path)).admin
    yield other
    other.close()


async def waiting(store: Store, *addresses: str) -> tuple[Message, Group]:
    """One message that is due in an hour."""
    message = message_to(*addresses)
    group = group_of(message, addresses[0].partition("@")[2], next_attempt_at=LATE)
    await store.queue.add(message, [group], [], active=False)
    return message, group


def states(folder: Path) -> list[str]:
    found: list[str] = rows(folder, "SELECT state FROM recipient_group ORDER BY id")
    return found


async def test_an_item_says_all_about_its_group(store: Store, admin: AdminStore) -> None:
    message, group = await accept(store, subject="Invoice")
    await store.queue.settle(run_of(group, bob=Fate.DEFERRED))
    (item,) = admin.queue.find()
    assert item == QueueItem(
        group=replace(group, attempts=1, last_finding=LATER, next_attempt_at=NOW + timedelta(minutes=15)),
        state=GroupState.QUEUED,
        sender="anna@fabrikam.com",
        subject="Invoice",
        header_message_id="<1@fabrikam.com>",
        size_bytes=len(message.content),
        received_at=NOW,
    )
    assert item.group.last_finding is not None
    assert item.group.last_finding.queued() == "451 4.7.1 tlsa-invalid: The domain failed DANE validation: no record matches"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abcd"),
        ({"limit": 2}, "ab"),
        ({"domain": "contoso.com"}, "ab"),
        ({"domain": "Contoso.COM."}, "ab"),
        ({"domain": "*.example"}, "d"),
        ({"domain": "con_oso.com"}, ""),
        ({"state": GroupState.ACTIVE}, "b"),
        ({"state": GroupState.SUSPENDED}, "d"),
        ({"sender": "Zoe@fabrikam.com"}, "c"),
        ({"sender": "*@FABRIKAM.com"}, "abcd"),
        ({"sender": ""}, ""),
        ({"domain": "contoso.com", "state": GroupState.QUEUED}, "a"),
    ],
    ids=str,
)
async def test_find(store: Store, admin: AdminStore, filters: dict[str, object], found: str) -> None:
    await waiting(store, "a@contoso.com")
    await accept(store, "b@contoso.com", active=True)
    message = message_to("c@fabrikam.com")
    message = replace(message, envelope=replace(message.envelope, sender="zoe@fabrikam.com"))
    await store.queue.add(message, [group_of(message, "fabrikam.com")], [], active=False)
    _, held = await waiting(store, "d@mail.example")
    assert admin.queue.hold([held.id]) == 1
    items = admin.queue.find(**filters)  # type: ignore[arg-type]
    assert "".join(item.group.recipients[0].address[0] for item in items) == found


def test_find_refuses_a_domain_that_is_none(tmp_path: Path) -> None:
    admin = open_store(url_in(tmp_path)).admin
    with pytest.raises(InputError, match="empty label"):
        admin.queue.find(domain="a..b")
    admin.close()


async def test_show_by_group_and_by_message(store: Store, admin: AdminStore) -> None:
    message = message_to("bob@contoso.com", "eve@example.com")
    groups = [group_of(message), group_of(message, "example.com")]
    await store.queue.add(message, groups, [], active=False)
    assert [item.group for item in admin.queue.show(message.id)] == groups
    assert [item.group for item in admin.queue.show(groups[1].id)] == groups[1:]
    assert admin.queue.show("no-such") == []


async def test_retry_makes_due_now_but_never_later(store: Store, admin: AdminStore) -> None:
    _, first = await waiting(store, "a@contoso.com")
    second, _ = await waiting(store, "b@contoso.com")
    await accept(store, "c@contoso.com", active=True)
    assert admin.queue.retry([first.id, second.id, "no-such"], NOW) == 2
    assert await store.queue.next_due() == NOW
    assert admin.queue.retry(["*"], NOW + timedelta(seconds=1)) == 2
    assert await store.queue.next_due() == NOW


async def test_a_held_group_is_never_due_until_released(store: Store, admin: AdminStore, tmp_path: Path) -> None:
    _, group = await waiting(store, "a@contoso.com")
    assert admin.queue.hold([group.id]) == 1
    assert admin.queue.hold([group.id]) == 0
    assert admin.queue.retry(["*"], NOW) == 0
    assert await store.queue.take_due(LATE, 10) == []
    assert admin.queue.release(["*"], NOW) == 1
    assert await store.queue.take_due(NOW, 10) == [replace(group, next_attempt_at=NOW)]


async def test_removing_fails_the_recipients_and_drops_the_message(store: Store, admin: AdminStore, tmp_path: Path) -> None:
    message = message_to("bob@contoso.com", "carol@contoso.com", "eve@example.com")
    first, second = group_of(message), group_of(message, "example.com")
    await store.queue.add(message, [first, second], [], active=False)
    assert admin.queue.remove([first.id], LATE, "admin@fabrikam.com") == 1
    assert counted(tmp_path) == {"message": 1, "recipient_group": 1}
    admin.queue.hold([second.id])
    assert admin.queue.remove([message.id], LATE, "admin@fabrikam.com") == 1
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}
    assert {row.status for row in admin.traces.search(TraceQuery(NOW, NOW))} == {"Failed"}
    assert [(event.event, event.recipient, event.description) for event in admin.traces.events(message.id)] == [
        ("FAIL", address, "Removed from the queue by admin@fabrikam.com, without an NDR.")
        for address in ("bob@contoso.com", "carol@contoso.com", "eve@example.com")
    ]


async def test_nothing_touches_a_group_that_is_being_worked_on(store: Store, admin: AdminStore, tmp_path: Path) -> None:
    message, group = await accept(store, active=True)
    ids = [group.id, message.id, "*"]
    for asked in ([group.id], [message.id], ["*"], ids):
        assert admin.queue.retry(asked, NOW) == 0
        assert admin.queue.hold(asked) == 0
        assert admin.queue.release(asked, NOW) == 0
        assert admin.queue.remove(asked, NOW, "admin") == 0
    assert states(tmp_path) == ["active"]
    await store.queue.settle(run_of(group, bob=Fate.DELIVERED))
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}


async def test_many_groups_are_changed_slice_by_slice(
    store: Store, admin: AdminStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_admin, "SLICE", 3)
    ids = [(await waiting(store, f"{number}@contoso.com"))[1].id for number in range(8)]
    assert admin.queue.hold(ids[:7]) == 7
    assert admin.queue.release(["*"], NOW) == 7
    assert admin.queue.remove(["*"], NOW, "admin") == 8
    assert counted(tmp_path) == {"message": 0, "recipient_group": 0}


@pytest.mark.parametrize("page", [1, 2, 50])
async def test_messages_that_have_lost_their_groups_are_swept_and_no_others(
    store: Store, admin: AdminStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(queue_admin, "SWEEP", page)
    for name in "abcd":
        await waiting(store, f"{name}@contoso.com")
    rows(tmp_path, "DELETE FROM recipient_group WHERE recipients LIKE '%b@%' OR recipients LIKE '%d@%'")
    swept = (
        2 if store._database.path is None else 0
    )  # SQLite has one writer at a time: there it cannot happen, and nobody looks
    assert admin.queue.sweep() == swept
    assert counted(tmp_path) == {"message": 4 - swept, "recipient_group": 2}


async def test_of_one_domain_the_waiting_and_those_at_work_come_in_one_order(store: Store, admin: AdminStore) -> None:
    for name, active in zip("abcdef", [True, False, True, False, True, False], strict=True):
        await accept(store, f"{name}@contoso.com", active=active)
    items = admin.queue.find(domain="contoso.com", limit=5)
    assert [item.group.recipients[0].address[0] for item in items] == list("abcde")
