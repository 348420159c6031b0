"""Name servers of the simulated internet: NSD for the good ones, a small asyncio server for the bad ones.

NSD runs as its own process in a folder of its own, as whoever starts it, without chroot and without root (on a high port).
Everything listens on loopback addresses; a delegation cannot name a port, so good and bad servers share one port number on
different 127.x addresses (simnet/zones says how resolvers are told).
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import subprocess
import tempfile
import time
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdata
import dns.rrset
from dns.rdataclass import IN
from dns.rdatatype import TLSA

from simnet.zones import World

START_SECONDS = 120.0
STOP_SECONDS = 10.0


def free_port(*addresses: str) -> int:
    """A port above 20000 on which nothing listens at any of the addresses, neither UDP nor TCP."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        if all(_is_free(address, port, kind) for address in addresses for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise RuntimeError(f"no free port found on {', '.join(addresses)}")


def _is_free(address: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def wait_for_dns(address: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers a question about the root; RuntimeError with its log when it ends or takes too long."""
    query = dns.message.make_query(".", "SOA")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            dns.query.udp(query, address, port=port, timeout=0.05)
        except (OSError, dns.exception.DNSException):
            time.sleep(0.02)
            continue
        return
    text = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise RuntimeError(f"the name server at {address}@{port} does not answer: {text}")


class ServerProcess:
    """A child process with a folder of its own, started and stopped with bounds on time."""

    def __init__(self, directory: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="simnet-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else (directory or Path())
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} does not run")
        return self._process.pid

    def _launch(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        return self._process

    def _halt(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End the process; harmless when it does not run."""
        self._halt()
        if self._temporary is not None:
            self._temporary.cleanup()


class NsdServer(ServerProcess):
    """A real NSD that serves a World; a context manager, or start() and stop()."""

    def __init__(self, world: World, directory: Path | None = None) -> None:
        """`directory` receives zone files, configuration and log; a temporary one when not given."""
        super().__init__(directory)
        self.world = world

    def start(self) -> None:
        """Write the zones, start NSD and wait until it answers; RuntimeError with its log when it does not."""
        zones = self.world.write(self.directory)
        config = self.directory / "nsd.conf"
        config.write_text(self._config(zones))
        process = self._launch("nsd", "-d", "-c", str(config))
        try:
            wait_for_dns(self.world.address, self.world.port, process, self.log)
            self._check_log()
        except RuntimeError:
            self._halt()
            raise

    def reload(self) -> None:
        """Serve what the World says now (a restart: it also picks up new zones, and takes a fraction of a second)."""
        self._halt()
        self.start()

    def _check_log(self) -> None:
        """NSD starts without the zones it cannot read, and would answer SERVFAIL for them: that must not pass for a test."""
        faults = [line for line in self.log.read_text(errors="replace").splitlines() if "error" in line]
        if faults:
            raise RuntimeError("NSD cannot serve the world: " + "\n".join(faults[:5]))

    def _config(self, zones: list[tuple[str, str]]) -> str:
        server = f"""server:
  ip-address: {self.world.address}@{self.world.port}
  port: {self.world.port}
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  pidfile: ""
  zonesdir: "{self.directory}"
  zonelistfile: "{self.directory}/zone.list"
  xfrdfile: ""
  xfrdir: "{self.directory}"
  minimal-responses: yes
  rrl-ratelimit: 0
  tcp-count: 200
remote-control:
  control-enable: no
"""
        return server + "".join(f'zone:\n  name: "{name}"\n  zonefile: "{path}"\n' for name, path in zones)

    def __enter__(self) -> NsdServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class Fault(Enum):
    """How a bad name server behaves, over UDP and TCP alike."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    SILENT = "silent"
    """Takes every question and never answers."""
    GARBAGE = "garbage"
    """Answers with octets that are no DNS message."""
    TRUNCATED = "truncated"
    """Over UDP always truncated, over TCP the connection is closed without an answer."""
    SHORT_TLSA = "short-tlsa"
    """Answers a TLSA question with a record of two octets; says that nothing else exists."""


class FaultyNameServer:
    """Misbehaves at one address and port; `async with FaultyNameServer(...) as server:`.

    `fault` may be changed while it runs; `queries` counts questions.
    """

    def __init__(self, fault: Fault, address: str, port: int) -> None:
        self.fault = fault
        self.address = address
        self.port = port
        self.queries = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _FaultyUdp(self), local_addr=(self.address, self.port))
        self._tcp = await asyncio.start_server(self._serve_tcp, self.address, self.port)

    async def stop(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        # The transport closes its socket in the next turn of the loop; after this the port can be bound again.
        await asyncio.sleep(0)

    def reply(self, question: bytes, *, tcp: bool) -> bytes | None:
        """The octets to answer with; None for no answer."""
        self.queries += 1
        if self.fault is Fault.SILENT or (tcp and self.fault is Fault.TRUNCATED):
            return None
        if self.fault is Fault.GARBAGE:
            return question[:2] + b"\x84\x00\xff\xff\xff\xff\xff\xff\xff\xff" + b"\xc0" * 40
        try:
            response = dns.message.make_response(dns.message.from_wire(question))
        except dns.exception.DNSException:
            return None
        if self.fault is Fault.TRUNCATED:
            response.flags |= dns.flags.TC
        elif self.fault is Fault.SHORT_TLSA:
            response.flags |= dns.flags.AA
            if response.question and response.question[0].rdtype is TLSA:
                record = dns.rdata.GenericRdata(IN, TLSA, b"\x03\x01")
                response.answer.append(dns.rrset.from_rdata(response.question[0].name, 60, record))
        else:
            response.set_rcode(dns.rcode.SERVFAIL if self.fault is Fault.SERVFAIL else dns.rcode.REFUSED)
        return response.to_wire()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(60):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self.reply(await reader.readexactly(size), tcp=True)
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                elif self.fault is Fault.SILENT:
                    await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    async def __aenter__(self) -> FaultyNameServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class _FaultyUdp(asyncio.DatagramProtocol):
    def __init__(self, server: FaultyNameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's and selector transports are no subclass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.reply(data, tcp=False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)
