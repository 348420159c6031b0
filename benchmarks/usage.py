"""What processes and their descendants use: processor time and memory, from /proc."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment."""

    cpu_seconds: float
    """User and system time, of ended children too."""
    pss_bytes: int
    """Memory with shared pages counted by halves, thirds, ...; 0 where it was not asked for or the kernel does not tell."""
    processes: int


def usage(pids: Iterable[int], *, memory: bool = False) -> Usage:
    """Of the processes and all their living descendants; ProcessLookupError when one of `pids` is gone."""
    roots = list(pids)
    tree = [*roots, *_descendants(roots)]
    cpu = 0
    for member in tree:
        try:
            # Ended children are in their parent's own count.
            cpu += sum(_stat(member)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            if member in roots:
                raise ProcessLookupError(member) from None
    return Usage(cpu / TICKS_PER_SECOND, _pss(tree) if memory else 0, len(tree))


def machine_cpu_seconds() -> float:
    """Processor time of everything on this machine since it was started, waiting left out."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICKS_PER_SECOND


def _descendants(pids: list[int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                children.setdefault(_stat(int(folder.name))[1], []).append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, waiting = [], list(pids)
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _stat(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat after the name; [1] is the parent, [11:15] user and system time, own and of children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:22])]


def _pss(pids: list[int]) -> int:
    text, closed = "", []
    for pid in pids:
        file = f"/proc/{pid}/smaps_rollup"
        try:
            text += Path(file).read_text()
        except PermissionError:
            closed.append(file)
        except (FileNotFoundError, ProcessLookupError):
            continue
    if closed:
        # One call for all: some of Postfix's processes are another user's.
        text += subprocess.run(["sudo", "-n", "cat", *closed], capture_output=True, text=True, check=False).stdout
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
