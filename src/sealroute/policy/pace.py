"""How many runs to one destination at once: a window that grows while mail is taken and halves when the peer is overloaded.

    outcome of a run                                             window
    somebody got the message                                     +1; after the first halving only +1 per window of these
    nobody did, and a host could not be reached, broke off,      halved, not below 1; then nothing counts until as many
    timed out, or said 4yz about itself                          outcomes have come as runs may have been under way
    anything else: a check of ours failed, DNS, 4yz or 5yz       unchanged
    about the recipient or the message

A destination is a recipient domain, never a mail host: one domain's trouble at a host that many share says nothing about
the others.  A host that failed beside another that took the message does not count, or a domain whose first address is
always dead would be served one message at a time.

Elsewhere: who may run (services/lanes), what is remembered (services/destinations).  Why so: ADR 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sealroute.base.status import Reply
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.reasons import Finding, Reason

START_WINDOW = 5
"""Runs at once to a destination of which nothing is known."""
SHUTTING_DOWN = 421
_UNREACHABLE = (Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECTION_LOST)
_ABOUT_THE_SYSTEM = (3, 4)
"""Subjects of enhanced codes: mail system status; network and routing [RFC 3463 §3.4, §3.5]."""
_ABOUT_THE_MESSAGE = (1, 2, 6)
"""Addressing, mailbox, content [RFC 3463 §3.2, §3.3, §3.7]."""


class Feedback(Enum):
    """What a run says about how much the destination bears."""

    TAKEN = "taken"
    """Grow."""
    OVERLOADED = "overloaded"
    """Halve."""
    NOTHING = "nothing"
    """Leave the window as it is."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one run tells of its destination."""

    feedback: Feedback
    reached: bool
    """A server there took part in a transaction, whatever it said."""
    why: Finding | None = None
    """The cause, where nobody got the message."""


SERVED = Heard(Feedback.TAKEN, True)
BROKEN_OFF = Heard(Feedback.NOTHING, False)
"""A run that did not end: an error on our side."""


def heard(fates: Sequence[RecipientFate], attempts: Sequence[Attempt]) -> Heard:
    """What a run that is over tells."""
    for fate in fates:
        if fate.fate is Fate.DELIVERED:
            return SERVED
    reached = any(attempt.recipients for attempt in attempts)
    for attempt in attempts:
        if (why := overload(attempt)) is not None:
            return Heard(Feedback.OVERLOADED, reached, why)
    shown = next((attempt.finding for attempt in attempts if attempt.finding is not None), None)
    return Heard(Feedback.NOTHING, reached, shown)


def overload(attempt: Attempt) -> Finding | None:
    """The finding by which the host was overloaded or gone, if it was."""
    finding = attempt.finding
    if finding is None:
        return None
    if not attempt.recipients:  # not dialled, not opened, or 4yz in the greeting or to EHLO
        return finding if finding.reason is Reason.TRY_LATER or finding.reason in _UNREACHABLE else None
    for fate in attempt.recipients:
        why = fate.finding
        if why is None:
            continue
        if why.reason in _UNREACHABLE:
            return why
        if why.reason is Reason.TRY_LATER and fate.reply is not None and _about_the_host(attempt, fate.reply):
            return why
    return None


def _about_the_host(attempt: Attempt, reply: Reply) -> bool:
    """Whether a 4yz is about the server; to RCPT it mostly is about the recipient (greylisting, a full mailbox)."""
    if reply.code == SHUTTING_DOWN:
        return True
    subject = None if reply.enhanced is None else reply.enhanced.subject
    if any(said[:4].upper() == "RCPT" for said, came in attempt.replies if came is reply):
        return subject in _ABOUT_THE_SYSTEM
    return subject not in _ABOUT_THE_MESSAGE


class Window:
    """One destination's window; every method says whether `size` changed."""

    __slots__ = ("_deaf", "_successes", "halved", "size")

    def __init__(self, size: int = START_WINDOW, *, halved: bool = False) -> None:
        self.size = max(1, size)
        self.halved = halved
        """True once it was halved: it grows slowly from then on."""
        self._successes = 0
        self._deaf = 0
        """Outcomes still to come of runs that were under way when it was halved."""

    def __repr__(self) -> str:
        return f"<Window {self.size}{', growing slowly' if self.halved else ''}>"

    def feed(self, feedback: Feedback, limit: int) -> bool:
        """Take in one outcome; the window never grows beyond `limit`, and one that is beyond it is halved from there."""
        if self._deaf:
            self._deaf -= 1
            return False
        if feedback is Feedback.TAKEN:
            return self.size < limit and self._grow()
        return feedback is Feedback.OVERLOADED and self._halve(limit)

    def _grow(self) -> bool:
        self._successes += 1
        if self.halved and self._successes < self.size:
            return False
        self._successes = 0
        self.size += 1
        return True

    def _halve(self, limit: int) -> bool:
        before = self.size
        under_way = min(before, limit)
        self.size = max(1, under_way // 2)
        self.halved = True
        self._successes = 0
        self._deaf = under_way - 1
        return self.size != before
