"""The DNSSEC status our resolver gives each name beside that of other validators: BIND's `delv` and NLnet Labs' `drill -S`.

`delv` validates by itself what the Unbound next door fetched; `drill -S` chases the signatures of an answer up to the trust
anchor.  Both start from the root key of the simulated internet.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare.destinations import DESTINATIONS
from sealroute.base.dnsdata import Answer, Security
from sealroute.net.resolver_unbound import UnboundResolver
from sealroute.net.unbound_config import UnboundConfig
from simnet.internet import Internet
from simnet.zones import World

_TOOL_SECONDS = 60
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Documented:
    """A status that another validator sees otherwise, and why ours stands."""

    name: str
    """The end of the question's name, and its type."""
    tool: str
    ours: str
    theirs: str
    source: str


DOCUMENTED = (
    Documented("mx.opt-out.test TLSA", "delv", "insecure", "secure", "RFC 5155 §9.2"),
    Documented("mx.opt-out.test TLSA", "drill", "insecure", "secure", "RFC 5155 §9.2"),
    Documented("mx.iterations.test TLSA", "drill", "insecure", "secure", "RFC 9276 §3.2"),
    Documented("mx.alias-out.test A", "drill", "insecure", "secure", "RFC 4035 §5.1, RFC 7672 §2.1.3"),
    Documented("mx.alias-out-wrong.test A", "drill", "insecure", "secure", "RFC 4035 §5.1, RFC 7672 §2.1.3"),
    Documented("mx.alias-out-none.test A", "drill", "insecure", "secure", "RFC 4035 §5.1, RFC 7672 §2.1.3"),
)
"""See docs/explain/compared-with-others.md."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """The files that tell the other validators where to begin."""

    delv: Path
    drill: Path

    @classmethod
    def write(cls, folder: Path, world: World) -> Anchors:
        (key,) = world.trust_anchor_keys()
        flags, protocol, algorithm, *octets = key.split()[3:]
        delv, drill = folder / "delv.keys", folder / "drill.key"
        delv.write_text(f'trust-anchors {{ . static-key {flags} {protocol} {algorithm} "{"".join(octets)}"; }};\n')
        drill.write_text(key + "\n")
        return cls(delv, drill)


def _questions(net: Internet) -> list[tuple[str, str]]:
    """Everything a walk asks: MX of each domain, addresses and TLSA of each host."""
    found: dict[tuple[str, str], None] = {}
    for destination in DESTINATIONS:
        found[destination.domain, "MX"] = None
        hosts = [name for _, name in destination.mx_records if name != "."] or [destination.domain]
        for host in (*hosts, *destination.hosts):
            found[host, "A"] = None
            found[f"_{net.smtp_port}._tcp.{host}", "TLSA"] = None
    return list(found)


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(_TOOL_SECONDS):
        output, _ = await process.communicate()
    return output.decode(errors="replace")


async def _delv(anchors: Anchors, name: str, rtype: str) -> str:
    """secure, insecure or failed."""
    output = await _run("delv", "@127.0.0.1", "-a", str(anchors.delv), "+root=.", "+nocrypto", name, rtype)
    # An alias chain has a line for each part; the weakest part counts.
    if "unsigned answer" in output or "negative response, unsigned" in output:
        return "insecure"
    return "secure" if "fully validated" in output else "failed"


async def _drill(anchors: Anchors, name: str, rtype: str) -> str:
    """secure, or not: drill -S does not tell an unsigned answer from a broken one."""
    output = await _run("drill", "-S", "-k", str(anchors.drill), "@127.0.0.1", name, rtype)
    return "secure" if "Chase successful" in output else "not secure"


def _ours(answer: Answer[Any]) -> str:
    return {Security.SECURE: "secure", Security.INSECURE: "insecure"}.get(answer.security, "failed")


async def compare_validators(net: Internet, folder: Path) -> int:
    """Print the tables; the number of undocumented differences."""
    anchors = Anchors.write(folder, net.world)
    resolver = UnboundResolver(
        UnboundConfig(stub_zones=net.world.stub_zones(), trust_anchors=net.world.trust_anchors(), special_names=True)
    )
    ask = {"MX": resolver.mx, "A": resolver.a, "TLSA": resolver.tlsa}
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str, rtype: str) -> tuple[str, str, str]:
        async with room:
            answer: Answer[Any] = await ask[rtype](name)
            return _ours(answer), await _delv(anchors, name, rtype), await _drill(anchors, name, rtype)

    questions = _questions(net)
    try:
        answers = await asyncio.gather(*(one(*question) for question in questions))
    finally:
        await resolver.close()
    counts = Counter(ours for ours, _, _ in answers)
    lines = []
    agreed, documented, undocumented = Counter[str](), 0, 0
    for (name, rtype), (ours, delv, drill) in zip(questions, answers, strict=True):
        for tool, theirs, same in (("delv", delv, ours == delv), ("drill", drill, (ours == "secure") == (drill == "secure"))):
            if same:
                agreed[tool] += 1
                continue
            source = _documented(f"{name} {rtype}", tool, ours, theirs)
            documented += bool(source)
            undocumented += not source
            lines.append(f"         {name} {rtype}: we: {ours}; {tool}: {theirs}  {source or 'UNDOCUMENTED'}")
    print("DNSSEC, beside delv and drill -S")
    print(f"  {len(questions):6} questions: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    print(f"  {agreed['delv']:6} agreements with delv")
    print(f"  {agreed['drill']:6} agreements with drill -S (secure, or not)")
    print(f"  {documented:6} documented differences")
    print(f"  {undocumented:6} undocumented differences")
    print("\n".join(lines))
    return undocumented


def _documented(question: str, tool: str, ours: str, theirs: str) -> str:
    """The source for a difference; empty when it is not documented."""
    found = (item for item in DOCUMENTED if question.endswith(item.name))
    return next((item.source for item in found if (item.tool, item.ours, item.theirs) == (tool, ours, theirs)), "")
