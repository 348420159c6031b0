"""Between values and rows: how messages, groups, findings, events and attempts are written, and read again.

Reading gives back what was written.  JSON is always ASCII, so no address, reply or header can be refused for its characters.
Parts that many attempts share (the plan's evidence and requirements, a connection's handshake) are turned into text once
and remembered by identity.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Generic, TypeVar

from sqlalchemy import Row as SqlRow

from sealroute.base.jsontext import encode
from sealroute.base.mail import BodyType, Envelope, Message, Notify, Origin, Recipient, Ret
from sealroute.base.status import Enhanced
from sealroute.base.times import from_us, rfc3339, to_us
from sealroute.policy.attempt import Attempt, RecipientFate, Timings
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.record import plain
from sealroute.ports import Group, TraceEvent
from sealroute.store.statements import Row

T = TypeVar("T")

# -------------------------------------------------------------------------------------------------------- recipients


def recipients_text(recipients: tuple[Recipient, ...]) -> str:
    """`[{"a": address, "n": notify, "o": orcpt}, ...]`; n and o only when the sender said."""
    items: list[dict[str, Any]] = []
    for recipient in recipients:
        item: dict[str, Any] = {"a": recipient.address}
        if recipient.notify is not None:
            item["n"] = recipient.notify.value
        if recipient.orcpt is not None:
            item["o"] = recipient.orcpt
        items.append(item)
    return encode(items)


def recipients_of(text: str) -> tuple[Recipient, ...]:
    """What recipients_text wrote."""
    return _recipients(json.loads(text))


def _recipients(items: list[dict[str, Any]]) -> tuple[Recipient, ...]:
    return tuple(Recipient(item["a"], Notify(item["n"]) if "n" in item else None, item.get("o")) for item in items)


# ---------------------------------------------------------------------------------------------------------- messages


def message_row(message: Message) -> Row:
    """The values of statements.MESSAGE."""
    envelope = message.envelope
    parameters: dict[str, Any] = {}
    if envelope.body is not BodyType.SEVEN_BIT:
        parameters["body"] = envelope.body.value
    if envelope.smtputf8:
        parameters["smtputf8"] = True
    if envelope.ret is not None:
        parameters["ret"] = envelope.ret.value
    if envelope.envid is not None:
        parameters["envid"] = envelope.envid
    text = f'{{"recipients":{recipients_text(envelope.recipients)},"mail":{encode(parameters) if parameters else "{}"}}}'
    return (
        message.id, message.organization, envelope.sender, text, envelope.require_tls, message.tls_required_no,
        to_us(message.received_at), message.origin.value, message.client_ip, message.client_name, message.user,
        message.header_message_id, message.subject, len(message.content), message.content,
    )  # fmt: skip


def message_of(row: SqlRow[Any]) -> Message:
    """The message of a row of the message table."""
    parameters = json.loads(row.parameters)
    mail = parameters["mail"]
    envelope = Envelope(
        sender=row.sender,
        recipients=_recipients(parameters["recipients"]),
        body=BodyType(mail.get("body", BodyType.SEVEN_BIT.value)),
        smtputf8=mail.get("smtputf8", False),
        ret=Ret(mail["ret"]) if "ret" in mail else None,
        envid=mail.get("envid"),
        require_tls=row.require_tls,
    )
    return Message(
        id=row.id,
        organization=row.organization,
        envelope=envelope,
        content=bytes(row.content),
        received_at=from_us(row.received_us),
        origin=Origin(row.origin),
        client_ip=row.client_ip,
        client_name=row.client_name,
        user=row.user,
        header_message_id=row.header_message_id,
        subject=row.subject,
        tls_required_no=row.tls_required_no,
    )


# ------------------------------------------------------------------------------------------------ groups and findings


def group_row(group: Group, state: str, owner: str | None) -> Row:
    """The values of statements.GROUP."""
    return (
        group.id, group.message_id, group.domain, recipients_text(group.recipients), state, owner, to_us(group.queued_at),
        to_us(group.next_attempt_at), group.attempts, group.delay_notified, finding_text(group.last_finding),
        *group.last_route,
    )  # fmt: skip


def group_of(row: SqlRow[Any], organization: str = "") -> Group:
    """The group of a row that has the columns of recipient_group."""
    return Group(
        id=row.id,
        message_id=row.message_id,
        domain=row.domain,
        recipients=recipients_of(row.recipients),
        queued_at=from_us(row.queued_us),
        next_attempt_at=from_us(row.next_attempt_us),
        attempts=row.attempts,
        delay_notified=row.delay_notified,
        last_finding=finding_of(row.last_finding),
        last_route=(row.last_host, row.last_ip),
        organization=organization,
    )


def finding_text(finding: Finding | None) -> str | None:
    """The finding as JSON, empty parts left out; None for none."""
    if finding is None:
        return None
    parts: dict[str, Any] = {
        "reason": finding.reason.value,
        "detail": finding.detail,
        "host": finding.host,
        "domain": finding.domain,
        "ip": finding.ip,
        "code": str(finding.code) if finding.code else "",
        "basic": finding.basic,
    }
    return encode({name: value for name, value in parts.items() if value not in ("", None)})


def finding_of(text: str | None) -> Finding | None:
    """What finding_text wrote.  A reason that this version does not know is None: the group must go on all the same."""
    if text is None:
        return None
    parts = json.loads(text)
    try:
        parts["reason"] = Reason(parts["reason"])
    except ValueError:
        return None
    parts["code"] = Enhanced.parse(parts.get("code", ""))
    return Finding(**parts)


# ---------------------------------------------------------------------------------------------------- trace and attempts


def event_row(event: TraceEvent) -> Row:
    """The values of statements.EVENT."""
    data = encode({key: _plain(value) for key, value in event.data.items()}) if event.data else "{}"
    return (event.message_id, to_us(event.at), event.event, event.recipient, event.description, data)


def event_of(row: SqlRow[Any]) -> TraceEvent:
    """The event of a row of the trace_event table."""
    return TraceEvent(row.message_id, from_us(row.at_us), row.event, row.recipient, row.description, json.loads(row.data))


class Remembered(Generic[T]):
    """Results by the identity of the value they were made of; the value is kept alive so that its identity stays its own."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[int, tuple[Any, T]] = {}

    def get(self, value: Any) -> T | None:
        entry = self._seen.get(id(value))
        return None if entry is None else entry[1]

    def put(self, value: Any, result: T) -> T:
        if len(self._seen) >= self._limit:
            del self._seen[next(iter(self._seen))]
        self._seen[id(value)] = (value, result)
        return result


