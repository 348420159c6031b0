"""What attempts saw, counted beside the mail: the counts, adding them up in the store, and what `sealroute readiness` shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from sealroute.base.errors import StoreUnavailable
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.attempt import Attempt
from sealroute.policy.connector import Connector
from sealroute.policy.history import Drift, DriftKind, Remembered
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.readiness import Day, Tally, Trouble
from sealroute.policy.requirement import CheckResult, Protection, Verdict
from sealroute.ports import HistoryChange, Observed
from sealroute.services.observe import Observations
from sealroute.settings import Settings
from sealroute.store.store import Store, open_store
from tests.store_making import NOW, url_in

GOOD = Verdict(None, Protection.DANE, would_satisfy_dane=True, would_satisfy_sts=False)
BAD = Verdict(None, Protection.TLS, CheckResult(False, detail="no record matches"), would_satisfy_dane=False)
TODAY = NOW.date()


def attempt(domain: str = "contoso.com", verdict: Verdict | None = GOOD, *, ago: int = 0, rows: Sequence[str] = ()) -> Attempt:
    modes = SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.OPPORTUNISTIC
    at = NOW - timedelta(days=ago)
    rows = tuple(rows) or ("mx-found", "dane-usable", "sts-absent")
    return Attempt(at, 1, "guid", "Bank", *modes, domain, rows, None, f"mx.{domain}", verdict=verdict)


class FakeStore:
    """ports.ObservationStore that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Observed] = []
        self.broken = False

    async def add(self, observed: Sequence[Observed]) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        self.kept += observed


def none_offered(count: int, at: Attempt) -> Tally:
    return Tally(not_offered=count, trouble=Trouble(at.at, f"{at.host}: mx-found, sts-absent"))


def test_attempts_of_one_destination_and_day_are_one_row() -> None:
    store = FakeStore()
    counted = Observations(store)
    counted.note("default", [attempt(), attempt(verdict=BAD), attempt(verdict=None)])
    counted.note("default", [attempt(ago=1), attempt("fabrikam.com")])
    counted.note("other", [attempt()])
    asyncio.run(counted.flush())
    failed = Tally(1, 1, 0, 0, Trouble(NOW, "mx.contoso.com: no record matches"))
    alone = Tally(1)
    assert store.kept == [
        Observed("default", "contoso.com", Day(TODAY - timedelta(days=1), 1, alone, none_offered(1, attempt(ago=1)))),
        Observed("default", "contoso.com", Day(TODAY, 3, failed, none_offered(3, attempt()))),
        Observed("default", "fabrikam.com", Day(TODAY, 1, alone, none_offered(1, attempt("fabrikam.com")))),
        Observed("other", "contoso.com", Day(TODAY, 1, alone, none_offered(1, attempt()))),
    ]
    asyncio.run(counted.flush())
    assert len(store.kept) == 4


def test_what_could_not_be_written_is_written_later_and_once() -> None:
    store = FakeStore()
    counted = Observations(store)
    counted.note("default", [attempt(verdict=BAD)])
    store.broken = True

    async def fail_while_mail_goes_on() -> None:
        flush = counted.flush()
        with pytest.raises(StoreUnavailable):
            await flush
        counted.note("default", [attempt(), attempt("fabrikam.com")])
        with pytest.raises(StoreUnavailable):
            await counted.flush()

    asyncio.run(fail_while_mail_goes_on())
    store.broken = False
    asyncio.run(counted.flush())
    assert [(item.domain, item.day.attempts, item.day.dane.satisfied) for item in store.kept] == [
        ("contoso.com", 2, 1),
        ("fabrikam.com", 1, 1),
    ]
    assert store.kept[0].day.dane.trouble == Trouble(NOW, "mx.contoso.com: no record matches")


