"""The store as app.py opens it: everything that is kept, behind the ports.

`open_store(url)` creates or upgrades the schema.  A command line uses `store.admin`, synchronously, and `store.admin.close()`;
a gateway takes the gateway lock, uses the rest, and ends with `await store.close()`, which commits what was handed in.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.ports import Changed
from sealroute.store.alerts import SqlAlertLog, SqlAlerts
from sealroute.store.connectors import LiveConnectors, SqlConnectors, utc_now
from sealroute.store.destinations import SqlDestinations, SqlWindows
from sealroute.store.engine import Database, Readers, create_privately
from sealroute.store.exceptions import SqlExceptions
from sealroute.store.history import SqlDrift, SqlHistory
from sealroute.store.moves import SqlMoves
from sealroute.store.notify import Listener
from sealroute.store.observations import SqlObservationLog, SqlObservations
from sealroute.store.policies import SqlPolicyCache
from sealroute.store.queue import DurableQueue
from sealroute.store.queue_admin import SqlQueueAdmin
from sealroute.store.reports import SqlReports
from sealroute.store.rules import SqlRules
from sealroute.store.schema import probe_day
from sealroute.store.traces import SqlTraces
from sealroute.store.turns import Turns
from sealroute.store.upgrade import ensure_schema
from sealroute.store.users import SqlOrganizations, SqlUsers
from sealroute.store.watched import SqlWatch, SqlWatchLog
from sealroute.store.writer import Writer

DEFAULT_LEASE = timedelta(seconds=60)


class AdminStore:
    """The store as administrators and faces use it; synchronous, from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.connectors = SqlConnectors(database)
        self.queue = SqlQueueAdmin(database)
        self.traces = SqlTraces(database)
        self.users = SqlUsers(database)
        self.organizations = SqlOrganizations(database)
        self.exceptions = SqlExceptions(database)
        self.rules = SqlRules(database, utc_now)
        self.drift = SqlDrift(database)
        self.observations = SqlObservationLog(database)
        self.watched = SqlWatchLog(database)
        self.alerts = SqlAlertLog(database)
        self.destinations = SqlDestinations(database)
        self.reports = SqlReports(database)
        self.moves = SqlMoves(database)

    def close(self) -> None:
        self._database.close()


class Store:
    """The store of a gateway process."""

    def __init__(self, database: Database, node_id: str, lease: timedelta) -> None:
        self._database = database
        self.writer = Writer(database)
        self._readers = Readers(database)
        self._lock: int | None = None
        self.admin = AdminStore(database)
        self.queue = DurableQueue(database, self.writer, self._readers, node_id, lease)
        self.policies = SqlPolicyCache(self.writer, self._readers)
        self.connectors = LiveConnectors(self._readers)
        self.history = SqlHistory(self.writer, self._readers)
        self.observations = SqlObservations(self.writer)
        self.probes = SqlObservations(self.writer, probe_day)
        self.watched = SqlWatch(self.writer, self._readers)
        self.alerts = SqlAlerts(self.writer, self._readers, self.queue)
        self.windows = SqlWindows(database, self.writer, self._readers)
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<Store {self._database!r}, {self.writer!r}>"

    def lock_gateway(self) -> None:
        """Make sure that no other gateway works on this store, until `close` or the end of the process.

        On SQLite only: nodes that share a PostgreSQL store keep out of each other's way by leases.  Raises OperatorError.
        """
        path = self._database.path
        if path is None or self._lock is not None:
            return
        self._lock = _locked(path.with_name(path.name + ".gateway-lock"))
        self.queue.alone = True

    def unlock_gateway(self) -> None:
        """Give the gateway lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def take_turns(self) -> None:
        """Commit in turns with other workers on the same SQLite file."""
        path = self._database.path
        if path is not None:
            self.writer.turns = Turns(path.with_name(path.name + ".turns"))

    def on_change(self, callback: Callable[[Changed], None]) -> None:
        """Call back, in the running event loop, when others changed something, or may have.

        On PostgreSQL only, and only the first callback; elsewhere changes are seen by looking from time to time.
        """
        if self._database.path is None and self._listener is None:
            self._listener = Listener(self._database, self.queue.node_id, callback)

    async def close(self) -> None:
        """Commit what was handed in and let go of everything."""
        if self._listener is not None:
            await self._listener.close()
        await self.writer.close()
        await asyncio.get_running_loop().run_in_executor(None, self._readers.close)
        self.admin.close()
        self.unlock_gateway()


def open_store(url: str, *, node_id: str = "", lease: timedelta = DEFAULT_LEASE) -> Store:
    """Open the store at an SQLAlchemy URL, its schema created or upgraded.

    `node_id` names this gateway among the nodes of a PostgreSQL store, at most 128 characters; without one it is made up.
    `lease` is how long a node that has gone silent keeps its groups.  Raises OperatorError when there is no usable store.
    """
    database = Database(url)
    if database.path is not None:
        create_privately(database.path)
    try:
        ensure_schema(database)
    except StoreUnavailable as error:
        database.close()
        raise OperatorError.one(
            "store", f"{database!r} cannot be opened: {error}.", "Check that the URL is right, and the database intact."
        ) from error
    except BaseException:
        database.close()
        raise
    made_up = f"{socket.gethostname()[:80]}/{os.getpid()}/{secrets.token_hex(4)}"
    return Store(database, node_id or made_up, lease)


def _locked(path: Path) -> int:
    """The descriptor of the file, locked, with our process id in it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        other = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise OperatorError.one(
            str(path),
            f"another gateway (process {other}) works on this store.",
            "Stop it first, or give this one its own store.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
