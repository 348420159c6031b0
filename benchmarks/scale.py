"""The scale benchmark: what each operation on the queue and the trace costs, as the two grow.

    python -m benchmarks.scale [--queue 10000,100000,1000000] [--trace 10000,...,10000000] [--store sqlite|postgresql]
                               [--rounds 5] [--folder DIR] [--gateway SECONDS]

Stores are filled once, in --folder, and used again if they are there.  Rounds go from size to size in turn, so that what else
the machine does meets all sizes alike; each is a process of its own.  The figures are medians over all rounds.  Two more begin
with the store's file out of the page cache (SQLite only).  The exit code is 1 when an operation that must be flat costs
at the largest size more than 1.5 times what it costs at the smallest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.scale_fill import HELD, SUSPENDED, WITH_STORY, fill_queue, fill_trace
from benchmarks.scale_memory import watch_gateways

MOST = 1.5
SMALL_MS = 0.4
"""Differences below it are no more than a thread's change-over, or some twenty pages from the page cache for a deeper tree."""
COLD_ROUNDS = 2
ALWAYS_ANEW = 100_000
"""Stores up to this size are not used again: rounds take rows away, and here they would be missed."""
GROWS = {
    "counting the queue (behind, at most 1% of the time)": "nobody waits for it; made so seldom that it takes 1% of the time",
    "subject contains what none has, 1 of 10 days (looks at each row)": "grows with the rows of the asked period",
    "clean-up of 500 rows": "grows until index entries of neighbours share no pages, then stays; slices are bounded by time",
    "clean-up: another writer waits for the lock": "bounded by a slice",
    "clean-up: the write lock is held by one slice": "rows per slice follow the time, 20 ms wanted",
}
"""Operations that need not be flat, and why."""


@dataclass(slots=True)
class Measured:
    """All rounds of one kind, by size."""

    samples: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    peaks: dict[int, list[int]] = field(default_factory=dict)

    def add(self, size: int, said: dict[str, object]) -> None:
        known = self.samples.setdefault(size, {})
        taken = said["samples"]
        assert isinstance(taken, dict)
        for name, values in taken.items():
            known.setdefault(name, []).extend(values)
        self.peaks.setdefault(size, []).append(int(str(said["peak"])))

    def ratio(self, name: str) -> float:
        """What the largest costs for what the smallest costs; 1 when they differ by less than can be measured."""
        smallest, largest = (median(self.samples[size][name]) for size in (min(self.samples), max(self.samples)))
        return 1.0 if abs(largest - smallest) < SMALL_MS else largest / smallest

    def too_steep(self) -> list[str]:
        return [name for name in self.samples[min(self.samples)] if name not in GROWS and self.ratio(name) > MOST]


class Stores:
    """Where the filled stores are: files, or databases of a server of our own."""

    def __init__(self, console: Console, folder: Path, kind: str) -> None:
        self.console = console
        self.folder = folder
        self.kind = kind
        self._server = None
        if kind == "postgresql":
            from tests.real.postgres import Postgres

            self._server = Postgres()
            self._server.start()

    def url(self, what: str, size: int) -> str:
        """Filled, if it was not yet."""
        if self._server is not None:
            url = self._server.url(self._server.empty())
            self._fill(what, url, size)
            return url
        path = self.folder / f"{what}-{size}.db"
        if size <= ALWAYS_ANEW or not path.exists():
            part = path.with_suffix(".part")
            for old in (*self.folder.glob(f"{part.name}*"), *self.folder.glob(f"{path.name}*")):
                old.unlink()
            self._fill(what, f"sqlite:///{part}", size)
            part.rename(path)
        return f"sqlite:///{path}"

    def _fill(self, what: str, url: str, size: int) -> None:
        total = size + (HELD + SUSPENDED if what == "queue" else 0)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            bar = progress.add_task(f"{what} of {size:,}: filling", total=total)
            fill = fill_queue if what == "queue" else fill_trace
            fill(url, size, lambda count: progress.advance(bar, count))

    def close(self) -> None:
        if self._server is not None:
            self._server.remove()


