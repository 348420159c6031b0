"""Probes: who is watched, that a probe is delivery's own look without mail, and that our troubles change nothing that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import pytest

from sealroute.base.certs import Certificate
from sealroute.base.chain import TrustRoots
from sealroute.base.dnsdata import Tlsa
from sealroute.base.errors import SealrouteError, StoreUnavailable
from sealroute.policy.connector import Connector
from sealroute.policy.history import Drift, DriftKind
from sealroute.policy.modes import ConnectorType, MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.readiness import Sight, sight_of_dane
from sealroute.policy.reasons import Reason
from sealroute.policy.sighting import PolicySeen, Sighting
from sealroute.ports import Destination, ProbeEnd, Watched
from sealroute.proto.mtasts.policy import StsMode, StsPolicy
from sealroute.services import watch
from sealroute.services.analysis.model import Analysis
from sealroute.services.analyze import Analyzer, Engine
from sealroute.services.deliver import DeliverRules
from sealroute.services.hasten import Hasten
from sealroute.services.probe import Probes
from sealroute.services.sight import sighting_of
from sealroute.services.watch import Listeners, Prober, WatchRules, Ways, by_mx, partner_domains
from tests.unit.deliver_world import CONNECTOR, HIGH, LONE, LOW, World
from tests.unit.fakes import GOOD_CERTIFICATE, NO_STARTTLS, NOW, OTHER_TLS, Peer
from tests.unit.test_analyze import WRONG, NoSignatures, analyzer

DOMAIN = "contoso.com"
KEY = ("default", DOMAIN)
HOUR = timedelta(hours=1)


@dataclass
class FakeStore:
    """ports.WatchStore in memory."""

    rows: dict[Destination, Watched] = field(default_factory=dict)
    busy: list[Destination] = field(default_factory=list)
    ended: list[ProbeEnd] = field(default_factory=list)
    asked: list[tuple[date, int]] = field(default_factory=list)
    hastened: list[tuple[Sequence[Destination], datetime, timedelta]] = field(default_factory=list)
    broken: bool = False
    stolen: bool = False

    async def traffic(self, since: date, limit: int) -> list[Destination]:
        self.asked.append((since, limit))
        return self.busy[:limit]

    async def enrol(self, first: Mapping[Destination, datetime], now: datetime) -> int:
        new = {key: Watched(*key, due) for key, due in first.items() if key not in self.rows}
        self.rows |= new
        return len(new)

    async def due(self, now: datetime, limit: int) -> list[Watched]:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        return sorted((row for row in self.rows.values() if row.due_at <= now), key=lambda row: row.due_at)[:limit]

    async def hasten(self, keys: Sequence[Destination], now: datetime, apart: timedelta) -> int:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        self.hastened.append((keys, now, apart))
        return len(keys)

    async def take(self, watched: Watched, until: datetime) -> Watched | None:
        key = watched.organization, watched.domain
        if self.stolen or self.rows[key] != watched:
            return None
        self.rows[key] = replace(watched, due_at=until)
        return self.rows[key]

    async def end(self, ended: ProbeEnd) -> list[Drift] | None:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        self.ended.append(ended)
        sighting = ended.compared.after if ended.compared else ended.watched.sighting
        key = ended.watched.organization, ended.watched.domain
        self.rows[key] = Watched(*key, ended.due_at, sighting, ended.at, ended.trouble)
        return list(ended.compared.events) if ended.compared else []


class Watching:
    """A prober of contoso.com and all that it tells."""

    def __init__(self, world: World | None = None, **rules: object) -> None:
        self.world = world or World()
        self.store = FakeStore()
        self.trusted = True
        self.connectors: list[Connector] = []
        self.seen: list[Analysis] = []
        self.told: list[Drift] = []
        self.ends: list[str] = []
        wanted = WatchRules(**{"named": (KEY,), **rules})  # type: ignore[arg-type]
        ways = Ways(lambda: self.connectors, lambda organization, domain: CONNECTOR, lambda: self.trusted)
        heard = Listeners(lambda connector, analysis: self.seen.append(analysis), self.told.append, self.ends.append)
        run = analyzer(self.world)
        self.prober = Prober(self.store, run, ways, heard, self.world.clock, lambda: 0.5, wanted)

    async def round(self, **step: float) -> bool:
        self.world.clock.advance(**step)
        return await self.prober.round()

    async def first(self) -> Sighting:
        """After the first probe."""
        await self.round()
        await self.round(minutes=5)
        (row,) = self.store.rows.values()
        assert row.sighting is not None
        return row.sighting


def dane_world(peer: Peer | None = None) -> World:
    world = World()
    world.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    world.dialer.peers[LONE] = peer or Peer()
    return world


# ---------------------------------------------------------------------------------------------------------- one probe


async def test_a_probe_sees_what_delivery_would_meet_and_sends_nothing() -> None:
    watching = Watching(dane_world())
    sighting = await watching.first()
    (host,) = sighting.hosts
    assert (sighting.mx, host.name, host.matches, host.seen_at) == (("10 mx.contoso.com",), "mx.contoso.com", True, sighting.at)
    assert [item.fingerprint for item in host.certificates] == [Certificate(GOOD_CERTIFICATE).fingerprint]
    assert sighting.policy == PolicySeen("absent")
    (analysis,) = watching.seen
    (outcome,) = analysis.in_force
    assert [sight_of_dane(attempt) for attempt in outcome.attempts] == [Sight.SATISFIED]
    assert [sent for session in watching.world.dialer.sessions for sent in session.sent] == []
    assert (watching.ends, watching.told) == ([""], [])
    (ended,) = watching.store.ended
    assert ended.due_at == ended.at + timedelta(days=1), "the middle of the jitter"


async def test_what_drifts_is_told() -> None:
    watching = Watching(dane_world())
    await watching.first()
    watching.world.dialer.peers[LONE] = Peer(facts=OTHER_TLS)
    watching.prober._analyzer = analyzer(watching.world)  # its own memory of probes is by the wall's clock
    await watching.round(days=2)
    assert [event.kind for event in watching.told] == [DriftKind.TLSA_MISMATCH]
    assert watching.told[0].detail.startswith("the certificate of mx.contoso.com changed, and the two do not match: ")


@pytest.mark.parametrize("what", ["mx", "address", "tlsa", "server", "policy"])
async def test_what_cannot_be_found_out_is_neither_change_nor_loss(what: str) -> None:
    watching = Watching(dane_world())
    before = await watching.first()
    world = watching.world
    match what:
        case "mx":
            world.dns.fails("MX", DOMAIN)
        case "address":
            world.dns.fails("A", "mx.contoso.com")
        case "tlsa":
            world.dns.fails("TLSA", "_25._tcp.mx.contoso.com")
        case "server":
            world.dialer.peers[LONE] = Peer(facts=NO_STARTTLS)
        case _:
            world.sts.known[DOMAIN] = SealrouteError("The stored MTA-STS policy cannot be read.")
    watching.prober._analyzer = analyzer(world)
    await watching.round(days=2)
    (row,) = watching.store.rows.values()
    assert row.sighting is not None
    assert row.sighting.at > before.at
    at = before.hosts[0].seen_at if what != "policy" else row.sighting.at
    (host,) = row.sighting.hosts
    assert host == replace(before.hosts[0], seen_at=at)
    assert (row.sighting.mx, row.sighting.policy) == (before.mx, before.policy)
    compared = watching.store.ended[-1].compared
    assert compared is not None
    assert (compared.changes, compared.events) == ((), ())


async def test_hosts_with_several_addresses() -> None:
    world = World()
    world.hosts(("mx1.contoso.com", 10, [LOW, HIGH]), tlsa=True)
    for peers, matches in (((Peer(), Peer()), True), ((Peer(), WRONG), False), ((WRONG, Peer()), False)):
        world.dialer.peers = dict(zip((LOW, HIGH), peers, strict=True))
        sighting = sighting_of(await analyzer(world).run(DOMAIN, by_mx(CONNECTOR), asked=(watch.LOOKING,)))
        assert sighting is not None
        (host,) = sighting.hosts
        assert host.matches is matches
        assert len(host.certificates) == (1 if matches else 2)
        assert bool(host.mismatch) is not matches


async def test_records_that_are_of_no_use_match_nothing() -> None:
    world = dane_world()
    long = Tlsa(3, 1, 0, b"x" * 100)
    world.dns.has("TLSA", "_25._tcp.mx.contoso.com", Tlsa(1, 1, 1, bytes(32)), long)
    sighting = sighting_of(await analyzer(world).run(DOMAIN, by_mx(CONNECTOR), asked=(watch.LOOKING,)))
    assert sighting is not None
    (host,) = sighting.hosts
    assert host.matches is None
    assert host.tlsa is not None
    assert host.tlsa[0] == f"1 1 1 {'00' * 32}"
    assert host.tlsa[1].startswith("3 1 0 sha256:")


async def test_the_policy_as_published() -> None:
    world = World()
    world.sts.has(DOMAIN, StsPolicy(StsMode.ENFORCE, 86400, ("mx.contoso.com",)))
    sighting = sighting_of(await analyzer(world).run(DOMAIN, by_mx(CONNECTOR), asked=(watch.LOOKING,)))
    assert sighting is not None
    assert sighting.policy == PolicySeen("enforce", "1", ("mx.contoso.com",))


async def test_a_resolver_that_is_not_believed_shows_nothing() -> None:
    world = dane_world()
    engine = Engine(
        world.dns, NoSignatures(), world.sts, world.sts, TrustRoots([]), world.clock,
        DeliverRules(allow_private_destinations=True), lambda: False, lambda: "it lies",
    )  # fmt: skip
    analysis = await Analyzer(engine, Probes(world.dialer)).run(DOMAIN, by_mx(CONNECTOR), asked=(watch.LOOKING,))
    assert sighting_of(analysis) is None
    watching = Watching(world)
    watching.prober._analyzer = Analyzer(engine, Probes(world.dialer))
    await watching.round()
    await watching.round(minutes=5)
    assert (watching.ends, watching.seen) == (["our resolver could not be believed"], [])
    assert watching.store.rows[KEY].sighting is None


# ------------------------------------------------------------------------------------------------------- our troubles


async def test_while_our_resolver_cannot_tell_nobody_is_probed() -> None:
    watching = Watching()
    watching.trusted = False
    await watching.round()
    await watching.round(hours=12)
    assert watching.world.dns.asked == []
    watching.trusted = True
    await watching.round()
    assert len(watching.store.ended) == 1


async def test_another_node_has_it() -> None:
    watching = Watching()
    watching.store.stolen = True
    await watching.round()
    await watching.round(minutes=5)
    assert (watching.world.dns.asked, watching.store.ended) == ([], [])


async def test_a_probe_under_way_is_leased() -> None:
    watching = Watching()
    await watching.round()
    watching.world.dns.gate = asyncio.Event()
    probing = asyncio.create_task(watching.round(minutes=5))
    await asyncio.sleep(0.01)
    assert watching.store.rows[KEY].due_at == watching.world.clock.now() + HOUR
    watching.world.dns.gate.set()
    await probing
    assert len(watching.store.ended) == 1


async def test_one_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.01)
    watching = Watching()
    await watching.round()
    watching.world.dns.gate = asyncio.Event()
    await watching.round(minutes=5)
    assert watching.ends == ["it took longer than 0.01 s"]
    assert watching.store.rows[KEY].trouble == watching.ends[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [(SealrouteError("It cannot be."), "It cannot be."), (ZeroDivisionError("oops"), "it broke off: ZeroDivisionError")],
)
async def test_one_that_breaks_off_is_noted_and_the_others_go_on(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*args: object, **more: object) -> Analysis:
        raise error

    other = ("default", "fabrikam.com")
    watching = Watching(named=(KEY, other))
    monkeypatch.setattr(watching.prober._analyzer, "run", run)
    await watching.round()
    await watching.round(minutes=5)
    assert watching.ends == [said, said]
    assert {row.trouble for row in watching.store.rows.values()} == {said}
    assert all(row.sighting is None for row in watching.store.rows.values())


async def test_a_store_that_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.001)
    watching = Watching()
    await watching.round()
    watching.world.clock.advance(minutes=5)
    watching.store.broken = True
    work = asyncio.create_task(watching.prober.work())
    await asyncio.sleep(0.05)
    assert not work.done()
    watching.store.broken = False
    for _ in range(1000):
        if watching.store.ended:
            break
        await asyncio.sleep(0.005)
    assert len(watching.store.ended) == 1
    work.cancel()
    await watching.prober.close()


# ------------------------------------------------------------------------------------------------------ who is watched


async def test_who_is_watched() -> None:
    watching = Watching(named=(KEY,), max_domains=4)
    partner = replace(CONNECTOR, recipient_domains=("fabrikam.com", "*.fabrikam.com"))
    watching.connectors = [partner]
    watching.store.busy = [
        ("default", "busy.test"),
        ("default", "[192.0.2.1]"),
        KEY,
        ("other", DOMAIN),
        ("default", "rare.test"),
    ]
    await watching.round()
    rows = watching.store.rows
    assert list(rows) == [KEY, ("default", "fabrikam.com"), ("default", "busy.test"), ("other", DOMAIN)]
    assert rows[KEY].due_at == NOW + timedelta(minutes=5)
    assert rows["default", "busy.test"].due_at == NOW + 3 * HOUR
    assert watching.store.asked == [((NOW - timedelta(days=30)).date(), 4)]


async def test_nobody_for_their_traffic_when_that_is_switched_off() -> None:
    watching = Watching(traffic_days=0)
    watching.store.busy = [("default", "busy.test")]
    await watching.round()
    assert list(watching.store.rows) == [KEY]
    assert watching.store.asked == []


async def test_who_is_watched_is_looked_at_again_and_who_is_not_any_more_is_left_alone() -> None:
    watching = Watching(named=())
    watching.store.busy = [KEY]
    await watching.round()
    watching.store.busy = [("default", "fabrikam.com")]
    await watching.round(minutes=59)
    assert list(watching.store.rows) == [KEY]
    await watching.round(minutes=1)
    assert list(watching.store.rows) == [KEY, ("default", "fabrikam.com")]
    await watching.round(hours=3)
    assert watching.store.rows[KEY].due_at == watching.world.clock.now() + timedelta(days=1)
    assert [ended.watched.domain for ended in watching.store.ended] == ["fabrikam.com"]


async def test_with_many_due_there_is_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BATCH", 2)
    named = tuple(("default", f"d{number}.test") for number in range(3))
    watching = Watching(named=named)
    assert not await watching.round()
    assert await watching.round(minutes=5)
    assert not await watching.round()
    assert sorted(ended.watched.domain for ended in watching.store.ended) == ["d0.test", "d1.test", "d2.test"]


def test_partner_connectors_name_domains() -> None:
    def named(**changes: object) -> Sequence[Destination]:
        domains = ("a.test", "*.b.test", "*", "[192.0.2.1]")
        return partner_domains([replace(CONNECTOR, recipient_domains=domains, **changes)])  # type: ignore[arg-type]

    assert named() == [("default", "a.test")]
    assert named(enabled=False) == named(test_mode=True) == named(connector_type=ConnectorType.ON_PREMISES) == []


def test_the_destination_itself_is_looked_at_whatever_the_connector_demands() -> None:
    pinned = replace(
        CONNECTOR, use_mx_record=False, smart_hosts=("192.0.2.1",), tls_settings=TlsSettings.DOMAIN_VALIDATION,
        tls_domain="fabrikam.com", smtp_dane_mode=SmtpDaneMode.NONE, mta_sts_mode=MtaStsMode.NONE,
    )  # fmt: skip
    assert by_mx(pinned) == replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.REPORT_ONLY, mta_sts_mode=MtaStsMode.REPORT_ONLY)


# ----------------------------------------------------------------------------------------- mail that met a mismatch


async def test_mail_that_met_a_mismatch_has_its_destination_probed_soon() -> None:
    store, world = FakeStore(), dane_world(WRONG)
    hasten = Hasten(store, world.clock)
    settled = await world.run()
    hasten.note("default", settled.attempts)
    hasten.note("default", settled.attempts)
    await hasten.flush()
    assert store.hastened == [([KEY], NOW, HOUR)]
    world.clock.advance(minutes=59)
    hasten.note("default", settled.attempts)
    await hasten.flush()
    assert len(store.hastened) == 1
    world.clock.advance(minutes=1)
    hasten.note("default", settled.attempts)
    await hasten.flush()
    assert len(store.hastened) == 2


async def test_other_mail_hastens_nobody() -> None:
    store, good = FakeStore(), dane_world()
    hasten = Hasten(store, good.clock)
    hasten.note("default", (await good.run()).attempts)
    away = dane_world(Peer(unreachable=Reason.CONNECT_TIMEOUT))
    hasten.note("default", (await away.run()).attempts)
    useless = dane_world()
    useless.dns.has("TLSA", "_25._tcp.mx.contoso.com", Tlsa(1, 1, 1, bytes(32)))
    useless.dns.fails("A", "mx.contoso.com")
    hasten.note("default", (await useless.run()).attempts)
    await hasten.flush()
    assert store.hastened == []


async def test_what_could_not_be_hastened_stays_noted_and_not_too_much_is() -> None:
    store, world = FakeStore(), dane_world(WRONG)
    hasten = Hasten(store, world.clock, max_remembered=2)
    settled = await world.run()
    for organization in ("a", "b", "c"):
        hasten.note(organization, settled.attempts)
    store.broken = True
    with pytest.raises(StoreUnavailable):
        await hasten.flush()
    store.broken = False
    await hasten.flush()
    assert [keys for keys, _, _ in store.hastened] == [[("b", DOMAIN), ("c", DOMAIN)]]
