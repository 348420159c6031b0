"""probe: dial a mail host as delivery does, say EHLO once more under TLS, and QUIT; no mail is offered.

`Probes` is a ports.Dialer, so that services/sessions and deliver run on it unchanged: every target is dialled once and what it
showed is handed out again and again, to be judged under each requirement.  A session it hands out sends nothing; its
"delivered" means that nothing stood in the way of MAIL.  Bounds: dials at a time, in all and per address; probes kept, their
age.

Elsewhere: which targets (policy/decide by way of services/analyze); judging (policy/verdict).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from sealroute.base.status import Reply
from sealroute.policy.attempt import Fate, RecipientFate
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts
from sealroute.ports import Dialer, DialFailed, DialTarget, Session, Transaction, TransactionResult

NOTHING_SENT = Reply(250, ("nothing was sent: the dialogue ended before MAIL",))


@dataclass(frozen=True, slots=True)
class Probe:
    """What one target showed."""

    target: DialTarget
    failed: Finding | None = None
    """Why there was no session at all."""
    facts: HandshakeFacts | None = None
    """None when there was no session."""
    usable: bool = False
    """Whether mail could have followed as far as the connection goes."""
    refused: Finding | None = None
    """What the server had against us in answer to EHLO under TLS."""
    replies: tuple[tuple[str, Reply], ...] = ()
    connect_ms: float | None = None
    tls_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Bounds, so that nobody is bothered more than needed."""

    at_once: int = 400
    """A connection that waits for a silent server costs nothing but its place."""
    per_address: int = 2
    max_age_seconds: float = 300.0
    kept: int = 20_000


class Probes:
    """Every target once; shared by all analyses of a process or of a bulk run."""

    def __init__(self, dialer: Dialer, limits: ProbeLimits | None = None) -> None:
        self._dialer = dialer
        self._limits = limits or ProbeLimits()
        self._room = asyncio.Semaphore(self._limits.at_once)
        self._per_address: dict[str, tuple[asyncio.Semaphore, int]] = {}
        self._known: OrderedDict[DialTarget, tuple[float, asyncio.Future[Probe]]] = OrderedDict()
        self.dialled = 0
        """Connections tried since the start."""

    def __repr__(self) -> str:
        return f"<Probes {len(self._known)} known, {self.dialled} dialled>"

    async def dial(self, target: DialTarget) -> Session | DialFailed:
        """ports.Dialer: what the target showed, as a session over which nothing goes."""
        probe = await self.probe(target)
        if probe.failed is not None or probe.facts is None:
            assert probe.failed is not None
            return DialFailed(probe.failed, probe.replies, probe.connect_ms)
        return ProbedSession(probe, probe.facts)

    async def probe(self, target: DialTarget) -> Probe:
        """What the target showed, now or not long ago; never raises for what a peer does."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(target)
        if known is not None and now - known[0] < self._limits.max_age_seconds and not known[1].cancelled():
            return known[1].result() if known[1].done() else await asyncio.shield(known[1])
        task = asyncio.ensure_future(self._dial(target))
        task.add_done_callback(lambda done: self._forget_error(target, done))
        self._known[target] = (now, task)
        self._known.move_to_end(target)
        while len(self._known) > self._limits.kept:
            self._known.popitem(last=False)
        # Shielded: who gives up must not take the probe from the others.
        return await asyncio.shield(task)

    def _forget_error(self, target: DialTarget, task: asyncio.Future[Probe]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._known.pop(target, None)

    async def _dial(self, target: DialTarget) -> Probe:
        room, users = self._per_address.get(target.ip, (asyncio.Semaphore(self._limits.per_address), 0))
        self._per_address[target.ip] = (room, users + 1)
        try:
            async with room, self._room:
                self.dialled += 1
                return await self._dial_now(target)
        finally:
            room, users = self._per_address[target.ip]
            if users > 1:
                self._per_address[target.ip] = (room, users - 1)
            else:
                del self._per_address[target.ip]

    async def _dial_now(self, target: DialTarget) -> Probe:
        session = await self._dialer.dial(target)
        if isinstance(session, DialFailed):
            return Probe(target, session.finding, replies=session.replies, connect_ms=session.connect_ms)
        usable = session.usable
        try:
            refused = await session.greet() if usable else None
        finally:
            await session.close()
        return Probe(
            target, None, session.facts, usable, refused, session.replies, session.connect_ms, session.tls_ms
        )  # fmt: skip

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [task for _, task in self._known.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class ProbedSession:
    """ports.Session of what a probe saw."""

    def __init__(self, probe: Probe, facts: HandshakeFacts) -> None:
        self._probe = probe
        self.facts = facts
        self.replies = probe.replies
        self.connect_ms = probe.connect_ms or 0.0
        self.tls_ms = probe.tls_ms
        self.usable = probe.usable

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """Nothing is sent; all would have been offered to the server, or none if it said no to EHLO."""
        refused = self._probe.refused
        fate = Fate.DELIVERED if refused is None else Fate.DEFERRED
        reply = NOTHING_SENT if refused is None else None
        fates = tuple(RecipientFate(recipient.address, fate, reply, refused) for recipient in transaction.recipients)
        return TransactionResult(fates, (), reusable=False)

    async def greet(self) -> Finding | None:
        return self._probe.refused

    async def close(self) -> None:
        """The connection is long closed."""