def test_what_is_counted_while_a_write_fails_is_added() -> None:
    class Slow(FakeStore):
        async def add(self, observed: Sequence[Observed]) -> None:
            if self.broken:
                counted.note("default", [attempt(), attempt("fabrikam.com")])
            await super().add(observed)

    store = Slow()
    counted = Observations(store)
    counted.note("default", [attempt(verdict=BAD)])
    store.broken = True
    with pytest.raises(StoreUnavailable):
        asyncio.run(counted.flush())
    store.broken = False
    asyncio.run(counted.flush())
    found = {item.domain: item.day for item in store.kept}
    assert (found["contoso.com"].attempts, found["fabrikam.com"].attempts) == (2, 1)
    assert (found["contoso.com"].dane.satisfied, found["contoso.com"].dane.failed) == (1, 1)
    assert found["contoso.com"].dane.trouble == Trouble(NOW, "mx.contoso.com: no record matches")


def test_too_many_destinations_are_not_counted_and_the_known_ones_are() -> None:
    store = FakeStore()
    counted = Observations(store, max_noted=2)
    counted.note("default", [attempt(f"d{number}.test") for number in (1, 2, 3)])
    counted.note("default", [attempt("d1.test")])
    asyncio.run(counted.flush())
    assert [(item.domain, item.day.attempts) for item in store.kept] == [("d1.test", 2), ("d2.test", 1)]


def test_a_long_cause_is_cut() -> None:
    store = FakeStore()
    counted = Observations(store)
    counted.note("default", [attempt(verdict=replace(BAD, dane=CheckResult(False, detail="x" * 5000)))])
    asyncio.run(counted.flush())
    assert store.kept[0].day.dane.trouble is not None
    assert len(store.kept[0].day.dane.trouble.why) == 500


# ------------------------------------------------------------------------------------------------------------ the store


def observed(domain: str, ago: int, dane: Tally, attempts: int = 1) -> Observed:
    return Observed("default", domain, Day(TODAY - timedelta(days=ago), attempts, dane, Tally()))


async def write(folder: Path, *parts: Sequence[Observed]) -> None:
    """Each part by a store of its own, as several nodes do."""
    stores: list[Store] = [open_store(url_in(folder)) for _ in parts]
    for store, part in zip(stores, parts, strict=True):
        await store.observations.add(part)
    for store in stores:
        await store.close()


def days_in(folder: Path, since: date = TODAY - timedelta(days=100), *domains: str) -> dict[str, list[Day]]:
    admin = open_store(url_in(folder)).admin
    found = admin.observations.days("default", since, domains)
    admin.close()
    return found


def test_nodes_add_to_each_other_and_the_later_trouble_stays(tmp_path: Path) -> None:
    late, early = Trouble(NOW, "late \0\udcff"), Trouble(NOW - timedelta(hours=1), "early")
    first = observed("contoso.com", 0, Tally(1, 2, 3, 4, late), 10)
    second = observed("contoso.com", 0, Tally(10, 20, 30, 40, early), 100)
    quiet = observed("contoso.com", 0, Tally(5), 5)
    asyncio.run(write(tmp_path, [quiet], [first], [second], [quiet]))
    kept = Day(TODAY, 120, Tally(21, 22, 33, 44, Trouble(NOW, "late ?")), Tally())
    assert days_in(tmp_path) == {"contoso.com": [kept]}


def test_by_organization_day_and_domain(tmp_path: Path) -> None:
    other = Observed("other", "contoso.com", Day(TODAY, 1, Tally(1), Tally()))
    mine = [observed("fabrikam.com", 0, Tally(1)), observed("contoso.com", 2, Tally(1)), observed("contoso.com", 0, Tally(2))]
    asyncio.run(write(tmp_path, [*mine, other]))
    found = days_in(tmp_path)
    assert {domain: [day.day for day in days] for domain, days in found.items()} == {
        "contoso.com": [TODAY - timedelta(days=2), TODAY],
        "fabrikam.com": [TODAY],
    }
    assert [*days_in(tmp_path, TODAY - timedelta(days=1), "contoso.com").items()] == [
        ("contoso.com", [Day(TODAY, 1, Tally(2), Tally())])
    ]


def test_old_days_are_removed(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [observed("contoso.com", ago, Tally(1)) for ago in (0, 89, 90, 91)]))
    admin = open_store(url_in(tmp_path)).admin
    assert admin.observations.purge(NOW - timedelta(days=90)) == 1
    assert admin.observations.purge(NOW - timedelta(days=90)) == 0
    admin.close()


