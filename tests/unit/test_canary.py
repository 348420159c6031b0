"""The resolver's gate: what a round of probes means, in words, and when it is asked again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sealroute.base.dnsdata import Security
from sealroute.services.canary import Canary, CanaryNames, CanaryReport, Probe
from tests.unit.fakes import NOW, FakeClock, FakeResolver

S, N, B, U = Security.SECURE, Security.INSECURE, Security.BOGUS, Security.UNKNOWN
NAMES = CanaryNames(("signed.example", "signed2.example"), ("plain.example", "plain2.example"), ("broken.example",))
BROKEN = Probe("broken.example", B, B, "signature does not verify")


def report(*seen: Security) -> CanaryReport:
    """Two signed names, two unsigned ones and a broken one, seen like this."""
    kinds = [S, S, N, N, B]
    names = (*NAMES.signed, *NAMES.unsigned, *NAMES.broken)
    return CanaryReport(NOW, tuple(map(Probe, names, kinds, seen)))


FINE = "the resolver tells valid DNSSEC from invalid"
CASES = [
    ((S, S, N, N, B), True, FINE, ""),
    ((S, S, N, N, U), True, FINE, ""),
    ((U, S, N, U, B), True, FINE, ""),
    ((S, B, S, N, B), True, FINE, ""),
    (
        (U, U, U, U, U), False,
        "the resolver gives no answers: signed.example should be secure and is unknown; signed2.example should be secure and is "
        "unknown; plain.example should be insecure and is unknown; plain2.example should be insecure and is unknown",
        "Check the network, that port 53 is open for UDP and TCP, and the servers in [resolver].",
    ),
    (
        (B, B, B, B, B), False,
        "the resolver cannot validate: signed.example should be secure and is bogus; signed2.example should be secure and is "
        "bogus; plain.example should be insecure and is bogus; plain2.example should be insecure and is bogus",
        "Check trust anchors and the machine's clock, and that forwarders pass DNSSEC records on.",
    ),
    (
        (S, S, N, N, N), False, "the resolver cannot validate: broken.example should be bogus and is insecure",
        "The resolver accepts broken signatures: it does not validate. Use one that does.",
    ),
    (
        (N, N, N, N, B), False,
        "the resolver cannot validate: signed.example should be secure and is insecure; signed2.example should be secure and is "
        "insecure",
        "Signed names come back without proof: the resolver does not validate, or does not say so (AD bit).",
    ),
    (
        (S, S, S, S, B), False,
        "the resolver cannot validate: plain.example should be insecure and is secure; plain2.example should be insecure and is "
        "secure",
        "If the unsigned zone has been signed meanwhile, set resolver.canary_unsigned to another; else do not trust it.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "believed", "sentence", "advice"), CASES)
def test_what_a_round_means(seen: tuple[Security, ...], believed: bool, sentence: str, advice: str) -> None:
    found = report(*seen)
    assert (found.can_validate, found.sentence, found.advice) == (believed, sentence, advice)


def test_a_resolver_that_is_not_to_be_believed_is_not_whatever_it_says() -> None:
    found = CanaryReport(NOW, report(S, S, N, N, B).probes, "its AD bit comes from afar")
    assert (found.can_validate, found.sentence, found.advice) == (False, "its AD bit comes from afar", "")


def test_a_probe_says_why() -> None:
    assert str(BROKEN) == "broken.example should be bogus and is bogus (signature does not verify)"


class World:
    """A resolver and a gate before it."""

    def __init__(self, names: CanaryNames | None = NAMES, standing: str = "") -> None:
        self.dns = FakeResolver()
        self.repair()
        self.forgotten = 0
        self.canary = Canary(lambda: self.dns, names, FakeClock(), timedelta(minutes=5), standing, self.forget)

    def forget(self) -> None:
        self.forgotten += 1

    def repair(self) -> None:
        for name in NAMES.signed:
            self.dns.has("A", name, "192.0.2.1")
        for name in NAMES.unsigned:
            self.dns.has("A", name, "192.0.2.1", security=N)
        for name in NAMES.broken:
            self.dns.fails("A", name, B, "signature does not verify")

    def cut(self) -> None:
        for name in (*NAMES.signed, *NAMES.unsigned, *NAMES.broken):
            self.dns.fails("A", name, detail="no answer within 20 s")


async def test_nothing_is_believed_before_the_first_round() -> None:
    world = World()
    assert not world.canary.trusted()
    assert world.canary.why_not() == "the resolver was not probed yet"
    assert (await world.canary.probe()).can_validate
    assert world.canary.trusted()
    assert world.canary.why_not() == ""


@pytest.mark.parametrize("standing", ["", "its AD bit comes from afar"])
async def test_without_names_nothing_is_asked_and_only_what_is_known_beforehand_counts(standing: str) -> None:
    world = World(None, standing)
    assert world.canary.trusted() == (standing == "")
    assert world.canary.why_not() == standing
    found = await world.canary.probe()
    assert found.sentence == (standing or "not probed")
    assert world.dns.asked == []


async def test_what_came_while_the_gate_was_shut_is_forgotten_when_it_opens() -> None:
    world = World()
    world.cut()
    for change, forgotten in ((world.cut, 0), (world.repair, 1), (world.repair, 2), (world.repair, 2), (world.cut, 2),
                              (world.repair, 3)):  # fmt: skip
        change()
        await world.canary.probe()
        assert world.forgotten == forgotten


async def test_the_loop_asks_soon_again_while_anything_is_wrong_and_tells_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    await world.canary.probe()
    waits: list[float] = []
    heard: list[bool] = []
    after = {1: world.cut, 3: world.repair}

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) in after:
            after[len(waits)]()
        if len(waits) == 5:
            raise asyncio.CancelledError

    monkeypatch.setattr("sealroute.services.canary.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await world.canary.loop(lambda found: heard.append(found.can_validate))
    assert waits == [300, 15, 15, 300, 300]
    assert heard == [False, True]


def test_every_kind_has_a_default_in_the_public_tree_and_none_in_a_tree_of_ones_own() -> None:
    from sealroute.settings.outbound import Resolver

    signed, unsigned, broken = Resolver().canaries or ((), (), ())
    assert signed
    assert unsigned
    assert broken
    named = Resolver(canary_broken="broken.example").canaries
    assert named == (signed, unsigned, ("broken.example",))
    own: dict[str, Any] = {"stub_zones": [{"zone": "corp.example", "addresses": ["192.0.2.53"]}]}
    assert Resolver.model_validate(own).canaries is None
    with pytest.raises(ValueError, match="canary_signed, canary_unsigned is missing; name all three canaries or none"):
        Resolver.model_validate(own | {"canary_broken": "broken.example"})
