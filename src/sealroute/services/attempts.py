"""attempts: a run of a group through its hosts while it goes on, and the Attempt records written of it.

Nothing is decided here: services/deliver says what happened, this file writes it down in full, so that trace, notices,
TLS reports and metrics can all say why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sealroute.base.mail import Recipient
from sealroute.base.status import Reply
from sealroute.policy.attempt import Attempt, RecipientFate, Timings
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts, Verdict
from sealroute.ports import Group
from sealroute.services.sessions import NotOpened, Opened


class Used(NamedTuple):
    """A session that was used, and how."""

    ip: str
    opened: Opened
    reused: bool
    transaction_ms: float


class _Seen(NamedTuple):
    ip: str = ""
    facts: HandshakeFacts | None = None
    verdict: Verdict | None = None
    replies: tuple[tuple[str, Reply], ...] = ()
    recipients: tuple[RecipientFate, ...] = ()
    reused: bool = False
    connect_ms: float | None = None
    tls_ms: float | None = None
    transaction_ms: float | None = None


@dataclass(slots=True)
class Run:
    """One run under way: who is still to be served, and what happened so far."""

    group: Group
    connector: Connector
    port: int
    now: datetime
    """When it began."""
    expires_at: datetime
    waiting: list[Recipient]
    plan: Plan = field(init=False)
    resolve_ms: float | None = None
    fates: list[RecipientFate] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    """(how many hosts are preferred to this one, why it did not serve)."""
    put_off: dict[str, RecipientFate] = field(default_factory=dict)
    """What the most preferred host that spoke said to each recipient still waiting."""
    addresses_tried: int = 0
    last_route: tuple[str, str] = ("", "")
    stay: bool = False
    """Greylisted: no other host is tried in this run."""
    next_attempt_at: datetime | None = None
    delay_notice: bool = False

    @property
    def last_try(self) -> bool:
        """Nothing comes after this run: who is not served now is returned."""
        return self.now >= self.expires_at

    def held(self, at: datetime, finding: Finding, host: HostPlan | None = None) -> None:
        """Nobody was dialled: no host, or not this one."""
        self._write(at, host, finding, _Seen(finding.ip))

    def not_opened(self, at: datetime, host: HostPlan, ip: str, result: NotOpened) -> None:
        """An address was dialled and there is no session to it."""
        seen = _Seen(
            ip, result.facts, result.verdict, result.replies, connect_ms=result.connect_ms, tls_ms=result.tls_ms
        )  # fmt: skip
        self._write(at, host, result.finding, seen)

    def transacted(
        self, at: datetime, host: HostPlan, used: Used, fates: tuple[RecipientFate, ...], replies: tuple[tuple[str, Reply], ...]
    ) -> None:
        """A message was offered over a session; the attempt's finding is that of who waits, else of who was refused."""
        session, reused = used.opened.session, used.reused
        seen = _Seen(
            used.ip,
            session.facts,
            used.opened.verdict,
            replies if reused else session.replies + replies,
            fates,
            reused,
            None if reused else session.connect_ms,
            None if reused else session.tls_ms,
            used.transaction_ms,
        )
        failed = [fate for fate in fates if fate.finding is not None]
        first = min(failed, key=lambda fate: fate.fate.value) if failed else None  # "deferred" sorts before "failed"
        self._write(at, host, first.finding if first else None, seen)

    def looked(self, at: datetime, host: HostPlan, ip: str, opened: Opened, refused: Finding | None) -> None:
        """A session was opened, EHLO said, and no message offered; `refused`: what the server had against us."""
        session = opened.session
        seen = _Seen(
            ip, session.facts, opened.verdict, session.replies, connect_ms=session.connect_ms, tls_ms=session.tls_ms
        )  # fmt: skip
        self._write(at, host, refused, seen)

    def _write(self, at: datetime, host: HostPlan | None, finding: Finding | None, seen: _Seen) -> None:
        connector, plan = self.connector, self.plan
        requirement = host.requirement if host else None
        rows = plan.rows if host is None else plan.rows + (requirement.rows if requirement else host.rows)
        self.attempts.append(
            Attempt(
                at=at,
                number=self.group.attempts + 1,
                connector_guid=connector.guid,
                connector_name=connector.name,
                smtp_dane_mode=connector.smtp_dane_mode,
                mta_sts_mode=connector.mta_sts_mode,
                domain=self.group.domain,
                rows=rows,
                finding=finding,
                host=host.name if host else "",
                ip=seen.ip,
                port=self.port,
                evidence=plan.evidence,
                requirement=requirement,
                facts=seen.facts,
                verdict=seen.verdict,
                reused_connection=seen.reused,
                replies=seen.replies,
                recipients=seen.recipients,
                timings=Timings(self.resolve_ms, seen.connect_ms, seen.tls_ms, seen.transaction_ms),
                reported=host.reported if host else plan.reported,
                exception=connector.exception_id,
                transport_rules=connector.rule_effects,
            )
        )
        self.resolve_ms = None  # the plan was made once, so its time belongs to the first record only
