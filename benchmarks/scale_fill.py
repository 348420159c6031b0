"""Stores of a given size, filled row by row through the real schema, but past the gateway: a million messages in a minute.

A queue of N groups: nine of ten for one dead destination, due, and in front of the line; the tenth due behind them, for
a thousand others; besides 2,000 that a node held which is dead, and 100 on hold.  Each has its message of 2 KiB and its trace.

A trace of N rows: ten days in the order of time, whatever N is; ten rows for each recipient, five from each sender, but half of
all from one.  Of a hundred rows two are Failed and one is Pending, the others are Delivered.  The oldest tenth of a thousand
rows, or more, has events and attempts; the others' would be only more of the same in tables that no search looks at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, cast

from sealroute.base.times import to_us
from sealroute.services.ids import IdSource
from sealroute.store.engine import Database
from sealroute.store.statements import ATTEMPT, EVENT, GROUP, MESSAGE, TRACE
from sealroute.store.upgrade import ensure_schema

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SPAN = timedelta(days=10)
DEAD, OTHERS = "dead.example", 1_000
HELD, SUSPENDED = 2_000, 100
DEAD_NODE = "node-that-died"
BUSY_SENDER = "newsletter@fabrikam.example"
WITH_STORY = 10_000
"""Trace rows, the oldest, that have events and attempts."""
BLOCK = 5_000
Row = tuple[Any, ...]
Tell = Callable[[int], None]
_CONTENT = random.Random(1).randbytes(1536).hex().encode()[:2048]
_RECIPIENTS = '[{"a":"%s"}]'
_RECORD = '{"at":"2026-11-22T12:00:00Z","number":1,"domain":"%s","host":"mx.%s","replies":[%s]}'
_REPLIES = ",".join(f'["RCPT {number}","250 2.1.5 Recipient ok, and as much text as a peer says"]' for number in range(10))


def fill_queue(url: str, size: int, tell: Tell, now: datetime = NOW) -> None:
    """Make the store and queue so many groups in it, over the twenty hours before a moment."""
    with closing(_Loader(url)) as loader:
        for block in _blocks(_queue_rows(size, now)):
            loader.add("message", MESSAGE, [row[0] for row in block])
            loader.add("recipient_group", GROUP, [row[1] for row in block])
            loader.add("trace_message", TRACE, [row[2] for row in block])
            tell(len(block))
        loader.finish()


def _queue_rows(size: int, now: datetime) -> Iterator[tuple[Row, Row, Row]]:
    ids, start = IdSource(random.Random(size).randbytes), now - timedelta(hours=20)
    for number in range(size + HELD + SUSPENDED):
        dead = number % 10 != 0
        domain = DEAD if dead else f"d{number // 10 % OTHERS:04}.example"
        state, owner = ("active", DEAD_NODE) if number >= size + SUSPENDED else ("queued", None)
        if size <= number < size + SUSPENDED:
            state = "suspended"
        at = start + timedelta(milliseconds=60 * number)
        at_us, identity, address = to_us(at), ids(at), f"r{number}@{domain}"
        due_us = to_us(start) + number if dead else to_us(start) + size + number
        message = (
            identity, "default", f"s{number % 5000}@fabrikam.example",
            f'{{"recipients":{_RECIPIENTS % address},"mail":{{}}}}', False, False, at_us, "relay", "192.0.2.9",
            "mail.fabrikam.example", "", f"<{number}@fabrikam.example>", f"Invoice {number}", len(_CONTENT), _CONTENT,
        )  # fmt: skip
        group = (
            ids(at), identity, domain, _RECIPIENTS % address, state, owner, at_us, due_us, 3, False,
            '{"reason":"connect-failed","host":"mx.dead.example"}', "", "",
        )  # fmt: skip
        trace = (
            identity, address, address, message[2], message[2], message[12], "Pending", at_us, "192.0.2.9", "", message[11],
            len(_CONTENT), "Contoso",
        )  # fmt: skip
        yield message, group, trace


def fill_trace(url: str, size: int, tell: Tell) -> None:
    """Make the store and trace so many rows in it, the newest a moment before NOW."""
    with closing(_Loader(url)) as loader:
        loader.without_indexes("trace_message")
        for block in _blocks(_trace_rows(size)):
            loader.add("trace_message", TRACE, block)
            tell(len(block))
        for block in _blocks(islice(_trace_rows(size), WITH_STORY)):
            events = [(row[0], row[7], event, row[1], "Spooled.", "{}") for row in block for event in ("RECEIVE", "SEND")]
            loader.add("trace_event", EVENT, events)
            domain = "contoso.example"
            text = _RECORD % (domain, domain, _REPLIES)
            loader.add("attempt", ATTEMPT, [(row[0], domain, row[7], text, f"{row[7] % 500:064}") for row in block])
        evidence = [(f"{number:064}", '{"domain":"contoso.example"}', to_us(NOW - SPAN)) for number in range(500)]
        loader.add("evidence", ("digest", "text", "last_used_us"), evidence)
        loader.finish()


def recipient(number: int, size: int) -> str:
    """The recipient of a row: ten rows, spread over all the time, have the same."""
    return f"r{number % max(size // 10, 1)}@contoso.example"


def sender(number: int, size: int) -> str:
    return BUSY_SENDER if number % 2 else f"s{number // 2 % max(size // 10, 1)}@fabrikam.example"


def header_message_id(number: int) -> str:
    return f"<{number}.{number * 7919 % 100003}@fabrikam.example>"


def _trace_rows(size: int) -> Iterator[Row]:
    ids = IdSource(random.Random(size).randbytes)
    start, step = NOW - SPAN, SPAN / size
    statuses = ["Delivered"] * 97 + ["Failed", "Failed", "Pending"]
    for number in range(size):
        at = start + step * number
        to, by = recipient(number, size), sender(number, size)
        yield (
            ids(at), to, to, by, by, f"Your order {number} of November" if number % 3 else f"Re: minutes {number}",
            statuses[number * 37 % 100], to_us(at), "192.0.2.9", "198.51.100.25", header_message_id(number), 10_240, "Contoso",
        )  # fmt: skip


def _blocks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    waiting = iter(rows)
    while block := list(islice(waiting, BLOCK)):
        yield block


class _Loader:
    """A connection of the driver's own, in one transaction."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        ensure_schema(self._database)
        self._sqlite = self._database.path is not None
        self._pooled = self._database.engine.raw_connection()
        self._connection = cast(Any, self._pooled.driver_connection)
        self._indexes: list[str] = []
        if self._sqlite:
            for pragma in ("synchronous = OFF", "cache_size = -400000", "wal_autocheckpoint = 4096"):
                self._connection.execute(f"PRAGMA {pragma}")

    def without_indexes(self, table: str) -> None:
        """Until `finish`: sorting a column once is a tenth of the work of inserting into its index ten million times."""
        if self._sqlite:
            query = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = '{table}'"
        else:
            query = (
                "SELECT indexname, indexdef FROM pg_indexes "
                f"WHERE tablename = '{table}' AND indexname NOT LIKE 'pk%' AND schemaname = 'public'"
            )
        for name, sql in self._connection.execute(query).fetchall():
            self._connection.execute(f"DROP INDEX {name}")
            self._indexes.append(sql)

    def add(self, table: str, columns: tuple[str, ...], rows: list[Row]) -> None:
        names = ", ".join(f'"{column}"' for column in columns)
        if self._sqlite:
            self._connection.execute("BEGIN")
            self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", rows)
            self._connection.execute("COMMIT")
            return
        with self._connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        self._connection.commit()

    def finish(self) -> None:
        for sql in self._indexes:
            self._connection.execute(sql)
        if self._sqlite:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            self._connection.commit()
            self._connection.autocommit = True
            self._connection.execute("VACUUM ANALYZE")

    def close(self) -> None:
        self._pooled.close()
        self._database.close()
