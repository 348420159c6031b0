"""What a gateway needs in memory for a queue of which nothing can be delivered: a real one, on stores of each size.

Nine of ten groups are for a destination whose server refuses connections, the others for a thousand domains of which the
root says that they are not there; both in the simulated internet.  So the gateway does all it does for mail that fails: it
takes, loads, tries, defers, returns.  Its memory is read twice a second.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.scale_fill import DEAD, fill_queue
from simnet.gateway import Gateway
from simnet.internet import Host, Internet, simple
from simnet.nameserver import free_port

SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """One gateway on one queue."""

    size: int
    ready_seconds: float
    early_bytes: int
    """After a tenth of the time; late: at the end."""
    late_bytes: int
    peak_bytes: int
    attempts: int
    answered_ms: float
    """The slowest answer of /healthz."""


async def watch_gateways(console: Console, folder: Path, sizes: list[int], seconds: float) -> None:
    """One after the other; prints a table.  Stores made for it are removed."""
    table = Table(title=f"a gateway whose queue cannot be delivered, {seconds:.0f} s: memory by length of the queue")
    for heading in ("groups", "ready after", "RSS early", "RSS late", "VmHWM", "attempts", "slowest /healthz"):
        table.add_column(heading, justify="right")
    for size in sizes:
        with console.status(f"gateway on a queue of {size:,}: filling, then watching for {seconds:.0f} s"):
            seen = await _watch(folder / f"gateway-{size}", size, seconds)
        table.add_row(
            f"{size:,}", f"{seen.ready_seconds:.1f} s", _mib(seen.early_bytes), _mib(seen.late_bytes), _mib(seen.peak_bytes),
            f"{seen.attempts:,}", f"{seen.answered_ms:.0f} ms",
        )  # fmt: skip
    console.print(table)


async def _watch(folder: Path, size: int, seconds: float) -> Watched:
    folder.mkdir(exist_ok=True)
    store = folder / "queue.db"
    await asyncio.to_thread(fill_queue, f"sqlite:///{store}", size, lambda count: None, datetime.now(UTC))
    try:
        async with Internet(folder, [simple(DEAD, "nobody listens", Host())], serve_mail=False) as net:
            port, http = free_port("127.0.0.1"), free_port("127.0.0.1")
            toml = net.gateway_toml(port, logging='level = "error"')
            gateway = Gateway(folder, toml.replace("[http]\nenabled = false", f"[http]\nenabled = true\nport = {http}"))
            started = time.perf_counter()
            await gateway.start()
            ready = time.perf_counter() - started
            try:
                return await _read(gateway, store, http, (size, ready, seconds))
            finally:
                await gateway.stop()
    finally:
        for file in folder.glob("queue.db*"):
            file.unlink()


async def _read(gateway: Gateway, store: Path, http: int, asked: tuple[int, float, float]) -> Watched:
    size, ready, seconds = asked
    assert gateway.process is not None
    pid, samples, slowest = gateway.process.pid, list[int](), 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples.append(_status(pid, "VmRSS"))
        started = time.perf_counter()
        await _healthz(http)
        slowest = max(slowest, (time.perf_counter() - started) * 1000)
        await asyncio.sleep(SAMPLE_SECONDS)
    attempts = await asyncio.to_thread(_attempts, store)
    early = samples[max(1, len(samples) // 10)]
    return Watched(size, ready, early, samples[-1], _status(pid, "VmHWM"), attempts, slowest)


async def _healthz(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
    said = await reader.read()
    writer.close()
    return said


def _attempts(store: Path) -> int:
    import sqlite3

    with sqlite3.connect(store) as connection:
        return int(connection.execute("SELECT count(*) FROM attempt").fetchone()[0])


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
