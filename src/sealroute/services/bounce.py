"""bounce: which notices a run calls for, and what they say.

Per recipient: FAILED → an NDR, unless NOTIFY says otherwise; DELIVERED to a server that does not pass DSN on, and wished
with NOTIFY=SUCCESS → a `relayed` notice [RFC 3461 §6.2.7.3]; once after four hours of waiting → a delay notice.
Recipients with the same kind of outcome share one notice.  Never a notice about a message with the null sender: no NDR
about an NDR.  The notice of a REQUIRETLS message asks for REQUIRETLS itself and returns no content [RFC 8689 §5].

A notice is an ordinary message of ours with the null sender; it enters the queue in the same commit that settles the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.base.errors import InputError
from sealroute.base.mail import BodyType, Envelope, Message, Notify, Origin, Recipient, Ret
from sealroute.base.names import address_domain
from sealroute.base.status import Enhanced
from sealroute.base.times import rfc3339
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.reasons import Finding, Side
from sealroute.ports import Group
from sealroute.proto.dsn.fields import MAX_SUBJECT_CHARACTERS
from sealroute.proto.dsn.human import Story, hops, text
from sealroute.proto.dsn.notice import Action, Notice, RecipientStatus, boundary_for, build, header_of
from sealroute.services.attempts import Run

Ids = Callable[[datetime], str]
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not strftime's, which follow the process's language."""


@dataclass(frozen=True, slots=True)
class BounceConfig:
    """Who speaks in a notice."""

    hostname: str
    from_address: str
    """The From header, e.g. postmaster@mail.contoso.com; the envelope sender is always null."""


_OPENINGS = {
    Action.FAILED: "Your message could not be delivered to the recipients below, and will not be tried again.",
    Action.DELAYED: "Your message has not been delivered yet. This is only a notice: delivery is still being tried, and "
    "you need not send the message again. If it cannot be delivered by {until}, you will be told.",
    Action.RELAYED: "Your message was handed to the next mail server, which does not send delivery receipts. You will "
    "hear no more about it unless something goes wrong there.",
}
_SUBJECTS = {
    Action.FAILED: "Undeliverable",
    Action.DELAYED: "Delivery delayed",
    Action.RELAYED: "Relayed",
}


class Bounce:
    """Makes notices."""

    def __init__(self, config: BounceConfig, ids: Ids) -> None:
        self._config = config
        self._ids = ids

    def after_run(self, message: Message, run: Run) -> tuple[tuple[Message, tuple[Group, ...]], ...]:
        """The notices that this run calls for, each a message with its one group."""
        sender = message.envelope.sender
        if not sender or message.origin is Origin.NOTIFICATION:
            return ()
        try:
            domain = address_domain(sender)
        except InputError:
            # Nobody can be told; the trace keeps the failure.
            return ()
        wishes = {recipient.address: recipient for recipient in run.group.recipients}
        due: dict[Action, dict[str, tuple[Recipient, RecipientFate]]] = {}
        for fate in run.fates:
            recipient = wishes[fate.address]
            action = _action(fate, recipient, delay=run.delay_notice)
            if action is not None:
                due.setdefault(action, {})[fate.address] = (recipient, fate)
        return tuple(self._notice(message, run, action, list(items.values()), domain) for action, items in due.items())

    def _notice(
        self, message: Message, run: Run, action: Action, items: list[tuple[Recipient, RecipientFate]], domain: str
    ) -> tuple[Message, tuple[Group, ...]]:
        notice_id = self._ids(run.now)
        envelope = message.envelope
        # A delay or success notice returns headers only, whatever RET says [RFC 3461 §4.3].
        full = action is Action.FAILED and envelope.ret is not Ret.HDRS and not envelope.require_tls
        subject = f"{_SUBJECTS[action]}: {message.subject}" if message.subject else _SUBJECTS[action]
        content = build(
            Notice(
                reporting_mta=self._config.hostname,
                from_address=self._config.from_address,
                to_address=envelope.sender,
                subject=subject,
                message_id=f"{notice_id}@{self._config.hostname}",
                boundary=boundary_for(message.content, notice_id),
                at=run.now,
                arrived_at=message.received_at,
                human=self._human(message, run, action, items),
                recipients=tuple(_status(run, action, recipient, fate) for recipient, fate in items),
                original=message.content,
                return_full=full,
                envid=envelope.envid,
                internationalized=_internationalized(message, items),
                original_message_id=message.header_message_id,
            )
        )
        recipient = Recipient(envelope.sender, notify=Notify.NEVER)
        body = BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT
        notice = Message(
            id=notice_id,
            organization=message.organization,
            # Only our own header asks SMTPUTF8 of the way back; the parts within are 8-bit at most [RFC 6533 §2].
            envelope=Envelope(
                "", (recipient,), body=body, smtputf8=not envelope.sender.isascii(), require_tls=envelope.require_tls
            ),
            content=content,
            received_at=run.now,
            origin=Origin.NOTIFICATION,
            header_message_id=f"<{notice_id}@{self._config.hostname}>",
            subject=subject[:MAX_SUBJECT_CHARACTERS],
        )
        group = Group(self._ids(run.now), notice_id, domain, (recipient,), queued_at=run.now, next_attempt_at=run.now)
        return notice, (group,)

    def _human(self, message: Message, run: Run, action: Action, items: list[tuple[Recipient, RecipientFate]]) -> str:
        stories = [self._story(message, run, action, fate) for _, fate in items]
        opening = _OPENINGS[action].replace("{until}", _moment(run.expires_at))
        return text(opening, message.subject, stories, hops(message.content))

    def _story(self, message: Message, run: Run, action: Action, fate: RecipientFate) -> Story:
        finding = fate.finding
        attempt = _last_attempt(run, fate)
        details = (
            ("Generating server", self._config.hostname),
            ("Remote server", _remote(attempt)),
            ("Its last reply", _said(attempt, fate)),
            ("Code", _code(action, finding) if finding is not None else ""),
            ("Decided by", ", ".join(attempt.rows) if attempt else ""),
            ("Transport rules", _rules(attempt)),
            ("Attempts", str(run.group.attempts + 1)),
            ("Tried for", _span(run.now - run.group.queued_at)),
            ("Tried until", rfc3339(run.expires_at) if action is Action.DELAYED else ""),
            ("Message-ID", message.header_message_id),
            ("Message trace ID", message.id),
        )
        if finding is None:
            return Story(fate.address, "The next server took the message.", "", "", details)
        return Story(fate.address, _what(finding, run), _who(finding, run.group.domain), finding.reason.facts.fix, details)


