"""sts: the life of an MTA-STS policy - discovered, fetched, kept, looked at again, refreshed before it ends.

Decision table 3, the part that finds out; what a policy demands is decided in policy/decide.  Rules that hold:

* An unexpired policy stays in force whatever goes wrong with DNS or HTTPS later [RFC 8461 §5.1]; only a newer valid policy
  (mode `none` included) replaces it.
* A store that cannot be read or written raises out of `evidence`: what is cached is then unknown, and unknown is not absent.
* In memory: a domain whose answer is still fresh costs no DNS, no HTTP and no database.  Fresh means the TTL of the TXT
  answer, so that a new id is seen when that runs out.  Failed fetches are not repeated for a while.  All of it is bounded.
* A peer that gives TTL 0 or max_age 0 is asked at most once in `StsTimes.shortest`; its answer is used that much longer.

How a TXT set and a policy file are read: proto/mtasts.  HTTPS itself: net/https.  [RFC 8461 §3, §5, §10.2]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from sealroute.base.dnsdata import Answer
from sealroute.base.errors import SealrouteError
from sealroute.policy.evidence import FetchFailure, StsEvidence, StsSource
from sealroute.ports import CachedPolicy, Clock, FetchFailed, PolicyCache, PolicyFetcher, Resolver
from sealroute.proto.mtasts.policy import PolicyInvalid, StsPolicy, parse_policy
from sealroute.proto.mtasts.txt import TxtStatus, parse_txt
from sealroute.services.sts_memory import Failed, Kept, Known, Memory

log = structlog.get_logger("sealroute.sts")
REFRESH_ROWS = 1000
REFRESH_CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class StsTimes:
    """How long things are remembered, and when policies are refreshed."""

    shortest: timedelta = timedelta(seconds=5)
    """No answer is asked again sooner, whatever TTL or max_age say."""
    longest: timedelta = timedelta(days=1)
    """Every answer is asked again after this, whatever its TTL says."""
    unknown: timedelta = timedelta(seconds=30)
    """How long a DNS failure is believed."""
    fetch_retry: timedelta = timedelta(minutes=5)
    """How long after a failed fetch the same policy id is not fetched again."""
    refresh_every: timedelta = timedelta(minutes=10)
    refresh_ahead: timedelta = timedelta(days=7)
    """A policy is refreshed this long before it ends, or at half of its life, whichever is later [RFC 8461 §10.2]."""
    refresh_retry: timedelta = timedelta(hours=1)


class StsPolicies:
    """What is known of each domain's MTA-STS.  One for the whole process; `close` when done."""

    def __init__(
        self, resolver: Resolver, fetcher: PolicyFetcher, cache: PolicyCache, clock: Clock, times: StsTimes | None = None
    ) -> None:
        self._resolver = resolver
        self._fetcher = fetcher
        self._cache = cache
        self._clock = clock
        self._times = times or StsTimes()
        self._memory = Memory()
        self._running: dict[str, asyncio.Task[StsEvidence]] = {}
        self._troubles: dict[str, Failed] = {}

    def __repr__(self) -> str:
        return f"<StsPolicies {len(self._memory)} in memory, {len(self._running)} being looked at>"

    @property
    def in_memory(self) -> int:
        """How many domains' policies, or lack of one, are known without asking."""
        return len(self._memory)

    @property
    def refresh_troubles(self) -> Mapping[str, str]:
        """Domains whose cached policy could not be refreshed at the last try, and why; an administrator should know."""
        return {domain: failed.detail for domain, failed in self._troubles.items()}

    async def evidence(self, domain: str, *, recheck: bool = False) -> StsEvidence:
        """What is known of the domain (in compared form), found out now if it is not fresh in memory.

        `recheck` asks for the TXT record past our memory: before a policy failure becomes final [RFC 8461 §5].
        Raises what the store raises; never for DNS or HTTPS.
        """
        if not recheck and (known := self._memory.get(domain)) is not None and self._clock.now() < known.until:
            return known.evidence
        task = self._running.get(domain)
        if task is None:
            task = self._running[domain] = asyncio.create_task(self._look(domain), name=f"mta-sts {domain}")
            task.add_done_callback(lambda done: self._finished(domain, done))
        return await asyncio.shield(task)  # the others who wait for it go on when this caller is cancelled

    async def close(self) -> None:
        """Cancel what is under way."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _finished(self, domain: str, task: asyncio.Task[StsEvidence]) -> None:
        del self._running[domain]
        if not task.cancelled():
            task.exception()  # seen, even when every waiter has gone

    # -------------------------------------------------------------------------------------------------- looking

    async def _look(self, domain: str) -> StsEvidence:
        now = self._clock.now()
        known = self._memory.get(domain)
        kept = known.kept if known is not None else None
        if kept is None or not kept.valid(now):
            kept = await self._stored(domain, now)
        answer = await self._resolver.txt(f"_mta-sts.{domain}")
        txt = None if answer.failed else parse_txt(answer.records)
        before = known.failed if known is not None else None
        failed: Failed | None = None
        source = StsSource.CACHED
        if txt is None:
            why = f"DNS gave no answer for _mta-sts.{domain} ({answer.security.value}): {answer.detail or 'no detail'}"
            failed = Failed("", self._clock.now() + self._times.unknown, FetchFailure.FETCH_ERROR, why)
        elif txt.id is not None and (kept is None or kept.stored.policy_id != txt.id):
            newer, source = await self._newer(domain, txt.id, kept, before)
            if isinstance(newer, Failed):
                failed = newer
            else:
                kept = newer
        if kept is not None and kept.policy is None:
            raise SealrouteError(f"The stored MTA-STS policy of {domain} cannot be read, and no other could be fetched.")
        evidence = StsEvidence(domain, answer, txt, None)
        if kept is not None:
            stored = kept.stored
            times = (stored.fetched_at, stored.expires_at)
            evidence = StsEvidence(domain, answer, txt, kept.policy, source, stored.policy_id, *times)
        if failed is not None:
            evidence = replace(evidence, failure=failed.failure, failure_detail=failed.detail)
        self._remember(evidence, kept, before if txt is None else failed, self._fresh_until(answer, kept, failed))
        return evidence

    async def _newer(
        self, domain: str, policy_id: str, kept: Kept | None, failed: Failed | None
    ) -> tuple[Kept | Failed, StsSource]:
        """The policy of a new id: from another node by way of the store, or fetched; on failure the source of what is kept."""
        now = self._clock.now()
        if failed is not None and failed.policy_id == policy_id and now < failed.until:
            return failed, StsSource.CACHED
        if kept is not None:
            stored = await self._stored(domain, now)
            if stored is not None and stored.stored.policy_id == policy_id:
                return stored, StsSource.CACHED
        result = await self._fetch(domain, policy_id)
        return result, StsSource.CACHED if isinstance(result, Failed) else StsSource.FETCHED

    async def _stored(self, domain: str, now: datetime) -> Kept | None:
        stored = await self._cache.get(domain)
        if stored is None or stored.expires_at <= now:
            return None
        policy = parse_policy(stored.text)
        # A text that does not parse is a damaged store: to be fetched again whatever its id, and never taken for absent.
        return Kept(replace(stored, policy_id=""), None) if isinstance(policy, PolicyInvalid) else Kept(stored, policy)

    async def _fetch(self, domain: str, policy_id: str) -> Kept | Failed:
        """Fetch and store; the result is durable when this returns."""
        fetched = await self._fetcher.fetch(domain)
        now = self._clock.now()
        until = now + self._times.fetch_retry
        if isinstance(fetched, FetchFailed):
            return Failed(policy_id, until, fetched.failure, fetched.detail)
        policy = parse_policy(fetched.body)
        if isinstance(policy, PolicyInvalid):
            return Failed(policy_id, until, FetchFailure.POLICY_INVALID, policy.reason)
        kept = _kept(domain, policy_id, policy, now)
        if policy.max_age_seconds:
            await self._cache.put(kept.stored)
        else:
            await self._cache.remove(domain)  # max_age 0: serves whoever waits for it and is not kept
        return kept

    def _fresh_until(self, answer: Answer[str], kept: Kept | None, failed: Failed | None) -> datetime:
        now = self._clock.now()
        ttl = self._times.unknown if answer.failed else min(timedelta(seconds=answer.ttl_seconds), self._times.longest)
        ends = [now + ttl]
        if failed is not None:
            ends.append(failed.until)
        if kept is not None:
            ends.append(kept.stored.expires_at)
        return max(min(ends), now + self._times.shortest)

    def _remember(self, evidence: StsEvidence, kept: Kept | None, failed: Failed | None, until: datetime) -> None:
        if evidence.source is StsSource.FETCHED:
            evidence = replace(evidence, source=StsSource.CACHED)
        self._memory.put(evidence.domain, Known(evidence, until, kept, failed))

    # -------------------------------------------------------------------------------------------------- refreshing

    async def refresh_loop(self, random: Callable[[], float]) -> None:
        """Refresh policies before they end, for ever; `random` gives numbers from 0 up to 1.  Ends by cancellation only."""
        while True:
            try:
                await self.refresh_due(random)
            except Exception as error:
                log.warning("sts_refresh_stopped", error=str(error), type=type(error).__name__)
            await self._clock.sleep_until(self._clock.now() + self._times.refresh_every * (0.8 + 0.4 * random()))

    async def refresh_due(self, random: Callable[[], float]) -> int:
        """One pass: refresh all that is due, spread over most of the time to the next pass; returns how many were renewed."""
        now = self._clock.now()
        rows = await self._cache.expiring(now + self._times.refresh_ahead, REFRESH_ROWS)
        names = {row.domain for row in rows}
        self._troubles = {domain: failed for domain, failed in self._troubles.items() if domain in names}
        room = asyncio.Semaphore(REFRESH_CONCURRENCY)

        async def later(row: CachedPolicy) -> bool:
            if row.expires_at - now > 2 * self._times.refresh_every:
                await self._clock.sleep_until(now + self._times.refresh_every * 0.8 * random())
            async with room:
                return await self._refresh(row)

        results = await asyncio.gather(*(later(row) for row in rows if self._due(row, now)), return_exceptions=True)
        errors = [result for result in results if isinstance(result, Exception)]
        if errors:
            raise errors[0]
        return sum(result is True for result in results)

    def _due(self, row: CachedPolicy, now: datetime) -> bool:
        failed = self._troubles.get(row.domain)
        if failed is not None and now < failed.until:
            return False
        return now >= row.expires_at - min(self._times.refresh_ahead, (row.expires_at - row.fetched_at) / 2)

    async def _refresh(self, row: CachedPolicy) -> bool:
        """Fetch the policy again, whether its id changed or not; False when there was nothing to do or it failed."""
        domain, now = row.domain, self._clock.now()
        current = await self._cache.get(domain)
        if current is None or current.expires_at != row.expires_at:
            return False  # another node was here
        if row.expires_at <= now:
            await self._cache.remove(domain)
            return False
        answer = await self._resolver.txt(f"_mta-sts.{domain}")
        txt = None if answer.failed else parse_txt(answer.records)
        if txt is not None and txt.status is not TxtStatus.OK:
            return False  # the domain took its record back: the policy serves its time and is not prolonged
        # With DNS silent the file is fetched all the same: who can block DNS must not be able to let the policy run out.
        policy_id = txt.id if txt is not None and txt.id is not None else row.policy_id
        result = await self._fetch(domain, policy_id)
        if isinstance(result, Failed):
            left = row.expires_at - now
            wait = min(self._times.refresh_retry, left / 8)
            self._troubles[domain] = replace(result, until=now + wait)
            log.warning("sts_refresh_failed", domain=domain, failure=result.failure.value, detail=result.detail, left=str(left))
            return False
        self._troubles.pop(domain, None)
        self._memory.forget(domain)
        return True


def _kept(domain: str, policy_id: str, policy: StsPolicy, now: datetime) -> Kept:
    ends = now + timedelta(seconds=policy.max_age_seconds)
    return Kept(CachedPolicy(domain, policy_id, policy.text, now, ends, now), policy)
