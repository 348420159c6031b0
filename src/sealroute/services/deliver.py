"""deliver: one run of a group through its hosts, from choosing the connector to what must be made durable.

Reads like a table of contents: choose → plan → walk the hosts → settle.  Nothing is decided here about trust: a host's
Requirement comes from policy/decide, its judgement from policy/verdict.  What this file decides is when to go on to the next
host or address, when to stop, and which of several reasons is shown [ADR 7.7].

Once somebody has the message, nothing that goes wrong may undo it: what is known by then is always returned to be recorded,
or that recipient would get the message again.

Elsewhere: order of hosts and addresses (services/order); what is written down (services/attempts); leases, concurrency and
time-tables of groups (services/schedule); notices (services/bounce).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from sealroute.base.errors import SealrouteError, StoreUnavailable
from sealroute.base.mail import Message, Recipient
from sealroute.policy.attempt import Fate, RecipientFate
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan, connector_rows
from sealroute.policy.evidence import Evidence
from sealroute.policy.modes import Wishes
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.retry import RetryRules, delay_notice_due, expires_at, next_attempt
from sealroute.ports import Clock, Group, Settled, Transaction, TransactionResult
from sealroute.services.attempts import Run, Used
from sealroute.services.events import events_of
from sealroute.services.order import MAX_ADDRESSES_PER_RUN, Chance, Order
from sealroute.services.plan import Plans
from sealroute.services.sessions import NotOpened, Sessions

log = structlog.get_logger("sealroute.deliver")
GREYLIST_CODES = (450, 451)
SHUTTING_DOWN = 421
_PEER_SPOKE = (Reason.TRY_LATER, Reason.REJECTED, Reason.FEATURE_UNSUPPORTED)

Notice = tuple[Message, tuple[Group, ...]]


class Notices(Protocol):
    """services/bounce, as deliver needs it."""

    def after_run(self, message: Message, run: Run) -> tuple[Notice, ...]:
        """The NDRs, delay and success notices that this run calls for."""
        ...


@dataclass(frozen=True, slots=True)
class DeliverRules:
    """What the operator sets for every delivery."""

    retry: RetryRules = field(default_factory=RetryRules)
    port: int = 25
    allow_private_destinations: bool = False
    families: tuple[int, ...] = (6, 4)


class Deliver:
    """Runs groups."""

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
        self._order = Order(chance, self._rules.families, allow_private=self._rules.allow_private_destinations)

    async def run(self, group: Group, message: Message) -> Settled:
        """Try every host once; the result is to be made durable by the caller.

        Raises StoreUnavailable when the way cannot be known; nothing was sent then.
        """
        connector = self._choose(message, group.domain)
        now = self._clock.now()
        expires = expires_at(connector, group.queued_at)
        run = Run(group, connector, self._rules.port, now, expires, list(group.recipients))
        try:
            await self._try(run, message)
        except (Exception, asyncio.CancelledError) as error:
            if not run.fates:
                raise
            log.warning("run broken off after some recipients were served", group=group.id, exc_info=error)
            run.findings.append((0, Finding(Reason.CONNECTION_LOST, "our side broke off before everyone was served")))
        return self._settle(run, message)

    async def _try(self, run: Run, message: Message) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        run.plan = plan = await self._plan(run, message)
        run.resolve_ms = (loop.time() - started) * 1000
        if plan.finding is not None:
            run.held(self._clock.now(), plan.finding)
            run.findings.append((0, plan.finding))
        else:
            await self._walk(run, message)

    async def _plan(self, run: Run, message: Message) -> Plan:
        """A kept plan serves first tries only: a retry looks at everything afresh, the last one at the policy id too."""
        wishes, domain = _wishes(message), run.group.domain
        try:
            if run.last_try:
                return await self._plans.afresh(run.connector, domain, wishes, recheck=True)
            if run.group.attempts:
                return await self._plans.afresh(run.connector, domain, wishes)
            return await self._plans.plan(run.connector, domain, wishes)
        except StoreUnavailable:
            raise
        except SealrouteError as error:
            # A stored policy that cannot be read: what it demands is unknown, and unknown holds.
            finding = Finding(Reason.STS_POLICY_FETCH_ERROR, str(error), domain=domain)
            nothing = Evidence(domain, (), (), run.now, 0, port=self._rules.port)
            return Plan((), connector_rows(run.connector), finding, nothing)

    # ------------------------------------------------------------------------------------------------ the hosts

    async def _walk(self, run: Run, message: Message) -> None:
        for rank, host in self._order.hosts(run.plan.hosts, run.group.last_route):
            if host.finding is not None:
                run.held(self._clock.now(), host.finding, host)
                run.findings.append((rank, host.finding))
                continue
            await self._host(run, rank, host, message)
            if not run.waiting or run.stay:
                return

    async def _host(self, run: Run, rank: int, host: HostPlan, message: Message) -> None:
        """Try the host's addresses until one has taken the message or spoken on it."""
        addresses = self._order.addresses(host, run.group.last_route)
        if not addresses:
            finding = self._order.switched_off(host)
            run.held(self._clock.now(), finding, host)
            run.findings.append((rank, finding))
        for ip in addresses:
            if run.addresses_tried >= MAX_ADDRESSES_PER_RUN:
                return
            run.addresses_tried += 1
            forbidden = self._order.forbidden(host.name, ip)
            if forbidden is not None:
                run.held(self._clock.now(), forbidden, host)
            finding_here = forbidden or await self._address(run, host, ip, message)
            if finding_here is None:
                return
            run.findings.append((rank, finding_here))
            if run.stay or _rules_host_out(finding_here):
                return

    async def _address(self, run: Run, host: HostPlan, ip: str, message: Message) -> Finding | None:
        """One address: open or reuse, send, record.  None when nothing is left to do elsewhere."""
        assert host.requirement is not None
        loop = asyncio.get_running_loop()
        port = self._rules.port
        opened = self._sessions.take(ip, port, host.requirement)
        while True:
            reused = opened is not None
            result = opened or await self._sessions.open(host, ip, port)
            if result.before is not None and not reused:
                run.not_opened(self._clock.now(), host, ip, result.before)
            if isinstance(result, NotOpened):
                return self._not_opened(run, host, ip, result)
            started = loop.time()
            done: TransactionResult | None = None
            try:
                done = await result.session.transact(_transaction(message, tuple(run.waiting)))
            finally:
                self._sessions.give_back(result, reusable=done is not None and done.reusable)
            if reused and _connection_was_stale(done):
                # The peer closed while the session lay idle; that says nothing about the message.
                opened = None
                continue
            return self._transacted(run, host, Used(ip, result, reused, (loop.time() - started) * 1000), done)

    def _not_opened(self, run: Run, host: HostPlan, ip: str, result: NotOpened) -> Finding:
        run.not_opened(self._clock.now(), host, ip, result)
        if result.facts is None:
            self._order.failed(host.name, ip)
        return result.finding

    def _transacted(self, run: Run, host: HostPlan, used: Used, done: TransactionResult) -> Finding | None:
        """Record what one host said; the reason of who still waits, None when nobody does."""
        fates = done.recipients
        if any(map(_only_this_host, fates)):
            fates = tuple(replace(fate, fate=Fate.DEFERRED) if _only_this_host(fate) else fate for fate in fates)
        run.transacted(self._clock.now(), host, used, fates, done.replies)
        deferred = [fate for fate in fates if fate.fate is Fate.DEFERRED]
        if not deferred:
            run.fates += fates
            run.waiting = []
            return None
        run.fates += (fate for fate in fates if fate.fate is not Fate.DEFERRED)
        left = {fate.address for fate in deferred}
        run.waiting = [recipient for recipient in run.waiting if recipient.address in left]
        for fate in deferred:
            if fate.reply is not None:
                run.put_off.setdefault(fate.address, fate)
        route = (host.name, used.ip)
        if _greylisted(done, deferred) and not run.last_route[0]:
            run.last_route = route
            # A route that says the same again may never mean otherwise: then the other hosts are asked, too.
            run.stay = run.group.last_route != route
        return deferred[0].finding

    # ------------------------------------------------------------------------------------------------- the result

    def _settle(self, run: Run, message: Message) -> Settled:
        group = run.group
        finding = None
        if run.waiting:
            finding = shown(run.findings) or Finding(Reason.NO_ADDRESS, "no mail host could be tried")
            finding = finding if finding.domain else replace(finding, domain=group.domain)
            if finding.reason not in _PEER_SPOKE:
                self._plans.forget(run.connector, group.domain, _wishes(message))
            self._decide_waiting(run, finding)
        notices: tuple[Notice, ...] = ()
        try:
            notices = self._notices.after_run(message, run)
        except Exception:
            log.exception("a notice could not be made", group=group.id, message_id=message.id)
        return Settled(
            group=group,
            fates=tuple(run.fates),
            attempts=tuple(run.attempts),
            events=events_of(message, run.fates, run.attempts, self._clock.now()),
            next_attempt_at=run.next_attempt_at,
            finding=finding if run.next_attempt_at is not None else None,
            delay_notified=group.delay_notified or run.delay_notice,
            last_route=run.last_route,
            notices=notices,
        )

    def _decide_waiting(self, run: Run, finding: Finding) -> None:
        """Hold those still waiting, or return them: when the reason is final for every host, or the time is up."""
        group, rules = run.group, self._rules.retry
        now = self._clock.now()
        final = finding.final and all(item.final for _, item in run.findings)
        if not final and not run.last_try:
            chance = self._chance() * 2 - 1
            when = next_attempt(run.connector, group.queued_at, group.attempts + 1, now, chance, rules)
            # Expired while it was under way: the last try, which looks at everything once more, is still to come.
            run.next_attempt_at = when or run.expires_at
            run.delay_notice = delay_notice_due(group.queued_at, now, group.delay_notified, rules)
        fate = Fate.FAILED if run.next_attempt_at is None else Fate.DEFERRED
        for recipient in run.waiting:
            own = run.put_off.get(recipient.address) if finding.reason is Reason.TRY_LATER else None
            why = own.finding if own is not None and own.finding is not None else finding
            run.fates.append(RecipientFate(recipient.address, fate, own.reply if own else None, why))


