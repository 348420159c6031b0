"""SMTP listeners and what all their sessions share: connections, memory, shutdown.

Rules that hold here:
- Protocols, not streams.
- What is accepted is finished: a message handed to `accept` is stored even when its client is gone, and a shutdown
  waits for messages on their way in.
- Everything a client can take is bounded: connections (all, and per client), silence, the time of a session and of a
  handshake, replies it does not read, and, over all sessions together, the memory for content not yet stored.

Deliberately elsewhere: one connection (smtp_session.py, smtp_wire.py), every SMTP decision (proto/smtp/server), storing
(services/accept), passwords (services/authenticate), certificates (net/tls; contexts come in ready made).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from socket import socket as Socket

import structlog

from sealroute.net.smtp_in_config import (
    AcceptMessage,
    CheckPassword,
    ListenerConfig,
    ReceiveConfig,
    ReceiveCounters,
    ReceiveLimits,
)
from sealroute.net.smtp_session import Session

__all__ = [
    "AcceptMessage",
    "CheckPassword",
    "ListenerConfig",
    "ReceiveConfig",
    "ReceiveCounters",
    "ReceiveLimits",
    "SmtpIn",
]

log = structlog.get_logger(__name__)


class SmtpIn:
    """All listeners and their sessions."""

    def __init__(self, config: ReceiveConfig, accept: AcceptMessage, check_password: CheckPassword | None = None) -> None:
        self.config = config
        self.accept = accept
        self.check_password = check_password
        self.counters = ReceiveCounters()
        self._servers: list[asyncio.Server] = []
        self._sessions: set[Session] = set()
        self._clients: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._quiet = asyncio.Event()
        self._next_refusal_log = 0.0

    def __repr__(self) -> str:
        return f"<SmtpIn {len(self._servers)} listeners, {len(self._sessions)} sessions>"

    async def listen(self, listener: ListenerConfig, opened: Sequence[Socket] = ()) -> tuple[tuple[str, int], ...]:
        """Open a listener, or take its sockets over when they are `opened` already; returns the addresses and ports it is
        bound to.  Raises OSError when it cannot be.
        """
        loop = asyncio.get_running_loop()
        host = None if listener.address in ("", "::") else listener.address

        def session() -> Session:
            return Session(self, listener)

        servers = [await loop.create_server(session, sock=item, backlog=1024) for item in opened] or [
            await loop.create_server(session, host, listener.port, backlog=1024)
        ]
        self._servers += servers
        return tuple(socket.getsockname()[:2] for server in servers for socket in server.sockets)

    async def close(self, grace_seconds: float) -> None:
        """Stop listening, let messages on their way in finish, and return when the last one is answered or time is up.

        What is being stored when time is up gets as long again, without its client, which has no 250 and will come back.
        """
        self._leaving = True
        for server in self._servers:
            server.close()
        for session in list(self._sessions):
            session.leave("Shutting down; connect again later")
        self._look_whether_quiet()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), grace_seconds)
        for session in list(self._sessions):
            session.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds + 1)

    def admit(self, session: Session, key: str) -> bool:
        """Count a new connection; False when it is one too many."""
        counters, limits = self.counters, self.config.limits
        counters.connections += 1
        here = self._clients.get(key, 0)
        if self._leaving or len(self._sessions) >= limits.connections or here >= limits.connections_per_client:
            counters.connections_refused += 1
            self._log_refusal(key, here)
            return False
        self._clients[key] = here + 1
        self._sessions.add(session)
        counters.connections_open = len(self._sessions)
        return True

    def _log_refusal(self, key: str, of_client: int) -> None:
        """Once a second at most: a flood of connections must not become a flood of log lines."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_refusal_log:
            self._next_refusal_log = now + 1.0
            log.warning(
                "connections refused",
                client=key,
                of_client=of_client,
                open=len(self._sessions),
                refused_so_far=self.counters.connections_refused,
            )

    def forget(self, session: Session, key: str) -> None:
        """An admitted session is over."""
        self._sessions.discard(session)
        self.counters.connections_open = len(self._sessions)
        left = self._clients.get(key, 0) - 1
        if left > 0:
            self._clients[key] = left
        else:
            self._clients.pop(key, None)
        self._look_whether_quiet()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that must be finished before we are."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._look_whether_quiet()

    def _look_whether_quiet(self) -> None:
        if self._leaving and not self._sessions and not self._tasks:
            self._quiet.set()
