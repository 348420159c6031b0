"""sessions: open SMTP sessions, kept for reuse by address *and* requirement.

A session serves a message only if it was dialled to that very address and judged under an equal requirement [ADR 7.5];
so a weaker domain never rides on a stronger one's connection, nor the other way round.  Bounds: sessions in all, messages
per session, idle time.  When all are in use the caller waits; idle ones give way, and what comes back while
somebody waits is closed rather than kept.  Whatever way a caller leaves (an error, a cancellation), its place comes free.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from sealroute.base.status import Reply
from sealroute.policy.decide import HostPlan
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import HandshakeFacts, Requirement, Verdict
from sealroute.ports import Dialer, DialFailed, DialTarget, Session

Judge = Callable[[Requirement, HandshakeFacts], Verdict]
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds on the sessions we hold open."""

    total: int = 500
    messages_per_session: int = 100
    idle_seconds: float = 10.0


@dataclass(slots=True, eq=False)
class Opened:
    """A session that may be used: judged, and found to meet its requirement."""

    session: Session
    verdict: Verdict
    key: Key
    before: NotOpened | None = None
    """The failed handshake after which this session was opened in plaintext."""
    uses: int = 0
    idle_since: float = 0.0


@dataclass(frozen=True, slots=True)
class NotOpened:
    """No session to this address: why, and what was seen."""

    finding: Finding
    facts: HandshakeFacts | None = None
    verdict: Verdict | None = None
    replies: tuple[tuple[str, Reply], ...] = ()
    connect_ms: float | None = None
    tls_ms: float | None = None
    before: NotOpened | None = None
    """The failed handshake after which this was tried in plaintext."""


class Sessions:
    """The pool."""

    def __init__(self, dialer: Dialer, judge: Judge, limits: SessionLimits | None = None) -> None:
        self._dialer = dialer
        self.judge = judge
        self._limits = limits or SessionLimits()
        self._idle: dict[Key, list[Opened]] = {}
        self._by_age: OrderedDict[int, Opened] = OrderedDict()
        self._room = asyncio.Semaphore(self._limits.total)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._waiting = 0
        """How many callers wait for room."""
        self.opened = 0
        """Sessions dialled since the start."""
        self.reused = 0

    def __repr__(self) -> str:
        return f"<Sessions {len(self._by_age)} idle, {self.opened} opened, {self.reused} reused>"

    def take(self, ip: str, port: int, requirement: Requirement) -> Opened | None:
        """An idle session for this address and requirement, the most recently used first."""
        key = (ip, port, requirement.key)
        idle = self._idle.get(key)
        while idle:
            opened = idle.pop()
            del self._by_age[id(opened)]
            if not idle:
                del self._idle[key]
            if opened.session.usable:
                self.reused += 1
                return opened
            self._close(opened)
        return None

    async def open(self, host: HostPlan, ip: str, port: int) -> Opened | NotOpened:
        """Dial, hold the handshake against the requirement, and once more in plaintext where that is allowed."""
        requirement = host.requirement
        assert requirement is not None
        await self._make_room()
        result: Opened | NotOpened | None = None
        try:
            result = await self._dial(DialTarget(host.name, ip, port, requirement.sni), requirement)
            if isinstance(result, NotOpened) and result.verdict is not None and result.verdict.retry_in_plaintext:
                failed, result = result, None
                result = await self._dial(DialTarget(host.name, ip, port, requirement.sni, starttls=False), requirement)
                result = replace(result, before=failed)
        finally:
            if not isinstance(result, Opened):
                self._room.release()
        return result

    async def _make_room(self) -> None:
        if self._room.locked() and self._by_age:
            _, oldest = self._by_age.popitem(last=False)
            self._forget(oldest)
            self._close(oldest)
        self._waiting += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting -= 1

    async def _dial(self, target: DialTarget, requirement: Requirement) -> Opened | NotOpened:
        session = await self._dialer.dial(target)
        if isinstance(session, DialFailed):
            return NotOpened(session.finding, replies=session.replies, connect_ms=session.connect_ms)
        self.opened += 1
        try:
            verdict = self.judge(requirement, session.facts)
        except BaseException:
            self._quit(session)
            raise
        finding = verdict.finding
        if finding is None and not session.usable:
            finding = Finding(Reason.CONNECTION_LOST, "the connection ended during its opening", target.host, ip=target.ip)
        if finding is None:
            return Opened(session, verdict, (target.ip, target.port, requirement.key))
        self._quit(session)
        return NotOpened(finding, session.facts, verdict, session.replies, connect_ms=session.connect_ms, tls_ms=session.tls_ms)

    def give_back(self, opened: Opened, *, reusable: bool) -> None:
        """Return a session after a transaction; it is kept if it can serve another."""
        opened.uses += 1
        spent = opened.uses >= self._limits.messages_per_session
        # Room for somebody who waits comes first, or a busy destination could keep every place for itself.
        if self._waiting or not reusable or spent or not opened.session.usable:
            self._close(opened)
            return
        loop = asyncio.get_running_loop()
        opened.idle_since = loop.time()
        self._idle.setdefault(opened.key, []).append(opened)
        self._by_age[id(opened)] = opened
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._limits.idle_seconds, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = None
        horizon = loop.time() - self._limits.idle_seconds
        while self._by_age:
            oldest = next(iter(self._by_age.values()))
            if oldest.idle_since > horizon:
                wait = max(0.05, oldest.idle_since - horizon)
                self._sweeper = loop.call_later(wait, self._sweep)
                return
            del self._by_age[id(oldest)]
            self._forget(oldest)
            self._close(oldest)

    def _forget(self, opened: Opened) -> None:
        idle = self._idle.get(opened.key)
        if idle and opened in idle:
            idle.remove(opened)
            if not idle:
                del self._idle[opened.key]

    def _close(self, opened: Opened) -> None:
        self._room.release()
        self._quit(opened.session)

    def _quit(self, session: Session) -> None:
        """Say goodbye without waiting for the answer."""
        task = asyncio.ensure_future(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Say QUIT on every idle session."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for opened in list(self._by_age.values()):
            self._forget(opened)
            self._close(opened)
        self._by_age.clear()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
