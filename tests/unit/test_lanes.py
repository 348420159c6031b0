"""What a lane may take up, whose turn it is, what waits for a token, and what is remembered of destinations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sealroute.policy.connector import Connector
from sealroute.policy.pace import BROKEN_OFF, SERVED, Feedback, Heard
from sealroute.policy.reasons import Finding, Reason
from sealroute.ports import DestinationState, Reach
from sealroute.services.destinations import Destinations
from sealroute.services.lane import Job, Lane, LaneLimits
from sealroute.services.lanes import CROWDED_PUT_OFF, Lanes
from tests.unit.fakes import NOW, group, message

REFUSED = Heard(Feedback.OVERLOADED, False, Finding(Reason.CONNECT_REFUSED))
HELD = Heard(Feedback.NOTHING, False, Finding(Reason.TLSA_INVALID))
BUSY = Heard(Feedback.OVERLOADED, True, Finding(Reason.TRY_LATER, "too busy"))
SECOND = timedelta(seconds=1)


def a_job(domain: str, organization: str = "default") -> Job:
    mail = replace(message(f"bob@{domain}"), organization=organization)
    return Job(group(mail, domain=domain), mail, 10)


def turn(lanes: Lanes, now: datetime = NOW) -> Lane:
    found = lanes.next(now)
    assert found is not None
    return found[0]


def runs(lanes: Lanes, now: datetime = NOW) -> list[str]:
    """All that may start now, none of it ending."""
    started = []
    while (found := lanes.next(now)) is not None:
        started.append(found[0].destination.domain)
    return started


def run_once(lanes: Lanes, domain: str, told: Heard, now: datetime = NOW) -> None:
    assert lanes.add(a_job(domain), now)
    lanes.leave(turn(lanes, now), told, now)


def balanced(lanes: Lanes) -> bool:
    return all(tally.runs == tally.groups == 0 for tally in lanes._tallies.values()) and not len(lanes)


# --------------------------------------------------------------------------------------------------------------- turns


def test_a_lane_stands_in_the_row_once() -> None:
    lanes = Lanes(LaneLimits(runs=2))
    for _ in range(50):
        assert lanes.add(a_job("a.example"), NOW)
    for _ in range(48):
        lane = turn(lanes)
        lanes.leave(lane, SERVED, NOW)
    assert sum(len(tally.row) for tally in lanes._tallies.values()) <= 2  # the row of the unknown keeps a place left empty
    assert repr(lane) == "<Lane a.example: 2 waiting, 0 running>"
    assert runs(lanes) == ["a.example", "a.example"]


def test_the_window_bounds_the_runs_and_follows_what_they_tell() -> None:
    lanes = Lanes(LaneLimits())
    for _ in range(100):
        lanes.add(a_job("a.example"), NOW)
    assert len(runs(lanes)) == 5
    (lane,) = lanes._lanes.values()
    lanes.leave(lane, SERVED, NOW)
    assert len(runs(lanes)) == 2  # one place came free, one was won
    lanes.leave(lane, BUSY, NOW)
    assert (lane.destination.window.size, runs(lanes)) == (3, [])
    for _ in range(3):
        lanes.leave(lane, BUSY, NOW)
    assert (lane.running, lane.destination.window.size) == (2, 3)
    assert len(runs(lanes)) == 1


def test_one_domains_trouble_does_not_touch_its_siblings() -> None:
    lanes = Lanes(LaneLimits())
    run_once(lanes, "a.example", REFUSED)
    for domain in ("a.example", "b.example"):
        for _ in range(9):
            lanes.add(a_job(domain), NOW)
    assert sorted(runs(lanes)) == ["a.example"] * 2 + ["b.example"] * 5


def test_lanes_say_what_they_have_room_for() -> None:
    lanes = Lanes(LaneLimits(groups=10, failing_groups=2))
    for domain, number in (("a.example", 7), ("b.example", 1)):
        for _ in range(number):
            lanes.add(a_job(domain), NOW)
    assert lanes.room(20, NOW) == {"a.example": 3, "b.example": 9}
    assert lanes.room(5, NOW) == {"a.example": 3}
    lane = turn(lanes)
    assert lane.destination.domain == "a.example"
    lanes.leave(lane, REFUSED, NOW)
    assert lanes.room(5, NOW) == {"a.example": 0}  # six wait, of the two that a failing lane has room for


def test_a_failing_lane_is_small_until_it_works_again() -> None:
    lanes = Lanes(LaneLimits(runs=5, groups=10, failing_runs=1, failing_groups=2))
    run_once(lanes, "a.example", HELD)
    assert len(lanes) == 0
    assert [lanes.add(a_job("a.example"), NOW) for _ in range(4)] == [True, True, False, False]
    assert lanes.put_off(a_job("a.example"), NOW) is None  # what is full is not taken from the queue at all
    assert lanes.room(1, NOW) == {"a.example": 0}
    lane = turn(lanes)
    assert runs(lanes) == []
    assert lanes.leave(lane, SERVED, NOW)  # room again
    assert [lanes.add(a_job("a.example"), NOW) for _ in range(4)] == [True] * 4
    assert len(runs(lanes)) == 5


def test_a_held_message_leaves_the_window_alone() -> None:
    lanes = Lanes(LaneLimits())
    run_once(lanes, "a.example", HELD)
    run_once(lanes, "a.example", BROKEN_OFF)
    assert lanes.destinations.get("a.example").window.size == 5
    run_once(lanes, "b.example", REFUSED)
    assert lanes.destinations.get("b.example").window.size == 2


def test_a_run_that_was_given_up_says_nothing() -> None:
    lanes = Lanes(LaneLimits())
    lanes.add(a_job("a.example"), NOW)
    lanes.leave(turn(lanes), None, NOW)
    assert lanes.destinations.get("a.example").reach is Reach.UNKNOWN
    assert lanes.destinations.changed == {}


def test_clear_leaves_what_runs() -> None:
    lanes = Lanes(LaneLimits())
    for domain in ("a.example", "a.example", "b.example"):
        lanes.add(a_job(domain), NOW)
    lane = turn(lanes)
    assert len(lanes.clear()) == 2
    assert lanes.next(NOW) is None
    assert not lanes.leave(lane, SERVED, NOW)
    assert balanced(lanes)


def test_two_organisations_share_what_a_destination_bears() -> None:
    lanes = Lanes(LaneLimits(groups=10))
    for organization in ("one", "two"):
        for _ in range(5):
            assert lanes.add(a_job("a.example", organization), NOW)
    assert not lanes.add(a_job("a.example", "one"), NOW)
    started = [turn(lanes) for _ in range(5)]
    assert [lane.organization for lane in started] == ["one", "two", "one", "two", "one"]
    assert lanes.next(NOW) is None
    lanes.leave(started[0], SERVED, NOW)
    assert [turn(lanes).organization for _ in range(2)] == ["one", "two"]


# -------------------------------------------------------------------------------------- the dead make room for the living


def test_dead_destinations_leave_runs_to_live_ones() -> None:
    lanes = Lanes(LaneLimits(all_runs=40))
    for number in range(100):
        run_once(lanes, f"dead{number}.example", REFUSED)
    run_once(lanes, "live.example", SERVED)
    for number in range(100):
        lanes.add(a_job(f"dead{number}.example"), NOW)
    dead = runs(lanes)
    assert len(dead) == 10  # a quarter
    for number in range(100):
        lanes.add(a_job(f"new{number}.example"), NOW)
    new = runs(lanes)
    assert len(new) == 20  # three quarters, with the dead ones
    for _ in range(6):
        lanes.add(a_job("live.example"), NOW)
    assert runs(lanes) == ["live.example"] * 6


def test_one_run_each_is_enough_to_try_many() -> None:
    lanes = Lanes(LaneLimits(all_runs=80))
    for number in range(30):
        for _ in range(10):
            lanes.add(a_job(f"new{number}.example"), NOW)
    started = runs(lanes)
    assert len(set(started)) == 30  # all are tried
    assert started[:30] == [f"new{number}.example" for number in range(30)]
    assert len(started) == 30
    few = Lanes(LaneLimits(all_runs=80))
    for number in range(4):
        for _ in range(10):
            few.add(a_job(f"new{number}.example"), NOW)
    assert len(runs(few)) == 20  # five each while there is no need


def test_a_destination_that_proves_alive_leaves_the_row_of_the_unknown() -> None:
    lanes = Lanes(LaneLimits(all_runs=4))
    for domain in ("a.example", "a.example", "b.example", "c.example", "d.example"):
        lanes.add(a_job(domain), NOW)
    assert runs(lanes) == ["a.example", "b.example", "c.example"]
    lanes.leave(lanes._lanes["default", "a.example"], SERVED, NOW)
    assert runs(lanes) == [
        "d.example",
        "a.example",
    ]  # its second one stood behind d.example, and is not held up with the unknown
    assert lanes._tallies[Reach.UNKNOWN].runs == 3


def test_memory_is_kept_for_live_destinations() -> None:
    lanes = Lanes(LaneLimits(all_groups=40, failing_groups=4))
    for number in range(40):
        run_once(lanes, f"dead{number}.example", REFUSED)
    run_once(lanes, "live.example", SERVED)
    added = [lanes.add(a_job(f"dead{number % 40}.example"), NOW) for number in range(80)]
    assert added == [True] * 30 + [False] * 50  # the first of each has room up to three quarters
    assert lanes.put_off(a_job("dead39.example"), NOW) == NOW + CROWDED_PUT_OFF
    assert not lanes.add(a_job("new.example"), NOW)
    assert [lanes.add(a_job("live.example"), NOW) for _ in range(10)] == [True] * 10
    few = Lanes(LaneLimits(all_groups=40, failing_groups=20))
    for domain in ("a.example", "b.example"):
        run_once(few, domain, REFUSED)
    added = [few.add(a_job("a.example"), NOW) for _ in range(20)]
    assert added == [True] * 10 + [False] * 10
    assert few.add(a_job("b.example"), NOW)  # not kept out for ever
    assert not few.add(a_job("b.example"), NOW)


def test_ten_thousand_dead_ones_push_no_live_one_out_of_memory() -> None:
    lanes = Lanes(LaneLimits(), Destinations(max_remembered=3))
    run_once(lanes, "live.example", SERVED)
    for number in range(9):
        run_once(lanes, f"{number}.example", REFUSED)
    destinations = lanes.destinations
    assert list(destinations._others) == ["6.example", "7.example", "8.example"]
    assert destinations.get("live.example").reach is Reach.REACHED
    assert destinations.counts() == {Reach.REACHED: 1, Reach.UNREACHED: 3, Reach.UNKNOWN: 0}
    assert (len(destinations), repr(destinations)) == (4, "<Destinations 1 reached, 3 others>")
    assert balanced(lanes)


def test_what_is_in_use_is_not_forgotten() -> None:
    lanes = Lanes(LaneLimits(), Destinations(max_remembered=2))
    lanes.add(a_job("busy.example"), NOW)
    lane = turn(lanes)
    for number in range(5):
        run_once(lanes, f"{number}.example", REFUSED)
    assert lanes.destinations.get("busy.example") is lane.destination
    assert repr(lane.destination) == "<Destination busy.example: unknown, <Window 5>, 1 running>"


# --------------------------------------------------------------------------------------------------------- rate limits


class Connectors:
    """Which connector applies: by domain, else by organisation, else one without limits."""

    def __init__(self, **limited: int | None) -> None:
        self.known: dict[str, Connector] = {
            name: Connector(guid=name, name=name, max_messages_per_minute=limit) for name, limit in limited.items()
        }
        self.routes: Mapping[str, str] = {}

    def __call__(self, organization: str, domain: str) -> Connector:
        name = self.routes.get(domain, organization)
        return self.known.get(name) or Connector(guid="none", name="none")

    def set(self, name: str, limit: int | None) -> None:
        self.known[name] = replace(self.known[name], max_messages_per_minute=limit)


def no_gate_is_shut(lanes: Lanes) -> bool:
    return lanes.rates.due is None and not lanes.rates.parked


def test_a_lane_without_a_token_stands_aside_until_it_is_due() -> None:
    connectors = Connectors(slow=6)
    lanes = Lanes(LaneLimits(), connector=connectors)
    for _ in range(3):
        lanes.add(a_job("a.example", "slow"), NOW)
        lanes.add(a_job("b.example", "fast"), NOW)
    assert runs(lanes) == ["a.example", "b.example", "b.example", "b.example"]
    assert (lanes.rates.due, lanes.rates.parked) == (NOW + 10 * SECOND, 1)
    assert runs(lanes, NOW + 9.9 * SECOND) == []
    assert runs(lanes, NOW + 10 * SECOND) == ["a.example"]
    assert lanes.rates.due == NOW + 20 * SECOND
    assert runs(lanes, NOW + 60 * SECOND) == ["a.example"]
    assert no_gate_is_shut(lanes)


def test_lanes_of_one_connector_pass_its_gate_in_turn() -> None:
    lanes = Lanes(LaneLimits(), connector=Connectors(slow=60))
    for number in range(10):
        lanes.add(a_job(f"{number}.example", "slow"), NOW)
    assert runs(lanes) == ["0.example"]
    passed = []
    for second in range(1, 10):
        passed += runs(lanes, NOW + second * SECOND)
        assert lanes.rates.parked == 9 - second
    assert passed == [f"{number}.example" for number in range(1, 10)]
    assert repr(lanes.rates) == "<Rates: 1 connectors, 0 lanes parked>"


def test_two_organisations_with_mail_for_one_domain_do_not_wait_for_each_other() -> None:
    lanes = Lanes(LaneLimits(), connector=Connectors(slow=1))
    for _ in range(3):
        lanes.add(a_job("a.example", "fast"), NOW)
    assert lanes.add(a_job("a.example", "slow"), NOW)
    assert not lanes.add(a_job("a.example", "slow"), NOW)
    lanes.rates.connector("slow", 1, NOW).bucket.take(NOW)
    assert [lane.organization for lane in (turn(lanes), turn(lanes), turn(lanes))] == ["fast"] * 3
    assert lanes.next(NOW) is None


def test_limits_of_connector_and_destination_hold_both() -> None:
    lanes = Lanes(LaneLimits(per_minute=60), connector=Connectors(slow=30))
    for _ in range(9):
        lanes.add(a_job("a.example", "fast"), NOW)
        lanes.add(a_job("b.example", "slow"), NOW)
        lanes.add(a_job("c.example", "slow"), NOW)
    counts = dict.fromkeys(("a.example", "b.example", "c.example"), 0)
    for half in range(21):
        now = NOW + half * SECOND / 2
        while (found := lanes.next(now)) is not None:
            counts[found[0].destination.domain] += 1
            lanes.leave(found[0], SERVED, now)
    assert counts["a.example"] == 9
    assert counts["b.example"] + counts["c.example"] == 6  # at 0, 2, 4, 6, 8 and 10 seconds
    assert abs(counts["b.example"] - counts["c.example"]) <= 1


def test_what_a_limit_lets_through_later_goes_back_with_a_time_of_its_own() -> None:
    lanes = Lanes(LaneLimits(), connector=Connectors(slow=6))
    added = [lanes.add(a_job(f"{number}.example", "slow"), NOW) for number in range(8)]
    assert added == [True] * 6 + [False] * 2  # a minute's worth
    times = [lanes.put_off(a_job(f"{number}.example", "slow"), NOW) for number in range(30)]
    waits = [(at - NOW).total_seconds() for at in times if at is not None]
    assert len(waits) == 30
    assert all(30 + 10 * index < wait <= 60 + 10 * index for index, wait in enumerate(waits))
    assert len(set(waits)) <= 12
    for _ in range(1000):
        lanes.put_off(a_job("x.example", "slow"), NOW)
    last = lanes.put_off(a_job("x.example", "slow"), NOW)
    assert last is not None
    assert timedelta(minutes=59) <= last - NOW <= timedelta(hours=1)


def test_a_limited_destination_keeps_a_minutes_worth_in_memory() -> None:
    lanes = Lanes(LaneLimits(per_minute=3))
    assert [lanes.add(a_job("a.example"), NOW) for _ in range(5)] == [True] * 3 + [False] * 2
    assert lanes.room(1, NOW) == {"a.example": 0}
    assert lanes.put_off(a_job("a.example"), NOW) is None
    assert runs(lanes) == ["a.example"]
    assert lanes.rates.due == NOW + 20 * SECOND


def test_a_limit_that_changes_holds_from_the_next_turn_on() -> None:
    connectors = Connectors(slow=None)
    lanes = Lanes(LaneLimits(), connector=connectors)
    for _ in range(8):
        lanes.add(a_job("a.example", "slow"), NOW)
    connectors.set("slow", 60)
    assert runs(lanes) == ["a.example"]
    connectors.set("slow", 600)
    assert len(runs(lanes, NOW + SECOND)) == 4  # the window is five
    gate = lanes.rates.connector("slow", 600, NOW)
    assert repr(gate) == "<Gate 600/min: 3 waiting, 0 lanes parked>"
    connectors.set("slow", None)
    (lane,) = lanes._lanes.values()
    for _ in range(5):
        lanes.leave(lane, SERVED, NOW)
    assert len(runs(lanes, NOW)) == 3
    assert (gate.waiting, lane.gate) == (0, None)


def test_workers_share_a_connectors_limits() -> None:
    connectors = Connectors(slow=10)
    connectors.known["slow"] = replace(connectors.known["slow"], max_connections_per_destination=8)
    lanes = Lanes(LaneLimits(workers=4), connector=connectors)
    assert [lanes.add(a_job("a.example", "slow"), NOW) for _ in range(4)] == [True, True, False, False]
    connectors.set("slow", None)
    for _ in range(9):
        lanes.add(a_job("a.example", "slow"), NOW)
    assert len(runs(lanes)) == 2


def test_a_connector_may_allow_more_connections_than_the_settings() -> None:
    connectors = Connectors(wide=None)
    connectors.known["wide"] = replace(connectors.known["wide"], max_connections_per_destination=50)
    lanes = Lanes(LaneLimits(runs=6), connector=connectors)
    for organization, most in (("wide", 50), ("other", 6)):
        domain = f"{organization}.example"
        for _ in range(100):
            lanes.add(a_job(domain, organization), NOW)
            lanes.leave(turn(lanes), SERVED, NOW)
        assert lanes.destinations.get(domain).window.size == most


def test_clear_frees_what_waits_for_a_token() -> None:
    lanes = Lanes(LaneLimits(), connector=Connectors(slow=6))
    for _ in range(3):
        lanes.add(a_job("a.example", "slow"), NOW)
    lane = turn(lanes)
    assert lanes.next(NOW) is None
    assert len(lanes.clear()) == 2
    assert no_gate_is_shut(lanes)
    lanes.leave(lane, SERVED, NOW)
    assert balanced(lanes)


# -------------------------------------------------------------------------------------------- what survives a restart


def test_what_changed_is_told_with_the_reason() -> None:
    lanes = Lanes(LaneLimits())
    run_once(lanes, "a.example", REFUSED)
    run_once(lanes, "b.example", SERVED)
    run_once(lanes, "c.example", BROKEN_OFF)
    told = {domain: destination.state() for domain, destination in lanes.destinations.changed.items()}
    assert told == {
        "a.example": DestinationState("a.example", 2, True, Reach.UNREACHED, NOW, "450 4.4.316 Connection refused"),
        "b.example": DestinationState("b.example", 6, False, Reach.REACHED, NOW, "mail was taken"),
        "c.example": DestinationState("c.example", 5, False, Reach.UNREACHED, NOW, "the run broke off on our side"),
    }
    assert lanes.destinations.halvings == 1
    lanes.destinations.changed.clear()
    run_once(lanes, "c.example", HELD, NOW + SECOND)
    assert lanes.destinations.changed == {}  # nothing new


def test_what_was_kept_is_taken_up_but_not_over_what_is_newer() -> None:
    destinations = Destinations()
    lanes = Lanes(LaneLimits(), destinations)
    run_once(lanes, "b.example", SERVED)
    lanes.add(a_job("c.example"), NOW)
    kept = [
        DestinationState("a.example", 9, True, Reach.REACHED, NOW, "mail was taken"),
        DestinationState("b.example", 1, True, Reach.UNREACHED, NOW, "old"),
        DestinationState("c.example", 1, True, Reach.UNREACHED, NOW, "in use"),
        DestinationState("d.example", 1, True, Reach.UNREACHED, NOW, "x" * 900),
    ]
    destinations.load(kept)
    assert destinations.get("a.example").state() == kept[0]
    assert [destinations.get(f"{letter}.example").window.size for letter in "bc"] == [6, 5]
    assert destinations.get("c.example").reach is Reach.UNKNOWN
    assert len(destinations.get("d.example").state().why) == 500
    assert destinations.changed.keys() == {"b.example"}
    assert turn(lanes).destination.domain == "c.example"
