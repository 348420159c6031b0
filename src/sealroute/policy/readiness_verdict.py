"""Whether a destination could be held to a Mandatory mode: from what was seen day by day to a verdict with reasons.

Rules, for each mechanism by itself:

* A *good* day has satisfied sessions and nothing else; a *bad* day has at least one session that failed, that was not offered
  the mechanism, or for which it could not be found out.  Days that say nothing are left out.
* BROKEN: on the last day that says anything certain, a session failed.
* NOT_OFFERED: on that day nothing else was seen than that it is not offered, and nothing was unknown on that day or since.
* READY: since the last bad day there are at least `Rules.days` good days with `Rules.sessions` satisfied sessions or
  `Rules.probes` satisfied probes together, and the last of them is not older than `Rules.fresh_days`.
* WAIT: everything else.  So a look-up that failed is never taken for satisfied nor for not offered; it makes one wait.
* What the last probe found that bodes ill (`Caveat`) turns READY and WAIT into its own state, when that is worse.

Probes count as sessions do, except where the rules name them.

Elsewhere: what attempts see (policy/readiness), caveats (policy/outlook), showing all of it (faces/cli/readiness).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import NamedTuple

from sealroute.base.times import rfc3339
from sealroute.policy.readiness import Day, Mechanism, Tally


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
class Rules:
    """How much is enough; see the head of this file."""

    days: int = 7
    sessions: int = 20
    fresh_days: int = 14
    probes: int | None = 7
    """None: probes never take the place of sessions."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something that the counts do not show yet."""

    state: State
    """What it makes of READY: WAIT or BROKEN."""
    reason: str


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


class _Seen(NamedTuple):
    """One day that says something."""

    day: date
    tally: Tally
    probed: Tally
    """The part of it that probes saw."""


def judge(
    mechanism: Mechanism, days: Sequence[Day], today: date, rules: Rules, caveats: Sequence[Caveat] = ()
) -> Readiness:  # fmt: skip
    """The verdict; `days` in any order."""
    seen = [
        _Seen(day.day, day.tally(mechanism), day.probed(mechanism)) for day in sorted(days, key=lambda day: day.day)
    ]  # fmt: skip
    seen = [item for item in seen if item.tally.certain or item.tally.unknown]
    total = Tally()
    for item in seen:
        total = total.plus(item.tally)
    if not seen:
        tried = any(day.attempts or day.probes for day in days)
        why = f"{mechanism.value} was not looked at: the connector's mode is None, or no server was reached."
        return Readiness(State.WAIT, (why if tried else "No mail was tried yet.",), total)
    state, reasons = _state(mechanism, seen, today, rules)
    if state is not State.NOT_OFFERED and caveats:
        state = max((state, *(caveat.state for caveat in caveats)), key=_WORSE.index)
        reasons = (*(caveat.reason for caveat in caveats), *reasons)
    return Readiness(state, reasons, total)


_WORSE = (State.READY, State.WAIT, State.BROKEN)


def _state(mechanism: Mechanism, seen: Sequence[_Seen], today: date, rules: Rules) -> tuple[State, tuple[str, ...]]:
    certain = [item for item in seen if item.tally.certain]
    if not certain:
        return State.WAIT, (f"Whether it has {mechanism.value} could not be found out.", *_last_trouble(seen))
    day, last, probed = certain[-1]
    unknown = any(item.tally.unknown for item in seen if item.day >= day)
    if last.failed:
        return State.BROKEN, (f"{_both(last.failed, probed.failed)} failed on {day}.", *_last_trouble(seen))
    if last.not_offered and not last.satisfied and not unknown:
        return State.NOT_OFFERED, _last_trouble(seen)
    reasons = _lacking(mechanism, seen, today, rules)
    if reasons:
        return State.WAIT, reasons
    since = _good_since_bad(seen)
    satisfied, probes = _satisfied(since)
    said = _both(satisfied, probes, few=False)
    return State.READY, (f"All {said} on {_count(len(since), 'day')} since {since[0].day} were satisfied.",)


def _lacking(mechanism: Mechanism, seen: Sequence[_Seen], today: date, rules: Rules) -> tuple[str, ...]:
    """What is missing for READY; empty when nothing is."""
    since = _good_since_bad(seen)
    reasons: list[str] = []
    latest = seen[-1]
    if not since:
        tally, probed = latest.tally, latest.probed
        if tally.unknown:
            tried = _both(tally.unknown, probed.unknown, "attempt")
            reasons.append(f"Whether it has {mechanism.value} could not be found out in {tried}.")
        if tally.not_offered:
            reasons.append(f"{_both(tally.not_offered, probed.not_offered)} met a server without it.")
    if len(since) < rules.days:
        reasons.append(f"{_count(len(since), 'good day')} of {rules.days}.")
    satisfied, probes = _satisfied(since)
    if satisfied - probes < rules.sessions and (rules.probes is None or probes < rules.probes):
        also = f" (or {_count(probes, 'probe')} of {rules.probes})" if probes and rules.probes is not None else ""
        reasons.append(f"{_count(satisfied - probes, 'satisfied session')} of {rules.sessions}{also}.")
    age = (today - latest.day).days
    if age > rules.fresh_days:
        reasons.append(f"Nothing was seen for {age} days.")
    return (*reasons, *_last_trouble(seen)) if reasons else ()


def _satisfied(since: Sequence[_Seen]) -> tuple[int, int]:
    """(satisfied sessions and probes, satisfied probes)"""
    return sum(item.tally.satisfied for item in since), sum(item.probed.satisfied for item in since)


def _good_since_bad(seen: Sequence[_Seen]) -> list[_Seen]:
    """The good days after the last bad one."""
    since: list[_Seen] = []
    for item in reversed(seen):
        if not item.tally.good:
            break
        since.insert(0, item)
    return since


def _last_trouble(seen: Sequence[_Seen]) -> tuple[str, ...]:
    troubles = [item.tally.trouble for item in seen if item.tally.trouble is not None]
    if not troubles:
        return ()
    last = max(troubles, key=lambda trouble: trouble.at)
    return (f"Last trouble {rfc3339(last.at)}: {last.why}.",)


def _both(count: int, probes: int, word: str = "session", *, few: bool = True) -> str:
    """So many of both, of them so many probes, in words; not `few`: the plural in any case."""
    parts = [(count - probes, word), (probes, "probe")]
    return " and ".join(_count(number, of) if few else f"{number} {of}s" for number, of in parts if number)


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
