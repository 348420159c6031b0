"""The pool of SMTP sessions: who may use which, who waits, and that no place is ever lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sealroute.base.chain import TrustRoots
from sealroute.policy.decide import HostPlan
from sealroute.policy.reasons import Reason
from sealroute.policy.requirement import HandshakeFacts, Requirement, Verdict
from sealroute.policy.verdict import judge
from sealroute.services.sessions import NotOpened, Opened, SessionLimits, Sessions
from tests.unit.fakes import BROKEN_TLS, NO_STARTTLS, FakeDialer, Peer, turns

IP, OTHER_IP = "192.0.2.1", "192.0.2.2"
OPPORTUNISTIC = Requirement("mx.contoso.com", ("opportunistic-tls",), sni="mx.contoso.com")
STRICT = replace(OPPORTUNISTIC, tls_required=True)


class Pool:
    def __init__(self, **limits: Any) -> None:
        self.dialer = FakeDialer()
        self.dialer.peers = {IP: Peer(), OTHER_IP: Peer()}
        self.limits = SessionLimits(**limits)
        self.sessions = Sessions(self.dialer, lambda need, facts: judge(need, facts, TrustRoots([])), self.limits)

    async def open(self, ip: str = IP, need: Requirement = OPPORTUNISTIC) -> Opened | NotOpened:
        return await self.sessions.open(HostPlan(need.host, 10, need.rows, (ip,), need), ip, 25)

    async def opened(self, ip: str = IP, need: Requirement = OPPORTUNISTIC) -> Opened:
        result = await self.open(ip, need)
        assert isinstance(result, Opened)
        return result

    @property
    def free(self) -> int:
        return self.sessions._room._value


async def test_a_session_is_used_again_for_the_same_address_and_requirement_only() -> None:
    pool = Pool()
    opened = await pool.opened()
    pool.sessions.give_back(opened, reusable=True)
    assert pool.sessions.take(IP, 25, STRICT) is None
    assert pool.sessions.take(IP, 26, OPPORTUNISTIC) is None
    assert pool.sessions.take(OTHER_IP, 25, OPPORTUNISTIC) is None
    assert pool.sessions.take(IP, 25, replace(OPPORTUNISTIC, rows=("other-row",))) is opened
    assert pool.sessions.take(IP, 25, OPPORTUNISTIC) is None
    assert repr(pool.sessions) == "<Sessions 0 idle, 1 opened, 1 reused>"


async def test_the_most_recently_used_first() -> None:
    pool = Pool()
    first, second = await pool.opened(), await pool.opened()
    pool.sessions.give_back(first, reusable=True)
    pool.sessions.give_back(second, reusable=True)
    assert pool.sessions.take(IP, 25, OPPORTUNISTIC) is second
    assert pool.sessions.take(IP, 25, OPPORTUNISTIC) is first


async def test_a_session_that_died_while_idle_is_passed_over() -> None:
    pool = Pool(total=3)
    dead, good = await pool.opened(), await pool.opened()
    pool.sessions.give_back(good, reusable=True)
    pool.sessions.give_back(dead, reusable=True)
    pool.dialer.sessions[0].usable = False
    assert pool.sessions.take(IP, 25, OPPORTUNISTIC) is good
    await turns()
    assert (pool.free, pool.dialer.sessions[0].closed) == (2, True)


@pytest.mark.parametrize("why", ["not reusable", "not usable", "used up"])
async def test_what_cannot_serve_again_is_closed(why: str) -> None:
    pool = Pool(total=1, messages_per_session=1 if why == "used up" else 9)
    opened = await pool.opened()
    pool.dialer.sessions[0].usable = why != "not usable"
    pool.sessions.give_back(opened, reusable=why != "not reusable")
    await turns()
    assert (pool.free, pool.dialer.open) == (1, 0)
    assert pool.sessions.take(IP, 25, OPPORTUNISTIC) is None


async def test_when_full_an_idle_session_gives_way_the_oldest_first() -> None:
    pool = Pool(total=2)
    first, second = await pool.opened(), await pool.opened()
    pool.sessions.give_back(first, reusable=True)
    pool.sessions.give_back(second, reusable=True)
    await pool.opened(OTHER_IP)
    await turns()
    assert [session.closed for session in pool.dialer.sessions] == [True, False, False]
    assert pool.free == 0


async def test_when_full_of_busy_ones_a_caller_waits_for_the_next_that_comes_back() -> None:
    pool = Pool(total=1)
    busy = await pool.opened()
    waiter = asyncio.create_task(pool.opened(OTHER_IP))
    await turns()
    assert not waiter.done()
    pool.sessions.give_back(busy, reusable=True)  # not kept: somebody waits
    assert (await waiter).key[0] == OTHER_IP
    assert pool.dialer.open == 1
    assert pool.free == 0


async def test_a_cancelled_waiter_takes_no_place() -> None:
    pool = Pool(total=1)
    busy = await pool.opened()
    waiter = asyncio.create_task(pool.open(OTHER_IP))
    await turns()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    pool.sessions.give_back(busy, reusable=True)
    assert pool.sessions.take(IP, 25, OPPORTUNISTIC) is busy  # kept: nobody waits any more


async def test_a_cancelled_dial_gives_its_place_back() -> None:
    pool = Pool(total=1)
    pool.dialer.gate = asyncio.Event()
    dialling = asyncio.create_task(pool.open())
    await turns()
    assert pool.free == 0
    dialling.cancel()
    await asyncio.gather(dialling, return_exceptions=True)
    assert pool.free == 1


async def test_a_bug_in_judging_closes_the_session_and_gives_the_place_back() -> None:
    def broken(need: Requirement, facts: HandshakeFacts) -> Verdict:
        raise RuntimeError("a bug")

    pool = Pool(total=1)
    pool.sessions.judge = broken
    with pytest.raises(RuntimeError):
        await pool.open()
    await turns()
    assert (pool.free, pool.dialer.open) == (1, 0)


@pytest.mark.parametrize(
    ("peer", "need", "reason"),
    [
        (Peer(unreachable=Reason.CONNECT_REFUSED), OPPORTUNISTIC, Reason.CONNECT_REFUSED),
        (Peer(greeting="554 No"), OPPORTUNISTIC, Reason.HOST_REJECTED),
        (Peer(NO_STARTTLS), STRICT, Reason.TLS_REQUIRED),
        (Peer(BROKEN_TLS), STRICT, Reason.TLS_REQUIRED),
    ],
)
async def test_not_opened(peer: Peer, need: Requirement, reason: Reason) -> None:
    pool = Pool(total=1)
    pool.dialer.peers[IP] = peer
    result = await pool.open(need=need)
    assert isinstance(result, NotOpened)
    assert (result.finding.reason, result.before) == (reason, None)
    assert len(pool.dialer.dialled) == 1  # never in plaintext where TLS is asked
    await turns()
    assert (pool.free, pool.dialer.open) == (1, 0)


async def test_plaintext_after_a_failed_handshake_tells_of_it() -> None:
    pool = Pool(total=1)
    pool.dialer.peers[IP] = Peer(BROKEN_TLS)
    opened = await pool.opened()
    assert [target.starttls for target in pool.dialer.dialled] == [True, False]
    assert opened.before is not None
    assert opened.before.finding.detail == "the TLS handshake failed: no shared cipher"
    await turns()
    assert (pool.free, pool.dialer.open) == (0, 1)


async def test_plaintext_that_fails_too_tells_of_both() -> None:
    pool = Pool(total=1)

    class Gone(Peer):
        def session(self, target: Any) -> Any:
            self.unreachable = None if target.starttls else Reason.CONNECT_TIMEOUT
            return super().session(target)

    pool.dialer.peers[IP] = Gone(BROKEN_TLS)
    result = await pool.open()
    assert isinstance(result, NotOpened)
    assert result.finding.reason is Reason.CONNECT_TIMEOUT
    assert result.before is not None
    assert pool.free == 1


async def test_a_connection_that_ends_while_it_opens() -> None:
    pool = Pool(total=1)

    class Dropping(Peer):
        def session(self, target: Any) -> Any:
            session: Any = super().session(target)
            session.usable = False
            return session

    pool.dialer.peers[IP] = Dropping()
    result = await pool.open()
    assert isinstance(result, NotOpened)
    assert result.finding.queued() == "450 4.4.318 Connection was closed abruptly: the connection ended during its opening"
    assert pool.free == 1


async def test_idle_sessions_are_closed_after_their_time() -> None:
    pool = Pool(total=2, idle_seconds=0.1)
    first, second = await pool.opened(), await pool.opened()
    pool.sessions.give_back(first, reusable=True)
    await asyncio.sleep(0.06)
    pool.sessions.give_back(second, reusable=True)
    async with asyncio.timeout(5):
        while pool.free < 2:
            await asyncio.sleep(0.02)
    assert pool.dialer.open == 0
    assert pool.sessions._sweeper is None


async def test_close_says_goodbye_to_all() -> None:
    pool = Pool(total=3)
    for opened in (await pool.opened(), await pool.opened(OTHER_IP)):
        pool.sessions.give_back(opened, reusable=True)
    await pool.sessions.close()
    assert (pool.free, pool.dialer.open, pool.sessions._idle) == (3, 0, {})
    await pool.sessions.close()


async def test_places_never_drift_under_load() -> None:
    """However callers come, go, fail and are cancelled, in the end every place is free."""
    pool = Pool(total=5, messages_per_session=3)
    pool.dialer.peers = {f"192.0.2.{n}": Peer(BROKEN_TLS if n % 3 == 0 else NO_STARTTLS) for n in range(1, 8)}

    async def work(number: int) -> None:
        ip, need = f"192.0.2.{number % 9}", STRICT if number % 5 == 0 else OPPORTUNISTIC
        opened = pool.sessions.take(ip, 25, need) or await pool.open(ip, need)
        if isinstance(opened, Opened):
            try:
                await asyncio.sleep(0)
            finally:
                pool.sessions.give_back(opened, reusable=number % 4 != 0)

    tasks = [asyncio.create_task(work(number)) for number in range(400)]
    for number, task in enumerate(tasks):
        if number % 7 == 0:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    await pool.sessions.close()
    assert (pool.free, pool.dialer.open, len(pool.sessions._by_age)) == (5, 0, 0)
