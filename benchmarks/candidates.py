"""What is measured: something that takes mail on ports of 127.0.0.1 and delivers it in a Lab.

Here Sealroute, alone or as several nodes; peer.py has Postfix.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Protocol

from benchmarks.lab import Lab
from simnet.gateway import Gateway
from simnet.nameserver import free_port
from simnet.postgres import Postgres, programs

SQLITE = 'url = "sqlite:///queue.db"'
POSTGRES = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "wal_buffers": "16MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
}
"""Nothing that makes a commit less safe."""


class Candidate(Protocol):
    """Started and stopped afresh for every run."""

    @property
    def ports(self) -> list[int]:
        """Where it takes mail; clients take turns."""

    @property
    def settings(self) -> Mapping[str, str]:
        """How it is set up, for people to read."""

    @property
    def pids(self) -> dict[str, list[int]]:
        """Its processes while it runs, `gateway` and what stands beside it; descendants need not be named."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Harmless when it does not run."""


class Sealroute:
    """Sealroute in its default settings, but for the laboratory's addresses and what is asked for."""

    def __init__(self, lab: Lab, *, workers: int = 1, dane: str = "", nodes: int = 0, connections: int = 500) -> None:
        """`dane`: a connector for all domains with this SmtpDaneMode; without it the default connector, Opportunistic.

        `nodes`: so many gateways on one PostgreSQL store; 0: one gateway with SQLite.  `connections`: to all destinations
        together, which workers share.
        """
        self._lab = lab
        self._workers = workers
        self._dane = dane
        self._nodes = nodes
        self._connections = connections
        self.ports = [free_port("127.0.0.1") for _ in range(nodes or 1)]
        self._gateways: list[Gateway] = []
        self._database: Postgres | None = None
        self._stack = AsyncExitStack()

    @staticmethod
    def why_no_nodes() -> str:
        """Why there can be no store on PostgreSQL; empty when there can."""
        return "" if programs() else "PostgreSQL is not installed (`tools/setup test` installs it)"

    @property
    def settings(self) -> Mapping[str, str]:
        own = {
            "store": "PostgreSQL" if self._nodes else "SQLite, synchronous=FULL",
            "workers": str(self._workers),
            "max_connections": str(self._connections),
            "SmtpDaneMode": self._dane or "Opportunistic",
            "MtaStsMode": "Opportunistic",
            "resolver": "libunbound in the process",
            "log level": "info",
        }
        return own | ({"nodes": str(self._nodes)} | POSTGRES if self._nodes else {})

    @property
    def pids(self) -> dict[str, list[int]]:
        found = {"gateway": [gateway.process.pid for gateway in self._gateways if gateway.process is not None]}
        return found | ({"database": [self._database.pid]} if self._database else {})

    async def start(self) -> None:
        url = ""
        if self._nodes:
            self._database = server = await asyncio.to_thread(Postgres, POSTGRES)
            self._stack.callback(server.remove)
            await asyncio.to_thread(server.start)
            url = server.url(server.empty())
        limit = f"max_connections = {self._connections}"
        for number, port in enumerate(self.ports):
            toml = f"workers = {self._workers}\n{self._lab.net.gateway_toml(port, delivery=limit)}"
            if url:
                toml = toml.replace(SQLITE, f'url = "{url}"\nnode = "node{number}"')
            gateway = Gateway(self._lab.new_folder("sealroute"), toml)
            if self._dane and not number:
                connector = ("New-OutboundConnector", "All", "-RecipientDomains", "*", "-SmtpDaneMode", self._dane)
                await asyncio.to_thread(gateway.run, *connector, "-Confirm:$false")
            await gateway.start()
            self._stack.push_async_callback(gateway.stop)
            self._gateways.append(gateway)

    async def stop(self) -> None:
        await self._stack.aclose()
