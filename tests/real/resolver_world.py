"""The world that both resolvers are tested against, and what must be found in it."""

from __future__ import annotations

from dataclasses import dataclass

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security
from sealroute.ports import Resolver
from simnet.nameserver import free_port
from simnet.signing import Signing, Spoil
from simnet.zones import World

GOOD, LAME = "127.53.0.1", "127.53.0.9"
DIGEST = "ab" * 32


def make_world() -> World:
    world = World(GOOD, free_port(GOOD, LAME))
    for name, signing in (
        ("signed.test", Signing.NSEC),
        ("nsec3.test", Signing.NSEC3),
        ("optout.test", Signing.NSEC3_OPT_OUT),
        ("plain.test", Signing.UNSIGNED),
        ("orphan.test", Signing.DS_WITHOUT_KEY),
        ("future.test", Signing.UNKNOWN_ALGORITHM),
        ("far.example", Signing.NSEC),
    ):
        world.zone(name, signing)
        world.add(name, "MX", f"20 mx2.{name}.", f"10 MX.{name}.")
        world.add(f"mx.{name}", "A", "127.10.0.1")
        world.add(f"_25._tcp.mx.{name}", "TLSA", f"3 1 1 {DIGEST}")
        world.add(f"_mta-sts.{name}", "TXT", '"v=STSv1; " "id=1;"')
    world.zone("child.optout.test", Signing.UNSIGNED)
    world.add("null.signed.test", "MX", "0 .")
    world.add("mx.signed.test", "AAAA", "2001:db8::1")
    world.add("odd.signed.test", "TLSA", "200 201 202 00")
    world.add("malformed.signed.test", "TLSA", "3 1 1 abcd")
    for number in range(60):
        world.add("_25._tcp.many.signed.test", "TLSA", f"3 1 2 {number:02x}" + "cd" * 63)
    _add_aliases(world)
    for owner, rtype, how in (
        ("broken.signed.test", "MX", Spoil.BROKEN),
        ("broken.signed.test", "A", Spoil.EXPIRED),
        ("broken.signed.test", "AAAA", Spoil.FUTURE),
        ("broken.signed.test", "TXT", Spoil.MISSING),
        ("broken.signed.test", "TLSA", Spoil.BROKEN),
    ):
        world.add(
            owner,
            rtype,
            {"MX": "10 mx.signed.test.", "A": "127.0.0.1", "AAAA": "::1", "TXT": "x"}.get(rtype, f"3 1 1 {DIGEST}"),
        )
        world.spoil(owner, rtype, how)
    for name, signing, chain in (("half.test", Signing.NSEC, "NSEC"), ("half3.test", Signing.NSEC3, "NSEC3")):
        world.zone(name, signing)
        world.add(f"mx.{name}", "A", "127.0.0.1")
        world.spoil(f"mx.{name}", chain)
    world.zone("ds.test")
    world.spoil("ds.test", "DS")
    world.delegate("_tcp.claimed.signed.test", LAME, with_ds=True)
    world.delegate("_tcp.lame.signed.test", LAME)
    return world


def _add_aliases(world: World) -> None:
    for owner, target in (
        ("to-secure.signed.test", "mx.far.example."),
        ("to-plain.signed.test", "mx.plain.test."),
        ("from-plain.plain.test", "mx.signed.test."),
        ("twice.signed.test", "to-plain.signed.test."),
        ("mixed.signed.test", "from-plain.plain.test."),
        ("to-nothing.signed.test", "nothing.signed.test."),
        ("to-broken.signed.test", "broken.signed.test."),
        ("loop1.signed.test", "loop2.signed.test."),
        ("loop2.signed.test", "loop1.signed.test."),
    ):
        world.add(owner, "CNAME", target)
    world.add("moved.signed.test", "DNAME", "plain.test.")
    for number in range(20):
        world.add(f"long{number}.signed.test", "CNAME", f"long{number + 1}.signed.test.")


@dataclass(frozen=True)
class Case:
    """A look-up, and the answer in short: outcome, security, records, alias steps with their security."""

    rtype: str
    name: str
    outcome: Outcome
    security: Security
    records: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.rtype}-{self.name}"


def records(answer: Answer[object]) -> tuple[str, ...]:
    return tuple(f"{r.preference} {r.host}" if isinstance(r, Mx) else str(r) for r in answer.records)


def shape(answer: Answer[object]) -> Case:
    steps = tuple(f"{step.owner} > {step.target} {step.security.value}" for step in answer.aliases)
    return Case(answer.rtype, answer.name, answer.outcome, answer.security, records(answer), steps)


async def look_up(resolver: Resolver, rtype: str, name: str) -> Answer[object]:
    answer: Answer[object] = await getattr(resolver, rtype.lower())(name)
    return answer


