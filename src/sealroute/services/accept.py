"""Accept one message: from what a session brought to a durable place in the queue, or to the reply that refuses it.

Rules that hold here:
- A positive reply is returned only after the queue has committed the message; when it could not, 451 and nothing is kept.
- What the sender wrote is not changed: fields are put on top, nothing below them is touched.
- The scheduler is asked for room before the message is stored, and gets it from memory afterwards; when it has no room,
  or declines after all, the message waits in the queue like any other.

Deliberately elsewhere: who may send (proto/smtp/transaction), where the message goes (plan, deliver).
Sources: [RFC 5321 §4.4, §6.3] Received and loops, [RFC 6409 §8] what submission adds, [RFC 8689 §5] TLS-Required.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from sealroute.base import times
from sealroute.base.mail import Envelope, Message, Origin, Recipient
from sealroute.base.status import Enhanced, Reply
from sealroute.ports import Clock, Group, Queue, TraceEvent
from sealroute.proto.smtp import grammar, headers
from sealroute.proto.smtp.data import has_lone_cr_or_lf
from sealroute.proto.smtp.session import SessionFacts
from sealroute.services.ids import IdSource

log = structlog.get_logger(__name__)

_LOOP = Reply(554, ("Routing loop detected: the message has passed too many servers",), Enhanced(5, 4, 14))
_HEAD_TOO_BIG = Reply(552, (f"The message's header has more than {headers.MAX_HEAD_OCTETS} octets",), Enhanced(5, 3, 4))
_NOT_STORED = Reply(451, ("The message could not be stored; try again later",), Enhanced(4, 3, 0))


@dataclass(frozen=True, slots=True)
class AcceptConfig:
    """What acceptance needs to know of us."""

    hostname: str
    hops: int = 20
    """Received fields that make a loop."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The two questions put to the scheduler; both answer at once."""

    room: Callable[[int, int], bool]
    """Before storing: will it take so many groups, with so many octets of content, directly?"""
    handover: Callable[[Message, Sequence[Group]], bool]
    """After storing them ACTIVE: here they are; False when it declines after all."""


class Accept:
    """The driver of SMTP sessions calls it once per message."""

    def __init__(
        self, config: AcceptConfig, queue: Queue, clock: Clock, scheduler: Scheduler, ids: IdSource | None = None
    ) -> None:
        self._config = config
        self._queue = queue
        self._clock = clock
        self._scheduler = scheduler
        self._ids = ids or IdSource()

    async def __call__(self, envelope: Envelope, content: bytes, facts: SessionFacts) -> Reply:
        """Store the message and answer 250, or answer what is in the way; never raises for a store that fails."""
        head = headers.scan(content)
        if head is None:
            return _HEAD_TOO_BIG
        if head.hops >= self._config.hops:
            return _LOOP
        now = self._clock.now()
        message = self._message(envelope, content, facts, head, now)
        groups = self._groups(message, now)
        active = self._scheduler.room(len(groups), message.size_bytes)
        try:
            await self._queue.add(message, groups, (received_event(message, facts),), active=active)
        except Exception:
            # Whatever went wrong, the message is not known to be durable: the client must keep it.
            log.exception("message not stored", message_id=message.id, client_ip=facts.client_ip)
            return _NOT_STORED
        if active and not self._scheduler.handover(message, groups):
            await self._give_back(groups)
        return Reply(250, (f"{message.id} Queued",), Enhanced(2, 6, 0))

    async def _give_back(self, groups: Sequence[Group]) -> None:
        try:
            await self._queue.release([group.id for group in groups])
        except Exception:
            # Accepted all the same: the groups come back when this node's lease ends or it starts anew.
            log.exception("groups not released", groups=[group.id for group in groups])

    def _message(self, envelope: Envelope, content: bytes, facts: SessionFacts, head: headers.Head, now: datetime) -> Message:
        message_id = self._ids(now)
        recipients = envelope.recipients
        only = recipients[0].address if len(recipients) == 1 else ""
        hostname = self._config.hostname
        top = headers.received(facts, hostname, message_id, now, smtputf8=envelope.smtputf8, only=only)
        header_message_id = head.message_id
        if facts.origin is Origin.SUBMISSION:
            if not head.has_date:
                top += f"Date: {times.rfc5322(now)}\r\n".encode("ascii")
            if not header_message_id:
                header_message_id = f"<{message_id}@{hostname}>"
                top += f"Message-ID: {header_message_id}\r\n".encode("ascii")
        if not head.begins_with_field:
            top += b"\r\n"
        return Message(
            id=message_id,
            organization=facts.organization,
            envelope=envelope,
            content=top + content,
            received_at=now,
            origin=facts.origin,
            client_ip=facts.client_ip,
            client_name=facts.helo,
            user=facts.user,
            header_message_id=header_message_id,
            subject=head.subject,
            tls_required_no=head.tls_required_no and not envelope.require_tls,
            # The session has looked through what came in; what we put on top holds words that a client chose.
            crlf_only=not has_lone_cr_or_lf(top),
        )

    def _groups(self, message: Message, now: datetime) -> list[Group]:
        by_domain: dict[str, dict[str, Recipient]] = {}
        for recipient in message.envelope.recipients:
            domain = grammar.destination(recipient.address.rpartition("@")[2])
            # An address given twice gets one copy, with the wishes of the first.
            by_domain.setdefault(domain, {}).setdefault(recipient.address, recipient)
        return [
            Group(self._ids(now), message.id, domain, tuple(recipients.values()), queued_at=now, next_attempt_at=now)
            for domain, recipients in by_domain.items()
        ]


def received_event(message: Message, facts: SessionFacts) -> TraceEvent:
    """The first step of the message's trace."""
    who = f" as {facts.user}" if facts.user else ""
    over = f" over {facts.tls_version}" if facts.tls_version else ""
    return TraceEvent(
        message.id,
        message.received_at,
        "RECEIVE",
        "",
        f"Received from {facts.helo} [{facts.client_ip}]{who}{over}",
        {
            "client_ip": facts.client_ip,
            "helo": facts.helo,
            "origin": facts.origin.value,
            "tls": facts.tls_version,
            "cipher": facts.tls_cipher,
            "user": facts.user,
            "size_bytes": message.size_bytes,
            "recipients": len(message.envelope.recipients),
        },
    )
