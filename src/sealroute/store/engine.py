"""Connections: how the database is opened, what a reader and a writer may rely on, and how its errors are named.

* SQLite: write-ahead log, `synchronous=FULL` (a commit that returned is on the disk), foreign keys held.  No memory map: an I/O
  error would be a SIGBUS instead of an exception.  Caches are bounded; the log is folded back every 32 MiB.
* PostgreSQL: a commit that returned is on the server's disk, also where `synchronous_commit` is off for others.  A server that
  has vanished is noticed within a minute; a node that has, lets go of its locks as soon.
* `read()` sees one snapshot.  `write()` holds a write lock from its start, so that what it reads is what it changes (SQLite:
  BEGIN IMMEDIATE; PostgreSQL: among administrators, by an advisory lock; nodes at work are kept apart by the rows' owner).
* Whatever the database raises leaves this file as StoreUnavailable.

Elsewhere: the hot path's own connection and its grouping of commits is in store/writer; the schema's upgrade in store/upgrade.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import OperationalError as SqliteOperationalError
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Executable, Table, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from sealroute.base.errors import OperatorError, StoreUnavailable

T = TypeVar("T")

PREPARED = 256
"""Statements that a connection keeps prepared: room for all of the hot path's, in every size (store/statements.EXACT)."""
LOCK_WAIT_SECONDS = 30.0
"""How long a writer waits for another to finish before it gives up; every transaction of ours is far shorter."""
_PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "temp_store = MEMORY",
    "mmap_size = 0",
    "cache_size = -2048",  # KiB per connection; what is not in it mostly is in the system's cache
    "wal_autocheckpoint = 4096",  # pages: a message that comes and goes within 32 MiB of log is hardly copied
    "journal_size_limit = 67108864",
)


class Database:
    """One database, by URL."""

    def __init__(self, url: str) -> None:
        """Raises OperatorError when the URL cannot be a store; connects to nothing yet."""
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise OperatorError.one("store url", f"{error}.", _FIX) from None
        self.path: Path | None = None
        """The SQLite file; None for a server."""
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            if parsed.database in (None, "", ":memory:") or "mode=memory" in url:
                raise OperatorError.one("store url", "mail must outlive the process, so SQLite needs a file.", _FIX)
            self.path = Path(str(parsed.database)).absolute()
            self.engine = _sqlite_engine(self.path)
        elif backend == "postgresql":
            self.engine = _postgresql_engine(parsed)
        else:
            raise OperatorError.one("store url", f"{backend} is not supported.", _FIX)

        self._reading = self.engine
        if backend == "postgresql":
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def __repr__(self) -> str:
        return f"<Database {self.path or self.engine.url.render_as_string()}>"

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @property
    def mark(self) -> str:
        """How the driver marks a parameter."""
        return "?" if self.dialect == "sqlite" else "%s"

    @property
    def errors(self) -> Any:
        """The driver's module, whose error classes a bare cursor raises."""
        return self.engine.dialect.loaded_dbapi

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot to read from."""
        with named_errors(), self._reading.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, or undone by an exception."""
        with named_errors(), self.writer_connection() as connection, connection.begin():
            if self.path is None:
                connection.execute(select(func.pg_advisory_xact_lock(_WRITE_LOCK)))
            yield connection

    def writer_connection(self) -> Connection:
        """A connection whose transactions are all writing ones; the caller begins, commits and names errors."""
        return self.engine.connect().execution_options(sealroute_write=True)

    def kept_writer_connection(self) -> Connection:
        """The same for who keeps it for long and writes without end: it never goes back to the pool."""
        connection = self.writer_connection()
        connection.detach()
        if self.path is not None:
            raw: Any = connection.connection.dbapi_connection
            raw.execute("PRAGMA busy_timeout = 0")  # once, instead of twice in every transaction
            connection = connection.execution_options(sealroute_never_waits=True)
        return connection

    def connect_alone(self) -> Any:
        """A driver's connection outside the pool, for who keeps it long; raises the driver's errors."""
        arguments, options = self.engine.dialect.create_connect_args(self.engine.url)
        return self.engine.dialect.connect(*arguments, **options, **_unless_given(self.engine.url))

    def upsert(self, table: Table, *keys: str) -> Executable:
        """INSERT that on an equal key replaces the rest of the row."""
        insert = sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)
        return insert.on_conflict_do_update(
            index_elements=list(keys),
            set_={column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys},
        )

    def close(self) -> None:
        self.engine.dispose()


