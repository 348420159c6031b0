"""services/validate: every next hop is seen, and each failure of an Attempt is one failed task with its own words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from sealroute.base.errors import InputError
from sealroute.base.status import Enhanced, Reply
from sealroute.policy.attempt import Attempt, Timings
from sealroute.policy.decide import Plan
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.reasons import Finding, Reason
from sealroute.services.ids import IdSource
from sealroute.services.reach import Reach
from sealroute.services.validate import Bench, Sender, validate, validation_record
from sealroute.services.validation.model import TaskName, TaskStatus, Validation
from sealroute.services.validation.servers import STEPS, step_of
from tests.unit.deliver_world import CONNECTOR, HIGH, LONE, LOW, MANDATORY, World
from tests.unit.fakes import BROKEN_TLS, NO_STARTTLS, NOW, OTHER_TLS, Peer

N, S = TaskName, TaskStatus
STRICT = replace(MANDATORY, tls_settings=TlsSettings.CERTIFICATE_VALIDATION)


@dataclass
class Bound:
    """A world and what was planned in it."""

    world: World
    planned: dict[str, Plan]

    async def run(self, *recipients: str) -> Validation:
        world = self.world
        reach = Reach(world.sessions, world.clock, lambda: 0.5, world.rules)
        bench = Bench(
            world.deliver, reach, world.sessions.judge, self.planned.get, lambda _: world.connector
        )  # fmt: skip
        return await validate(bench, recipients, Sender("gateway.test", "postmaster@gateway.test"), IdSource(), NOW)


def bound(world: World) -> Bound:
    planned: dict[str, Plan] = {}
    world.plans.made = lambda _, plan: planned.update({plan.evidence.domain: plan})
    return Bound(world, planned)


def by_name(found: Validation, target: str = "") -> dict[TaskName, TaskStatus]:
    return {task.name: task.status for task in found.tasks if target in task.target}


async def test_the_mail_takes_the_first_host_and_the_second_is_opened_too() -> None:
    world = World(MANDATORY)
    world.two(Peer(), Peer(), tlsa=True)
    found = await bound(world).run("bob@contoso.com")
    assert found.succeeded
    assert sorted(world.dialer.addresses) == [LOW, HIGH]
    assert [len(session.sent) for session in world.dialer.sessions] == [1, 0]
    assert by_name(found, HIGH)[N.DANE] is S.SUCCEEDED
    assert by_name(found, HIGH)[N.STARTTLS] is S.SUCCEEDED
    assert N.MAIL not in by_name(found, HIGH)


async def test_a_spare_host_that_fails_spoils_the_validation_and_not_the_mail() -> None:
    world = World(MANDATORY)
    world.two(Peer(), Peer(OTHER_TLS), tlsa=True)
    found = await bound(world).run("bob@contoso.com")
    assert [mail.delivered for mail in found.mails] == [True]
    assert not found.succeeded
    assert found.without_way == ("mx2.contoso.com",)
    (failed,) = [task for task in found.tasks if task.status is S.FAILED]
    assert (failed.name, failed.code) == (N.DANE, "4.7.323")
    assert failed.sentence.startswith("tlsa-invalid: The domain failed DANE validation")


async def test_one_address_of_a_host_is_enough_for_it() -> None:
    world = World(CONNECTOR)
    world.hosts(("mx.contoso.com", 10, [LOW, HIGH]))
    world.dialer.peers = {HIGH: Peer()}
    found = await bound(world).run("bob@contoso.com")
    assert found.succeeded
    assert by_name(found, LOW)[N.CONNECT] is S.FAILED


async def test_two_requirements_that_fail_are_two_tasks_each_with_its_own_reason() -> None:
    world = World(STRICT)
    world.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    world.dialer.peers = {LONE: Peer(OTHER_TLS)}
    found = await bound(world).run("bob@contoso.com")
    failed = {task.name: task.finding.reason for task in found.tasks if task.status is S.FAILED and task.finding}
    assert failed[N.DANE] is Reason.TLSA_INVALID
    assert failed[N.CERTIFICATE] is Reason.TLS_CERTIFICATE


async def test_recipients_of_one_domain_share_its_next_hops() -> None:
    world = World(CONNECTOR)
    world.dialer.peers[LONE] = Peer(rcpt={"eve@contoso.com": "550 5.1.1 Unknown"})
    found = await bound(world).run("bob@contoso.com", "eve@contoso.com")
    assert [(mail.recipient, mail.delivered) for mail in found.mails] == [("bob@contoso.com", True), ("eve@contoso.com", False)]
    assert found.mails[1].sentence.startswith("550 5.1.1")
    assert [task.status for task in found.tasks if task.name is N.CONNECT] == [S.SUCCEEDED]
    assert [(task.recipient, task.status) for task in found.tasks if task.name is N.MAIL] == [
        ("bob@contoso.com", S.SUCCEEDED), ("eve@contoso.com", S.FAILED)
    ]  # fmt: skip
    assert found.without_way == (), "a server that refuses one recipient can be used"


async def test_an_address_that_is_none_sends_nothing_to_the_others() -> None:
    world = World(CONNECTOR)
    with pytest.raises(InputError):
        await bound(world).run("bob@contoso.com", "nobody")
    assert world.dialer.dialled == []


@pytest.mark.parametrize(
    ("connector", "peer", "failed"),
    [
        (MANDATORY, Peer(NO_STARTTLS), N.STARTTLS),
        (MANDATORY, Peer(BROKEN_TLS), N.STARTTLS),
        (MANDATORY, Peer(OTHER_TLS), N.DANE),
        (MANDATORY, Peer(greeting="554 5.7.1 Not you"), N.GREETING),
        (MANDATORY, Peer(unreachable=Reason.CONNECT_REFUSED), N.CONNECT),
        (replace(MANDATORY, mta_sts_mode=MtaStsMode.MANDATORY), Peer(), N.STS_POLICY),
        (CONNECTOR, Peer(rcpt={"*": "450 4.2.0 Later"}), N.MAIL),
    ],
)
async def test_each_failure_belongs_to_one_task(connector: Any, peer: Peer, failed: TaskName) -> None:
    world = World(connector)
    world.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    world.dialer.peers = {LONE: peer}
    found = await bound(world).run("bob@contoso.com")
    names = [task.name for task in found.tasks if task.status is S.FAILED]
    assert names == [failed, *([N.MAIL] if failed is not N.MAIL else [])]
    assert not found.succeeded
    for task in found.tasks:
        assert (task.status is S.FAILED) == (task.finding is not None)
    record = validation_record(found)
    assert [task["TaskName"] for task in record["Tasks"] if not task["IsTaskSuccessful"]] == [name.value for name in names]


async def test_a_host_without_dane_fails_at_its_requirement_under_mandatory() -> None:
    world = World(MANDATORY)
    found = await bound(world).run("bob@contoso.com")
    assert [(task.name, task.code) for task in found.tasks if task.status is S.FAILED] == [
        (N.REQUIREMENT, "4.7.326"), (N.MAIL, "4.7.326")
    ]  # fmt: skip
    assert world.dialer.dialled == []


async def test_plaintext_after_a_failed_handshake_is_told_as_such() -> None:
    world = World(replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.NONE))
    world.dialer.peers[LONE] = Peer(BROKEN_TLS)
    found = await bound(world).run("bob@contoso.com")
    (starttls,) = [task for task in found.tasks if task.name is N.STARTTLS]
    assert starttls.status is S.NOT_APPLICABLE
    assert "no shared cipher" in starttls.detail
    assert "plaintext" in starttls.detail
    assert found.succeeded


GREETED = ("(connect)", Reply(220, ("hello",)))
EHLO = ("EHLO gateway.test", Reply(250, ("hello",)))


@pytest.mark.parametrize(
    ("replies", "ended"),
    [
        ((), N.GREETING),
        ((("(connect)", Reply(554, ("no",), Enhanced(5, 7, 1))),), N.GREETING),
        ((GREETED,), N.EHLO),
        ((GREETED, ("EHLO gateway.test", Reply(502, ("no",)))), N.EHLO),
        ((GREETED, ("EHLO gateway.test", Reply(502)), ("HELO gateway.test", Reply(250))), N.STARTTLS),
        ((GREETED, EHLO), N.STARTTLS),
    ],
)
def test_a_lost_dialogue_ends_where_no_good_reply_came(replies: tuple[tuple[str, Reply], ...], ended: TaskName) -> None:
    attempt = Attempt(
        NOW, 1, "g", "c", SmtpDaneMode.NONE, MtaStsMode.NONE, "contoso.com", (), Finding(Reason.CONNECTION_LOST),
        host="mx.contoso.com", ip=LONE, replies=replies, timings=Timings(connect_ms=1.0),
    )  # fmt: skip
    assert step_of(attempt) is ended


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_task(reason: Reason) -> None:
    attempt = Attempt(
        NOW, 1, "g", "c", SmtpDaneMode.NONE, MtaStsMode.NONE, "contoso.com", (), Finding(reason), host="h", ip=LONE
    )  # fmt: skip
    assert step_of(attempt) in STEPS
