"""The name space of the simulated internet: a really signed DNS tree below a root of its own.

    world = World(address="127.53.0.1", port=free_port("127.53.0.1", "127.53.0.9"))
    world.zone("contoso.test")                                     # signed with NSEC, DS in test., which is made too
    world.add("contoso.test", "MX", "10 mx.contoso.test.")
    world.add("mx.contoso.test", "A", "127.10.0.1")
    world.add("_25._tcp.mx.contoso.test", "TLSA", "3 1 1 " + digest)
    world.zone("fabrikam.test", Signing.UNSIGNED)
    world.spoil("contoso.test", "MX")                              # the RRSIG of the MX RRset no longer verifies
    world.delegate("_tcp.mx.contoso.test", "127.53.0.9")           # a subtree at another (faulty) server
    with NsdServer(world) as server:                               # simnet/nameserver
        resolver = UnboundResolver(UnboundConfig(stub_zones=world.stub_zones(), trust_anchors=world.trust_anchors(), ...))
        world.remove("_25._tcp.mx.contoso.test", "TLSA"); server.reload()

Names are absolute, with or without the final dot; names inside rdata need the final dot.

A delegation names an address and never a port, so a resolver that walks the tree asks port 53.  On a high port (no root
needed) every zone cut must be told to the resolver as a stub zone: `stub_zones()` lists them all, delegated subtrees
included; the resolver still fetches DS and DNSKEY and validates from the root down.  On port 53 (root, or a network name
space) `root_hints()` is enough.  All zones share one server, which therefore never gives a referral; validation does not
mind.  Not here: running servers (simnet/nameserver), making signatures (simnet/signing).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
from dns.rdataclass import IN
from dns.rdatatype import DS, NS, NSEC3, SOA, TLSA, A, RdataType

from simnet.signing import Nodes, Signer, Signing, Spoil, ZoneKey

UNKNOWN_ALGORITHM_DS = "12345 200 2 " + "ab" * 32
ORPHAN_DS = "54321 13 2 " + "cd" * 32


@dataclass(eq=False)
class Zone:
    """One zone; change it through the World, which also keeps its parent right."""

    origin: dns.name.Name
    signing: Signing
    key: ZoneKey = field(default_factory=ZoneKey.generate)
    nodes: Nodes = field(default_factory=dict)
    spoilt: dict[tuple[dns.name.Name, RdataType], Spoil] = field(default_factory=dict)
    changed: bool = True

    def file_name(self) -> str:
        return f"{self.origin.to_text(omit_final_dot=True).replace('/', '_') or 'root'}.zone"

    def text(self, now: int) -> str:
        """The zone file, signed now if the zone is to be signed."""
        rrsets = [(name, rdataset) for name in self.nodes for rdataset in self.nodes[name].values()]
        if self.signing.signs:
            rrsets = Signer(self.origin, self.key, self.signing, self.spoilt, now).signed(self.nodes)
        lines = [rdataset.to_text(name, relativize=False) for name, rdataset in rrsets]
        lines.sort(key=lambda line: " SOA " not in line)
        return "\n".join(lines) + "\n"


class World:
    """The tree: zones, their delegations and what is wrong with them.  All of it is served at one address and port."""

    def __init__(self, address: str = "127.53.0.1", port: int = 53, ttl_seconds: int = 300) -> None:
        """`ttl_seconds` is the TTL of every record that is not given its own, and of denials."""
        self.address = address
        self.port = port
        self.ttl_seconds = ttl_seconds
        self.zones: dict[dns.name.Name, Zone] = {}
        self._elsewhere: dict[dns.name.Name, str] = {}
        self._make_zone(dns.name.root, Signing.NSEC)

    # ------------------------------------------------------------------------------------------------------- building

    def zone(self, name: str, signing: Signing = Signing.NSEC) -> None:
        """Add a zone and its delegation; a missing top-level zone is made, signed with NSEC."""
        origin = _name(name)
        if origin in self.zones:
            raise ValueError(f"the zone {name} exists already")
        top = dns.name.Name(origin.labels[-2:])
        if top not in self.zones and top != origin:
            self._make_zone(top, Signing.NSEC)
        self._make_zone(origin, signing)

    def add(self, owner: str, rtype: str, *rdatas: str, ttl_seconds: int | None = None) -> None:
        """Add records in presentation form, e.g. `add("contoso.test", "MX", "10 mx.contoso.test.")`."""
        name = _name(owner)
        self._add(self._zone_of(name), name, dns.rdatatype.from_text(rtype), rdatas, ttl_seconds)

    def remove(self, owner: str, rtype: str) -> None:
        """Take an RRset out; KeyError when there is none."""
        name = _name(owner)
        zone = self._zone_of(name)
        del zone.nodes[name][dns.rdatatype.from_text(rtype)]
        if not zone.nodes[name]:
            del zone.nodes[name]
        zone.changed = True

    def replace(self, owner: str, rtype: str, *rdatas: str, ttl_seconds: int | None = None) -> None:
        """Put an RRset in the place of the one there, if any."""
        name = _name(owner)
        self._zone_of(name).nodes.get(name, {}).pop(dns.rdatatype.from_text(rtype), None)
        self.add(owner, rtype, *rdatas, ttl_seconds=ttl_seconds)

    def spoil(self, owner: str, rtype: str, how: Spoil = Spoil.BROKEN) -> None:
        """Spoil the signature of one RRset.

        `NSEC` or `NSEC3` with the owner's plain name spoils the denial of its other types, and of the names that would
        follow it; `DNSKEY` of an apex spoils the whole zone.
        """
        zone, key = self._signature(owner, rtype)
        zone.spoilt[key] = how
        zone.changed = True

    def mend(self, owner: str, rtype: str) -> None:
        """Take `spoil` back."""
        zone, key = self._signature(owner, rtype)
        zone.spoilt.pop(key, None)
        zone.changed = True

    def delegate(self, subtree: str, address: str, *, with_ds: bool = False) -> None:
        """Delegate a subtree to a server at another address and the same port; `with_ds` claims that it is signed."""
        name = _name(subtree)
        parent = self._zone_of(name)
        self._add_delegation(parent, name, address)
        if with_ds:
            self._add(parent, name, DS, (ORPHAN_DS,), None)
        self._elsewhere[name] = address

    # -------------------------------------------------------------------------------------- what a resolver must be told

    def stub_zones(self) -> tuple[tuple[str, str], ...]:
        """Every zone cut as (zone, "ip@port"), the root as "."; needed unless the port is 53."""
        here = dict.fromkeys(self.zones, self.address)
        return tuple((name.to_text(), f"{address}@{self.port}") for name, address in (here | self._elsewhere).items())

    def trust_anchors(self) -> tuple[str, ...]:
        """The root's DS record, in one line."""
        root = self.zones[dns.name.root]
        return (f". IN DS {root.key.ds(root.origin).to_text()}",)

    def trust_anchor_keys(self) -> tuple[str, ...]:
        """The root's DNSKEY record, in one line."""
        return (f". IN DNSKEY {self.zones[dns.name.root].key.dnskey.to_text()}",)

    def root_hints(self) -> str:
        """A root hints file; of use when the port is 53."""
        return f". 3600000 IN NS ns.\nns. 3600000 IN A {self.address}\n"

    def write(self, directory: Path) -> list[tuple[str, str]]:
        """Write the file of every zone that changed since the last time; returns (zone, file name) of all."""
        directory.mkdir(parents=True, exist_ok=True)
        for zone in self.zones.values():
            path = directory / zone.file_name()
            if zone.changed or not path.exists():
                path.write_text(zone.text(int(time.time())))
                zone.changed = False
        return [(name.to_text(), zone.file_name()) for name, zone in self.zones.items()]

    # --------------------------------------------------------------------------------------------------------- inside

    def _make_zone(self, origin: dns.name.Name, signing: Signing) -> None:
        zone = Zone(origin, signing)
        server = dns.name.Name([b"ns", *origin.labels])
        if origin != dns.name.root:
            parent = self._zone_of(origin)
            self._add_delegation(parent, origin, self.address)
            if signing is Signing.UNKNOWN_ALGORITHM:
                self._add(parent, origin, DS, (UNKNOWN_ALGORITHM_DS,), None)
            elif signing is not Signing.UNSIGNED:
                self._add(parent, origin, DS, (zone.key.ds(origin).to_text(),), None)
        self.zones[origin] = zone
        self._add(zone, origin, SOA, (f"{server} hostmaster.{server} 1 3600 600 864000 {self.ttl_seconds}",), None)
        self._add(zone, origin, NS, (server.to_text(),), None)
        self._add(zone, server, A, (self.address,), None)

    def _add_delegation(self, parent: Zone, name: dns.name.Name, address: str) -> None:
        server = dns.name.Name([b"ns", *name.labels])
        self._add(parent, name, NS, (server.to_text(),), None)
        self._add(parent, server, A, (address,), None)

    def _add(self, zone: Zone, name: dns.name.Name, rtype: RdataType, rdatas: tuple[str, ...], ttl_seconds: int | None) -> None:
        ttl = self.ttl_seconds if ttl_seconds is None else ttl_seconds
        rdataset = zone.nodes.setdefault(name, {}).setdefault(rtype, dns.rdataset.Rdataset(IN, rtype, ttl=ttl))
        for text in rdatas:
            rdataset.add(_rdata(rtype, text), ttl)
        zone.changed = True

    def _zone_of(self, name: dns.name.Name) -> Zone:
        """The deepest zone that the name lies in."""
        for index in range(len(name.labels)):
            zone = self.zones.get(dns.name.Name(name.labels[index:]))
            if zone is not None:
                return zone
        raise AssertionError("the root zone always matches")

    def _signature(self, owner: str, rtype: str) -> tuple[Zone, tuple[dns.name.Name, RdataType]]:
        """The zone that signs an RRset, and the RRset's place in it."""
        name, covered = _name(owner), dns.rdatatype.from_text(rtype)
        zone = self._zone_of(name.parent() if covered is DS else name)
        if covered is NSEC3:
            name = dns.name.Name([dns.dnssec.nsec3_hash(name, None, zone.signing.iterations, 1).encode(), *zone.origin.labels])
        return zone, (name, covered)

    def __repr__(self) -> str:
        return f"<World of {len(self.zones)} zones at {self.address}@{self.port}>"


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.lower(), origin=dns.name.root)


def _rdata(rtype: RdataType, text: str) -> dns.rdata.Rdata:
    """A record from presentation form; TLSA unchecked, since dnspython refuses the malformed ones that tests publish."""
    if rtype is not TLSA:
        return dns.rdata.from_text(IN, rtype, text, origin=dns.name.root, relativize=False)
    usage, selector, matching, *data = text.split()
    return dns.rdata.GenericRdata(IN, TLSA, bytes(map(int, (usage, selector, matching))) + bytes.fromhex("".join(data)))
