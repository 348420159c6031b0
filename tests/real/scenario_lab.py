"""Runs the world of a module's scenarios and sends one message through the gateway's parts for each; see tests/real/scenario.

Bounds: a name server that stays silent costs RESOLVER_SECONDS, a policy host FETCH_SECONDS; scenarios that wait for one are started
when the world is, so that they wait beside the others.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest_asyncio

from sealroute.base.chain import TrustRoots
from sealroute.base.mail import Envelope, Message, Recipient
from sealroute.net.clock import SystemClock
from sealroute.net.dial import SmtpDialer
from sealroute.net.https import FetchRules, HttpsPolicyFetcher
from sealroute.net.resolver_unbound import UnboundResolver
from sealroute.net.smtp_connection import DialSettings
from sealroute.net.tls import policy_client_context
from sealroute.net.unbound_config import UnboundConfig
from sealroute.policy.attempt import Attempt, Fate
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException, apply
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.requirement import Protection
from sealroute.policy.table import DANE, STS, TOGETHER_ROWS
from sealroute.policy.transport.rule import Conditions, TransportRule
from sealroute.policy.verdict import judge
from sealroute.ports import CachedPolicy, Group, PolicyCache, Settled
from sealroute.services.apply_rules import RulesInForce
from sealroute.services.deliver import Deliver, DeliverRules
from sealroute.services.gather import Gather
from sealroute.services.plan import Plans
from sealroute.services.sessions import Sessions
from sealroute.services.sts import StsPolicies
from simnet.mailhost import MailHost
from simnet.nameserver import FaultyNameServer, NsdServer, free_port
from simnet.pki import pem
from simnet.policyhost import PolicyHost
from simnet.zones import World
from tests.real.scenario import Modes, Scenario, named
from tests.real.scenario_build import FAULTY, NAME_SERVER, POLICY_HOST, Builder, Names, Parts
from tests.real.scenario_certs import Pki
from tests.real.scenario_standins import AskedResolver, MemoryCache, NoNotices

RESOLVER_SECONDS = 3.0
FETCH_SECONDS = 2.0
AT_ONCE = 8
TOGETHER = {row.name for row in TOGETHER_ROWS}


@dataclass(frozen=True, slots=True)
class Ran:
    """One message's run, with what was asked of DNS on the way."""

    settled: Settled
    asked: tuple[tuple[str, str], ...]
    line: str

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self.settled.attempts

    @property
    def rows(self) -> frozenset[str]:
        return frozenset(row for attempt in self.attempts for row in attempt.rows)


