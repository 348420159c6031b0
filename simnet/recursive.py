"""A real Unbound daemon that validates the simulated internet: the resolver next door whose AD bit a gateway may read."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from simnet.nameserver import ServerProcess, free_port, wait_for_dns
from simnet.zones import World


class UnboundServer(ServerProcess):
    """Unbound at `address` and `port`, walking a World by its stub zones; a context manager, or start() and stop()."""

    def __init__(
        self, world: World, address: str = "127.53.0.2", port: int | None = None, directory: Path | None = None, *,
        validates: bool = True,
    ) -> None:  # fmt: skip
        """`port`: a free one when not given.  One that does not validate passes everything on and never says AD."""
        super().__init__(directory)
        self.world = world
        self.address = address
        self.port = free_port(address) if port is None else port
        self.validates = validates

    def start(self) -> None:
        """Start it and wait until it answers; RuntimeError with its log when it does not."""
        config = self.directory / "unbound.conf"
        config.write_text(self._config())
        process = self._launch("unbound", "-d", "-p", "-c", str(config))
        try:
            wait_for_dns(self.address, self.port, process, self.log)
        except RuntimeError:
            self._halt()
            raise

    def _config(self) -> str:
        anchors = "".join(f'  trust-anchor: "{anchor}"\n' for anchor in self.world.trust_anchors())
        server = f"""server:
  interface: {self.address}
  port: {self.port}
  access-control: 127.0.0.0/8 allow
  do-ip6: no
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: ""
  chroot: ""
  pidfile: ""
  directory: "{self.directory}"
  module-config: "{"validator iterator" if self.validates else "iterator"}"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  val-log-level: 2
  ede: yes
{anchors}remote-control:
  control-enable: no
"""
        stubs = self.world.stub_zones()
        return server + "".join(f'stub-zone:\n  name: "{zone}"\n  stub-addr: {address}\n' for zone, address in stubs)

    def __enter__(self) -> UnboundServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
