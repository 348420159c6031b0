"""One outgoing SMTP connection: the engine of proto/smtp/client on a transport, with TLS in between and clocks around it.

Rules: one protocol object from the first octet to the last, so that no octet is lost or reinterpreted when TLS begins; after
the handshake nothing is sent until `transact`; whatever the peer does ends in a value, and in bounded time and memory.  A
time limit is for one whole reply, so a peer gains nothing by sending it one octet at a time.

Elsewhere: connecting in net/dial; sessions and fates in net/smtp_out; what is said in proto/smtp; TLS itself in net/tls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from sealroute.base.errors import PeerError
from sealroute.net.patience import LATE_SECONDS
from sealroute.net.tls import TlsLayer
from sealroute.ports import Transaction
from sealroute.proto.smtp.client import ClientOptions, SmtpClient
from sealroute.proto.smtp.client_dialogue import State
from sealroute.proto.smtp.client_mail import Ending

_CHUNK_OCTETS = 65536
_WRITE_BUFFER_OCTETS = 4 * _CHUNK_OCTETS
_GRACES = 20
_UNSETTLED = (State.GREETING, State.EHLO, State.STARTTLS, State.MAIL, State.QUIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialSettings:
    """How we connect and how long we wait; times as in [RFC 5321 §4.5.3.2] where it has one."""

    helo_name: str
    """Our own host name in EHLO."""
    source_ipv4: str | None = None
    source_ipv6: str | None = None
    connect_timeout_seconds: float = 30.0
    greeting_timeout_seconds: float = 60.0
    tls_timeout_seconds: float = 30.0
    command_timeout_seconds: float = 300.0
    final_reply_timeout_seconds: float = 600.0
    minimum_bytes_per_second: int = 4096
    """Content may take its size divided by this, on top of the final reply's time."""
    quit_timeout_seconds: float = 2.0
    max_recipients: int = 100
    """RCPT commands in one transaction; further ones follow on the same connection."""
    chunking_max_bytes: int = 65536
    """Content up to this size goes out together with MAIL and RCPT when CHUNKING is offered; 0: never."""

    def client_options(self, *, starttls: bool) -> ClientOptions:
        return ClientOptions(self.helo_name, starttls, self.chunking_max_bytes, self.max_recipients)


