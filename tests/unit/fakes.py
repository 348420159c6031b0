"""A small world in memory: DNS, mail servers, a queue and a clock that behave like the real ones, without any I/O.

Each does what its port promises and nothing else; tests say what is different about one of them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.base.errors import StoreUnavailable
from sealroute.base.mail import Envelope, Message, Recipient
from sealroute.base.status import Enhanced, Reply
from sealroute.policy.attempt import Fate, RecipientFate
from sealroute.policy.evidence import StsEvidence, StsSource
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import HandshakeFacts
from sealroute.ports import (
    DialFailed,
    DialTarget,
    Group,
    GroupState,
    Session,
    Settled,
    TraceEvent,
    Transaction,
    TransactionResult,
)
from sealroute.proto.mtasts.policy import StsPolicy
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GOOD_CERTIFICATE, OTHER_CERTIFICATE = b"good", b"other"
GOOD_TLSA = Tlsa(3, 0, 1, hashlib.sha256(GOOD_CERTIFICATE).digest())


async def turns(count: int = 20) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


class FakeClock:
    """Time that stands still until a test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    async def sleep_until(self, moment: datetime) -> None:
        while self._now < moment:
            await self._moved.wait()

    def advance(self, **step: float) -> None:
        self.set(self._now + timedelta(**step))

    def set(self, moment: datetime) -> None:
        self._now = moment
        self._moved.set()
        self._moved = asyncio.Event()


# ----------------------------------------------------------------------------------------------------------------- DNS


