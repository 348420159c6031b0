"""Acceptance: what enters the queue, what is put on top, and what is refused; ids; checking passwords."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from argon2 import PasswordHasher

from sealroute.base.errors import SealrouteError
from sealroute.base.mail import Envelope, Message, Origin, Recipient
from sealroute.ports import Clock, Group, Queue, TraceEvent, Users
from sealroute.proto.smtp import headers
from sealroute.proto.smtp.session import (
    AuthAccepted,
    AuthOutcome,
    AuthRefused,
    AuthThrottled,
    AuthUnavailable,
    SessionFacts,
    client_key,
)
from sealroute.services.accept import Accept, AcceptConfig, Scheduler
from sealroute.services.authenticate import AuthConfig, Authenticator
from sealroute.services.ids import IdSource

NOW = datetime(2026, 11, 22, 1, 39, 36, 120000, tzinfo=UTC)
RELAYED = SessionFacts("192.0.2.7", Origin.RELAY, "default", "client.example.com")
SUBMITTED = SessionFacts(
    "2001:db8::7", Origin.SUBMISSION, "fabrikam", "[IPv6:2001:db8::7]", True, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "joe"
)
ONE = Envelope("a@example.com", (Recipient("b@example.net"),))
CONTENT = b"Date: Sun, 22 Nov 2026 01:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nSubject: Hello\r\n\r\nbody\r\n"


class Wall:
    def now(self) -> datetime:
        return NOW

    async def sleep_until(self, moment: datetime) -> None:
        raise AssertionError("acceptance does not sleep")


@dataclass
class World:
    """A queue and a scheduler that remember what they were told."""

    room: bool = True
    takes: bool = True
    broken: bool = False
    breaks_at_handover: bool = False
    added: list[tuple[Message, list[Group], list[TraceEvent], bool]] = field(default_factory=list)
    handed: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    async def add(self, message: Message, groups: Sequence[Group], events: Sequence[TraceEvent], *, active: bool) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise SealrouteError("disk full")
        self.added.append((message, list(groups), list(events), active))

    async def release(self, group_ids: Sequence[str]) -> None:
        if self.broken:
            raise SealrouteError("disk full")
        self.released += group_ids

    def has_room(self, groups: int, content_bytes: int) -> bool:
        assert groups >= 1
        assert content_bytes > 100
        return self.room

    def handover(self, message: Message, groups: Sequence[Group]) -> bool:
        assert self.added, "handed over before it was stored"
        self.handed += [group.domain for group in groups]
        self.broken = self.breaks_at_handover
        return self.takes

    def accept(self) -> Accept:
        octets = iter(range(1, 100))
        return Accept(
            AcceptConfig("gw.example.com"),
            cast(Queue, self),
            cast(Clock, Wall()),
            Scheduler(self.has_room, self.handover),
            IdSource(lambda count: b"".join(next(octets).to_bytes(8, "big") for _ in range(count // 8))),
        )


async def accepted(
    content: bytes = CONTENT, envelope: Envelope = ONE, facts: SessionFacts = RELAYED
) -> tuple[Message, list[Group], list[TraceEvent], bool]:
    world = World()
    reply = await world.accept()(envelope, content, facts)
    assert (reply.code, str(reply.enhanced)) == (250, "2.6.0")
    (entry,) = world.added
    assert reply.text == f"{entry[0].id} Queued"
    return entry


async def test_a_relayed_message() -> None:
    message, groups, events, active = await accepted()
    assert message.content == (
        b"Received: from client.example.com ([192.0.2.7])\r\n\tby gw.example.com with ESMTP\r\n\tid "
        + message.id.encode()
        + b"\r\n\tfor <b@example.net>;\r\n\tSun, 22 Nov 2026 01:39:36 +0000\r\n"
        + CONTENT
    )
    assert replace(message, content=b"") == Message(
        id=message.id,
        organization="default",
        envelope=ONE,
        content=b"",
        received_at=NOW,
        client_ip="192.0.2.7",
        client_name="client.example.com",
        header_message_id="<1@example.com>",
        subject="Hello",
    )
    (group,) = groups
    assert group == Group(group.id, message.id, "example.net", ONE.recipients, NOW, NOW)
    assert active
    assert message.crlf_only
    (event,) = events
    assert (event.event, event.at, event.message_id, event.recipient) == ("RECEIVE", NOW, message.id, "")
    assert event.description == "Received from client.example.com [192.0.2.7]"
    assert event.data == {
        "client_ip": "192.0.2.7",
        "helo": "client.example.com",
        "origin": "relay",
        "tls": "",
        "cipher": "",
        "user": "",
        "size_bytes": len(message.content),
        "recipients": 1,
    }


async def test_a_submitted_message_gets_what_it_lacks() -> None:
    envelope = Envelope("ä@example.com", (Recipient("b@example.net"), Recipient("c@example.org")), smtputf8=True)
    message, _, events, _ = await accepted(b"Subject: x\r\n\r\n", envelope, SUBMITTED)
    assert message.content.decode().splitlines() == [
        "Received: from [IPv6:2001:db8::7] ([IPv6:2001:db8::7])",
        "\tby gw.example.com with UTF8SMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)",
        f"\tid {message.id};",
        "\tSun, 22 Nov 2026 01:39:36 +0000",
        "Date: Sun, 22 Nov 2026 01:39:36 +0000",
        f"Message-ID: <{message.id}@gw.example.com>",
        "Subject: x",
        "",
    ]
    assert message.header_message_id == f"<{message.id}@gw.example.com>"
    assert (message.user, message.organization, message.origin) == ("joe", "fabrikam", Origin.SUBMISSION)
    assert events[0].description == "Received from [IPv6:2001:db8::7] [2001:db8::7] as joe over TLSv1.3"


async def test_submission_keeps_what_is_there() -> None:
    message, *_ = await accepted(facts=SUBMITTED)
    assert message.content.lower().count(b"\r\ndate:") == message.content.lower().count(b"\r\nmessage-id:") == 1
    assert message.content.endswith(CONTENT)


async def test_relay_adds_nothing_but_the_trace() -> None:
    message, *_ = await accepted(b"Subject: x\r\n\r\n")
    assert message.content.split(b"+0000\r\n", 1)[1] == b"Subject: x\r\n\r\n"
    assert message.header_message_id == ""


async def test_one_group_for_each_domain_and_one_copy_for_each_address() -> None:
    recipients = tuple(
        Recipient(text)
        for text in ("a@Example.NET", "b@example.net", "c@bücher.example", "a@Example.NET", "d@[192.0.2.1]", "A@example.net")
    )
    _, groups, *_ = await accepted(envelope=Envelope("", recipients))
    assert {group.domain: [r.address for r in group.recipients] for group in groups} == {
        "example.net": ["a@Example.NET", "b@example.net", "A@example.net"],
        "xn--bcher-kva.example": ["c@bücher.example"],
        "[192.0.2.1]": ["d@[192.0.2.1]"],
    }
    assert len({group.id for group in groups}) == 3


@pytest.mark.parametrize(("hops", "code"), [(19, 250), (20, 554), (21, 554)])
async def test_routing_loop(hops: int, code: int) -> None:
    world = World()
    content = b"RECEIVED: from x\r\n\tReceived: folded\r\n" + b"Received: from y\r\n" * (hops - 1) + b"\r\nReceived: body\r\n"
    reply = await world.accept()(ONE, content, RELAYED)
    assert reply.code == code
    if code == 554:
        assert str(reply) == "554 5.4.14 Routing loop detected: the message has passed too many servers"
        assert world.added == []


async def test_a_head_too_large_to_be_read() -> None:
    reply = await World().accept()(ONE, b"X: " + b"x" * headers.MAX_HEAD_OCTETS + b"\r\n", RELAYED)
    assert str(reply) == "552 5.3.4 The message's header has more than 262144 octets"


async def test_a_store_that_fails() -> None:
    world = World(broken=True)
    reply = await world.accept()(ONE, CONTENT, RELAYED)
    assert str(reply) == "451 4.3.0 The message could not be stored; try again later"
    assert world.handed == []


async def test_without_room_the_message_waits_in_the_queue() -> None:
    world = World(room=False)
    assert (await world.accept()(ONE, CONTENT, RELAYED)).code == 250
    assert (world.added[0][3], world.handed) == (False, [])


@pytest.mark.parametrize("broken", [False, True])
async def test_a_scheduler_that_declines_after_all(broken: bool) -> None:
    world = World(takes=False, breaks_at_handover=broken)
    assert (await world.accept()(ONE, CONTENT, RELAYED)).code == 250
    assert world.released == ([] if broken else [world.added[0][1][0].id])


# ----------------------------------------------------------------------------------------------------------------- head

HEADS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "nothing": (b"", {}),
    "no head": (b"\r\nSubject: x\r\n", {}),
    "no body": (b"Subject: x\r\n", {"subject": "x"}),
    "folded": (b"Subject: a\r\n b\r\n\tc\r\nX: y\r\n\r\n", {"subject": "a b c"}),
    "folded to the end": (b"Subject: a\r\n b\r\n\r\n", {"subject": "a b"}),
    "encoded": (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?b?5A==?=\r\n\r\n", {"subject": "Grüßeä"}),
    "unknown charset": (b"Subject: =?x-none?q?a=E4?=\r\n\r\n", {"subject": "aä"}),
    "bad base64": (b"Subject: =?utf-8?b?a?=\r\n\r\n", {"subject": "=?utf-8?b?a?="}),
    "controls": (b"Subject: a\x07\x1b[31mb\r\n\r\n", {"subject": "a [31mb"}),
    "encoded line ends": (b"Subject: =?utf-8?q?a=0D=0ABcc:_x?=\r\n\r\n", {"subject": "a Bcc: x"}),
    "bounded": (b"Subject: " + b"x" * 9000 + b"\r\n\r\n", {"subject": "x" * 256}),
    "any case": (b"mEsSaGe-Id:<1@x>\r\nDATE: now\r\n\r\n", {"message_id": "<1@x>", "has_date": True}),
    "body is not looked at": (b"A: b\r\n\r\nSubject: x\r\nTLS-Required: No\r\n", {}),
    "tls-required": (b"TLS-Required:  no \r\n\r\n", {"tls_required_no": True}),
    "tls-required folded": (b"TLS-Required:\r\n No\r\n\r\n", {"tls_required_no": True}),
    "tls-required yes": (b"TLS-Required: Yes\r\n\r\n", {}),
    "tls-required twice": (b"TLS-Required: No\r\nTLS-Required: No\r\n\r\n", {}),
    "tls-required no more": (b"TLS-Required: Nope\r\n\r\n", {}),
    "not in a longer name": (b"X-Subject: x\r\nX-TLS-Required: No\r\n\r\n", {}),
    "hops": (b"Received: a\r\nX: b\r\nreceived: c\r\n\r\n", {"hops": 2}),
    "no field at all": (b"hello world\r\nSubject: x\r\n", {"begins_with_field": False, "subject": "x"}),
    "obsolete blank": (b"Subject : x\r\n\r\n", {}),
}


@pytest.mark.parametrize("name", HEADS)
def test_head(name: str) -> None:
    content, facts = HEADS[name]
    assert headers.scan(content) == headers.Head(**facts)


async def test_requiretls_outweighs_the_header() -> None:
    content = b"TLS-Required: No\r\n\r\n"
    assert (await accepted(content))[0].tls_required_no
    assert not (await accepted(content, replace(ONE, require_tls=True)))[0].tls_required_no


async def test_a_message_without_header_keeps_its_first_line_in_the_body() -> None:
    message, *_ = await accepted(b"hello world\r\n")
    assert message.content.endswith(b"+0000\r\n\r\nhello world\r\n")


@pytest.mark.parametrize(
    ("facts", "utf8", "word"),
    [
        (replace(RELAYED, esmtp=False), False, "SMTP"),
        (RELAYED, False, "ESMTP"),
        (replace(RELAYED, tls_version="TLSv1.2"), False, "ESMTPS"),
        (replace(RELAYED, user="joe"), False, "ESMTPA"),
        (SUBMITTED, False, "ESMTPSA"),
        (RELAYED, True, "UTF8SMTP"),
        (SUBMITTED, True, "UTF8SMTPSA"),
    ],
)
def test_transmission_type(facts: SessionFacts, utf8: bool, word: str) -> None:
    assert headers.transmission(facts, utf8) == word


# ------------------------------------------------------------------------------------------------------------------ ids


def test_ids_are_version_7_and_sort_by_time() -> None:
    ids = IdSource()
    made = [ids(NOW + timedelta(microseconds=step)) for step in range(0, 5000, 7)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    parsed = uuid.UUID(made[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == int(NOW.timestamp() * 1000)


# ------------------------------------------------------------------------------------------------------------- passwords

FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Directory:
    hashes: dict[str, str]
    broken: bool = False
    asked: int = 0

    def hash_of(self, name: str) -> str | None:
        self.asked += 1
        if self.broken:
            raise SealrouteError("no database")
        return self.hashes.get(name)

    def organization_of(self, name: str) -> str | None:
        return "fabrikam" if name in self.hashes else None


@dataclass
class Door:
    """An authenticator with a clock that stands still unless moved."""

    config: AuthConfig = field(default_factory=AuthConfig)
    time: float = 1000.0

    def __post_init__(self) -> None:
        self.users = Directory({"joe": FAST.hash("secret"), "odd": "not a hash"})
        self.check = Authenticator(cast(Users, self.users), self.config, FAST, lambda: self.time)

    async def knock(self, user: str, password: str, ip: str = "192.0.2.7") -> AuthOutcome:
        return await self.check(user, password, ip)


@pytest.mark.parametrize(
    ("user", "password", "outcome"),
    [
        ("joe", "secret", AuthAccepted("joe", "fabrikam")),
        ("joe", "wrong", AuthRefused()),
        ("joe", "", AuthRefused()),
        ("ann", "secret", AuthRefused()),
        ("ann", "nobody's password", AuthRefused()),
        ("odd", "secret", AuthRefused()),
    ],
)
async def test_password(user: str, password: str, outcome: AuthOutcome) -> None:
    door = Door()
    assert await door.knock(user, password) == outcome
    door.check.close()


async def test_an_unknown_user_costs_one_check_too(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    checks: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, kept: str, given: str) -> bool:
        checks.append(given)
        return verify(self, kept, given)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    await door.knock("ann", "guess")
    await door.knock("joe", "guess")
    assert checks == ["guess", "guess"]


async def test_guessing_is_slowed_for_this_client_only() -> None:
    door = Door(AuthConfig(free_failures=3, max_delay_seconds=5))
    for _ in range(3):
        assert await door.knock("joe", "wrong") == AuthRefused()
    asked = door.users.asked
    assert await door.knock("joe", "secret") == AuthThrottled(2)
    assert door.users.asked == asked
    assert await door.knock("joe", "wrong", "192.0.2.8") == AuthRefused()
    door.time += 1
    assert await door.knock("joe", "wrong") == AuthRefused()
    assert await door.knock("joe", "wrong") == AuthThrottled(3)
    door.time += 2
    assert await door.knock("joe", "wrong") == AuthRefused()
    door.time += 4
    assert await door.knock("joe", "wrong") == AuthRefused()
    assert await door.knock("joe", "wrong") == AuthThrottled(6)
    door.time += 5
    assert await door.knock("joe", "secret") == AuthAccepted("joe", "fabrikam")
    assert await door.knock("joe", "wrong") == AuthRefused()


async def test_failures_are_forgotten_in_time() -> None:
    door = Door(AuthConfig(free_failures=1))
    await door.knock("joe", "wrong")
    door.time += 4000
    await door.knock("joe", "wrong")
    assert await door.knock("joe", "wrong") == AuthThrottled(2)


async def test_one_ipv6_network_is_one_client() -> None:
    door = Door(AuthConfig(free_failures=1))
    await door.knock("joe", "wrong", "2001:db8::1")
    assert isinstance(await door.knock("joe", "secret", "2001:db8::ffff"), AuthThrottled)
    assert client_key("2001:db8:0:1::1") != client_key("2001:db8::1")


async def test_too_many_checks_at_once_are_not_begun() -> None:
    door = Door(AuthConfig(concurrency=1, waiting=1))
    outcomes = await asyncio.gather(*(door.knock("joe", "secret") for _ in range(3)))
    assert outcomes.count(AuthUnavailable()) == 1
    assert outcomes.count(AuthAccepted("joe", "fabrikam")) == 2


async def test_a_user_store_that_fails_leaves_no_password_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    door = Door()
    door.users.broken = True
    assert await door.knock("joe", "correct horse") == AuthUnavailable()
    printed = capsys.readouterr()
    assert "password not checked" in printed.out + printed.err
    assert "correct horse" not in printed.out + printed.err
