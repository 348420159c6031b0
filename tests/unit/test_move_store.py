"""Moves on a real store: each step is one transaction with its audit; what is refused; what gateways do, and only one of them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.policy.alerts import AlertRules, Channel
from sealroute.policy.attempt import Fate
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.move import Held, Mark, Move, MoveRules, MoveStep
from sealroute.policy.readiness import Tally
from sealroute.policy.reasons import Reason
from sealroute.ports import MoveChange
from sealroute.services import move as moving
from sealroute.services.move import Around
from sealroute.services.observe import Observations
from sealroute.services.propose_moves import Partner, Proposal, Target
from sealroute.services.survey import Row, Standing
from sealroute.services.watch_moves import MoveWatch
from sealroute.store.store import Store, open_store
from tests.store_making import NOW, accept, group_of, message_to, received, rows, run_of, url_in
from tests.unit.test_move import PINNED
from tests.unit.test_observe import attempt

CONNECTOR = replace(PINNED, guid="6b0d8f0e-1111-4222-8333-000000000001", name="To Contoso", recipient_domains=("contoso.com",))
HOUR = timedelta(hours=1)
HOSTS = ("mx.contoso.com",)
READY = Partner("contoso.com", Row("contoso.com", "", Standing.DANE, True, dane_mandatory=True), HOSTS, (), ("192.0.2.4",), ())
NOT_READY = replace(READY, row=Row("contoso.com", "", Standing.BROKEN, False, sentence="it is broken"))
RULES = MoveRules(HOUR, 1, 3, 4 * HOUR, 30 * 24 * HOUR)


class FakeClock:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        raise NotImplementedError


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    opened = open_store(url_in(tmp_path))
    opened.admin.connectors.add(CONNECTOR, "admin")
    yield opened
    await opened.close()


def around(store: Store) -> Around:
    return Around(store.admin.connectors, store.admin.moves, "default")


def proposal(connector: Connector, target: Target = Target.DANE, *partners: Partner) -> Proposal:
    return Proposal(connector, target, "every mail host has TLSA records", partners or (READY,), (), (), ())


def started(store: Store, rules: MoveRules = RULES, at: datetime = NOW) -> Move:
    where = around(store)
    change = moving.plan_start(where, proposal(moving.startable(where, "To Contoso")), rules, "admin", at)
    moving.carry_out(where, change, at, "admin")
    return change.after


def advanced(store: Store, move: Move, at: datetime, why: str = "") -> Move:
    where = around(store)
    seen = moving.situation(where.moves, move, at, [READY])
    change = moving.plan_advance(where, move, seen, [READY], Mark(at, "admin", why))
    moving.carry_out(where, change, at, "admin")
    return change.after


def connectors(store: Store) -> dict[str, Connector]:
    return {item.name: item for item in store.admin.connectors.all("default")}


def audit(store: Store) -> list[tuple[str, str, str]]:
    return [(item.actor, item.action, item.connector) for item in reversed(store.admin.connectors.changes("default"))][1:]


def unstamped(connector: Connector) -> Connector:
    return replace(connector, when_created=None, when_changed=None)


async def held(store: Store, count: int, reason: Reason = Reason.TLSA_INVALID, at: datetime = NOW + HOUR) -> None:
    """Messages to contoso.com that were tried once and wait."""
    for _ in range(count):
        _, group = await accept(store)
        settled = run_of(group, at=at, bob=Fate.DEFERRED)
        assert settled.finding is not None
        await store.queue.settle(replace(settled, finding=replace(settled.finding, reason=reason)))


# ---------------------------------------------------------------------------------------------------------- the way there


async def test_the_whole_way(store: Store) -> None:
    move = started(store)
    now = connectors(store)
    assert set(now) == {"To Contoso", "To Contoso (pinned)"}
    by_mx, fallback = now["To Contoso"], now["To Contoso (pinned)"]
    assert (by_mx.guid, by_mx.use_mx_record, by_mx.smart_hosts, by_mx.enabled) == (CONNECTOR.guid, True, (), True)
    assert unstamped(fallback) == replace(CONNECTOR, guid=fallback.guid, name=fallback.name, enabled=False)
    assert store.admin.moves.all("default") == store.admin.moves.under_way() == [move]
    observations = Observations(store.observations, moves=store.connectors.moves)
    await store.connectors.refresh()
    tried = replace(attempt(), at=NOW + HOUR, connector_guid=CONNECTOR.guid)
    observations.note("default", [tried, replace(tried, rows=("smart-host", "dane-literal")), replace(tried, at=NOW - HOUR)])
    observations.note("default", [replace(tried, connector_guid="another"), replace(tried, at=NOW + HOUR)])
    await observations.flush()
    assert [day.tally(move.mechanism) for day in store.admin.moves.days(move)["contoso.com"]] == [Tally(2)]
    assert store.admin.observations.days("default", NOW.date())["contoso.com"][0].attempts == 5
    move = advanced(store, move, NOW + HOUR)
    assert connectors(store)["To Contoso"].smtp_dane_mode is SmtpDaneMode.MANDATORY
    assert store.admin.moves.all("default") == [move]
    move = advanced(store, move, NOW + HOUR + RULES.review)
    assert (move.step, set(connectors(store))) == (MoveStep.DONE, {"To Contoso"})
    assert store.admin.moves.under_way() == []
    assert audit(store) == [
        ("admin", "Set", "To Contoso"), ("admin", "New", "To Contoso (pinned)"), ("admin", "StartMove", "To Contoso"),
        ("admin", "Set", "To Contoso"), ("admin", "AdvanceMove", "To Contoso"),
        ("admin", "Remove", "To Contoso (pinned)"), ("admin", "AdvanceMove", "To Contoso"),
    ]  # fmt: skip
    await store.connectors.refresh()
    assert store.connectors.moves("default") == {}
    with pytest.raises(OperatorError, match="the move of 'To Contoso' has ended: it is done"):
        moving.plan_roll_back(around(store), move, Mark(NOW, "admin"))


async def test_what_is_missing_can_be_forced_with_a_reason(store: Store) -> None:
    move = started(store)
    with pytest.raises(OperatorError, match="not yet Mandatory: 0 of 1 satisfied sessions"):
        advanced(store, move, NOW + HOUR)
    with pytest.raises(OperatorError, match="not one line"):
        advanced(store, move, NOW + HOUR, "a\nb")
    move = advanced(store, move, NOW + HOUR, "the partner asked for it")
    assert move.mandatory == Mark(NOW + HOUR, "admin", "the partner asked for it")
    change = store.admin.connectors.changes("default")[0]
    assert change.after is not None
    assert (change.action, change.after["Why"]) == ("AdvanceMove", "the partner asked for it")


async def test_back_is_what_was_before(store: Store) -> None:
    before = connectors(store)["To Contoso"]
    move = started(store)
    fallback = connectors(store)["To Contoso (pinned)"]
    store.admin.connectors.replace(replace(fallback, smart_hosts=("192.0.2.9",)), "bob")
    change = moving.plan_roll_back(around(store), move, Mark(NOW, "admin", "it is late"))
    moving.carry_out(around(store), change, NOW, "admin")
    (now,) = connectors(store).values()
    assert unstamped(now) == replace(CONNECTOR, smart_hosts=("192.0.2.9",))
    assert now.when_created == before.when_created
    assert change.after.step is MoveStep.ROLLED_BACK
    again = started(store, at=NOW + HOUR)
    assert store.admin.moves.under_way() == [again]
    assert store.admin.moves.all("default") == [again, change.after]
    for name in ("to contoso", CONNECTOR.guid, again.id):
        assert moving.find_move(around(store), name) == again
    assert moving.find_move(around(store), move.id) == change.after


async def test_back_without_the_kept_connector(store: Store) -> None:
    move = started(store)
    store.admin.connectors.remove("default", move.kept_guid, "bob")
    change = moving.plan_roll_back(around(store), move, Mark(NOW, "admin"))
    moving.carry_out(around(store), change, NOW, "admin")
    assert [unstamped(item) for item in connectors(store).values()] == [CONNECTOR]


async def test_one_that_was_pinned_by_hand_goes_no_step_on(store: Store) -> None:
    move = started(store, replace(RULES, max_held=1))
    now = connectors(store)["To Contoso"]
    store.admin.connectors.replace(replace(now, use_mx_record=False, smart_hosts=("192.0.2.7",)), "bob")
    with pytest.raises(OperatorError, match="was pinned again by hand meanwhile"):
        advanced(store, move, NOW + HOUR, "all the same")
    await held(store, 1)
    assert MoveWatch(store.admin.connectors, store.admin.moves, FakeClock(NOW + HOUR)).look() == []
    assert connectors(store)["To Contoso"].smart_hosts == ("192.0.2.7",)


async def test_a_connector_that_is_gone_cannot_be_rolled_back(store: Store) -> None:
    move = started(store)
    store.admin.connectors.remove("default", move.connector_guid, "bob")
    with pytest.raises(OperatorError, match=r"was removed. What it was is kept as 'To Contoso \(pinned\)'"):
        moving.plan_roll_back(around(store), move, Mark(NOW, "admin"))


# ---------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"use_mx_record": True, "smart_hosts": ()}, "is not pinned"),
        ({"recipient_domains": ("*",)}, "is not pinned"),
        ({"enabled": False}, "no mail goes through"),
        ({"test_mode": True}, "no mail goes through"),
    ],
)
def test_what_cannot_be_moved(store: Store, changes: dict[str, Any], why: str) -> None:
    store.admin.connectors.replace(replace(CONNECTOR, **changes), "admin")
    with pytest.raises(OperatorError, match=why):
        moving.startable(around(store), "To Contoso")


def test_what_is_moving_is_not_moved(store: Store) -> None:
    started(store)
    for name, why in (
        ("To Contoso", "is being moved already; it is at observing"),
        ("To Contoso (pinned)", "is what is kept of"),
    ):
        with pytest.raises(OperatorError, match=why):
            moving.startable(around(store), name)
    with pytest.raises(OperatorError, match="there is no connector 'Nobody'"):
        moving.startable(around(store), "Nobody")
    with pytest.raises(OperatorError, match="no connector 'Nobody' was ever moved"):
        moving.find_move(around(store), "Nobody")


def test_mail_must_go_through_it(store: Store) -> None:
    store.admin.connectors.add(replace(CONNECTOR, guid="6b0d8f0e-1111-4222-8333-000000000002", name="Another"), "admin")
    with pytest.raises(OperatorError, match=r"mail to contoso\.com does not go through connector 'Another'.*Move 'To Contoso'"):
        moving.startable(around(store), "Another")


@pytest.mark.parametrize(
    ("connector", "target", "partner", "why"),
    [
        (CONNECTOR, Target.STAY, NOT_READY, "the partner of 'To Contoso' is not ready: every mail host"),
        (
            replace(CONNECTOR, mta_sts_mode=MtaStsMode.MANDATORY),
            Target.DANE,
            READY,
            "MtaStsMode: it is Mandatory, and would not",
        ),
    ],
)
def test_who_is_not_ready(store: Store, connector: Connector, target: Target, partner: Partner, why: str) -> None:
    with pytest.raises(OperatorError, match=why):
        moving.plan_start(around(store), proposal(connector, target, partner), RULES, "admin", NOW)


def test_it_is_rolled_back_before_mail_is_returned(store: Store) -> None:
    with pytest.raises(OperatorError, match=r"--max-age: mail is returned after 12h, before"):
        started(store, replace(RULES, max_age=12 * HOUR))


def test_the_name_of_the_kept_one_may_be_taken(store: Store) -> None:
    other = replace(CONNECTOR, guid="6b0d8f0e-1111-4222-8333-000000000002", name="to contoso (PINNED)")
    store.admin.connectors.add(replace(other, recipient_domains=("fabrikam.com",)), "admin")
    with pytest.raises(OperatorError, match=r"there is already a connector 'To Contoso \(pinned\)'"):
        started(store)
    assert store.admin.moves.all("default") == []


def test_what_has_changed_meanwhile_is_left_alone(store: Store) -> None:
    where = around(store)
    change = moving.plan_start(where, proposal(moving.startable(where, "To Contoso")), RULES, "admin", NOW)
    store.admin.connectors.replace(replace(CONNECTOR, comment="changed"), "bob")
    version = store.admin.connectors.version()
    with pytest.raises(OperatorError, match="was changed meanwhile; nothing was done"):
        moving.carry_out(where, change, NOW, "admin")
    assert set(connectors(store)) == {"To Contoso"}
    assert (store.admin.moves.all("default"), store.admin.connectors.version()) == ([], version)
    move = started(store)
    again = MoveChange(None, replace(move, id="another"))
    assert not store.admin.moves.carry_out(again, NOW, "admin")


# ------------------------------------------------------------------------------------------------------ held, and the watch


async def test_what_counts_as_held(store: Store) -> None:
    move = started(store)
    await held(store, 1, at=NOW - HOUR)  # tried before the start only
    await held(store, 1, Reason.TRY_LATER)
    await held(store, 2)
    await accept(store, active=False)  # not tried yet
    message = message_to("bob@fabrikam.com")
    await store.queue.add(message, [group_of(message, "fabrikam.com")], received(message), active=False)
    found = store.admin.moves.held(move, 100)
    since = NOW + HOUR
    assert sorted(item.reason.value for item in found) == ["tlsa-invalid", "tlsa-invalid", "try-later"]
    assert {item.since for item in found} == {since}
    assert len(store.admin.moves.held(move, 2)) <= 2
    seen = moving.situation(store.admin.moves, move, NOW + 2 * HOUR)
    assert seen.held == (Held("contoso.com", since, Reason.TLSA_INVALID),) * 2


async def test_one_of_two_gateways_rolls_back_and_tells(store: Store, tmp_path: Path) -> None:
    started(store)
    store.admin.moves.alerts = AlertRules((Channel.MAIL, Channel.WEBHOOK))
    clock = FakeClock(NOW + HOUR + timedelta(minutes=5))
    watches = [MoveWatch(store.admin.connectors, store.admin.moves, clock) for _ in range(2)]
    await held(store, 2)
    assert watches[0].look() == []
    await held(store, 1)
    both, done = threading.Barrier(2), list[Move]()

    def look(watch: MoveWatch) -> None:
        both.wait()
        done.extend(watch.look())

    await asyncio.gather(*(asyncio.to_thread(look, watch) for watch in watches))
    (move,) = done
    assert (move.step, move.ended and move.ended.by) == (MoveStep.ROLLED_BACK, "sealroute")
    assert [unstamped(item) for item in connectors(store).values()] == [CONNECTOR]
    assert [item for item in audit(store) if item[0] == "sealroute"] == [
        ("sealroute", "Remove", "To Contoso (pinned)"), ("sealroute", "Set", "To Contoso"), ("sealroute", "RollBackMove", "To Contoso"),
    ]  # fmt: skip
    told = store.admin.alerts.all("default", 10)
    assert sorted((item.channel.value, item.kind, item.domain) for item in told) == [
        ("mail", "move-rolled-back", "contoso.com"), ("webhook", "move-rolled-back", "contoso.com"),
    ]  # fmt: skip
    due = set(rows(tmp_path, "SELECT next_attempt_us FROM recipient_group"))
    assert due == {int((clock.moment + moving.KNOWN_AFTER).timestamp() * 1_000_000)}
    assert [watch.look() for watch in watches] == [[], []]


async def test_what_is_due_earlier_stays_so(store: Store, tmp_path: Path) -> None:
    move = started(store)
    await accept(store, active=False)
    await held(store, 2)
    assert store.admin.moves.try_again(move, NOW + HOUR) == 2
    assert store.admin.moves.try_again(move, NOW + HOUR) == 0
    assert len(set(rows(tmp_path, "SELECT next_attempt_us FROM recipient_group"))) == 2


async def test_a_watch_goes_on_when_something_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    move = started(store, replace(RULES, max_held=1))
    await held(store, 1)
    watch = MoveWatch(store.admin.connectors, store.admin.moves, FakeClock(NOW + HOUR))

    def broken(*_: object) -> Any:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store.admin.moves, "held", broken)
        assert watch.look() == []
        patch.setattr(store.admin.moves, "under_way", broken)
        assert watch.look() == []
    store.admin.connectors.remove("default", move.connector_guid, "bob")
    assert watch.look() == []
    assert [item.step for item in store.admin.moves.all("default")] == [MoveStep.OBSERVING]
