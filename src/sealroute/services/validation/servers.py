"""The tasks at one address: connection, dialogue, STARTTLS, each judgement of the certificate, EHLO; and the test mail.

Read off the Attempts that were made there.  The step at which an attempt ended carries its finding; what lies behind it was not
reached.  A second requirement that fails beside the first is named by the judge itself, asked about it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sealroute.policy.attempt import Attempt, Fate
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import CheckResult, HandshakeFacts, Requirement, Verdict
from sealroute.services.validation.hops import shortened
from sealroute.services.validation.model import Task, TaskName, TaskStatus

Judge = Callable[[Requirement, HandshakeFacts], Verdict]
_N, _S = TaskName, TaskStatus
STEPS = (_N.CONNECT, _N.GREETING, _N.EHLO, _N.STARTTLS, _N.CERTIFICATE, _N.DANE, _N.STS_CERTIFICATE, _N.EHLO_TLS)
_STEP = {
    Reason.ADDRESS_NOT_ALLOWED: _N.CONNECT,
    Reason.CONNECT_TIMEOUT: _N.CONNECT,
    Reason.CONNECT_REFUSED: _N.CONNECT,
    Reason.STARTTLS_NOT_SUPPORTED: _N.STARTTLS,
    Reason.TLS_REQUIRED: _N.STARTTLS,
    Reason.CERTIFICATE_EXPIRED: _N.DANE,
    Reason.CERTIFICATE_HOST_MISMATCH: _N.DANE,
    Reason.TLSA_INVALID: _N.DANE,
    Reason.STS_CERTIFICATE: _N.STS_CERTIFICATE,
    Reason.STS_MX_MISMATCH: _N.STS_CERTIFICATE,
    Reason.TLS_CERTIFICATE: _N.CERTIFICATE,
    Reason.TLS_DOMAIN_MISMATCH: _N.CERTIFICATE,
}
"""Reasons that belong to one step, whenever they come up; the others end whatever step was under way."""


def where(attempt: Attempt) -> str:
    return f"{attempt.host} [{attempt.ip}]:{attempt.port}" if attempt.ip else attempt.host or attempt.domain


def step_of(attempt: Attempt) -> TaskName | None:
    """The task at which an attempt ended; None when nothing stood in its way."""
    finding = attempt.finding
    if finding is None:
        return None
    if finding.reason in _STEP:
        return _STEP[finding.reason]
    if attempt.facts is None:
        return _opening_step(attempt)
    if attempt.recipients and (attempt.reused_connection or not _refused_ehlo(attempt)):
        return _N.MAIL
    if attempt.verdict is not None and attempt.verdict.finding is None and _session_lost(attempt):
        return _N.STARTTLS
    return _N.EHLO_TLS


def _opening_step(attempt: Attempt) -> TaskName:
    """Where the dialogue broke off before there was a session: at the first step that has no good reply."""
    if attempt.timings.connect_ms is None:
        return _N.CONNECT
    said = {label.partition(" ")[0]: reply for label, reply in attempt.replies}
    greeting, ehlo = said.get("(connect)"), said.get("HELO") or said.get("EHLO")
    if greeting is None or not greeting.positive:
        return _N.GREETING
    return _N.STARTTLS if ehlo is not None and ehlo.positive else _N.EHLO


def _session_lost(attempt: Attempt) -> bool:
    """The connection was gone before anything could be said after its opening."""
    return not attempt.recipients and attempt.finding is not None and attempt.finding.reason is Reason.CONNECTION_LOST


def _refused_ehlo(attempt: Attempt) -> bool:
    """The second EHLO, under TLS, is the last that was answered, or was not answered at all."""
    labels = [label.partition(" ")[0] for label, _ in attempt.replies]
    return "MAIL" not in labels and attempt.facts is not None and attempt.facts.encrypted


# ---------------------------------------------------------------------------------------------------------- one address


@dataclass(frozen=True, slots=True)
class _Address:
    """All that happened at one address."""

    last: Attempt
    earlier: Attempt | None
    """The failed handshake after which plaintext was tried."""
    judge: Judge


def address_tasks(attempts: Sequence[Attempt], judge: Judge) -> list[Task]:
    """The tasks at one address; `attempts` are those made there under one requirement, in order."""
    last = attempts[-1]
    earlier = next((item for item in attempts[:-1] if item.verdict is not None and item.verdict.retry_in_plaintext), None)
    item = _Address(last, earlier, judge)
    ended = step_of(last)
    tasks, reached = [], True
    for name in STEPS:
        if name is ended and last.finding is not None:
            tasks.append(Task(name, last.domain, where(last), _S.FAILED, last.finding.words(), last.finding))
            # The judgements stand side by side: each was made, whichever of them rules the host out.
            reached = name in (_N.CERTIFICATE, _N.DANE, _N.STS_CERTIFICATE) and last.verdict is not None
        elif not reached or (name is _N.EHLO_TLS and _judged_out(last)):
            tasks.append(Task(name, last.domain, where(last), _S.NOT_APPLICABLE, "not reached"))
        else:
            status, detail, finding = _reading(name, item)
            tasks.append(Task(name, last.domain, where(last), status, detail, finding))
    return tasks


def _judged_out(attempt: Attempt) -> bool:
    return attempt.verdict is not None and attempt.verdict.finding is not None


Reading = tuple[TaskStatus, str, Finding | None]


def _reading(name: TaskName, item: _Address) -> Reading:
    attempt = item.last
    match name:
        case _N.CONNECT:
            took = attempt.timings.connect_ms
            return _S.SUCCEEDED, f"in {took:.0f} ms" if took is not None else "", None
        case _N.GREETING:
            return _S.SUCCEEDED, _reply(attempt, "(connect)", 0), None
        case _N.EHLO:
            return _S.SUCCEEDED, _reply(attempt, "EHLO", 0), None
        case _N.STARTTLS:
            return _starttls(item)
        case _N.EHLO_TLS:
            said = _reply(attempt, "EHLO", 1)
            return (_S.SUCCEEDED, said, None) if said else (_S.NOT_APPLICABLE, "no TLS, no second EHLO", None)
        case _:
            return _judgement(name, item)


def _reply(attempt: Attempt, label: str, which: int) -> str:
    """The first line of the reply to what was said under the label."""
    found = [reply for said, reply in attempt.replies if said.partition(" ")[0] == label]
    if len(found) <= which:
        return ""
    reply = found[which]
    return f"{reply.code} {reply.lines[0] if reply.lines else ''}".rstrip()


def _starttls(item: _Address) -> Reading:
    facts = item.last.facts
    if facts is None:
        return _S.NOT_APPLICABLE, "not reached", None
    if facts.encrypted:
        return _S.SUCCEEDED, f"{facts.tls_version}, {facts.cipher}", None
    why = "not offered"
    if item.earlier is not None and item.earlier.finding is not None:
        why = item.earlier.finding.detail
    elif facts.starttls_reply is not None:
        why = f"answered {facts.starttls_reply}"
    return _S.NOT_APPLICABLE, f"{why}; nothing demands TLS, so mail goes in plaintext", None


def _judgement(name: TaskName, item: _Address) -> Reading:
    """What the judge said of the certificate for one purpose."""
    need, verdict, facts = item.last.requirement, item.last.verdict, item.last.facts
    if need is None or verdict is None or facts is None:
        return _S.NOT_APPLICABLE, "not reached", None
    result, enforced, alone = _purpose(name, need, verdict)
    if result is None:
        return _S.NOT_APPLICABLE, _unasked(name, need), None
    if result.satisfied:
        return _S.SUCCEEDED, _matched(name, result), None
    if not enforced:
        return _S.NOT_APPLICABLE, f"does not hold, and is not enforced: {result.detail}", None
    finding = item.judge(alone, facts).finding
    return _S.FAILED, finding.words() if finding else result.detail, finding or item.last.finding


def _matched(name: TaskName, result: CheckResult) -> str:
    if name is _N.DANE and result.matched:
        return f"matches {shortened(result.matched)}"
    return f"names {result.matched}" if result.matched else result.detail or "the chain leads to a trusted root"


def _purpose(name: TaskName, need: Requirement, verdict: Verdict) -> tuple[CheckResult | None, bool, Requirement]:
    """(the judgement, whether it can hold mail, the requirement that asks for this alone)."""
    match name:
        case _N.DANE:
            enforced = need.dane is not None and need.dane.enforced
            return verdict.dane, enforced, replace(need, sts=None, chain=False, certificate_names=())
        case _N.STS_CERTIFICATE:
            enforced = need.sts is not None and need.sts.enforced
            return verdict.sts, enforced, replace(need, dane=None, chain=False, certificate_names=())
        case _:
            return verdict.tls_settings, True, replace(need, dane=None, sts=None)


def _unasked(name: TaskName, need: Requirement) -> str:
    if name is _N.CERTIFICATE:
        return "TlsSettings EncryptionOnly: not checked" if "tls-settings" in need.rows else "the connector has no TlsSettings"
    return "no TLSA record is to be matched" if name is _N.DANE else "no MTA-STS policy applies"


# ------------------------------------------------------------------------------------------------------ the test mail


def mail_tasks(recipient: str, attempts: Sequence[Attempt]) -> list[Task]:
    """What each server said to the test mail."""
    tasks = []
    for attempt in attempts:
        fate = next((item for item in attempt.recipients if item.address == recipient), None)
        if fate is None:
            continue
        if fate.fate is Fate.DELIVERED:
            said, status, finding = str(fate.reply or ""), _S.SUCCEEDED, None
        else:
            finding = fate.finding or attempt.finding
            said, status = finding.words() if finding else str(fate.reply or ""), _S.FAILED
        tasks.append(Task(_N.MAIL, attempt.domain, where(attempt), status, said, finding, recipient))
    return tasks
