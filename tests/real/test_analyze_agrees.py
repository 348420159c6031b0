"""The analyzer against delivery: over every scenario of the simulated internet and all sixteen pairs of modes, no difference.

Both run over real sockets in the same world.  What delivery does is told by services/deliver with a message that really goes;
what the analyzer says, by services/analyze, which sends none.  Compared: deliver, hold or return; how the message travels and
over which server; the whole finding with keyword, code and sentence.

The analyzer stops before MAIL, so what servers answer to MAIL, RCPT and content it cannot know; no scenario's server says no
there, which is asserted too.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import replace
from types import ModuleType

import pytest

from sealroute.net.https import FetchRules, HttpsPolicyFetcher
from sealroute.ports import PolicyCache, Settled
from sealroute.services.analysis.model import ALL_MODES, Analysis, Outcome
from sealroute.services.analyze import Analyzer, Engine, outcome_of
from sealroute.services.deliver import DeliverRules
from sealroute.services.probe import Probes
from sealroute.services.sts import StsPolicies
from tests.real import (
    test_scenarios_dane,
    test_scenarios_dns,
    test_scenarios_hosts,
    test_scenarios_mistakes,
    test_scenarios_sts,
    test_scenarios_tls,
)
from tests.real.scenario import D, S, Scenario, named
from tests.real.scenario_lab import FETCH_SECONDS, Lab
from tests.real.scenario_standins import MemoryCache

MODULES: tuple[ModuleType, ...] = (
    test_scenarios_dane,
    test_scenarios_dns,
    test_scenarios_hosts,
    test_scenarios_mistakes,
    test_scenarios_sts,
    test_scenarios_tls,
)

EARLIER = re.compile(
    r"validation failure <[^>]*>"
    r"(?:: key for validation \S+ is marked as invalid because of a previous validation failure <[^>]*>)?"
)


def scenarios(module: ModuleType) -> list[Scenario]:
    """Those without wishes of the message's own: an analysis is of a domain, not of a message."""
    return [replace(item, slow=False) for item in module.SCENARIOS if not (item.require_tls or item.tls_required_no)]


def analyzer(lab: Lab, scenario: Scenario) -> tuple[Analyzer, StsPolicies]:
    fetcher = HttpsPolicyFetcher(
        lab.resolver, lab.tls_context, FetchRules(lab.policies.port, FETCH_SECONDS, allow_private=True)
    )

    def policies(cache: PolicyCache) -> StsPolicies:
        return StsPolicies(lab.resolver, fetcher, cache, lab.clock)

    known = policies(MemoryCache(*lab._cached(scenario)))
    engine = Engine(
        lab.resolver, lab.resolver, known, policies(MemoryCache()), lab.roots, lab.clock,
        DeliverRules(port=lab.smtp_port, allow_private_destinations=True), lambda: scenario.resolver_trusted,
        chance=lambda: scenario.chance,
    )  # fmt: skip
    return Analyzer(engine, Probes(lab.dialer)), known


def spoke_later(settled: Settled) -> bool:
    """Whether a server answered MAIL or what follows, and not by taking the message at once."""
    said = {command[:4].upper() for attempt in settled.attempts for command, _ in attempt.replies}
    refused = any(fate.finding is not None for attempt in settled.attempts for fate in attempt.recipients)
    return "MAIL" in said and refused


def told(outcome: Outcome) -> tuple[object, ...]:
    """What is compared."""
    protection = outcome.protection.value if outcome.protection else ""
    finding = outcome.finding
    reason = finding.reason.value if finding else ""
    # For a broken zone the validator names the question at which it noticed first, which hangs on what it was asked before.
    sentence = EARLIER.sub("validation failure <…>", outcome.sentence)
    return outcome.would.value, protection, outcome.host, outcome.ip, reason, outcome.code, sentence


async def analysed(lab: Lab, scenario: Scenario) -> Analysis:
    run, policies = analyzer(lab, scenario)
    connector = lab._connector(scenario, (D.OPPORTUNISTIC, S.OPPORTUNISTIC))
    domain = lab.names[scenario.name].real(scenario.to)
    try:
        return await run.run(domain, connector)
    finally:
        await policies.close()


async def differences(lab: Lab, scenario: Scenario, seen: Counter[str]) -> list[str]:
    analysis = await analysed(lab, scenario)
    ran = await asyncio.gather(*(lab.run(scenario, modes) for modes in ALL_MODES))
    found = []
    for modes, run in zip(ALL_MODES, ran, strict=True):
        connector = lab._connector(scenario, modes)
        ours = analysis.outcome(connector.smtp_dane_mode, connector.mta_sts_mode)
        theirs = outcome_of(connector, run.settled)
        assert ours is not None
        seen["compared"] += 1
        seen[theirs.would.value] += 1
        assert not spoke_later(run.settled), scenario.name
        if told(ours) != told(theirs):
            found.append(f"{scenario.name}, {named(modes)}:\n  analyzer {told(ours)}\n  delivery {told(theirs)}")
    return found


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition("_")[2])
async def test_the_analyzer_says_what_delivery_does(module: ModuleType) -> None:
    chosen = scenarios(module)
    seen: Counter[str] = Counter()
    async with Lab(chosen) as lab:
        sent = len(lab.mail.messages)
        found = [line for scenario in chosen for line in await differences(lab, scenario, seen)]
        arrived = len(lab.mail.messages) - sent
    print(f"{module.__name__}: {len(chosen)} scenarios, {dict(seen)}, {arrived} messages, {len(found)} differences")
    assert not found, "\n".join(found[:4])
    assert seen["compared"] == 16 * len(chosen)