DATA, NODATA, NXDOMAIN, FAILED = Outcome.DATA, Outcome.NODATA, Outcome.NXDOMAIN, Outcome.FAILED
SECURE, INSECURE, BOGUS, UNKNOWN = Security.SECURE, Security.INSECURE, Security.BOGUS, Security.UNKNOWN
TLSA_TEXT = f"3 1 1 {DIGEST}"

CLEAN = (
    Case("MX", "signed.test", DATA, SECURE, ("10 mx.signed.test", "20 mx2.signed.test")),
    Case("MX", "null.signed.test", DATA, SECURE, ("0 ",)),
    Case("A", "mx.signed.test", DATA, SECURE, ("127.10.0.1",)),
    Case("AAAA", "mx.signed.test", DATA, SECURE, ("2001:db8::1",)),
    Case("TLSA", "_25._tcp.mx.signed.test", DATA, SECURE, (TLSA_TEXT,)),
    Case("TLSA", "odd.signed.test", DATA, SECURE, ("200 201 202 00",)),
    Case("TLSA", "malformed.signed.test", DATA, SECURE, ("3 1 1 abcd",)),
    Case("TXT", "_mta-sts.signed.test", DATA, SECURE, ("v=STSv1; id=1;",)),
    Case("TLSA", "mx.signed.test", NODATA, SECURE),
    Case("TLSA", "_25._tcp.mx2.signed.test", NXDOMAIN, SECURE),
    Case("TLSA", "_25._tcp.mx.nsec3.test", DATA, SECURE, (TLSA_TEXT,)),
    Case("TLSA", "mx.nsec3.test", NODATA, SECURE),
    Case("A", "_tcp.mx.nsec3.test", NODATA, SECURE),
    Case("TLSA", "_25._tcp.mx2.nsec3.test", NXDOMAIN, SECURE),
    Case("MX", "optout.test", DATA, SECURE, ("10 mx.optout.test", "20 mx2.optout.test")),
    Case("TLSA", "nothing.optout.test", NXDOMAIN, INSECURE),
    Case("MX", "child.optout.test", NODATA, INSECURE),
    Case("MX", "plain.test", DATA, INSECURE, ("10 mx.plain.test", "20 mx2.plain.test")),
    Case("TLSA", "_25._tcp.mx.plain.test", DATA, INSECURE, (TLSA_TEXT,)),
    Case("TLSA", "mx.plain.test", NODATA, INSECURE),
    Case("TLSA", "nothing.plain.test", NXDOMAIN, INSECURE),
    Case("TLSA", "_25._tcp.mx.future.test", DATA, INSECURE, (TLSA_TEXT,)),
    Case("MX", "nothing-here.test", NXDOMAIN, SECURE),
    Case("A", "to-secure.signed.test", DATA, SECURE, ("127.10.0.1",), ("to-secure.signed.test > mx.far.example secure",)),
    Case("AAAA", "to-secure.signed.test", NODATA, SECURE, (), ("to-secure.signed.test > mx.far.example secure",)),
    Case("A", "to-nothing.signed.test", NXDOMAIN, SECURE, (), ("to-nothing.signed.test > nothing.signed.test secure",)),
    Case("A", "to-plain.signed.test", DATA, INSECURE, ("127.10.0.1",), ("to-plain.signed.test > mx.plain.test secure",)),
    Case("AAAA", "to-plain.signed.test", NODATA, INSECURE, (), ("to-plain.signed.test > mx.plain.test secure",)),
    Case("A", "from-plain.plain.test", DATA, INSECURE, ("127.10.0.1",), ("from-plain.plain.test > mx.signed.test insecure",)),
    Case(
        "A",
        "twice.signed.test",
        DATA,
        INSECURE,
        ("127.10.0.1",),
        ("twice.signed.test > to-plain.signed.test secure", "to-plain.signed.test > mx.plain.test secure"),
    ),
    Case(
        "A",
        "mixed.signed.test",
        DATA,
        INSECURE,
        ("127.10.0.1",),
        ("mixed.signed.test > from-plain.plain.test secure", "from-plain.plain.test > mx.signed.test insecure"),
    ),
    Case("A", "mx.moved.signed.test", DATA, INSECURE, ("127.10.0.1",), ("mx.moved.signed.test > mx.plain.test secure",)),
)
"""Every outcome that is an answer."""

BROKEN = (
    ("MX", "broken.signed.test", "signature verification failed"),
    ("A", "broken.signed.test", "signature expired"),
    ("AAAA", "broken.signed.test", "signature before inception date"),
    ("TXT", "broken.signed.test", "no signatures"),
    ("TLSA", "broken.signed.test", "signature verification failed"),
    ("TLSA", "mx.half.test", "signature verification failed"),
    ("TLSA", "mx.half3.test", "signature verification failed"),
    ("A", "to-broken.signed.test", "signature expired"),
    ("MX", "orphan.test", "No DNSKEY record"),
    ("MX", "ds.test", "for DS ds.test. while building chain of trust"),
)
"""(type, name, words of the reason) of look-ups that must be BOGUS."""
