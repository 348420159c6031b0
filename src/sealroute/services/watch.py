"""watch: look at destinations from time to time as delivery would, without mail, and tell of what has drifted.

Who is watched: domains named in the settings, those that partner connectors name, and those that mail was tried to lately, as
many as the rules allow.  Each is probed once in an interval, jittered; of several nodes one probes a domain at a time
(ports.WatchStore).  A probe is one analysis (services/analyze) by MX under modes that look at everything and enforce nothing:
what it saw is counted like an attempt, but apart, for readiness; its plan goes to services/history as a live one does;
and policy/sighting_changes compares what the destination shows with what it showed before.

Nothing here decides about mail, and a probe that fails or takes too long changes nothing that is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from sealroute.base.errors import SealrouteError, StoreUnavailable
from sealroute.policy.connector import Connector
from sealroute.policy.history import Drift
from sealroute.policy.modes import ConnectorType, MtaStsMode, SmtpDaneMode
from sealroute.policy.sighting_changes import Compared, compare
from sealroute.ports import Clock, Destination, ProbeEnd, Watched, WatchStore
from sealroute.services.analysis.model import Analysis, Modes
from sealroute.services.analyze import Analyzer
from sealroute.services.sight import sighting_of

log = structlog.get_logger("sealroute.watch")
LOOKING: Modes = (SmtpDaneMode.REPORT_ONLY, MtaStsMode.REPORT_ONLY)
LOOK_SECONDS = 5.0
PROBE_SECONDS = 300.0
LEASE = timedelta(hours=1)
"""How long a node that dies keeps others from the domain it was probing."""
BATCH = 100
SOON = timedelta(minutes=10)
"""Within that a domain that somebody named is probed first; others within a quarter of the interval."""
JITTER = 0.1
ENROL_PARTS = 24
"""So many times in an interval it is looked who is to be watched."""


@dataclass(frozen=True, slots=True)
class WatchRules:
    """Who is watched, and how often."""

    interval: timedelta = timedelta(days=1)
    traffic_days: int = 30
    named: tuple[Destination, ...] = ()
    max_domains: int = 2000
    at_once: int = 4


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who hears of what; all quick."""

    seen: Callable[[Connector, Analysis], None]
    """Of every probe that saw something."""
    drifted: Callable[[Drift], None]
    ended: Callable[[str], None]
    """Of every probe; empty, or why it saw nothing."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What is asked of the gateway."""

    connectors: Callable[[], Iterable[Connector]]
    connector_for: Callable[[str, str], Connector]
    """By organisation and domain."""
    trusted: Callable[[], bool]
    """Whether our resolver can tell; while it cannot, nobody is probed."""


