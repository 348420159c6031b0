"""The place of one worker, which outlives the processes in it; and how long it waits for the next one."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass, field

from sealroute.net import listening
from sealroute.worker import Frames

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A worker that lived so long begins again with the shortest wait."""
HOLD_SECONDS = 1.0
"""For so short a wait a dead worker's sockets stay open, and clients wait with it; else they are left to the others."""

Sockets = tuple[tuple[socket.socket, ...], ...]
"""For each listener of the settings."""


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one worker, and the process in it."""

    number: int
    pid: int = 0
    """0: nobody."""
    node: str = ""
    incarnation: int = 0
    channel: socket.socket | None = None
    frames: Frames = field(default_factory=Frames)
    unsent: bytearray = field(default_factory=bytearray)
    listening: Sockets = ()
    ready: bool = False
    started: float = 0.0
    start_at: float = 0.0
    wait: float = 0.0
    ended: str = ""
    """How the last one ended."""
    metrics: str = ""
    """What it counted, as last shown."""

    def begin(self, pid: int, channel: socket.socket, now: float) -> None:
        """A process is in it."""
        self.pid, self.channel, self.frames, self.unsent = pid, channel, Frames(), bytearray()
        self.ready, self.metrics, self.started = False, "", now

    def end(self, code: int) -> None:
        """Nobody is in it any more; the channel is closed already."""
        self.pid, self.channel = 0, None
        self.ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def wait_for_next(self, now: float) -> None:
        """The next one starts the sooner, the longer this one lived."""
        self.wait = FIRST_WAIT_SECONDS if now - self.started >= STEADY_SECONDS else self.wait * 2 or FIRST_WAIT_SECONDS
        self.wait = min(self.wait, LONGEST_WAIT_SECONDS)
        self.start_at = now + self.wait
        if self.wait > HOLD_SECONDS:
            self.close_doors()

    def close_doors(self) -> None:
        for opened in self.listening:
            listening.close(opened)
        self.listening = ()

    @property
    def trouble(self) -> str:
        """What is wrong with it, as /healthz says it; empty: nothing."""
        if not self.pid:
            return f"{self.ended or 'was not started'}; it is started again"
        if not self.ready:
            return f"{self.ended}; a new one is starting" if self.ended else "is starting"
        return ""
