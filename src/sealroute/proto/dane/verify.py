"""Does a presented certificate chain match a set of TLSA records?  Pure: the octets, the names and the moment are arguments.

Usage 3, DANE-EE: the leaf's certificate or key equals the record.  No name, no dates, no chain [RFC 7671 §5.1, RFC 7672
§3.1.1]; the leaf need not even be parseable.
Usage 2, DANE-TA: the record names an anchor above the leaf; a chain from the leaf to it holds (base/chain: signatures, CA
bits, path length, purposes, dates of every certificate including the anchor's), and the leaf carries one of the reference
names, by common name where it has no dNSName [RFC 7671 §5.2, RFC 7672 §3.1.2, §3.2].  The anchor is
  - a presented certificate other than the leaf that equals the record, root or intermediate, or
  - the record itself when it is a whole certificate (2 0 0), also when the server does not send it, or
  - the record itself when it is a whole key (2 1 0) that signed a presented certificate on the way [RFC 7671 §5.2.3]; the
    leaf may be that certificate.
  The leaf itself is no anchor: naming it is what usage 3 is for.  OpenSSL reads the RFCs in the same way.
Any one record is enough, of either usage.  Digest agility [RFC 7671 §9] is between usable records.

Difference from OpenSSL, on purpose: the dates of an anchor that is not self-signed count here; see base/chain.

Elsewhere: whether DANE applies at all, and what a verdict means for the mail, is policy's; TLSA look-ups are services'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sealroute.base.certs import Certificate
from sealroute.base.chain import ChainOutcome, ChainResult, find_path, presented, with_name
from sealroute.base.dnsdata import Tlsa
from sealroute.base.keys import signed_by_key
from sealroute.proto.dane.records import Matching, Selector, Usage, classify, outranked

MAX_RECORDS = 100
"""More usable records than this are not compared: a bound on what a zone can make us compute."""


class DaneVerdict(Enum):
    """The answer of the record set as a whole."""

    MATCH = "match"
    """The peer is authenticated: send."""
    NO_MATCH = "no-match"
    """Usable records exist and none matches: do not send over this connection."""
    UNUSABLE = "unusable"
    """No record is usable: TLS is required, and DANE authenticates nothing [RFC 7672 §2.2]."""


class DaneReason(Enum):
    """Why there is no match: that of the record that came closest."""

    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    """The chain to the anchor holds, but the certificate carries none of the reference names."""
    CERTIFICATE_EXPIRED = "certificate-expired"
    """A chain leads to the anchor, over an expired certificate."""
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    """A chain leads to the anchor, over a certificate whose time has not come."""
    CHAIN_INVALID = "chain-invalid"
    """A chain leads to the anchor, but a signature, extension, key or constraint in it does not hold."""
    NO_RECORD_MATCHES = "no-record-matches"
    """Nothing that was presented, or that the presented chain leads to, equals a usable record."""
    NO_CERTIFICATE = "no-certificate"
    """The server presented no certificate."""
    ALL_UNUSABLE = "all-unusable"
    """With DaneVerdict.UNUSABLE only."""


_CLOSENESS = {reason: rank for rank, reason in enumerate(DaneReason)}
_REASON_OF = {
    ChainOutcome.NAME_MISMATCH: DaneReason.CERTIFICATE_HOST_MISMATCH,
    ChainOutcome.EXPIRED: DaneReason.CERTIFICATE_EXPIRED,
    ChainOutcome.NOT_YET_VALID: DaneReason.CERTIFICATE_NOT_YET_VALID,
    ChainOutcome.INVALID: DaneReason.CHAIN_INVALID,
}


@dataclass(frozen=True, slots=True)
class RecordResult:
    """What one record of the set came to."""

    record: Tlsa
    usable: bool
    matched: bool
    why: str = ""
    """Why it did not match or is unusable, in one clause; empty when it matched."""
    reason: DaneReason | None = None
    """None when it matched, is unusable, or was not compared."""
    depth: int | None = None
    """When it matched: how far above the leaf (0) the matching certificate is; for a bare key (2 1 0), the one it signed."""
    name: str = ""
    """When usage 2 matched: the reference name found in the certificate."""


@dataclass(frozen=True, slots=True)
class DaneResult:
    """The whole judgement."""

    verdict: DaneVerdict
    reason: DaneReason | None
    """None with MATCH."""
    records: tuple[RecordResult, ...]
    """One for each record, in the order given."""
    best: RecordResult | None = None
    """The record that matched; several: DANE-EE first, then nearest the leaf, then key before certificate."""

    @property
    def matched(self) -> Tlsa | None:
        return self.best.record if self.best else None

    @property
    def depth(self) -> int | None:
        return self.best.depth if self.best else None

    @property
    def detail(self) -> str:
        """The judgement in one clause, for traces and people."""
        if self.best:
            name = f", certificate for {self.best.name}" if self.best.name else ""
            return f"TLSA {_short(self.best.record)} matches at depth {self.best.depth}{name}"
        if self.reason is DaneReason.NO_CERTIFICATE:
            return "the server presented no certificate"
        closest = next((item for item in self.records if item.reason is self.reason), self.records[0])
        others = len(self.records) - 1
        return f"TLSA {_short(closest.record)}: {closest.why}" + (f" (and {others} more did not match)" if others else "")


def verify(chain: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str], at: datetime) -> DaneResult:
    """Judge a presented chain by a TLSA record set.

    `chain` is DER, leaf first, the rest in any order; `records` the whole RRset, unusable ones included (at least one:
    ValueError otherwise, because an empty set is a matter of absence, which is not judged here); `names` the reference names
    for usage 2 in compared form, TLSA base name first [RFC 7672 §3.2.2]; `at` is aware.
    """
    if not records:
        raise ValueError("there is no TLSA record to verify against")
    classified = classify(records)
    unusable = dict(classified.unusable)
    usable = classified.usable[:MAX_RECORDS]
    compared = frozenset(usable)
    comparison = _Comparison(presented(chain), tuple(names), at)
    results = []
    for record in records:
        if record in unusable:
            results.append(RecordResult(record, usable=False, matched=False, why=unusable[record]))
        elif record not in compared:
            why = f"not compared: the set has more than {MAX_RECORDS} usable records"
            results.append(RecordResult(record, usable=True, matched=False, why=why))
        elif stronger := outranked(record, usable):
            why = f"not compared: a record with the stronger digest {Matching(stronger.matching).name} is published"
            results.append(RecordResult(record, usable=True, matched=False, why=why))
        else:
            results.append(comparison.compare(record))
    return _conclude(tuple(results), bool(usable), bool(chain))


def _conclude(results: tuple[RecordResult, ...], any_usable: bool, any_certificate: bool) -> DaneResult:
    if not any_usable:
        return DaneResult(DaneVerdict.UNUSABLE, DaneReason.ALL_UNUSABLE, results)
    matched = [result for result in results if result.matched]
    if matched:
        return DaneResult(DaneVerdict.MATCH, None, results, min(matched, key=_preference))
    if not any_certificate:
        return DaneResult(DaneVerdict.NO_MATCH, DaneReason.NO_CERTIFICATE, results)
    reasons = [result.reason for result in results if result.reason is not None]
    return DaneResult(DaneVerdict.NO_MATCH, min(reasons, key=_CLOSENESS.__getitem__), results)


def _preference(result: RecordResult) -> tuple[int, int, int, int]:
    record, depth = result.record, result.depth
    assert depth is not None, "of what matched it is known where"
    return -record.usage, depth, -record.selector, -record.matching


class _Comparison:
    """One presented chain, against which record after record is held; digests are computed once."""

    __slots__ = ("_at", "_chain", "_digests", "_names")

    def __init__(self, chain: tuple[Certificate, ...], names: tuple[str, ...], at: datetime) -> None:
        self._chain = chain
        self._names = names
        self._at = at
        self._digests: dict[tuple[int, int, int], bytes | None] = {}

    def compare(self, record: Tlsa) -> RecordResult:
        if not self._chain:
            return _failed(record, DaneReason.NO_CERTIFICATE, "the server presented no certificate")
        return self._end_entity(record) if record.usage == Usage.DANE_EE else self._trust_anchor(record)

    def _end_entity(self, record: Tlsa) -> RecordResult:
        if self._equals(0, record):
            return RecordResult(record, usable=True, matched=True, depth=0)
        what = "key" if record.selector == Selector.SPKI else "certificate"
        above = next((depth for depth in range(1, len(self._chain)) if self._equals(depth, record)), None)
        if above is not None:
            what = f"{what}, but certificate {above} of the chain, for which usage 2 would be right"
        return _failed(record, DaneReason.NO_RECORD_MATCHES, f"it is not the digest or value of the server's {what}")

    def _trust_anchor(self, record: Tlsa) -> RecordResult:
        leaf, *pool = self._chain
        anchors = [pool[depth - 1] for depth in range(1, len(self._chain)) if self._equals(depth, record)]
        if record.matching == Matching.FULL and record.selector == Selector.CERT:
            published = Certificate(record.data)
            anchors += [published] if published != leaf and published not in anchors else []
        best = self._judge(pool, anchors) if anchors else None
        found = best is not None and best.outcome is not ChainOutcome.NOT_TRUSTED
        if not found and record.matching == Matching.FULL and record.selector == Selector.SPKI:
            # A bare key vouches for what it signed: those certificates become the ends of the chain.  Where the key's own
            # certificate is sent and leads to the leaf, that one is judged instead, as OpenSSL does.
            signed = [item for item in self._chain if signed_by_key(item, record.data)]
            best = self._judge(pool, signed) if signed else best
        if best and best.ok:
            return RecordResult(record, usable=True, matched=True, depth=len(best.path) - 1, name=best.matched_name)
        if best is None or best.outcome is ChainOutcome.NOT_TRUSTED:
            return _failed(record, DaneReason.NO_RECORD_MATCHES, self._why_no_anchor(record, bool(anchors)))
        return _failed(record, _REASON_OF[best.outcome], best.detail)

    def _judge(self, pool: Sequence[Certificate], anchors: Sequence[Certificate]) -> ChainResult:
        result = find_path(self._chain[0], pool, anchors, self._at)
        return with_name(result, self._names, common_name=True) if result.ok else result

    def _why_no_anchor(self, record: Tlsa, present: bool) -> str:
        if present:
            return "the anchor it names did not issue the server's certificate, nor a certificate above it"
        if self._equals(0, record):
            return "it names the server's own certificate, for which usage 3 would be right"
        return "no certificate in the presented chain, above the server's own, is the anchor it names"

    def _equals(self, depth: int, record: Tlsa) -> bool:
        key = (depth, record.selector, record.matching)
        if key not in self._digests:
            certificate = self._chain[depth]
            octets = certificate.der if record.selector == Selector.CERT else certificate.spki
            if octets is not None and record.matching == Matching.SHA2_256:
                octets = hashlib.sha256(octets).digest()
            elif octets is not None and record.matching == Matching.SHA2_512:
                octets = hashlib.sha512(octets).digest()
            self._digests[key] = octets
        return self._digests[key] == record.data


def _failed(record: Tlsa, reason: DaneReason, why: str) -> RecordResult:
    return RecordResult(record, usable=True, matched=False, why=why, reason=reason)


def _short(record: Tlsa) -> str:
    digits = record.data.hex()
    shown = digits if len(digits) <= 16 else f"{digits[:8]}…{digits[-8:]}"
    return f"{record.usage} {record.selector} {record.matching} {shown}"
