"""Signs one zone of the simulated internet: RRSIGs, NSEC or NSEC3 chains, and the ways to spoil a signature.

ECDSA P-256 with one key per zone [RFC 6605].  NSEC3 is made as [RFC 9276 §3.1] advises, no salt and no extra
iterations, unless asked otherwise.
Nothing here checks what it signs: a spoilt zone is as welcome as a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm
from dns.rdataclass import IN
from dns.rdatatype import DNSKEY, DS, NS, NSEC, NSEC3, NSEC3PARAM, RRSIG, SOA, RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY as DnskeyRdata
from dns.rdtypes.ANY.RRSIG import RRSIG as RrsigRdata
from dns.rdtypes.dnskeybase import Flag

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
Nodes = dict[dns.name.Name, dict[RdataType, dns.rdataset.Rdataset]]


class Signing(Enum):
    """How a zone is signed, or pretends to be."""

    NSEC = "nsec"
    NSEC3 = "nsec3"
    NSEC3_OPT_OUT = "nsec3-opt-out"
    """Insecure delegations have no NSEC3 record; their absence is not proven."""
    NSEC3_MANY_ITERATIONS = "nsec3-many-iterations"
    """More extra iterations than validators are willing to follow: every denial is insecure [RFC 9276 §3.2]."""
    UNSIGNED = "unsigned"
    """The parent proves that there is no DS: everything in it is insecure."""
    DS_WITHOUT_KEY = "ds-without-key"
    """The parent has a DS, the zone is not signed: everything in it is bogus."""
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    """The parent's DS names an algorithm nobody has: everything in it is insecure [RFC 4035 §5.2]."""

    @property
    def signs(self) -> bool:
        return self in (Signing.NSEC, Signing.NSEC3, Signing.NSEC3_OPT_OUT, Signing.NSEC3_MANY_ITERATIONS)

    @property
    def iterations(self) -> int:
        """Extra iterations of NSEC3 hashes."""
        return 500 if self is Signing.NSEC3_MANY_ITERATIONS else 0


class Spoil(Enum):
    """What is wrong with the signature of one RRset."""

    BROKEN = "broken"
    """The signature does not verify."""
    EXPIRED = "expired"
    """Ended a week ago: validators forgive up to a day."""
    ENDING = "ending"
    """It holds, and ends in two days: somebody has forgotten to sign anew."""
    FUTURE = "future"
    """It is not valid yet."""
    MISSING = "missing"
    """There is no RRSIG although the zone is signed."""


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """The one key of a signed zone, both key- and zone-signing."""

    private: ec.EllipticCurvePrivateKey
    dnskey: DnskeyRdata

    @classmethod
    def generate(cls) -> ZoneKey:
        private = ec.generate_private_key(ec.SECP256R1())
        return cls(private, dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, flags=Flag.ZONE | Flag.SEP))

    def ds(self, zone: dns.name.Name) -> dns.rdata.Rdata:
        """The DS record that the parent publishes."""
        return dns.dnssec.make_ds(zone, self.dnskey, "SHA256")


