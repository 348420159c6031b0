"""Moving one pinned connector to MX routing under DANE or MTA-STS: the steps, what each still lacks, when it is rolled back.

    transition               made by       when
    -> observing             start         mail goes by MX, the mode is Opportunistic; the old connector is kept, disabled
    observing -> mandatory   advance       every session that counts would have satisfied Mandatory, for long enough
    mandatory -> done        advance       after the review date; the kept connector is removed
    observing -> rolled-back rollback      an administrator wants it, or the gateway finds too much mail held
    mandatory -> rolled-back the same      the gateway only until the review date

There is no other transition, and none out of `done` and `rolled-back`.  Rules:

* What counts begins with the start, and anew after every UTC day with a session that was not satisfied or not known to be.
* What could not be found out counts like what was not satisfied; no session at all is not enough for any domain.
* After the review date nothing is rolled back by itself: Mandatory is then what was asked for, and holds what it must.
* Held is what the new connector holds: what the peer itself puts off or refuses is not counted.

Elsewhere: what each step makes of the connector (policy/move_steps), looking and carrying out (services/move,
services/watch_moves), keeping (store/moves).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum

from sealroute.base.times import rfc3339, span
from sealroute.policy.attempt import Attempt
from sealroute.policy.connector import Connector
from sealroute.policy.readiness import Day, Mechanism, Tally
from sealroute.policy.reasons import Reason

MAX_HELD = 10_000
"""Held messages that are looked at, and the highest limit."""
THE_PEERS = frozenset((Reason.TRY_LATER, Reason.REJECTED, Reason.HOST_REJECTED, Reason.FEATURE_UNSUPPORTED, Reason.SUSPENDED))
"""Reasons that the pinned connector would have met as well."""


class MoveStep(Enum):
    """Where a move stands; see the head of this file."""

    OBSERVING = "observing"
    MANDATORY = "mandatory"
    DONE = "done"
    ROLLED_BACK = "rolled-back"

    @property
    def active(self) -> bool:
        """Whether there is a connector to roll back to."""
        return self in (MoveStep.OBSERVING, MoveStep.MANDATORY)


@dataclass(frozen=True, slots=True)
class MoveRules:
    """How much is enough, and how much is too much; kept with the move."""

    observe: timedelta = timedelta(days=14)
    sessions: int = 20
    max_held: int = 10
    """So many held messages roll it back."""
    max_age: timedelta = timedelta(hours=4)
    """One message held for so long rolls it back."""
    review: timedelta = timedelta(days=90)
    """From Mandatory to the review date."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Who did a step, when, and why if there was something to say."""

    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class PartnerState:
    """What one recipient domain published at some moment."""

    domain: str
    standing: str
    tls_rpt: bool
    hosts: tuple[str, ...] = ()
    without_tlsa: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One connector's way, for good."""

    id: str
    organization: str
    connector_guid: str
    connector_name: str
    """When it was started."""
    mechanism: Mechanism
    step: MoveStep
    rules: MoveRules
    before: Connector
    """As it was pinned."""
    kept_guid: str
    """The disabled connector that has all of `before`."""
    kept_name: str
    started: Mark
    partner_before: tuple[PartnerState, ...] = ()
    mandatory: Mark | None = None
    """`why` is the reason of a step that was forced."""
    partner_mandatory: tuple[PartnerState, ...] = ()
    ended: Mark | None = None
    after: Connector | None = None
    """The connector as the last step but a roll-back made it."""

    @property
    def domains(self) -> tuple[str, ...]:
        return self.before.recipient_domains

    @property
    def mode(self) -> str:
        """Exchange's name of what is to become Mandatory."""
        return "SmtpDaneMode" if self.mechanism is Mechanism.DANE else "MtaStsMode"

    @property
    def review_at(self) -> datetime | None:
        """When to look again; None before Mandatory."""
        return None if self.mandatory is None else self.mandatory.at + self.rules.review

    def watched(self, now: datetime) -> bool:
        """Whether the gateway may roll it back by itself."""
        return self.step.active and (self.review_at is None or now < self.review_at)


@dataclass(frozen=True, slots=True)
class Held:
    """One message, to one domain, that waits after an attempt since the start."""

    domain: str
    since: datetime
    """The first of those attempts."""
    reason: Reason


Days = Mapping[str, Sequence[Day]]
"""What attempts through the moved connector saw since the start, by domain."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a move at one moment."""

    now: datetime
    days: Days = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    """Those that count (see `counted`)."""
    not_now: str = ""
    """Why Mandatory would not deliver at this moment; empty: it would, or nobody looked."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What has been seen, and what of it counts."""

    total: Tally
    days: int
    """UTC days on which something was seen."""
    counts_from: datetime
    satisfied: int
    """Sessions that count."""
    silent: tuple[str, ...]
    """Domains without any of them."""
    bad_days: tuple[tuple[str, Day], ...]
    """(domain, day) with something else than satisfied, in order."""


