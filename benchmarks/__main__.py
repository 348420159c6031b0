"""`python -m benchmarks`: Sealroute and Postfix alternately, scenario by scenario (README.md)."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.bench import Asked, Bench
from benchmarks.scenarios import SCENARIOS, Scenario

DISK = Path("/var/tmp")
"""Kept over restarts, so it is on a disk; /tmp often is memory, where flushing costs nothing."""
WIDTH = 128
"""Of what is written to a file or a pipe."""


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--repeats", type=int, help="runs of each entrant (default: 3, with --quick 1)")
    parser.add_argument("--messages", type=int, help="per run, in every scenario (cold: no more than destinations)")
    parser.add_argument("--quick", action="store_true", help="short runs: whether all works, not how fast it is")
    parser.add_argument("--no-peer", action="store_true", help="leave Postfix out")
    parser.add_argument("--chunking", action="store_true", help="the destinations offer CHUNKING")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run's figures there")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="record Sealroute with py-spy, if that is installed")
    parser.add_argument("--folder", type=Path, default=DISK, help="where queues are kept: on a disk (default: %(default)s)")
    return parser


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    except OSError:
        return "not installed"


def _machine(folder: Path, file_system: str) -> str:
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    postfix = _said(shutil.which("postconf", path="/usr/sbin:/usr/bin") or "postconf", "-h", "mail_version")
    return (
        f"{os.cpu_count()} processors ({model or 'unknown'}), load {os.getloadavg()[0]:.1f} before the start; "
        f"Python {platform.python_version()}, Postfix {postfix}; queues in {folder} ({file_system})"
    )


async def _until_told(bench: Bench, scenarios: list[Scenario]) -> None:
    """All scenarios; SIGTERM, as `timeout` sends it, ends them with every process that was started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await bench.run(scenarios)


def main() -> None:
    parser = _arguments()
    given = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    file_system = _said("stat", "-f", "-c", "%T", str(given.folder))
    if file_system in ("tmpfs", "ramfs"):
        parser.error(f"{given.folder} is memory ({file_system}), where flushing costs nothing: name a --folder on a disk")
    tempfile.tempdir = str(given.folder)
    if given.profile:
        given.profile.mkdir(parents=True, exist_ok=True)
    asked = Asked(
        repeats=given.repeats or (1 if given.quick else 3), messages=given.messages, quick=given.quick,
        peer=not given.no_peer, chunking=given.chunking, profile=given.profile,
    )  # fmt: skip
    console.print(f"[dim]{_machine(given.folder, file_system)}[/]", highlight=False)
    begin, bench = time.monotonic(), Bench(console, asked)
    try:
        asyncio.run(_until_told(bench, [scenario for scenario in SCENARIOS if scenario.name in given.scenario]))
    except asyncio.CancelledError:
        sys.exit("ended by SIGTERM")
    finally:
        if given.json:
            bench.write(given.json)
    console.print(f"[dim]{time.monotonic() - begin:.0f} s in all[/]")
    if not bench.holds:
        console.print("[red]Not every message arrived exactly once and under TLS, or a run could not be made: see above.[/]")
    sys.exit(not bench.holds)


if __name__ == "__main__":
    main()