_FIX = "Use sqlite:////absolute/path/sealroute.db or postgresql+psycopg://user@host/database."
_WRITE_LOCK = 0x5EA1_0002
_NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "sealroute",
    "client_encoding": "utf8",
}
"""Where the URL does not say otherwise; the timeout of TCP is in milliseconds, all else in seconds."""
_SESSION = """
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                                        ELSE current_setting('synchronous_commit') END, false),
       set_config('lock_timeout', '{lock}ms', false),
       set_config('idle_in_transaction_session_timeout', '60s', false),
       set_config('tcp_keepalives_idle', '20', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false)
"""


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """Whatever the database raises, as StoreUnavailable."""
    try:
        yield
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def unavailable(error: BaseException) -> StoreUnavailable:
    """The error in a word to the operator: the database's own, without the statement and its values."""
    original = getattr(error, "orig", None) or error
    return StoreUnavailable(f"the store cannot be used: {type(original).__name__}: {str(original).strip() or 'no details'}")


def _unless_given(url: URL) -> dict[str, Any]:
    return {name: value for name, value in _NETWORK.items() if name not in url.query}


def _postgresql_engine(url: URL) -> Engine:
    if url.drivername == "postgresql":  # as providers give it; SQLAlchemy would look for another driver
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername != "postgresql+psycopg":
        raise OperatorError.one("store url", f"the driver {url.get_driver_name()} is not supported.", _FIX)
    try:
        engine = create_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True, connect_args=_unless_given(url))
    except ImportError as error:
        raise OperatorError.one(
            "store url", f"PostgreSQL's driver is missing: {error}.", "Install Sealroute as sealroute[postgresql]."
        ) from None

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise OperatorError.one("store", f"the database's encoding is {encoding}.", "Create it with ENCODING 'UTF8'.")
        connection.prepared_max = PREPARED
        connection.execute(_SESSION.format(lock=int(LOCK_WAIT_SECONDS * 1000)))
        connection.commit()

    return engine


def _sqlite_engine(path: Path) -> Engine:
    arguments = {
        "timeout": LOCK_WAIT_SECONDS,
        "isolation_level": None,
        "check_same_thread": False,
        "cached_statements": PREPARED,
    }
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=8, max_overflow=8, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def connected(connection: SqliteConnection, record: Any) -> None:
        connection.execute("PRAGMA page_size = 8192")  # of a new file; a typical message then takes two or three pages
        # SQLite does not wait by itself when two processes turn a new file's log on at the same moment.
        (mode,) = _when_unlocked(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
        if mode != "wal":
            raise OperatorError.one(
                str(path), f"SQLite cannot keep a write-ahead log here (it says {mode!r}).", "Use a local file system."
            )
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("sealroute_never_waits"):
            raw: Any = connection.connection.dbapi_connection
            _when_unlocked(lambda: raw.execute("BEGIN IMMEDIATE"))
        elif options.get("sealroute_write"):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection) -> None:
    """Take SQLite's write lock.

    SQLite's own waiting falls back to tenths of seconds, and a gateway under load leaves the lock free for far less than that:
    an administrator's command would wait for a lucky moment.
    """
    # Straight to the driver: three statements per commit through SQLAlchemy's execution cost more than the commit's rows.
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        _when_unlocked(lambda: raw.execute("BEGIN IMMEDIATE"))
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT_SECONDS * 1000)}")


def _when_unlocked(action: Callable[[], T]) -> T:
    """What the action returns, tried every millisecond or so while the database is locked."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return action()
        except (SqliteOperationalError, OperationalError) as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.0005, 0.0015))


def create_privately(path: Path) -> None:
    """Make the SQLite file, and its folder, if there is none; for its owner only: it holds mail.  Raises OperatorError."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _create_or_check(path)
    except OSError as error:
        raise OperatorError.one(
            str(path),
            f"the store's file cannot be opened: {error.strerror}.",
            "Create the folder and give this user the rights.",
        ) from None


def _create_or_check(path: Path) -> None:
    """An existing file is not opened: closing it would drop the locks this process holds on it through other connections
    (POSIX), another process would then take the log for unused and delete it under a reader that goes on with the old one.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "it is not a regular file") from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from None


class Readers:
    """A few threads in which asynchronous callers read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="store-reader")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, given a snapshot; raises StoreUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, work)

    def _work(self, work: Callable[[Connection], T]) -> T:
        with self._database.read() as connection:
            return work(connection)

    def close(self) -> None:
        self._threads.shutdown(wait=True)
