"""DNSSEC trust anchors: IANA's for the root, shipped as data, or the operator's file of DS or DNSKEY records.

Every anchor is checked here, because libunbound takes any text and then fails at the first look-up without saying why.
Keys do not roll by themselves [RFC 5011 is deliberately not done]: IANA announces a new root key years ahead, and a
release brings it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.exception
import dns.rdatatype
import dns.zonefile

from sealroute.base.errors import OperatorError

_FIX = "Each line must be like `. IN DS 20326 8 2 E06D...` or `. IN DNSKEY 257 3 13 ...`."


def parse_trust_anchors(text: str, where: str) -> tuple[str, ...]:
    """The anchors in the text, one record per line; OperatorError when it holds anything else, or nothing."""
    try:
        rrsets = dns.zonefile.read_rrsets(text, name=None, rdclass=None, default_ttl=0, origin=".", relativize=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise OperatorError.one(where, f"these are not DNS records ({error}).", _FIX) from None
    anchors = []
    for rrset in rrsets:
        if rrset.rdtype not in (dns.rdatatype.DS, dns.rdatatype.DNSKEY):
            found = dns.rdatatype.to_text(rrset.rdtype)
            raise OperatorError.one(where, f"a {found} record cannot be a trust anchor.", _FIX)
        rtype = dns.rdatatype.to_text(rrset.rdtype)
        # dnspython breaks digests and keys into words; the library wants one.
        anchors += [f"{rrset.name} IN {rtype} {rdata.to_text(chunksize=0)}" for rdata in rrset]
    if not anchors:
        raise OperatorError.one(where, "no trust anchor is given; without one nothing can be validated.", _FIX)
    return tuple(anchors)


def read_trust_anchors(path: Path) -> tuple[str, ...]:
    """The anchors in the operator's file; OperatorError when it cannot be read or used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError.one(str(path), f"the trust anchor file cannot be read ({error}).") from None
    return parse_trust_anchors(text, str(path))


def describe(anchor: str) -> str:
    """One anchor for people: `. DS, key tag 20326, algorithm RSASHA256`."""
    rrset = dns.zonefile.read_rrsets(anchor, name=None, rdclass=None, default_ttl=0, origin=".", relativize=False)[0]
    key: Any = rrset[0]
    tag = key.key_tag if rrset.rdtype == dns.rdatatype.DS else dns.dnssec.key_id(key)
    algorithm = dns.dnssec.algorithm_to_text(key.algorithm)
    return f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}, key tag {tag}, algorithm {algorithm}"


@cache
def iana_trust_anchors() -> tuple[str, ...]:
    """The DNS root's anchors as shipped."""
    return parse_trust_anchors((files("sealroute") / "data" / "root-anchors.ds").read_text("utf-8"), "root-anchors.ds")
