"""What a process and its descendants use: processor time and memory, from /proc."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment."""

    cpu_seconds: float
    """User and system time, of ended children too."""
    pss_bytes: int
    """Memory with shared pages counted by halves, thirds, ...; 0 where the kernel does not tell."""
    peak_rss_bytes: int
    """VmHWM of the process itself, without descendants."""
    processes: int


def usage(pid: int) -> Usage:
    """Of the process and all its living descendants; ProcessLookupError when it is gone."""
    tree = [pid, *_descendants(pid)]
    cpu = pss = 0
    for member in tree:
        try:
            # Ended children are in their parent's own count.
            cpu += sum(_stat(member)[11:15])
            pss += _kilobytes(member, "smaps_rollup", "Pss:")
        except (FileNotFoundError, ProcessLookupError):
            if member == pid:
                raise ProcessLookupError(pid) from None
    return Usage(cpu / TICKS_PER_SECOND, pss * 1024, _kilobytes(pid, "status", "VmHWM:") * 1024, len(tree))


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                children.setdefault(_stat(int(folder.name))[1], []).append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _stat(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat after the name; [1] is the parent, [11:15] user and system time, own and of children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:22])]


def _kilobytes(pid: int, file: str, key: str) -> int:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except PermissionError:
        done = subprocess.run(["sudo", "-n", "cat", f"/proc/{pid}/{file}"], capture_output=True, text=True, check=False)
        text = done.stdout
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(key)), 0)
