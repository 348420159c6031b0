"""One run: start a gateway afresh, warm it, send, watch until everything arrived, count, stop.

Every message has a number of its own; a run holds when each of its numbers arrived at the sink exactly once and under TLS.
Times are CLOCK_MONOTONIC's, which client and sink share.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import count

from benchmarks.candidates import Candidate
from benchmarks.lab import Arrivals, Kind, Lab
from benchmarks.load import Plan, Result
from benchmarks.usage import Usage, machine_cpu_seconds, usage

STALL_SECONDS = 60.0
"""A run in which nothing arrives for so long is over."""
WATCH_SECONDS = 0.25
MEMORY_EVERY = 20
"""Memory is looked at so much more seldom, and at the end: for a hundred processes a look takes a tenth of a second."""
SETTLE_SECONDS = 0.5
"""What follows the last delivery (its commit, a duplicate) belongs to the run."""
_numbers = count(1, 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one run is asked to do."""

    messages: int
    domains: int
    size: int = 10_240
    warm: int = 600
    """Messages sent before anything is measured; 0: everything is cold."""
    rate: float = 0.0
    connections: int = 20


@dataclass(slots=True)
class Run:
    """What came of one run."""

    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    """Accepted and not arrived."""
    doubled: int = 0
    strays: int = 0
    """Arrived, but nobody had sent that number in this run."""
    plaintext: int = 0
    accepted_per_second: float = 0.0
    delivered_per_second: float = 0.0
    latency_median_ms: float = 0.0
    latency_p99_ms: float = 0.0
    latency_max_ms: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=dict)
    """Per message, by what the process is; `others`: what else the machine did meanwhile."""
    pss_mib: float = 0.0
    processes: int = 0
    handshakes: int = 0
    peak_connections: int = 0
    seconds: float = 0.0
    others_share: float = 0.0
    """How much of the machine was busy with what has nothing to do with the run, 0 to 1."""

    @property
    def faults(self) -> list[str]:
        """Why the run does not hold; empty when it does."""
        names = ("missing", "doubled", "strays", "plaintext")
        said = [f"{number} {name}" for name in names if (number := getattr(self, name))]
        return said + [f"{number} answered {reply!r}" for reply, number in self.refused.items()]


Progress = Callable[[str, int, int], None]
"""Told the phase, how many arrived, and of how many."""


