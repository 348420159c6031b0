"""deliver: one run of a group through its hosts, from choosing the connector to what must be made durable.

Reads like a table of contents: choose → plan → walk the hosts → settle.  Nothing is decided here about trust: a host's
Requirement comes from policy/decide, its judgement from policy/verdict.  What this file decides is order: which host and
address next, when to stop, and which of several reasons is shown [decision 7].

Elsewhere: leases, concurrency and time-tables of groups (services/schedule); notices (services/bounce).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Protocol

from sealroute.base.mail import Message, Recipient
from sealroute.policy.attempt import Attempt, Fate, RecipientFate, Timings
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan, Wishes
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.retry import RetryRules, delay_notice_due, expires_at, next_attempt
from sealroute.ports import Clock, Group, Settled, Transaction, TransactionResult
from sealroute.services.events import events_of
from sealroute.services.plan import Plans
from sealroute.services.sessions import NotOpened, Opened, Sessions

MAX_ADDRESSES_PER_RUN = 16
MAX_REMEMBERED_HOSTS = 10_000
GREYLIST_CODES = (450, 451)

Chance = Callable[[], float]
"""A random number in 0..1."""


class Notices(Protocol):
    """services/bounce, as deliver needs it."""

    def after_run(self, message: Message, run: Run) -> tuple[tuple[Message, tuple[Group, ...]], ...]:
        """The NDRs, delay and success notices that this run calls for."""
        ...


@dataclass(slots=True)
class Run:
    """One run under way: who is still to be served, and what happened so far."""

    group: Group
    connector: Connector
    now: datetime
    expires_at: datetime
    waiting: list[Recipient]
    fates: list[RecipientFate] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    """(how many hosts are preferred to this one, why it did not serve)."""
    addresses_tried: int = 0
    last_route: tuple[str, str] = ("", "")
    next_attempt_at: datetime | None = None
    delay_notice: bool = False
    greylisted: bool = False


@dataclass(frozen=True, slots=True)
class DeliverRules:
    """What the operator sets for every delivery."""

    retry: RetryRules = field(default_factory=RetryRules)
    port: int = 25
    allow_private_destinations: bool = False
    families: tuple[int, ...] = (6, 4)


class Deliver:
    """Runs groups; holds only what one run teaches the next."""

    def __init__(
        self, choose: Callable[[Message, str], Connector], plans: Plans, sessions: Sessions, notices: Notices,
        clock: Clock, chance: Chance, rules: DeliverRules | None = None,
    ) -> None:  # fmt: skip
        self._choose = choose
        self._plans = plans
        self._sessions = sessions
        self._notices = notices
        self._clock = clock
        self._chance = chance
        self._rules = rules or DeliverRules()
        self._last_failed_family: dict[str, int] = {}

    async def run(self, group: Group, message: Message) -> Settled:
        """Try every host once; the result is to be made durable by the caller."""
        connector = self._choose(message, group.domain)
        now = self._clock.now()
        run = Run(group, connector, now, expires_at(connector, group.queued_at), list(group.recipients))
        started = self._clock.now()
        plan = await self._plan(run, message)
        resolve_ms = (self._clock.now() - started).total_seconds() * 1000
        if plan.finding is not None:
            self._note(run, plan, None, finding=plan.finding, timings=Timings(resolve_ms=resolve_ms))
            run.findings.append((0, plan.finding))
        else:
            await self._walk(run, plan, message)
        return self._settle(run, plan, message)

    async def _plan(self, run: Run, message: Message) -> Plan:
        """A kept plan serves first tries only: a retry looks at everything afresh, the last one at the policy id too."""
        wishes = _wishes(message)
        if run.group.attempts == 0:
            return await self._plans.plan(run.connector, run.group.domain, wishes)
        last_try = run.now >= run.expires_at
        return await self._plans.afresh(run.connector, run.group.domain, wishes, recheck=last_try)

    # ------------------------------------------------------------------------------------------------ the hosts

    async def _walk(self, run: Run, plan: Plan, message: Message) -> None:
        for rank, host in enumerate(self._order(plan.hosts)):
            if not run.waiting or run.greylisted:
                return
            if host.finding is not None:
                self._note(run, plan, host, finding=host.finding)
                run.findings.append((rank, host.finding))
                continue
            await self._host(run, plan, (rank, host), message)

    def _order(self, hosts: Sequence[HostPlan]) -> Iterable[HostPlan]:
        """Ascending preference, equal ones shuffled [RFC 5321 §5.1]."""
        for _, equal in groupby(hosts, key=lambda host: host.preference):
            tier = list(equal)
            while len(tier) > 1:
                yield tier.pop(int(self._chance() * len(tier)) % len(tier))
            yield from tier

    async def _host(self, run: Run, plan: Plan, ranked: tuple[int, HostPlan], message: Message) -> None:
        """Try the host's addresses until one has taken the message or spoken on it."""
        rank, host = ranked
        for ip in self._addresses(run, host):
            if run.addresses_tried >= MAX_ADDRESSES_PER_RUN:
                return
            run.addresses_tried += 1
            finding = self._forbidden(ip) or await self._address(run, plan, host, ip, message)
            if finding is None:
                return
            run.findings.append((rank, finding))
            if finding.reason in (Reason.REJECTED, Reason.FEATURE_UNSUPPORTED) or run.greylisted:
                return

    def _addresses(self, run: Run, host: HostPlan) -> list[str]:
        """IPv6 before IPv4; the family that failed last goes last; a greylisted route goes first."""
        families = self._rules.families
        addresses = [ip for ip in host.addresses if _family(ip) in families]
        failed = self._last_failed_family.get(host.name)
        addresses.sort(key=lambda ip: (_family(ip) == failed, families.index(_family(ip))))
        last_host, last_ip = run.group.last_route
        if last_host == host.name and last_ip in addresses:
            addresses.remove(last_ip)
            addresses.insert(0, last_ip)
        return addresses

    def _forbidden(self, ip: str) -> Finding | None:
        """Why this address may not be dialled at all; guards against MX records that point into our own network."""
        if self._rules.allow_private_destinations:
            return None
        address = ipaddress.ip_address(ip)
        if address.is_global and not address.is_multicast:
            return None
        detail = f"{ip} is not a public address, and delivery.allow_private_destinations is off"
        return Finding(Reason.NO_ADDRESS, detail, ip=ip)

    async def _address(self, run: Run, plan: Plan, host: HostPlan, ip: str, message: Message) -> Finding | None:
        """One address: open or reuse, send, record.  None when nothing is left to do elsewhere."""
        assert host.requirement is not None
        port = self._rules.port
        opened = self._sessions.take(ip, port, host.requirement)
        reused = opened is not None
        while True:
            result = opened if opened is not None else await self._sessions.open(host, ip, port)
            if isinstance(result, NotOpened):
                return self._not_opened(run, plan, host, ip, result)
            started = self._clock.now()
            done = await result.session.transact(_transaction(message, tuple(run.waiting)))
            self._sessions.give_back(result, reusable=done.reusable)
            if reused and _connection_was_stale(done):
                # The peer closed while the session lay idle; that says nothing about the message.
                opened, reused = None, False
                continue
            took_ms = (self._clock.now() - started).total_seconds() * 1000
            return self._transacted(run, plan, host, (ip, result, reused, took_ms), done)

    def _not_opened(self, run: Run, plan: Plan, host: HostPlan, ip: str, result: NotOpened) -> Finding:
        self._note(
            run, plan, host, ip=ip, finding=result.finding, not_opened=result,
            timings=Timings(connect_ms=result.connect_ms, tls_ms=result.tls_ms),
        )  # fmt: skip
        if result.facts is None:
            self._remember_failed_family(host.name, _family(ip))
        return result.finding

    def _remember_failed_family(self, host: str, family: int) -> None:
        if len(self._last_failed_family) >= MAX_REMEMBERED_HOSTS:
            self._last_failed_family.clear()
        self._last_failed_family[host] = family

    def _transacted(
        self, run: Run, plan: Plan, host: HostPlan, used: tuple[str, Opened, bool, float], done: TransactionResult
    ) -> Finding | None:
        ip, opened, reused, took_ms = used
        session = opened.session
        decided = tuple(fate for fate in done.recipients if fate.fate is not Fate.DEFERRED)
        deferred = [fate for fate in done.recipients if fate.fate is Fate.DEFERRED]
        finding = next((fate.finding for fate in (*deferred, *decided) if fate.finding is not None), None)
        timings = Timings(
            connect_ms=None if reused else session.connect_ms,
            tls_ms=None if reused else session.tls_ms,
            transaction_ms=took_ms,
        )
        self._note(
            run, plan, host, ip=ip, finding=finding, opened=opened, reused=reused,
            done=done, timings=timings,
        )  # fmt: skip
        run.fates += decided
        settled = {fate.address for fate in decided}
        run.waiting = [recipient for recipient in run.waiting if recipient.address not in settled]
        if not run.waiting:
            return None
        run.greylisted = any(_is_greylisting(fate) for fate in deferred)
        if run.greylisted:
            run.last_route = (host.name, ip)
        return deferred[0].finding if deferred else None

    def _note(
        self, run: Run, plan: Plan, host: HostPlan | None, *, finding: Finding | None, ip: str = "",
        opened: Opened | None = None, reused: bool = False, not_opened: NotOpened | None = None,
        done: TransactionResult | None = None, timings: Timings | None = None,
    ) -> None:  # fmt: skip
        """Write one Attempt down."""
        connector = run.connector
        opening = opened.session.replies if opened is not None and not reused else ()
        replies = not_opened.replies if not_opened is not None else opening + (done.replies if done is not None else ())
        seen = opened.session.facts if opened is not None else not_opened.facts if not_opened is not None else None
        verdict = opened.verdict if opened is not None else not_opened.verdict if not_opened is not None else None
        run.attempts.append(
            Attempt(
                at=self._clock.now(),
                number=run.group.attempts + 1,
                connector_guid=connector.guid,
                connector_name=connector.name,
                smtp_dane_mode=connector.smtp_dane_mode,
                mta_sts_mode=connector.mta_sts_mode,
                domain=run.group.domain,
                rows=plan.rows + (host.requirement.rows if host and host.requirement else host.rows if host else ()),
                finding=finding,
                host=host.name if host else "",
                ip=ip,
                port=self._rules.port,
                evidence=plan.evidence,
                requirement=host.requirement if host else None,
                facts=seen,
                verdict=verdict,
                reused_connection=reused,
                replies=replies,
                recipients=done.recipients if done is not None else (),
                timings=timings or Timings(),
                reported=host.reported if host else (),
            )
        )

    # ------------------------------------------------------------------------------------------------- the result

    def _settle(self, run: Run, plan: Plan, message: Message) -> Settled:
        group = run.group
        finding = shown(run.findings) if run.waiting else None
        if run.waiting:
            self._plans.forget(run.connector, group.domain, _wishes(message))
            finding = finding or Finding(Reason.NO_ADDRESS, "no mail host could be tried", domain=group.domain)
            finding = _placed(finding, group.domain)
            self._decide_waiting(run, finding)
        notices = self._notices.after_run(message, run)
        return Settled(
            group=group,
            fates=tuple(run.fates),
            attempts=tuple(run.attempts),
            events=events_of(message, run.fates, run.attempts, run.now),
            next_attempt_at=run.next_attempt_at,
            finding=finding if run.next_attempt_at is not None else None,
            delay_notified=group.delay_notified or run.delay_notice,
            last_route=run.last_route,
            notices=notices,
        )

    def _decide_waiting(self, run: Run, finding: Finding) -> None:
        """Hold those still waiting, or return them: when the reason is final for every host, or the time is up."""
        group = run.group
        now = self._clock.now()
        final = finding.final and all(item.final for _, item in run.findings)
        runs = group.attempts + 1
        when = None
        if not final:
            chance = self._chance() * 2 - 1
            when = next_attempt(run.connector, group.queued_at, runs, now, chance, self._rules.retry)
        run.next_attempt_at = when
        fate = Fate.FAILED if when is None else Fate.DEFERRED
        run.fates += (RecipientFate(item.address, fate, finding=finding) for item in run.waiting)
        run.delay_notice = when is not None and delay_notice_due(group.queued_at, now, group.delay_notified, self._rules.retry)


