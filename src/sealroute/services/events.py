"""events: what one run means for each recipient, as trace events [Exchange Online].

SEND: handed to the next server.  DEFER: still waiting, with the reason.  FAIL: returned, with the reason.  The events only
read the run's Attempts and fates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sealroute.base.mail import Message
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.requirement import Protection
from sealroute.policy.transport.apply import RuleEffect
from sealroute.ports import TraceEvent

_PROTECTED_BY = {
    Protection.DANE: "authenticated by DANE",
    Protection.MTA_STS: "authenticated by MTA-STS",
    Protection.TLS: "encrypted, not authenticated",
    Protection.PLAIN: "in plaintext",
}


def events_of(
    message: Message, fates: Sequence[RecipientFate], attempts: Sequence[Attempt], at: datetime
) -> tuple[TraceEvent, ...]:
    """One event per recipient fate, in the order decided."""
    by_fate = {id(fate): attempt for attempt in attempts for fate in attempt.recipients}
    events = (_event(message, fate, by_fate.get(id(fate)), at) for fate in fates)
    rules = attempts[0].transport_rules if attempts else ()  # all attempts of a run have the same
    return tuple(_with_rules(event, rules) for event in events) if rules else tuple(events)


def _with_rules(event: TraceEvent, rules: Sequence[RuleEffect]) -> TraceEvent:
    """The event, naming the rules that are among its reasons."""
    acted = [rule for rule in rules if not rule.audit]
    if not acted:
        return event
    names = ", ".join(repr(rule.name) for rule in acted)
    data = {**event.data, "transport_rules": [rule.identity for rule in acted]}
    return replace(event, description=f"{event.description} [transport rule {names}]", data=data)


def _event(message: Message, fate: RecipientFate, attempt: Attempt | None, at: datetime) -> TraceEvent:
    match fate.fate:
        case Fate.DELIVERED:
            return _sent(message, fate, attempt, at)
        case Fate.DEFERRED:
            name, text = "DEFER", fate.finding.queued() if fate.finding else ""
        case Fate.FAILED:
            name, text = "FAIL", fate.finding.returned() if fate.finding else ""
    finding = fate.finding
    data = {"reason": finding.reason.value, "host": finding.host, "ip": finding.ip} if finding else {}
    return TraceEvent(message.id, at, name, fate.address, text, data)


def _sent(message: Message, fate: RecipientFate, attempt: Attempt | None, at: datetime) -> TraceEvent:
    assert attempt is not None, "a delivery without an attempt"
    verdict, facts = attempt.verdict, attempt.facts
    how = _PROTECTED_BY[verdict.protection] if verdict else ""
    version = f" ({facts.tls_version})" if facts and facts.tls_version else ""
    address = f"[{attempt.ip}]:{attempt.port}"
    text = f"Delivered to {attempt.host} {address}, {how}{version}: {fate.reply}"
    data = {"host": attempt.host, "ip": attempt.ip, "protection": verdict.protection.value if verdict else ""}
    return TraceEvent(message.id, at, "SEND", fate.address, text, data)
