"""services/probe: every target is dialled once, nothing is sent, and nobody is bothered by more than is allowed."""

from __future__ import annotations

import asyncio

from sealroute.base.mail import Recipient
from sealroute.policy.attempt import Fate
from sealroute.policy.reasons import Reason
from sealroute.ports import DialFailed, DialTarget, Transaction
from sealroute.services.probe import ProbedSession, ProbeLimits, Probes
from tests.unit.fakes import FakeDialer, Peer, turns

TARGET = DialTarget("mx.contoso.com", "192.0.2.1", 25, "mx.contoso.com")
MAIL = Transaction("", (Recipient("bob@contoso.com"),), b"Hello")


def dialer(**peers: Peer) -> FakeDialer:
    found = FakeDialer()
    found.peers = {ip.replace("_", ".")[2:]: peer for ip, peer in peers.items()}
    return found


async def test_a_target_is_dialled_once_however_many_ask() -> None:
    world = dialer(ip192_0_2_1=Peer())
    probes = Probes(world)
    first, *others = await asyncio.gather(*(probes.probe(TARGET) for _ in range(5)))
    assert world.addresses == ["192.0.2.1"]
    assert all(other is first for other in others)
    assert first.usable
    assert first.refused is None
    assert world.open == 0, "every session is closed"
    assert [said for said, _ in first.replies][-1] == "EHLO gateway.test"


async def test_another_sni_or_no_starttls_is_another_target() -> None:
    world = dialer(ip192_0_2_1=Peer())
    probes = Probes(world)
    for target in (TARGET, DialTarget("mx.contoso.com", "192.0.2.1", 25, "real.contoso.com"), TARGET):
        await probes.probe(target)
    await probes.probe(DialTarget("mx.contoso.com", "192.0.2.1", 25, "mx.contoso.com", starttls=False))
    assert len(world.dialled) == 3


async def test_a_probed_session_sends_nothing_and_delivers_in_name_only() -> None:
    world = dialer(ip192_0_2_1=Peer())
    session = await Probes(world).dial(TARGET)
    assert isinstance(session, ProbedSession)
    result = await session.transact(MAIL)
    assert [fate.fate for fate in result.recipients] == [Fate.DELIVERED]
    assert not result.reusable
    assert [sent for opened in world.sessions for sent in opened.sent] == []


async def test_a_no_to_ehlo_under_tls_is_a_reason_to_wait() -> None:
    session = await Probes(dialer(ip192_0_2_1=Peer(lost="ehlo"))).dial(TARGET)
    assert isinstance(session, ProbedSession)
    (fate,) = (await session.transact(MAIL)).recipients
    assert fate.fate is Fate.DEFERRED
    assert fate.finding is not None
    assert fate.finding.reason is Reason.HOST_REJECTED


async def test_what_cannot_be_dialled_is_remembered_as_well() -> None:
    world = dialer()
    probes = Probes(world)
    for _ in range(3):
        failed = await probes.dial(TARGET)
        assert isinstance(failed, DialFailed)
        assert failed.finding.reason is Reason.CONNECT_TIMEOUT
    assert len(world.dialled) == 1


async def test_dials_at_a_time_are_bounded_in_all_and_per_address() -> None:
    world = dialer(**{f"ip192_0_2_{number}": Peer() for number in range(1, 5)})
    world.gate = asyncio.Event()
    probes = Probes(world, ProbeLimits(at_once=3, per_address=1))
    targets = [DialTarget(f"mx{number}.contoso.com", f"192.0.2.{1 + number % 4}", 25, f"{number}.test") for number in range(12)]
    tasks = [asyncio.ensure_future(probes.probe(target)) for target in targets]
    await turns()
    assert len(world.dialled) == 3
    assert len(set(world.addresses)) == 3
    world.gate.set()
    await asyncio.gather(*tasks)
    assert len(world.dialled) == 12


async def test_old_probes_are_made_again_and_the_oldest_forgotten() -> None:
    world = dialer(ip192_0_2_1=Peer())
    stale = Probes(world, ProbeLimits(max_age_seconds=0.0))
    await stale.probe(TARGET)
    await stale.probe(TARGET)
    assert len(world.dialled) == 2
    few = Probes(world, ProbeLimits(kept=1))
    await few.probe(TARGET)
    await few.probe(DialTarget("other", "192.0.2.1", 25, "other"))
    await few.probe(TARGET)
    assert len(world.dialled) == 5


async def test_who_gives_up_does_not_take_the_probe_from_the_others() -> None:
    world = dialer(ip192_0_2_1=Peer())
    world.gate = asyncio.Event()
    probes = Probes(world)
    impatient, patient = (asyncio.ensure_future(probes.probe(TARGET)) for _ in range(2))
    await turns()
    impatient.cancel()
    await turns()
    world.gate.set()
    assert (await patient).usable
    assert len(world.dialled) == 1


async def test_closing_ends_what_is_under_way() -> None:
    world = dialer(ip192_0_2_1=Peer())
    world.gate = asyncio.Event()
    probes = Probes(world)
    task = asyncio.ensure_future(probes.probe(TARGET))
    await turns()
    await probes.close()
    assert (await asyncio.gather(task, return_exceptions=True))[0].__class__ is asyncio.CancelledError
