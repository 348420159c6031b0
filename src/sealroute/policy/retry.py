"""When a group is tried again, and when it is over [ADR 7.10].

Waits follow the connector's RetrySchedule, its last entry repeating, each moved by up to ten per cent so that many groups
held together do not come back together.  The last try falls on the expiry itself: nothing is returned without having
been tried at the end of its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.policy.connector import Connector

DELAY_NOTICE_AFTER = timedelta(hours=4)
JITTER = 0.10


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The parts of retry that are the gateway's, not a connector's."""

    delay_notice_after: timedelta = DELAY_NOTICE_AFTER
    jitter: float = JITTER
    """The largest share by which a wait is moved, 0 to 1."""


def expires_at(connector: Connector, queued_at: datetime) -> datetime:
    """When the group is returned if it is still here."""
    return queued_at + connector.message_expiration


def next_attempt(
    connector: Connector, queued_at: datetime, runs: int, now: datetime, chance: float, rules: RetryRules | None = None
) -> datetime | None:
    """When to try again after `runs` failed runs (1 or more); None when the time is up and the mail must be returned.

    `chance` is a random number in -1..1.
    """
    end = expires_at(connector, queued_at)
    if now >= end:
        return None
    schedule = connector.retry_schedule
    wait = schedule[min(max(runs, 1), len(schedule)) - 1]
    return min(now + wait * (1 + chance * (rules or RetryRules()).jitter), end)


def delay_notice_due(queued_at: datetime, now: datetime, already_sent: bool, rules: RetryRules | None = None) -> bool:
    """True when the sender should now hear, once, that the message is late."""
    return not already_sent and now - queued_at >= (rules or RetryRules()).delay_notice_after
