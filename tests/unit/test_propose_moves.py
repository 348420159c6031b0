"""services/propose_moves: what is proposed for which partner, and how many are looked at at once."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector
from sealroute.policy.readiness import Mechanism
from sealroute.services import propose_moves
from sealroute.services.analyze import Analyzer
from sealroute.services.propose_moves import Partner, Target, decide, look, not_ready, pinned, propose, propose_all, state_of
from sealroute.services.survey import Row, Standing
from tests.unit.test_move import PINNED


def partner(domain: str = "fabrikam.com", *, dane: bool = True, sts: bool = False, **changes: Any) -> Partner:
    row = Row(domain, "", Standing.DANE, True, dane_mandatory=dane, sts_mandatory=sts, sentence=changes.pop("sentence", ""))
    hosts = (f"mx.{domain}",)
    return replace(Partner(domain, row, hosts, (), ("192.0.2.1",), ()), **changes)


@pytest.mark.parametrize(
    ("partners", "target", "why"),
    [
        (
            [partner()],
            Target.DANE,
            "every mail host has TLSA records, and mail would be delivered under SmtpDaneMode Mandatory",
        ),
        ([partner(sts=True)], Target.DANE, "every mail host has TLSA"),
        ([partner(dane=False, sts=True)], Target.STS, "an MTA-STS policy in enforce mode holds"),
        ([partner(sts=True, without_tlsa=("mx2.fabrikam.com",))], Target.STS, "an MTA-STS policy"),
        (
            [partner(without_tlsa=("mx2.fabrikam.com",))],
            Target.STAY,
            "fabrikam.com: mx2.fabrikam.com has no usable TLSA record",
        ),
        ([partner(hosts=())], Target.STAY, "fabrikam.com: neither DANE nor MTA-STS would hold"),
        ([partner(dane=False, sentence="it is broken")], Target.STAY, "fabrikam.com: it is broken"),
        ([partner(), partner("b.test", dane=False, sts=True)], Target.STAY, "fabrikam.com: neither"),
        ([partner(sts=True), partner("b.test", dane=False, sts=True)], Target.STS, "an MTA-STS policy"),
        ([partner(), partner("b.test", dane=False, sentence="no")], Target.STAY, "fabrikam.com: neither"),
        ([], Target.STAY, "it has no domain to look at"),
    ],
)
def test_what_it_can_become(partners: list[Partner], target: Target, why: str) -> None:
    found = decide(PINNED, partners)
    assert found.target is target
    assert found.why.startswith(why)
    assert bool(found.steps) == (target is not Target.STAY)


def test_each_mechanism_is_asked_of_every_partner() -> None:
    both = [partner(sts=True), partner("b.test")]
    assert not_ready(Mechanism.DANE, both) == ""
    assert not_ready(Mechanism.MTA_STS, both) == "b.test: neither DANE nor MTA-STS would hold"


@pytest.mark.parametrize(
    ("smart_hosts", "gone", "new"),
    [
        (("192.0.2.1",), (), ()),
        (("192.0.2.0/24",), (), ()),
        (("mx.fabrikam.com",), (), ()),
        (("[mx.fabrikam.com]",), (), ()),
        (("192.0.2.9",), ("192.0.2.9",), ("192.0.2.1",)),
        (("198.51.100.0/24", "192.0.2.1"), ("198.51.100.0/24",), ()),
        (("old.fabrikam.com", "192.0.2.9"), ("old.fabrikam.com", "192.0.2.9"), ()),
    ],
)
def test_pinned_hosts_beside_todays(smart_hosts: tuple[str, ...], gone: tuple[str, ...], new: tuple[str, ...]) -> None:
    found = decide(replace(PINNED, smart_hosts=smart_hosts), [partner()])
    assert (found.pinned_and_gone, found.not_pinned) == (gone, new)


def test_addresses_that_are_not_pinned_come_once_each() -> None:
    found = decide(
        PINNED, [partner(addresses=("192.0.2.7", "192.0.2.8")), partner("b.test", addresses=("192.0.2.8", "192.0.2.1"))]
    )
    assert found.not_pinned == ("192.0.2.7", "192.0.2.8")


@pytest.mark.parametrize(("name", "written"), [("To Fabrikam", "'To Fabrikam'"), ("it's", "'it'\"'\"'s'"), ("$(x)", "'$(x)'")])
def test_steps_are_command_lines(name: str, written: str) -> None:
    steps = decide(
        replace(PINNED, name=name, validation_recipients=("bob@fabrikam.com", "eve@fabrikam.com")), [partner()]
    ).steps
    commands = [step.command for step in steps if step.command]
    assert [command.split(" ")[1] for command in commands] == ["migrate", "Validate-OutboundConnector", *["migrate"] * 3]
    assert all(name in shlex.split(command) for command in commands)
    assert commands[0] == f"sealroute migrate start {written}"
    assert commands[1].endswith("-Recipients bob@fabrikam.com")
    assert "SmtpDaneMode Opportunistic" in steps[2].what
    without = decide(PINNED, [partner(dane=False, sts=True)]).steps
    assert without[3].command.endswith("-Recipients postmaster@fabrikam.com")
    assert "MtaStsMode Opportunistic" in without[2].what


def test_what_is_pinned() -> None:
    others = [
        replace(PINNED, use_mx_record=True, smart_hosts=()),
        replace(PINNED, recipient_domains=()),
        replace(PINNED, recipient_domains=("fabrikam.com", "*")),
    ]
    assert pinned([PINNED, *others]) == [PINNED]


def test_what_is_kept_of_a_partner() -> None:
    kept = state_of(partner(without_tlsa=("mx2.fabrikam.com",)))
    assert (kept.domain, kept.standing, kept.hosts, kept.without_tlsa) == (
        "fabrikam.com", "dane", ("mx.fabrikam.com",), ("mx2.fabrikam.com",),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ looking


class FakeAnalyzer:
    """Finds what it is told, or raises it, after a turn; remembers how many are looked at at once."""

    def __init__(self, *, error: Exception | None = None, seconds: float = 0.0) -> None:
        self.error = error
        self.seconds = seconds
        self.now = self.most = 0
        self.asked: list[tuple[str, Connector]] = []

    async def run(self, domain: str, connector: Connector, **_: Any) -> Any:
        self.asked.append((domain, connector))
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        if self.error is not None:
            raise self.error
        return domain


@pytest.fixture(autouse=True)
def what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propose_moves, "partner_of", lambda found, connector: partner(found))


def analyzer(**how: Any) -> tuple[FakeAnalyzer, Analyzer]:
    fake = FakeAnalyzer(**how)
    return fake, cast(Analyzer, fake)


@pytest.mark.parametrize(
    ("domains", "why"),
    [
        (("fabrikam.com", "*.fabrikam.com"), "*.fabrikam.com names no single domain to look at"),
        (tuple(f"d{n}.test" for n in range(21)), "it has more than 20 domains; split it"),
    ],
)
async def test_what_cannot_be_looked_at_is_proposed_nothing(domains: tuple[str, ...], why: str) -> None:
    fake, engine = analyzer()
    found = await propose(engine, replace(PINNED, recipient_domains=domains))
    assert (found.target, found.why, found.partners, fake.asked) == (Target.STAY, why, (), [])


async def test_mail_by_mx_is_what_is_looked_at() -> None:
    fake, engine = analyzer()
    connector = replace(PINNED, recipient_domains=("a.test", "b.test"))
    found = await look(engine, connector)
    assert [item.domain for item in found] == ["a.test", "b.test"]
    by_mx = replace(connector, use_mx_record=True, smart_hosts=(), tls_settings=None, tls_domain=None)
    assert fake.asked == [("a.test", by_mx), ("b.test", by_mx)]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"error": OperatorError.one("store", "it is gone.")}, "store: it is gone."),
        ({"seconds": 60.0}, "not finished within 0.01 s"),
    ],
)
async def test_what_could_not_be_looked_at_stays_pinned(
    how: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propose_moves, "DOMAIN_SECONDS", 0.01)
    found = await propose(analyzer(**how)[1], PINNED)
    assert (found.target, found.why) == (Target.STAY, f"fabrikam.com: {sentence}")
    assert found.partners[0].row.standing is Standing.UNKNOWN


async def all_of(engine: Analyzer, connectors: Sequence[Connector]) -> set[str]:
    return {item.connector.guid async for item in propose_all(engine, connectors)}


async def test_many_are_looked_at_at_once_but_not_all() -> None:
    many = [
        replace(PINNED, guid=str(number), recipient_domains=tuple(f"d{number}-{index}.test" for index in range(5)))
        for number in range(40)
    ]
    fake, engine = analyzer()
    assert await all_of(engine, many) == {str(number) for number in range(40)}
    assert fake.most == propose_moves.DOMAINS_AT_ONCE
    assert len(fake.asked) == 200
    assert await all_of(engine, []) == set()
