"""Stores, messages and runs for the store's tests: one plain scenario, from which each test takes one difference."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from sealroute.base.mail import BodyType, Envelope, Message, Notify, Origin, Recipient, Ret
from sealroute.base.status import Enhanced, Reply
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.evidence import Evidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding, Reason
from sealroute.ports import Group, Settled, TraceEvent
from sealroute.store.engine import Database
from sealroute.store.store import Store
from sealroute.store.upgrade import ensure_schema

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OK = Reply(250, ("queued",), Enhanced(2, 0, 0))
LATER = Finding(Reason.TLSA_INVALID, "no record matches", "mx.contoso.com", "contoso.com", "192.0.2.25", Enhanced(4, 7, 1), 451)
EVIDENCE = Evidence("contoso.com", (), (), NOW, 300)
_numbers = count(1)


class Server(Protocol):
    """A database server, as tests/real/postgres has one."""

    def database(self) -> str: ...
    def url(self, database: str) -> str: ...
    def connect(self, database: str) -> Any: ...


@dataclass
class Where:
    """Where stores are made: in files, or on a server, one database for each folder."""

    server: Server | None = None
    databases: dict[Path, str] = field(default_factory=dict)

    def database(self, folder: Path) -> str:
        assert self.server is not None
        if folder not in self.databases:
            self.databases[folder] = self.server.database()
        return self.databases[folder]


where = Where()


@cache
def _template() -> Path:
    """An empty store, made once: migrations take a while."""
    path = Path(tempfile.mkdtemp(prefix="sealroute-test-")) / "template.db"
    database = Database(f"sqlite:///{path}")
    ensure_schema(database)
    database.close()
    return path


def url_in(folder: Path) -> str:
    """The URL of the folder's store; the first time it is new and empty."""
    if where.server is not None:
        return where.server.url(where.database(folder))
    path = folder / "sealroute.db"
    if not path.exists():
        shutil.copy(_template(), path)
    return f"sqlite:///{path}"


@contextmanager
def peek(folder: Path) -> Iterator[Any]:
    """The database itself, to look at and to disturb: a connection of the driver's."""
    if where.server is not None:
        connection = where.server.connect(where.database(folder))
    else:
        connection = sqlite3.connect(folder / "sealroute.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps every writer of `sts_policy` waiting."""
    with peek(folder) as other:
        if where.server is None:
            other.execute("BEGIN IMMEDIATE")
        else:
            other.execute("BEGIN")
            other.execute("LOCK TABLE sts_policy IN EXCLUSIVE MODE")
        yield
        other.execute("COMMIT")


def rows(folder: Path, sql: str) -> list[Any]:
    """What a query says; single columns bare."""
    with peek(folder) as connection:
        cursor = connection.execute(sql)
        found = cursor.fetchall() if cursor.description else []
    return [row[0] if len(row) == 1 else row for row in found]


def counted(folder: Path) -> dict[str, int]:
    """How many rows the queue's tables have."""
    return {table: rows(folder, f"SELECT count(*) FROM {table}")[0] for table in ("message", "recipient_group")}


def identity(prefix: str) -> str:
    """An id, ordered by time of asking."""
    return f"{prefix}-{next(_numbers):08d}"


def message_to(*recipients: str, content: bytes = b"Subject: Hello\r\n\r\nHello\r\n", **changes: Any) -> Message:
    envelope = Envelope("anna@fabrikam.com", tuple(Recipient(address) for address in recipients))
    plain = Message(
        id=identity("message"),
        organization="default",
        envelope=envelope,
        content=content,
        received_at=NOW,
        client_ip="192.0.2.9",
        client_name="mail.fabrikam.com",
        header_message_id="<1@fabrikam.com>",
        subject="Hello",
    )
    return replace(plain, **changes)


def full_message() -> Message:
    """A message with everything that can be said about one."""
    recipients = (
        Recipient("Bob.O'Hara@contoso.com", Notify.SUCCESS | Notify.DELAY, "rfc822;bob+x@contoso.com"),
        Recipient("jürgen@contoso.com", Notify.NEVER),
        Recipient("carol@contoso.com"),
    )
    envelope = Envelope("ännchen@fabrikam.com", recipients, BodyType.EIGHT_BIT, True, Ret.HDRS, "id 7", True)
    return message_to(
        content=bytes(range(256)) * 5,
        envelope=envelope,
        origin=Origin.SUBMISSION,
        user="anna",
        subject="Grüße",
        tls_required_no=True,
        received_at=NOW + timedelta(microseconds=1),
    )


def group_of(message: Message, domain: str = "contoso.com", **changes: Any) -> Group:
    recipients = tuple(item for item in message.envelope.recipients if item.address.endswith("@" + domain))
    return replace(Group(identity("group"), message.id, domain, recipients, NOW, NOW), **changes)


def run_of(group: Group, *, at: datetime = NOW, number: int = 1, **fates: Fate) -> Settled:
    """A run: each named recipient's fate; tried again in a quarter of an hour when someone is left."""
    decided = tuple(
        RecipientFate(item.address, fate, OK if fate is Fate.DELIVERED else None, None if fate is Fate.DELIVERED else LATER)
        for item in group.recipients
        for name, fate in fates.items()
        if item.address.startswith(name + "@")
    )
    done = {fate.address for fate in decided if fate.fate is not Fate.DEFERRED}
    left = [item for item in group.recipients if item.address not in done]
    attempt = Attempt(
        at=at,
        number=number,
        connector_guid="00000000-0000-0000-0000-000000000001",
        connector_name="Contoso",
        smtp_dane_mode=SmtpDaneMode.MANDATORY,
        mta_sts_mode=MtaStsMode.OPPORTUNISTIC,
        domain=group.domain,
        rows=("dane-usable",),
        finding=LATER if left else None,
        host="mx.contoso.com",
        ip="192.0.2.25",
        evidence=EVIDENCE,
        replies=(("MAIL", OK),),
        recipients=decided,
    )
    return Settled(
        group=group,
        fates=decided,
        attempts=(attempt,),
        events=tuple(TraceEvent(group.message_id, at, "SEND", fate.address, fate.fate.value) for fate in decided),
        next_attempt_at=at + timedelta(minutes=15) if left else None,
        finding=LATER if left else None,
    )


async def accept(store: Store, *recipients: str, active: bool = True, **changes: Any) -> tuple[Message, Group]:
    """One message for one domain, taken in."""
    message = message_to(*(recipients or ("bob@contoso.com",)), **changes)
    group = group_of(message)
    await store.queue.add(message, [group], received(message), active=active)
    return message, group


def received(message: Message) -> Sequence[TraceEvent]:
    return [TraceEvent(message.id, message.received_at, "RECEIVE", "", "Accepted.", {"ip": message.client_ip})]
