"""One incoming SMTP connection: moves bytes between transport and engine, acts on events, keeps time.

Rules that hold here:
- One task per message and one per login, none per connection; one timer per connection, one more per handshake.
- TLS is a layer in here (net/tls), not the loop's: no octet can slip past it between a decision and its taking effect.
  While it is being set up nothing that came in plaintext is kept.
- A client that is gone keeps its place and its share of memory until its message is stored.

Deliberately elsewhere: every SMTP decision (proto/smtp/server), counting all connections (smtp_in.py).
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import structlog

from sealroute.base.errors import PeerError
from sealroute.base.mail import Origin
from sealroute.base.status import Enhanced, Reply
from sealroute.net.smtp_in_config import ListenerConfig
from sealroute.net.tls import TlsLayer
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
        """The handshake is under way."""
        self._tls: TlsLayer | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None
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
        tls = self._tls
        if tls is not None and not tls.done:
            self._go_on_with_handshake(tls, data)
            return
        self._last = self._loop.time()
        if tls is None:
            self._act(self._engine.receive_data(data))
        else:
            self._receive(tls, data)

    def eof_received(self) -> bool:
        """A client that closes its side still gets the answers to what it sent."""
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
            self._write(out)
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
        """From the next octet on, what arrives is TLS: the layer is in place before any can, whichever loop runs us."""
        self._upgrading = True
        self._tls = TlsLayer(self._listener.tls_context, server_side=True)
        self._server.counters.handshakes += 1
        seconds = self._server.config.limits.handshake_seconds
        self._handshake_timer = self._loop.call_later(seconds, self._handshake_failed, f"not done within {seconds:g} s")
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _go_on_with_handshake(self, tls: TlsLayer, data: bytes) -> None:
        try:
            out = tls.handshake(data)
        except PeerError as error:
            self._transport.write(tls.take_outgoing())
            self._handshake_failed(str(error))
            return
        if out:
            self._transport.write(out)
        if not tls.done:
            return
        self._upgrading = False
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        self._last = self._loop.time()
        self._engine.tls_started(tls.version, tls.cipher)
        if self._listener.implicit_tls:
            self._engine.greet()
        self._receive(tls, b"")

    def _receive(self, tls: TlsLayer, data: bytes) -> None:
        """What arrived under TLS, decrypted, to the engine."""
        try:
            plaintext = tls.decrypt(data)
        except PeerError as error:
            log.info("TLS broken", client_ip=self._ip, error=str(error))
            self._transport.write(tls.take_outgoing())
            self.abort()
            return
        if answer := tls.take_outgoing():
            self._transport.write(answer)
        self._act(self._engine.receive_data(plaintext))
        if tls.closed and not self.eof_received():
            self._transport.close()

    def _handshake_failed(self, why: str) -> None:
        self._note_failed_handshake(why)
        self._gone()
        self._transport.close()
        self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def _note_failed_handshake(self, why: str) -> None:
        self._upgrading = False
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        self._server.counters.handshakes_failed += 1
        log.info("TLS handshake failed", client_ip=self._ip, error=why)

    def _write(self, data: bytes) -> None:
        tls = self._tls
        try:
            self._transport.write(data if tls is None else tls.encrypt(data))
        except PeerError as error:
            log.info("TLS broken", client_ip=self._ip, error=str(error))
            self.abort()

    def _close(self, reason: str) -> None:
        if reason != "quit":
            log.info("session closed", client_ip=self._ip, reason=reason)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
        if self._tls is not None and self._tls.done:
            self._transport.write(self._tls.close_notify())
        self._transport.close()

    def _gone(self) -> None:
        """The connection is over; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._upgrading:
            self._note_failed_handshake("the connection was closed")
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