class Lab:
    """The world of some scenarios, running while the context lasts."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self.scenarios = tuple(scenarios)
        self.pki = Pki()
        self.mail = MailHost()
        self.policies = PolicyHost(self.pki.web, POLICY_HOST)
        self.dns_port = free_port(NAME_SERVER, *FAULTY.values())
        self.smtp_port = free_port("127.66.0.4", "127.66.1.4")
        self.world = World(NAME_SERVER, self.dns_port)
        self.server = NsdServer(self.world)
        self.names = {scenario.name: Names(number, self.smtp_port) for number, scenario in enumerate(scenarios)}
        if len(self.names) != len(self.scenarios):
            raise ValueError("two scenarios have the same name")
        self.clock = SystemClock()
        self._ids = itertools.count(1)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[str, asyncio.Task[dict[str, str]]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Lab:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="scenarios-")))
        await self._stack.enter_async_context(self.policies)
        self._stack.push_async_callback(self.mail.close)
        for fault, address in FAULTY.items():
            await self._stack.enter_async_context(FaultyNameServer(fault, address, self.dns_port))
        parts = Parts(self.world, self.mail, self.policies, self.pki, folder)
        for scenario in self.scenarios:
            await Builder(parts, scenario, self.names[scenario.name]).build()
        self._stack.enter_context(self.server)
        self.resolver = UnboundResolver(
            UnboundConfig(
                trust_anchors=self.world.trust_anchors(), stub_zones=self.world.stub_zones(), timeout_seconds=RESOLVER_SECONDS
            )
        )
        self._stack.push_async_callback(self.resolver.close)
        roots = folder / "roots.pem"
        roots.write_bytes(pem([self.pki.web_root]))
        self.roots = TrustRoots.from_pem(roots.read_bytes())
        self.tls_context = policy_client_context(str(roots))
        self.dialer = SmtpDialer(DialSettings(helo_name="gateway.test", tls_timeout_seconds=2, quit_timeout_seconds=0.5))
        self._stack.push_async_callback(self._cancel)
        for scenario in self.scenarios:
            if scenario.slow:
                self._start(scenario)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self._stack.aclose()

    async def _cancel(self) -> None:
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --------------------------------------------------------------------------------------------------------- running

    async def lines(self, scenario: Scenario) -> dict[str, str]:
        """Run the scenario under every pair of modes that it has a line for."""
        return await self._start(scenario)

    def _start(self, scenario: Scenario) -> asyncio.Task[dict[str, str]]:
        task = self._under_way.get(scenario.name)
        if task is None:
            task = self._under_way[scenario.name] = asyncio.create_task(self._all_modes(scenario))
        return task

    async def _all_modes(self, scenario: Scenario) -> dict[str, str]:
        runs = await asyncio.gather(*(self.run(scenario, modes) for modes in scenario.expected))
        for modes, ran in zip(scenario.expected, runs, strict=True):
            _check_rows(scenario, modes, ran)
        by_modes = dict(zip(scenario.expected, runs, strict=True))
        _check_together(scenario, runs)
        _check_shadow(scenario, by_modes)
        return {named(modes): _agreeing(scenario.expected[modes], ran.line) for modes, ran in by_modes.items()}

    async def run(self, scenario: Scenario, modes: Modes, cache: PolicyCache | None = None) -> Ran:
        """Send one message under these modes; `cache` in place of one that holds what the scenario says is cached."""
        names = self.names[scenario.name]
        asked = AskedResolver(self.resolver)
        fetcher = HttpsPolicyFetcher(asked, self.tls_context, FetchRules(self.policies.port, FETCH_SECONDS, allow_private=True))
        policies = StsPolicies(asked, fetcher, cache or MemoryCache(*self._cached(scenario)), self.clock)
        gather = Gather(asked, policies, self.clock, self.smtp_port, lambda: scenario.resolver_trusted)
        sessions = Sessions(self.dialer, lambda requirement, facts: judge(requirement, facts, self.roots))
        connector = self._connector(scenario, modes)
        deliver = Deliver(
            lambda message, domain: connector, Plans(gather), sessions, NoNotices(), self.clock, lambda: scenario.chance,
            DeliverRules(port=self.smtp_port, allow_private_destinations=True),
        )  # fmt: skip
        sim_id = f"{scenario.name}/{next(self._ids)}"
        message, group = self._message(scenario, sim_id)
        try:
            async with self._room:
                settled = await deliver.run(group, message)
        finally:
            await sessions.close()
            await policies.close()
        line = names.told(line_of(settled))
        self._check_mail(line, sim_id, settled)
        return Ran(settled, tuple((rtype, names.told(name)) for rtype, name in asked.asked), line)

    def _cached(self, scenario: Scenario) -> Iterator[CachedPolicy]:
        if scenario.cached:
            names, then = self.names[scenario.name], datetime.now(UTC) - timedelta(hours=1)
            text = names.real(scenario.cached)
            yield CachedPolicy(names.real("contoso.test"), "0", text, then, then + timedelta(days=7), then)

    def _connector(self, scenario: Scenario, modes: Modes) -> Connector:
        names = self.names[scenario.name]
        fields = dict(scenario.connector)
        for field, value in fields.items():
            if isinstance(value, str):
                fields[field] = names.real(value)
            elif isinstance(value, tuple):
                fields[field] = tuple(names.real(item) for item in value)
        connector = Connector(guid=scenario.name, name=scenario.name, smtp_dane_mode=modes[0], mta_sts_mode=modes[1], **fields)
        now, domain = self.clock.now(), names.real(scenario.to)
        if scenario.ruled is not None:
            when = Conditions(recipient_domain_is=(domain,))
            rule = TransportRule(guid="r1", name="More for some", when=when, smtp_dane_mode=scenario.ruled)
            return RulesInForce()(self._message(scenario, "ruled")[0], domain, connector, (rule,), (connector,))
        if scenario.excepted is None:
            return connector
        exception = TimedException(
            id="x1", organization=connector.organization, connector_guid=connector.guid, connector_name=connector.name,
            domain=domain, smtp_dane_mode=scenario.excepted, created_at=now, until=now + timedelta(days=1),
            reason="their certificate is being replaced", author="alice",
        )  # fmt: skip
        return apply(connector, exception, domain, now)

    def _message(self, scenario: Scenario, sim_id: str) -> tuple[Message, Group]:
        now = self.clock.now()
        domain = self.names[scenario.name].real(scenario.to)
        recipients = (Recipient(f"bob@{domain}"),)
        envelope = Envelope("alice@sender.test", recipients, require_tls=scenario.require_tls)
        content = f"X-Sim-Id: {sim_id}\r\nSubject: {scenario.name}\r\n\r\nHello\r\n".encode()
        message = Message(sim_id, "default", envelope, content, now, tls_required_no=scenario.tls_required_no)
        return message, Group(sim_id, sim_id, domain, recipients, now, now)

    def _check_mail(self, line: str, sim_id: str, settled: Settled) -> None:
        """The mail host is the witness."""
        copies = self.mail.by_id(sim_id)
        if not line.startswith("delivered"):
            assert copies == [], f"{line}, and yet it arrived"
            return
        assert len(copies) == 1, f"{line}, and {len(copies)} copies arrived"
        requirement = settled.attempts[-1].requirement
        assert requirement is not None
        if line.startswith("delivered plain"):
            assert not copies[0].tls_version, f"{line}, with TLS {copies[0].tls_version}"
        else:
            assert copies[0].tls_version in ("TLSv1.2", "TLSv1.3"), f"{line}, with TLS {copies[0].tls_version!r}"
            assert copies[0].sni == (requirement.sni or ""), f"{line}, with SNI {copies[0].sni!r}"


def _agreeing(expected: str, line: str) -> str:
    """The expected line where that leaves its end open and agrees, else the line as it was."""
    return expected if expected.endswith("…") and line.startswith(expected[:-1]) else line


def world_of(scenarios: Sequence[Scenario]) -> Any:
    """The fixture of a module: one Lab for all its scenarios."""

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def lab() -> AsyncIterator[Lab]:
        async with Lab(scenarios) as running:
            yield running

    return lab


def line_of(settled: Settled) -> str:
    """What became of the message, in one line."""
    (fate,) = settled.fates
    tried = list(settled.attempts)
    match fate.fate:
        case Fate.DELIVERED:
            last = tried.pop()
            assert last.verdict is not None
            line = f"delivered {last.verdict.protection.value} via {last.host}"
            before = [f"{item.host} {_code(item)}" for item in tried]
            if before:
                line += f", after {', '.join(before)}"
        case Fate.DEFERRED:
            assert fate.finding is not None
            line = f"held {fate.finding.queued()}"
        case Fate.FAILED:
            assert fate.finding is not None
            line = f"returned {fate.finding.returned()}"
    results = dict.fromkeys(result.value for attempt in settled.attempts for result in attempt.tls_report)
    return f"{line}; TLS report: {', '.join(results)}" if results else line


def _code(attempt: Attempt) -> str:
    finding = attempt.finding
    return f"{finding.enhanced(4)} {finding.reason.value}" if finding else "none"


def _check_rows(scenario: Scenario, modes: Modes, ran: Ran) -> None:
    """Rows of a mechanism that is off, and rows that combine mechanisms, need not be there under every mode."""
    wanted = set(scenario.rows.split()) - TOGETHER
    if modes[0] is SmtpDaneMode.NONE and not scenario.require_tls:
        wanted = {row for row in wanted if row not in DANE} | {"dane-off"}
    if modes[1] is MtaStsMode.NONE and not scenario.require_tls:
        wanted = {row for row in wanted if row not in STS and row != "sts-cached"} | {"sts-off"}
    wanted -= {"dane-off", "sts-off"} if not any(attempt.host for attempt in ran.attempts) else set()
    missing = wanted - ran.rows
    assert not missing, f"{scenario.name} under {named(modes)}: {ran.line}: not by {missing} but {sorted(ran.rows)}"


def _check_together(scenario: Scenario, runs: Iterable[Ran]) -> None:
    found = {row for ran in runs for row in ran.rows}
    missing = (set(scenario.rows.split()) & TOGETHER) - found
    assert not missing, f"{scenario.name}: never by {missing}"


def _check_shadow(scenario: Scenario, runs: dict[Modes, Ran]) -> None:
    """Where Opportunistic delivers at the only host, its shadow verdict is what Mandatory does."""
    opportunistic = runs.get((SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.OPPORTUNISTIC))
    if opportunistic is None or len(opportunistic.attempts) != 1:
        return
    verdict = opportunistic.attempts[0].verdict
    if verdict is None or verdict.finding is not None:
        return
    strict = {
        (SmtpDaneMode.MANDATORY, MtaStsMode.OPPORTUNISTIC): verdict.would_satisfy_dane,
        (SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.MANDATORY): verdict.would_satisfy_sts,
    }
    for modes, shadow in strict.items():
        if modes in runs and not (scenario.tls_required_no or scenario.require_tls or scenario.excepted):
            delivered = runs[modes].line.startswith("delivered")
            assert shadow is delivered, f"{scenario.name}: the shadow says {shadow}, {named(modes)}: {runs[modes].line}"
    assert (verdict.protection is Protection.DANE) <= bool(verdict.would_satisfy_dane)
