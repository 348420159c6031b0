"""SMTP listeners: sockets, TLS and time around the server engine of proto/smtp.

Rules that hold here:
- Protocols, not streams; one task per message and one per handshake, none per connection.
- What is accepted is finished: a message handed to `accept` is stored even when its client is gone, and a shutdown
  waits for messages on their way in.
- Everything a client can take is bounded: connections (all, and per client), silence, the time of a session and of a
  handshake, replies it does not read, and, over all sessions together, the memory for content not yet stored.
- While TLS is being set up nothing that came in plaintext is kept.  What arrives decrypted before the handshake's task
  has woken up waits for it.

Deliberately elsewhere: every SMTP decision (proto/smtp/server), storing (services/accept), passwords
(services/authenticate), certificates (net/tls; contexts come in ready made).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import structlog

from sealroute.base.mail import Envelope, Origin
from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import (
    Authenticate,
    AuthOutcome,
    AuthUnavailable,
    Close,
    Event,
    MessageReceived,
    ServerLimits,
    SessionFacts,
    SessionPolicy,
    StartTls,
    client_key,
)

log = structlog.get_logger(__name__)

AcceptMessage = Callable[[Envelope, bytes, SessionFacts], Awaitable[Reply]]
"""services/accept."""
CheckPassword = Callable[[str, str, str], Awaitable[AuthOutcome]]
"""(user, password, client IP): services/authenticate."""

_WRITE_BUFFER_BYTES = 65_536
_LINGER_SECONDS = 10.0
"""How long a closed session may take to read our last reply."""
_BUSY = b"421 4.7.0 Too many connections; try again later\r\n"
_FAILED = Reply(451, ("The message could not be processed; try again later",), Enhanced(4, 3, 0))


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """One address to listen on."""

    address: str
    """`""` and `::` mean all addresses, IPv4 and IPv6."""
    port: int
    """0: any free one; `SmtpIn.listen` tells which."""
    kind: Origin = Origin.RELAY
    """RELAY: clients in `networks` may send.  SUBMISSION: authenticated users may, over TLS."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    tls_context: Any = None
    """From net/tls; None: no STARTTLS, hence no AUTH."""
    implicit_tls: bool = False
    organization: str = "default"


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """What clients may take of us, beyond what one session's engine bounds."""

    connections: int = 1000
    connections_per_client: int = 50
    command_seconds: float = 300.0
    data_seconds: float = 180.0
    session_seconds: float = 3600.0
    handshake_seconds: float = 30.0
    content_budget_bytes: int = 268_435_456


@dataclass(frozen=True, slots=True)
class ReceiveConfig:
    """What all listeners share."""

    hostname: str
    postmaster: str = ""
    limits: ReceiveLimits = field(default_factory=ReceiveLimits)
    session_limits: ServerLimits = field(default_factory=ServerLimits)


@dataclass(slots=True)
class ReceiveCounters:
    """Counts for metrics; only smtp_in writes them."""

    connections: int = 0
    connections_open: int = 0
    connections_refused: int = 0
    messages_accepted: int = 0
    messages_refused: int = 0
    handshakes: int = 0
    handshakes_failed: int = 0
    logins: int = 0
    logins_failed: int = 0
    held_bytes: int = 0
    """Content received and not yet stored."""


class SmtpIn:
    """All listeners and their sessions."""

    def __init__(self, config: ReceiveConfig, accept: AcceptMessage, check_password: CheckPassword | None = None) -> None:
        self.config = config
        self.accept = accept
        self.check_password = check_password
        self.counters = ReceiveCounters()
        self._servers: list[asyncio.Server] = []
        self._sessions: set[_Session] = set()
        self._clients: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._quiet = asyncio.Event()
        self._next_refusal_log = 0.0

    def __repr__(self) -> str:
        return f"<SmtpIn {len(self._servers)} listeners, {len(self._sessions)} sessions>"

    async def listen(self, listener: ListenerConfig) -> tuple[tuple[str, int], ...]:
        """Open a listener; returns the addresses and ports it is bound to.  Raises OSError when it cannot be."""
        host = None if listener.address in ("", "::") else listener.address
        server = await asyncio.get_running_loop().create_server(
            lambda: _Session(self, listener), host, listener.port, backlog=1024
        )
        self._servers.append(server)
        return tuple(socket.getsockname()[:2] for socket in server.sockets)

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

    def admit(self, session: _Session, key: str) -> bool:
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

    def forget(self, session: _Session, key: str) -> None:
        """An admitted session is over."""
        self._sessions.discard(session)
        self.counters.connections_open = len(self._sessions)
        left = self._clients.get(key, 0) - 1
        if left > 0:
            self._clients[key] = left
        else:
            self._clients.pop(key, None)
        self._look_whether_quiet()

    def start(self, work: Any) -> None:
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


