"""The benchmark's own arithmetic: a message that is missing, doubled or in plaintext must not go unnoticed."""

from __future__ import annotations

import itertools
import ssl
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.bench import Asked, Bench, Outcome
from benchmarks.lab import Arrivals
from benchmarks.load import Load, Plan, Result
from benchmarks.measure import Run, Wanted, counted
from benchmarks.report import AtLeast, AtMost, Figure, ratio
from benchmarks.sink import Session, Taken

PLAN = Plan(ports=[2525], domains=["a.test", "b.test"], first=100, messages=4, size=2048, connections=1)
BEGUN = [1_000_000_000, 1_100_000_000, 1_200_000_000, 1_300_000_000]
ALL = Result(accepted=4, begun=BEGUN, last_answer=1_400_000_000)
MS = 1_000_000
ANY = Wanted(messages=4, domains=1)
ARRIVED = Arrivals([100, 101, 102, 103], [at + 10 * MS for at in BEGUN], plaintext=0, handshakes=1, peak_connections=1)


class Wire:
    """What a Session writes to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, octets: bytes) -> None:
        self.written.append(octets)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def _session(taken: Taken) -> tuple[Session, Wire]:
    session, wire = Session(taken, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)), Wire()
    session.connection_made(wire)  # type: ignore[arg-type]
    wire.written.clear()
    return session, wire


def _data(number: int, body: bytes = b"Hello\r\n..stuffed\r\n") -> bytes:
    head = b"Received: from a\r\nX-Sim-Id: %d\r\n\r\n" % number
    return b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n" + head + body + b".\r\n"


def _bdat(number: int, *cuts: int) -> bytes:
    content = b"X-Sim-Id: %d\r\n\r\n" % number + b"\r\n.\r\nMAIL\r\n" * 5
    edges = [0, *cuts, len(content)]
    chunks = [content[a:b] for a, b in itertools.pairwise(edges)]
    said = [b"BDAT %d\r\n" % len(chunk) + chunk for chunk in chunks[:-1]]
    return (
        b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n" + b"".join(said) + b"BDAT %d LAST\r\n" % len(chunks[-1]) + chunks[-1]
    )


STREAM = (
    b"EHLO a\r\n"
    + _data(7)
    + _bdat(8)
    + _data(9, b"x" * 300 + b"\r\n")
    + _bdat(10, 5, 30)
    + b"RSET\r\n"
    + _bdat(11, 40)
    + b"QUIT\r\n"
)
REPLIES = 1 + 4 + 3 + 4 + 5 + 1 + 4 + 1


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, len(STREAM)])
def test_the_sink_takes_each_message_once_however_it_is_cut(size: int) -> None:
    taken = Taken(chunking=True)
    session, wire = _session(taken)
    for at in range(0, len(STREAM), size):
        session.data_received(STREAM[at : at + size])
    assert taken.numbers.tolist() == [7, 8, 9, 10, 11]
    assert taken.plaintext == 5
    lines = b"".join(wire.written).splitlines()
    assert sum(line[3:4] == b" " for line in lines) == REPLIES
    assert wire.closed


def test_the_sink_answers_a_pipelined_group_in_one_write() -> None:
    session, wire = _session(Taken(chunking=False))
    session.data_received(_data(1) + b"MAIL FROM:<a@a.test>\r\n")
    assert len(wire.written) == 1


def test_all_is_well() -> None:
    run = counted(PLAN, ALL, ARRIVED)
    assert run.faults == []
    assert run.delivered_per_second == pytest.approx(4 / 0.31)
    assert run.accepted_per_second == pytest.approx(4 / 0.4)
    assert (run.latency_median_ms, run.latency_p99_ms) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("result", "arrivals", "faults"),
    [
        (ALL, replace(ARRIVED, numbers=[100, 101, 103], times=[1, 2, 3]), ["1 missing"]),
        (ALL, replace(ARRIVED, numbers=[100, 101, 102, 103, 101], times=[1, 2, 3, 4, 5]), ["1 doubled"]),
        (ALL, replace(ARRIVED, numbers=[100, 101, 102, 103, 99], times=[1, 2, 3, 4, 5]), ["1 strays"]),
        (ALL, replace(ARRIVED, plaintext=2), ["2 plaintext"]),
        (
            Result(accepted=3, refused={"451 later": 1}, begun=BEGUN, last_answer=2),  # type: ignore[arg-type]
            replace(ARRIVED, numbers=[100, 101, 102], times=[1, 2, 3]),
            ["1 answered '451 later'"],
        ),
        (Result(accepted=0, begun=[0] * 4), replace(ARRIVED, numbers=[], times=[]), ["4 missing"]),
    ],
    ids=["missing", "doubled", "stray", "plaintext", "refused", "nothing"],
)
def test_one_thing_is_wrong(result: Result, arrivals: Arrivals, faults: list[str]) -> None:
    assert counted(PLAN, result, arrivals).faults == faults


def test_a_message_is_as_large_as_asked_and_differs_in_its_number_only() -> None:
    for size in (2048, 10_240, 102_400):
        load = Load(replace(PLAN, size=size))
        first, last = load.content(0), load.content(3)
        assert abs(len(first) - size) < 120
        assert first.replace(b"100", b"103") == last
        assert first.endswith(b"\r\n.\r\n")


def test_the_ratio_is_to_the_best_of_the_others() -> None:
    runs = {
        "us": [Run(delivered_per_second=speed, latency_p99_ms=20) for speed in (90, 100, 300)],
        "kept": [Run(delivered_per_second=40, latency_p99_ms=50)],
        "fresh": [Run(delivered_per_second=50, latency_p99_ms=40)],
    }
    assert ratio(Figure.DELIVERED, runs) == 2.0
    assert ratio(Figure.P99, runs) == 0.5
    assert ratio(Figure.DELIVERED, {"us": runs["us"]}) is None
    assert AtLeast(Figure.DELIVERED, 2.0).met(2.0)
    assert not AtMost(Figure.P99, 0.4).met(0.5)


@pytest.mark.parametrize(
    ("outcomes", "holds"),
    [
        ([], False),
        ([Outcome(ANY, runs={"us": [Run(), Run()], "peer": [Run()]})], True),
        ([Outcome(ANY, runs={"us": [Run()]}), Outcome(ANY, runs={"us": [Run(), Run(missing=1)]})], False),
        ([Outcome(ANY, runs={"us": [Run()]}, failures=["could not be started"])], False),
    ],
    ids=["nothing ran", "well", "one message lost", "one run not made"],
)
def test_the_whole_holds_only_when_every_run_does(outcomes: list[Outcome], holds: bool) -> None:
    bench = Bench(Console(), Asked())
    bench.outcomes = {str(number): outcome for number, outcome in enumerate(outcomes)}
    assert bench.holds is holds


def test_a_quick_run_is_short_and_a_rate_stays_a_rate() -> None:
    fast, steady = Wanted(messages=4000, domains=1), Wanted(messages=1500, domains=500, rate=50.0)
    assert (Asked(quick=True).wanted(fast).messages, Asked(quick=True).wanted(steady).messages) == (1000, 500)
    assert Asked(messages=7, quick=True).wanted(fast).messages == 7
    assert Asked().wanted(steady) == steady


def test_a_cold_run_never_meets_a_destination_twice() -> None:
    cold = Wanted(messages=500, domains=500, warm=0)
    assert (Asked(messages=3000).wanted(cold).messages, Asked(messages=50).wanted(cold).messages) == (500, 50)