# ----------------------------------------------------------------------------------------------------- the command line


def command(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    admin = open_store(url_in(folder)).admin

    def make(asked: str | None) -> Context:
        return Context(preset_settings=Settings(), preset_store=admin, moment=NOW)

    code = run(["readiness", *words], make)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """One ready destination, one broken, one that offers nothing."""
    bank = [observed("bank.example", ago, Tally(4), 4) for ago in range(8)]
    shop = [
        observed("shop.example", 1, Tally(9)),
        observed("shop.example", 0, Tally(999, 1, trouble=Trouble(NOW, "no\x1b match"))),
    ]
    asyncio.run(write(tmp_path, [*bank, *shop]))
    gone = Drift(organization="default", domain="shop.example", at=NOW, kind=DriftKind.DANE_WEAKENED, detail="mx2 has none")
    known = Remembered(organization="default", domain="shop.example", dane_first=NOW)

    async def drift() -> None:
        store = open_store(url_in(tmp_path))
        await store.history.record([HistoryChange(None, known, (gone,))])
        await store.close()

    asyncio.run(drift())
    return tmp_path


def test_the_table(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(filled, capsys) == (
        0,
        "DOMAIN        DAYS  ATTEMPTS  PROBES  DANE          SHARE  MTA-STS       SHARE\n"
        "bank.example     8        32       0  ready         100 %  wait              -\n"
        "shop.example     2         2       0  broken       99.9 %  wait              -\n",
        "",
    )


def test_in_full(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = command(filled, capsys, "SHOP.example", "new.example")
    assert code == 0
    assert said == (
        "shop.example  2 attempts on 2 days from 2026-11-21 to 2026-11-22\n"
        "  DANE     broken  99.9 %\n"
        "           1 session failed on 2026-11-22.\n"
        "           Last trouble 2026-11-22T12:00:00Z: no\\x1b match.\n"
        "           1008 satisfied, 1 failed, 0 not offered, 0 unknown\n"
        "  MTA-STS  wait  -\n"
        "           MTA-STS was not looked at: the connector's mode is None, or no server was reached.\n"
        "  2026-11-22 12:00:00Z  dane-weakened: mx2 has none\n"
        "\n"
        "new.example  0 attempts\n"
        "  DANE     wait  -\n"
        "           No mail was tried yet.\n"
        "  MTA-STS  wait  -\n"
        "           No mail was tried yet.\n"
    )


def test_other_rules_and_json(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = command(filled, capsys, "bank.example", "--days", "9", "--sessions", "33", "--json")
    assert code == 0
    (found,) = json.loads(said)
    assert found["dane"] == {
        "state": "wait", "reasons": ["8 good days of 9.", "32 satisfied sessions of 33."], "share": 1.0, "satisfied": 32,
        "failed": 0, "notOffered": 0, "unknown": 0, "lastTrouble": None,
    }  # fmt: skip
    assert (found["firstDay"], found["lastDay"], found["daysObserved"], found["attempts"]) == (
        "2026-11-15",
        "2026-11-22",
        8,
        32,
    )
    everything = json.loads(command(filled, capsys, "--json")[1])
    assert everything[1]["dane"]["lastTrouble"] == {"at": "2026-11-22T12:00:00Z", "why": "no\x1b match"}


def test_of_one_connector(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    admin = open_store(url_in(filled)).admin
    connector = Connector(name="Banks", guid="9f1c4a52-0000-4000-8000-000000000001", organization="default",
                          recipient_domains=("bank.example",))  # fmt: skip
    admin.connectors.add(connector, "anna")
    admin.close()
    said = command(filled, capsys, "--connector", "banks")[1]
    assert "bank.example" in said
    assert "shop.example" not in said
    code, _, wrong = command(filled, capsys, "--connector", "nobody")
    assert (code, "there is no connector 'nobody'" in wrong) == (2, True)


def test_nothing_yet_and_a_wrong_domain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, capsys)[1] == "No mail was tried yet, and nobody was probed.\n"
    assert command(tmp_path, capsys, "a..b")[0] == 2