@dataclass(frozen=True, slots=True)
class Signer:
    """One signing run over one zone; `now` is in seconds since 1970."""

    origin: dns.name.Name
    key: ZoneKey
    signing: Signing
    spoilt: Mapping[tuple[dns.name.Name, RdataType], Spoil]
    now: int

    def signed(self, nodes: Nodes) -> list[tuple[dns.name.Name, dns.rdataset.Rdataset]]:
        """All RRsets of the zone with DNSKEY, NSEC or NSEC3 records and RRSIGs added; `nodes` is left alone."""
        result = {name: dict(rdatasets) for name, rdatasets in nodes.items()}
        soa = result[self.origin][SOA]
        result[self.origin][DNSKEY] = dns.rdataset.from_rdata(soa.ttl, self.key.dnskey)
        cuts = frozenset(name for name, rdatasets in nodes.items() if NS in rdatasets and name != self.origin)
        below_cut = {name for name in result if any(name != cut and name.is_subdomain(cut) for cut in _ancestors(name) & cuts)}
        visible = sorted(name for name in result if name not in below_cut)
        if self.signing is Signing.NSEC:
            self._add_nsec(result, visible, soa.ttl)
        else:
            self._add_nsec3(result, visible, cuts, soa.ttl)
        signatures = []
        for name in [*visible, *(name for name in result if name not in nodes)]:
            for rdataset in result[name].values():
                spoil = self.spoilt.get((name, rdataset.rdtype))
                if spoil is not Spoil.MISSING and (name not in cuts or rdataset.rdtype in (DS, NSEC)):
                    signatures.append((name, dns.rdataset.from_rdata(rdataset.ttl, self._sign(name, rdataset, spoil))))
        return [(name, rdataset) for name in result for rdataset in result[name].values()] + signatures

    def _sign(self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset, spoil: Spoil | None) -> RrsigRdata:
        inception, expiration = self.now - HOUR_SECONDS, self.now + 30 * DAY_SECONDS
        if spoil is Spoil.EXPIRED:
            inception, expiration = self.now - 30 * DAY_SECONDS, self.now - 7 * DAY_SECONDS
        if spoil is Spoil.ENDING:
            inception, expiration = self.now - 28 * DAY_SECONDS, self.now + 2 * DAY_SECONDS
        if spoil is Spoil.FUTURE:
            inception = self.now + 7 * DAY_SECONDS
        rrsig = dns.dnssec.sign(
            (name, rdataset),
            self.key.private,
            signer=self.origin,
            dnskey=self.key.dnskey,
            inception=inception,
            expiration=expiration,
        )
        if spoil is Spoil.BROKEN:
            broken = rrsig.replace(signature=bytes([rrsig.signature[0] ^ 1]) + rrsig.signature[1:])
            assert isinstance(broken, RrsigRdata)
            return broken
        return rrsig

    def _add_nsec(self, result: Nodes, visible: list[dns.name.Name], ttl: int) -> None:
        for name, following in zip(visible, [*visible[1:], self.origin], strict=True):
            text = f"{following} {_types([*result[name], NSEC, RRSIG])}"
            result[name][NSEC] = dns.rdataset.from_text(IN, NSEC, ttl, text)

    def _add_nsec3(self, result: Nodes, visible: list[dns.name.Name], cuts: frozenset[dns.name.Name], ttl: int) -> None:
        opt_out, iterations = self.signing is Signing.NSEC3_OPT_OUT, self.signing.iterations
        parameters = dns.rdata.from_text(IN, NSEC3PARAM, f"1 0 {iterations} -")
        result[self.origin][NSEC3PARAM] = dns.rdataset.from_rdata(ttl, parameters)
        covered = {name for name in visible if not (opt_out and name in cuts and DS not in result[name])}
        depth = len(self.origin)
        # Empty non-terminals have a record too [RFC 5155 §7.1].
        covered |= {ancestor for name in covered for ancestor in _ancestors(name) if len(ancestor) > depth}
        hashes = sorted((dns.dnssec.nsec3_hash(name, None, iterations, 1), name) for name in covered)
        for (digest, name), (following, _) in zip(hashes, [*hashes[1:], hashes[0]], strict=True):
            types = list(result.get(name, ()))
            if types and (name not in cuts or DS in types):
                types.append(RRSIG)
            text = f"1 {int(opt_out)} {iterations} - {following} {_types(types)}"
            result[dns.name.Name([digest.encode(), *self.origin.labels])] = {
                NSEC3: dns.rdataset.from_text(IN, NSEC3, ttl, text)
            }

    def __repr__(self) -> str:
        return f"<Signer of {self.origin} {self.signing.value}>"


def _ancestors(name: dns.name.Name) -> set[dns.name.Name]:
    """The name and every name above it, the root included."""
    return {dns.name.Name(name.labels[index:]) for index in range(len(name.labels))}


def _types(types: Iterable[RdataType]) -> str:
    return " ".join(sorted({dns.rdatatype.to_text(rtype) for rtype in types}))
