"""Opening a store: the schema it ends with, what it refuses, who may be the gateway."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from sealroute import ports
from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.store import statements
from sealroute.store.engine import Database
from sealroute.store.schema import REVISION
from sealroute.store.statements import Statement
from sealroute.store.store import open_store
from sealroute.store.upgrade import MIGRATIONS, ensure_schema, migrate
from tests.store_making import NOW, peek, rows, url_in

TABLES = "SELECT name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version' AND sql IS NOT NULL ORDER BY name"


def _parts(found: list[Any]) -> dict[str, list[str]]:
    """The columns and constraints of each table or index; their order within a table says nothing."""
    return {
        name: sorted(part.strip() for part in sql[sql.index("(") + 1 : sql.rindex(")")].replace("\n", "").split(", "))
        for name, sql in found
    }


def test_migrations_end_exactly_in_what_a_new_store_is_made_with(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    url_in(tmp_path)  # a new store
    database = Database(f"sqlite:///{tmp_path}/old/sealroute.db")
    with database.write() as connection:
        migrate(connection)
    database.close()
    wanted = _parts(rows(tmp_path, TABLES))
    assert len(wanted) > 20
    assert _parts(rows(tmp_path / "old", TABLES)) == wanted
    for first_rows in (
        "SELECT id, name FROM organization",
        "SELECT * FROM counter",
        "SELECT * FROM alembic_version",
        "SELECT sql FROM sqlite_master WHERE name = 'alembic_version'",
    ):
        made, migrated = (
            [re.sub(r"\s+", "", str(row)) for row in rows(folder, first_rows)] for folder in (tmp_path, tmp_path / "old")
        )
        assert made == migrated
        assert made


def test_the_revision_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_a_new_store_and_an_existing_one_open_without_migrations(tmp_path: Path) -> None:
    script = (
        "import sys; from sealroute.store.store import open_store; open_store(sys.argv[1]).admin.close();"
        "sys.exit('alembic' in sys.modules)"
    )
    for _ in ("new", "existing"):
        assert subprocess.run([sys.executable, "-c", script, f"sqlite:///{tmp_path}/new.db"], timeout=60).returncode == 0


def test_two_that_open_a_new_store_together_both_succeed(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def opening() -> None:
        database = Database(f"sqlite:///{tmp_path}/new.db")
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


def test_the_file_is_its_owners_only(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/new.db")
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600
    store.admin.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite://", "mail must outlive the process, so SQLite needs a file."),
        ("sqlite:///:memory:", "mail must outlive the process, so SQLite needs a file."),
        ("not a url", "Could not parse SQLAlchemy URL"),
        ("mysql://localhost/db", "mysql is not supported."),
        ("sqlite:////nonexistent/folder/sealroute.db", "the store's file cannot be opened: No such file or directory."),
    ],
)
def test_a_store_that_cannot_be_is_refused(url: str, problem: str) -> None:
    with pytest.raises(OperatorError) as caught:
        open_store(url)
    assert problem in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database, but a text of some length.\n" * 100)
    with pytest.raises(OperatorError, match=r"cannot be opened: .*file is not a database"):
        open_store(f"sqlite:///{tmp_path}/text.db")


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = url_in(tmp_path)
    with peek(tmp_path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(OperatorError, match="its tables have version 9999"):
        open_store(url)


async def test_a_second_gateway_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    first, second = open_store(url_in(tmp_path)), open_store(url_in(tmp_path))
    first.lock_gateway()
    first.lock_gateway()
    with pytest.raises(OperatorError, match=rf"another gateway \(process {os.getpid()}\) works on this store"):
        second.lock_gateway()
    await first.close()
    second.lock_gateway()
    await second.close()


async def test_reading_says_when_the_store_is_gone(tmp_path: Path) -> None:
    store = open_store(url_in(tmp_path))
    with peek(tmp_path) as database:
        database.execute("DROP TABLE sts_policy")
    with pytest.raises(StoreUnavailable, match="no such table: sts_policy"):
        await store.policies.get("contoso.com")
    assert await store.queue.next_due() is None
    await store.close()


async def test_the_store_is_what_the_ports_ask_for(tmp_path: Path) -> None:
    """mypy holds the assignments; here they are looked at so that it has a store to hold them for."""
    store = open_store(url_in(tmp_path))
    queue: ports.Queue = store.queue
    policies: ports.PolicyCache = store.policies
    live: ports.Connectors = store.connectors
    connectors: ports.ConnectorStore = store.admin.connectors
    admin: ports.QueueAdmin = store.admin.queue
    traces: ports.Traces = store.admin.traces
    users: ports.Users = store.admin.users
    assert await queue.next_due() is None
    assert await policies.get("contoso.com") is None
    assert (list(live.all("default")), connectors.all("default"), admin.find(), traces.events("x"), users.all()) == (
        [],
        [],
        [],
        [],
        [],
    )
    await store.close()


async def test_nodes_without_a_name_are_told_apart(tmp_path: Path) -> None:
    stores = [open_store(url_in(tmp_path)) for _ in range(2)]
    for store in stores:
        await store.queue.start_node(NOW)
    assert len(rows(tmp_path, "SELECT id FROM node")) == 2
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize(
    "statement",
    [item for item in vars(statements).values() if isinstance(item, Statement)],
    ids=lambda item: item.sql.split()[0],
)
def test_postgresql_reads_every_hot_statement_alike(statement: Statement) -> None:
    """Nothing in them is SQLite's own; that PostgreSQL runs them is for a test with a server to show."""
    text = statement.sql.replace("{rows}", "(%s)")
    assert "?" not in text
    assert "INSERT OR" not in text
    assert text.split()[0] in ("INSERT", "UPDATE", "DELETE")


def test_opened_twice_in_one_process_still_sees_what_others_write(tmp_path: Path) -> None:
    first = open_store(url_in(tmp_path)).admin
    assert [name for name, _ in first.organizations.all()] == ["default"]
    second = open_store(url_in(tmp_path)).admin
    script = (
        "import os, sys; from sealroute.store.store import open_store; store = open_store(sys.argv[1]).admin;"
        "store.organizations.add(sys.argv[2], ''); sys.argv[3] == 'closes' and store.close(); os._exit(0)"
    )
    # The last one to close would delete the log; the next writer then has one that we do not see.
    for name, ending in (("contoso", "closes"), ("fabrikam", "runs on")):
        subprocess.run([sys.executable, "-c", script, url_in(tmp_path), name, ending], check=True, timeout=60)
    assert [name for name, _ in first.organizations.all()] == ["contoso", "default", "fabrikam"]
    second.close()
    first.close()
