"""What is measured: something that takes mail on a port of 127.0.0.1 and delivers it in a Lab.

Here Sealroute; peer.py has Postfix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from benchmarks.lab import Lab
from simnet.gateway import Gateway
from simnet.nameserver import free_port


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
    """One gateway with SQLite, in its default settings but for the laboratory's addresses."""

    def __init__(self, lab: Lab, *, workers: int = 1, dane: str = "") -> None:
        """`dane`: a connector for all domains with this SmtpDaneMode; without it the default connector, Opportunistic."""
        self._lab = lab
        self._workers = workers
        self._dane = dane
        self.ports = [free_port("127.0.0.1")]
        self._gateway: Gateway | None = None

    @property
    def settings(self) -> Mapping[str, str]:
        return {
            "store": "SQLite, synchronous=FULL",
            "workers": str(self._workers),
            "SmtpDaneMode": self._dane or "Opportunistic",
            "MtaStsMode": "Opportunistic",
            "resolver": "libunbound in the process",
            "log level": "info",
        }

    @property
    def pids(self) -> dict[str, list[int]]:
        assert self._gateway is not None
        assert self._gateway.process is not None
        return {"gateway": [self._gateway.process.pid]}

    async def start(self) -> None:
        toml = f"workers = {self._workers}\n{self._lab.net.gateway_toml(self.ports[0])}"
        self._gateway = Gateway(self._lab.new_folder("sealroute"), toml)
        if self._dane:
            connector = ("New-OutboundConnector", "All", "-RecipientDomains", "*", "-SmtpDaneMode", self._dane)
            self._gateway.run(*connector, "-Confirm:$false")
        await self._gateway.start()

    async def stop(self) -> None:
        if self._gateway is not None:
            await self._gateway.stop()
