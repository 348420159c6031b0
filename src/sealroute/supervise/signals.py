"""Signals to the parent, as something that its selector can wait for."""

from __future__ import annotations

import selectors
import signal
import socket
from contextlib import suppress

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Signals:
    """What was caught and not yet taken."""

    def __init__(self) -> None:
        self._wake, self._woken = socket.socketpair()
        self._caught: set[int] = set()

    def catch(self, selector: selectors.BaseSelector) -> None:
        """From now on; the selector's key for it has no data."""
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda caught, _: self._caught.add(caught))
        selector.register(self._woken, selectors.EVENT_READ, None)

    def drain(self) -> None:
        """The selector has seen it."""
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def take(self) -> set[int]:
        """The numbers of those caught since the last time."""
        caught, self._caught = self._caught, set()
        return caught

    def close(self) -> None:
        self._wake.close()
        self._woken.close()
