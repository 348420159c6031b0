"""The relay benchmark: N messages in over some connections, out to TLS sinks whose certificates DANE proves.

    python -m benchmarks.relay [--messages N] [--size BYTES] [--connections 20] [--domains K] [--workers N] [--no-peer]

Load client, gateway, sink and name servers are processes of their own; the figures are of the gateway's processes alone.  Every
message is counted by its id at the sink.  Where Postfix is installed and may be started (root or sudo), the same run goes
through a Postfix that does the same job (DANE for every domain, connections kept open), and the ratio is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.peer import Peer
from benchmarks.usage import Usage, usage
from simnet.gateway import Gateway
from simnet.internet import Host, Internet, simple
from simnet.nameserver import free_port

DANE = ("3 1 1",)
STALL_SECONDS = 60.0
"""A run in which nothing arrives for so long is over."""
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one run is asked to do."""

    messages: int
    size: int
    connections: int
    domains: tuple[str, ...]
    workers: int = 1


@dataclass(slots=True)
class Measured:
    """What came of one run."""

    name: str
    settings: dict[str, str]
    accepted: int = 0
    refused: list[str] = field(default_factory=list)
    accept_seconds: float = 0.0
    deliver_seconds: float = 0.0
    arrived: int = 0
    distinct: int = 0
    unproven: int = 0
    """Messages that came in plaintext."""
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    peak_pss_bytes: int = 0
    processes: int = 0

    @property
    def accepted_per_second(self) -> float:
        return self.accepted / self.accept_seconds if self.accept_seconds else 0.0

    @property
    def delivered_per_second(self) -> float:
        return self.distinct / self.deliver_seconds if self.deliver_seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        return self.cpu_seconds * 1000 / max(self.distinct, 1)

    @property
    def missing(self) -> int:
        return self.accepted - self.distinct

    @property
    def duplicates(self) -> int:
        return self.arrived - self.distinct