class FakeResolver:
    """Zones as a dictionary; what is not in it does not exist, proven by DNSSEC."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answer[Any]] = {}
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None
        """When set, answers wait for it."""

    async def _ask(self, rtype: str, name: str) -> Answer[Any]:
        self.asked.append(f"{rtype} {name}")
        if self.gate is not None:
            await self.gate.wait()
        known = self.answers.get((rtype, name))
        if known is not None:
            return known
        exists = any(other == name for _, other in self.answers)
        outcome = Outcome.NODATA if exists else Outcome.NXDOMAIN
        return Answer(name, rtype, outcome, Security.SECURE, (), 300)

    async def mx(self, name: str) -> Answer[Mx]:
        return await self._ask("MX", name)

    async def a(self, name: str) -> Answer[str]:
        return await self._ask("A", name)

    async def aaaa(self, name: str) -> Answer[str]:
        return await self._ask("AAAA", name)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._ask("TLSA", name)

    async def txt(self, name: str) -> Answer[str]:
        return await self._ask("TXT", name)

    async def close(self) -> None:
        return None

    # ------------------------------------------------------------------------------------------------ filling zones

    def has(self, rtype: str, name: str, *records: Any, security: Security = Security.SECURE, ttl: int = 300) -> None:
        self.answers[rtype, name] = Answer(name, rtype, Outcome.DATA, security, records, ttl)

    def none(self, rtype: str, name: str, *, security: Security = Security.SECURE, nxdomain: bool = False) -> None:
        outcome = Outcome.NXDOMAIN if nxdomain else Outcome.NODATA
        self.answers[rtype, name] = Answer(name, rtype, outcome, security, (), 300)

    def fails(self, rtype: str, name: str, security: Security = Security.UNKNOWN, detail: str = "SERVFAIL") -> None:
        self.answers[rtype, name] = Answer(name, rtype, Outcome.FAILED, security, detail=detail)

    def host(self, name: str, *ips: str, tlsa: Sequence[Tlsa] = (), security: Security = Security.SECURE) -> None:
        """A mail host: its addresses of either family, and its TLSA records."""
        for rtype, mine in (("A", [ip for ip in ips if ":" not in ip]), ("AAAA", [ip for ip in ips if ":" in ip])):
            if mine:
                self.has(rtype, name, *mine, security=security)
            else:
                self.none(rtype, name, security=security)
        if tlsa:
            self.has("TLSA", f"_25._tcp.{name}", *tlsa)


class FakeStsPolicies:
    """MTA-STS by domain: evidence, or an error to raise; a domain without either has no policy."""

    def __init__(self) -> None:
        self.known: dict[str, StsEvidence | Exception] = {}
        self.asked: list[tuple[str, bool]] = []

    async def evidence(self, domain: str, *, recheck: bool = False) -> StsEvidence:
        self.asked.append((domain, recheck))
        known = self.known.get(domain)
        if isinstance(known, Exception):
            raise known
        txt: Answer[str] = Answer(f"_mta-sts.{domain}", "TXT", Outcome.NXDOMAIN, Security.SECURE, (), 300)
        return known or StsEvidence(domain, txt, StsTxt(TxtStatus.NONE), None)

    def has(self, domain: str, policy: StsPolicy) -> None:
        txt = Answer(f"_mta-sts.{domain}", "TXT", Outcome.DATA, Security.INSECURE, ("v=STSv1; id=1;",), 300)
        self.known[domain] = StsEvidence(domain, txt, StsTxt(TxtStatus.OK, "1"), policy, StsSource.CACHED, "1")


# -------------------------------------------------------------------------------------------------------- mail servers

GREETING = ("(connect)", Reply(220, ("mx ESMTP",)))
ACCEPTED = Reply(250, ("Queued",), Enhanced(2, 6, 0))
OK = Reply(250, ("OK",))
TLS = HandshakeFacts(NOW, True, Reply(220), tls_version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", chain=(GOOD_CERTIFICATE,))
OTHER_TLS = replace(TLS, chain=(OTHER_CERTIFICATE,))
NO_STARTTLS = HandshakeFacts(NOW)
BROKEN_TLS = HandshakeFacts(NOW, True, Reply(220), "no shared cipher")


def reply(text: str) -> Reply:
    """`450 4.2.0 Greylisted` as a Reply."""
    code, _, rest = text.partition(" ")
    word, _, tail = rest.partition(" ")
    enhanced = Enhanced.parse(word)
    return Reply(int(code), (tail if enhanced else rest,), enhanced)


@dataclass
class Peer:
    """One mail server as it behaves at one address."""

    facts: HandshakeFacts = TLS
    unreachable: Reason | None = None
    greeting: str = ""
    """A greeting other than 220."""
    mail: str = ""
    rcpt: Mapping[str, str] = field(default_factory=dict)
    """Replies by recipient, `*` for all others; the rest are accepted."""
    content: str = ""
    lacks: Reason | None = None
    """A feature the message needs and the server does not offer."""
    dsn: bool = True
    lost: str = ""
    """`idle`: kept sessions are dead at their next use; `once`: the first transaction breaks; `421`: goodbye instead of dying."""
    gate: asyncio.Event | None = None
    """When set, transactions wait for it."""
    explodes: bool = False

    def session(self, target: DialTarget) -> FakeSession | DialFailed:
        if self.unreachable is not None:
            return DialFailed(Finding(self.unreachable, host=target.host, ip=target.ip))
        if self.greeting:
            said = reply(self.greeting)
            reason = Reason.HOST_REJECTED if said.permanent else Reason.TRY_LATER
            why = Finding(reason, str(said), target.host, ip=target.ip, code=said.enhanced, basic=said.code)
            return DialFailed(why, (("(connect)", said),), 1.0)
        facts = self.facts if target.starttls else replace(NO_STARTTLS, starttls_offered=self.facts.starttls_offered)
        return FakeSession(self, target, facts)


class FakeSession:
    """ports.Session."""

    def __init__(self, peer: Peer, target: DialTarget, facts: HandshakeFacts) -> None:
        self.peer = peer
        self.target = target
        self.facts = facts
        self.replies: tuple[tuple[str, Reply], ...] = (GREETING,)
        self.connect_ms = 1.0
        self.tls_ms: float | None = 2.0 if facts.encrypted else None
        self.usable = not facts.handshake_error
        self.closed = False
        self.sent: list[Transaction] = []

    async def greet(self) -> Finding | None:
        assert self.usable
        self.replies += (("EHLO gateway.test", OK),)
        return (
            Finding(Reason.HOST_REJECTED, "554 no", self.target.host, ip=self.target.ip) if self.peer.lost == "ehlo" else None
        )

    async def transact(self, transaction: Transaction) -> TransactionResult:
        assert self.usable
        assert not self.closed
        peer, first = self.peer, not self.sent
        self.sent.append(transaction)
        if peer.gate is not None:
            await peer.gate.wait()
        if peer.explodes:
            raise RuntimeError("a bug of ours")
        if (peer.lost == "once" and first) or (peer.lost == "idle" and not first):
            return self._all(transaction, None, Reason.CONNECTION_LOST, Fate.DEFERRED)
        if peer.lost == "421" and not first:
            return self._all(transaction, reply("421 4.4.2 Idle too long"), Reason.TRY_LATER, Fate.DEFERRED)
        if peer.lacks is not None:
            return self._all(transaction, None, peer.lacks, Fate.FAILED)
        return self._talk(transaction)

    def _talk(self, transaction: Transaction) -> TransactionResult:
        peer = self.peer
        said = reply(peer.mail) if peer.mail else OK
        replies = [(f"MAIL FROM:<{transaction.sender}>", said)]
        if peer.mail:
            result = self._all(transaction, said, Reason.REJECTED if said.permanent else Reason.TRY_LATER)
            return replace(result, replies=tuple(replies), reusable=True)
        content = reply(peer.content) if peer.content else ACCEPTED
        fates: list[RecipientFate] = []
        for recipient in transaction.recipients:
            text = peer.rcpt.get(recipient.address, peer.rcpt.get("*", ""))
            answer = reply(text) if text else OK
            replies.append((f"RCPT TO:<{recipient.address}>", answer))
            fates.append(self._fate(recipient, answer if text else content))
        replies.append(("(end of data)", content))
        return TransactionResult(tuple(fates), tuple(replies), reusable=True)

    def _fate(self, recipient: Recipient, said: Reply) -> RecipientFate:
        if said.positive:
            return RecipientFate(recipient.address, Fate.DELIVERED, said, None, self.peer.dsn)
        reason, fate = (Reason.REJECTED, Fate.FAILED) if said.permanent else (Reason.TRY_LATER, Fate.DEFERRED)
        return RecipientFate(recipient.address, fate, said, self._finding(reason, said))

    def _finding(self, reason: Reason, said: Reply | None) -> Finding:
        target = self.target
        detail = str(said) if said else ""
        return Finding(
            reason, detail, target.host, ip=target.ip, code=said.enhanced if said else None, basic=said.code if said else None
        )

    def _all(self, transaction: Transaction, said: Reply | None, reason: Reason, fate: Fate | None = None) -> TransactionResult:
        """The same for every recipient; the connection is gone unless a caller says otherwise."""
        if fate is None:
            fate = Fate.FAILED if said is not None and said.permanent else Fate.DEFERRED
        why = self._finding(reason, said)
        fates = tuple(RecipientFate(item.address, fate, said, why) for item in transaction.recipients)
        alive = fate is Fate.FAILED or bool(self.peer.mail)
        self.usable = alive
        return TransactionResult(fates, (("MAIL FROM", said),) if said else (), reusable=alive)

    async def close(self) -> None:
        self.closed = True
        self.usable = False


class FakeDialer:
    """Mail servers by address; an address without one times out."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self.dialled: list[DialTarget] = []
        self.sessions: list[FakeSession] = []
        self.gate: asyncio.Event | None = None
        """When set, connections wait for it."""

    async def dial(self, target: DialTarget) -> Session | DialFailed:
        self.dialled.append(target)
        if self.gate is not None:
            await self.gate.wait()
        peer = self.peers.get(target.ip)
        if peer is None:
            return DialFailed(Finding(Reason.CONNECT_TIMEOUT, host=target.host, ip=target.ip))
        session = peer.session(target)
        if isinstance(session, FakeSession):
            self.sessions.append(session)
        return session

    @property
    def addresses(self) -> list[str]:
        """What was dialled, in order."""
        return [target.ip for target in self.dialled]

    @property
    def open(self) -> int:
        return sum(not session.closed for session in self.sessions)


