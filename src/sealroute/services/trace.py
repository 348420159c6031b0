"""trace: what the trace says, in Exchange's words; and which questions it takes [Exchange Online].

Reads stored events and attempt records and decides nothing.  `reason_string` is the form in which Exchange's trace shows why
mail waits, so that scripts which take it apart keep working.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.base.status import Enhanced
from sealroute.base.times import parse_rfc3339, rfc3339
from sealroute.policy.reasons import Finding, Reason
from sealroute.ports import TraceEvent, TraceQuery

STATUSES = ("GettingStatus", "Pending", "Failed", "Delivered", "Expanded", "Quarantined", "FilteredAsSpam")
SUBJECT_FILTERS = ("Contains", "StartsWith", "EndsWith")
DEFAULT_SPAN = timedelta(hours=48)
MAX_SPAN = timedelta(days=10)
DEFAULT_RESULTS, MAX_RESULTS = 1000, 5000

# ------------------------------------------------------------------------------------------------------------- reasons


def reason_string(text: str, *, host: str, ip: str, port: int, at: datetime) -> str:
    """Why mail waits, as Exchange's trace writes it; `text` is the code and sentence, `at` the last try [Exchange Online]."""
    last = f"{text} [LastAttemptedServerName={host}]" if host else text
    if ip:
        address = f"[{ip}]" if ":" in ip else ip
        last += f" [LastAttemptedIP={address}:{port}]"
    return f"Reason: [{{LED={last}}};{{MSG=}};{{FQDN={host}}};{{IP={ip}}};{{LRT={rfc3339(at)}}}]"


def attempt_reason(record: Mapping[str, Any]) -> str:
    """The reason string of an attempt record; empty when the attempt delivered to everyone."""
    text = attempt_text(record)
    if not text:
        return ""
    host, ip = str(record.get("host", "")), str(record.get("ip", ""))
    return reason_string(text, host=host, ip=ip, port=int(record.get("port", 25)), at=parse_rfc3339(str(record["at"])))


def attempt_text(record: Mapping[str, Any]) -> str:
    """An attempt record's code and sentence as shown while mail waits, or as returned when the reason is final."""
    stored = record.get("finding")
    if not stored:
        return ""
    finding = finding_of(stored)
    if finding is None:
        return f"{stored.get('code', '')} {stored.get('sentence', '')}".strip()
    code = str(stored.get("code", ""))
    return finding.returned() if finding.final or code.startswith("5") else finding.queued()


def finding_of(stored: Mapping[str, Any]) -> Finding | None:
    """The finding that was recorded; None when its reason is not (or no longer) in the catalogue."""
    try:
        reason = Reason(stored.get("reason"))
    except ValueError:
        return None
    return Finding(
        reason,
        detail=str(stored.get("detail", "")),
        host=str(stored.get("host", "")),
        domain=str(stored.get("domain", "")),
        ip=str(stored.get("ip", "")),
        code=Enhanced.parse(str(stored.get("peer_code", ""))),
        basic=stored.get("basic"),
    )


def detail_of(event: TraceEvent, attempts: Sequence[Mapping[str, Any]] = ()) -> str:
    """An event's Detail: for DEFER and FAIL with a server the reason string, else the description as recorded."""
    host, ip = str(event.data.get("host", "")), str(event.data.get("ip", ""))
    if event.event not in ("DEFER", "FAIL") or not event.description:
        return event.description
    match = next((item for item in reversed(attempts) if item.get("host", "") == host and item.get("ip", "") == ip), None)
    port = int(match.get("port", 25)) if match else 25
    return reason_string(event.description, host=host, ip=ip, port=port, at=event.at)


# ------------------------------------------------------------------------------------------------------------- queries


@dataclass(frozen=True, slots=True)
class Asked:
    """What an administrator gave; None or empty where nothing was said."""

    start: datetime | None = None
    end: datetime | None = None
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    header_message_ids: tuple[str, ...] = ()
    message_trace_id: str = ""
    from_ip: str = ""
    to_ip: str = ""
    statuses: tuple[str, ...] = ()
    subject: str = ""
    subject_filter: str = ""
    starting_recipient: str = ""
    limit: int | None = None


def query_of(asked: Asked, now: datetime, *, days_back: int = 90, max_span: timedelta | None = MAX_SPAN) -> TraceQuery:
    """The question in full, defaults filled in; raises OperatorError for what Exchange refuses.

    Without dates the last 48 hours; with one date, 48 hours before the end, or from the start until now.
    """
    end = asked.end or now
    start = asked.start or (end - DEFAULT_SPAN)
    _check_dates(start, end, now - timedelta(days=days_back), days_back, max_span)
    if asked.starting_recipient and asked.end is None:
        raise OperatorError.one(
            "StartingRecipientAddress", "it continues an earlier query.", "Give EndDate too: the last Received of that query."
        )
    if asked.subject_filter and not asked.subject:
        raise OperatorError.one("SubjectFilterType", "there is no Subject for it to apply to.", "Give Subject too.")
    limit = DEFAULT_RESULTS if asked.limit is None else asked.limit
    if not 1 <= limit <= MAX_RESULTS:
        raise OperatorError.one("ResultSize", f"{limit} is out of bounds.", f"Give 1 to {MAX_RESULTS}.")
    return TraceQuery(
        start=start,
        end=end,
        senders=asked.senders,
        recipients=asked.recipients,
        header_message_ids=asked.header_message_ids,
        message_trace_id=asked.message_trace_id,
        from_ip=asked.from_ip,
        to_ip=asked.to_ip,
        statuses=tuple(_word("Status", word, STATUSES) for word in asked.statuses),
        subject=asked.subject,
        subject_filter=_word("SubjectFilterType", asked.subject_filter or "Contains", SUBJECT_FILTERS),
        starting_recipient=asked.starting_recipient,
        limit=limit,
    )


def _check_dates(start: datetime, end: datetime, oldest: datetime, days_back: int, max_span: timedelta | None) -> None:
    if start > end:
        raise OperatorError.one("StartDate", f"{rfc3339(start)} is after EndDate {rfc3339(end)}.", "Exchange the two.")
    # A minute's grace, so that "90 days ago" written a moment before is still 90 days ago.
    if start < oldest - timedelta(minutes=1):
        raise OperatorError.one("StartDate", f"{rfc3339(start)} is too long ago.", f"The trace goes back {days_back} days.")
    if max_span is not None and end - start > max_span + timedelta(minutes=1):
        text = f"the span is {(end - start).days} days long."
        raise OperatorError.one(
            "StartDate, EndDate", text, f"One query covers at most {max_span.days} days; ask several times."
        )


def _word(name: str, given: str, allowed: Sequence[str]) -> str:
    for word in allowed:
        if word.lower() == given.lower():
            return word
    raise OperatorError.one(name, f"{given!r} is not one of them.", f"Allowed: {', '.join(allowed)}.")


_DATE_FORMS = ("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p")


def parse_date(name: str, text: str) -> datetime:
    """A date as Exchange takes it: RFC 3339, ISO without zone, or month/day/year, the latter two in UTC.

    Raises OperatorError when it is none of them.
    """
    try:
        return parse_rfc3339(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
    except ValueError:
        pass
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    fix = "Write 2026-01-31, 2026-01-31T12:00:00Z or 01/31/2026 12:00:00 (UTC)."
    raise OperatorError.one(name, f"{text!r} is not a date.", fix)
