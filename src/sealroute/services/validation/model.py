"""What validating a connector came to: frozen values that command line, store and API read.

Nothing here is a verdict of its own: a FAILED task carries the Finding that delivery recorded, and so its code, sentence, side
and remedy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sealroute.policy.reasons import Finding


class TaskStatus(Enum):
    """How a task came out, as Exchange words it."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    NOT_APPLICABLE = "NotApplicable"
    """Nothing asks for it here, or an earlier task failed and it was not reached; the detail says which."""


class TaskName(Enum):
    """Every task, in the order in which delivery takes the steps."""

    NEXT_HOPS = "Resolve next hops"
    DNSSEC = "DNSSEC of next hops"
    STS_POLICY = "MTA-STS policy"
    ADDRESSES = "Resolve addresses"
    TLSA = "Look up TLSA"
    STS_HOST = "MTA-STS names host"
    REQUIREMENT = "Requirement"
    CONNECT = "Connect"
    GREETING = "Greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    CERTIFICATE = "Certificate (TlsSettings)"
    DANE = "Certificate (DANE)"
    STS_CERTIFICATE = "Certificate (MTA-STS)"
    EHLO_TLS = "EHLO under TLS"
    MAIL = "Send test mail"


@dataclass(frozen=True, slots=True)
class Task:
    """One step at one next hop, host, or address."""

    name: TaskName
    domain: str
    """The recipient domain in question."""
    target: str
    """A next hop, a host, or `host [ip]:port`."""
    status: TaskStatus
    detail: str = ""
    finding: Finding | None = None
    """With FAILED: why, as recorded in the Attempt."""
    recipient: str = ""
    """For the test mail: whom it was for."""

    @property
    def code(self) -> str:
        """The enhanced code of a failure, as queue and trace show it."""
        finding = self.finding
        return str(finding.enhanced(finding.reason.facts.enhanced.klass)) if finding else ""

    @property
    def sentence(self) -> str:
        """The sentence of a failure, as queue, trace and NDR show it."""
        return self.finding.sentence() if self.finding else ""


@dataclass(frozen=True, slots=True)
class Mail:
    """What became of the test mail to one recipient."""

    recipient: str
    delivered: bool
    sentence: str
    """The reply of the server that took it, or the reason why none did."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The whole answer."""

    connector: str
    at: datetime
    tasks: tuple[Task, ...]
    mails: tuple[Mail, ...]
    without_way: tuple[str, ...] = ()
    """Next hops and hosts over no address of which mail could go."""

    @property
    def succeeded(self) -> bool:
        """Every test mail got through, and every next hop can be used, also those that were not needed for it."""
        return bool(self.mails) and all(mail.delivered for mail in self.mails) and not self.without_way
