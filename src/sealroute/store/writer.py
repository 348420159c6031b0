"""The one writer of a gateway process: a thread that commits together whatever was handed in since its last commit.

A commit costs a disk flush whether it holds one message or a hundred, so callers never commit for themselves: they hand in a
Job and wait.  Rules:

* A job is applied as a whole or not at all, and its caller hears of it only after the commit.
* Rows of many jobs go into few statements, in the order of the statements' ranks; then the jobs that are calls.
  A job may therefore not rely on another job that was handed in while it waited, except that rows precede calls.
* A statement that is `exact` must change one row for each of its parameter rows.  When it does not (the lease was lost), the
  job's `otherwise` rows are applied instead of its rows.
* When a batch fails because of one job, each job is run by itself, and only the guilty one fails.  When the database itself
  fails (disk full, locked, gone), all fail at once with StoreUnavailable; the next batch begins afresh.
* The backlog is bounded in jobs and bytes; who comes later waits for room.
* The thread gets one batch at a time, at the end of a turn of the event loop, and the loop hears of it once: two threads that
  take the interpreter from each other for every job cost more than the job.  A patient job does not begin a batch by itself
  before PATIENCE_SECONDS are over; it rides with whoever comes.

Elsewhere: the statements are in store/statements.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from sealroute.base.errors import StoreUnavailable
from sealroute.store.engine import Database, unavailable
from sealroute.store.statements import Row, Statement

MAX_BACKLOG_JOBS = 4096
MAX_BACKLOG_BYTES = 64 << 20
MAX_BATCH_JOBS = 512
MAX_BATCH_BYTES = 16 << 20
PATIENCE_SECONDS = 0.02
THREAD_NAME = "store-writer"
_ANOTHER_WON = ("40001", "40P01")
"""PostgreSQL: serialization failure, deadlock.  Each job by itself takes fewer locks, and will pass."""

Rows = Sequence[tuple[Statement, Sequence[Row]]]


@dataclass(eq=False, slots=True)
class Job:
    """One unit of work."""

    rows: Rows = ()
    otherwise: Rows | None = None
    """What is applied when an exact statement missed; None: nothing, the job fails."""
    call: Callable[[Connection], Any] | None = None
    size_bytes: int = 0
    mend: bool = False
    """Characters that the database refuses in a text (lone surrogates, NUL) may be replaced: better than never recorded."""
    patient: bool = False
    """May wait PATIENCE_SECONDS for company: nobody outside waits for it."""
    abandoned: Callable[[Any], None] | None = None
    """Called in the event loop with the outcome when it is committed and its caller was cancelled meanwhile."""
    future: asyncio.Future[Any] | None = field(default=None, repr=False)
    outcome: Any = None
    error: Exception | None = None


class _Missed(Exception):
    """An exact statement did not find its row."""


class Writer:
    """The writing thread and its queue; one event loop uses it.  The thread starts with the first job."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._pending: deque[Job] = deque()
        """Handed in, and not yet with the thread."""
        self._committing = False
        self._hand_over_due = False
        self._patience: asyncio.TimerHandle | None = None
        self._backlog_jobs = 0
        self._backlog_bytes = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.turns: AbstractContextManager[None] = nullcontext()
        """Whose turn it is among several workers on one SQLite file."""
        self.commits = 0
        """How many transactions were committed so far."""
        self.changes = 0
        """How many jobs they carried."""

    def __repr__(self) -> str:
        return f"<Writer {'closed' if self._closed else 'open'}, {self._backlog_jobs} jobs waiting, {self.commits} commits>"

    async def submit(self, job: Job) -> asyncio.Future[Any]:
        """Hand a job in, waiting for room; the future ends after its commit, or with StoreUnavailable."""
        while self._backlog_jobs and (
            self._backlog_jobs >= MAX_BACKLOG_JOBS or self._backlog_bytes + job.size_bytes > MAX_BACKLOG_BYTES
        ):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return self.submit_now(job)

    def submit_now(self, job: Job) -> asyncio.Future[Any]:
        """Hand a job in without waiting for room: for small jobs that make room."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()
        assert self._loop is not None
        job.future = self._loop.create_future()
        self._backlog_jobs += 1
        self._backlog_bytes += job.size_bytes
        self._pending.append(job)
        if not self._committing:
            self._hand_over_soon(patient=job.patient)
        return job.future

    async def run(self, job: Job) -> Any:
        """Hand a job in and wait for its commit.  Cancelling the caller does not take the job back: see `abandoned`."""
        return await (await self.submit(job))

    async def close(self) -> None:
        """Commit what was handed in, then stop."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            while self._pending:
                self._batches.put(self._next_batch())
            self._batches.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
            await asyncio.sleep(0)  # lets the last results, already handed to the loop, arrive

    # ------------------------------------------------------------------------------------------- in the event loop

    def _hand_over_soon(self, *, patient: bool) -> None:
        """At the end of this turn of the loop, so that what else happens in it comes along; or when patience ends."""
        assert self._loop is not None
        if not patient:
            if not self._hand_over_due:
                self._hand_over_due = True
                self._loop.call_soon(self._hand_over)
        elif self._patience is None:
            self._patience = self._loop.call_later(PATIENCE_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        self._hand_over_due = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._pending and not self._committing:
            self._committing = True
            self._batches.put(self._next_batch())

    def _next_batch(self) -> list[Job]:
        batch: list[Job] = []
        size = 0
        while self._pending and len(batch) < MAX_BATCH_JOBS and size < MAX_BATCH_BYTES:
            job = self._pending.popleft()
            batch.append(job)
            size += job.size_bytes
        return batch

    def _deliver(self, jobs: list[Job]) -> None:
        self._committing = False
        if self._pending:
            self._hand_over_soon(patient=all(job.patient for job in self._pending))
        for job in jobs:
            self._backlog_jobs -= 1
            self._backlog_bytes -= job.size_bytes
            future = job.future
            assert future is not None
            if future.cancelled():
                if job.error is None and job.abandoned is not None:
                    job.abandoned(job.outcome)
            elif job.error is not None:
                future.set_exception(job.error)
                future.exception()  # looked at: nobody may be waiting any more
            else:
                future.set_result(job.outcome)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    # ----------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while (jobs := self._batches.get()) is not None:
            self._apply(jobs)
            with suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._deliver, jobs)
        self._disconnect()

    def _apply(self, jobs: list[Job]) -> None:
        """Run the jobs in one transaction, or one by one when that fails; never raises."""
        try:
            self._transact(jobs)
        except Exception as error:
            if self._whole_database(error):
                for job in jobs:
                    job.error = unavailable(error)
            else:
                self._apply_each(jobs)

    def _apply_each(self, jobs: list[Job]) -> None:
        for position, job in enumerate(jobs):
            try:
                self._apply_one(job)
            except Exception as error:
                job.error = unavailable(error)
                if self._whole_database(error):
                    for later in jobs[position + 1 :]:
                        later.error = job.error
                    return

    def _apply_one(self, job: Job) -> None:
        try:
            self._transact([job])
        except _Missed:
            if job.otherwise is None:
                raise
            self._apply_one(Job(job.otherwise, mend=job.mend))
        except (UnicodeEncodeError, self._database.errors.DataError):
            if not job.mend:
                raise
            otherwise = None if job.otherwise is None else _mended(job.otherwise)
            self._apply_one(Job(_mended(job.rows), otherwise))

    def _transact(self, jobs: list[Job]) -> None:
        merged: dict[Statement, list[Row]] = {}
        for job in jobs:
            for statement, rows in job.rows:
                if statement in merged:
                    merged[statement].extend(rows)
                else:
                    merged[statement] = list(rows)
        try:
            if self._connection is None:
                self._connection = self._database.kept_writer_connection()
            connection = self._connection
            with self.turns, connection.begin():
                cursor = connection.connection.cursor()
                for statement in sorted(merged, key=_rank):
                    rows = merged[statement]
                    if rows and statement.run(cursor, self._database.mark, rows) != len(rows) and statement.exact:
                        raise _Missed
                for job in jobs:
                    if job.call is not None:
                        job.outcome = job.call(connection)
            self.commits += 1
            self.changes += len(jobs)
        except (DBAPIError, self._database.errors.Error):
            self._disconnect()
            raise

    def _whole_database(self, error: Exception) -> bool:
        """True when no job of the batch can be to blame."""
        if getattr(getattr(error, "orig", error), "sqlstate", None) in _ANOTHER_WON:
            return False
        if isinstance(error, DBAPIError):
            return isinstance(error, OperationalError) or error.connection_invalidated
        return isinstance(error, self._database.errors.OperationalError)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _mended(rows: Rows) -> Rows:
    return [(statement, [tuple(map(_mended_value, row)) for row in given]) for statement, given in rows]


def _mended_value(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd") if isinstance(value, str) else value


def _rank(statement: Statement) -> int:
    return statement.rank