def forget(url: str) -> None:
    """Put an SQLite file out of the page cache."""
    path = Path(url.removeprefix("sqlite:///"))
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(url: str) -> None:
    """Read an SQLite file into the page cache, as it is for a gateway that has run for a while."""
    path = Path(url.removeprefix("sqlite:///"))
    if path.exists():
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def measure(console: Console, what: str, urls: dict[int, str], rounds: int) -> tuple[Measured, Measured]:
    """Rounds from size to size; with what they need in the page cache, and (the last two) without."""
    warm, cold = Measured(), Measured()
    cold_rounds = COLD_ROUNDS if all(url.startswith("sqlite") for url in urls.values()) else 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(what, total=(rounds + cold_rounds) * len(urls))
        for turn in range(rounds + cold_rounds):
            for size, url in urls.items():
                progress.update(bar, description=f"{what} of {size:,}: round {turn + 1}")
                if turn == 0:
                    remember(url)
                if turn >= rounds:
                    forget(url)
                command = [sys.executable, "-m", "benchmarks.scale_measure", what, url, str(size), str(turn)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                (warm if turn < rounds else cold).add(size, json.loads(done.stdout))
                progress.advance(bar)
    return warm, cold


def show(console: Console, what: str, store: str, warm: Measured, cold: Measured) -> None:
    table = Table(title=f"{what} on {store}: median milliseconds by size, what is needed being in the page cache")
    table.add_column("operation")
    for size in warm.samples:
        table.add_column(f"{size:,}", justify="right")
    for heading in ("longest", "cold", "ratio", ""):
        table.add_column(heading, justify="right")
    largest = max(warm.samples)
    steep = warm.too_steep()
    for name, values in warm.samples[largest].items():
        cells = [f"{median(found[name]):.2f}" for found in warm.samples.values()]
        known = cold.samples.get(largest, {}).get(name)
        without = f"{median(known):.2f}" if known else ""
        verdict = "[red]not flat[/]" if name in steep else "grows" if name in GROWS else "flat"
        table.add_row(name, *cells, f"{max(values):.1f}", without, f"{warm.ratio(name):.2f}", verdict)
    peaks = [f"{max(warm.peaks[size]) / 2**20:.0f} MiB" for size in warm.samples]
    table.add_row("peak memory of the process (VmHWM)", *peaks, "", "", "", "")
    console.print(table)
    console.print("[dim]longest, cold: at the largest size; cold: the file out of the page cache before.[/]")
    for name, why in GROWS.items():
        if name in warm.samples[largest]:
            console.print(f"[dim]{name}: {why}.[/]")


def sizes(text: str) -> list[int]:
    return sorted({int(item) for item in text.split(",") if item})


@contextlib.contextmanager
def folder_for(wanted: Path | None) -> Iterator[Path]:
    """The one given, which stays; else one of our own."""
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted
        return
    own = Path(tempfile.mkdtemp(prefix="sealroute-scale-", dir="/var/tmp"))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queue", type=sizes, default=sizes("10000,100000,1000000"), help="sizes of the queue, or nothing")
    parser.add_argument("--trace", type=sizes, default=sizes("10000,100000,1000000,10000000"), help="sizes of the trace")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the stores are kept; by default they are removed")
    parser.add_argument("--gateway", type=float, default=60.0, help="seconds to watch a gateway's memory; 0: leave it out")
    wanted = parser.parse_args()
    if wanted.trace and min(wanted.trace) < WITH_STORY:
        parser.error(f"a trace has at least {WITH_STORY} rows here")
    if wanted.queue and min(wanted.queue) < 10_000:
        parser.error("a queue has at least 10000 groups here")
    return wanted


def main() -> int:
    console, wanted = Console(), parse()
    failed: list[str] = []
    with folder_for(wanted.folder) as folder, contextlib.closing(Stores(console, folder, wanted.store)) as stores:
        for what, asked in (("queue", wanted.queue), ("trace", wanted.trace)):
            if asked:
                urls = {size: stores.url(what, size) for size in asked}
                warm, cold = measure(console, what, urls, wanted.rounds)
                show(console, what, wanted.store, warm, cold)
                failed += warm.too_steep()
        if wanted.gateway and wanted.queue:
            asyncio.run(watch_gateways(console, folder, wanted.queue, wanted.gateway))
    if failed:
        console.print(f"[red]Not flat: {', '.join(failed)}[/]")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
