"""A delivery world for tests: contoso.com, its mail hosts, and our own side with every part but the network real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sealroute.base.chain import TrustRoots
from sealroute.base.dnsdata import Mx
from sealroute.base.mail import Message
from sealroute.policy.attempt import Fate
from sealroute.policy.connector import Connector
from sealroute.policy.modes import SmtpDaneMode
from sealroute.policy.verdict import judge
from sealroute.ports import Settled
from sealroute.services.attempts import Run
from sealroute.services.deliver import Deliver, DeliverRules, Notice
from sealroute.services.gather import Gather
from sealroute.services.plan import Plans
from sealroute.services.sessions import Sessions
from tests.unit.fakes import GOOD_TLSA, NOW, FakeClock, FakeDialer, FakeResolver, FakeStsPolicies, Peer, group, message

LONE, LONE6 = "192.0.2.1", "2001:db8::1"
LOW, HIGH = "192.0.2.10", "192.0.2.20"
CONNECTOR = Connector(guid="g", name="Contoso")
MANDATORY = replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.MANDATORY, when_changed=NOW)


class NoNotices:
    """services/bounce is tested on its own."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.broken = False

    def after_run(self, message: Message, run: Run) -> tuple[Notice, ...]:
        self.runs.append(run)
        if self.broken:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return ()


@dataclass
class World:
    """contoso.com with one MX host at one address, both signed, unless a test says otherwise."""

    connector: Connector = CONNECTOR
    rules: DeliverRules = field(default_factory=lambda: DeliverRules(allow_private_destinations=True))
    chances: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock, self.dns, self.sts, self.dialer = FakeClock(), FakeResolver(), FakeStsPolicies(), FakeDialer()
        self.notices = NoNotices()
        self.sessions = Sessions(self.dialer, lambda need, facts: judge(need, facts, TrustRoots([])))
        self.plans = Plans(Gather(self.dns, self.sts, self.clock))
        self.deliver = Deliver(
            lambda _message, _domain: self.connector, self.plans, self.sessions, self.notices, self.clock,
            lambda: self.chances.pop(0) if self.chances else 0.5, self.rules,
        )  # fmt: skip
        self.mail = message()
        self.group = group(self.mail)
        self.hosts(("mx.contoso.com", 10, [LONE]))
        self.dialer.peers[LONE] = Peer()

    def hosts(self, *hosts: tuple[str, int, Sequence[str]], tlsa: bool = False) -> None:
        self.dns.has("MX", "contoso.com", *(Mx(preference, name) for name, preference, _ in hosts))
        for name, _, ips in hosts:
            self.dns.host(name, *ips, tlsa=[GOOD_TLSA] if tlsa else [])

    def two(self, low: Peer, high: Peer, **changes: Any) -> None:
        """A preferred and a spare host."""
        self.hosts(("mx1.contoso.com", 10, [LOW]), ("mx2.contoso.com", 20, [HIGH]), **changes)
        self.dialer.peers = {LOW: low, HIGH: high}

    def to(self, *addresses: str, **changes: Any) -> None:
        self.mail = message(*addresses, **changes)
        self.group = group(self.mail)

    async def run(self, **changes: Any) -> Settled:
        self.group = replace(self.group, **changes)
        settled = await self.deliver.run(self.group, self.mail)
        self.check(settled)
        return settled

    def check(self, settled: Settled) -> None:
        """What holds for every run: each recipient has one fate, no place in the pool is lost."""
        assert sorted(fate.address for fate in settled.fates) == sorted({item.address for item in self.group.recipients})
        waiting = any(fate.fate is Fate.DEFERRED for fate in settled.fates)
        assert waiting == (settled.next_attempt_at is not None) == (settled.finding is not None)
        assert self.sessions._room._value == 500 - len(self.sessions._by_age)
        assert all(attempt.finding is not None or attempt.recipients for attempt in settled.attempts)
