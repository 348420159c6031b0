"""observe: count what attempts saw of DANE and MTA-STS, per recipient domain and UTC day, for the readiness report.

What goes through a connector that is being moved (policy/move) is counted for the move as well, from its start on.

Counted in memory and added to the store every few seconds, not with each settle: a busy domain is one row in a thousand
settles instead of one in each, and the report does not change by what the last seconds before a crash saw.  A clean stop
writes everything.  Nodes add to each other's numbers.  What waits is bounded: while the store cannot be written, attempts at
further domains are not counted, and a warning says how many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime

import structlog

from sealroute.policy.attempt import Attempt
from sealroute.policy.move import seen_by
from sealroute.policy.readiness import Day, Mechanism, Sight, Tally, Trouble, sight_of_dane, sight_of_sts, why_not
from sealroute.ports import ObservationStore, Observed
from sealroute.services.flush import keep_flushing

log = structlog.get_logger("sealroute.observe")
MAX_NOTED = 20_000
MAX_WHY = 500
GATHER_SECONDS = 5.0
Key = tuple[str, str, date, str]
"""Organisation, domain, day, and the move or nothing."""
Moves = Callable[[str], Mapping[str, tuple[str, datetime]]]
"""An organisation's moves under way, as ports.Connectors has them."""
_SIGHTS = {sight: number for number, sight in enumerate(Sight)}


class _Count:
    """One destination on one day, being counted."""

    __slots__ = ("attempts", "dane", "dane_trouble", "sts", "sts_trouble")

    def __init__(self) -> None:
        self.attempts = 0
        self.dane = [0] * len(_SIGHTS)
        self.sts = [0] * len(_SIGHTS)
        self.dane_trouble: Trouble | None = None
        self.sts_trouble: Trouble | None = None

    def add(self, attempt: Attempt) -> None:
        self.attempts += 1
        if (sight := sight_of_dane(attempt)) is not None:
            self.dane[_SIGHTS[sight]] += 1
            if sight is not Sight.SATISFIED:
                self.dane_trouble = _trouble(attempt, Mechanism.DANE, sight)
        if (sight := sight_of_sts(attempt)) is not None:
            self.sts[_SIGHTS[sight]] += 1
            if sight is not Sight.SATISFIED:
                self.sts_trouble = _trouble(attempt, Mechanism.MTA_STS, sight)

    def day(self, day: date) -> Day:
        return Day(day, self.attempts, _tally(self.dane, self.dane_trouble), _tally(self.sts, self.sts_trouble))


def _tally(counts: list[int], trouble: Trouble | None) -> Tally:
    satisfied, failed, not_offered, unknown = counts
    return Tally(satisfied, failed, not_offered, unknown, trouble)


def _trouble(attempt: Attempt, mechanism: Mechanism, sight: Sight) -> Trouble:
    return Trouble(attempt.at, why_not(attempt, mechanism, sight)[:MAX_WHY])


class Observations:
    """The counts of a running gateway that are not written yet."""

    def __init__(self, store: ObservationStore, max_noted: int = MAX_NOTED, moves: Moves = lambda _: {}) -> None:
        self._store = store
        self._moves = moves
        self._max = max_noted
        self._counts: dict[Key, _Count] = {}
        self._uncounted = 0
        self._some = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Observations {len(self._counts)} noted>"

    def note(self, organization: str, attempts: Iterable[Attempt]) -> None:
        """Count the attempts of one run."""
        moves = self._moves(organization)
        for attempt in attempts:
            self._count((organization, attempt.domain, attempt.at.date(), ""), attempt)
            move = moves.get(attempt.connector_guid) if moves else None
            if move is not None and seen_by(attempt, move[1]):
                self._count((organization, attempt.domain, attempt.at.date(), move[0]), attempt)

    def _count(self, key: Key, attempt: Attempt) -> None:
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= self._max:
                self._uncounted += 1
                return
            count = self._counts[key] = _Count()
            self._some.set()
        count.add(attempt)

    async def work(self) -> None:
        """Write what was counted every few seconds, for ever."""
        await keep_flushing(self._some, self.flush, GATHER_SECONDS, "what attempts saw")

    async def flush(self) -> None:
        """Write all that was counted; raises StoreUnavailable, and then it is written with the next flush."""
        self._some.clear()
        counts, self._counts = self._counts, {}
        if self._uncounted:
            log.warning("attempts were not counted for the readiness report", attempts=self._uncounted)
            self._uncounted = 0
        observed = [
            Observed(organization, domain, count.day(day), move)
            for (organization, domain, day, move), count in sorted(counts.items(), key=_key)
        ]
        if not observed:
            return
        try:
            await self._store.add(observed)
        except BaseException:
            self._put_back(counts)
            raise

    def _put_back(self, counts: dict[Key, _Count]) -> None:
        """What was counted meanwhile is added to what could not be written."""
        for key, new in self._counts.items():
            old = counts.get(key)
            if old is None:
                counts[key] = new
                continue
            old.attempts += new.attempts
            old.dane = [a + b for a, b in zip(old.dane, new.dane, strict=True)]
            old.sts = [a + b for a, b in zip(old.sts, new.sts, strict=True)]
            old.dane_trouble = new.dane_trouble or old.dane_trouble
            old.sts_trouble = new.sts_trouble or old.sts_trouble
        self._counts = counts
        self._some.set()


def _key(item: tuple[Key, _Count]) -> Key:
    return item[0]
