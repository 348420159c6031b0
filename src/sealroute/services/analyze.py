"""analyze: what would delivery do with mail for a domain now, under each mode, and why?  No mail is sent.

The engine that delivers does the work: services/gather, policy/decide, services/sessions with policy/verdict, and
services/deliver walk the hosts on a dialer that dials every target once and stops before MAIL (services/probe).  So the
verdict under a mode is what a message would meet, by construction; the checks that explain it (services/analysis) read and
never decide.

One `Analyzer` serves any number of analyses at a time; probes are shared between them, DNS answers within one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sealroute.base.chain import TrustRoots
from sealroute.base.errors import SealrouteError, StoreUnavailable
from sealroute.base.mail import Envelope, Message, Origin, Recipient
from sealroute.policy.attempt import Fate
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan, decide
from sealroute.policy.evidence import StsEvidence
from sealroute.policy.evidence import StsSource as Source
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts, Requirement, Verdict
from sealroute.policy.verdict import judge
from sealroute.ports import Clock, DialTarget, Group, Resolver, Settled, Signatures
from sealroute.services.analysis.checks import checks_of
from sealroute.services.analysis.model import (
    ALL_MODES,
    AddressSeen,
    Analysis,
    HostSeen,
    Modes,
    Outcome,
    Seen,
    Would,
)
from sealroute.services.ask_once import AskedOnce, GatheredOnce, PoliciesOnce
from sealroute.services.deliver import Deliver, DeliverRules
from sealroute.services.gather import Gather, StsSource
from sealroute.services.order import Order
from sealroute.services.plan import Plans
from sealroute.services.probe import Probes
from sealroute.services.sessions import SessionLimits, Sessions
from sealroute.services.show_signatures import signatures_of
from sealroute.services.validate import NoNotices

LOCAL_PART = "postmaster"
"""Whom the message that is never sent would be for."""
MAX_PROBES = 64
"""Addresses of one domain that are dialled; further ones are left to delivery's own walk."""


def _first() -> float:
    """Hosts of equal preference are walked in the order of their names, so that two analyses tell the same story."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Engine:
    """Delivery's parts."""

    resolver: Resolver
    signatures: Signatures
    policies: StsSource
    fresh_policies: StsSource
    """The same without what was kept from earlier: what a sender finds who has never heard of the domain."""
    roots: TrustRoots
    clock: Clock
    rules: DeliverRules = field(default_factory=DeliverRules)
    trusted: Callable[[], bool] = lambda: True
    why_not: Callable[[], str] = str
    chance: Callable[[], float] = _first
    """Decides the order among hosts of equal preference."""


