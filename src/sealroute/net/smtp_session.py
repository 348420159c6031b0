"""One incoming SMTP connection: moves bytes between transport and engine, acts on events, keeps time.

Rules that hold here:
- One task per message and one per handshake or login, none per connection; one timer per connection.
- While TLS is being set up nothing that came in plaintext is kept.  What arrives decrypted before the handshake's task
  has woken up waits for it.
- A client that is gone keeps its place and its share of memory until its message is stored.

Deliberately elsewhere: every SMTP decision (proto/smtp/server), counting all connections (smtp_in.py).
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import structlog

from sealroute.base.mail import Origin
from sealroute.base.status import Enhanced, Reply
from sealroute.net.smtp_in_config import ListenerConfig
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import (
    Authenticate,
    AuthOutcome,
    AuthUnavailable,
    Close,
    Event,
    MessageReceived,
    SessionPolicy,
    StartTls,
    client_key,
)

if TYPE_CHECKING:
    from sealroute.net.smtp_in import SmtpIn

log = structlog.get_logger(__name__)

_WRITE_BUFFER_BYTES = 65_536
_LINGER_SECONDS = 10.0
"""How long a closed session may take to read our last reply."""
_BUSY = b"421 4.7.0 Too many connections; try again later\r\n"
_FAILED = Reply(451, ("The message could not be processed; try again later",), Enhanced(4, 3, 0))


class Session(asyncio.Protocol):
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
        except Exception as error:
            # No traceback: some renderers print its local variables, and the password may be one.
            log.error("password not checked", client_ip=self._ip, kind=type(error).__name__, error=str(error))
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
