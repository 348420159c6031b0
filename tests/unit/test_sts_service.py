"""The life of a policy: every row of the MTA-STS table, memory, the store, and refreshing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.base.errors import SealrouteError
from sealroute.policy.evidence import FetchFailure, StsEvidence, StsSource
from sealroute.ports import CachedPolicy, Fetched, FetchFailed
from sealroute.proto.mtasts.policy import StsMode
from sealroute.services.sts import StsPolicies, StsTimes
from sealroute.services.sts_memory import Known, Memory

START = datetime(2026, 3, 1, tzinfo=UTC)
DOMAIN = "contoso.com"
OLD = "version: STSv1\nmode: enforce\nmx: old.contoso.com\nmax_age: 604800\n"
NEW = "version: STSv1\nmode: enforce\nmx: new.contoso.com\nmax_age: 604800\n"
TESTING = NEW.replace("enforce", "testing")
NONE = "version: STSv1\nmode: none\nmax_age: 86400\n"


class Time:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.moment = START
        self.slept: list[datetime] = []

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        self.slept.append(moment)
        await asyncio.sleep(0)

    def forward(self, **difference: float) -> None:
        self.moment += timedelta(**difference)


def txt(*records: str, ttl: int = 300) -> Answer[str]:
    name = f"_mta-sts.{DOMAIN}"
    if records:
        return Answer(name, "TXT", Outcome.DATA, Security.INSECURE, records, ttl)
    return Answer(name, "TXT", Outcome.NXDOMAIN, Security.INSECURE, (), ttl)


def no_txt(security: Security) -> Answer[str]:
    return Answer(f"_mta-sts.{DOMAIN}", "TXT", Outcome.FAILED, security, detail="as the test wants it")


@dataclass
class World:
    """Fake ports: what DNS, HTTPS and the store hold, and how often each was asked."""

    answer: Answer[str] = field(default_factory=lambda: txt("v=STSv1; id=new"))
    served: Fetched | FetchFailed = field(default_factory=lambda: Fetched(NEW.encode()))
    rows: dict[str, CachedPolicy] = field(default_factory=dict)
    store_error: Exception | None = None
    gate: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)
    time: Time = field(default_factory=Time)

    async def txt(self, name: str) -> Answer[str]:
        assert name.startswith("_mta-sts.")
        self.calls.append("txt")
        if self.gate is not None:
            await self.gate.wait()
        return self.answer

    async def mx(self, name: str) -> Answer[Mx]:
        raise NotImplementedError

    async def a(self, name: str) -> Answer[str]:
        raise NotImplementedError

    async def aaaa(self, name: str) -> Answer[str]:
        raise NotImplementedError

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        raise NotImplementedError

    async def close(self) -> None: ...

    async def fetch(self, domain: str) -> Fetched | FetchFailed:
        self.calls.append("fetch")
        return self.served

    def _stored(self, call: str) -> None:
        self.calls.append(call)
        if self.store_error is not None:
            raise self.store_error

    async def get(self, domain: str) -> CachedPolicy | None:
        self._stored("get")
        return self.rows.get(domain)

    async def put(self, policy: CachedPolicy) -> None:
        self._stored("put")
        self.rows[policy.domain] = policy

    async def remove(self, domain: str) -> None:
        self._stored("remove")
        self.rows.pop(domain, None)

    async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
        self._stored("expiring")
        return sorted((row for row in self.rows.values() if row.expires_at < before), key=lambda row: row.expires_at)[:limit]

    def policies(self, times: StsTimes | None = None) -> StsPolicies:
        return StsPolicies(self, self, self, self.time, times)

    def store(
        self, text: str, policy_id: str = "old", *, age: float = 1, life: float = 7, domain: str = DOMAIN
    ) -> CachedPolicy:
        """Put a policy into the store that was fetched `age` days ago for `life` days."""
        fetched = self.time.moment - timedelta(days=age)
        self.rows[domain] = row = CachedPolicy(domain, policy_id, text, fetched, fetched + timedelta(days=life), fetched)
        return row

    def asked(self) -> list[str]:
        """Calls since the last time this was asked."""
        calls, self.calls = self.calls, []
        return calls


def outcome(evidence: StsEvidence) -> str:
    """`mode source id [failure: detail]`, the way an administrator would sum it up."""
    parts = [evidence.policy.mode.value if evidence.policy else "-", evidence.source.value]
    parts += [evidence.policy_id] if evidence.policy_id else []
    parts += [f"{evidence.failure.value}: {evidence.failure_detail}"] if evidence.failure else []
    return " ".join(parts)


FETCH_ERROR = FetchFailed(FetchFailure.FETCH_ERROR, "HTTP status 404")
WEBPKI = FetchFailed(FetchFailure.WEBPKI_INVALID, "self-signed")
MALFORMED = Fetched(b"version: STSv1\nmode: enforce\nmx: a.test\n")
NO_MAX_AGE = "sts-policy-invalid: The policy has no max_age field."
UNKNOWN_TEXT = "sts-policy-fetch-error: DNS gave no answer for _mta-sts.contoso.com (unknown): as the test wants it"
BOGUS_TEXT = UNKNOWN_TEXT.replace("unknown", "bogus")
TWO = txt("v=STSv1; id=a", "v=STSv1; id=b")

# Row of the MTA-STS table | TXT answer | served | in the store | outcome
TABLE = [
    ("no TXT, nothing cached", txt(), None, None, "- none"),
    ("TXT malformed, nothing cached", txt("v=STSv1;"), None, None, "- none"),
    ("TXT several, nothing cached", TWO, None, None, "- none"),
    ("TXT missing, cached", txt(), None, OLD, "enforce cached old"),
    ("TXT malformed, cached", txt("v=STSv1;"), None, OLD, "enforce cached old"),
    ("TXT several, cached", TWO, None, OLD, "enforce cached old"),
    ("policy malformed, nothing cached", None, MALFORMED, None, f"- none {NO_MAX_AGE}"),
    ("policy malformed, cached", None, MALFORMED, OLD, f"enforce cached old {NO_MAX_AGE}"),
    ("policy fetched, enforce", None, Fetched(NEW.encode()), None, "enforce fetched new"),
    ("policy fetched, testing", None, Fetched(TESTING.encode()), None, "testing fetched new"),
    ("policy fetched, none", None, Fetched(NONE.encode()), None, "none fetched new"),
    ("new id, cached", None, Fetched(NEW.encode()), OLD, "enforce fetched new"),
    ("new id, none replaces cached", None, Fetched(NONE.encode()), OLD, "none fetched new"),
    ("same id, cached", txt("v=STSv1; id=old"), None, OLD, "enforce cached old"),
    ("fetch fails, cached", None, FETCH_ERROR, OLD, "enforce cached old sts-policy-fetch-error: HTTP status 404"),
    ("fetch fails, nothing cached", None, FETCH_ERROR, None, "- none sts-policy-fetch-error: HTTP status 404"),
    ("certificate fails, cached", None, WEBPKI, OLD, "enforce cached old sts-webpki-invalid: self-signed"),
    ("certificate fails, nothing cached", None, WEBPKI, None, "- none sts-webpki-invalid: self-signed"),
    ("DNS unknown, cached", no_txt(Security.UNKNOWN), None, OLD, f"enforce cached old {UNKNOWN_TEXT}"),
    ("DNS unknown, nothing cached", no_txt(Security.UNKNOWN), None, None, f"- none {UNKNOWN_TEXT}"),
    ("DNS bogus, cached", no_txt(Security.BOGUS), None, OLD, f"enforce cached old {BOGUS_TEXT}"),
    ("DNS bogus, nothing cached", no_txt(Security.BOGUS), None, None, f"- none {BOGUS_TEXT}"),
]


@pytest.mark.parametrize(
    ("answer", "served", "cached", "expected"), [row[1:] for row in TABLE], ids=[row[0].replace(" ", "-") for row in TABLE]
)
async def test_decision_table_3(
    answer: Answer[str] | None, served: Fetched | FetchFailed | None, cached: str | None, expected: str
) -> None:
    world = World()
    if answer is not None:
        world.answer = answer
    if served is not None:
        world.served = served
    if cached is not None:
        world.store(cached)
    evidence = await world.policies().evidence(DOMAIN)
    assert outcome(evidence) == expected
    assert ("fetch" in world.calls) == (served is not None)
    assert evidence.txt == world.answer
    assert (evidence.txt_parsed is None) == world.answer.failed


@pytest.mark.parametrize(
    ("answer", "served"),
    [(txt(), FETCH_ERROR), (no_txt(Security.UNKNOWN), FETCH_ERROR), (txt("v=STSv1; id=old"), FETCH_ERROR)],
)
async def test_a_policy_past_its_end_is_not_in_force(answer: Answer[str], served: FetchFailed) -> None:
    world = World(answer, served)
    world.store(OLD, age=7)
    assert (await world.policies().evidence(DOMAIN)).policy is None


async def test_what_is_fetched_is_stored_and_survives_a_restart() -> None:
    world = World()
    first = await world.policies().evidence(DOMAIN)
    assert world.rows[DOMAIN] == CachedPolicy(DOMAIN, "new", NEW, START, START + timedelta(days=7), START)
    world.time.forward(days=6)
    world.served = FETCH_ERROR
    world.answer = no_txt(Security.UNKNOWN)
    again = await world.policies().evidence(DOMAIN)
    assert again.policy == first.policy
    assert (again.fetched_at, again.expires_at) == (START, START + timedelta(days=7))


async def test_a_fresh_policy_costs_nothing_and_a_stale_one_only_dns() -> None:
    world = World()
    policies = world.policies()
    await policies.evidence(DOMAIN)
    assert world.asked() == ["get", "txt", "fetch", "put"]
    world.time.forward(seconds=299)
    assert outcome(await policies.evidence(DOMAIN)) == "enforce cached new"
    assert world.asked() == []
    world.time.forward(seconds=1)
    assert outcome(await policies.evidence(DOMAIN)) == "enforce cached new"
    assert world.asked() == ["txt"]


async def test_a_new_id_is_seen_when_the_ttl_ran_out() -> None:
    world = World()
    policies = world.policies()
    await policies.evidence(DOMAIN)
    world.answer, world.served = txt("v=STSv1; id=newer"), Fetched(TESTING.encode())
    world.time.forward(seconds=301)
    assert outcome(await policies.evidence(DOMAIN)) == "testing fetched newer"


async def test_recheck_looks_past_memory() -> None:
    world = World()
    policies = world.policies()
    await policies.evidence(DOMAIN)
    assert outcome(await policies.evidence(DOMAIN, recheck=True)) == "enforce cached new"
    world.answer, world.served = txt("v=STSv1; id=newer"), Fetched(NONE.encode())
    assert outcome(await policies.evidence(DOMAIN)) == "enforce cached new"
    assert outcome(await policies.evidence(DOMAIN, recheck=True)) == "none fetched newer"
    assert outcome(await policies.evidence(DOMAIN)) == "none cached newer"


async def test_a_failed_fetch_is_not_repeated_for_five_minutes() -> None:
    world = World(txt("v=STSv1; id=new", ttl=60), FETCH_ERROR)
    world.store(OLD)
    policies = world.policies()
    text = "enforce cached old sts-policy-fetch-error: HTTP status 404"
    for _ in range(5):
        assert outcome(await policies.evidence(DOMAIN)) == text
        assert outcome(await policies.evidence(DOMAIN, recheck=True)) == text
        world.time.forward(seconds=59.9)
    assert world.asked().count("fetch") == 1
    world.served = Fetched(NEW.encode())
    world.time.forward(seconds=1)
    assert outcome(await policies.evidence(DOMAIN)) == "enforce fetched new"


async def test_a_failed_fetch_does_not_keep_another_id_from_being_fetched() -> None:
    world = World(served=FETCH_ERROR)
    policies = world.policies()
    await policies.evidence(DOMAIN)
    world.answer, world.served = txt("v=STSv1; id=repaired"), Fetched(NEW.encode())
    assert outcome(await policies.evidence(DOMAIN, recheck=True)) == "enforce fetched repaired"


async def test_a_dns_failure_between_does_not_make_a_failed_fetch_forgotten() -> None:
    world = World(served=FETCH_ERROR)
    policies = world.policies()
    await policies.evidence(DOMAIN)
    good = world.answer
    world.answer = no_txt(Security.UNKNOWN)
    assert outcome(await policies.evidence(DOMAIN, recheck=True)) == f"- none {UNKNOWN_TEXT}"
    world.answer = good
    await policies.evidence(DOMAIN, recheck=True)
    assert world.asked().count("fetch") == 1


async def test_a_dns_failure_is_believed_for_half_a_minute() -> None:
    world = World(no_txt(Security.UNKNOWN))
    policies = world.policies()
    await policies.evidence(DOMAIN)
    world.time.forward(seconds=29)
    assert outcome(await policies.evidence(DOMAIN)) == f"- none {UNKNOWN_TEXT}"
    world.answer = txt("v=STSv1; id=new")
    world.time.forward(seconds=1)
    assert outcome(await policies.evidence(DOMAIN)) == "enforce fetched new"


async def test_a_domain_without_mta_sts_is_asked_again_after_its_ttl() -> None:
    world = World(txt(ttl=60))
    policies = world.policies()
    await policies.evidence(DOMAIN)
    world.time.forward(seconds=59)
    await policies.evidence(DOMAIN)
    assert world.asked() == ["get", "txt"]
    world.time.forward(seconds=1)
    await policies.evidence(DOMAIN)
    assert world.asked() == ["get", "txt"]


async def test_max_age_0_serves_those_who_wait_and_is_not_kept() -> None:
    world = World(served=Fetched(NEW.replace("604800", "0").encode()))
    world.store(OLD)
    policies = world.policies()
    assert outcome(await policies.evidence(DOMAIN)) == "enforce fetched new"
    assert world.rows == {}
    world.time.forward(seconds=4)
    assert outcome(await policies.evidence(DOMAIN)) == "enforce cached new"
    world.time.forward(seconds=1)
    world.served = FETCH_ERROR
    assert (await policies.evidence(DOMAIN)).policy is None


async def test_ttl_0_does_not_make_every_message_ask() -> None:
    world = World(txt("v=STSv1; id=new", ttl=0))
    policies = world.policies()
    for _ in range(10):
        await policies.evidence(DOMAIN)
    assert world.asked().count("txt") == 1


async def test_those_who_ask_at_once_share_one_look_up() -> None:
    world = World(gate=asyncio.Event())
    policies = world.policies()
    waiting = [asyncio.create_task(policies.evidence(DOMAIN, recheck=number % 2 == 0)) for number in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert world.gate is not None
    world.gate.set()
    results = await asyncio.gather(*waiting[1:])
    assert {outcome(result) for result in results} == {"enforce fetched new"}
    assert waiting[0].cancelled()
    assert world.asked() == ["get", "txt", "fetch", "put"]
    assert repr(policies) == "<StsPolicies 1 in memory, 0 being looked at>"


async def test_close_ends_what_is_under_way() -> None:
    world = World(gate=asyncio.Event())
    policies = world.policies()
    waiting = asyncio.create_task(policies.evidence(DOMAIN))
    await asyncio.sleep(0)
    await policies.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_store_that_fails_is_not_an_empty_store() -> None:
    world = World(txt(), store_error=SealrouteError("no database"))
    policies = world.policies()
    with pytest.raises(SealrouteError, match="no database"):
        await policies.evidence(DOMAIN)
    world.store_error = None
    world.store(OLD)
    assert outcome(await policies.evidence(DOMAIN)) == "enforce cached old"


async def test_a_policy_that_could_not_be_stored_is_not_given_out() -> None:
    world = World()
    policies = world.policies()
    await policies.evidence(DOMAIN)
    world.store_error = SealrouteError("no database")
    world.answer = txt("v=STSv1; id=newer")
    with pytest.raises(SealrouteError, match="no database"):
        await policies.evidence(DOMAIN, recheck=True)


@pytest.mark.parametrize("answer", [txt("v=STSv1; id=old"), txt(), no_txt(Security.UNKNOWN)])
async def test_a_damaged_row_is_fetched_again_or_holds(answer: Answer[str]) -> None:
    world = World(answer, FETCH_ERROR)
    world.store("damaged")
    policies = world.policies()
    with pytest.raises(SealrouteError, match=r"The stored MTA-STS policy of contoso\.com cannot be read"):
        await policies.evidence(DOMAIN)
    world.answer, world.served = txt("v=STSv1; id=old"), Fetched(NEW.encode())
    assert outcome(await policies.evidence(DOMAIN)) == "enforce fetched old"


async def test_what_another_node_fetched_is_not_fetched_again() -> None:
    world = World(txt("v=STSv1; id=old"))
    world.store(OLD)
    policies = world.policies()
    await policies.evidence(DOMAIN)
    world.answer = txt("v=STSv1; id=new")
    world.store(NEW, "new", age=0)
    assert outcome(await policies.evidence(DOMAIN, recheck=True)) == "enforce cached new"
    assert "fetch" not in world.calls


# ------------------------------------------------------------------------------------------------------ refreshing


@pytest.mark.parametrize(
    ("age", "life", "due"),
    [(3.4, 7, False), (3.5, 7, True), (0.4, 1, False), (0.5, 1, True), (22, 30, False), (23.1, 30, True), (358.1, 365, True)],
)
async def test_when_a_policy_is_due(age: float, life: float, due: bool) -> None:
    world = World()
    world.store(OLD, "new", age=age, life=life)
    assert await world.policies().refresh_due(lambda: 0.5) == int(due)
    assert (world.rows[DOMAIN].expires_at == START + timedelta(days=7)) == due


@pytest.mark.parametrize(
    ("answer", "served", "text"),
    [
        (txt("v=STSv1; id=new"), Fetched(NEW.encode()), NEW),
        (txt("v=STSv1; id=newer"), Fetched(TESTING.encode()), TESTING),
        (no_txt(Security.UNKNOWN), Fetched(NEW.encode()), NEW),
        (txt(), Fetched(NEW.encode()), OLD),
        (TWO, Fetched(NEW.encode()), OLD),
        (txt("v=STSv1; id=new"), FETCH_ERROR, OLD),
        (txt("v=STSv1; id=new"), MALFORMED, OLD),
    ],
)
async def test_what_a_refresh_leaves(answer: Answer[str], served: Fetched | FetchFailed, text: str) -> None:
    world = World(answer, served)
    before = world.store(OLD, "new", age=6)
    policies = world.policies()
    assert (await policies.evidence(DOMAIN)).policy is not None
    world.store(OLD, "new", age=6)
    assert await policies.refresh_due(lambda: 0.5) == int(text != OLD)
    assert world.rows[DOMAIN].text == text
    assert (world.rows[DOMAIN].expires_at > before.expires_at) == (text != OLD)
    assert list(policies.refresh_troubles) == ([DOMAIN] if served in (FETCH_ERROR, MALFORMED) else [])


async def test_a_refresh_is_seen_by_the_next_look() -> None:
    world = World(txt("v=STSv1; id=new", ttl=86400))
    world.store(OLD, "new", age=6)
    policies = world.policies()
    assert (await policies.evidence(DOMAIN)).expires_at == START + timedelta(days=1)
    await policies.refresh_due(lambda: 0.5)
    assert (await policies.evidence(DOMAIN)).expires_at == START + timedelta(days=7)


async def test_a_failed_refresh_is_tried_again_within_the_hour_and_then_forgotten() -> None:
    world = World(served=FETCH_ERROR)
    world.store(OLD, "new", age=6)
    policies = world.policies()
    await policies.refresh_due(lambda: 0.5)
    assert policies.refresh_troubles == {DOMAIN: "HTTP status 404"}
    world.time.forward(minutes=59)
    await policies.refresh_due(lambda: 0.5)
    assert world.asked().count("fetch") == 1
    world.time.forward(minutes=1)
    world.served = Fetched(NEW.encode())
    assert await policies.refresh_due(lambda: 0.5) == 1
    assert policies.refresh_troubles == {}


async def test_a_policy_that_ended_is_removed() -> None:
    world = World()
    world.store(OLD, age=8)
    assert await world.policies().refresh_due(lambda: 0.5) == 0
    assert world.rows == {}
    assert "fetch" not in world.calls


async def test_what_another_node_refreshed_meanwhile_is_left_alone() -> None:
    world = World()
    stale = world.store(OLD, "new", age=6)
    renewed = world.store(NEW, "new", age=0)

    async def expiring(before: datetime, limit: int) -> list[CachedPolicy]:
        return [stale]

    world.expiring = expiring  # type: ignore[method-assign]
    assert await world.policies().refresh_due(lambda: 0.5) == 0
    assert world.rows[DOMAIN] == renewed


async def test_refreshes_are_spread_and_few_at_a_time() -> None:
    world = World()
    for number in range(30):
        world.store(OLD, "new", age=6, domain=f"d{number}.test")
    world.store(OLD, "new", age=6.99, domain="urgent.test")
    running = peak = 0

    async def fetch(domain: str) -> Fetched | FetchFailed:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return world.served

    world.fetch = fetch  # type: ignore[method-assign]
    chance = iter(number / 30 for number in range(30))
    assert await world.policies().refresh_due(lambda: next(chance)) == 31
    assert peak == 4
    assert len(set(world.time.slept)) == 30
    assert max(world.time.slept) < START + timedelta(minutes=8)


async def test_the_loop_outlives_a_store_that_fails() -> None:
    world = World(store_error=SealrouteError("no database"))
    world.store(OLD, "new", age=6)
    policies = world.policies(StsTimes(refresh_every=timedelta(minutes=1)))
    loop = asyncio.create_task(policies.refresh_loop(lambda: 0.0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert world.rows[DOMAIN].text == OLD
    world.store_error = None
    for _ in range(100):
        await asyncio.sleep(0)
    loop.cancel()
    assert world.rows[DOMAIN].text == NEW
    assert world.time.slept[0] == START + timedelta(seconds=48)


async def test_one_row_that_fails_does_not_stop_the_others() -> None:
    world = World()
    world.store(OLD, "new", age=6, domain="a.test")
    world.store(OLD, "new", age=6, domain="b.test")
    get = world.get

    async def failing(domain: str) -> CachedPolicy | None:
        if domain == "a.test":
            raise SealrouteError("no database")
        return await get(domain)

    world.get = failing  # type: ignore[method-assign]
    with pytest.raises(SealrouteError, match="no database"):
        await world.policies().refresh_due(lambda: 0.5)
    assert world.rows["b.test"].text == NEW


# ---------------------------------------------------------------------------------------------------------- memory


def test_memory_drops_the_longest_unused_and_counts_right() -> None:
    known = Known(StsEvidence(DOMAIN, None, None, None), START)
    memory = Memory(limit_bytes=known.size_bytes * 3)
    for name in "abc":
        memory.put(name, known)
    memory.get("a")
    memory.put("c", known)
    memory.put("d", known)
    assert [name for name in "abcd" if memory.get(name)] == ["a", "c", "d"]
    memory.forget("a")
    memory.forget("a")
    memory.put("e", replace(known))
    assert len(memory) == 3


async def test_what_memory_dropped_is_in_the_store() -> None:
    world = World()
    policies = world.policies()
    policies._memory = Memory(limit_bytes=1)
    await policies.evidence(DOMAIN)
    await policies.evidence("fabrikam.com")
    world.asked()
    evidence = await policies.evidence(DOMAIN)
    assert outcome(evidence) == "enforce cached new"
    assert evidence.source is StsSource.CACHED
    assert evidence.policy is not None
    assert evidence.policy.mode is StsMode.ENFORCE
    assert world.asked() == ["get", "txt"]
