"""Receiving mail servers for tests, demo and benchmarks: many listeners in one loop, each with its own behaviour.

    host = MailHost()
    port = await host.listen("127.0.0.1", 0, PROFILES["tls"], "cert.pem", "key.pem")
    received = await host.wait_for(1)
    await host.close()

A `Behaviour` says what one listener offers and where it misbehaves; PROFILES names the useful ones.  Everything received is
kept as `Received`, found again by the header line `X-Sim-Id:`, and may be written to a log (one JSON object per message) and
a spool folder.  As a program: `python -m simnet.mailhost hosts.json [--log FILE] [--spool DIR]`, where hosts.json is a list of
{"ip", "port", "profile", "cert", "key"}.

Independent of the gateway's own SMTP and TLS code on purpose: the two check each other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import uvloop

LINE_LIMIT = 4096
CONTENT_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One listener's ways; the default is a good modern server."""

    starttls: bool = True
    pipelining: bool = True
    chunking: bool = False
    dsn: bool = True
    require_tls: bool = False
    smtputf8: bool = True
    eight_bit: bool = True
    size_limit_bytes: int | None = 50_000_000
    """Announced and kept; None: SIZE is not offered."""
    more_keywords: tuple[str, ...] = ()
    replies: Mapping[str, str] = field(default_factory=dict)
    """Replies in place of the usual ones, by stage: CONNECT EHLO EHLO-TLS HELO STARTTLS MAIL RCPT DATA END BDAT RSET QUIT,
    or `RCPT address`."""
    drop_at: str = ""
    """Close instead of answering this stage; also HANDSHAKE, and CONTENT for the first octets after 354."""
    silent_at: str = ""
    """Never answer this stage; also HANDSHAKE."""
    after_starttls: bytes = b""
    """Octets sent in plaintext together with the 220, as an attacker would."""
    handshake: bytes = b""
    """Octets sent in answer to the ClientHello, in place of a TLS handshake."""
    after_handshake: bytes = b""
    """Octets sent under TLS right after the handshake, unasked."""
    tls_version: ssl.TLSVersion | None = None
    """The only version spoken; None: 1.2 and newer."""
    greylist_seconds: float = 0.0
    """A recipient gets 451 until this long after its first try."""
    delay_seconds: float = 0.0
    """Before every reply."""
    max_recipients: int = 1000
    """Further ones get 452 4.5.3."""


ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
"""A fatal handshake_failure alert."""

_GOOD = Behaviour()
PROFILES: dict[str, Behaviour] = {
    "tls": _GOOD,
    "chunking": replace(_GOOD, chunking=True),
    "plain": replace(_GOOD, starttls=False),
    "minimal": Behaviour(starttls=False, pipelining=False, dsn=False, smtputf8=False, eight_bit=False, size_limit_bytes=None),
    "no-pipelining": replace(_GOOD, pipelining=False),
    "no-dsn": replace(_GOOD, dsn=False),
    "no-smtputf8": replace(_GOOD, smtputf8=False),
    "requiretls": replace(_GOOD, require_tls=True),
    "starttls454": replace(_GOOD, replies={"STARTTLS": "454 4.7.0 TLS not available due to local problem"}),
    "handshake-alert": replace(_GOOD, handshake=ALERT),
    "handshake-garbage": replace(_GOOD, handshake=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "inject": replace(_GOOD, after_starttls=b"250 2.0.0 injected\r\n"),
    "tls11": replace(_GOOD, tls_version=ssl.TLSVersion.TLSv1_1),
    "tls12": replace(_GOOD, tls_version=ssl.TLSVersion.TLSv1_2),
    "rcpt550": replace(_GOOD, replies={"RCPT": "550 5.1.1 No such user here"}),
    "rcpt451": replace(_GOOD, replies={"RCPT": "451 4.2.2 Mailbox is busy"}),
    "greylist": replace(_GOOD, greylist_seconds=3.0),
    "silent": replace(_GOOD, silent_at="CONNECT"),
    "slow": replace(_GOOD, delay_seconds=1.0),
    "drop-greeting": replace(_GOOD, drop_at="EHLO"),
    "drop-data": replace(_GOOD, drop_at="END"),
    "small": replace(_GOOD, size_limit_bytes=2000),
}


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came in."""

    id: str
    """The X-Sim-Id header's value; empty when there is none."""
    listener: str
    """`ip:port`"""
    peer: str
    tls_version: str
    sni: str
    helo: str
    mail: str
    """MAIL's argument as sent, parameters included."""
    recipients: tuple[str, ...]
    """RCPT's arguments as sent."""
    content: bytes = field(repr=False)
    at: float
    """Wall clock, seconds since 1970."""
    connection: int = 0
    """The number of the connection it came over, among all that were opened to this MailHost."""


class MailHost:
    """All listeners and what they received."""

    def __init__(self, *, log: Path | None = None, spool: Path | None = None, keep_content: bool = True) -> None:
        self.messages: list[Received] = []
        self.connections: set[_Server] = set()
        """Those open now."""
        self.dialled = 0
        """Connections accepted so far."""
        self.first_seen: dict[tuple[str, str], float] = {}
        self._servers: list[asyncio.Server] = []
        self._arrived = asyncio.Event()
        self._log = log.open("a", encoding="utf-8") if log else None
        self._spool = spool
        self._keep_content = keep_content

    async def listen(
        self, ip: str, port: int, behaviour: Behaviour, cert_file: str | None = None, key_file: str | None = None
    ) -> int:
        """Open one listener; returns its port (0 asks for a free one).  Without a certificate STARTTLS is not offered."""
        context = _context(behaviour, cert_file, key_file) if cert_file else None
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Server(self, behaviour, context), ip, port, backlog=1024)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """All messages once there are at least `count`; TimeoutError after the time given."""
        async with asyncio.timeout(seconds):
            while len(self.messages) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.messages

    def by_id(self, sim_id: str) -> list[Received]:
        """Every copy of a message."""
        return [message for message in self.messages if message.id == sim_id]

    def hang_up(self, farewell: bytes = b"") -> None:
        """Close every open connection, with a last word if given."""
        for connection in list(self.connections):
            connection.hang_up(farewell)

    def send_raw(self, octets: bytes) -> None:
        """Send octets on every connection past its TLS."""
        for connection in self.connections:
            connection.send_raw(octets)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self.hang_up()
        if self._log:
            self._log.close()

    def store(self, message: Received) -> None:
        """Take a message in, before the server answers 250."""
        if self._log:
            record = {
                "id": message.id,
                "listener": message.listener,
                "peer": message.peer,
                "tls": message.tls_version,
                "mail": message.mail,
                "rcpt": message.recipients,
                "bytes": len(message.content),
                "at": message.at,
            }
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()
        if self._spool:
            (self._spool / f"{len(self.messages):08}.eml").write_bytes(message.content)
        self.messages.append(message if self._keep_content else replace(message, content=b""))
        self._arrived.set()