# --------------------------------------------------------------------------------------------------------------- queue


@dataclass
class Entry:
    group: Group
    state: GroupState


class FakeQueue:
    """ports.Queue in memory, with the transitions of the real one."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.messages: dict[str, Message] = {}
        self.entries: dict[str, Entry] = {}
        self.settled: list[Settled] = []
        self.loads: list[str] = []
        self.down = False
        """While set, every method raises StoreUnavailable."""

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the disk is full")

    async def add(self, message: Message, groups: Sequence[Group], events: Sequence[TraceEvent], *, active: bool) -> None:
        self._check()
        self.put(message, groups, GroupState.ACTIVE if active else GroupState.QUEUED)

    def put(self, message: Message, groups: Sequence[Group], state: GroupState = GroupState.QUEUED) -> None:
        self.messages[message.id] = message
        for group in groups:
            self.entries[group.id] = Entry(group, state)

    async def settle(self, settled: Settled) -> None:
        self._check()
        group = settled.group
        assert self.entries[group.id].state is GroupState.ACTIVE
        done = {fate.address for fate in settled.fates if fate.fate is not Fate.DEFERRED}
        left = tuple(item for item in group.recipients if item.address not in done)
        if left:
            assert settled.next_attempt_at is not None
            later = replace(
                group, recipients=left, next_attempt_at=settled.next_attempt_at, attempts=group.attempts + 1,
                delay_notified=settled.delay_notified, last_finding=settled.finding, last_route=settled.last_route,
            )  # fmt: skip
            self.entries[group.id] = Entry(later, GroupState.QUEUED)
        else:
            del self.entries[group.id]
            if not any(entry.group.message_id == group.message_id for entry in self.entries.values()):
                del self.messages[group.message_id]
        for notice, groups in settled.notices:
            self.put(notice, groups)
        self.settled.append(settled)

    async def release(self, group_ids: Sequence[str], *, not_before: datetime | None = None) -> None:
        self._check()
        for group_id in group_ids:
            entry = self.entries.get(group_id)
            if entry is not None and entry.state is GroupState.ACTIVE:
                due = max(entry.group.next_attempt_at, not_before or entry.group.next_attempt_at)
                self.entries[group_id] = Entry(replace(entry.group, next_attempt_at=due), GroupState.QUEUED)

    async def take_due(self, now: datetime, limit: int, *, full: Sequence[str] = ()) -> list[Group]:
        self._check()
        queued = [entry for entry in self.entries.values() if entry.state is GroupState.QUEUED]
        due = [entry for entry in queued if entry.group.next_attempt_at <= now and entry.group.domain not in full]
        taken = sorted(due, key=lambda entry: entry.group.next_attempt_at)[:limit]
        for entry in taken:
            entry.state = GroupState.ACTIVE
        return [entry.group for entry in taken]

    async def next_due(self) -> datetime | None:
        self._check()
        queued = [entry.group.next_attempt_at for entry in self.entries.values() if entry.state is GroupState.QUEUED]
        return min(queued, default=None)

    async def message(self, message_id: str) -> Message | None:
        self._check()
        self.loads.append(message_id)
        return self.messages.get(message_id)

    async def start_node(self, now: datetime) -> int:
        return 0

    async def renew_node(self, now: datetime) -> int:
        return 0

    async def depth(self) -> Mapping[GroupState, int]:
        return {state: sum(entry.state is state for entry in self.entries.values()) for state in GroupState}

    def state(self, group_id: str) -> GroupState | None:
        entry = self.entries.get(group_id)
        return entry.state if entry else None


# ------------------------------------------------------------------------------------------------------------ messages

CONTENT = (
    b"Received: from client.example.com ([192.0.2.7])\r\n\tby gw.example.com with ESMTP;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"From: Ann <ann@example.com>\r\nTo: bob@contoso.com\r\nSubject: Figures\r\nMessage-ID: <1@example.com>\r\n\r\nHello Bob\r\n"
)


def message(*addresses: str, sender: str = "ann@example.com", content: bytes = CONTENT, **changes: Any) -> Message:
    """A message from Ann; `changes` go to the envelope where it has such a field."""
    own = {
        key: changes.pop(key) for key in ("id", "origin", "subject", "tls_required_no", "header_message_id") if key in changes
    }
    recipients = tuple(Recipient(address) for address in addresses or ("bob@contoso.com",))
    envelope = Envelope(sender, changes.pop("recipients", recipients), **changes)
    return Message(
        id=own.pop("id", "m1"), organization="default", envelope=envelope, content=content, received_at=NOW,
        header_message_id=own.pop("header_message_id", "<1@example.com>"), subject=own.pop("subject", "Figures"), **own,
    )  # fmt: skip


def group(mail: Message, *, id: str = "g1", domain: str = "contoso.com", **changes: Any) -> Group:
    fields: dict[str, Any] = {"recipients": mail.envelope.recipients, "queued_at": NOW, "next_attempt_at": NOW}
    return Group(id, mail.id, domain, **{**fields, **changes})


def numbered(prefix: str = "id") -> Callable[[datetime], str]:
    """An IdSource that counts."""
    count = 0

    def make(_: datetime) -> str:
        nonlocal count
        count += 1
        return f"{prefix}-{count}"

    return make
