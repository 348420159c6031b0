"""A whole DNS message → the signatures, keys and delegations in it, for whoever wants to see the chain of trust.

Off the hot path, so dnspython does the parsing.  Nothing is believed or judged: security comes from the resolver.  What
cannot be read is left out, and the counts a peer controls are bounded.  Sources: [RFC 4034 §2, §3, §5].
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dns.dnssec
import dns.dnssectypes
import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype

from sealroute.base.dnsdata import Answer
from sealroute.base.dnssec import Delegation, Key, Signature, SignedAnswer
from sealroute.net.dnswire import RecordType

MAX_SHOWN = 16
"""Signatures, keys and delegations shown of one answer."""


def _raw(rdatas: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(rdatas)


SIGNED_TYPES: dict[str, RecordType[bytes]] = {
    name: RecordType(name, number, _raw)
    for name, number in (
        ("SOA", 6), ("DS", 43), ("DNSKEY", 48), ("MX", 15), ("A", 1), ("AAAA", 28), ("TLSA", 52), ("TXT", 16), ("CNAME", 5)
    )
}  # fmt: skip
"""What may be asked for with signatures."""


def signed_answer(answer: Answer[bytes], packet: bytes) -> SignedAnswer:
    """The answer with what its packet shows; an unreadable packet shows nothing."""
    bare = SignedAnswer(answer.name, answer.rtype, answer.outcome, answer.security, answer.detail)
    try:
        message = dns.message.from_wire(packet) if packet else None
        if message is None:
            return bare
        owner = dns.name.from_text(answer.name, origin=dns.name.root)
        rtype = dns.rdatatype.from_text(answer.rtype)
        found = message.get_rrset(dns.message.ANSWER, owner, dns.rdataclass.IN, rtype)
        signed = message.get_rrset(dns.message.ANSWER, owner, dns.rdataclass.IN, dns.rdatatype.RRSIG, rtype)
        records: list[Any] = list(found or ())[:MAX_SHOWN]
        return SignedAnswer(
            answer.name, answer.rtype, answer.outcome, answer.security, answer.detail,
            present=bool(records),
            signatures=tuple(_signature(item) for item in list(signed or ())[:MAX_SHOWN]),
            keys=tuple(_key(item) for item in records) if answer.rtype == "DNSKEY" else (),
            delegations=tuple(_delegation(item) for item in records) if answer.rtype == "DS" else (),
        )  # fmt: skip
    except (dns.exception.DNSException, ValueError, OverflowError):
        return bare


def _signature(rrsig: Any) -> Signature:
    return Signature(
        rrsig.key_tag,
        _algorithm(rrsig.algorithm),
        rrsig.signer.to_text(omit_final_dot=True).lower() if rrsig.signer != dns.name.root else "",
        datetime.fromtimestamp(rrsig.inception, UTC),
        datetime.fromtimestamp(rrsig.expiration, UTC),
    )


def _key(dnskey: Any) -> Key:
    return Key(dns.dnssec.key_id(dnskey), _algorithm(dnskey.algorithm), bool(dnskey.flags & 0x0001))


def _delegation(ds: Any) -> Delegation:
    try:
        digest = dns.dnssectypes.DSDigest(ds.digest_type).name
    except ValueError:
        digest = f"type {ds.digest_type}"
    return Delegation(ds.key_tag, _algorithm(ds.algorithm), digest)


def _algorithm(number: int) -> str:
    return dns.dnssec.algorithm_to_text(dns.dnssectypes.Algorithm.make(number))