def _context(behaviour: Behaviour, cert_file: str, key_file: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    version = behaviour.tls_version
    if version is not None and version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = version or ssl.TLSVersion.TLSv1_2
    if version is not None:
        context.maximum_version = version
    context.num_tickets = 0
    context.sni_callback = _note_sni
    context.load_cert_chain(cert_file, key_file)
    return context


def _note_sni(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
    tls.sim_sni = name or ""  # type: ignore[union-attr]


def sim_id(content: bytes) -> str:
    """The value of the header line X-Sim-Id."""
    end = content.find(b"\r\n\r\n")
    start = content.find(b"X-Sim-Id: ", 0, end if end >= 0 else len(content))
    if start < 0:
        return ""
    return content[start + 10 : content.find(b"\r\n", start)].decode("latin-1").strip()


class _Server(asyncio.Protocol):
    """One connection.  `_mode` is what the next octets are: commands, DATA content, a BDAT chunk, or a TLS handshake."""

    def __init__(self, host: MailHost, behaviour: Behaviour, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._b = behaviour
        self._context = context
        self._buffer = b""
        self._scanned = 0
        self._mode = "command"
        self._out: list[bytes] = []
        self._tls: ssl.SSLObject | None = None
        self._shaken = False
        self._helo = ""
        self._chunk = 0
        self._chunk_last = False
        self._closing = False
        self.verbs: list[str] = []
        """Every command heard."""
        self._reset()

    def _reset(self) -> None:
        self._mail: str | None = None
        self._recipients: list[str] = []
        self._content = b""

    # ------------------------------------------------------------------------------------------------------- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports only quack like asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        self._host.connections.add(self)
        self._host.dialled += 1
        self._number = self._host.dialled
        self._loop = asyncio.get_running_loop()
        ip, port = transport.get_extra_info("sockname")[:2]
        self._listener = f"{ip}:{port}"
        self.peer = transport.get_extra_info("peername")[0]
        self._answer("CONNECT", "220 mailhost.test ESMTP ready")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections.discard(self)

    def hang_up(self, farewell: bytes = b"") -> None:
        if farewell:
            self._send(farewell)
        if self._shaken and self._tls is not None:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._transport.write(self._outgoing.read())
        self._transport.close()

    def send_raw(self, octets: bytes) -> None:
        self._transport.write(octets)

    def data_received(self, data: bytes) -> None:
        if self._mode == "odd-handshake":
            self._transport.write(self._b.handshake)
            self._mode = "deaf"
        if self._mode == "deaf":
            return
        if self._tls is not None:
            plain = self._decrypt(data)
            if plain is None:
                return
            data = plain
        self._buffer += data
        while self._mode != "deaf" and not self._closing and self._step():
            pass
        self._flush()

    def _decrypt(self, data: bytes) -> bytes | None:
        """Plaintext; None when there is none to handle."""
        assert self._tls is not None
        self._incoming.write(data)
        chunks = []
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
                if self._b.after_handshake:
                    self._tls.write(self._b.after_handshake)
            while chunk := self._tls.read(65536):
                chunks.append(chunk)
                if not self._incoming.pending and not self._tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._transport.write(self._outgoing.read())
            self._transport.close()
            return None
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
        return b"".join(chunks) or None

    def _send(self, octets: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._tls is not None:
            self._tls.write(octets)
            octets = self._outgoing.read()
        self._transport.write(octets)

    def _flush(self) -> None:
        octets, self._out = b"".join(self._out), []
        if octets and self._b.delay_seconds:
            self._loop.call_later(self._b.delay_seconds, self._send, octets)
        elif octets:
            self._send(octets)
        if self._closing:
            self._transport.close()

    # ---------------------------------------------------------------------------------------------------------- dialogue

    def _answer(self, stage: str, usual: str) -> bool:
        """Answer a stage as the behaviour says; True when the answer is positive."""
        behaviour = self._b
        if behaviour.drop_at == stage:
            self._mode, self._closing = "deaf", True
            return False
        if behaviour.silent_at == stage:
            self._mode = "deaf"
            return False
        reply = behaviour.replies.get(stage, usual)
        self._out.append(reply.encode() + b"\r\n")
        if reply.startswith("421"):
            self._closing = True
        return reply[0] in "23"

    def _step(self) -> bool:
        """Handle the next command or content; False when more octets are needed."""
        if self._mode == "data":
            return self._step_data()
        if self._mode == "bdat":
            return self._step_bdat()
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > LINE_LIMIT:
                self._out.append(b"500 5.5.2 Line too long\r\n")
                self._closing = True
            return False
        line = self._buffer[:end].decode("utf-8", "replace")
        self._buffer = self._buffer[end + 2 :]
        verb, _, argument = line.partition(" ")
        self.verbs.append(verb)
        command = _COMMANDS.get(verb.upper())
        if command is None:
            self._out.append(b"500 5.5.1 Unknown command\r\n")
        else:
            command(self, argument)
        return True

    def _ehlo(self, argument: str) -> None:
        self._helo = argument
        b = self._b
        offers = [
            ("PIPELINING", b.pipelining), ("8BITMIME", b.eight_bit), ("SMTPUTF8", b.smtputf8), ("CHUNKING", b.chunking),
            ("DSN", b.dsn), ("REQUIRETLS", b.require_tls and self._tls is not None),
            (f"SIZE {b.size_limit_bytes}", b.size_limit_bytes is not None),
            ("STARTTLS", b.starttls and self._context is not None and self._tls is None),
        ]  # fmt: skip
        lines = ["mailhost.test greets you", *(word for word, on in offers if on), *b.more_keywords, "ENHANCEDSTATUSCODES"]
        text = "\r\n".join([f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"])
        self._reset()
        special = self._tls is not None and "EHLO-TLS" in (b.drop_at, b.silent_at, *b.replies)
        self._answer("EHLO-TLS" if special else "EHLO", text)

    def _helo_command(self, argument: str) -> None:
        self._helo = argument
        self._reset()
        self._answer("HELO", "250 mailhost.test")

    def _starttls(self, _: str) -> None:
        if self._context is None or self._tls is not None:
            self._out.append(b"502 5.5.1 Not offered\r\n")
            return
        if not self._answer("STARTTLS", "220 2.0.0 Go ahead"):
            return
        self._out.append(self._b.after_starttls)
        self._flush()
        self._buffer = b""
        if self._b.drop_at == "HANDSHAKE":
            self._closing = True
        elif self._b.silent_at == "HANDSHAKE":
            self._mode = "deaf"
        elif self._b.handshake:
            self._mode = "odd-handshake"
        else:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _mail_command(self, argument: str) -> None:
        limit = self._b.size_limit_bytes
        words = argument.upper().split(" SIZE=")
        if self._mail is not None:
            self._out.append(b"503 5.5.1 Nested MAIL\r\n")
        elif limit is not None and len(words) == 2 and int(words[1].split()[0]) > limit:
            self._out.append(b"552 5.3.4 Message too big\r\n")
        elif self._answer("MAIL", "250 2.1.0 Sender ok"):
            self._mail = argument[5:]

    def _rcpt(self, argument: str) -> None:
        address = argument[argument.find("<") + 1 : argument.find(">")]
        if self._mail is None:
            self._out.append(b"503 5.5.1 MAIL first\r\n")
            return
        if len(self._recipients) >= self._b.max_recipients:
            self._out.append(b"452 4.5.3 Too many recipients\r\n")
            return
        if self._b.greylist_seconds:
            first = self._host.first_seen.setdefault((self.peer, address), time.monotonic())
            if time.monotonic() - first < self._b.greylist_seconds:
                self._out.append(b"451 4.7.1 Greylisted, come back later\r\n")
                return
        special = f"RCPT {address}"
        if self._answer(special if special in self._b.replies else "RCPT", "250 2.1.5 Recipient ok"):
            self._recipients.append(argument[3:])

    def _data(self, _: str) -> None:
        if not self._recipients and "DATA" not in self._b.replies:
            self._out.append(b"554 5.5.1 No valid recipients\r\n")
        elif self._answer("DATA", "354 End with a dot"):
            # The line end of DATA itself is the first CRLF of an empty message's CRLF.CRLF.
            self._buffer = b"\r\n" + self._buffer
            self._scanned = 0
            self._mode = "data"

    def _step_data(self) -> bool:
        if self._b.drop_at == "CONTENT" and len(self._buffer) > 2:
            self._closing = True
            return False
        end = self._buffer.find(b"\r\n.\r\n", max(self._scanned - 4, 0))
        if end < 0:
            self._scanned = len(self._buffer)
            self._closing = self._scanned > CONTENT_LIMIT
            return False
        content = self._buffer[: end + 2]
        if b"\r\n." in content:
            content = content.replace(b"\r\n.", b"\r\n")
        self._buffer = self._buffer[end + 5 :]
        self._mode = "command"
        self._finish(content[2:], "END")
        return True

    def _bdat(self, argument: str) -> None:
        size, _, last = argument.partition(" ")
        self._chunk, self._chunk_last = int(size), last.upper() == "LAST"
        self._mode = "bdat"

    def _step_bdat(self) -> bool:
        if len(self._buffer) < self._chunk:
            return False
        self._content += self._buffer[: self._chunk]
        self._buffer = self._buffer[self._chunk :]
        self._mode = "command"
        if not self._recipients:
            self._out.append(b"554 5.5.1 No valid recipients\r\n")
        elif self._chunk_last:
            self._finish(self._content, "BDAT")
        else:
            self._out.append(b"250 2.0.0 Chunk ok\r\n")
        return True

    def _finish(self, content: bytes, stage: str) -> None:
        limit = self._b.size_limit_bytes
        if limit is not None and len(content) > limit:
            self._out.append(b"552 5.3.4 Message too big\r\n")
        elif self._recipients and self._answer(stage, "250 2.0.0 Message taken"):
            assert self._mail is not None
            version = (self._tls.version() or "") if self._tls else ""
            self._host.store(
                Received(sim_id(content), self._listener, self.peer, version, getattr(self._tls, "sim_sni", ""), self._helo,
                         self._mail, tuple(self._recipients), content, time.time(), self._number)
            )  # fmt: skip
        elif not self._recipients:
            self._out.append(b"554 5.5.1 No valid recipients\r\n")
        self._reset()

    def _rset(self, _: str) -> None:
        self._reset()
        self._answer("RSET", "250 2.0.0 Forgotten")

    def _noop(self, _: str) -> None:
        self._out.append(b"250 2.0.0 Ok\r\n")

    def _quit(self, _: str) -> None:
        self._answer("QUIT", "221 2.0.0 Bye")
        self._closing = True


_COMMANDS = {
    "EHLO": _Server._ehlo,
    "HELO": _Server._helo_command,
    "STARTTLS": _Server._starttls,
    "MAIL": _Server._mail_command,
    "RCPT": _Server._rcpt,
    "DATA": _Server._data,
    "BDAT": _Server._bdat,
    "RSET": _Server._rset,
    "NOOP": _Server._noop,
    "QUIT": _Server._quit,
}


async def _serve(hosts: list[dict[str, str]], log: Path | None, spool: Path | None) -> None:
    host = MailHost(log=log, spool=spool, keep_content=False)
    for item in hosts:
        behaviour = PROFILES[item["profile"]]
        await host.listen(item["ip"], int(item["port"]), behaviour, item.get("cert"), item.get("key"))
    print(f"{len(hosts)} mail hosts ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Run listeners until stopped."""
    parser = argparse.ArgumentParser(description=_serve.__doc__ or "Receiving mail servers for a lab.")
    parser.add_argument("hosts", type=Path, help="JSON: a list of objects with ip, port, profile, cert, key")
    parser.add_argument("--log", type=Path, help="append one JSON object per received message")
    parser.add_argument("--spool", type=Path, help="write each message's content into this folder")
    arguments = parser.parse_args()
    hosts = json.loads(arguments.hosts.read_text())
    uvloop.run(_serve(hosts, arguments.log, arguments.spool))


if __name__ == "__main__":
    main()