class Measurement:
    """Runs in one Lab."""

    def __init__(self, lab: Lab, progress: Progress) -> None:
        self._lab = lab
        self._progress = progress

    async def run(self, candidate: Candidate, wanted: Wanted, started: Callable[[int], None] | None = None) -> Run:
        """`started` is told the gateway's process id once it is warm."""
        self._progress("starting", 0, 0)
        try:
            await candidate.start()
            if wanted.warm:
                await self._warm(candidate, wanted)
            if started is not None:
                started(candidate.pids["gateway"][0])
            return await self._measure(candidate, wanted)
        finally:
            self._progress("stopping", 0, 0)
            await candidate.stop()

    def _plan(self, candidate: Candidate, wanted: Wanted, messages: int, rate: float) -> Plan:
        domains = self._lab.domains[: wanted.domains]
        return Plan(
            ports=candidate.ports, domains=domains, first=next(_numbers), messages=messages, size=wanted.size,
            connections=wanted.connections, rate=rate,
        )  # fmt: skip

    async def _warm(self, candidate: Candidate, wanted: Wanted) -> None:
        await self._lab.sink.reset()
        plan, asked_before = self._plan(candidate, wanted, wanted.warm, 0.0), self._lab.policy_requests
        async with _sending(plan) as sent:
            await self._watch("warming", plan, sent)
            result = await sent
        arrived = await self._lab.sink.count()
        if arrived < wanted.warm:
            raise RuntimeError(f"warming: {arrived} of {wanted.warm} messages arrived; replies {result.refused}")
        asked = self._lab.policy_requests - asked_before
        if self._lab.kind is Kind.STS and asked < min(wanted.domains, wanted.warm):
            # Without its policies a gateway delivers all the same, and has less to do.
            raise RuntimeError(f"only {asked} policies of {wanted.domains} domains were asked for")

    async def _measure(self, candidate: Candidate, wanted: Wanted) -> Run:
        await self._lab.sink.reset()
        plan = self._plan(candidate, wanted, wanted.messages, wanted.rate)
        processes = candidate.pids | self._lab.pids
        before = {name: usage(pids) for name, pids in processes.items()}
        machine, ours, begin = machine_cpu_seconds(), time.process_time(), time.monotonic()
        async with _sending(plan) as sent:
            peak = await self._watch("measuring", plan, sent, processes["gateway"])
            await asyncio.sleep(SETTLE_SECONDS)
            after = {name: usage(pids) for name, pids in processes.items()}
            machine, ours = machine_cpu_seconds() - machine, time.process_time() - ours
            result = await sent
        run = counted(plan, result, await self._lab.sink.arrivals())
        cpu = {name: after[name].cpu_seconds - before[name].cpu_seconds for name in processes}
        cpu |= {"client": result.cpu_seconds, "benchmark": ours}
        cpu["others"] = max(machine - sum(cpu.values()), 0.0)
        run.cpu_ms = {name: 1000 * seconds / max(wanted.messages, 1) for name, seconds in cpu.items()}
        run.pss_mib, run.processes = peak.pss_bytes / 2**20, peak.processes
        run.seconds = time.monotonic() - begin
        run.others_share = cpu["others"] / run.seconds / (os.cpu_count() or 1)
        return run

    async def _watch(self, phase: str, plan: Plan, sent: asyncio.Task[Result], pids: list[int] | None = None) -> Usage:
        """Return what the processes used at their peak, once everything arrived or nothing does any more."""
        peak = Usage(0.0, 0, 0)
        arrived, changed = -1, time.monotonic()
        for tick in count():
            now = await self._lab.sink.count()
            self._progress(phase, now, plan.messages)
            if now != arrived:
                arrived, changed = now, time.monotonic()
            stalled = time.monotonic() - changed > STALL_SECONDS
            over = stalled or (sent.done() and now >= sent.result().accepted)
            if pids and (over or tick % MEMORY_EVERY == 1):
                seen = await asyncio.to_thread(usage, pids, memory=True)
                peak = Usage(0.0, max(peak.pss_bytes, seen.pss_bytes), max(peak.processes, seen.processes))
            if over:
                break
            await asyncio.sleep(WATCH_SECONDS)
        return peak


@asynccontextmanager
async def _sending(plan: Plan) -> AsyncIterator[asyncio.Task[Result]]:
    """The client at work; it ends with the context, whatever happens."""
    task = asyncio.create_task(_send(plan))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _send(plan: Plan) -> Result:
    """Run the client."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26
    )
    try:
        output, _ = await client.communicate(json.dumps(asdict(plan)).encode())
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    if client.returncode:
        raise RuntimeError(f"the load client ended with {client.returncode}")
    return Result(**json.loads(output))


def counted(plan: Plan, result: Result, arrivals: Arrivals) -> Run:
    """Everything that can be told from what was sent and what arrived."""
    begun = result.begun
    copies = Counter(arrivals.numbers)
    own = {number for number in copies if 0 <= number - plan.first < plan.messages}
    first_arrival = dict(zip(reversed(arrivals.numbers), reversed(arrivals.times), strict=True))
    latencies = sorted((first_arrival[number] - begun[number - plan.first]) / 1e6 for number in own) or [0.0]
    start = min((at for at in begun if at), default=0)
    run = Run(accepted=result.accepted, refused=dict(result.refused))
    run.missing = max(plan.messages - sum(run.refused.values()) - len(own), 0)
    run.doubled = sum(copies[number] - 1 for number in own)
    run.strays = sum(copies[number] for number in copies.keys() - own)
    run.plaintext, run.handshakes, run.peak_connections = arrivals.plaintext, arrivals.handshakes, arrivals.peak_connections
    run.accepted_per_second = run.accepted * 1e9 / max(result.last_answer - start, 1)
    run.delivered_per_second = len(own) * 1e9 / max(max((first_arrival[number] for number in own), default=start) - start, 1)
    run.latency_median_ms = _quantile(latencies, 0.5)
    run.latency_p99_ms = _quantile(latencies, 0.99)
    run.latency_max_ms = latencies[-1]
    return run


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]
