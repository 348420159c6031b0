"""Telling administrators of changes: what an alert says, when it may be sent, when it is tried again, when it was told already.

* Quiet hours delay, never drop: what comes up in them is sent at their end.  A test is sent at once.
* The same kind of change at the same destination is told again only after `AlertRules.repeat_after`.
* A webhook that does not take an alert is tried again after 1, 2, 4, ... 60 minutes, and given up after a day of tries.
* The signature is over the moment and the body, so that neither can be exchanged; the receiver compares the moment with its
  clock, and the id with those that it has seen: after a crash between sending and noting it, an alert may come twice.

Elsewhere: keeping (store/alerts), sending (services/alert, net/webhook).
"""

from __future__ import annotations

import hashlib
import hmac
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from email.message import EmailMessage
from email.policy import SMTP
from enum import Enum
from typing import Any

from sealroute.base.times import rfc3339, rfc5322, to_us
from sealroute.policy.history import Drift
from sealroute.policy.move import Mark, Move

TEST = "test"
"""The kind of an alert that somebody asked for."""
ROLLED_BACK = "move-rolled-back"
"""The kind of an alert that a gateway has rolled a moved connector back (policy/move)."""
WAIT_MINUTES, LATER_MINUTES = (1, 2, 4, 8, 16, 32), 60
LAST_TRY = 30
"""1 + 2 + 4 + 8 + 16 + 32 minutes, and then 23 hours: a little more than a day."""


class Channel(Enum):
    """How it is told."""

    MAIL = "mail"
    WEBHOOK = "webhook"


class AlertState(Enum):
    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Who is told, and when again."""

    channels: tuple[Channel, ...] = ()
    repeat_after: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One event to be told over one channel."""

    id: str
    organization: str
    domain: str
    kind: str
    channel: Channel
    state: AlertState
    created_at: datetime
    due_at: datetime
    attempts: int
    body: str
    """JSON, as the webhook gets it."""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A span of each day, by the clock of a time zone; from `begin` to `end`, perhaps over midnight; equal: all of it."""

    begin: time
    end: time
    zone: tzinfo

    def hold(self, now: datetime) -> bool:
        """Whether nothing may be sent now."""
        clock = now.astimezone(self.zone).time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


def wait_after(attempts: int) -> timedelta:
    """How long to wait after so many tries, one at least."""
    return timedelta(minutes=WAIT_MINUTES[attempts - 1] if attempts <= len(WAIT_MINUTES) else LATER_MINUTES)


def body_of_drift(drift: Drift, identity: str) -> dict[str, Any]:
    """What is told of a change, as plain JSON values."""
    return {
        "id": identity,
        "kind": drift.kind.value,
        "weaker": drift.kind.weaker,
        "organization": drift.organization,
        "domain": drift.domain,
        "at": rfc3339(drift.at),
        "text": drift.sentence,
        "knownSince": rfc3339(drift.known_since) if drift.known_since else None,
        "lastSeen": rfc3339(drift.last_seen) if drift.last_seen else None,
    }


def body_of_roll_back(move: Move, ended: Mark, identity: str) -> dict[str, Any]:
    """The same for a moved connector that was rolled back."""
    domains = ", ".join(move.domains)
    text = f"Connector {move.connector_name!r} for {domains} was rolled back to its fixed smart hosts. {ended.why}"
    return {
        "id": identity,
        "kind": ROLLED_BACK,
        "weaker": True,
        "organization": move.organization,
        "domain": move.domains[0],
        "at": rfc3339(ended.at),
        "text": text,
        "knownSince": rfc3339(move.started.at),
        "lastSeen": None,
        "connector": move.connector_name,
    }


def body_of_test(organization: str, at: datetime, identity: str) -> dict[str, Any]:
    """The same for a test."""
    return {
        "id": identity,
        "kind": TEST,
        "weaker": False,
        "organization": organization,
        "domain": "",
        "at": rfc3339(at),
        "text": "This is a test of Sealroute's alerts. Nothing has happened.",
        "knownSince": None,
        "lastSeen": None,
    }


def signature(secret: bytes, at: datetime, body: bytes) -> str:
    """The value of the header Sealroute-Signature: `t=SECONDS,v1=HEX`, HMAC-SHA256 over `SECONDS.BODY`."""
    seconds = to_us(at) // 1_000_000
    digest = hmac.new(secret, b"%d.%s" % (seconds, body), hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def mail_of(body: Mapping[str, Any], addresses: tuple[str, str], message_id: str, at: datetime) -> bytes:
    """The message that tells it, from the first address to the second."""
    domain = body["domain"]
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit", utf8=not "".join(addresses).isascii()))
    mail["From"], mail["To"] = addresses
    mail["Subject"] = f"Sealroute: {body['kind']} at {domain}" if domain else "Sealroute: test"
    mail["Date"] = rfc5322(at)
    mail["Message-ID"] = f"<{message_id}>"
    mail["Auto-Submitted"] = "auto-generated"
    lines = [str(body["text"]), "", f"When: {body['at']}", f"Organization: {body['organization']}"]
    if body["kind"] == ROLLED_BACK:
        lines += [
            "",
            "What waited for it is being tried again. How it came to this, and what is at the destination now:",
            "",
            f"    sealroute migrate status {shlex.quote(body['connector'])}",
            f"    sealroute analyze {domain}",
        ]
    elif domain:
        lines += [
            "",
            "This notice changes nothing about delivery. The history and the verdict on this destination:",
            "",
            f"    sealroute drift list --domain {domain}",
            f"    sealroute readiness {domain}",
        ]
    mail.set_content("\n".join(lines) + "\n", charset="utf-8")
    return mail.as_bytes()
