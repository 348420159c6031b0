"""Timed exceptions: other modes for one recipient domain inside one connector, until a date, with a reason and an author.

A partner's certificate is wrong on a Friday evening: the administrator lets that one domain go under weaker modes until
Monday instead of weakening the connector for everybody.  The rules that hold:

* One exact recipient domain, never a wildcard; `apply` changes nothing for any other domain, connector or organisation.
* It ends by itself at `until`, at most MAX_SPAN after it was made, and is never made longer; another one can be made.
* It changes SmtpDaneMode and MtaStsMode only; TlsSettings, smart hosts and what the message itself asks for stay.
* What it makes of a connector carries the exception's id, so nothing that is kept by connector (plans, sessions) can be
  shared between the domain under the exception and the others.

Elsewhere: who may be excepted at all (services/exempt), keeping (store/exceptions), the row `exception` (policy/decide).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sealroute.base.errors import Problem
from sealroute.base.times import rfc3339
from sealroute.policy.connector import Connector
from sealroute.policy.connector_rules import check
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode

MAX_SPAN = timedelta(days=30)
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedException:
    """One exception, in force, ended or expired; apart from its end it never changes."""

    id: str
    organization: str
    connector_guid: str
    connector_name: str
    """The connector's name when the exception was made."""
    domain: str
    """Exact recipient domain in compared form."""
    smtp_dane_mode: SmtpDaneMode | None = None
    """None: the connector's own."""
    mta_sts_mode: MtaStsMode | None = None
    """None: the connector's own."""
    created_at: datetime
    until: datetime
    reason: str
    author: str
    ended_at: datetime | None = None
    """When somebody ended it before its date."""
    ended_by: str = ""

    def in_force(self, now: datetime) -> bool:
        """Whether it applies at this moment."""
        return self.ended_at is None and now < self.until

    def state(self, now: datetime) -> str:
        """In words: in force, ended by somebody, or by its date."""
        if self.ended_at is not None:
            return f"ended by {self.ended_by}"
        return "in force" if self.in_force(now) else "ended by its date"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptedConnector(Connector):
    """A connector as one exception makes it: every field is in force, and it says by which exception."""

    exception: TimedException

    @property
    def exception_id(self) -> str:
        return self.exception.id


_CONNECTOR_FIELDS = tuple(item.name for item in fields(Connector))


def apply(connector: Connector, exception: TimedException, domain: str, now: datetime) -> Connector:
    """The connector for mail to the domain: as the exception makes it, or the connector itself where that does not apply."""
    where = (exception.organization, exception.connector_guid, exception.domain)
    if not exception.in_force(now) or where != (connector.organization, connector.guid, domain):
        return connector
    values = {name: getattr(connector, name) for name in _CONNECTOR_FIELDS}
    if exception.smtp_dane_mode is not None:
        values["smtp_dane_mode"] = exception.smtp_dane_mode
    if exception.mta_sts_mode is not None:
        values["mta_sts_mode"] = exception.mta_sts_mode
    return ExceptedConnector(exception=exception, **values)


def problems(connector: Connector, exception: TimedException) -> tuple[Problem, ...]:
    """Why the exception cannot be made; empty when it can."""
    return (*_own_problems(exception), *_mode_problems(connector, exception))


def _own_problems(exception: TimedException) -> Iterator[Problem]:
    span = exception.until - exception.created_at
    if span <= timedelta(0):
        yield Problem("until", f"{rfc3339(exception.until)} is not in the future.", "Give a later date, or a span such as 3d.")
    elif span > MAX_SPAN:
        text = f"{rfc3339(exception.until)} is more than {MAX_SPAN.days} days away."
        yield Problem("until", text, "What has to last longer is the connector's own setting: change it there.")
    reason = exception.reason
    if not reason.strip():
        yield Problem("reason", "it is empty.", "Say why, for those who read the trace later.")
    elif len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
        yield Problem("reason", f"it is not one line of at most {MAX_REASON_CHARACTERS} printable characters.")


def _mode_problems(connector: Connector, exception: TimedException) -> Iterator[Problem]:
    dane, sts = exception.smtp_dane_mode, exception.mta_sts_mode
    if dane is None and sts is None:
        yield Problem("exception", "it changes nothing.", "Give SmtpDaneMode, MtaStsMode or both.")
    for name, wanted, own in (("SmtpDaneMode", dane, connector.smtp_dane_mode), ("MtaStsMode", sts, connector.mta_sts_mode)):
        if wanted is not None and wanted is own:
            yield Problem(name, f"{wanted.value} is what connector {connector.name!r} has already.", "Leave it out.")
    # What could never work in a connector cannot work in an exception: Mandatory DANE at an IP address, for one.
    excepted = apply(connector, exception, exception.domain, exception.created_at)
    before = check(connector).problems
    yield from (problem for problem in check(excepted).problems if problem not in before)