REMEMBERED_PARTS = 8192
"""Three for each kept connection and plan: many more than delivery.max_connections, or all would be made anew each time."""
_SHARED = ("requirement", "facts", "verdict")
"""Parts of an attempt that attempts of one plan, or over one connection, have in common."""
_OWN = tuple(item.name for item in fields(Attempt) if item.name not in (*_SHARED, "evidence", "reported"))


class AttemptTexts:
    """Attempts as JSON text, equal to policy/record's attempt_record, at a third of its cost."""

    def __init__(self) -> None:
        self._parts: Remembered[str] = Remembered(REMEMBERED_PARTS)

    def text(self, attempt: Attempt) -> str:
        own: dict[str, Any] = {}
        for name in _OWN:
            value = getattr(attempt, name)
            if value is not None and value != "" and value != ():
                own[name] = value if type(value) in _PLAIN else _FAST.get(name, plain)(value)
        if results := attempt.tls_report:
            own["tls_report"] = [result.value for result in results]
        text = encode(own)
        for name in _SHARED:
            value = getattr(attempt, name)
            if value is not None:
                part = self._parts.get(value) or self._parts.put(value, encode(plain(value)))
                text = f'{text[:-1]},"{name}":{part}}}'
        return text


def _fate(fate: RecipientFate) -> dict[str, Any]:
    record: dict[str, Any] = {"address": fate.address, "fate": fate.fate.value, "dsn_passed_on": fate.dsn_passed_on}
    if fate.reply is not None:
        record["reply"] = str(fate.reply)
    if fate.finding is not None:
        record["finding"] = plain(fate.finding)
    return record


def _timings(timings: Timings) -> dict[str, float]:
    parts = (
        ("resolve_ms", timings.resolve_ms), ("connect_ms", timings.connect_ms), ("tls_ms", timings.tls_ms),
        ("transaction_ms", timings.transaction_ms),
    )  # fmt: skip
    return {name: milliseconds for name, milliseconds in parts if milliseconds is not None}


def _plain(value: Any) -> Any:
    """plain(), for what mostly is so already."""
    return value if type(value) in _PLAIN else plain(value)


_PLAIN = (str, int, float, bool)
_FAST: dict[str, Callable[[Any], Any]] = {
    "at": rfc3339,
    "timings": _timings,
    "smtp_dane_mode": lambda mode: mode.value,
    "mta_sts_mode": lambda mode: mode.value,
    "rows": list,
    "replies": lambda replies: [(said, str(reply)) for said, reply in replies],
    "recipients": lambda fates: [_fate(fate) for fate in fates],
}
"""What plain() says of these fields, said directly: they are in every attempt."""
