"""What the gateway listens on: a set of sockets for each worker, opened by the parent, and one for HTTP that all share."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from sealroute.base.errors import OperatorError
from sealroute.faces.http import server as http_server
from sealroute.net import listening
from sealroute.settings import Settings
from sealroute.supervise.slot import Slot, Sockets


class Doors:
    """The listening sockets of all workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ports: list[int] = []
        self.http: socket.socket | None = None

    def open(self, slots: Sequence[Slot]) -> None:
        """Raises OperatorError when a listener cannot be opened."""
        for number, listener in enumerate(self._settings.listeners, start=1):
            try:
                listening.probe(listener.address, listener.effective_port)
                self._ports.append(listener.effective_port)
            except OSError as error:
                where = f"{listener.address} port {listener.effective_port}"
                fix = "Choose another address or port, stop what uses it, or run with the right to bind ports below 1024."
                text = f"cannot listen on {where}: {error.strerror or error}."
                raise OperatorError.one(f"listeners[{number}]", text, fix) from error
        for slot in slots:
            slot.listening = self.listen()
        wanted = self._settings.http
        if wanted.enabled:
            self.http = http_server.listen(wanted.address, wanted.port)

    def listen(self) -> Sockets:
        """A set of listening sockets for one worker.  Raises OSError."""
        opened = []
        for index, listener in enumerate(self._settings.listeners):
            opened.append(listening.listen(listener.address, self._ports[index]))
            self._ports[index] = opened[-1][0].getsockname()[1]  # port 0: the same for all
        return tuple(opened)

    def close(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.close_doors()
        if self.http is not None:
            self.http.close()
            self.http = None
