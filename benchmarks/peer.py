"""The peer: Debian's Postfix, set up for the same work, with what it needs beside it.

Postfix asks the resolver of /etc/resolv.conf on port 53 and believes its AD bit, so it runs in a mount name space of its own
where that file names an unbound on a loopback address; that takes root or sudo.  For MTA-STS it asks postfix-mta-sts-resolver
(`pip install '.[compare]'`), which sees the same resolv.conf; its policy hosts must be at port 443, so that takes root.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.lab import Kind, Lab
from simnet.nameserver import ServerProcess, free_port, wait_for_dns
from simnet.postfix import Postfix, root_prefix

RESOLVERS = [f"127.53.0.{last}" for last in range(53, 73)]
"""Where Postfix's resolver may be: resolv.conf names no port, so it must be 53."""
START_SECONDS = 20.0
TUNED = {
    "smtp_dns_support_level": "dnssec",
    "smtp_address_preference": "ipv4",
    "smtp_tls_loglevel": "0",
    "in_flow_delay": "0",
    "enable_long_queue_ids": "yes",
    "smtpd_client_connection_count_limit": "0",
}
"""The same work as the gateway does, and what helps Postfix on a small machine."""
REUSE = {
    "smtp_tls_connection_reuse": "yes",
    "smtp_connection_cache_destinations": "static:all",
    "smtp_connection_cache_time_limit": "30s",
}
"""Connections are kept, TLS and all; a process (tlsproxy) then does the TLS of all of them."""
UNBOUND = """server:
 interface: ADDRESS
 port: 53
 username: ""
 chroot: ""
 pidfile: ""
 do-daemonize: no
 use-syslog: no
 num-threads: 1
 do-not-query-localhost: no
 access-control: 127.0.0.0/8 allow
 local-zone: "test." nodefault
 module-config: "validator iterator"
 trust-anchor-file: "ANCHOR"
remote-control:
 control-enable: no"""


class Unbound(ServerProcess):
    """A validating resolver on port 53 of a loopback address."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(None)
        self._lab = lab
        self.address = next(filter(_can_listen, RESOLVERS))

    def start(self) -> None:
        stubs = [f'stub-zone:\n name: "{zone}"\n stub-addr: {address}' for zone, address in self._lab.net.world.stub_zones()]
        config = self.directory / "unbound.conf"
        anchor = self._lab.folder / "trust-anchor.ds"
        settings = UNBOUND.replace("ANCHOR", str(anchor)).replace("ADDRESS", self.address)
        config.write_text("\n".join([settings, *stubs, ""]))
        command = [*root_prefix(), shutil.which("unbound", path="/usr/sbin:/usr/bin") or "unbound", "-d", "-c", str(config)]
        wait_for_dns(self.address, 53, self._launch(*command), self.log)


class StsDaemon(ServerProcess):
    """postfix-mta-sts-resolver: answers Postfix's policy look-ups."""

    def __init__(self, lab: Lab, inside: tuple[str, ...]) -> None:
        super().__init__(None)
        self.port = free_port("127.0.0.1")
        self._lab = lab
        self._inside = inside

    def start(self) -> None:
        config = self.directory / "mta-sts.yml"
        config.write_text(
            f"host: 127.0.0.1\nport: {self.port}\ncache:\n  type: internal\n  options:\n    cache_size: 10000\n"
            "default_zone:\n  strict_testing: false\n  timeout: 10\n"
        )
        environment = f"SSL_CERT_FILE={self._lab.folder / 'web-ca.pem'}"
        program = str(Path(sys.executable).with_name("mta-sts-daemon"))
        process = self._launch(*self._inside, "env", environment, program, "-v", "warn", "-c", str(config))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
                continue
            return
        raise RuntimeError(f"postfix-mta-sts-resolver does not answer: {self.log.read_text()[-2000:]}")


class Peer:
    """Postfix and its resolvers."""

    def __init__(self, lab: Lab, *, reuse: bool = True, at_a_time: int = 50) -> None:
        """`reuse`: connections are kept open with their TLS.  `at_a_time`: deliveries to one destination.

        50 deliver half as much again as Debian's 20, with half as much memory again; 100 no more than 50.
        """
        self._lab = lab
        self.ports = [free_port("127.0.0.1")]
        level = {"smtp_tls_security_level": "dane" if lab.kind is Kind.DANE else "may"}
        limits = ("initial_destination_concurrency", "default_destination_concurrency_limit")
        self._chosen = TUNED | level | dict.fromkeys(limits, str(at_a_time)) | (REUSE if reuse else {})
        self._resolver = Unbound(lab)
        resolv = self._resolver.directory / "resolv.conf"
        resolv.write_text(f"nameserver {self._resolver.address}\noptions edns0 trust-ad\n")
        inside = ("unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh")
        self._sts = StsDaemon(lab, inside) if lab.kind is Kind.STS else None
        if self._sts is not None:
            self._chosen["smtp_tls_policy_maps"] = f"socketmap:inet:127.0.0.1:{self._sts.port}:postfix"
        self._postfix = Postfix("127.0.0.1", self.ports[0], self._chosen | self._fixed(lab), inside=inside)

    @staticmethod
    def _fixed(lab: Lab) -> dict[str, str]:
        """What only says where things are."""
        cache = {"smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache"}
        authorities = {"smtp_tls_CAfile": str(lab.folder / "web-ca.pem")}
        return cache | authorities | {"smtp_tcp_port": str(lab.net.smtp_port), "myhostname": "gateway.test"}

    @staticmethod
    def why_not(kind: Kind) -> str:
        """Why there can be no peer; empty when there can."""
        try:
            root_prefix()
        except RuntimeError as error:
            return str(error)
        if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None or not Path("/etc/postfix").exists():
            return "Postfix is not installed (`tools/setup test` installs it)"
        if kind is Kind.STS and importlib.util.find_spec("postfix_mta_sts_resolver") is None:
            return "postfix-mta-sts-resolver is not installed (`pip install '.[compare]'` installs it)"
        if kind is Kind.STS and os.geteuid() != 0:
            return "policy hosts at port 443, as postfix-mta-sts-resolver wants them, take root"
        return "" if any(map(_can_listen, RESOLVERS)) else f"port 53 is taken on {RESOLVERS[0]} to {RESOLVERS[-1]}"

    @property
    def settings(self) -> Mapping[str, str]:
        more = {"smtp_tls_session_cache_database": "btree", "resolver": "an unbound beside it, which validates"}
        policies = {"smtp_tls_policy_maps": "postfix-mta-sts-resolver"} if self._sts is not None else {}
        return self._chosen | more | policies

    @property
    def pids(self) -> dict[str, list[int]]:
        found = {"gateway": [self._postfix.pid], "resolver": [self._resolver.pid]}
        if self._sts is not None:
            # A part of the work that is measured: Sealroute does it in its own process.
            found["gateway"].append(self._sts.pid)
        return found

    async def start(self) -> None:
        await asyncio.to_thread(self._resolver.start)
        if self._sts is not None:
            await asyncio.to_thread(self._sts.start)
        await asyncio.to_thread(self._postfix.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._postfix.stop)
        if self._sts is not None:
            await asyncio.to_thread(self._sts.stop)
        await asyncio.to_thread(self._resolver.stop)


def _can_listen(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 53))
        except PermissionError:
            return True  # unbound is then started by sudo
        except OSError:
            return False
    return True
