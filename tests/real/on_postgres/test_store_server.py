"""What only a server has: opening it, nodes beside each other, its going away and coming back, and being told of changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.policy.attempt import Fate
from sealroute.policy.connector import Connector
from sealroute.ports import Changed
from sealroute.store.engine import Database
from sealroute.store.statements import PUT_POLICY
from sealroute.store.store import Store, open_store
from sealroute.store.upgrade import ensure_schema, migrate
from sealroute.store.writer import Job, Writer
from simnet.nameserver import free_port
from tests.real.gateway_world import wait_until
from tests.real.postgres import Postgres
from tests.store_making import NOW, accept, counted, group_of, message_to, peek, rows, run_of, url_in

pytestmark = pytest.mark.real
LATE = NOW + timedelta(hours=1)
SHAPE = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable FROM information_schema.columns "
    "WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1",
)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Store]]:
    opened = [open_store(url_in(tmp_path), node_id=f"node-{letter}") for letter in "abc"]
    for store in opened:
        await store.queue.start_node(NOW)
    yield opened
    await asyncio.gather(*(store.close() for store in opened))


# --------------------------------------------------------------------------------------------------------------- opening


def _shape(server: Postgres, name: str) -> list[list[tuple[object, ...]]]:
    with server.connect(name) as connection:
        found = [connection.execute(query.encode()).fetchall() for query in SHAPE]
    return [[row for row in part if "alembic" not in str(row[0])] for part in found]


def test_migrations_end_exactly_in_what_a_new_store_is_made_with(postgres: Postgres) -> None:
    old = postgres.empty()
    database = Database(postgres.url(old))
    with database.write() as connection:
        migrate(connection)
    database.close()
    wanted = _shape(postgres, postgres.database())
    assert min(map(len, wanted)) > 15
    assert _shape(postgres, old) == wanted


def test_nodes_that_open_a_new_store_together_all_succeed(postgres: Postgres) -> None:
    url, failures = postgres.url(postgres.empty()), list[Exception]()

    def opening() -> None:
        database = Database(url)
        try:
            ensure_schema(database)
        except Exception as error:
            failures.append(error)
        database.close()

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_url_as_providers_give_it_is_good(postgres: Postgres) -> None:
    store = open_store(postgres.url(postgres.empty()).replace("+psycopg", ""))
    assert [name for name, _ in store.admin.organizations.all()] == ["default"]
    store.admin.close()


async def test_of_several_hosts_the_one_that_answers_is_found(postgres: Postgres) -> None:
    hosts = "&".join(f"host=127.0.0.1:{port}" for port in (free_port("127.0.0.1"), postgres.port))
    name = postgres.empty()
    store = open_store(f"postgresql+psycopg://sealroute@/{name}?{hosts}&target_session_attrs=read-write")
    ear = await Ear(store).ready()
    assert await asyncio.to_thread(store.admin.queue.retry, ["*"], NOW) == 0
    assert ear.heard == []
    await store.close()


def test_what_cannot_be_a_store_is_refused(postgres: Postgres) -> None:
    with postgres.connect("postgres") as connection:
        connection.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    for url, problem in (
        (postgres.url("ascii"), "the database's encoding is SQL_ASCII."),
        (postgres.url("x").replace("+psycopg", "+asyncpg"), "the driver asyncpg is not supported."),
        (postgres.url("missing"), 'database "missing" does not exist'),
    ):
        with pytest.raises(OperatorError) as caught:
            open_store(url)
        assert problem in str(caught.value)


def test_a_commit_is_on_the_disk_whatever_the_server_does_for_others(postgres: Postgres) -> None:
    name = postgres.empty()
    with postgres.connect("postgres") as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    database = Database(postgres.url(name))
    with database.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    with postgres.connect("postgres") as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = remote_apply".encode())
    database.close()
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"
    database.close()


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    database = Database(url_in(tmp_path))
    with database.read() as reader:
        before = reader.exec_driver_sql("SELECT count(*) FROM organization").scalar()
        with peek(tmp_path) as other:
            other.execute("INSERT INTO organization VALUES ('late', 'Late', 0)")
        assert reader.exec_driver_sql("SELECT count(*) FROM organization").scalar() == before
    database.close()


# ----------------------------------------------------------------------------------------------- nodes beside each other


async def test_nodes_take_each_group_once_and_leave_none(nodes: list[Store]) -> None:
    wanted = set()
    for _ in range(10):
        message = message_to("bob@contoso.com")
        groups = [group_of(message) for _ in range(40)]
        wanted |= {group.id for group in groups}
        await nodes[0].queue.add(message, groups, [], active=False)

    async def work(store: Store) -> list[str]:
        taken: list[str] = []
        while groups := await store.queue.take_due(NOW, 7):
            taken += [group.id for group in groups]
        return taken

    shares = await asyncio.gather(*map(work, nodes))
    # Who finds everything locked by others ends early, so what is left is taken at the end.
    shares.append(await work(nodes[0]))
    together = [identity for share in shares for identity in share]
    assert sorted(together) == sorted(wanted)
    assert sum(bool(share) for share in shares[:3]) > 1


async def test_what_another_node_is_just_taking_is_passed_over(nodes: list[Store], tmp_path: Path) -> None:
    groups = [(await accept(nodes[0], active=False))[1] for _ in range(3)]
    with peek(tmp_path) as other:
        other.execute("BEGIN")
        other.execute(f"SELECT 1 FROM recipient_group WHERE id = '{groups[1].id}' FOR UPDATE")
        taken = await asyncio.wait_for(nodes[1].queue.take_due(NOW, 10), 20)
        other.execute("COMMIT")
    assert {group.id for group in taken} == {groups[0].id, groups[2].id}


async def test_a_job_that_loses_to_another_node_is_done_again(tmp_path: Path) -> None:
    database = Database(url_in(tmp_path))
    writer = Writer(database)
    tries: list[int] = []

    def loses(connection: Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$")
        return len(tries)

    put = [(PUT_POLICY, [("a.test", "1", "text", 0, 0, 0)])]
    results = await asyncio.gather(writer.run(Job(put)), writer.run(Job(call=loses)))
    assert list(results) == [None, 2]
    assert rows(tmp_path, "SELECT domain FROM sts_policy") == ["a.test"]
    await writer.close()
    database.close()


# ---------------------------------------------------------------------------------------------- the server goes away


@pytest.fixture(scope="module")
def mortal() -> Iterator[Postgres]:
    """A server that may be stopped."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_while_the_server_is_away_everything_says_so_and_then_goes_on(mortal: Postgres, how: str) -> None:
    url = mortal.url(mortal.database())
    store = open_store(url, node_id="node-a")
    await store.queue.start_node(NOW)
    _, kept = await accept(store)
    getattr(mortal, how)()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await accept(store)
        with pytest.raises(StoreUnavailable):
            await store.queue.next_due()
        with pytest.raises(StoreUnavailable):
            await store.queue.settle(run_of(kept, bob=Fate.DELIVERED))
        with pytest.raises(StoreUnavailable):
            store.admin.queue.find()
    mortal.start()
    _, group = await accept(store, active=False)
    await store.queue.settle(run_of(kept, bob=Fate.DELIVERED))
    assert [item.group.id for item in store.admin.queue.find()] == [group.id]
    assert [item.id for item in await store.queue.take_due(NOW, 10)] == [group.id]
    await store.close()


