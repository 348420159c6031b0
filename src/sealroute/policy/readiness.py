"""Whether a destination could be held to a Mandatory mode: from what attempts saw, day by day, to a verdict with reasons.

Every attempt says something of DANE and of MTA-STS, whatever the connector's modes (unless the mode is None).  `sight_of_*`
say what; services/observe counts it by UTC day; `judge` reads the days.  Rules of the verdict, for each mechanism by itself:

* A *good* day has satisfied sessions and nothing else; a *bad* day has at least one session that failed, that was not offered
  the mechanism, or for which it could not be found out.  Days that say nothing are left out.
* BROKEN: on the last day that says anything certain, a session failed.
* NOT_OFFERED: on that day nothing else was seen than that it is not offered, and nothing was unknown on that day or since.
* READY: since the last bad day there are at least `Rules.days` good days with `Rules.sessions` satisfied sessions together, and
  the last of them is not older than `Rules.fresh_days`.
* WAIT: everything else.  So a look-up that failed is never taken for satisfied nor for not offered; it makes one wait.

Elsewhere: keeping the days (store/observations), showing them (faces/cli/readiness).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from sealroute.base.times import rfc3339
from sealroute.policy.attempt import Attempt

DANE_UNKNOWN = frozenset(
    ("dane-address-unknown", "dane-tlsa-unknown", "host-address-unknown", "resolver-cannot-validate", "mx-bogus", "mx-unknown")
)
DANE_NOT_OFFERED = frozenset(("dane-absent", "dane-insecure", "dane-literal"))
STS_UNKNOWN = frozenset(("sts-dns-unknown", "sts-fetch-error", "host-address-unknown", "mx-bogus", "mx-unknown"))
STS_NOT_OFFERED = frozenset(("sts-absent", "sts-none", "sts-testing", "sts-literal"))
STS_FAILED = frozenset(("sts-txt-invalid", "sts-policy-invalid", "sts-webpki-invalid", "sts-enforce-mismatch"))


class Mechanism(Enum):
    """What a destination can be held to; the value is its name for people."""

    DANE = "DANE"
    MTA_STS = "MTA-STS"


class Sight(Enum):
    """What one attempt saw of one mechanism."""

    SATISFIED = "satisfied"
    """Mandatory would have let the message go."""
    FAILED = "failed"
    """The destination offers it, and it did not hold."""
    NOT_OFFERED = "not offered"
    """Known not to be there, or not to ask anything."""
    UNKNOWN = "unknown"
    """It could not be found out."""


class State(Enum):
    """The verdict on one mechanism."""

    READY = "ready"
    """Mandatory would have held nothing for long enough."""
    WAIT = "wait"
    """Too little is known, or it is not long enough since something was wrong."""
    NOT_OFFERED = "not offered"
    """Mandatory would hold all mail."""
    BROKEN = "broken"
    """The destination has something to repair."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """The last time that something was not satisfied, and why."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What the attempts of a day, or of several, saw of one mechanism."""

    satisfied: int = 0
    failed: int = 0
    not_offered: int = 0
    unknown: int = 0
    trouble: Trouble | None = None

    @property
    def certain(self) -> int:
        """How many attempts say something that is known."""
        return self.satisfied + self.failed + self.not_offered

    @property
    def good(self) -> bool:
        return self.satisfied > 0 and not (self.failed or self.not_offered or self.unknown)

    def plus(self, other: Tally) -> Tally:
        """Both together; the later trouble stays."""
        troubles = [tally.trouble for tally in (self, other) if tally.trouble is not None]
        return Tally(
            self.satisfied + other.satisfied, self.failed + other.failed, self.not_offered + other.not_offered,
            self.unknown + other.unknown, max(troubles, key=lambda trouble: trouble.at, default=None),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Day:
    """What was seen of one destination on one UTC day."""

    day: date
    attempts: int
    dane: Tally
    sts: Tally

    def tally(self, mechanism: Mechanism) -> Tally:
        return self.dane if mechanism is Mechanism.DANE else self.sts


@dataclass(frozen=True, slots=True)
class Rules:
    """How much is enough; see the head of this file."""

    days: int = 7
    sessions: int = 20
    fresh_days: int = 14


@dataclass(frozen=True, slots=True)
class Readiness:
    """The verdict on one mechanism of one destination, with the reasons in sentences."""

    state: State
    reasons: tuple[str, ...]
    total: Tally
    """Of all days looked at."""

    @property
    def share(self) -> float | None:
        """Of the attempts that say something certain, how many were satisfied; None: none says so."""
        return self.total.satisfied / self.total.certain if self.total.certain else None


# ------------------------------------------------------------------------------------------------- what an attempt saw


def sight_of_dane(attempt: Attempt) -> Sight | None:
    """None: DANE was not looked at, or no handshake told whether it holds."""
    rows = attempt.rows
    if not DANE_UNKNOWN.isdisjoint(rows) and "dane-off" not in rows:
        return Sight.UNKNOWN
    if not DANE_NOT_OFFERED.isdisjoint(rows):
        return Sight.NOT_OFFERED
    if "dane-unusable" in rows:
        return Sight.FAILED
    return _judged(attempt.verdict.would_satisfy_dane) if attempt.verdict is not None else None


def sight_of_sts(attempt: Attempt) -> Sight | None:
    """None: MTA-STS was not looked at, or no handshake told whether it holds."""
    rows = attempt.rows
    if not STS_UNKNOWN.isdisjoint(rows) and "sts-off" not in rows:
        return Sight.UNKNOWN
    if not STS_NOT_OFFERED.isdisjoint(rows):
        return Sight.NOT_OFFERED
    if not STS_FAILED.isdisjoint(rows):
        return Sight.FAILED
    return _judged(attempt.verdict.would_satisfy_sts) if attempt.verdict is not None else None


def _judged(satisfied: bool | None) -> Sight | None:
    return None if satisfied is None else Sight.SATISFIED if satisfied else Sight.FAILED


def why_not(attempt: Attempt, mechanism: Mechanism, sight: Sight) -> str:
    """The cause of a sight other than SATISFIED, in one clause."""
    dane, verdict = mechanism is Mechanism.DANE, attempt.verdict
    check = None if verdict is None else verdict.dane if dane else verdict.sts
    if sight is Sight.FAILED and check is not None and not check.satisfied:
        cause = check.detail
    elif attempt.finding is not None and verdict is None and attempt.finding.detail:
        cause = attempt.finding.detail
    else:
        prefix = "dane-" if dane else "sts-"
        named = [row for row in attempt.rows if row.startswith((prefix, "mx-", "host-", "resolver-"))]
        cause = ", ".join(named)
    return f"{attempt.host}: {cause}" if attempt.host and attempt.host not in cause else cause


# --------------------------------------------------------------------------------------------------------- the verdict


def judge(mechanism: Mechanism, days: Sequence[Day], today: date, rules: Rules) -> Readiness:
    """The verdict; `days` in any order."""
    seen = [(day.day, day.tally(mechanism)) for day in sorted(days, key=lambda day: day.day)]
    seen = [(day, tally) for day, tally in seen if tally.certain or tally.unknown]
    total = Tally()
    for _, tally in seen:
        total = total.plus(tally)
    if not seen:
        tried = any(day.attempts for day in days)
        why = f"{mechanism.value} was not looked at: the connector's mode is None, or no server was reached."
        return Readiness(State.WAIT, (why if tried else "No mail was tried yet.",), total)
    state, reasons = _state(mechanism, seen, today, rules)
    return Readiness(state, reasons, total)


def _state(
    mechanism: Mechanism, seen: Sequence[tuple[date, Tally]], today: date, rules: Rules
) -> tuple[State, tuple[str, ...]]:
    certain = [(day, tally) for day, tally in seen if tally.certain]
    if not certain:
        return State.WAIT, (f"Whether it has {mechanism.value} could not be found out.", *_last_trouble(seen))
    day, last = certain[-1]
    unknown = any(tally.unknown for later, tally in seen if later >= day)
    if last.failed:
        return State.BROKEN, (f"{_count(last.failed, 'session')} failed on {day}.", *_last_trouble(seen))
    if last.not_offered and not last.satisfied and not unknown:
        return State.NOT_OFFERED, _last_trouble(seen)
    reasons = _lacking(mechanism, seen, today, rules)
    if reasons:
        return State.WAIT, reasons
    since = _good_since_bad(seen)
    sessions = sum(tally.satisfied for _, tally in since)
    return State.READY, (f"All {sessions} sessions on {_count(len(since), 'day')} since {since[0][0]} were satisfied.",)


def _lacking(
    mechanism: Mechanism, seen: Sequence[tuple[date, Tally]], today: date, rules: Rules
) -> tuple[str, ...]:  # fmt: skip
    """What is missing for READY; empty when nothing is."""
    since = _good_since_bad(seen)
    reasons: list[str] = []
    _, latest = seen[-1]
    if not since:
        if latest.unknown:
            reasons.append(f"Whether it has {mechanism.value} could not be found out in {_count(latest.unknown, 'attempt')}.")
        if latest.not_offered:
            reasons.append(f"{_count(latest.not_offered, 'session')} met a server without it.")
    sessions = sum(tally.satisfied for _, tally in since)
    if len(since) < rules.days:
        reasons.append(f"{_count(len(since), 'good day')} of {rules.days}.")
    if sessions < rules.sessions:
        reasons.append(f"{_count(sessions, 'satisfied session')} of {rules.sessions}.")
    age = (today - seen[-1][0]).days
    if age > rules.fresh_days:
        reasons.append(f"Nothing was seen for {age} days.")
    return (*reasons, *_last_trouble(seen)) if reasons else ()


def _good_since_bad(seen: Sequence[tuple[date, Tally]]) -> list[tuple[date, Tally]]:
    """The good days after the last bad one."""
    since: list[tuple[date, Tally]] = []
    for day, tally in reversed(seen):
        if not tally.good:
            break
        since.insert(0, (day, tally))
    return since


def _last_trouble(seen: Sequence[tuple[date, Tally]]) -> tuple[str, ...]:
    troubles = [tally.trouble for _, tally in seen if tally.trouble is not None]
    if not troubles:
        return ()
    last = max(troubles, key=lambda trouble: trouble.at)
    return (f"Last trouble {rfc3339(last.at)}: {last.why}.",)


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
