"""All runs that were asked for: scenario by scenario, the entrants alternately, A B A B."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.candidates import Candidate
from benchmarks.lab import Lab
from benchmarks.measure import Measurement, Run, Wanted
from benchmarks.report import Target, ratio, show, summary
from benchmarks.scenarios import Entrant, Scenario

QUICK = 1000
"""Messages of a quick run, at most."""
QUICK_SECONDS = 10.0
"""Of a quick run at a steady rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says."""

    repeats: int = 3
    messages: int | None = None
    quick: bool = False
    peer: bool = True
    chunking: bool = False
    profile: Path | None = None

    def wanted(self, wanted: Wanted) -> Wanted:
        """A scenario's run, as long as asked."""
        if self.messages:
            # Cold means one message to each destination at most.
            most = self.messages if wanted.warm else min(self.messages, wanted.messages)
            return replace(wanted, messages=most)
        if self.quick:
            return replace(wanted, messages=min(wanted.messages, int(wanted.rate * QUICK_SECONDS) or QUICK))
        return wanted


@dataclass(slots=True)
class Outcome:
    """What came of one scenario."""

    wanted: Wanted
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Runs that could not be made."""


class Bench:
    """Runs and shows them."""

    def __init__(self, console: Console, asked: Asked) -> None:
        self.console = console
        self.asked = asked
        self.outcomes: dict[str, Outcome] = {}
        self._targets: list[tuple[str, Target, float]] = []
        self._said: dict[str, dict[str, str]] = {}
        """Settings that were shown already, by entrant."""

    @property
    def holds(self) -> bool:
        """Whether every run was made, and every message arrived exactly once and under TLS."""
        runs = [run for outcome in self.outcomes.values() for of_one in outcome.runs.values() for run in of_one]
        return bool(runs) and not any(run.faults for run in runs) and not any(o.failures for o in self.outcomes.values())

    def write(self, file: Path) -> None:
        """Every run's figures, as JSON."""
        file.write_text(json.dumps({name: asdict(outcome) for name, outcome in self.outcomes.items()}, indent=1) + "\n")

    async def run(self, scenarios: Sequence[Scenario]) -> None:
        """One laboratory for all scenarios that need the same destinations."""
        for kind, group in groupby(scenarios, key=lambda scenario: scenario.kind):
            self.console.print(f"[dim]500 destinations with {kind.value}[/]")
            async with Lab(kind, chunking=self.asked.chunking) as lab:
                for scenario in group:
                    await self._scenario(lab, scenario)
        if self._targets:
            summary(self.console, self._targets)

    async def _scenario(self, lab: Lab, scenario: Scenario) -> None:
        wanted = self.asked.wanted(scenario.wanted)
        outcome = self.outcomes[scenario.name] = Outcome(wanted)
        entrants = self._entrants(scenario)
        outcome.runs = {entrant.name: [] for entrant in entrants}
        for repeat in range(self.asked.repeats):
            for entrant in entrants:
                text = f"{scenario.name} {repeat + 1}/{self.asked.repeats}, {entrant.name}"
                try:
                    candidate = entrant.make(lab)
                    outcome.settings[entrant.name] = dict(candidate.settings)
                    profile = self.asked.profile / f"{scenario.name} {entrant.name}.txt" if self.asked.profile else None
                    measured = await self._run(lab, candidate, wanted, text, None if entrant.peer else profile)
                    outcome.runs[entrant.name].append(measured)
                except (OSError, RuntimeError) as error:
                    outcome.failures.append(f"{text}: {error}")
        if not entrants:
            return
        for name, settings in outcome.settings.items():
            if self._said.get(name) != settings:
                self._said[name] = settings
                said = ", ".join(f"{setting}={value}" for setting, value in settings.items())
                self.console.print(f"[dim]{name}: {said}[/]", highlight=False)
        show(self.console, self._title(scenario, wanted), scenario.figures, scenario.targets, outcome.runs)
        ratios = [(target, ratio(target.figure, outcome.runs)) for target in scenario.targets]
        self._targets += [(scenario.name, target, value) for target, value in ratios if value is not None]
        for failure in outcome.failures:
            self.console.print(f"[red]{failure}[/]", highlight=False)

    def _entrants(self, scenario: Scenario) -> list[Entrant]:
        """Who can take part; says why the others cannot."""
        found = []
        for entrant in scenario.entrants:
            why_not = "as asked" if entrant.peer and not self.asked.peer else entrant.why_not(scenario.kind)
            if why_not:
                self.console.print(f"[yellow]{scenario.name} without {entrant.name}: {why_not}[/]")
            else:
                found.append(entrant)
        return found

    def _title(self, scenario: Scenario, wanted: Wanted) -> str:
        rate = f"{wanted.rate:g} messages/s" if wanted.rate else "as fast as they are taken"
        warm = f"after {wanted.warm} to warm" if wanted.warm else "nothing warmed"
        return (
            f"{scenario.name}: {scenario.about}\n{wanted.messages} messages of {wanted.size} octets over "
            f"{wanted.connections} connections, {rate}, {warm}; median of {self.asked.repeats} (range)"
        )

    async def _run(self, lab: Lab, candidate: Candidate, wanted: Wanted, text: str, profile: Path | None) -> Run:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        profilers: list[subprocess.Popen[bytes]] = []

        def started(pid: int) -> None:
            if profile is not None:
                profilers.append(_profile(pid, profile))

        live = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=2, disable=not live) as progress:
            bar = progress.add_task(text)

            def tell(phase: str, done: int, of: int) -> None:
                progress.update(bar, description=f"{text}: {phase}", completed=done, total=of or None)

            run = await Measurement(lab, tell).run(candidate, wanted, started)
        for profiler in profilers:
            profiler.wait(60)
        if not live:
            self.console.print(f"{text}: {run.delivered_per_second:,.0f} delivered/s", highlight=False)
        return run


def _profile(pid: int, file: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    command = [program, "record", "-p", str(pid), "-o", str(file), "-f", "raw", "-r", "200", "--nonblocking", "--threads"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
