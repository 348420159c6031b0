"""The part of benchmarks/analyze that runs inside the name spaces; never start it outside of them."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.analyze_kinds import Kind, domains
from compare.posttls_inside import set_up_loopback
from simnet.internet import Host, Internet, simple
from simnet.recursive import UnboundServer
from simnet.signing import Signing

WANTED_RATIO = 20.0
RESOLVER = "127.0.0.1"
PEER_SECONDS = 3600
BUNDLE = "authorities.pem"
"""The system's authorities and the lab's: what any installation has, and what the lab adds.  Both programs get it."""
CANARIES = (
    simple("canary-signed.test", "canary", Host()),
    simple("canary-unsigned.test", "canary", Host(), signing=Signing.UNSIGNED),
    simple("canary-broken.test", "canary", Host(), spoil=(("mx.canary-broken.test", "A"),)),
)


@dataclass(frozen=True, slots=True)
class Took:
    """One run of one program."""

    domains: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.domains / self.seconds


def toml() -> str:
    """A gateway that sends every query to the resolver next door, and validates what comes."""
    return f"""hostname = "gateway.test"

[store]
url = "sqlite:///queue.db"

[resolver]
forwarders = ["{RESOLVER}"]
trust_anchor_file = "trust-anchor.ds"
special_names = true
canary_signed = "mx.canary-signed.test"
canary_unsigned = "mx.canary-unsigned.test"
canary_broken = "mx.canary-broken.test"

[tls]
ca_file = "{BUNDLE}"

[mta_sts]
ca_file = "{BUNDLE}"

[delivery]
allow_private_destinations = true
address_families = ["ipv4"]

[http]
enabled = false
"""


class World:
    """The internet, its mail hosts in a process of their own, and the resolver."""

    def __init__(self, folder: Path, wanted: Mapping[str, Kind]) -> None:
        self.folder = folder
        published = [*CANARIES, *(kind.destination(name) for name, kind in wanted.items())]
        self.net = Internet(folder, published, serve_mail=False)
        self.net.dns_port = self.net.world.port = 53
        self.net.smtp_port, self.net.policies.port = 25, 443
        self._stack = ExitStack()
        self.pids: dict[str, int] = {"policy host": os.getpid()}
        """Whose CPU is told beside the program's."""

    async def __aenter__(self) -> World:
        await self.net.__aenter__()
        listing = self.folder / "hosts.json"
        listing.write_text(json.dumps(self.net.mail_hosts))
        hosts = subprocess.Popen([sys.executable, "-m", "simnet.mailhost", str(listing)], stdout=subprocess.PIPE)
        self._stack.callback(hosts.wait)
        self._stack.callback(hosts.terminate)
        self.pids["mail hosts"] = hosts.pid
        assert hosts.stdout is not None
        hosts.stdout.readline()
        (self.folder / "unbound").mkdir()
        unbound = self._stack.enter_context(UnboundServer(self.net.world, RESOLVER, 53, self.folder / "unbound"))
        self.pids |= {"resolver": unbound.pid, "name servers": self.net.server.pid}
        system = Path(ssl.get_default_verify_paths().openssl_cafile)
        authorities = [file.read_text() for file in (system, self.folder / "web-ca.pem") if file.exists()]
        (self.folder / BUNDLE).write_text("\n".join(authorities))
        (self.folder / "sealroute.toml").write_text(toml())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stack.close()
        await self.net.__aexit__(None, None, None)

    def cpu(self) -> dict[str, float]:
        """CPU seconds of the servers so far."""
        return {name: _cpu_seconds(pid, alone=pid == os.getpid()) for name, pid in self.pids.items()}

    async def run(self, *command: str, environment: Mapping[str, str] | None = None) -> tuple[str, Took]:
        """What a program printed, its time and its CPU; the loop goes on, for the policy host lives in it."""
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})}
        )
        async with asyncio.timeout(PEER_SECONDS):
            output, _ = await process.communicate()
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return output.decode(), Took(0, seconds, cpu)


