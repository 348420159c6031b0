"""services/analyze on fakes: the same walk as delivery, each target dialled once, and our own store's troubles."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sealroute.base.chain import TrustRoots
from sealroute.base.dnsdata import Outcome, Security
from sealroute.base.dnssec import SignedAnswer
from sealroute.base.errors import SealrouteError, StoreUnavailable
from sealroute.faces.analysis_html import page
from sealroute.faces.analysis_words import Report
from sealroute.faces.cli.analysis_screen import show
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Reason
from sealroute.policy.transport.rule import Conditions, TransportRule
from sealroute.services.analysis.model import Analysis, Would
from sealroute.services.analyze import Analyzer, Engine
from sealroute.services.compare_resolvers import Witness, compare
from sealroute.services.deliver import DeliverRules
from sealroute.services.foresee import Configured, Foresight
from sealroute.services.probe import Probes
from tests.unit.deliver_world import CONNECTOR, HIGH, LOW, World
from tests.unit.fakes import OTHER_CERTIFICATE, TLS, FakeResolver, FakeStsPolicies, Peer, turns

DOMAIN = "contoso.com"
WRONG = Peer(facts=replace(TLS, chain=(OTHER_CERTIFICATE,)))


class NoSignatures:
    """ports.Signatures of a resolver that passes none on."""

    async def signed(self, name: str, rtype: str) -> SignedAnswer:
        return SignedAnswer(name, rtype, Outcome.NODATA, Security.INSECURE)


def analyzer(world: World) -> Analyzer:
    engine = Engine(
        world.dns, NoSignatures(), world.sts, FakeStsPolicies(), TrustRoots([]), world.clock,
        DeliverRules(allow_private_destinations=world.rules.allow_private_destinations),
    )  # fmt: skip
    return Analyzer(engine, Probes(world.dialer))


async def analysed(world: World) -> Analysis:
    return await analyzer(world).run(DOMAIN, CONNECTOR)


async def test_every_host_is_dialled_once_also_those_delivery_would_not_reach() -> None:
    world = World()
    world.two(Peer(), Peer(), tlsa=True)
    analysis = await analysed(world)
    assert sorted(world.dialer.addresses) == [LOW, HIGH]
    assert analysis.would_deliver
    assert {outcome.host for outcome in analysis.outcomes if outcome.would is Would.DELIVER} == {"mx1.contoso.com"}
    assert len(analysis.outcomes) == 16
    assert [sent for session in world.dialer.sessions for sent in session.sent] == []
    assert len(world.dns.asked) == len(set(world.dns.asked)), "no question is asked twice"


async def test_a_mismatch_at_the_first_host_goes_on_to_the_second_as_delivery_does() -> None:
    world = World()
    world.two(WRONG, Peer(), tlsa=True)
    analysis = await analysed(world)
    outcome = analysis.outcome(SmtpDaneMode.MANDATORY, MtaStsMode.OPPORTUNISTIC)
    assert outcome is not None
    assert (outcome.would, outcome.host) == (Would.DELIVER, "mx2.contoso.com")
    off = analysis.outcome(SmtpDaneMode.NONE, MtaStsMode.NONE)
    assert off is not None
    assert off.host == "mx1.contoso.com"


async def test_what_was_asked_about_is_marked_and_run_even_when_not_listed() -> None:
    world = World()
    asked = (SmtpDaneMode.MANDATORY, MtaStsMode.MANDATORY)
    usual = (SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.OPPORTUNISTIC)
    analysis = await analyzer(world).run(DOMAIN, CONNECTOR, asked=(asked,), modes=(usual,), chain_of_trust=False)
    assert {outcome.modes: outcome.in_force for outcome in analysis.outcomes} == {usual: False, asked: True}
    assert not analysis.would_deliver


async def test_addresses_that_our_settings_forbid_are_shown_and_not_dialled() -> None:
    world = World(rules=DeliverRules())
    analysis = await analysed(world)
    assert world.dialer.dialled == []
    assert all(outcome.would is not Would.DELIVER for outcome in analysis.outcomes)
    (asked,) = analysis.in_force
    assert asked.finding is not None
    assert asked.finding.reason is Reason.ADDRESS_NOT_ALLOWED
    (host,) = analysis.seen.hosts
    assert [ip for ip, _ in host.skipped] == ["192.0.2.1"]


async def test_a_stored_policy_that_cannot_be_read_holds_as_it_does_in_delivery() -> None:
    world = World()
    world.sts.known[DOMAIN] = SealrouteError("The stored MTA-STS policy cannot be read.")
    analysis = await analysed(world)
    settled = await world.run()
    assert settled.finding is not None
    for outcome in analysis.outcomes:
        if outcome.sts_mode is MtaStsMode.NONE:
            assert outcome.would is Would.DELIVER or outcome.dane_mode is SmtpDaneMode.MANDATORY
        else:
            assert outcome.finding is not None
            assert outcome.finding.queued() == settled.finding.queued()
    assert analysis.seen.hosts, "the hosts are shown all the same"


async def test_a_store_that_is_away_is_told_to_the_caller() -> None:
    world = World()
    world.sts.known[DOMAIN] = StoreUnavailable("the disk is full")
    with pytest.raises(StoreUnavailable):
        await analysed(world)


async def test_many_at_a_time_share_probes_and_nothing_else() -> None:
    world = World()
    run = analyzer(world)
    first, second = await asyncio.gather(run.run(DOMAIN, CONNECTOR), run.run(DOMAIN, CONNECTOR))
    assert [outcome.sentence for outcome in first.outcomes] == [outcome.sentence for outcome in second.outcomes]
    assert len(world.dialer.dialled) == 1


async def test_giving_up_leaves_nothing_under_way() -> None:
    world = World()
    world.dns.gate = asyncio.Event()
    before = len(asyncio.all_tasks())
    task = asyncio.ensure_future(analysed(world))
    await turns()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await turns()
    assert len(asyncio.all_tasks()) == before


async def test_a_resolver_that_is_not_believed_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    world, far = World(), FakeResolver()
    analysis = await analysed(world)
    far.has("A", "mx.contoso.com", "203.0.113.9")
    witnesses = (Witness("ours", world.dns, True), Witness("203.0.113.53", far, False, "not on this machine"))
    show(Report(analysis, witnesses, await compare(witnesses, analysis.asked)))
    shown = capsys.readouterr().out
    assert "203.0.113.53  not believed: not on this machine" in shown
    assert "203.0.113.53  secure (claimed, not believed): 203.0.113.9" in shown
    assert "✗ A mx.contoso.com" in shown


async def test_rules_that_apply_are_carried_out_and_those_that_may_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.two(Peer(), Peer(), tlsa=True)
    certain = TransportRule(guid="r1", name="Strict", smtp_dane_mode=SmtpDaneMode.MANDATORY)
    may = replace(certain, guid="r2", name="Label", priority=1, when=Conditions(subject_contains_words=("secret",)))
    course = Foresight(Configured(CONNECTOR, rules=[certain, may]), world.clock.now()).of(DOMAIN)
    analysis = await analyzer(world).run(DOMAIN, course.connector)
    (in_force,) = analysis.in_force
    assert in_force.modes == (SmtpDaneMode.MANDATORY, CONNECTOR.mta_sts_mode)
    assert [effect.name for effect in in_force.attempts[-1].transport_rules] == ["Strict"]
    report = Report(analysis, rules=course.rules())
    show(report)
    shown = capsys.readouterr().out
    assert "rule 'Strict' applies: SmtpDaneMode Opportunistic -> Mandatory" in shown
    assert "rule 'Label' may apply: demands nothing that is not demanded already\n    depends on SubjectContainsWords" in shown
    assert "Label" not in page([report]), "the partner need not know what our rules look for"
