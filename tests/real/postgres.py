"""The PostgreSQL server of the tests (simnet/postgres), gone after them.

`database()` is a new, empty store, copied from a template because migrations take a while.  Without fsync: what a power cut
does to PostgreSQL is for PostgreSQL to test, and `crash()` kills its processes, not the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import pytest

from sealroute.store.engine import Database
from sealroute.store.upgrade import ensure_schema
from simnet import postgres as simnet_postgres

SETTINGS = {"fsync": "off", "shared_buffers": "32MB", "autovacuum": "off"}


class Postgres(simnet_postgres.Postgres):
    """The server; `start` it first."""

    def __init__(self) -> None:
        if simnet_postgres.programs() is None:
            pytest.exit("tests/real needs the package postgresql: run `tools/setup test`", returncode=2)
        super().__init__(SETTINGS)

    def database(self) -> str:
        """The name of a new, empty store."""
        template = self._template
        name = self.next_name("store")
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return name

    @cached_property
    def _template(self) -> str:
        name = self.empty()
        database = Database(self.url(name))
        ensure_schema(database)
        database.close()
        return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()