def _cpu_seconds(pid: int, *, alone: bool) -> float:
    """Of a process and, unless `alone`, of all that descend from it: NSD answers in a grandchild."""
    used: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                used[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    wanted = {pid}
    while not alone and (more := {child for child, (parent, _) in used.items() if parent in wanted} - wanted):
        wanted |= more
    return sum(used[each][1] for each in wanted & used.keys()) / os.sysconf("SC_CLK_TCK")


async def ours(world: World, wanted: Mapping[str, Kind], profile: str) -> tuple[dict[str, Any], Took]:
    """`sealroute analyze --input`: its rows by domain."""
    listing = world.folder / "domains.txt"
    listing.write_text("\n".join(wanted))
    program = ["-m", "cProfile", "-o", profile, "-m", "sealroute"] if profile else ["-m", "sealroute"]
    command = [
        sys.executable,
        *program,
        "--config",
        str(world.folder / "sealroute.toml"),
        "analyze",
        "--input",
        str(listing),
        "--json",
    ]
    output, took = await world.run(*command)
    rows = {row["domain"]: row for row in json.loads(output)["domains"]}
    return rows, Took(len(rows), took.seconds, took.cpu_seconds)


async def theirs(world: World, sample: Sequence[str], what: str) -> Took:
    """checkdmarc over the sample; it measures itself, from after its imports."""
    listing = world.folder / "sample.txt"
    listing.write_text("\n".join(sample))
    bundle = str(world.folder / BUNDLE)
    trust = {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle}
    output, _ = await world.run(
        sys.executable, "-m", "benchmarks.analyze_peer", str(listing), RESOLVER, what, environment=trust
    )  # fmt: skip
    said = json.loads(output.splitlines()[-1])
    return Took(len(sample), said["seconds"], said["cpu_seconds"])


def wrong(wanted: Mapping[str, Kind], rows: Mapping[str, Any]) -> list[str]:
    """A line for every domain whose row is not what its kind says."""
    lines = []
    for name, kind in wanted.items():
        row = rows.get(name)
        found = (row["standing"], row["protection"], row["code"] if row["standing"] == "broken" else "") if row else None
        if found != (kind.standing, kind.protection, kind.code):
            lines.append(f"  {name} ({kind.name}): {found}, expected {(kind.standing, kind.protection, kind.code)}")
    return lines


async def main() -> int:
    count, sample, profile = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    wanted = domains(count)
    with tempfile.TemporaryDirectory(prefix="sealroute-analyze-") as name:
        folder = Path(name)
        set_up_loopback(folder)
        started = time.perf_counter()
        async with World(folder / "net", wanted) as world:
            print(f"{count} domains, published and served after {time.perf_counter() - started:.0f} s: ", end="")
            print(
                ", ".join(f"{many} {kind}" for kind, many in Counter(kind.name for kind in wanted.values()).items()), flush=True
            )
            before = world.cpu()
            rows, analyzer = await ours(world, wanted, profile)
            servers = {name: used - before[name] for name, used in world.cpu().items()}
            faults = wrong(wanted, rows)
            _told("sealroute analyze --input", analyzer)
            used = ", ".join(f"{name} {1000 * seconds / count:.2f}" for name, seconds in servers.items())
            print(f"  beside it, ms CPU each: {used}")
            print(f"  verdicts: {count - len(faults)} of {count} as the domain's kind says", *faults[:20], sep="\n", flush=True)
            if not sample:
                return 1 if faults else 0
            part = list(wanted)[:sample]
            mail = await theirs(world, part, "mail")
            _told("checkdmarc: DNSSEC, MTA-STS, MX with TLS checks, TLS-RPT", mail)
            whole = await theirs(world, part[: max(1, sample // 4)], "whole")
            _told("checkdmarc: its whole check of a domain, with TLS checks", whole)
    ratio = analyzer.rate / mail.rate
    print(f"ratio: {ratio:.1f} (of its whole check: {analyzer.rate / whole.rate:.1f}); wanted: {WANTED_RATIO:g}")
    return 1 if faults or ratio < WANTED_RATIO else 0


def _told(what: str, took: Took) -> None:
    each = 1000 * took.cpu_seconds / took.domains
    print(f"{what}: {took.domains} domains in {took.seconds:.1f} s, {took.rate:.1f}/s, {each:.2f} ms CPU each", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
