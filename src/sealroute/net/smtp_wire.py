"""The TLS of one incoming connection: a layer in here (net/tls), not the loop's.

No octet can slip past it between a decision and its taking effect, and while it is being set up nothing that came in plaintext
is kept.  A handshake has a timer of its own, and is counted when it begins and when it fails.

Deliberately elsewhere: what is said on the wire (smtp_session.py).
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any

import structlog

from sealroute.base.errors import PeerError
from sealroute.net.smtp_in_config import ReceiveCounters
from sealroute.net.tls import TlsLayer

log = structlog.get_logger(__name__)

_LINGER_SECONDS = 10.0
"""How long a closed session may take to read our last reply."""


class Wire(asyncio.Protocol):
    """A connection, plaintext until `_start_tls`; a session inherits from it, so that an octet costs no call more."""

    def __init__(self, counters: ReceiveCounters) -> None:
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._ip = ""
        self._reading = True
        self._upgrading = False
        """The handshake is under way."""
        self._tls: TlsLayer | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def _secured(self, tls: TlsLayer) -> None:
        """The handshake is done; what arrived with its end is in the layer."""

    @abstractmethod
    def _gone(self) -> None:
        """The connection is over; safe to call twice."""

    def abort(self) -> None:
        self._transport.abort()
        self._gone()

    def _start_tls(self, context: Any, seconds: float) -> None:
        """From the next octet on, what arrives is TLS: the layer is in place before any can, whichever loop runs us."""
        self._upgrading = True
        self._tls = TlsLayer(context, server_side=True)
        self._counters.handshakes += 1
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
        self._secured(tls)

    def _handshake_failed(self, why: str) -> None:
        self._note_failed_handshake(why)
        self._gone()
        self._transport.close()
        self._abort_later()

    def _note_failed_handshake(self, why: str) -> None:
        self._upgrading = False
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        self._counters.handshakes_failed += 1
        log.info("TLS handshake failed", client_ip=self._ip, error=why)

    def _write(self, data: bytes) -> None:
        tls = self._tls
        try:
            self._transport.write(data if tls is None else tls.encrypt(data))
        except PeerError as error:
            self._broken(error)

    def _broken(self, error: PeerError) -> None:
        log.info("TLS broken", client_ip=self._ip, error=str(error))
        self.abort()

    def _hang_up(self) -> None:
        """Close when everything is written, under TLS with its closing alert."""
        if self._tls is not None and self._tls.done:
            self._transport.write(self._tls.close_notify())
        self._transport.close()

    def _abort_later(self) -> asyncio.TimerHandle:
        return self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
