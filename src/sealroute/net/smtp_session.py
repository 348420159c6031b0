"""One incoming SMTP connection: hands octets to the engine, acts on its events, keeps time.

Rules that hold here:
- One task per message and one per login, none per connection; one timer per connection, one more per handshake.
- A client that is gone keeps its place and its share of memory until its message is stored.

Deliberately elsewhere: every SMTP decision (proto/smtp/server), TLS (smtp_wire.py), what a client may (smtp_in_config.py) and
how long it may take (smtp_times.py), counting all connections (smtp_in.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from sealroute.base.errors import PeerError
from sealroute.base.status import Enhanced, Reply
from sealroute.net.smtp_in_config import ListenerConfig, plain_ip, session_policy
from sealroute.net.smtp_times import Due, Moment
from sealroute.net.smtp_wire import Wire
from sealroute.net.tls import TlsLayer
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import (
    Authenticate,
    AuthOutcome,
    AuthUnavailable,
    Close,
    Event,
    MessageReceived,
    StartTls,
    client_key,
)

if TYPE_CHECKING:
    from sealroute.net.smtp_in import SmtpIn

log = structlog.get_logger(__name__)

_WRITE_BUFFER_BYTES = 65_536
_BUSY = b"421 4.7.0 Too many connections; try again later\r\n"
_FAILED = Reply(451, ("The message could not be processed; try again later",), Enhanced(4, 3, 0))


class Session(Wire):
    """One connection: moves bytes between transport and engine, and acts on the engine's events."""

    def __init__(self, server: SmtpIn, listener: ListenerConfig) -> None:
        super().__init__(server.counters)
        self._server = server
        self._listener = listener
        self._engine: ServerEngine
        self._key = ""
        self._alive = False
        """Admitted, and not yet lost."""
        self._storing = False
        self._held = 0
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
        self._ip = plain_ip(peer[0])
        self._key = client_key(self._ip)
        config = self._server.config
        policy = session_policy(config, self._listener, self._ip, checks_passwords=self._server.check_password is not None)
        self._engine = ServerEngine(policy, config.session_limits)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if not self._server.admit(self, self._key):
            if not self._listener.implicit_tls:
                self._transport.write(_BUSY)
            self._transport.close()
            self._timer = self._abort_later()
            return
        self._alive = True
        self._arm()
        if self._listener.implicit_tls:
            self._secure()
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

    # ---------------------------------------------------------------------------------------------------------- the rest

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
                    self._secure()
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

    def _secure(self) -> None:
        self._start_tls(self._listener.tls_context, self._server.config.limits.handshake_seconds)

    def _secured(self, tls: TlsLayer) -> None:
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

    def _close(self, reason: str) -> None:
        if reason != "quit":
            log.info("session closed", client_ip=self._ip, reason=reason)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._abort_later()
        self._hang_up()

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
        wait = self._moment().wait(self._server.config.limits)
        self._timer = self._loop.call_later(wait, self._look_at_time)

    def _moment(self) -> Moment:
        engine = self._engine
        ours = engine.outcome_due or self._upgrading
        return Moment(self._loop.time(), self._began, self._last, engine.in_content, ours)

    def _look_at_time(self) -> None:
        match self._moment().due(self._server.config.limits):
            case Due.TIMED_OUT:
                self._act(self._engine.timed_out())
            case Due.LEAVE:
                self._act(self._engine.leave("The session has lasted long enough; connect again"))
            case Due.NOTHING:
                pass
        if self._alive and not self._engine.closed:
            self._arm()