def seen_by(attempt: Attempt, started_at: datetime) -> bool:
    """Whether an attempt tells of the move: one by MX, since the start; the old route's last ones may end after it."""
    return attempt.at >= started_at and "smart-host" not in attempt.rows


def counted(held: Sequence[Held]) -> tuple[Held, ...]:
    """Those that wait because of the new connector."""
    return tuple(item for item in held if item.reason not in THE_PEERS)


def progress(move: Move, days: Days) -> Progress:
    """What counts towards Mandatory."""
    total = Tally()
    seen: set[date] = set()
    bad: list[tuple[str, Day]] = []
    for domain in sorted(days):
        for day in sorted(days[domain], key=lambda item: item.day):
            tally = day.tally(move.mechanism)
            if not (tally.certain or tally.unknown):
                continue
            total = total.plus(tally)
            seen.add(day.day)
            if not tally.good:
                bad.append((domain, day))
    bad.sort(key=lambda item: (item[1].day, item[0]))
    first = move.started.at.date() if not bad else bad[-1][1].day + timedelta(days=1)
    since = datetime.combine(first, time(), UTC) if bad else move.started.at
    good = {
        domain: sum(day.tally(move.mechanism).satisfied for day in days.get(domain, ()) if day.day >= first)
        for domain in move.domains
    }
    silent = tuple(domain for domain, count in good.items() if not count)
    return Progress(total, len(seen), since, sum(good.values()), silent, tuple(bad))


def missing(move: Move, situation: Situation) -> tuple[str, ...]:
    """What keeps the move from its next step, in sentences; empty: nothing does, or there is no next step."""
    if move.step is MoveStep.OBSERVING:
        return _missing_for_mandatory(move, situation)
    review = move.review_at
    if move.step is MoveStep.MANDATORY and review is not None and situation.now < review:
        return (f"The review date {_second(review)} has not come.", *_not_now(situation))
    return _not_now(situation) if move.step is MoveStep.MANDATORY else ()


def _missing_for_mandatory(move: Move, situation: Situation) -> tuple[str, ...]:
    rules, found = move.rules, progress(move, situation.days)
    observed = situation.now - found.counts_from  # what counts may begin tomorrow only
    lacks: list[str] = []
    if observed < rules.observe:
        lacks.append(f"Observed for {span(observed)} of {span(rules.observe)}.")
    if found.satisfied < rules.sessions:
        lacks.append(f"{found.satisfied} of {rules.sessions} satisfied sessions.")
    lacks += [f"No satisfied session with {domain}." for domain in found.silent]
    if lacks and found.bad_days:
        domain, day = found.bad_days[-1]
        lacks.append(f"{_bad(move, domain, day)} What counts begins on {found.counts_from.date()}.")
    return (*lacks, *_not_now(situation))


def _bad(move: Move, domain: str, day: Day) -> str:
    tally = day.tally(move.mechanism)
    whole = tally.certain + tally.unknown
    trouble = f": {tally.trouble.why}" if tally.trouble else ""
    return f"On {day.day} {whole - tally.satisfied} of {whole} sessions with {domain} were not satisfied{trouble}."


def _not_now(situation: Situation) -> tuple[str, ...]:
    lacks = []
    if situation.held:
        count, oldest = len(situation.held), min(item.since for item in situation.held)
        lacks.append(f"{_count(count, 'message')} held, the oldest since {_second(oldest)}.")
    if situation.not_now:
        lacks.append(f"Mandatory would not deliver now: {situation.not_now}.")
    return tuple(lacks)


def roll_back(move: Move, situation: Situation) -> str:
    """Why the gateway must roll it back now; empty: it must not."""
    held = situation.held
    if not held or not move.watched(situation.now):
        return ""
    oldest = min(held, key=lambda item: item.since)
    age, rules = situation.now - oldest.since, move.rules
    if len(held) >= rules.max_held:
        limit = f"the limit is {_count(rules.max_held, 'message')}"
    elif age >= rules.max_age:
        limit = f"the limit is {span(rules.max_age)}"
    else:
        return ""
    return (
        f"{_count(len(held), 'message')} held, the oldest for {span(age)}; {limit}. "
        f"Why: {oldest.reason.value} at {oldest.domain}."
    )


def _second(at: datetime) -> str:
    return rfc3339(at.replace(microsecond=0))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