class Sink:
    """All mail hosts in a process of their own, and the log of what they took."""

    def __init__(self, folder: Path, hosts: list[dict[str, str | int]], name: str) -> None:
        self.log = folder / f"sink-{name}.jsonl"
        self.log.touch()
        listing = folder / "hosts.json"
        listing.write_text(json.dumps(hosts))
        command = [sys.executable, "-m", "simnet.mailhost", str(listing), "--log", str(self.log)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        if b"ready" not in self.process.stdout.readline():
            raise RuntimeError("the sink did not start")

    def count(self) -> int:
        with self.log.open("rb") as log:
            return sum(block.count(b"\n") for block in iter(lambda: log.read(1 << 20), b""))

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Bench:
    """One internet, one or two relays through it."""

    def __init__(self, console: Console, folder: Path, wanted: Wanted) -> None:
        self.console = console
        self.folder = folder
        self.wanted = wanted

    async def run(self, *, peer: bool, log_level: str, started: Callable[[int], None]) -> list[Measured]:
        destinations = [simple(domain, "DANE", Host(DANE, profile="chunking")) for domain in self.wanted.domains]
        async with Internet(self.folder, destinations, serve_mail=False) as net:
            results = [await self.gateway(net, log_level, started)]
            if peer:
                results.append(await self.peer(net))
        return results

    async def gateway(self, net: Internet, log_level: str, started: Callable[[int], None]) -> Measured:
        port = free_port("127.0.0.1")
        toml = net.gateway_toml(port, logging=f'level = "{log_level}"')
        gateway = Gateway(self.folder, f"workers = {self.wanted.workers}\n{toml}")
        sink = Sink(self.folder, net.mail_hosts, "sealroute")
        settings = {
            "store": "SQLite, synchronous=FULL",
            "log level": log_level,
            "resolver": "libunbound in the process",
            "workers": str(self.wanted.workers),
            "connector": "none; SmtpDaneMode Opportunistic",
        }
        try:
            await gateway.start()
            assert gateway.process is not None
            started(gateway.process.pid)
            return await self.measure("Sealroute", settings, gateway.process.pid, ("127.0.0.1", port), sink)
        finally:
            await gateway.stop()
            sink.stop()

    async def peer(self, net: Internet) -> Measured:
        sink = Sink(self.folder, net.mail_hosts, "postfix")
        peer = Peer(net, free_port("127.0.0.1"))
        try:
            await asyncio.to_thread(peer.start)
            return await self.measure("Postfix", peer.shown, peer.pid, ("127.0.0.1", peer.port), sink)
        finally:
            await asyncio.to_thread(peer.stop)
            sink.stop()

    async def measure(self, name: str, settings: dict[str, str], pid: int, where: tuple[str, int], sink: Sink) -> Measured:
        """Start the load, watch until everything arrived or nothing does any more, and count."""
        wanted, result = self.wanted, Measured(name, settings)
        before = usage(pid)
        command = [
            sys.executable, "-m", "benchmarks.load", where[0], str(where[1]), "--messages", str(wanted.messages),
            "--size", str(wanted.size), "--connections", str(wanted.connections), "--domains", ",".join(wanted.domains),
        ]  # fmt: skip
        load = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        sent = asyncio.create_task(load.communicate())
        last = await self._watch(result, pid, sink, sent)
        report = json.loads((await sent)[0])
        result.accepted, result.refused = report["accepted"], report["refused"]
        records = sink.records()
        times = sorted(float(str(record["at"])) for record in records)
        begin = min([report["first_at"], *times[:1]])
        result.accept_seconds = report["last_at"] - begin
        result.deliver_seconds = times[-1] - begin if times else 0.0
        ids = Counter(str(record["id"]) for record in records)
        result.arrived, result.distinct = len(records), len(ids)
        result.unproven = sum(not record["tls"] for record in records)
        result.cpu_seconds = last.cpu_seconds - before.cpu_seconds
        result.processes = last.processes
        return result

    async def _watch(self, result: Measured, pid: int, sink: Sink, sent: asyncio.Task[tuple[bytes, bytes]]) -> Usage:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            bar = progress.add_task(f"{result.name}: delivered", total=self.wanted.messages)
            arrived, changed = -1, time.monotonic()
            while True:
                count, now = await asyncio.to_thread(sink.count), await asyncio.to_thread(usage, pid)
                result.peak_pss_bytes = max(result.peak_pss_bytes, now.pss_bytes)
                result.peak_rss_bytes = max(result.peak_rss_bytes, now.peak_rss_bytes)
                progress.update(bar, completed=count)
                if count != arrived:
                    arrived, changed = count, time.monotonic()
                over = count >= self.wanted.messages or time.monotonic() - changed > STALL_SECONDS
                if over and (sent.done() or time.monotonic() - changed > STALL_SECONDS):
                    # What follows the last delivery (its commit) belongs to it.
                    await asyncio.sleep(SAMPLE_SECONDS)
                    return await asyncio.to_thread(usage, pid)
                await asyncio.sleep(SAMPLE_SECONDS)


def show(console: Console, wanted: Wanted, results: list[Measured]) -> None:
    """Figures side by side."""
    for result in results:
        said = ", ".join(f"{name}: {value}" for name, value in result.settings.items())
        console.print(f"[dim]{result.name}: {said}[/]")
    table = Table(title=f"{wanted.messages} messages of {wanted.size} octets, {wanted.connections} connections, "
                  f"{len(wanted.domains)} domains, all with DANE")  # fmt: skip
    table.add_column("")
    for result in results:
        table.add_column(result.name, justify="right")
    if len(results) == 2:
        table.add_column("ratio", justify="right")

    def row(name: str, value: Callable[[Measured], float], form: str, *, ratio: bool = True) -> None:
        cells = [form.format(value(result)) for result in results]
        if len(results) == 2:
            cells.append(f"{value(results[0]) / value(results[1]):.2f}" if ratio and value(results[1]) else "")
        table.add_row(name, *cells)

    row("accepted/s", lambda item: item.accepted_per_second, "{:,.0f}")
    row("delivered/s", lambda item: item.delivered_per_second, "{:,.0f}")
    row("CPU ms per message", lambda item: item.cpu_ms, "{:.2f}")
    row("peak memory, PSS of all processes, MiB", lambda item: item.peak_pss_bytes / 2**20, "{:,.1f}")
    row("peak memory, VmHWM of the main process, MiB", lambda item: item.peak_rss_bytes / 2**20, "{:,.1f}", ratio=False)
    row("processes at the end", lambda item: item.processes, "{:,}", ratio=False)
    row("accepted", lambda item: item.accepted, "{:,}", ratio=False)
    row("missing", lambda item: item.missing, "{:,}", ratio=False)
    row("duplicates", lambda item: item.duplicates, "{:,}", ratio=False)
    row("arrived in plaintext", lambda item: item.unproven, "{:,}", ratio=False)
    console.print(table)
    for result in results:
        for reply in sorted(set(result.refused))[:5]:
            console.print(f"[red]{result.name} answered:[/] {reply}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Messages through the gateway to DANE destinations, and through a Postfix.")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_240, help="octets of a message's body")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes of the gateway")
    parser.add_argument("--no-peer", action="store_true", help="leave Postfix out")
    parser.add_argument("--profile", type=Path, help="record the gateway with py-spy (if installed) into this file")
    asked = parser.parse_args()
    console = Console()
    domains = tuple(f"d{n}.test" for n in range(asked.domains))
    wanted = Wanted(asked.messages, asked.size, asked.connections, domains, asked.workers)
    why_not = "" if asked.no_peer else Peer.why_not()
    if why_not:
        console.print(f"[yellow]without Postfix: {why_not}[/]")
    profilers: list[subprocess.Popen[bytes]] = []

    def started(pid: int) -> None:
        console.print(f"[dim]gateway process {pid}; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}[/]")
        if asked.profile:
            profilers.append(_profile(pid, asked.profile))

    with tempfile.TemporaryDirectory(prefix="sealroute-bench-") as folder:
        bench = Bench(console, Path(folder), wanted)
        peer = not asked.no_peer and not why_not
        results = asyncio.run(bench.run(peer=peer, log_level="warning", started=started))
    for profiler in profilers:
        profiler.wait(60)
    show(console, wanted, results)
    sys.exit(any(result.missing or result.refused or result.unproven for result in results))


def _profile(pid: int, file: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    command = [program, "record", "-p", str(pid), "-o", str(file), "-f", "raw", "-r", "200", "--nonblocking", "--threads"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
