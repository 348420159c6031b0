"""Several workers as one gateway: what each may use, and how what they say is put together."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sealroute.base.errors import PeerError
from sealroute.faces.cli.config import warnings
from sealroute.net.smtp_in_config import ReceiveCounters
from sealroute.ports import GroupState
from sealroute.services.merge import merge
from sealroute.services.metrics import InboundCounts, Metrics, QueueState, Sources
from sealroute.settings.load import parse
from sealroute.settings.share import share
from sealroute.store.turns import Turns
from sealroute.worker import Frames, frame, joined


def test_limits_are_divided_and_each_worker_has_something() -> None:
    whole = parse(
        "[delivery]\nmax_connections = 100\nmax_connections_per_destination = 2\n[auth]\nwaiting = 5\nconcurrency = 3"
    )
    part = share(whole, 3)
    assert (part.delivery.max_connections, part.delivery.max_connections_per_destination) == (33, 1)
    assert (part.auth.concurrency, part.auth.waiting) == (1, 1)
    assert part.limits.content_budget_bytes == whole.limits.content_budget_bytes // 3
    assert part.limits.max_connections_per_client == whole.limits.max_connections_per_client
    assert share(whole, 1) is whole
    assert part.delivery.max_messages_per_minute_per_destination == 0
    limited = parse("[delivery]\nmax_messages_per_minute_per_destination = 100")
    assert share(limited, 3).delivery.max_messages_per_minute_per_destination == 33
    assert share(limited, 200).delivery.max_messages_per_minute_per_destination == 1


def test_the_largest_message_still_fits_into_one_workers_budget() -> None:
    settings = parse("[limits]\nmessage_bytes = 1000000\ncontent_budget_bytes = 1500000")
    assert share(settings, 4).limits.content_budget_bytes == 1_000_000


def test_more_workers_than_connections_to_a_destination_is_told() -> None:
    settings = parse('hostname = "gw.example.com"\nworkers = 4\n[delivery]\nmax_connections_per_destination = 3')
    assert [text for text in warnings(settings) if "4 workers may open a connection" in text]
    assert parse("workers = 0").worker_count >= 1
    assert parse("").worker_count == 1


def _text(accepted: int, depth: int, *, trusted: bool) -> str:
    counters: InboundCounts = ReceiveCounters(messages_accepted=accepted, connections_open=2)
    sources = Sources(
        inbound=lambda: counters,
        queue=lambda: QueueState({GroupState.QUEUED: depth}, 5.0),
        resolver_can_validate=lambda: trusted,
    )
    return Metrics(sources).render().decode()


def test_metrics_of_workers_are_those_of_one_gateway() -> None:
    one, two = _text(3, 7, trusted=True), _text(4, 7, trusted=False)
    merged = merge([one, two]).decode().splitlines()
    assert "sealroute_messages_accepted_total 7.0" in merged
    assert "sealroute_inbound_connections_open 4.0" in merged
    assert 'sealroute_queue_groups{state="queued"} 7.0' in merged
    assert "sealroute_queue_oldest_age_seconds 5.0" in merged
    assert "sealroute_resolver_can_validate 0.0" in merged
    assert merge([one]).decode() == one


def test_of_a_worker_that_ended_only_counts_remain() -> None:
    merged = merge([_text(3, 7, trusted=True)], cumulative=True).decode()
    assert "sealroute_messages_accepted_total 3.0" in merged
    assert "sealroute_attempt_seconds_bucket" in merged
    assert "connections_open" not in merged
    assert "queue_groups" not in merged


WELL = [("store", True, "3 groups in the queue"), ("resolver", True, "fine")]
ILL = [("store", True, "3 groups in the queue"), ("resolver", False, "takes broken signatures")]


@pytest.mark.parametrize(
    ("reports", "troubles", "expected"),
    [
        ({"1": WELL, "2": WELL}, {}, {"resolver": (True, "fine"), "workers": (True, "all 2 running")}),
        (
            {"1": WELL, "2": ILL},
            {},
            {"resolver": (False, "worker 2: takes broken signatures"), "workers": (True, "all 2 running")},
        ),
        ({"1": WELL, "2": None}, {}, {"resolver": (True, "fine"), "workers": (False, "worker 2 does not answer")}),
        (
            {"1": WELL},
            {"2": "ended by SIGKILL; it is started again"},
            {"resolver": (True, "fine"), "workers": (False, "worker 2 ended by SIGKILL; it is started again")},
        ),
    ],
)
def test_a_part_is_well_where_it_is_well_in_every_worker(reports, troubles, expected) -> None:  # type: ignore[no-untyped-def]
    parts = {part.name: (part.ok, part.detail) for part in joined(reports, troubles)}
    assert parts == {"store": (True, "3 groups in the queue"), **expected}


def test_frames_come_whole_however_they_are_cut() -> None:
    octets = frame({"ask": 1}) + frame({"answer": "\u00e4"})
    frames = Frames()
    assert [message for octet in octets for message in frames.feed(bytes([octet]))] == [{"ask": 1}, {"answer": "\u00e4"}]
    assert list(Frames().feed(octets)) == [{"ask": 1}, {"answer": "\u00e4"}]
    with pytest.raises(PeerError):
        list(Frames().feed(b"\xff\xff\xff\xff"))


def test_turns_are_taken_one_after_the_other_and_end_with_their_holder(tmp_path: Path) -> None:
    seen: list[str] = []
    first, second = Turns(tmp_path / "turns"), Turns(tmp_path / "turns")

    def wait_for_it() -> None:
        with second:
            seen.append("second")

    other = threading.Thread(target=wait_for_it)
    with first:
        other.start()
        other.join(0.1)
        seen.append("first")
    other.join(10)
    assert seen == ["first", "second"]

    child = os.fork()
    if child == 0:
        Turns(tmp_path / "turns").__enter__()
        os._exit(0)  # with the turn in hand
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with first:
        seen.append("first again")
    assert seen[-1] == "first again"
