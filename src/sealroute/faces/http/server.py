"""An HTTP server inside the gateway's own event loop: uvicorn, without its own ideas about signals and logging."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from sealroute.base.errors import OperatorError

STOP_SECONDS = 5.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the gateway's, which stops this server among other things."""
        yield


def listen(address: str, port: int) -> socket.socket:
    """A socket bound to the address.  Raises OperatorError when it cannot be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        where = f"{address} port {port}"
        fix = "Choose another address or port in [http], or set enabled = false."
        raise OperatorError.one("http", f"cannot listen on {where}: {error.strerror or error}.", fix) from error
    return listening


class HttpServer:
    """One application on one address."""

    def __init__(self, app: ASGIApp, address: str, port: int, listening: socket.socket | None = None) -> None:
        """`listening`: opened by somebody else already."""
        self._address = address
        self._port = port
        self._listening = listening
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=5, limit_concurrency=100
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.  Raises OperatorError when the address cannot be had."""
        listening = self._listening or listen(self._address, self._port)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name="http")

    async def stop(self) -> None:
        """Finish the requests under way, for a few seconds at most."""
        if self._task is None:
            return
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, STOP_SECONDS)