def _action(fate: RecipientFate, recipient: Recipient, *, delay: bool) -> Action | None:
    """The notice one recipient's outcome calls for, if any."""
    wish = recipient.effective_notify
    if Notify.NEVER in wish:
        return None
    match fate.fate:
        case Fate.FAILED:
            return Action.FAILED if Notify.FAILURE in wish else None
        case Fate.DEFERRED:
            return Action.DELAYED if delay and Notify.DELAY in wish else None
        case Fate.DELIVERED:
            return Action.RELAYED if Notify.SUCCESS in wish and not fate.dsn_passed_on else None


def _internationalized(message: Message, items: list[tuple[Recipient, RecipientFate]]) -> bool:
    """Whether the plain forms cannot hold it: SMTPUTF8 was asked for, and used."""
    if not message.envelope.smtputf8:
        return False
    addresses = [message.envelope.sender, *(recipient.address for recipient, _ in items)]
    return not all(map(str.isascii, addresses)) or not header_of(message.content).isascii()


def _status(run: Run, action: Action, recipient: Recipient, fate: RecipientFate) -> RecipientStatus:
    attempt = _last_attempt(run, fate)
    return RecipientStatus(
        address=fate.address,
        action=action,
        status=_enhanced(action, fate),
        diagnostic=_diagnostic(action, fate),
        remote_mta=attempt.host if attempt is not None else "",
        orcpt=recipient.orcpt,
        last_attempt_at=attempt.at if attempt is not None else run.now,
        will_retry_until=run.expires_at if action is Action.DELAYED else None,
    )


def _enhanced(action: Action, fate: RecipientFate) -> Enhanced:
    if fate.finding is not None:
        return fate.finding.enhanced(4 if action is Action.DELAYED else 5)
    given = fate.reply.enhanced if fate.reply is not None else None
    return given if given is not None and given.klass == 2 else Enhanced(2, 0, 0)


def _diagnostic(action: Action, fate: RecipientFate) -> str:
    """The peer's own words about this recipient where it spoke, else ours."""
    if fate.reply is not None or fate.finding is None:
        return str(fate.reply or "")
    return _code(action, fate.finding)


def _code(action: Action, finding: Finding) -> str:
    return finding.queued() if action is Action.DELAYED else finding.returned()


def _last_attempt(run: Run, fate: RecipientFate) -> Attempt | None:
    """The attempt that shows this fate best: the one that decided it, else one at the finding's host, else the last."""
    for attempt in reversed(run.attempts):
        if any(fate is decided for decided in attempt.recipients):
            return attempt
    finding = fate.finding
    if finding is not None and finding.host:
        for attempt in reversed(run.attempts):
            if attempt.host == finding.host and finding.ip in ("", attempt.ip):
                return attempt
    return run.attempts[-1] if run.attempts else None


def _rules(attempt: Attempt | None) -> str:
    """The rules that made it stricter, or chose the way."""
    return ", ".join(rule.identity for rule in attempt.transport_rules if not rule.audit) if attempt else ""


def _remote(attempt: Attempt | None) -> str:
    if attempt is None or not attempt.host:
        return ""
    return f"{attempt.host} [{attempt.ip}]:{attempt.port}" if attempt.ip else attempt.host


def _said(attempt: Attempt | None, fate: RecipientFate) -> str:
    """What the server said about this recipient, or at least its last no."""
    if fate.reply is not None:
        return str(fate.reply)
    refusals = [reply for _, reply in attempt.replies if not reply.positive] if attempt is not None else []
    return str(refusals[-1]) if refusals else ""


def _what(finding: Finding, run: Run) -> str:
    where = f" (server {finding.host})" if finding.host and finding.host not in finding.detail else ""
    late = ""
    if run.last_try and not finding.final:
        late = f" It was tried for {_span(run.now - run.group.queued_at)}; then its time was up."
    return f"{finding.words().rstrip('.')}{where}.{late}"


def _who(finding: Finding, domain: str) -> str:
    side = finding.reason.facts.side
    who = f"{side.value[0].upper()}{side.value[1:]}"
    return f"{who} ({finding.domain or domain})." if side is Side.RECIPIENT else f"{who}."


def _moment(moment: datetime) -> str:
    return f"{moment:%d} {_MONTHS[moment.month - 1]} {moment:%Y, %H:%M} UTC"


def _span(span: timedelta) -> str:
    """A duration for people: `23 h 59 min`."""
    minutes = max(0, int(span.total_seconds() // 60))
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days {hours % 24} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"
