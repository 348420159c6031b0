"""The statements of the hot path, and the order in which they are run: what is inserted, then changed, then deleted.

Each takes any number of rows at once, `VALUES (...), (...), ...`, because every step of a statement lets go of the interpreter
and may have to wait for the event loop to get it back.  They are SQL that SQLite and PostgreSQL read alike.  Every statement
that ends a group's active state names its owner: see the transitions in store/schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Table

from sealroute.store.schema import attempt, evidence, message, recipient_group, sts_policy, trace_event, trace_message

Row = tuple[Any, ...]

LARGEST = 64
"""Rows in one execution at most."""
EXACT = 24
"""Up to so many rows go in one execution, whatever their number; above it sizes are powers of two.  So a usual batch is one
execution per statement, and few enough texts are ever prepared that all of the hot path's stay prepared.
"""


class Statement:
    """One SQL statement for any number of rows; equal only to itself."""

    __slots__ = ("exact", "keyed", "rank", "sql", "width")

    def __init__(self, rank: int, width: int, sql: str, *, exact: bool = False, keyed: bool = False) -> None:
        """`sql` has `{rows}` where the rows go, each of `width` values; `exact`: every row must change one row; `keyed`: it
        inserts or replaces by the first value, of rows with the same the last counts.
        """
        self.rank = rank
        self.width = width
        self.sql = sql
        self.exact = exact
        self.keyed = keyed

    def __repr__(self) -> str:
        return f"<Statement {self.sql[:60]}...>"

    def run(self, cursor: Any, mark: str, rows: Sequence[Row]) -> int:
        """Run it for every row on a DBAPI cursor whose parameters are marked so; returns how many rows changed."""
        if self.keyed and len(rows) > 1:
            # PostgreSQL refuses to replace a row twice, and two nodes that took the same rows in another order would deadlock.
            rows = sorted({row[0]: row for row in rows}.values())
        changed, start, count = 0, 0, len(rows)
        while start < count:
            size = _size(count - start)
            values = list(chain.from_iterable(rows[start : start + size])) if size > 1 else rows[start]
            cursor.execute(_text(self, mark, size), values)
            changed += cursor.rowcount
            start += size
        return changed


def _size(left: int) -> int:
    return left if left <= EXACT else min(LARGEST, 1 << (left.bit_length() - 1))


@cache
def _text(statement: Statement, mark: str, size: int) -> str:
    row = f"({', '.join([mark] * statement.width)})"
    return statement.sql.replace("{rows}", ", ".join([row] * size))


def _insert(rank: int, table: Table, columns: Sequence[str], suffix: str = "") -> Statement:
    names = ", ".join(f'"{table.columns[name].name}"' for name in columns)
    return Statement(rank, len(columns), f"INSERT INTO {table.name} ({names}) VALUES {{rows}}{suffix}", keyed=bool(suffix))


def _given(*columns: str) -> str:
    """The rows as a table called `given`; not in a WITH: sqlite3 counts rows only when a statement begins with its verb."""
    names = ", ".join(f"column{number} AS {name}" for number, name in enumerate(columns, 1))
    return f"(SELECT {names} FROM (VALUES {{rows}}) AS given_row) AS given"


MESSAGE = (
    "id", "organization", "sender", "parameters", "require_tls", "tls_required_no", "received_us", "origin", "client_ip",
    "client_name", "user", "header_message_id", "subject", "size_bytes", "content",
)  # fmt: skip
GROUP = (
    "id", "message_id", "domain", "recipients", "state", "owner", "queued_us", "next_attempt_us", "attempts",
    "delay_notified", "last_finding", "last_host", "last_ip",
)  # fmt: skip
TRACE = (
    "message_id", "recipient", "recipient_key", "sender", "sender_key", "subject", "status", "received_us", "from_ip", "to_ip",
    "header_message_id", "size_bytes", "connector",
)  # fmt: skip
EVENT = ("message_id", "at_us", "event", "recipient", "description", "data")
DEFERRED = (
    "recipients", "next_attempt_us", "attempts", "delay_notified", "last_finding", "last_host", "last_ip", "id", "owner",
)  # fmt: skip
ATTEMPT = ("message_id", "domain", "at_us", "record", "evidence_digest")

INSERT_MESSAGE = _insert(10, message, MESSAGE)
INSERT_GROUP = _insert(11, recipient_group, GROUP)
INSERT_TRACE = _insert(12, trace_message, TRACE)
INSERT_EVENT = _insert(13, trace_event, EVENT)
INSERT_ATTEMPT = _insert(14, attempt, ATTEMPT)
PUT_EVIDENCE = _insert(
    15,
    evidence,
    ("digest", "text", "last_used_us"),
    " ON CONFLICT (digest) DO UPDATE SET last_used_us = excluded.last_used_us",
)
PUT_POLICY = _insert(
    16,
    sts_policy,
    ("domain", "policy_id", "text", "fetched_us", "expires_us", "checked_us"),
    """ ON CONFLICT (domain) DO UPDATE SET policy_id = excluded.policy_id, text = excluded.text,
        fetched_us = excluded.fetched_us, expires_us = excluded.expires_us, checked_us = excluded.checked_us""",
)

UPDATE_TRACE = Statement(
    20,
    5,
    f"""
    UPDATE trace_message SET status = given.status, to_ip = given.to_ip, connector = given.connector
    FROM {_given("status", "to_ip", "connector", "message_id", "recipient")}
    WHERE trace_message.message_id = given.message_id AND trace_message.recipient = given.recipient
    """,
)
DEFER_GROUP = Statement(
    21,
    9,
    f"""
    UPDATE recipient_group
    SET state = 'queued', owner = NULL, recipients = given.recipients, next_attempt_us = given.next_attempt_us,
        attempts = given.attempts, delay_notified = given.delay_notified, last_finding = given.last_finding,
        last_host = given.last_host, last_ip = given.last_ip
    FROM {_given(*DEFERRED)}
    WHERE recipient_group.id = given.id AND recipient_group.owner = given.owner
    """,
    exact=True,
)
"""active → queued: tried, and to be tried again."""

RELEASE_GROUP = Statement(
    22,
    3,
    f"""
    UPDATE recipient_group
    SET state = 'queued', owner = NULL,
        next_attempt_us = CASE WHEN given.earliest_us > next_attempt_us THEN given.earliest_us ELSE next_attempt_us END
    FROM {_given("earliest_us", "id", "owner")}
    WHERE recipient_group.id = given.id AND recipient_group.owner = given.owner
    """,
)
"""active → queued: given back unworked, not to be taken before a moment."""

DELETE_GROUP = Statement(
    30,
    2,
    f"DELETE FROM recipient_group WHERE (id, owner) IN (SELECT id, owner FROM {_given('id', 'owner')})",
    exact=True,
)
"""active → (deleted): nobody is left to deliver to.  With VALUES bare in the IN, SQLite looks through the whole queue."""

DELETE_MESSAGE = Statement(
    31,
    1,
    """
    DELETE FROM message
    WHERE id IN (VALUES {rows}) AND NOT EXISTS (SELECT 1 FROM recipient_group WHERE message_id = message.id)
    """,
)
"""The message goes with its last group."""

DELETE_POLICY = Statement(32, 1, "DELETE FROM sts_policy WHERE domain IN (VALUES {rows})")
