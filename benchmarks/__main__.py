"""`python -m benchmarks`: Sealroute and Postfix alternately, scenario by scenario (README.md)."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.lab import Lab
from benchmarks.measure import Measurement, Run
from benchmarks.peer import Peer
from benchmarks.report import show
from benchmarks.scenarios import SCENARIOS, Entrant, Scenario

DISK = Path("/var/tmp")
"""Kept over restarts, so it is on a disk; /tmp often is memory, where a disk flush costs nothing."""


WIDTH = 128
"""Of what is written to a file or a pipe."""


class Bench:
    """All runs that were asked for."""

    def __init__(self, console: Console, asked: argparse.Namespace) -> None:
        self.console = console
        self.asked = asked
        self.results: dict[str, dict[str, list[Run]]] = {}

    async def run(self, scenarios: Sequence[Scenario]) -> None:
        """One laboratory for all scenarios that need the same destinations."""
        for kind, group in groupby(scenarios, key=lambda scenario: scenario.kind):
            self.console.print(f"[dim]500 destinations: {kind.value}[/]")
            async with Lab(kind, chunking=self.asked.chunking) as lab:
                for scenario in group:
                    await self._scenario(lab, scenario)

    async def _scenario(self, lab: Lab, scenario: Scenario) -> None:
        why_not = "left out, as asked" if self.asked.no_peer else Peer.why_not(scenario.kind)
        entrants = [entrant for entrant in scenario.entrants if not (entrant.peer and why_not)]
        if why_not and len(entrants) < len(scenario.entrants):
            self.console.print(f"[yellow]{scenario.name} without Postfix: {why_not}[/]")
        wanted = scenario.wanted
        if self.asked.messages:
            wanted = replace(wanted, messages=self.asked.messages)
        runs: dict[str, list[Run]] = {entrant.name: [] for entrant in entrants}
        self.results[scenario.name] = runs
        for entrant in entrants:
            said = ", ".join(f"{name}={value}" for name, value in entrant.make(lab).settings.items())
            self.console.print(f"[dim]{entrant.name}: {said}[/]")
        for repeat in range(self.asked.repeats):
            for entrant in entrants:
                runs[entrant.name].append(await self._run(lab, replace(scenario, wanted=wanted), entrant, repeat))
        title = (
            f"{scenario.name}: {scenario.about}; {wanted.messages} messages of {wanted.size} octets, "
            f"{wanted.connections} connections, {f'{wanted.rate:g} messages/s, ' if wanted.rate else ''}"
            f"{f'{wanted.warm} to warm' if wanted.warm else 'cold'}, {self.asked.repeats} runs each"
        )
        show(self.console, title, scenario.figures, scenario.targets, runs)

    async def _run(self, lab: Lab, scenario: Scenario, entrant: Entrant, repeat: int) -> Run:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            bar = progress.add_task(scenario.name)

            def tell(phase: str, done: int, of: int) -> None:
                text = f"{scenario.name} {repeat + 1}/{self.asked.repeats}, {entrant.name}: {phase}"
                progress.update(bar, description=text, completed=done, total=of or None)

            return await Measurement(lab, tell).run(entrant.make(lab), scenario.wanted)


def _file_system(folder: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Sealroute and Postfix alternately, scenario by scenario.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--messages", type=int, help="per run, in every scenario")
    parser.add_argument("--no-peer", action="store_true", help="leave Postfix out")
    parser.add_argument("--chunking", action="store_true", help="the destinations offer CHUNKING")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run's figures there")
    parser.add_argument("--folder", type=Path, default=DISK, help="where queues are kept: on a disk (default: %(default)s)")
    asked = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    file_system = _file_system(asked.folder)
    if file_system in ("tmpfs", "ramfs"):
        parser.error(f"{asked.folder} is memory ({file_system}): name a --folder on a disk")
    tempfile.tempdir = str(asked.folder)
    load = f"load {os.getloadavg()[0]:.1f} before the start"
    console.print(f"[dim]{os.cpu_count()} processors, {load}; queues in {asked.folder} ({file_system})[/]")
    bench = Bench(console, asked)
    asyncio.run(bench.run([scenario for scenario in SCENARIOS if scenario.name in asked.scenario]))
    if asked.json:
        records = {name: {who: [asdict(run) for run in runs] for who, runs in of.items()} for name, of in bench.results.items()}
        asked.json.write_text(json.dumps(records, indent=1) + "\n")
    runs = [run for of in bench.results.values() for of_one in of.values() for run in of_one]
    sys.exit(any(run.faults for run in runs))


if __name__ == "__main__":
    main()
