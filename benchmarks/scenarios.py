"""What is measured, between whom, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.candidates import Candidate, Sealroute
from benchmarks.lab import DOMAINS, Kind, Lab
from benchmarks.measure import Wanted
from benchmarks.peer import Peer
from benchmarks.report import AtLeast, AtMost, Figure, Target

FAST = (Figure.DELIVERED, Figure.ACCEPTED, Figure.CPU, Figure.MEMORY)
SLOW = (Figure.MEDIAN, Figure.P99, Figure.CPU)
KIB = 1024


@dataclass(frozen=True, slots=True)
class Entrant:
    """One who takes part; made anew for every run."""

    name: str
    make: Callable[[Lab], Candidate]
    why_not: Callable[[Kind], str] = lambda kind: ""
    """Why it cannot take part; empty when it can."""
    peer: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """The first entrant is compared with the best of the others."""

    name: str
    about: str
    kind: Kind
    wanted: Wanted
    entrants: tuple[Entrant, ...]
    targets: tuple[Target, ...]
    figures: tuple[Figure, ...] = FAST


def _nodes(count: int) -> Entrant:
    name = f"{count} node{'s' * (count > 1)}, PostgreSQL"
    return Entrant(name, lambda lab: Sealroute(lab, nodes=count), lambda kind: Sealroute.why_no_nodes())


def _workers(count: int) -> Entrant:
    # Workers share the connections, so that two with 500 could not keep one to each destination, and one could.
    return Entrant(f"{count} worker{'s' * (count > 1)}", lambda lab: Sealroute(lab, workers=count, connections=2 * DOMAINS))


GATEWAY = Entrant("Sealroute", Sealroute)
KEPT = Entrant("Postfix, TLS kept", Peer, Peer.why_not, peer=True)
FRESH = Entrant("Postfix, TLS each time", lambda lab: Peer(lab, reuse=False), Peer.why_not, peer=True)
FEW = Entrant("Postfix, TLS kept, 20 at a time", lambda lab: Peer(lab, at_a_time=20), Peer.why_not, peer=True)
BESIDE_PEER = (GATEWAY, KEPT)

ONE = Wanted(messages=4000, domains=1)
MANY = Wanted(messages=4000, domains=DOMAINS)
SPREAD = replace(MANY, warm=4000)
"""So that each of two processes meets every destination before it is measured."""
LEAN = (AtMost(Figure.CPU, 1 / 5), AtMost(Figure.MEMORY, 1 / 2))
FIVE = (AtLeast(Figure.DELIVERED, 5.0), *LEAN)
COST = (AtLeast(Figure.DELIVERED, 0.85), AtMost(Figure.CPU, 1.15))
PROMPT = (AtMost(Figure.MEDIAN, 1.0), AtMost(Figure.P99, 1.0))

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("one-dane", "one DANE domain", Kind.DANE, ONE, (*BESIDE_PEER, FEW), FIVE),
    Scenario("dane-500", "500 DANE domains", Kind.DANE, MANY, (*BESIDE_PEER, FRESH), FIVE),
    Scenario("2k", "one DANE domain, small messages", Kind.DANE, replace(ONE, size=2 * KIB), BESIDE_PEER, LEAN),
    Scenario("100k", "one DANE domain, large messages", Kind.DANE, replace(ONE, size=100 * KIB, messages=2000), BESIDE_PEER,
             (AtLeast(Figure.DELIVERED, 2.5),)),
    Scenario("latency", "submission to arrival, 500 DANE domains", Kind.DANE, replace(MANY, rate=50.0, messages=1500),
             (*BESIDE_PEER, FRESH), PROMPT, SLOW),
    Scenario("cold", "first contact with 500 DANE domains", Kind.DANE, replace(MANY, messages=DOMAINS, warm=0),
             (*BESIDE_PEER, FRESH), (AtLeast(Figure.DELIVERED, 2.0),)),
    Scenario("dane-cost", "the cost of DANE: 500 DANE domains with and without looking, TLS in both", Kind.DANE, MANY,
             (Entrant("DANE Opportunistic", lambda lab: Sealroute(lab, dane="Opportunistic")),
              Entrant("DANE None", lambda lab: Sealroute(lab, dane="None"))), COST),
    Scenario("workers", "500 DANE domains, two workers beside one", Kind.DANE, SPREAD, (_workers(2), _workers(1)), ()),
    Scenario("postgresql", "500 DANE domains, two nodes beside one", Kind.DANE, SPREAD, (_nodes(2), _nodes(1)), ()),
    Scenario("sts-500", "500 MTA-STS domains, enforce", Kind.STS, MANY, BESIDE_PEER, FIVE),
    Scenario("plain-500", "500 domains that publish nothing, TLS", Kind.PLAIN, MANY, BESIDE_PEER, LEAN),
)  # fmt: skip
