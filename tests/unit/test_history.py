"""What destinations had: which evidence says what, which change is an event, and that unknown never is one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.dnsdata import Mx, Outcome, Security
from sealroute.base.errors import StoreUnavailable
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.decide import decide
from sealroute.policy.evidence import Evidence, FetchFailure, HopKind, HostEvidence, StsEvidence, StsSource, TlsaLookup
from sealroute.policy.history import (
    DaneState,
    Drift,
    DriftKind,
    Remembered,
    Seen,
    StsState,
    observe,
    seen,
)
from sealroute.ports import HistoryChange
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus
from sealroute.services.history import History
from sealroute.settings import Settings
from sealroute.store.store import Store, open_store
from tests.unit import evidence_factory as make

NOW = make.NOW
KEY = ("default", make.DOMAIN)
D, S, K = DaneState, StsState, DriftKind


def tlsa(*answers: Any, **changes: Any) -> HostEvidence:
    return make.host(tlsa=tuple(TlsaLookup(make.HOST, answer) for answer in answers), **changes)


NO_TLSA = tlsa(make.none(outcome=Outcome.NXDOMAIN, rtype="TLSA"))
SECOND = replace(NO_TLSA, name="mx2.contoso.com")
LITERAL = HostEvidence("192.0.2.9", is_literal=True, literal_addresses=("192.0.2.9",), from_mx=False)

# ------------------------------------------------------------------------------------------------- what evidence says

DANE_CASES = [
    ("every host", make.evidence(), D.ALL, ""),
    ("some hosts", make.evidence(make.hop(make.host(), SECOND)), D.SOME, "mx2.contoso.com publishes no TLSA record"),
    ("no host", make.evidence(make.hop(NO_TLSA, SECOND)), D.NONE,
     "mx.contoso.com publishes no TLSA record; mx2.contoso.com publishes no TLSA record"),
    ("no longer signed",
     make.evidence(make.hop(tlsa(), mx=make.data(Mx(10, make.HOST), security=Security.INSECURE, name=make.DOMAIN))), D.NONE,
     "the MX record of contoso.com is not signed with DNSSEC"),
    ("unusable", make.evidence(make.hop(tlsa(make.data(make.UNUSABLE_TLSA, rtype="TLSA")))), D.NONE,
     "no TLSA record of mx.contoso.com is usable for SMTP"),
    ("TLSA unknown", make.evidence(make.hop(tlsa(make.failed(rtype="TLSA")), make.host())), None, ""),
    ("not asked for, in mode None", make.evidence(make.hop(tlsa())), None, ""),
    ("addresses unknown", make.evidence(make.hop(make.host(a=make.failed(), aaaa=make.failed()))), None, ""),
    ("MX bogus", make.evidence(make.hop(mx=make.failed(Security.BOGUS), hosts=())), None, ""),
    ("domain gone", make.evidence(make.hop(mx=make.none(outcome=Outcome.NXDOMAIN), hosts=())), None, ""),
    ("resolver not trusted", make.evidence(resolver_trusted=False), None, ""),
    ("through smart hosts", make.evidence(make.hop(NO_TLSA, kind=HopKind.SMART_HOST)), None, ""),
    ("an address literal", make.evidence(make.hop(LITERAL, mx=None)), None, ""),
    ("host without an MX answer", make.evidence(make.hop(mx=None)), None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("what", "evidence", "state", "detail"), DANE_CASES, ids=[case[0] for case in DANE_CASES])
def test_what_evidence_says_of_dane(what: str, evidence: Evidence, state: DaneState | None, detail: str) -> None:
    found = seen(evidence)
    assert (found.dane, found.dane_detail) == (state, detail)


GONE = make.none(outcome=Outcome.NXDOMAIN, rtype="TXT")
CACHED = make.sts(source=StsSource.CACHED)
STS_CASES = [
    ("enforce", make.sts(), S.ENFORCE, ""),
    ("enforce from the cache", CACHED, S.ENFORCE, ""),
    ("enforce from the cache, DNS silent",
     replace(CACHED, txt=make.failed(), txt_parsed=None, failure=FetchFailure.FETCH_ERROR), S.ENFORCE, ""),
    ("record gone, policy cached", replace(CACHED, txt=GONE, txt_parsed=StsTxt(TxtStatus.NONE)), S.CACHED,
     "it publishes no MTA-STS record; the cached policy stays in force until 2026-11-29T12:00:00Z"),
    ("record malformed, policy cached", replace(CACHED, txt_parsed=StsTxt(TxtStatus.INVALID, reason="two records"), expires_at=None),
     S.CACHED, "its _mta-sts record is malformed: two records; the cached policy stays in force"),
    ("testing", make.sts(policy=make.policy(StsMode.TESTING)), S.TESTING, "its policy's mode is testing"),
    ("none", make.sts(policy=make.policy(StsMode.NONE)), S.OFF, "its policy's mode is none"),
    ("absent", make.sts_absent(), S.ABSENT, "it publishes no MTA-STS record"),
    ("record malformed", replace(make.sts_absent(), txt_parsed=StsTxt(TxtStatus.INVALID, reason="two records")), S.ABSENT,
     "its _mta-sts record is malformed: two records"),
    ("policy malformed", make.sts_failed(FetchFailure.POLICY_INVALID, "no max_age"), S.ABSENT,
     "its policy is malformed: no max_age"),
    ("fetch failed", make.sts_failed(), None, ""),
    ("certificate of the policy host", make.sts_failed(FetchFailure.WEBPKI_INVALID), None, ""),
    ("DNS silent", make.sts_failed(txt=make.failed(), txt_parsed=None), None, ""),
    ("DNS silent, no failure named", replace(make.sts_absent(), txt=make.failed()), None, ""),
    ("not asked for", replace(make.sts_absent(), txt=None), None, ""),
    ("not parsed", replace(make.sts_absent(), txt_parsed=None), None, ""),
    ("record there, policy not", replace(make.sts_absent(), txt_parsed=StsTxt(TxtStatus.OK, "1")), None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("what", "policy", "state", "detail"), STS_CASES, ids=[case[0] for case in STS_CASES])
def test_what_evidence_says_of_mta_sts(what: str, policy: StsEvidence, state: StsState | None, detail: str) -> None:
    found = seen(make.evidence(policies=(policy,)))
    assert (found.sts, found.sts_detail) == (state, detail)


def test_policies_that_were_not_looked_at_say_nothing() -> None:
    assert seen(make.evidence(policies=())).sts is None


# --------------------------------------------------------------------------------------------------- what has changed

FULL = Remembered(
    organization="default", domain=make.DOMAIN, dane=D.ALL, dane_first=NOW, dane_last=NOW, sts=S.ENFORCE, sts_first=NOW,
    sts_last=NOW,
)  # fmt: skip
CHANGES = [
    (D.ALL, S.ENFORCE, D.ALL, S.ENFORCE, []),
    (D.ALL, S.ENFORCE, None, None, []),
    (D.ALL, S.ENFORCE, D.SOME, S.ENFORCE, [K.DANE_WEAKENED]),
    (D.ALL, S.ENFORCE, D.NONE, S.ENFORCE, [K.DANE_LOST]),
    (D.SOME, S.ENFORCE, D.NONE, S.ENFORCE, [K.DANE_LOST]),
    (D.NONE, S.ENFORCE, D.SOME, S.ENFORCE, [K.DANE_GAINED]),
    (D.SOME, S.ENFORCE, D.ALL, S.ENFORCE, [K.DANE_GAINED]),
    (D.ALL, S.ENFORCE, D.ALL, S.CACHED, [K.STS_WEAKENED]),
    (D.ALL, S.CACHED, D.ALL, S.CACHED, []),
    (D.ALL, S.CACHED, D.ALL, S.ABSENT, [K.STS_LOST]),
    (D.ALL, S.CACHED, D.ALL, S.ENFORCE, [K.STS_GAINED]),
    (D.ALL, S.ENFORCE, D.ALL, S.TESTING, [K.STS_WEAKENED]),
    (D.ALL, S.ENFORCE, D.ALL, S.OFF, [K.STS_WEAKENED]),
    (D.ALL, S.ABSENT, D.ALL, S.TESTING, []),
    (D.ALL, S.ABSENT, D.ALL, S.ENFORCE, [K.STS_GAINED]),
    (D.ALL, S.ENFORCE, D.NONE, S.ABSENT, [K.DANE_LOST, K.STS_LOST]),
]


@pytest.mark.parametrize(("dane", "sts", "dane_now", "sts_now", "kinds"), CHANGES)
def test_which_change_is_an_event(
    dane: DaneState, sts: StsState, dane_now: DaneState | None, sts_now: StsState | None, kinds: list[DriftKind]
) -> None:
    before = replace(FULL, dane=dane, sts=sts)
    after, events = observe(before, KEY, Seen(dane_now, sts_now), NOW + timedelta(days=1))
    assert [event.kind for event in events] == kinds
    assert after is not None
    assert (after.dane, after.sts) == (dane_now or dane, sts_now or sts)
    again, more = observe(after, KEY, Seen(dane_now, sts_now), NOW + timedelta(days=2))
    assert more == [], "it is told once"
    assert again is not None


def test_an_event_says_what_was_known_and_since_when() -> None:
    before = replace(FULL, dane_last=NOW + timedelta(days=3))
    what = seen(make.evidence(make.hop(NO_TLSA), policies=()))
    _, (event,) = observe(before, KEY, what, NOW + timedelta(days=4))
    assert event.sentence == (
        "contoso.com: mx.contoso.com publishes no TLSA record (seen from 2026-11-22T12:00:00Z to 2026-11-25T12:00:00Z)"
    )
    assert event.kind.weaker
    _, (event,) = observe(replace(FULL, dane=D.NONE, dane_first=None, dane_last=None), KEY, Seen(D.ALL, None), NOW)
    assert event.sentence == "contoso.com: every mail host has usable TLSA records"
    assert not event.kind.weaker


def test_a_first_sight_is_remembered_and_told_to_nobody_and_nothing_is_remembered_of_the_rest() -> None:
    assert observe(None, KEY, Seen(D.ALL, S.ENFORCE), NOW) == (FULL, [])
    assert observe(None, KEY, Seen(D.NONE, S.ABSENT), NOW) == (None, [])
    assert observe(None, KEY, Seen(D.NONE, S.TESTING), NOW) == (None, [])
    assert observe(None, KEY, Seen(None, None), NOW) == (None, [])
    only_dane, _ = observe(None, KEY, Seen(D.SOME, S.ABSENT), NOW)
    assert only_dane == replace(FULL, dane=D.SOME, sts=S.ABSENT, sts_first=None, sts_last=None)


def test_little_is_written_for_what_stays() -> None:
    soon, later = NOW + timedelta(minutes=59), NOW + timedelta(minutes=61)
    assert observe(FULL, KEY, Seen(D.ALL, S.ENFORCE), soon)[0] == FULL
    assert observe(FULL, KEY, Seen(D.ALL, S.ENFORCE), later)[0] == replace(FULL, dane_last=later, sts_last=later)


@given(st.sampled_from(DaneState), st.sampled_from(StsState), st.sampled_from([None, *DaneState]))
def test_unknown_is_never_drift(dane: DaneState, sts: StsState, dane_now: DaneState | None) -> None:
    before = replace(FULL, dane=dane, sts=sts)
    after, events = observe(before, KEY, Seen(dane_now, None), NOW + timedelta(days=1))
    assert after is not None
    assert after.sts is sts
    assert (dane_now is None) <= (after == before and events == [])


# ------------------------------------------------------------------------------------------------ service and store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'history.db'}")


class Watched:
    """A History on a real store, and what was heard."""

    def __init__(self, store: Store, **bounds: int) -> None:
        self.heard: list[Drift] = []
        self.history = History(store.history, self.heard.append, **bounds)

    def look(self, evidence: Evidence, organization: str = "default") -> None:
        connector = make.connector(organization=organization)
        self.history.look(connector, decide(connector, evidence))


PROTECTED = make.evidence(policies=(make.sts(),))
BARE = make.evidence(make.hop(NO_TLSA), gathered_at=NOW + timedelta(days=1))


async def test_a_loss_is_written_and_told_once(store: Store) -> None:
    watched = Watched(store)
    watched.look(PROTECTED)
    await watched.history.flush()
    assert store.admin.drift.remembered("default") == [FULL]
    assert watched.heard == []
    for _ in range(2):
        watched.look(BARE)
        await watched.history.flush()
    assert [event.kind for event in watched.heard] == [K.DANE_LOST, K.STS_LOST]
    assert store.admin.drift.events("default") == watched.heard[::-1]
    assert store.admin.drift.events("default", "fabrikam.com") == []
    assert store.admin.drift.events("fabrikam") == []
    assert [item.dane for item in store.admin.drift.remembered("default", make.DOMAIN)] == [D.NONE]
    assert store.admin.drift.purge(NOW + timedelta(days=2)) == 2
    assert store.admin.drift.events("default") == []
    await store.close()


async def test_of_two_nodes_one_tells(store: Store) -> None:
    change = HistoryChange(None, FULL)
    await store.history.record([change])
    lost = replace(FULL, dane=D.NONE)
    event = Drift(organization="default", domain=make.DOMAIN, at=NOW, kind=K.DANE_LOST, detail="gone")
    assert await store.history.record([HistoryChange(FULL, lost, (event,))]) == [event]
    assert await store.history.record([HistoryChange(FULL, lost, (event,))]) == []
    assert await store.history.record([HistoryChange(None, FULL, (event,))]) == []
    assert len(store.admin.drift.events("default")) == 1
    await store.close()


async def test_organizations_remember_each_for_itself(store: Store) -> None:
    watched = Watched(store)
    for organization in ("default", "fabrikam"):
        watched.look(PROTECTED, organization)
    await watched.history.flush()
    watched.look(BARE, "fabrikam")
    await watched.history.flush()
    assert {event.organization for event in watched.heard} == {"fabrikam"}
    assert store.admin.drift.remembered("default")[0].dane is D.ALL
    await store.close()


async def test_what_is_noted_is_bounded_and_survives_a_store_that_is_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(store, max_noted=2)
    for name in ("a.example", "b.example", "c.example"):
        watched.look(replace(PROTECTED, domain=name, hops=(make.hop(name=name),), sts=()))

    async def away(keys: object) -> None:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(store.history, "known", away)
        with pytest.raises(StoreUnavailable):
            await watched.history.flush()
    assert repr(watched.history) == "<History 2 noted>"
    await watched.history.flush()
    assert [item.domain for item in store.admin.drift.remembered("default")] == ["b.example", "c.example"]
    await store.close()


async def test_it_works_beside_the_mail(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealroute.services.history.GATHER_SECONDS", 0.01)
    monkeypatch.setattr("sealroute.services.flush.RETRY_SECONDS", 0.01)
    watched = Watched(store)
    known, calls = store.history.known, 0

    async def once_away(keys: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreUnavailable("locked")
        return await known(keys)

    monkeypatch.setattr(store.history, "known", once_away)
    task = asyncio.create_task(watched.history.work())
    watched.look(PROTECTED)
    async with asyncio.timeout(10):
        while not store.admin.drift.remembered("default"):
            await asyncio.sleep(0.01)
    task.cancel()
    assert calls == 2
    await store.close()


# ------------------------------------------------------------------------------------------------------- the command line


async def test_commands(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cli(*arguments: str) -> tuple[int, str]:
        opened = open_store(f"sqlite:///{tmp_path / 'history.db'}").admin
        code = run(["drift", *arguments], lambda asked: Context(asked, Settings(), opened))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    assert cli("list") == (0, "Nothing has changed.\n")
    assert cli("known") == (0, "No destination with DANE or an MTA-STS policy in enforce mode was seen yet.\n")
    watched = Watched(store)
    for evidence in (PROTECTED, BARE):
        watched.look(evidence)
        await watched.history.flush()
    span = "(seen from 2026-11-22T12:00:00Z to 2026-11-22T12:00:00Z)"
    assert cli("list", "--domain", "Contoso.com") == (
        0,
        f"2026-11-23 12:00:00Z  sts-lost   contoso.com: it publishes no MTA-STS record {span}\n"
        f"2026-11-23 12:00:00Z  dane-lost  contoso.com: mx.contoso.com publishes no TLSA record {span}\n",
    )
    assert json.loads(cli("list", "--json", "--limit", "1")[1]) == [
        {
            "at": "2026-11-23T12:00:00Z", "domain": "contoso.com", "kind": "sts-lost",
            "detail": "it publishes no MTA-STS record", "knownSince": "2026-11-22T12:00:00Z", "lastSeen": "2026-11-22T12:00:00Z",
        }
    ]  # fmt: skip
    assert cli("known") == (
        0, "contoso.com  DANE none (2026-11-22 to 2026-11-22)  MTA-STS absent (2026-11-22 to 2026-11-22)\n",
    )  # fmt: skip
    assert json.loads(cli("known", "--json")[1])[0]["daneLast"] == "2026-11-22T12:00:00Z"
    assert cli("list", "--domain", "contoso..com") == (2, "sealroute: --domain: 'contoso..com' has an empty label.\n")
    await store.close()
