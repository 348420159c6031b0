"""Opens SMTP sessions: TCP, greeting, EHLO, STARTTLS, handshake; judges nothing.

What comes out:
    Session, facts.tls_version set      encrypted; nothing was said since the handshake
    Session, facts.handshake_error set  the handshake failed; the connection is gone (`usable` False)
    Session, neither                    plaintext: STARTTLS not offered, not wanted, or refused (facts.starttls_reply)
    DialFailed                          no session: refused, timed out, lost, the server's no, or a broken protocol

Octets injected after the 220 to STARTTLS are a broken protocol and never a failed handshake: that would invite a second try
in plaintext at the wish of whoever injected them.

Elsewhere: the connection itself in net/smtp_connection; whether to dial and what to do with the facts in services/deliver.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sealroute.net.smtp_connection import DialSettings, SmtpConnection
from sealroute.net.smtp_out import SmtpSession, finding
from sealroute.net.tls import TlsLayer, smtp_client_context
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import HandshakeFacts
from sealroute.ports import DialFailed, DialTarget, Session
from sealroute.proto.smtp.client import SmtpClient
from sealroute.proto.smtp.client_dialogue import State
from sealroute.proto.smtp.client_mail import Ending, Outcome


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class SmtpDialer:
    """ports.Dialer over TCP."""

    def __init__(self, settings: DialSettings, now: Callable[[], datetime] = _wall_clock) -> None:
        self._settings = settings
        self._now = now
        self._context = smtp_client_context()

    async def dial(self, target: DialTarget) -> Session | DialFailed:
        """Connect, greeting, EHLO, STARTTLS if offered and wanted, handshake."""
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        client = SmtpClient(self._settings.client_options(starttls=target.starttls))
        connection = SmtpConnection(loop, client, self._settings)
        failed = await self._connect(loop, connection, target)
        if failed is not None:
            return DialFailed(failed)
        await connection.opened()
        connect_ms = _milliseconds_since(start)
        tls_ms = None
        if client.state is State.HANDSHAKE:
            tls_start = time.perf_counter()
            await self._handshake(connection, target.sni)
            tls_ms = _milliseconds_since(tls_start)
        elif client.failure is not None and not _starttls_refused(client.failure, client):
            return DialFailed(finding(client.failure, target), tuple(client.log), connect_ms)
        return SmtpSession(connection, target, self._facts(connection), connect_ms, tls_ms)

    async def _connect(self, loop: asyncio.AbstractEventLoop, connection: SmtpConnection, target: DialTarget) -> Finding | None:
        source = self._settings.source_ipv6 if ":" in target.ip else self._settings.source_ipv4
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                transport, _ = await loop.create_connection(
                    lambda: connection, target.ip, target.port, local_addr=(source, 0) if source else None
                )
        except asyncio.CancelledError:
            connection.abort("given up by us")
            raise
        except TimeoutError:
            connection.abort("not connected in time")
            detail = f"no answer to the connection request within {self._settings.connect_timeout_seconds:g} s"
            return Finding(Reason.CONNECT_TIMEOUT, detail, host=target.host, ip=target.ip)
        except OSError as error:
            return Finding(_connect_reason(error), _os_detail(error, target), host=target.host, ip=target.ip)
        # Event loops already do so; a reply must not wait for a delayed ACK if one of them ever stops.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return None

    async def _handshake(self, connection: SmtpConnection, sni: str | None) -> None:
        try:
            layer = TlsLayer(self._context, sni=sni)
        except ValueError as error:
            connection.handshake_error = f"{sni!r} cannot be sent as a server name: {error}"
            connection.abort(connection.handshake_error)
            return
        await connection.handshake(layer)

    def _facts(self, connection: SmtpConnection) -> HandshakeFacts:
        client, tls = connection.client, connection.tls
        if tls is None or not tls.done or connection.handshake_error:
            return HandshakeFacts(self._now(), client.starttls_offered, client.starttls_reply, connection.handshake_error)
        return HandshakeFacts(
            self._now(), True, client.starttls_reply, "", tls_version=tls.version, cipher=tls.cipher, chain=tls.chain
        )


def _starttls_refused(failure: Outcome, client: SmtpClient) -> bool:
    """421 to STARTTLS: a refusal like any other, only that the connection ends with it."""
    return failure.ending is Ending.POSTPONED and client.starttls_reply is not None and failure.reply is client.starttls_reply


def _connect_reason(error: OSError) -> Reason:
    if isinstance(error, ConnectionRefusedError):
        return Reason.CONNECT_REFUSED
    if isinstance(error, ConnectionError):
        return Reason.CONNECTION_LOST
    return Reason.CONNECT_TIMEOUT


def _os_detail(error: OSError, target: DialTarget) -> str:
    """What the system said that the reason does not say already, without what asyncio adds."""
    if isinstance(error, ConnectionRefusedError):
        return f"by {target.ip} port {target.port}"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _milliseconds_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
