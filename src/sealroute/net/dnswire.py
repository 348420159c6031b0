"""DNS wire format → the words of base/dnsdata: names, rdata of the five types mail needs, and alias chains.

Pure, and on the hot path of every look-up: no dnspython objects are made.  Tolerant of records that are odd but whole
(unknown TLSA numbers, names that are no host names); a record that is cut short raises InputError, which makes the answer
unknown, never empty.  Sources: [RFC 1035 §3.3, §4.1], [RFC 6698 §2.1], [RFC 7505 §3].
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sealroute.base.dnsdata import Mx, Tlsa
from sealroute.base.errors import InputError
from sealroute.base.names import is_subdomain

T = TypeVar("T")

MAX_ALIAS_STEPS = 16
"""No validator follows more; a longer chain in one packet is an attempt at something."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*/")
_CNAME = 5
_DNAME = 39


def read_name(wire: bytes, offset: int = 0) -> tuple[str, int]:
    """The name at offset in compared form (root is "") and the offset after it; follows compression pointers backwards."""
    labels: list[str] = []
    after = -1
    limit = offset
    size = len(wire)
    while True:
        if offset >= size:
            raise InputError("a DNS name runs over the end of its data")
        length = wire[offset]
        if length == 0:
            break
        if length >= 0xC0:
            if offset + 2 > size:
                raise InputError("a DNS name runs over the end of its data")
            if after < 0:
                after = offset + 2
            offset = (length & 0x3F) << 8 | wire[offset + 1]
            # Each pointer must lead further back than the one before, so that this ends.
            if offset >= limit:
                raise InputError("a DNS name has a compression pointer that does not point backwards")
            limit = offset
            continue
        if length > 63 or offset + 1 + length > size:
            raise InputError("a DNS name has a label that is cut short")
        labels.append(_label(wire[offset + 1 : offset + 1 + length]))
        if len(labels) > 127:
            raise InputError("a DNS name has more than 127 labels")
        offset += 1 + length
    return ".".join(labels), offset + 1 if after < 0 else after


def _label(label: bytes) -> str:
    """A label in lower case, octets that are not plain as \\DDD [RFC 1035 §5.1]."""
    if _PLAIN.issuperset(label):
        return label.decode("ascii").lower()
    return "".join(chr(octet).lower() if octet in _PLAIN else f"\\{octet:03d}" for octet in label)


def read_mx(rdatas: Sequence[bytes]) -> tuple[Mx, ...]:
    """MX records, ascending by preference; the null MX has the host ""."""
    records = []
    for rdata in rdatas:
        if len(rdata) < 3:
            raise InputError(f"an MX record has only {len(rdata)} octets")
        records.append(Mx(rdata[0] << 8 | rdata[1], read_name(rdata, 2)[0]))
    records.sort()
    return tuple(records)


def read_a(rdatas: Sequence[bytes]) -> tuple[str, ...]:
    return _addresses(rdatas, socket.AF_INET, 4)


def read_aaaa(rdatas: Sequence[bytes]) -> tuple[str, ...]:
    return _addresses(rdatas, socket.AF_INET6, 16)


def _addresses(rdatas: Sequence[bytes], family: socket.AddressFamily, octets: int) -> tuple[str, ...]:
    for rdata in rdatas:
        if len(rdata) != octets:
            raise InputError(f"an address record has {len(rdata)} octets instead of {octets}")
    return tuple(socket.inet_ntop(family, rdata) for rdata in rdatas)


def read_tlsa(rdatas: Sequence[bytes]) -> tuple[Tlsa, ...]:
    """TLSA records as published; whether they can be used is judged in proto/dane."""
    for rdata in rdatas:
        if len(rdata) < 3:
            raise InputError(f"a TLSA record has only {len(rdata)} octets")
    return tuple(Tlsa(rdata[0], rdata[1], rdata[2], rdata[3:]) for rdata in rdatas)


def read_txt(rdatas: Sequence[bytes]) -> tuple[str, ...]:
    """TXT records, the strings of each joined without anything between [RFC 8461 §3.1], octets as latin-1."""
    records = []
    for rdata in rdatas:
        parts, offset = [], 0
        while offset < len(rdata):
            end = offset + 1 + rdata[offset]
            if end > len(rdata):
                raise InputError("a TXT record has a string that is cut short")
            parts.append(rdata[offset + 1 : end])
            offset = end
        records.append(b"".join(parts).decode("latin-1"))
    return tuple(records)


def read_target(rdatas: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(read_name(rdata)[0] for rdata in rdatas)


@dataclass(frozen=True, slots=True)
class AliasLink:
    """One step of an alias chain as the answer shows it."""

    owner: str
    target: str
    dname: str = ""
    """The owner of the DNAME record that the step comes from; empty for a CNAME of its own [RFC 6672 §3.1]."""

    def agrees(self, targets: Sequence[str]) -> bool:
        """True when the record that was asked for by itself leads to the same target."""
        if not self.dname:
            return self.target in targets
        prefix = self.owner.removesuffix(self.dname)
        return any(self.target == prefix + target for target in targets)


def alias_links(packet: bytes, name: str) -> tuple[AliasLink, ...]:
    """The steps that lead away from name in the packet's answer section, in order.

    InputError for a loop, or more than MAX_ALIAS_STEPS.
    """
    records = _alias_records(packet)
    targets = {owner: target for rtype, owner, target in records if rtype == _CNAME}
    dnames = [owner for rtype, owner, _ in records if rtype == _DNAME]
    links: list[AliasLink] = []
    owner = name
    while owner in targets:
        if len(links) == MAX_ALIAS_STEPS:
            raise InputError(f"the aliases of {name} form a loop or a chain of more than {MAX_ALIAS_STEPS} steps")
        links.append(AliasLink(owner, targets[owner], next((dname for dname in dnames if is_subdomain(owner, dname)), "")))
        owner = targets[owner]
    return tuple(links)


def _alias_records(packet: bytes) -> list[tuple[int, str, str]]:
    """(type, owner, target) of every CNAME and DNAME in the answer section of a whole message."""
    if len(packet) < 12:
        raise InputError("a DNS message is shorter than its header")
    questions, answers = struct.unpack_from("!HH", packet, 4)
    offset = 12
    for _ in range(questions):
        offset = read_name(packet, offset)[1] + 4
    found: list[tuple[int, str, str]] = []
    for _ in range(answers):
        owner, offset = read_name(packet, offset)
        if offset + 10 > len(packet):
            raise InputError("a DNS message is cut short")
        rtype, _rclass, _ttl, size = struct.unpack_from("!HHIH", packet, offset)
        offset += 10
        if rtype in (_CNAME, _DNAME):
            found.append((rtype, owner, read_name(packet, offset)[0]))
        offset += size
    return found


@dataclass(frozen=True, slots=True)
class RecordType(Generic[T]):
    """A record type we ask for: its name, its number, and what its rdata means."""

    name: str
    number: int
    read: Callable[[Sequence[bytes]], tuple[T, ...]]


MX = RecordType("MX", 15, read_mx)
A = RecordType("A", 1, read_a)
AAAA = RecordType("AAAA", 28, read_aaaa)
TLSA = RecordType("TLSA", 52, read_tlsa)
TXT = RecordType("TXT", 16, read_txt)
CNAME = RecordType("CNAME", _CNAME, read_target)
DNAME = RecordType("DNAME", _DNAME, read_target)