class Analyzer:
    """Runs analyses."""

    def __init__(self, engine: Engine, probes: Probes) -> None:
        self._engine = engine
        self._probes = probes
        self._order = Order(engine.chance, engine.rules.families, allow_private=engine.rules.allow_private_destinations)

    def __repr__(self) -> str:
        return f"<Analyzer {self._probes!r}>"

    async def run(
        self,
        domain: str,
        connector: Connector,
        *,
        asked: Sequence[Modes] = (),
        modes: Sequence[Modes] = ALL_MODES,
        chain_of_trust: bool = True,
    ) -> Analysis:
        """Analyse one domain (in compared form) as mail through this connector meets it.

        `asked`: the modes in question, the connector's own if empty; they are run whether or not `modes` has them.
        Without `chain_of_trust` keys and signatures are not looked up for show, nor a kept policy fetched anew; verdicts
        are the same.  Raises StoreUnavailable, and nothing for what others do.
        """
        engine, loop = self._engine, asyncio.get_running_loop()
        started = loop.time()
        in_question = tuple(asked) or ((connector.smtp_dane_mode, connector.mta_sts_mode),)
        dns = AskedOnce(engine.resolver, engine.signatures)
        policies = PoliciesOnce(engine.policies)
        gather = GatheredOnce(Gather(dns, policies, engine.clock, engine.rules.port, engine.trusted, engine.why_not))
        judging = _Judging(engine.roots)
        try:
            wanted = [_under(connector, pair) for pair in dict.fromkeys((*modes, *in_question))]
            plans = {(item.smtp_dane_mode, item.mta_sts_mode): Plans(gather) for item in wanted}
            looking = asyncio.ensure_future(
                (self._seen if chain_of_trust else self._glance)(domain, connector, gather, dns, judging)
            )
            try:
                await self._dial_all(plans, domain, wanted)
                # One after the other: all they wait for is there, or is waited for by the first of them.
                run = [await self._outcome(plans, domain, item, judging) for item in wanted]
                seen = await looking
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
            outcomes = [replace(outcome, in_force=outcome.modes in in_question) for outcome in run]
            checks = checks_of(seen, engine.roots)
            return Analysis(seen, tuple(outcomes), checks, loop.time() - started, dns.asked)
        finally:
            await gather.close()
            await dns.close()
            await policies.close()

    async def close(self) -> None:
        """Give up the probes under way."""
        await self._probes.close()

    async def _plan(self, gather: GatheredOnce, domain: str, connector: Connector) -> Plan:
        """The plan that looks at everything and enforces nothing."""
        looking = _under(connector, (SmtpDaneMode.REPORT_ONLY, MtaStsMode.REPORT_ONLY))
        try:
            return await _planned(gather, domain, looking)
        except StoreUnavailable:
            raise
        except SealrouteError:
            # A stored policy that cannot be read holds mail, as delivery's own outcomes say; the rest can be looked at.
            return await _planned(gather, domain, _under(looking, (SmtpDaneMode.REPORT_ONLY, MtaStsMode.NONE)))

    async def _dial_all(self, plans: Mapping[Modes, Plans], domain: str, connectors: Sequence[Connector]) -> None:
        """Dial every host that a plan allows, also those that delivery reaches only when others fail."""
        targets: dict[DialTarget, None] = {}
        for connector in connectors:
            try:
                plan = await plans[connector.smtp_dane_mode, connector.mta_sts_mode].plan(connector, domain, Wishes())
            except StoreUnavailable:
                raise
            except SealrouteError:
                continue  # delivery dials nobody then
            allowed = [target for host in plan.hosts for target in self._targets(host)]
            targets.update(dict.fromkeys(allowed[:MAX_PROBES]))
        await asyncio.gather(*map(self._probes.probe, targets))

    def _targets(self, host: HostPlan) -> list[DialTarget]:
        if host.requirement is None:
            return []
        allowed = [ip for ip in self._order.addresses(host, ("", "")) if self._order.forbidden(host.name, ip) is None]
        return [DialTarget(host.name, ip, self._engine.rules.port, host.requirement.sni) for ip in allowed]

    # ------------------------------------------------------------------------------------------------------- seeing

    async def _seen(self, domain: str, connector: Connector, gather: GatheredOnce, dns: AskedOnce, judging: _Judging) -> Seen:
        """Everything for the checks: hosts, signatures, TLS-RPT, and MTA-STS as a stranger finds it."""
        plan = await self._plan(gather, domain, connector)
        hosts, (zones, signed), rpt, fresh = await asyncio.gather(
            asyncio.gather(*(self._host(host, judging) for host in plan.hosts)),
            signatures_of(dns, plan.evidence),
            dns.txt(f"_smtp._tls.{domain}"),
            self._fresh(plan),
        )
        return Seen(domain, self._engine.clock.now(), connector, plan, tuple(hosts), zones, signed, rpt, fresh)

    async def _glance(self, domain: str, connector: Connector, gather: GatheredOnce, dns: AskedOnce, judging: _Judging) -> Seen:
        """The same without what is only for show."""
        plan = await self._plan(gather, domain, connector)
        hosts, rpt = await asyncio.gather(
            asyncio.gather(*(self._host(host, judging) for host in plan.hosts)), dns.txt(f"_smtp._tls.{domain}")
        )
        return Seen(domain, self._engine.clock.now(), connector, plan, tuple(hosts), rpt=rpt, brief=True)

    async def _fresh(self, plan: Plan) -> StsEvidence | None:
        kept = next((item for item in plan.evidence.sts if item.source is Source.CACHED), None)
        return await self._engine.fresh_policies.evidence(kept.domain) if kept is not None else None

    async def _host(self, host: HostPlan, judging: _Judging) -> HostSeen:
        requirement = host.requirement
        if requirement is None:
            return HostSeen(host)
        skipped = [(ip, self._order.forbidden(host.name, ip)) for ip in self._order.addresses(host, ("", ""))]
        probes = await asyncio.gather(*(self._probes.probe(target) for target in self._targets(host)))
        addresses = (AddressSeen(probe, judging(requirement, probe.facts) if probe.facts else None) for probe in probes)
        return HostSeen(host, tuple(addresses), tuple((ip, why) for ip, why in skipped if why is not None))

    # ----------------------------------------------------------------------------------------------------- delivering

    async def _outcome(self, plans: Mapping[Modes, Plans], domain: str, connector: Connector, judging: _Judging) -> Outcome:
        """Run delivery itself, on probes."""
        engine = self._engine
        sessions = Sessions(self._probes, judging, SessionLimits(messages_per_session=1))
        planned = plans[connector.smtp_dane_mode, connector.mta_sts_mode]
        deliver = Deliver(
            lambda message, domain: connector, planned, sessions, NoNotices(), engine.clock, engine.chance, engine.rules
        )
        now = engine.clock.now()
        recipient = Recipient(f"{LOCAL_PART}@{domain}")
        message = Message("analysis", connector.organization, Envelope("", (recipient,)), b"", now, Origin.NOTIFICATION)
        group = Group("analysis", message.id, domain, (recipient,), queued_at=now, next_attempt_at=now)
        try:
            return outcome_of(connector, await deliver.run(group, message))
        finally:
            await sessions.close()


