"""Telling other nodes of a change at once: PostgreSQL's LISTEN and NOTIFY.  On SQLite nothing of this happens.

What is told is only *that* something changed; what it was is read from the tables.  A notification is part of the transaction
that made the change: it arrives after the commit, or never.  One that is lost (the connection was) costs nothing but time,
for nodes also look by themselves, and a listener that connects anew takes everything for changed.

Not told, because commits with a notification wait for each other: what a node works on itself, that is, nearly all mail.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from sqlalchemy import Connection, func, select

from sealroute.ports import Changed
from sealroute.store.engine import Database
from sealroute.store.statements import Row, Statement

CHANNEL = "sealroute"
LOOK_SECONDS = 0.5
"""How long a stop may take to be noticed."""
LONGEST_WAIT_SECONDS = 30.0
_NOTIFY = Statement(40, 1, f"SELECT pg_notify('{CHANNEL}', max(given.column1)) FROM (VALUES {{rows}}) AS given")
"""One notification for all jobs of a commit."""


def notify(connection: Connection, changed: Changed, node_id: str = "") -> None:
    """Tell all nodes but the one named, when the connection's transaction commits."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(CHANNEL, _payload(changed, node_id))))


def wakes(database: Database, node_id: str) -> list[tuple[Statement, list[Row]]]:
    """The row by which a job of the writer says that something is due now; none on SQLite."""
    return [(_NOTIFY, [(_payload(Changed.QUEUE, node_id),)])] if database.path is None else []


def _payload(changed: Changed, node_id: str) -> str:
    return f"{changed.value} {node_id}"


class Listener:
    """A thread with a connection of its own that hears what other nodes and administrators tell."""

    def __init__(self, database: Database, node_id: str, callback: Callable[[Changed], None]) -> None:
        """`callback` is called in the running event loop; what this node told itself is passed over."""
        self._database = database
        self._node_id = node_id
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._stopping.set()
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        wait = 0.1
        while not self._stopping.is_set():
            heard = False
            with suppress(self._database.errors.Error, OSError):
                for _ in self._listen():
                    heard = True
            wait = 0.1 if heard else min(wait * 2, LONGEST_WAIT_SECONDS)
            self._stopping.wait(wait)

    def _listen(self) -> Iterator[None]:
        """Until stopped or the connection breaks; yields once when it listens."""
        with self._database.connect_alone() as connection:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            yield
            for changed in Changed:  # while we did not listen, anything may have happened
                self._tell(changed)
            while not self._stopping.is_set():
                for note in connection.notifies(timeout=LOOK_SECONDS):
                    self._hear(note.payload)

    def _hear(self, payload: str) -> None:
        word, _, node_id = payload.partition(" ")
        if node_id == self._node_id:
            return
        with suppress(ValueError):  # of a newer version
            self._tell(Changed(word))

    def _tell(self, changed: Changed) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._callback, changed)
