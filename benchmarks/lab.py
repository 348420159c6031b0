"""Where gateways are measured: 500 destinations of one kind in a simulated internet, and the sink that receives for them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType

from simnet.internet import Cert, Destination, Host, Internet, Policy, simple
from simnet.signing import Signing

DOMAINS = 500
STOP_SECONDS = 10.0
HTTPS_PORT = 443
"""postfix-mta-sts-resolver cannot be told another."""


class Kind(Enum):
    """What the destinations publish; each has one mail host with a key of its own (ECDSA P-256)."""

    DANE = "DANE: signed zone, TLSA 3 1 1, self-signed certificate"
    STS = "MTA-STS: unsigned zone, enforce policy, certificate of the web PKI"
    PLAIN = "nothing: unsigned zone, self-signed certificate"

    def destination(self, number: int) -> Destination:
        match self:
            case Kind.DANE:
                return simple(f"d{number}.test", self.value, Host(("3 1 1",)))
            case Kind.STS:
                host = Host(cert=Cert.WEB)
                return simple(f"s{number}.test", self.value, host, signing=Signing.UNSIGNED, policy=Policy())
            case Kind.PLAIN:
                return simple(f"p{number}.test", self.value, Host(), signing=Signing.UNSIGNED)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What the sink took since it was last reset."""

    numbers: list[int]
    times: list[int]
    """CLOCK_MONOTONIC, nanoseconds, in the order of `numbers`."""
    plaintext: int
    handshakes: int
    peak_connections: int


class Sink:
    """`benchmarks.sink` in a process of its own."""

    def __init__(self, folder: Path, hosts: list[dict[str, str | int]], *, chunking: bool) -> None:
        self._folder = folder
        listing = folder / "hosts.json"
        listing.write_text(json.dumps(hosts))
        command = [sys.executable, "-m", "benchmarks.sink", str(listing), self._control, *["--chunking"] * chunking]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if b"ready" not in self._process.stdout.readline():
            raise RuntimeError("the sink did not start")

    @property
    def _control(self) -> str:
        return str(self._folder / "sink.sock")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _ask(self, command: str) -> str:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_unix_connection(self._control)
            writer.write(f"{command}\n".encode())
            answer = (await reader.readline()).decode().strip()
            writer.close()
        return answer

    async def count(self) -> int:
        return int(await self._ask("count"))

    async def reset(self) -> None:
        await self._ask("reset")

    async def arrivals(self) -> Arrivals:
        file = self._folder / "arrivals.json"
        await self._ask(f"dump {file}")
        return Arrivals(**json.loads(file.read_text()))

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)


class Lab:
    """One internet with destinations of one kind, and its sink; an async context manager."""

    def __init__(self, kind: Kind, *, chunking: bool = False) -> None:
        self.kind = kind
        self.domains = [kind.destination(number).domain for number in range(DOMAINS)]
        self._chunking = chunking
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Lab:
        async with AsyncExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealroute-bench-")))
            # Postfix's daemons, users of their own, read the authorities' certificates here.
            self.folder.chmod(0o755)
            self.net = Internet(self.folder, map(self.kind.destination, range(DOMAINS)), serve_mail=False)
            if self.kind is Kind.STS and os.geteuid() == 0:
                self.net.policies.port = HTTPS_PORT
            await stack.enter_async_context(self.net)
            self.sink = Sink(self.folder, self.net.mail_hosts, chunking=self._chunking)
            stack.callback(self.sink.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self._stack.aclose()

    def new_folder(self, name: str) -> Path:
        """An empty folder for one run of one gateway, with what its configuration names beside it."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        for file in ("web-ca.pem", "trust-anchor.ds"):
            (folder / file).symlink_to(self.folder / file)
        return folder

    @property
    def policy_requests(self) -> int:
        """How often a policy was asked for so far."""
        return sum(self.net.policies.site(domain).hits for domain in self.domains) if self.kind is Kind.STS else 0

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes that are measured beside the gateway, by what they are."""
        return {"sink": [self.sink.pid], "name server": [self.net.server.pid]}