class SmtpConnection(asyncio.Protocol):
    """The transport's side: octets to the engine and back, through TLS once there is a layer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: SmtpClient, settings: DialSettings) -> None:
        self.client = client
        self.tls: TlsLayer | None = None
        self.handshake_error = ""
        self._loop = loop
        self._settings = settings
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline: float | None = None
        self._limit_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._graces = _GRACES
        """How often more it is believed that our own loop was late."""
        self._unsent = memoryview(b"")
        self._paused = False
        self._content_octets = 0

    def __repr__(self) -> str:
        return f"<SmtpConnection {self.client!r}{' TLS' if self.tls else ''}>"

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # ------------------------------------------------------------------------------------------------- the caller's side

    async def opened(self) -> None:
        """Wait until the opening dialogue has come to STARTTLS's 220, to IDLE, or to an end."""
        await self._settle()

    async def handshake(self, layer: TlsLayer) -> bool:
        """Do the TLS handshake; False when it failed: `handshake_error` says why and the connection is closed."""
        self.tls = layer
        self._start_clock(self._settings.tls_timeout_seconds)
        try:
            self._write(layer.handshake())
        except PeerError as error:
            self._handshake_failed(str(error))
        await self._settle()
        return not self.handshake_error

    async def transact(self, transaction: Transaction) -> None:
        """Send a mail; afterwards the engine's outcomes and log tell of it."""
        self._content_octets = len(transaction.content)
        self.client.begin(transaction)
        self._advance()
        await self._settle()

    async def quit(self) -> None:
        """Say goodbye if the engine is idle, and close."""
        if self.open and self.client.state is State.IDLE:
            self.client.quit()
            self._advance()
            await self._settle()
        self.abort("closed by us")

    def abort(self, why: str) -> None:
        """Close at once."""
        self.client.lost(Ending.LOST, why)
        self._unsent = memoryview(b"")
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    async def _settle(self) -> None:
        if self._settled():
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            # Half a dialogue cannot be taken up again by anyone.
            self.abort("given up by us")
            raise
        finally:
            self._waiter = None

    def _settled(self) -> bool:
        state = self.client.state
        if state is State.HANDSHAKE:
            return self.tls is None or bool(self.handshake_error)
        return state not in _UNSETTLED

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---------------------------------------------------------------------------------------------- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_OCTETS)
        self._start_clock(self._settings.greeting_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        layer = self.tls
        if layer is not None:
            if not layer.done:
                self._go_on_with_handshake(layer, data)
                return
            try:
                data = layer.decrypt(data)
            except PeerError as error:
                self.abort(f"TLS failed: {error}")
                return
        if data:
            self._receive(data)
        if layer is not None and layer.closed:
            self.abort(self._closed_detail("the server closed the TLS session"))

    def _receive(self, data: bytes) -> None:
        client = self.client
        before = len(client.log)
        client.receive(data)
        if len(client.log) != before or client.dead:
            self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        what = (
            f"the connection broke ({error.strerror or error})"
            if isinstance(error, OSError)
            else "the server closed the connection"
        )
        if self.tls is not None and not self.tls.done and not self.handshake_error:
            self.handshake_error = f"{what} during the TLS handshake"
        self.abort(self._closed_detail(what))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def _closed_detail(self, what: str) -> str:
        expected = self.client.waits_for
        return f"{what} before its {expected}" if expected else what

    def _advance(self) -> None:
        """After the engine has moved: send what it says, keep its clock, wake who waits."""
        client = self.client
        output = client.take_output()
        if output:
            self._send(output)
        if self._settled():
            self._stop_clock()
            if client.dead and self._transport is not None:
                self._close()
            self._wake()
        else:
            self._start_clock(self._time_limit())

    def _time_limit(self) -> float:
        settings = self._settings
        if self.client.content_sent:
            return settings.final_reply_timeout_seconds + self._content_octets / settings.minimum_bytes_per_second
        return settings.quit_timeout_seconds if self.client.state is State.QUIT else settings.command_timeout_seconds

    def _close(self) -> None:
        """Close after what was written has left, within the time a QUIT may take."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._unsent = memoryview(b"")
            transport.close()
            self._loop.call_later(self._settings.quit_timeout_seconds, transport.abort)

    # ------------------------------------------------------------------------------------------------------- TLS, writing

    def _go_on_with_handshake(self, layer: TlsLayer, data: bytes) -> None:
        try:
            self._write(layer.handshake(data))
            if not layer.done:
                return
            self.client.secured()
            early = layer.decrypt(b"")
        except PeerError as error:
            self._write(layer.take_outgoing())
            self._handshake_failed(str(error))
            return
        if early:
            self.client.receive(early)
        self._advance()

    def _handshake_failed(self, why: str) -> None:
        self.handshake_error = why
        self.client.lost(Ending.LOST, f"the TLS handshake failed: {why}")
        self._advance()

    def _send(self, output: bytes) -> None:
        if len(output) <= _CHUNK_OCTETS:
            self._write_plaintext(output)
        else:
            self._unsent = memoryview(output)
            self.client.content_unsent = True
            self._pump()

    def _pump(self) -> None:
        """Hand large output over in chunks, as fast as the peer takes it."""
        while self._unsent and not self._paused:
            chunk, self._unsent = self._unsent[:_CHUNK_OCTETS], self._unsent[_CHUNK_OCTETS:]
            self._write_plaintext(chunk)
        if not self._unsent:
            self.client.content_unsent = False

    def _write_plaintext(self, octets: bytes | memoryview) -> None:
        try:
            self._write(octets if self.tls is None else self.tls.encrypt(octets))
        except PeerError as error:
            self._unsent = memoryview(b"")
            self.abort(f"TLS failed: {error}")

    def _write(self, octets: bytes | memoryview) -> None:
        if octets and self._transport is not None:
            self._transport.write(octets)

    # ----------------------------------------------------------------------------------------------------------- clocks

    def _start_clock(self, seconds: float) -> None:
        """One timer per connection: a later deadline only moves a number, the timer finds out when it fires."""
        self._limit_seconds = seconds
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is not None and self._timer_due > deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._set_timer(deadline)

    def _set_timer(self, due: float) -> None:
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._on_timer)

    def _stop_clock(self) -> None:
        self._deadline = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        now = self._loop.time()
        late = now - self._timer_due
        if now >= self._deadline and late > LATE_SECONDS and self._graces:
            # Our loop was at work, and what the peer sent meanwhile is unread.  Our own congestion is no failure of the peer's:
            # after a failed handshake mail may go in plaintext where nothing forbids it.
            self._graces -= 1
            self._deadline = now + min(late, self._limit_seconds)
        if now < self._deadline:
            self._set_timer(self._deadline)
            return
        if self.tls is not None and not self.tls.done:
            self.handshake_error = f"the TLS handshake was not finished after {self._limit_seconds:g} s"
        self.client.lost(Ending.TIMED_OUT, f"no {self.client.waits_for} within {self._limit_seconds:g} s")
        self.abort("timed out")
