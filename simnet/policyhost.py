"""An HTTPS server for MTA-STS policy files on loopback: many `mta-sts.<domain>` at one address, told apart by SNI.

    async with PolicyHost(ca, "127.0.0.7") as host:             # ca: simnet/pki Ca
        site = host.serve("contoso.test", policy_text("mx.contoso.test"))
        ...                                                     # fetch from host.ip, host.port
        site.text = policy_text("mx2.contoso.test")             # takes effect with the next request
        site.behaviour = Behaviour.NOT_FOUND
        host.serve("fabrikam.test", site.text, certificate=Certificate.EXPIRED)
        assert site.hits == 2

A hit is a request for the policy file that came through the handshake.  HTTP/1.1, one request per connection.  Names without a
site fail in the handshake.  DNS for the names is simnet/zones.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import TracebackType

from simnet.pki import Ca, Entity, Wish, self_signed

REQUEST_LIMIT_BYTES = 16_384
REQUEST_SECONDS = 300.0
"""For the handshake, and for the request; longer than any client waits, so that it is the client's patience that is tested."""


class Behaviour(Enum):
    """How a site answers a request for its policy."""

    OK = auto()
    NOT_FOUND = auto()
    SERVER_ERROR = auto()
    REDIRECT = auto()
    """301 to another path of the same site, where the policy is."""
    OVERSIZE = auto()
    """The policy and then more octets than anyone should read."""
    ENDLESS = auto()
    """Chunks without end."""
    HANG = auto()
    """Nothing after the request, until the client goes."""
    DRIP = auto()
    """One octet of the policy in a tenth of a second."""
    HTML = auto()
    """The policy as text/html."""
    NO_TYPE = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()
    """Neither Content-Length nor chunked."""
    CUT_SHORT = auto()
    """Closes before all octets of Content-Length are sent."""
    GZIP = auto()
    """Says that it is compressed."""
    NOT_HTTP = auto()
    RAW = auto()
    """Sends `Site.raw` as it is."""


class Certificate(Enum):
    """The certificate a site shows."""

    GOOD = auto()
    SELF_SIGNED = auto()
    UNKNOWN_CA = auto()
    WRONG_NAME = auto()
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    NAME_IN_SUBJECT_ONLY = auto()


@dataclass(eq=False)
class Site:
    """One `mta-sts.<domain>`; change it at any time."""

    domain: str
    text: str
    behaviour: Behaviour = Behaviour.OK
    raw: bytes = b""
    hits: int = 0
    certificate: Certificate = Certificate.GOOD
    context: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"mta-sts.{self.domain}"


