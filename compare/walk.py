"""Our own way to one mail domain, as delivery goes it: gather, decide, dial, judge; up to the first host that speaks.

The outcome is put into the words that posttls-finger can be put into as well.
"""

from __future__ import annotations

from enum import Enum

from sealroute.base.chain import TrustRoots
from sealroute.net.clock import SystemClock
from sealroute.net.dial import SmtpDialer
from sealroute.net.resolver_unbound import UnboundResolver
from sealroute.net.smtp_connection import DialSettings
from sealroute.net.unbound_config import UnboundConfig
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, decide
from sealroute.policy.evidence import StsEvidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.policy.reasons import Reason
from sealroute.policy.requirement import Protection
from sealroute.policy.verdict import judge
from sealroute.ports import DialFailed, DialTarget
from sealroute.services.gather import Gather
from simnet.internet import Internet


class Outcome(Enum):
    """What one walk came to."""

    VERIFIED = "verified by DANE"
    ENCRYPTED = "TLS, not verified"
    REFUSED = "TLSA does not match"
    NO_TLS = "no TLS"
    NO_HANDSHAKE = "TLS fails"
    NO_DANE = "no DANE"
    """dane-only, Mandatory: the host is not used without."""
    HELD = "cannot be known"
    """A look-up failed or is bogus: the host or domain is not used now."""
    NO_MAIL = "takes no mail"
    NO_DOMAIN = "no such domain"


_REASONS = {
    Reason.NULL_MX: Outcome.NO_MAIL,
    Reason.NO_SUCH_DOMAIN: Outcome.NO_DOMAIN,
    Reason.DNSSEC_INVALID: Outcome.HELD,
    Reason.DNS_FAILED: Outcome.HELD,
    Reason.DANE_REQUIRED: Outcome.NO_DANE,
}
_PROTECTIONS = {
    Protection.DANE: Outcome.VERIFIED,
    Protection.TLS: Outcome.ENCRYPTED,
    Protection.PLAIN: Outcome.NO_TLS,
}


class _NoPolicies:
    """MTA-STS is off in this comparison, so nobody asks."""

    async def evidence(self, domain: str, *, recheck: bool = False) -> StsEvidence:
        raise AssertionError(domain)


class Walker:
    """The four steps, with real parts: a validating resolver, a dialler, and the judge."""

    def __init__(self, net: Internet) -> None:
        anchors, stubs = net.world.trust_anchors(), net.world.stub_zones()
        self.resolver = UnboundResolver(UnboundConfig(stub_zones=stubs, trust_anchors=anchors, special_names=True))
        self._port = net.smtp_port
        self._gather = Gather(self.resolver, _NoPolicies(), SystemClock(), net.smtp_port)
        self._dialer = SmtpDialer(DialSettings(helo_name="gateway.test"))
        self._roots = TrustRoots([])

    async def close(self) -> None:
        await self.resolver.close()

    async def walk(self, domain: str, mode: SmtpDaneMode) -> Outcome:
        """The outcome at the first host that answers, or why there is none."""
        connector = Connector(guid="compare", name="compare", smtp_dane_mode=mode, mta_sts_mode=MtaStsMode.NONE)
        plan = decide(connector, await self._gather.evidence(connector, domain, Wishes()))
        if plan.finding is not None:
            return _REASONS[plan.finding.reason]
        outcome = Outcome.HELD
        for host in plan.hosts:
            if host.finding is not None:
                outcome = _REASONS[host.finding.reason]
                continue
            return await self._dial(host)
        return outcome

    async def _dial(self, host: HostPlan, *, starttls: bool = True) -> Outcome:
        requirement = host.requirement
        assert requirement is not None
        target = DialTarget(host.name, host.addresses[0], self._port, requirement.sni, starttls=starttls)
        session = await self._dialer.dial(target)
        if isinstance(session, DialFailed):
            return Outcome.HELD
        try:
            verdict = judge(requirement, session.facts, self._roots)
        finally:
            await session.close()
        if verdict.retry_in_plaintext:
            return await self._dial(host, starttls=False)
        if verdict.finding is None:
            return _PROTECTIONS[verdict.protection]
        if session.facts.encrypted:
            return Outcome.REFUSED
        return Outcome.NO_HANDSHAKE if session.facts.handshake_error else Outcome.NO_TLS