# ------------------------------------------------------------------------------------------------------ small things


def shown(findings: Sequence[tuple[int, Finding]]) -> Finding | None:
    """The reason shown: security before network, the most preferred host first [decision 7].

    A final reason that is not shared by every host cannot be the one shown while the mail waits.
    """
    if not findings:
        return None
    waiting = [item for item in findings if not item[1].final] or list(findings)
    return min(waiting, key=lambda item: (not item[1].security, item[0]))[1]


def _wishes(message: Message) -> Wishes:
    return Wishes(message.envelope.require_tls, message.tls_required_no)


def _placed(finding: Finding, domain: str) -> Finding:
    if finding.domain:
        return finding
    return Finding(finding.reason, finding.detail, finding.host, domain, finding.ip, finding.code, finding.basic)


def _family(ip: str) -> int:
    return 6 if ":" in ip else 4


def _transaction(message: Message, recipients: tuple[Recipient, ...]) -> Transaction:
    envelope = message.envelope
    return Transaction(
        envelope.sender,
        recipients,
        message.content,
        envelope.body,
        envelope.smtputf8,
        envelope.ret,
        envelope.envid,
        envelope.require_tls,
    )


def _is_greylisting(fate: RecipientFate) -> bool:
    return fate.reply is not None and fate.reply.code in GREYLIST_CODES


def _connection_was_stale(done: TransactionResult) -> bool:
    """Nothing was answered at all: the kept connection was dead before we spoke."""
    return not done.replies and all(fate.fate is Fate.DEFERRED for fate in done.recipients)