def policy_text(*mx: str, mode: str = "enforce", max_age: int = 604800) -> str:
    """A policy file."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {pattern}" for pattern in mx), f"max_age: {max_age}"]
    return "\r\n".join(lines) + "\r\n"


class PolicyHost:
    """The server; sites may be added before and after it is started."""

    def __init__(self, ca: Ca, ip: str = "127.0.0.1", port: int = 0) -> None:
        self.ca = ca
        self.ip = ip
        self.port = port
        """0 until started, then the port in use."""
        self.handshakes_refused = 0
        self._sites: dict[str, Site] = {}
        self._server: asyncio.Server | None = None
        self._at_work: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> PolicyHost:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; raises OSError when the address cannot be had."""
        context = _context(self.ca.leaf("nobody.invalid"))
        context.sni_callback = self._choose
        self._server = await asyncio.start_server(
            self._work, self.ip, self.port, ssl=context, limit=REQUEST_LIMIT_BYTES, ssl_handshake_timeout=REQUEST_SECONDS
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for task in tuple(self._at_work):
                task.cancel()
            await asyncio.gather(*self._at_work, return_exceptions=True)
            self._server = None

    def serve(
        self, domain: str, text: str, certificate: Certificate = Certificate.GOOD, behaviour: Behaviour = Behaviour.OK
    ) -> Site:
        """Add a site, or replace it."""
        site = Site(domain, text, behaviour, certificate=certificate)
        site.context = _context(self._certified(site))
        self._sites[site.name] = site
        return site

    def site(self, domain: str) -> Site:
        return self._sites[f"mta-sts.{domain}"]

    def remove(self, domain: str) -> None:
        """Let handshakes for the site fail."""
        del self._sites[f"mta-sts.{domain}"]

    def _certified(self, site: Site) -> Entity:
        match site.certificate:
            case Certificate.SELF_SIGNED:
                return self_signed(site.name)
            case Certificate.UNKNOWN_CA:
                return Ca("An authority nobody trusts").leaf(site.name)
            case Certificate.WRONG_NAME:
                return self.ca.leaf(f"www.{site.domain}")
            case Certificate.EXPIRED:
                return self.ca.leaf(site.name, expired=True)
            case Certificate.NOT_YET_VALID:
                return self.ca.leaf(site.name, wish=Wish(not_yet_valid=True))
            case Certificate.NAME_IN_SUBJECT_ONLY:
                return self.ca.leaf(site.name, wish=Wish(san=False))
            case Certificate.GOOD:
                return self.ca.leaf(site.name)

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        site = self._sites.get((name or "").lower())
        if site is None or site.context is None:
            self.handshakes_refused += 1
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = site.context
        return None

    async def _work(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._at_work.add(task)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            await self._answer(request, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went, or was too slow: its affair
        finally:
            self._at_work.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *fields = request.split("\r\n")
        hosts = [value.strip() for name, _, value in (line.partition(":") for line in fields) if name.lower() == "host"]
        site = self._sites.get(hosts[0].partition(":")[0].lower()) if len(hosts) == 1 else None
        if site is None or first not in ("GET /.well-known/mta-sts.txt HTTP/1.1", "GET /moved.txt HTTP/1.1"):
            writer.write(_response(404, b"no such page"))
        else:
            site.hits += 1
            behaviour = Behaviour.OK if first.startswith("GET /moved.txt") else site.behaviour
            await _behave(site, behaviour, reader, writer)
        await writer.drain()


async def _behave(site: Site, behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = site.text.encode()
    simple: dict[Behaviour, Callable[[], bytes]] = {
        Behaviour.OK: lambda: _response(200, body),
        Behaviour.NOT_FOUND: lambda: _response(404, b"not found"),
        Behaviour.SERVER_ERROR: lambda: _response(503, b"later"),
        Behaviour.REDIRECT: lambda: _response(301, b"", "Location: /moved.txt"),
        Behaviour.OVERSIZE: lambda: _response(200, body + b"x: " + b"y" * 1_000_000),
        Behaviour.HTML: lambda: _response(200, body, media_type="text/html"),
        Behaviour.NO_TYPE: lambda: _response(200, body, media_type=""),
        Behaviour.GZIP: lambda: _response(200, body, "Content-Encoding: gzip"),
        Behaviour.UNTIL_CLOSE: lambda: _head(200) + body,
        Behaviour.CUT_SHORT: lambda: _response(200, body)[:-10],
        Behaviour.CHUNKED: lambda: _head(200, "Transfer-Encoding: chunked") + _chunk(body[:7]) + _chunk(body[7:]) + _chunk(b""),
        Behaviour.NOT_HTTP: lambda: b"220 mx.example ESMTP\r\n",
        Behaviour.RAW: lambda: site.raw,
    }
    if behaviour in simple:
        writer.write(simple[behaviour]())
    elif behaviour is Behaviour.HANG:
        await reader.read(1)
    elif behaviour is Behaviour.DRIP:
        writer.write(_head(200, f"Content-Length: {len(body)}"))
        for position in range(len(body)):
            writer.write(body[position : position + 1])
            await writer.drain()
            await asyncio.sleep(0.1)
    elif behaviour is Behaviour.ENDLESS:
        writer.write(_head(200, "Transfer-Encoding: chunked"))
        while not writer.is_closing():
            writer.write(_chunk(b"x: y\n" * 200))
            await writer.drain()


def _head(status: int, *fields: str, media_type: str = "text/plain; charset=utf-8") -> bytes:
    lines = [f"HTTP/1.1 {status} as told", "Connection: close", *fields]
    if media_type:
        lines.append(f"Content-Type: {media_type}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _response(status: int, body: bytes, *fields: str, media_type: str = "text/plain; charset=utf-8") -> bytes:
    return _head(status, f"Content-Length: {len(body)}", *fields, media_type=media_type) + body


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _context(entity: Entity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain, key = entity.write(Path(folder), "site")
        context.load_cert_chain(chain, key)
    return context
