"""What is measured, between whom, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.candidates import Candidate, Sealroute
from benchmarks.lab import DOMAINS, Kind, Lab
from benchmarks.measure import Wanted
from benchmarks.peer import Peer
from benchmarks.report import AtLeast, AtMost, Figure, Target

SEALROUTE, POSTFIX = "Sealroute", "Postfix"


@dataclass(frozen=True, slots=True)
class Entrant:
    """One who takes part; made anew for every run."""

    name: str
    make: Callable[[Lab], Candidate]
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
    figures: tuple[Figure, ...] = (Figure.DELIVERED, Figure.ACCEPTED, Figure.CPU, Figure.MEMORY)


GATEWAY = Entrant(SEALROUTE, Sealroute)
KEPT = Entrant(f"{POSTFIX}, TLS kept", Peer, peer=True)
FRESH = Entrant(f"{POSTFIX}, TLS each time", lambda lab: Peer(lab, reuse=False), peer=True)
LEAN = (AtMost(Figure.CPU, 1 / 5), AtMost(Figure.MEMORY, 1 / 2))


def _throughput(name: str, about: str, kind: Kind, wanted: Wanted, at_least: float | None, *peers: Entrant) -> Scenario:
    fast = (AtLeast(Figure.DELIVERED, at_least),) if at_least else ()
    return Scenario(name, about, kind, wanted, (GATEWAY, *peers), (*fast, *LEAN))


SCENARIOS: tuple[Scenario, ...] = (
    _throughput("one-dane", "one DANE domain", Kind.DANE, Wanted(messages=4000, domains=1), 5.0, KEPT),
    _throughput("dane-500", "500 DANE domains", Kind.DANE, Wanted(messages=4000, domains=DOMAINS), 5.0, KEPT, FRESH),
)
