"""What probes look after, at rest: one node probes a destination, what it saw is kept with its events, the rest is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.alerts import AlertRules, Channel
from sealroute.policy.history import Drift, DriftKind
from sealroute.policy.readiness import Day, Tally, Trouble
from sealroute.policy.sighting import CertificateSeen, HostSighting, PolicySeen, Sighting, SignatureSeen
from sealroute.policy.sighting_changes import ChangeKind, Compared, SeenChange
from sealroute.ports import Destination, Observed, ProbeEnd, Watched
from sealroute.settings import Settings
from sealroute.store.store import AdminStore, Store, open_store
from tests.store_making import NOW, peek, url_in

T = TypeVar("T")
KEY: Destination = ("default", "contoso.com")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CERTIFICATE = CertificateSeen("aa" * 32, "a1" * 32, NOW - 30 * DAY, NOW + 60 * DAY)
HOST = HostSighting(
    name="mx.contoso.com", tlsa=(f"3 1 1 {CERTIFICATE.key}",), certificates=(CERTIFICATE,), matches=True, seen_at=NOW
)  # fmt: skip
SIGHTING = Sighting(
    at=NOW, mx=("10 mx.contoso.com",), hosts=(HOST,), policy=PolicySeen("absent"),
    signature=SignatureSeen("MX contoso.com", NOW - 10 * DAY, NOW + 20 * DAY), signatures_complete=True,
)  # fmt: skip
EVENT = Drift(
    organization="default", domain="contoso.com", at=NOW, kind=DriftKind.RENEWAL_UNREADY, detail="mx \0 ends \udcff", last_seen=NOW
)  # fmt: skip
CHANGE = SeenChange(NOW, ChangeKind.CERTIFICATE, "mx.contoso.com", "key \0 changed \udcff")


def in_store(folder: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    async def scenario() -> T:
        store = open_store(url_in(folder))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(scenario())


def admin(folder: Path) -> AdminStore:
    return open_store(url_in(folder)).admin


async def taken(store: Store, key: Destination = KEY) -> Watched:
    """Added, due and ours for an hour."""
    await store.watched.enrol({key: NOW}, NOW)
    (due,) = await store.watched.due(NOW, 10)
    mine = await store.watched.take(due, NOW + HOUR)
    assert mine is not None
    return mine


def ended(mine: Watched, *events: Drift, changes: tuple[SeenChange, ...] = (CHANGE,)) -> ProbeEnd:
    return ProbeEnd(mine, NOW, NOW + DAY, "", Compared(SIGHTING, changes, events))


def test_of_two_nodes_one_probes(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        other = open_store(url_in(tmp_path))
        assert await store.watched.enrol({KEY: NOW, ("default", "fabrikam.com"): NOW + HOUR}, NOW) == 2
        assert await other.watched.enrol({KEY: NOW - DAY}, NOW) == 0
        (mine,), (theirs,) = await store.watched.due(NOW, 10), await other.watched.due(NOW, 10)
        assert mine == theirs == Watched(*KEY, NOW)
        got = await store.watched.take(mine, NOW + HOUR)
        assert got == Watched(*KEY, NOW + HOUR)
        assert await other.watched.take(theirs, NOW + HOUR) is None
        assert await other.watched.due(NOW + HOUR - timedelta(seconds=1), 10) == []
        assert [row.domain for row in await other.watched.due(NOW + HOUR, 10)] == ["contoso.com", "fabrikam.com"]
        assert len(await other.watched.due(NOW + HOUR, 1)) == 1
        await other.close()

    in_store(tmp_path, work)


def test_what_is_watched_is_hastened_unless_it_is_being_probed_or_was(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        names = ("later.test", "other.test")
        await store.watched.enrol({("default", name): NOW + 9 * HOUR for name in names}, NOW - DAY)
        await store.watched.enrol({KEY: NOW + 9 * HOUR}, NOW)
        wanted = [("default", name) for name in ("later.test", "unknown.test", "contoso.com")]
        assert await store.watched.hasten(wanted, NOW, HOUR) == 1
        assert [row.domain for row in await store.watched.due(NOW, 9)] == ["later.test"]
        assert await store.watched.hasten(wanted, NOW, HOUR) == 0
        await store.watched.take(Watched("default", "other.test", NOW + 9 * HOUR), NOW + HOUR)
        assert await store.watched.hasten([("default", "other.test")], NOW, HOUR) == 0

    in_store(tmp_path, work)


def test_what_a_probe_saw_is_kept_with_its_events_and_alerts(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        store.watched.alerts = AlertRules((Channel.MAIL,), HOUR)
        mine = await taken(store)
        assert await store.watched.end(ended(mine, EVENT)) == [EVENT]
        assert await store.watched.due(NOW + DAY, 10) == [Watched(*KEY, NOW + DAY, SIGHTING, NOW)]

    in_store(tmp_path, work)
    store = admin(tmp_path)
    assert store.watched.watched("default") == {"contoso.com": Watched(*KEY, NOW + DAY, SIGHTING, NOW)}
    assert store.watched.watched("default", ["fabrikam.com"]) == store.watched.watched("other") == {}
    assert store.watched.changes("default", "contoso.com", 5) == [replace(CHANGE, text="key  changed ?")]
    assert [event.kind for event in store.drift.events("default")] == [DriftKind.RENEWAL_UNREADY]
    assert [(alert.kind, alert.domain) for alert in store.alerts.all("default", 5)] == [("renewal-unready", "contoso.com")]
    store.close()


def test_a_probe_that_was_given_up_for_dead_comes_too_late(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        late = await taken(store)
        (due,) = await store.watched.due(NOW + HOUR, 10)
        mine = await store.watched.take(due, NOW + 2 * HOUR)
        assert mine is not None
        assert await store.watched.end(ended(late, EVENT)) is None
        assert await store.watched.end(ProbeEnd(mine, NOW, NOW + DAY, "it took longer \udcff")) == []

    in_store(tmp_path, work)
    store = admin(tmp_path)
    assert store.watched.watched("default") == {"contoso.com": Watched(*KEY, NOW + DAY, None, NOW, "it took longer ?")}
    assert (store.drift.events("default"), store.watched.changes("default", "contoso.com", 5)) == ([], [])
    store.close()


def test_a_probe_that_saw_nothing_leaves_what_is_known(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.watched.end(ended(await taken(store)))
        (due,) = await store.watched.due(NOW + DAY, 1)
        mine = await store.watched.take(due, NOW + DAY + HOUR)
        assert mine is not None
        await store.watched.end(ProbeEnd(mine, NOW + DAY, NOW + 2 * DAY, "nobody answered"))

    in_store(tmp_path, work)
    store = admin(tmp_path)
    assert store.watched.watched("default")["contoso.com"] == Watched(
        *KEY, NOW + 2 * DAY, SIGHTING, NOW + DAY, "nobody answered"
    )  # fmt: skip
    store.close()


def test_a_sighting_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    in_store(tmp_path, lambda store: _end(store))
    for damaged in ("{", '{"at": 7}', '{"at": "yesterday"}'):
        with peek(tmp_path) as database:
            database.execute(f"UPDATE destination_watch SET sighting = '{damaged}'")
            database.commit()
        store = admin(tmp_path)
        assert store.watched.watched("default")["contoso.com"].sighting is None
        store.close()


async def _end(store: Store) -> None:
    await store.watched.end(ended(await taken(store)))


def test_the_last_changes_are_kept(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        many = tuple(replace(CHANGE, text=f"number {number}") for number in range(60))
        for number, key in enumerate((KEY, ("default", "fabrikam.com"))):
            await store.watched.enrol({key: NOW}, NOW)
            for step in range(2):
                (due,) = [row for row in await store.watched.due(NOW + 9 * DAY, 10) if row.domain == key[1]]
                mine = await store.watched.take(due, NOW + 10 * HOUR + number * HOUR + step * HOUR)
                assert mine is not None
                await store.watched.end(ended(mine, changes=many[: 60 if key is KEY else 2]))

    in_store(tmp_path, work)
    store = admin(tmp_path)
    found = store.watched.changes("default", "contoso.com", 1000)
    assert [change.text for change in found] == [f"number {number % 60}" for number in range(119, 19, -1)]
    assert len(store.watched.changes("default", "fabrikam.com", 1000)) == 4
    store.close()


def test_what_is_old_is_removed(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.watched.end(ended(await taken(store)))
        await store.watched.enrol({("default", "fabrikam.com"): NOW + 9 * DAY}, NOW + DAY)

    in_store(tmp_path, work)
    store = admin(tmp_path)
    assert store.watched.purge(NOW) == 0
    assert store.watched.purge(NOW + HOUR) == 2
    assert list(store.watched.watched("default")) == ["fabrikam.com"]
    store.close()


def test_where_mail_goes_the_most_first(tmp_path: Path) -> None:
    def seen(domain: str, ago: int, attempts: int, organization: str = "default") -> Observed:
        return Observed(organization, domain, Day((NOW - ago * DAY).date(), attempts, Tally(), Tally()))

    async def work(store: Store) -> None:
        await store.observations.add([
            seen("contoso.com", 0, 2), seen("contoso.com", 3, 2), seen("fabrikam.com", 0, 3), seen("example.com", 9, 99),
            seen("contoso.com", 0, 1, "other"),
        ])  # fmt: skip
        await store.probes.add([seen("example.net", 0, 9)])
        since = (NOW - 3 * DAY).date()
        busy = [KEY, ("default", "fabrikam.com"), ("other", "contoso.com")]
        assert await store.watched.traffic(since, 10) == busy
        assert await store.watched.traffic(since, 1) == busy[:1]

    in_store(tmp_path, work)


def test_probes_are_counted_apart(tmp_path: Path) -> None:
    trouble = Trouble(NOW, "no match")
    today, yesterday = NOW.date(), (NOW - DAY).date()

    async def work(store: Store) -> None:
        await store.observations.add([Observed(*KEY, Day(today, 4, Tally(3), Tally(1)))])
        for _ in range(2):
            await store.probes.add(
                [Observed(*KEY, Day(day, 1, Tally(0, 1, 0, 0, trouble), Tally(2))) for day in (today, yesterday)]
            )

    in_store(tmp_path, work)
    store = admin(tmp_path)
    probed = Tally(0, 2, 0, 0, trouble)
    assert store.observations.days("default", yesterday) == {
        "contoso.com": [
            Day(yesterday, 0, Tally(), Tally(), 2, probed, Tally(4)),
            Day(today, 4, Tally(3), Tally(1), 2, probed, Tally(4)),
        ]
    }
    assert store.observations.purge(NOW) == 1
    assert len(store.observations.days("default", yesterday)["contoso.com"]) == 1
    store.close()


# ----------------------------------------------------------------------------------------------------- the command line


def command(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    store = admin(folder)

    def make(asked: str | None) -> Context:
        return Context(preset_settings=Settings(), preset_store=store, moment=NOW + 2 * HOUR)

    assert run(["readiness", *words], make) == 0
    return capsys.readouterr().out


def test_readiness_shows_what_probes_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(store: Store) -> None:
        bad = replace(HOST, name="mx2.contoso.com", matches=False, mismatch="no record matches", seen_at=NOW - HOUR)
        unknown = HostSighting(name="mx3.contoso.com")
        shown = replace(SIGHTING, hosts=(HOST, bad, unknown), policy=PolicySeen("enforce", "1", ("*.contoso.com",)))
        compared = Compared(shown, (CHANGE,), (EVENT,))
        await store.watched.end(ProbeEnd(await taken(store), NOW, NOW + DAY, "", compared))
        await store.probes.add([Observed(*KEY, Day((NOW - ago * DAY).date(), 1, Tally(1), Tally())) for ago in range(7)])
        await taken(store, ("default", "new.test"))

    in_store(tmp_path, work)
    assert command(tmp_path, capsys, "contoso.com", "new.test") == (
        "contoso.com  0 attempts, 7 probes on 7 days from 2026-11-16 to 2026-11-22\n"
        "  DANE     broken  100 %\n"
        "           mx2.contoso.com, probed 2026-11-22T11:00:00Z: no record matches.\n"
        "           All 7 probes on 7 days since 2026-11-16 were satisfied.\n"
        "           7 satisfied, 0 failed, 0 not offered, 0 unknown\n"
        "  MTA-STS  wait  -\n"
        "           MTA-STS was not looked at: the connector's mode is None, or no server was reached.\n"
        "  Last probe 2026-11-22 12:00:00Z; next 2026-11-23 12:00:00Z\n"
        "  mx.contoso.com: TLSA 3 1 1 a1a1a1a1a1a1a1a1…\n"
        "    certificate 3 1 1 a1a1a1a1a1a1a1a1… until 2027-01-21 12:00:00Z\n"
        "    matched by its TLSA records\n"
        "  mx2.contoso.com (as of 2026-11-22 11:00:00Z): TLSA 3 1 1 a1a1a1a1a1a1a1a1…\n"
        "    certificate 3 1 1 a1a1a1a1a1a1a1a1… until 2027-01-21 12:00:00Z\n"
        "    no record matches\n"
        "  mx3.contoso.com (never seen whole): its TLSA records could not be found out\n"
        "  MTA-STS policy: enforce, id 1, mx *.contoso.com\n"
        "  First signature to end: MX contoso.com, 2026-12-12 12:00:00Z (19 days left)\n"
        "  2026-11-22 12:00:00Z  certificate changed: mx.contoso.com: key  changed ?\n"
        "  2026-11-22 12:00:00Z  renewal-unready: mx  ends ?\n"
        "\n"
        "new.test  0 attempts\n"
        "  DANE     wait  -\n"
        "           No mail was tried yet.\n"
        "  MTA-STS  wait  -\n"
        "           No mail was tried yet.\n"
        "  Not probed yet; next 2026-11-22 13:00:00Z\n"
    )
    assert "contoso.com     7         0       7  broken" in command(tmp_path, capsys)
    assert "All 7 probes" not in command(tmp_path, capsys, "contoso.com", "--probes", "0")


def test_what_could_not_be_found_out_is_shown_as_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = replace(HOST, tlsa=tuple(f"3 1 1 {number:064x}" for number in range(9)), matches=None, certificates=())
    none = HostSighting(name="mx2.contoso.com", tlsa=(), certificates=(CertificateSeen("bb" * 32, ""),), seen_at=NOW)
    shown = replace(SIGHTING, hosts=(many, none), policy=None, signature=None, signatures_complete=False)

    async def work(store: Store) -> None:
        await store.watched.end(ProbeEnd(await taken(store), NOW, NOW + DAY, "", Compared(shown)))
        (due,) = await store.watched.due(NOW + DAY, 1)
        mine = await store.watched.take(due, NOW + DAY + HOUR)
        assert mine is not None
        await store.watched.end(ProbeEnd(mine, NOW + HOUR, NOW + DAY, "it took longer than 300 s"))

    in_store(tmp_path, work)
    said = command(tmp_path, capsys, "contoso.com")
    assert "  Last probe 2026-11-22 13:00:00Z saw nothing: it took longer than 300 s; next " in said
    assert said.count("3 1 1 ") == 6
    assert ", and 3 more\n" in said
    assert "mx2.contoso.com: no TLSA records that DNSSEC proves\n    certificate 3 0 1 bbbbbbbbbbbbbbbb…\n" in said
    assert "  MTA-STS policy: could not be found out\n  How long its signatures hold could not be found out.\n" in said
