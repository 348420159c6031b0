"""Turns: whose transaction is next, among several writing processes on one SQLite file.

SQLite tells a waiting process nothing; it would have to look again and again, beside others that need the lock as often as it
does.  A lock on a file of its own wakes the next one at once, and it is free when its holder dies.  It only orders the workers;
what is right still rests on SQLite's own lock, which everybody takes.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turns:
    """A context: inside it is this process's turn.  Used by one thread; its file stays open until the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def __repr__(self) -> str:
        return f"<Turns at {self._path}>"

    def __enter__(self) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        fcntl.flock(self._file, fcntl.LOCK_UN)
