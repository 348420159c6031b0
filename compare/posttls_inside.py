"""The part of compare/posttls that runs inside the name spaces; never start it outside of them."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from compare.destinations import DESTINATIONS
from compare.validators import compare_validators
from compare.walk import Outcome, Walker
from sealroute.policy.modes import SmtpDaneMode
from simnet.internet import Destination, Internet
from simnet.recursive import UnboundServer

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_CONNECT_SECONDS = "5"
_FINGER_SECONDS = 60
_AT_ONCE = 4
_LEVELS = {"dane": SmtpDaneMode.OPPORTUNISTIC, "dane-only": SmtpDaneMode.MANDATORY}


def set_up_loopback(folder: Path) -> None:
    """Loopback up, and a resolv.conf that trusts the AD bit of the Unbound next door."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (_, flags) = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    file = folder / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\noptions edns0 trust-ad timeout:10 attempts:1\n")
    subprocess.run(["mount", "--bind", str(file), "/etc/resolv.conf"], check=True)


async def _finger(domain: str, port: int, level: str) -> str:
    """What posttls-finger says."""
    process = await asyncio.create_subprocess_exec(
        "posttls-finger", "-c", "-t", _CONNECT_SECONDS, "-T", _CONNECT_SECONDS, "-l", level, "-L", "summary",
        f"{domain}:{port}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(_FINGER_SECONDS):
        output, _ = await process.communicate()
    return output.decode(errors="replace")


_MARKS = (
    (r"does not accept mail \(nullMX\)", Outcome.NO_MAIL),
    (r"Host not found, try again", Outcome.HELD),
    (r"TLSA lookup error", Outcome.HELD),
    (r"Destination address lookup failed", Outcome.NO_DOMAIN),
    (r'resorting to "secure"', Outcome.NO_DANE),
    (r"all TLSA records unusable(?s:.*)server certificate verification failed", Outcome.NO_DANE),
    (r"server certificate verification failed", Outcome.REFUSED),
    (r"Verified TLS connection established", Outcome.VERIFIED),
    (r"TLS connection established", Outcome.ENCRYPTED),
    (r"SSL_connect error|TLS library problem|STARTTLS failed|Failed to establish session", Outcome.NO_HANDSHAKE),
)


def _read(output: str) -> Outcome:
    """posttls-finger's lines in common words; the first mark that occurs decides.  Silence is a session without TLS."""
    return next((word for mark, word in _MARKS if re.search(mark, output)), Outcome.NO_TLS)


async def _compare_destinations(net: Internet) -> int:
    """Print the table; the number of differences, none of which is documented."""
    walker = Walker(net)
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(destination: Destination, level: str) -> tuple[Outcome, Outcome, str]:
        async with room:
            output = await _finger(destination.domain, net.smtp_port, level)
            return await walker.walk(destination.domain, _LEVELS[level]), _read(output), output

    try:
        asked = [(destination, level) for destination in DESTINATIONS for level in _LEVELS]
        answers = await asyncio.gather(*(one(*item) for item in asked))
    finally:
        await walker.close()
    differences, lines = 0, []
    for (destination, level), (ours, theirs, output) in zip(asked, answers, strict=True):
        if ours is theirs:
            lines.append(f"  {destination.domain:28} {level:9} both: {ours.value}")
        else:
            differences += 1
            lines.append(f"  {destination.domain:28} {level:9} DIFFER  we: {ours.value}; Postfix: {theirs.value}\n{output}")
    print("DANE, beside posttls-finger -l dane and -l dane-only")
    print("\n".join(lines))
    print(f"  {len(asked):6} walks of {len(DESTINATIONS)} domains")
    print(f"  {len(asked) - differences:6} agreements")
    print(f"  {differences:6} differences")
    return differences


async def main() -> int:
    with tempfile.TemporaryDirectory(prefix="sealroute-compare-") as name:
        folder = Path(name)
        set_up_loopback(folder)
        async with Internet(folder / "net", DESTINATIONS) as net:
            (folder / "unbound").mkdir()
            with UnboundServer(net.world, "127.0.0.1", 53, folder / "unbound"):
                undocumented = await _compare_destinations(net)
                undocumented += await compare_validators(net, folder)
    return 1 if undocumented else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