async def test_sessions_that_the_server_ended_cost_one_batch_at_most(nodes: list[Store], tmp_path: Path) -> None:
    store = nodes[0]
    await accept(store)
    with peek(tmp_path) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                      "AND pid <> pg_backend_pid()")  # fmt: skip
    with pytest.raises(StoreUnavailable, match=r"terminating connection|closed the connection|connection is lost"):
        await accept(store)
    await accept(store)
    assert counted(tmp_path)["message"] == 2
    assert await store.queue.next_due() is None


# ------------------------------------------------------------------------------------------------- being told of changes


class Ear:
    """What a node heard, past what every listener is told at its beginning."""

    def __init__(self, store: Store) -> None:
        self.heard: list[Changed] = []
        store.on_change(self.heard.append)

    async def ready(self) -> Ear:
        await self.hears(*Changed)
        return self

    async def hears(self, *wanted: Changed) -> None:
        await wait_until_loop(lambda: self.heard[-len(wanted) :] == list(wanted), f"{wanted}, not {self.heard}")
        self.heard.clear()


async def wait_until_loop(true: Any, what: str) -> None:
    await wait_until(true, what, 20)


async def test_who_makes_something_due_wakes_the_others(nodes: list[Store], tmp_path: Path) -> None:
    own, *others = [await Ear(store).ready() for store in nodes]
    queue, admin = nodes[0].queue, nodes[0].admin

    async def all_others_hear(what: Changed) -> None:
        for ear in others:
            await ear.hears(what)

    _, group = await accept(nodes[0], active=False)
    await all_others_hear(Changed.QUEUE)
    await queue.take_due(NOW, 10)
    await queue.release([group.id])
    await all_others_hear(Changed.QUEUE)
    _, group = await accept(nodes[0])  # active: nothing to do for others
    notice = message_to("anna@fabrikam.com")
    notices = ((notice, (group_of(notice, "fabrikam.com"),)),)
    await queue.settle(replace(run_of(group, bob=Fate.FAILED), notices=notices))
    await all_others_hear(Changed.QUEUE)
    assert own.heard == []

    async def all_hear(what: Changed) -> None:
        for ear in (own, *others):
            await ear.hears(what)

    assert await asyncio.to_thread(admin.queue.retry, ["*"], NOW) == 2
    await all_hear(Changed.QUEUE)
    assert await asyncio.to_thread(admin.queue.hold, ["*"]) == 2
    assert await asyncio.to_thread(admin.queue.release, ["*"], NOW) == 2
    await all_hear(Changed.QUEUE)
    guid = "11111111-1111-4111-8111-111111111111"
    await asyncio.to_thread(admin.connectors.add, Connector(guid=guid, name="Bank", recipient_domains=("contoso.com",)), "anna")
    await all_hear(Changed.CONNECTORS)
    assert await nodes[1].connectors.refresh()


async def test_mail_that_a_node_delivers_itself_wakes_nobody(nodes: list[Store]) -> None:
    ear = await Ear(nodes[1]).ready()
    for _ in range(3):
        _, group = await accept(nodes[0])
        await nodes[0].queue.settle(run_of(group, bob=Fate.DELIVERED))
    await accept(nodes[0], active=False)  # the first that is heard
    await ear.hears(Changed.QUEUE)


async def test_a_dead_nodes_groups_wake_everybody(nodes: list[Store]) -> None:
    ear = await Ear(nodes[1]).ready()
    await accept(nodes[2])
    await nodes[0].queue.renew_node(NOW + timedelta(seconds=50))
    assert await nodes[0].queue.renew_node(NOW + timedelta(seconds=61)) == 1
    await ear.hears(Changed.QUEUE)


async def test_after_the_server_was_away_everything_counts_as_changed(mortal: Postgres) -> None:
    url = mortal.url(mortal.database())
    listening, other = open_store(url, node_id="node-a"), open_store(url, node_id="node-b")
    ear = await Ear(listening).ready()
    mortal.crash()
    mortal.start()
    await ear.ready()
    await accept(other, active=False)
    await ear.hears(Changed.QUEUE)
    await listening.close()
    await other.close()