class Prober:
    """The probes of a running gateway."""

    def __init__(
        self,
        store: WatchStore,
        analyzer: Analyzer,
        ways: Ways,
        listeners: Listeners,
        clock: Clock,
        chance: Callable[[], float],
        rules: WatchRules,
    ) -> None:
        self._store = store
        self._analyzer = analyzer
        self._ways = ways
        self._tell = listeners
        self._clock = clock
        self._chance = chance
        self._rules = rules
        self._wanted: frozenset[Destination] = frozenset()
        self._enrol_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Prober of {len(self._wanted)} destinations>"

    async def work(self) -> None:
        """Probe whoever is due, for ever."""
        while True:
            busy = False
            try:
                busy = await self.round()
            except StoreUnavailable as error:
                log.warning("what is to be probed could not be read", error=str(error))
            await asyncio.sleep(0 if busy else LOOK_SECONDS)

    async def close(self) -> None:
        """Give up what is under way, after `work` was cancelled; its domains are due again when the lease has run out."""
        await self._analyzer.close()

    async def round(self) -> bool:
        """Probe whoever is due now; True when there may be more.  Raises StoreUnavailable."""
        now = self._clock.now()
        if self._enrol_at is None or now >= self._enrol_at:
            await self._enrol(now)
            self._enrol_at = now + self._rules.interval / ENROL_PARTS
        if not self._ways.trusted():
            return False
        due = await self._store.due(now, BATCH)
        waiting = iter(due)

        async def one_after_the_other() -> None:
            for watched in waiting:
                await self._look_at(watched)

        await asyncio.gather(*(one_after_the_other() for _ in range(self._rules.at_once)))
        return len(due) == BATCH

    # ------------------------------------------------------------------------------------------------- who is watched

    async def _enrol(self, now: datetime) -> None:
        rules = self._rules
        named = list(dict.fromkeys((*rules.named, *partner_domains(self._ways.connectors()))))[: rules.max_domains]
        since = (now - timedelta(days=rules.traffic_days)).date()
        busy = await self._store.traffic(since, rules.max_domains) if rules.traffic_days else []
        chosen = dict.fromkeys((*named, *(key for key in busy if not key[1].startswith("["))))
        wanted = list(chosen)[: rules.max_domains]
        spread = {key: min(SOON, rules.interval / 4) for key in named}
        first = {key: now + self._chance() * spread.get(key, rules.interval / 4) for key in wanted}
        added = await self._store.enrol(first, now) if first else 0
        self._wanted = frozenset(wanted)
        if added:
            log.info("destinations are probed from now on", added=added, watched=len(wanted))

    # ---------------------------------------------------------------------------------------------------- one of them

    async def _look_at(self, watched: Watched) -> None:
        """Probe it if it is ours; our own troubles are logged, and it is due again later."""
        now = self._clock.now()
        try:
            if (watched.organization, watched.domain) not in self._wanted:
                await self._store.take(watched, self._next(now))
                return
            mine = await self._store.take(watched, now + LEASE)
            if mine is not None:
                await self._probe(mine)
        except StoreUnavailable as error:
            log.warning("a probe could not be noted", domain=watched.domain, error=str(error))

    async def _probe(self, mine: Watched) -> None:
        compared: Compared | None = None
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                compared = await self._compared(mine)
            trouble = "" if compared is not None else "our resolver could not be believed"
        except TimeoutError:
            trouble = f"it took longer than {PROBE_SECONDS:g} s"
        except StoreUnavailable:
            raise
        except SealrouteError as error:
            trouble = str(error)
        except Exception as error:  # whatever a stranger's server brought about must not end the gateway
            log.error("a probe broke off", domain=mine.domain, exc_info=error)
            trouble = f"it broke off: {type(error).__name__}"
        self._tell.ended(trouble)
        now = self._clock.now()
        events = await self._store.end(ProbeEnd(mine, now, self._next(now), trouble, compared))
        for event in events or ():
            self._tell.drifted(event)

    async def _compared(self, mine: Watched) -> Compared | None:
        """None: it showed nothing that could be believed."""
        connector = by_mx(self._ways.connector_for(mine.organization, mine.domain))
        analysis = await self._analyzer.run(mine.domain, connector, asked=(LOOKING,), modes=(LOOKING,))
        seen = sighting_of(analysis)
        if seen is None:
            return None
        self._tell.seen(connector, analysis)
        return compare((mine.organization, mine.domain), mine.sighting, seen)

    def _next(self, now: datetime) -> datetime:
        return now + self._rules.interval * (1 - JITTER + 2 * JITTER * self._chance())


def partner_domains(connectors: Iterable[Connector]) -> list[Destination]:
    """The domains that partner connectors in use name one by one."""
    return [
        (connector.organization, domain)
        for connector in connectors
        if connector.enabled and not connector.test_mode and connector.connector_type is ConnectorType.PARTNER
        for domain in connector.recipient_domains
        if "*" not in domain and not domain.startswith("[")
    ]


def by_mx(connector: Connector) -> Connector:
    """The connector as it would be without smart hosts: it is the destination itself that is looked at."""
    return replace(
        connector, use_mx_record=True, smart_hosts=(), tls_settings=None, tls_domain=None,
        smtp_dane_mode=LOOKING[0], mta_sts_mode=LOOKING[1],
    )  # fmt: skip
