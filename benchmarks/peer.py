"""The peer of the relay benchmark: a Postfix with DANE for every domain, behind a validating resolver of its own.

Postfix asks the resolver of /etc/resolv.conf on port 53 and believes its AD bit, so it is started in a mount name space of its
own where that file names an unbound on a loopback address; that takes root.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from simnet.internet import Internet
from simnet.nameserver import ServerProcess, wait_for_dns
from simnet.postfix import Postfix, root_prefix

RESOLVER = "127.53.0.53"
TUNED = {
    "smtp_dns_support_level": "dnssec",
    "smtp_tls_security_level": "dane",
    "smtp_tls_connection_reuse": "yes",
    "smtp_connection_cache_destinations": "static:all",
    "smtp_connection_cache_time_limit": "30s",
    "initial_destination_concurrency": "20",
    "default_destination_concurrency_limit": "20",
    "smtpd_client_connection_count_limit": "0",
    "in_flow_delay": "0",
    "smtp_tls_loglevel": "0",
    "smtp_address_preference": "ipv4",
}
"""The same work as the gateway does, and what helps Postfix on a small machine."""


SETTINGS = f"""server:
 interface: {RESOLVER}
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

    def __init__(self, net: Internet) -> None:
        super().__init__(None)
        self.net = net

    def start(self) -> None:
        stubs = [f'stub-zone:\n name: "{zone}"\n stub-addr: {address}' for zone, address in self.net.world.stub_zones()]
        config = self.directory / "unbound.conf"
        anchor = self.net.folder / "trust-anchor.ds"
        config.write_text("\n".join([SETTINGS.replace("ANCHOR", str(anchor)), *stubs, ""]))
        command = [*root_prefix(), shutil.which("unbound", path="/usr/sbin:/usr/bin") or "unbound", "-d", "-c", str(config)]
        wait_for_dns(RESOLVER, 53, self._launch(*command), self.log)


class Peer:
    """Postfix and its resolver."""

    def __init__(self, net: Internet, port: int) -> None:
        self.port = port
        self.resolver = Unbound(net)
        resolv = self.resolver.directory / "resolv.conf"
        resolv.write_text(f"nameserver {RESOLVER}\noptions edns0 trust-ad\n")
        inside = ("unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh")
        more = {"smtp_tcp_port": str(net.smtp_port), "myhostname": "gateway.test"}
        self.postfix = Postfix("127.0.0.1", port, TUNED | more, inside=inside)

    @staticmethod
    def why_not() -> str:
        """Why there can be no peer; empty when there can."""
        try:
            root_prefix()
        except RuntimeError as error:
            return str(error)
        if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None or not Path("/etc/postfix").exists():
            return "Postfix is not installed (`tools/setup test` installs it)"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((RESOLVER, 53))
            except PermissionError:
                return ""
            except OSError as error:
                return f"{RESOLVER} port 53 is taken: {error.strerror}"
        return ""

    @property
    def shown(self) -> dict[str, str]:
        return TUNED

    @property
    def pid(self) -> int:
        return self.postfix.pid

    def start(self) -> None:
        self.resolver.start()
        self.postfix.start()

    def stop(self) -> None:
        self.postfix.stop()
        self.resolver.stop()