class _Session(asyncio.Protocol):
    """One connection: moves bytes between transport and engine, and acts on the engine's events."""

    def __init__(self, server: SmtpIn, listener: ListenerConfig) -> None:
        self._server = server
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._engine: ServerEngine
        self._ip = ""
        self._key = ""
        self._alive = False
        """Admitted, and not yet lost."""
        self._storing = False
        self._held = 0
        self._upgrading = False
        self._encrypted = False
        """From now on TLS owns the transport, and what arrives here was decrypted."""
        self._early = b""
        self._reading = True
        self._may_write = True
        self._eof = False
        self._began = self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------------ asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if not peer:
            self._transport.abort()
            return
        self._ip = _plain_ip(peer[0])
        self._key = client_key(self._ip)
        self._engine = ServerEngine(self._policy(), self._server.config.session_limits)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if not self._server.admit(self, self._key):
            if not self._listener.implicit_tls:
                self._transport.write(_BUSY)
            self._transport.close()
            self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
            return
        self._alive = True
        self._arm()
        if self._listener.implicit_tls:
            self._start_tls()
        else:
            self._engine.greet()
            self._transport.write(self._engine.data_to_send())

    def data_received(self, data: bytes) -> None:
        if not self._alive:
            return
        if self._upgrading and self._encrypted:
            # Decrypted already, while the task that waits for the handshake has yet to wake up.
            self._early += data
            return
        self._last = self._loop.time()
        self._act(self._engine.receive_data(data))

    def eof_received(self) -> bool:
        """A client that closes its side still gets the answers to what it sent (in plaintext; TLS ends both ways)."""
        self._eof = self._alive and self._engine.outcome_due
        return self._eof

    def pause_writing(self) -> None:
        self._may_write = False
        self._steer_reading()

    def resume_writing(self) -> None:
        self._may_write = True
        self._last = self._loop.time()
        self._steer_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()

    # ------------------------------------------------------------------------------------------------- SmtpIn calls these

    def leave(self, text: str) -> None:
        if self._upgrading:
            # A reply in plaintext has no place within a handshake.
            self.abort()
        else:
            self._act(self._engine.leave(text))

    def abort(self) -> None:
        self._transport.abort()
        self._gone()

    # ---------------------------------------------------------------------------------------------------------- the rest

    def _policy(self) -> SessionPolicy:
        listener, config = self._listener, self._server.config
        tls = listener.tls_context is not None
        submission = listener.kind is Origin.SUBMISSION
        address = ip_address(self._ip)
        return SessionPolicy(
            hostname=config.hostname,
            client_ip=self._ip,
            origin=listener.kind,
            may_relay=not submission and any(address in network for network in listener.networks),
            offers_tls=tls,
            offers_auth=tls and submission and self._server.check_password is not None,
            organization=listener.organization,
            postmaster=config.postmaster,
        )

    def _act(self, events: list[Event]) -> None:
        out = self._engine.data_to_send()
        if out:
            self._transport.write(out)
        for event in events:
            match event:
                case MessageReceived():
                    self._storing = True
                    self._server.start(self._store(event))
                case Authenticate():
                    self._server.start(self._authenticate(event))
                case StartTls():
                    self._start_tls()
                case Close(reason):
                    self._close(reason)
        self._account()
        self._steer_reading()
        if self._eof and not self._engine.outcome_due:
            self._transport.close()

    def _account(self) -> None:
        """Settle what this session holds with the budget of all; over it, the message coming in finds no room."""
        counters = self._server.counters
        held = self._engine.held_octets
        counters.held_bytes += held - self._held
        self._held = held
        if counters.held_bytes > self._server.config.limits.content_budget_bytes and self._engine.in_content:
            self._engine.no_room()
            held = self._engine.held_octets
            counters.held_bytes += held - self._held
            self._held = held

    def _steer_reading(self) -> None:
        """Read only while replies can be written and the engine takes input; a client that waits costs no system call."""
        if self._upgrading or self._engine.closed:
            return
        wanted = self._may_write and not self._engine.backlogged
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    async def _store(self, event: MessageReceived) -> None:
        counters = self._server.counters
        try:
            reply = await self._server.accept(event.envelope, event.content, event.facts)
        except Exception:
            log.exception("message not accepted", client_ip=self._ip)
            reply = _FAILED
        if reply.positive:
            counters.messages_accepted += 1
        else:
            counters.messages_refused += 1
        self._last = self._loop.time()
        self._storing = False
        if self._alive:
            self._act(self._engine.message_done(reply))
        else:
            self._release()

    async def _authenticate(self, event: Authenticate) -> None:
        check = self._server.check_password
        outcome: AuthOutcome = AuthUnavailable()
        try:
            if check is not None:
                outcome = await check(event.user, event.password, self._ip)
        except Exception:
            log.exception("password not checked", client_ip=self._ip)
        self._last = self._loop.time()
        if self._alive:
            events = self._engine.auth_done(outcome)
            self._server.counters.logins += 1
            self._server.counters.logins_failed += not self._engine.facts.user
            self._act(events)

    def _start_tls(self) -> None:
        self._upgrading = True
        self._reading = False
        self._transport.pause_reading()
        self._server.start(self._upgrade())

    async def _upgrade(self) -> None:
        limits, counters = self._server.config.limits, self._server.counters
        if self._engine.closed:
            return
        counters.handshakes += 1
        self._encrypted = True
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                self._listener.tls_context,
                server_side=True,
                ssl_handshake_timeout=limits.handshake_seconds,
            )
        except Exception as error:
            counters.handshakes_failed += 1
            log.info("TLS handshake failed", client_ip=self._ip, error=str(error) or type(error).__name__)
            self.abort()
            return
        if transport is None or not self._alive:
            self.abort()
            return
        self._transport = transport
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        tls = transport.get_extra_info("ssl_object")
        cipher = tls.cipher()
        self._engine.tls_started(tls.version() or "", cipher[0] if cipher else "")
        if self._listener.implicit_tls:
            self._engine.greet()
        self._upgrading = False
        self._reading = True
        self._last = self._loop.time()
        early, self._early = self._early, b""
        self._act(self._engine.receive_data(early))

    def _close(self, reason: str) -> None:
        if reason != "quit":
            log.info("session closed", client_ip=self._ip, reason=reason)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
        self._transport.close()

    def _gone(self) -> None:
        """The connection is over; safe to call twice, as a failed handshake does not always end in connection_lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alive:
            self._alive = False
            if not self._storing:
                self._release()

    def _release(self) -> None:
        """Give back our place and memory; not while a message is being stored, or clients that leave could pile them up."""
        self._server.counters.held_bytes -= self._held
        self._held = 0
        self._server.forget(self, self._key)

    # -------------------------------------------------------------------------------------------------------------- time

    def _arm(self) -> None:
        """One timer per session, set again only when it fires: traffic costs no timer."""
        limits, engine = self._server.config.limits, self._engine
        now = self._loop.time()
        session_end = self._began + limits.session_seconds
        if now >= session_end or engine.outcome_due or self._upgrading:
            wait = 1.0
        else:
            silence = limits.data_seconds if engine.in_content else limits.command_seconds
            wait = min(self._last + silence, session_end) - now
        # Never later than a silence in content would be noticed: content may begin in the meantime.
        self._timer = self._loop.call_later(max(0.05, min(wait, limits.data_seconds)), self._look_at_time)

    def _look_at_time(self) -> None:
        limits, engine = self._server.config.limits, self._engine
        now = self._loop.time()
        silence = limits.data_seconds if engine.in_content else limits.command_seconds
        overdue = now - self._began >= limits.session_seconds + limits.data_seconds
        ours = self._upgrading or engine.outcome_due
        if not ours and (overdue or now - self._last >= silence):
            self._act(engine.timed_out())
        elif not ours and now - self._began >= limits.session_seconds:
            self._act(engine.leave("The session has lasted long enough; connect again"))
        if self._alive and not engine.closed:
            self._arm()


def _plain_ip(text: str) -> str:
    """An address as clients are known by: without zone, IPv4 not wrapped in IPv6."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