# ------------------------------------------------------------------------------------------------------ small things


def shown(findings: Sequence[tuple[int, Finding]]) -> Finding | None:
    """The reason shown: security before network, the most preferred host first [ADR 7.7].

    A final reason that is not shared by every host cannot be the one shown while the mail waits.
    """
    if not findings:
        return None
    waiting = [item for item in findings if not item[1].final] or list(findings)
    return min(waiting, key=lambda item: (not item[1].security, item[0]))[1]


def _wishes(message: Message) -> Wishes:
    return Wishes(message.envelope.require_tls, message.tls_required_no)


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
        message.crlf_only,
    )


def _rules_host_out(finding: Finding) -> bool:
    """The server behind every address of the host has spoken; 421 is said by one machine of many, about itself."""
    if finding.reason is Reason.TRY_LATER:
        return finding.basic != SHUTTING_DOWN
    return finding.reason in (Reason.HOST_REJECTED, Reason.REQUIRETLS_UNSUPPORTED)


def _only_this_host(fate: RecipientFate) -> bool:
    """Lack of REQUIRETLS rules a host out; the mail is returned when all hosts lack it [RFC 8689 §4.2.1]."""
    return fate.finding is not None and fate.finding.reason is Reason.REQUIRETLS_UNSUPPORTED


def _greylisted(done: TransactionResult, deferred: Sequence[RecipientFate]) -> bool:
    """450 or 451 in answer to RCPT; the same codes in answer to MAIL or content are some other trouble [ADR 7.10]."""
    for said, reply in done.replies:
        if reply.code in GREYLIST_CODES and said[:4].upper() == "RCPT" and any(fate.reply is reply for fate in deferred):
            return True
    return False


def _connection_was_stale(done: TransactionResult) -> bool:
    """The kept connection was dead before we spoke, or the server said goodbye to it in answer to our first command."""
    if any(fate.fate is not Fate.DEFERRED for fate in done.recipients):
        return False
    return not done.replies or done.replies[0][1].code == SHUTTING_DOWN
