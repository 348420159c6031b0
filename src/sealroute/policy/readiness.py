"""What attempts see of DANE and MTA-STS at a destination, day by day: the ground for saying whether it could be held to them.

Every attempt says something of both, whatever the connector's modes (unless the mode is None), and so does every probe, which
is an attempt without mail (services/watch).  `sight_of_*` say what; services/observe counts it by UTC day, sessions and
probes apart.

Elsewhere: the verdict (policy/readiness_verdict), keeping the days (store/observations), showing them (faces/cli/readiness).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

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
    """With mail."""
    dane: Tally
    sts: Tally
    probes: int = 0
    """Attempts without mail; `probed_*` are what those saw."""
    probed_dane: Tally = Tally()
    probed_sts: Tally = Tally()

    def probed(self, mechanism: Mechanism) -> Tally:
        """What probes saw."""
        return self.probed_dane if mechanism is Mechanism.DANE else self.probed_sts

    def tally(self, mechanism: Mechanism) -> Tally:
        """What attempts with mail and probes saw together."""
        return (self.dane if mechanism is Mechanism.DANE else self.sts).plus(self.probed(mechanism))


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
