"""validate: can mail go through a connector right now?  Delivery's own steps with a test mail, told as a list of tasks.

The engine that delivers does the work, with this connector chosen whatever its domains, its Enabled and its TestMode say;
the tasks only read the Attempts it made, so a validation can never disagree with delivery [Exchange Online].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sealroute.base.mail import Envelope, Message, Notify, Origin, Recipient
from sealroute.base.names import address_domain
from sealroute.base.times import rfc5322
from sealroute.policy.attempt import Attempt, Fate
from sealroute.policy.reasons import Reason
from sealroute.policy.requirement import CheckResult, Protection
from sealroute.ports import Group, Settled

SUBJECT = "Test email for connector validation"
MAX_RECIPIENTS = 50


class Runner(Protocol):
    """services/deliver, bound to the connector under test."""

    async def run(self, group: Group, message: Message) -> Settled: ...


class NoNotices:
    """Nobody gets a notice about a test mail; the tasks tell."""

    def after_run(self, message: Message, run: object) -> tuple[()]:
        return ()


@dataclass(frozen=True, slots=True)
class Task:
    """One step at one next hop."""

    name: str
    target: str
    succeeded: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What validating for one recipient came to."""

    recipient: str
    tasks: tuple[Task, ...]
    delivered: bool
    sentence: str
    """The reply of the server that took the mail, or the reason why none did."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the test mail is from."""

    hostname: str
    address: str


async def validate(
    runner: Runner, recipients: Sequence[str], sender: Sender, ids: Callable[[datetime], str], now: datetime
) -> list[Validation]:
    """Send the test mail to each recipient, one after the other; raises InputError for an address that is none."""
    results = []
    for recipient in recipients:
        domain = address_domain(recipient)
        message = _message(recipient, sender, ids(now), now)
        addressee = Recipient(recipient, notify=Notify.NEVER)
        group = Group(ids(now), message.id, domain, (addressee,), queued_at=now, next_attempt_at=now)
        results.append(read(recipient, await runner.run(group, message)))
    return results


def _message(recipient: str, sender: Sender, message_id: str, now: datetime) -> Message:
    header_id = f"<{message_id}@{sender.hostname}>"
    lines = [
        f"From: <{sender.address}>",
        f"To: <{recipient}>",
        f"Subject: {SUBJECT}",
        f"Date: {rfc5322(now)}",
        f"Message-ID: {header_id}",
        "Auto-Submitted: auto-generated",
        "",
        f"This message was sent by {sender.hostname} to find out whether mail gets through a connector.",
        "Nothing needs to be done with it.",
    ]
    content = "".join(f"{line}\r\n" for line in lines).encode()
    envelope = Envelope("", (Recipient(recipient, notify=Notify.NEVER),))
    return Message(
        message_id, "default", envelope, content, now, Origin.NOTIFICATION, header_message_id=header_id, subject=SUBJECT
    )


def read(recipient: str, settled: Settled) -> Validation:
    """The tasks that the attempts show."""
    tasks = [task for attempt in settled.attempts for task in _tasks(attempt)]
    fate = settled.fates[-1] if settled.fates else None
    delivered = fate is not None and fate.fate is Fate.DELIVERED
    sentence = ""
    if fate is not None:
        sentence = str(fate.reply) if delivered else fate.finding.queued() if fate.finding else ""
    return Validation(recipient, tuple(tasks), delivered, sentence)


def _tasks(attempt: Attempt) -> list[Task]:
    """One address's steps, as far as they were taken."""
    where = f"{attempt.host} [{attempt.ip}]:{attempt.port}" if attempt.ip else attempt.host or attempt.domain
    finding = attempt.finding
    if not attempt.ip:
        return [Task("Resolve", where, False, finding.sentence() if finding else "")]
    tasks = [Task("Resolve", where, True, ", ".join(attempt.rows))]
    if attempt.facts is None:
        tasks.append(Task("Connect", where, False, finding.sentence() if finding else ""))
        return tasks
    tasks.append(Task("Connect", where, True, _greeting(attempt)))
    tasks += _security(attempt, where)
    if attempt.recipients:
        fate = attempt.recipients[-1]
        ok = fate.fate is Fate.DELIVERED
        detail = str(fate.reply) if fate.reply else fate.finding.sentence() if fate.finding else ""
        tasks.append(Task("Send test mail", where, ok, detail))
    elif finding is not None and finding.reason in (Reason.CONNECTION_LOST, Reason.PROTOCOL_ERROR):
        tasks.append(Task("Send test mail", where, False, finding.sentence()))
    return tasks


def _greeting(attempt: Attempt) -> str:
    return next((str(reply) for said, reply in attempt.replies if said == "(connect)"), "")


def _security(attempt: Attempt, where: str) -> list[Task]:
    """STARTTLS, and each mechanism that was judged."""
    facts, verdict = attempt.facts, attempt.verdict
    assert facts is not None
    need = attempt.requirement
    required = need is not None and need.tls_required
    detail = f"{facts.tls_version} {facts.cipher}" if facts.encrypted else facts.handshake_error or "not offered"
    tasks = [Task("STARTTLS", where, facts.encrypted or not required, detail)]
    if verdict is None:
        return tasks
    for name, check, enforced in (
        ("DANE", verdict.dane, need is not None and need.dane is not None and need.dane.enforced),
        ("MTA-STS", verdict.sts, need is not None and need.sts is not None and need.sts.enforced),
        ("TlsSettings", verdict.tls_settings, True),
    ):
        if check is not None:
            tasks.append(Task(name, where, check.satisfied or not enforced, _check(check, enforced)))
    if verdict.finding is None and verdict.protection is Protection.PLAIN:
        tasks.append(Task("Encryption", where, True, "none: nothing demands TLS"))
    return tasks


def _check(check: CheckResult, enforced: bool) -> str:
    said = check.matched or check.detail or ("holds" if check.satisfied else "does not hold")
    return said if enforced or check.satisfied else f"would fail, not enforced: {said}"


def outcome(results: Sequence[Validation], now: datetime) -> dict[str, str]:
    """What Set-OutboundConnector is to keep of it."""
    succeeded = bool(results) and all(result.delivered for result in results)
    return {"IsValidated": "$true" if succeeded else "$false", "LastValidationTimestamp": now.isoformat()}
