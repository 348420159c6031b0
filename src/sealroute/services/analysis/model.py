"""What one analysis holds: frozen values that CLI, API, web, readiness and migration read.

The verdicts are delivery's own (`Outcome`, read off the Attempts that services/deliver made); the checks explain them and
decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import product

from sealroute.base.dnsdata import Answer
from sealroute.base.dnssec import SignedAnswer, ZoneLink
from sealroute.policy.attempt import Attempt
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan
from sealroute.policy.evidence import StsEvidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import Protection, Verdict
from sealroute.services.probe import Probe

Modes = tuple[SmtpDaneMode, MtaStsMode]
ALL_MODES: tuple[Modes, ...] = tuple(product(SmtpDaneMode, MtaStsMode))


class Status(Enum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """Mail goes, but something should be done about it."""
    ERROR = "error"
    """Wrong: it holds mail under some mode, or protects against nobody."""
    INFO = "info"
    """A fact, neither good nor bad."""


MAX_SHOWN = 20
"""Records, patterns or names of one check that are shown; a zone may publish thousands."""


def few(items: Sequence[str]) -> tuple[str, ...]:
    """The first MAX_SHOWN, and how many more there are."""
    return (*items[:MAX_SHOWN], f"… and {len(items) - MAX_SHOWN} more") if len(items) > MAX_SHOWN else tuple(items)


class Whose(Enum):
    """On whose side a check lies."""

    RECIPIENT = "the recipient's side"
    OUR_DNS = "our DNS resolver"
    OURS = "our side"
    NETWORK = "the network between"


@dataclass(frozen=True, slots=True)
class Publish:
    """Lines to publish as they stand."""

    where: str
    """A zone's file, or the address at which a file is served."""
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    id: str
    """Stable, for scripts: `mx`, `tlsa`, `starttls`, ..."""
    status: Status
    title: str
    said: str = ""
    """What was found, in one sentence."""
    whose: Whose = Whose.RECIPIENT
    advice: str = ""
    """What the other side's administrator (or ours) can do; empty when nothing is to be done."""
    publish: tuple[Publish, ...] = ()
    """What the advice says to publish."""
    facts: tuple[str, ...] = ()
    """Details, a line each."""
    children: tuple[Check, ...] = ()

    @property
    def worst(self) -> Status:
        """The worst of this check and those below it; INFO counts as OK."""
        order = (Status.INFO, Status.OK, Status.WARNING, Status.ERROR)
        return max((self.status, *(child.worst for child in self.children)), key=order.index)


class Would(Enum):
    """What delivery would do with a message now."""

    DELIVER = "deliver"
    HOLD = "hold"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What delivery does under one pair of modes."""

    dane_mode: SmtpDaneMode
    sts_mode: MtaStsMode
    would: Would
    protection: Protection | None = None
    """With DELIVER: how the message travels."""
    finding: Finding | None = None
    """With HOLD and RETURN: why."""
    host: str = ""
    ip: str = ""
    attempts: tuple[Attempt, ...] = ()
    """As delivery would have recorded them."""
    in_force: bool = False
    """Whether these are the modes that were asked about."""

    @property
    def modes(self) -> Modes:
        return self.dane_mode, self.sts_mode

    @property
    def code(self) -> str:
        """The enhanced code of HOLD and RETURN, as shown while queued or returned; empty for DELIVER."""
        if self.finding is None:
            return ""
        return str(self.finding.enhanced(4 if self.would is Would.HOLD else 5))

    @property
    def sentence(self) -> str:
        """As queue, trace and NDR show it; with DELIVER the way it goes."""
        if self.finding is not None:
            return self.finding.queued() if self.would is Would.HOLD else self.finding.returned()
        protection = self.protection.value if self.protection else ""
        return f"over {self.host} [{self.ip}], {_PROTECTED[protection]}"


_PROTECTED = {
    "dane": "authenticated by DANE",
    "mta-sts": "authenticated by MTA-STS",
    "tls": "encrypted, the server not authenticated",
    "plain": "in plaintext",
    "": "",
}


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """One address of a host: what it showed, and how that is judged when everything is looked at and nothing enforced."""

    probe: Probe
    verdict: Verdict | None
    """None when there was no session."""


@dataclass(frozen=True, slots=True)
class HostSeen:
    """One host under SmtpDaneMode ReportOnly and MtaStsMode ReportOnly: everything is looked at, nothing holds."""

    plan: HostPlan
    addresses: tuple[AddressSeen, ...] = ()
    skipped: tuple[tuple[str, Finding], ...] = ()
    """Addresses that our settings do not let us dial, and why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was gathered for one domain."""

    domain: str
    at: datetime
    connector: Connector
    plan: Plan
    hosts: tuple[HostSeen, ...]
    zones: tuple[ZoneLink, ...] = ()
    """Every zone on the way to the domain, its hosts and TLSA names; each once, parents first."""
    signed: tuple[SignedAnswer, ...] = ()
    """MX, addresses and TLSA with their signatures."""
    rpt: Answer[str] | None = None
    """The `_smtp._tls` TXT answer."""
    fresh_sts: StsEvidence | None = None
    """MTA-STS as somebody finds it who has never heard of the domain; None when the policy in force is just fetched."""
    brief: bool = False
    """Many domains at once: what is only for show, and would bring no advice, is left out of the checks."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole answer for one domain."""

    seen: Seen
    outcomes: tuple[Outcome, ...]
    checks: tuple[Check, ...]
    took_seconds: float
    asked: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """(type, name) of every DNS question that decided."""

    @property
    def domain(self) -> str:
        return self.seen.domain

    @property
    def in_force(self) -> tuple[Outcome, ...]:
        """The outcomes under the modes that were asked about."""
        return tuple(outcome for outcome in self.outcomes if outcome.in_force)

    @property
    def would_deliver(self) -> bool:
        """Whether mail would go under every pair of modes asked about."""
        return bool(self.in_force) and all(outcome.would is Would.DELIVER for outcome in self.in_force)

    def outcome(self, dane: SmtpDaneMode, sts: MtaStsMode) -> Outcome | None:
        return next((item for item in self.outcomes if item.modes == (dane, sts)), None)