class _Judging:
    """policy/verdict.judge, each pair of requirement and handshake once: most modes ask for the same of a host."""

    def __init__(self, roots: TrustRoots) -> None:
        self._roots = roots
        self._known: dict[tuple[str, int], tuple[HandshakeFacts, Verdict]] = {}

    def __call__(self, requirement: Requirement, facts: HandshakeFacts) -> Verdict:
        key = (requirement.key, id(facts))
        if key not in self._known:
            self._known[key] = (facts, judge(requirement, facts, self._roots))  # the facts stay alive, and so does their id
        return self._known[key][1]


def outcome_of(connector: Connector, settled: Settled) -> Outcome:
    """What a run came to, read off what delivery would have recorded."""
    modes = connector.smtp_dane_mode, connector.mta_sts_mode
    fate = settled.fates[-1]
    match fate.fate:
        case Fate.DELIVERED:
            last = settled.attempts[-1]
            protection = last.verdict.protection if last.verdict else None
            return Outcome(*modes, Would.DELIVER, protection, None, last.host, last.ip, settled.attempts)
        case Fate.DEFERRED | Fate.FAILED:
            would = Would.HOLD if fate.fate is Fate.DEFERRED else Would.RETURN
            finding: Finding | None = fate.finding
            host, ip = (finding.host, finding.ip) if finding else ("", "")
            return Outcome(*modes, would, None, finding, host, ip, settled.attempts)


async def _planned(gather: GatheredOnce, domain: str, connector: Connector) -> Plan:
    return decide(connector, await gather.evidence(connector, domain, Wishes()), Wishes())


def _under(connector: Connector, modes: Modes) -> Connector:
    return replace(connector, smtp_dane_mode=modes[0], mta_sts_mode=modes[1])
