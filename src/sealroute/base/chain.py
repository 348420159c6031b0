"""From a presented chain to an anchor: is there a way, does it hold at a given moment, and does the leaf carry the name?

One engine serves both kinds of trust: the web PKI, whose anchors are `TrustRoots` (MTA-STS, TlsSettings), and DANE-TA,
whose anchors come out of TLSA records (proto/dane).  It looks for ways from the leaf to an anchor by issuer and subject,
the shortest first, and has OpenSSL verify each until one holds: signatures, CA bits, path lengths, key usage, name
constraints, critical extensions, dates.  OpenSSL alone takes the first issuer that fits and never turns back; trying the
ways one by one copes with cross-signed, re-keyed, unordered and superfluous certificates.

Rules that hold here:
* The anchor may be an intermediate, and its own dates count like all others.  OpenSSL's DANE code forgets the dates of an
  anchor that is not self-signed; we do not.
* The leaf and every CA must be allowed to serve TLS if they restrict it (extendedKeyUsage), as OpenSSL has it.
* Keys and signatures (but the anchor's own) are strong enough, see base/keys.
* Only the first MAX_PRESENTED certificates are looked at, and at most MAX_PATHS ways are tried.
* Revocation is not checked: it would need the network, and neither DANE nor MTA-STS depends on it.

Elsewhere: which roots are loaded from where, net; what one certificate says, base/certs; matching names, base/certnames.
Sources: [RFC 5280 §6], [RFC 8461 §4.2], [RFC 7671 §5.2].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from OpenSSL import crypto

from sealroute.base.certnames import NameMatch, match_name, permits_name
from sealroute.base.certs import Certificate, NameKey, known_certificate
from sealroute.base.errors import InputError
from sealroute.base.keys import weakness
from sealroute.base.pem import read_pem
from sealroute.base.times import rfc3339

MAX_PRESENTED = 20
MAX_PATH_LENGTH = 10
MAX_PATHS = 8
MAX_STEPS = 160


class ChainOutcome(Enum):
    """What became of the search; anything but OK means: do not believe the peer's name."""

    OK = "ok"
    """The chain holds, and one of the names was found if any was asked for."""
    NAME_MISMATCH = "name-mismatch"
    """The chain holds; the leaf carries none of the names."""
    EXPIRED = "expired"
    """The best way leads over an expired certificate."""
    NOT_YET_VALID = "not-yet-valid"
    """The best way leads over a certificate whose time has not come."""
    INVALID = "invalid"
    """There is a way to an anchor, but a signature, an extension, a key or a constraint on it does not hold."""
    NOT_TRUSTED = "not-trusted"
    """No way leads from the leaf to an anchor."""


# Result codes of X509_verify_cert(), the same in all releases of OpenSSL since 3.0; the messages are not.
_OUTCOMES = {
    2: ChainOutcome.NOT_TRUSTED,  # no issuer
    9: ChainOutcome.NOT_YET_VALID,
    10: ChainOutcome.EXPIRED,
    18: ChainOutcome.NOT_TRUSTED,  # self-signed
    19: ChainOutcome.NOT_TRUSTED,  # self-signed in the chain
    20: ChainOutcome.NOT_TRUSTED,  # no issuer among the trusted
    21: ChainOutcome.NOT_TRUSTED,  # a lone leaf
    27: ChainOutcome.NOT_TRUSTED,  # not trusted
    28: ChainOutcome.NOT_TRUSTED,  # rejected
}
_SENTENCES = {
    7: "its signature was not made by its issuer",
    25: "it allows fewer authorities below it than there are (path length)",
    34: "it has a critical extension that is not understood",
    47: "an authority above it may not speak for its names (name constraints)",
    48: "an authority above it may not speak for its names (name constraints)",
    79: "it is not an authority (basic constraints)",
}
_CLOSENESS = {outcome: rank for rank, outcome in enumerate(ChainOutcome)}


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The best that was found."""

    outcome: ChainOutcome
    detail: str
    """One clause in words an administrator can act on."""
    path: tuple[Certificate, ...] = ()
    """Leaf first, anchor last: the way that holds, or the one that came closest; empty when there is none."""
    name: NameMatch | None = None

    @property
    def ok(self) -> bool:
        return self.outcome is ChainOutcome.OK

    @property
    def matched_name(self) -> str:
        """Which of the names looked for was found; empty when none was, or none was asked for."""
        return self.name.name if self.name else ""

    def closer_than(self, other: ChainResult | None) -> bool:
        """True when this came nearer to success."""
        return other is None or _CLOSENESS[self.outcome] < _CLOSENESS[other.outcome]


class TrustRoots:
    """The certification authorities that the web PKI is checked against; read once, used from any thread."""

    __slots__ = ("_by_subject", "certificates")

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        self.certificates = tuple(dict.fromkeys(certificates))
        by_subject: dict[NameKey, list[Certificate]] = {}
        for certificate in self.certificates:
            if certificate.openssl is not None and certificate.subject_key is not None:
                by_subject.setdefault(certificate.subject_key, []).append(certificate)
        self._by_subject = by_subject

    @classmethod
    def from_pem(cls, pem: bytes, where: str = "the CA bundle") -> TrustRoots:
        """Read a bundle; a certificate in it that OpenSSL refuses is kept but trusts nothing.

        Raises InputError when there is no usable certificate.
        """
        roots = cls([Certificate(octets) for octets in read_pem(pem, where)])
        if not roots._by_subject:
            raise InputError(f"{where} holds no certificate that could be parsed")
        return roots

    def near(self, certificates: Sequence[Certificate]) -> list[Certificate]:
        """The roots that issued, or are, one of these certificates, going by name."""
        keys = dict.fromkeys(key for item in certificates for key in (item.issuer_key, item.subject_key))
        return [root for key in keys if key is not None for root in self._by_subject.get(key, ())]

    def __len__(self) -> int:
        return len(self.certificates)

    def __repr__(self) -> str:
        return f"<TrustRoots {len(self)} certificates>"


def verify_pkix(
    chain: Sequence[bytes], roots: TrustRoots, at: datetime, names: Sequence[str] = (), *, common_name: bool = False
) -> ChainResult:
    """Judge a presented chain by the web PKI.

    `chain` is DER, leaf first, the rest in any order; `at` is aware; `names` are the names of which the leaf must carry one
    (none: only the chain is judged); `common_name` allows a certificate without dNSName to be named by its common name
    (never for MTA-STS [RFC 8461 §4.1]).
    """
    certificates = presented(chain)
    if not certificates:
        return ChainResult(ChainOutcome.NOT_TRUSTED, "the server presented no certificate")
    result = find_path(certificates[0], certificates[1:], roots.near(certificates), at)
    return with_name(result, names, common_name=common_name) if result.ok and names else result


def presented(chain: Sequence[bytes]) -> tuple[Certificate, ...]:
    """The certificates of a presented chain that are looked at: the first MAX_PRESENTED, each once."""
    return tuple(known_certificate(octets) for octets in dict.fromkeys(chain[:MAX_PRESENTED]))


def find_path(leaf: Certificate, pool: Sequence[Certificate], anchors: Sequence[Certificate], at: datetime) -> ChainResult:
    """Look for a way from the leaf over certificates of the pool to one of the anchors that holds at the moment.

    A leaf that is itself an anchor is a way of one step.  NAME_MISMATCH is never the outcome: see with_name.
    """
    if at.tzinfo is None:
        raise ValueError("the moment needs a time zone")
    if leaf.problem:
        return ChainResult(ChainOutcome.INVALID, _at(leaf, leaf.problem), (leaf,))
    best: ChainResult | None = None
    for path in _paths(leaf, pool, anchors):
        result = _judge(path, at)
        if result.ok:
            return result
        if result.closer_than(best):
            best = result
    return best or ChainResult(ChainOutcome.NOT_TRUSTED, _no_way(leaf))


def with_name(result: ChainResult, names: Sequence[str], *, common_name: bool) -> ChainResult:
    """A chain that holds, judged further by the name: OK with the match, or NAME_MISMATCH."""
    leaf = result.path[0]
    match = match_name(leaf, names, common_name=common_name)
    if match and (not match.from_common_name or all(permits_name(ca, match.name) for ca in result.path[1:])):
        return ChainResult(ChainOutcome.OK, result.detail, result.path, match)
    carried = ", ".join(leaf.dns_names or (leaf.common_names if common_name else ())) or "no DNS name"
    return ChainResult(
        ChainOutcome.NAME_MISMATCH, f"the certificate is for {carried[:200]}, not for {' or '.join(names)}", result.path
    )


def _paths(leaf: Certificate, pool: Sequence[Certificate], anchors: Sequence[Certificate]) -> Iterator[tuple[Certificate, ...]]:
    """Ways from the leaf to an anchor that fit by name, the shortest first; at most MAX_PATHS, searched in bounded steps."""
    issuers: dict[NameKey | None, list[Certificate]] = {}
    for certificate in pool:
        if certificate.openssl is not None:
            issuers.setdefault(certificate.subject_key, []).append(certificate)
    count = 0
    if leaf in anchors:
        count += 1
        yield (leaf,)
    queue: deque[tuple[Certificate, ...]] = deque([(leaf,)])
    for _ in range(MAX_STEPS):
        if not queue:
            return
        path = queue.popleft()
        wanted = path[-1].issuer_key
        for anchor in anchors:
            if anchor.subject_key == wanted and anchor not in path:
                count += 1
                yield (*path, anchor)
                if count >= MAX_PATHS:
                    return
        if len(path) < MAX_PATH_LENGTH - 1:
            queue.extend((*path, issuer) for issuer in issuers.get(wanted, ()) if issuer not in path)


def _judge(path: tuple[Certificate, ...], at: datetime) -> ChainResult:
    """What OpenSSL and our own rules say of one way."""
    for depth, certificate in enumerate(path):
        problem = certificate.problem
        if not problem and depth > 0 and not certificate.key_may_sign_certificates:
            problem = "its key usage does not allow it to sign certificates"
        if problem:
            return ChainResult(ChainOutcome.INVALID, _at(certificate, problem), path)
    error = _openssl_error(path, at)
    if error is not None:
        code, depth, message = error
        outcome = _OUTCOMES.get(code, ChainOutcome.INVALID)
        culprit = path[min(depth, len(path) - 1)]
        if outcome is ChainOutcome.EXPIRED and culprit.not_after is not None:
            message = f"the certificate expired at {rfc3339(culprit.not_after)}"
        elif outcome is ChainOutcome.NOT_YET_VALID and culprit.not_before is not None:
            message = f"the certificate is not valid before {rfc3339(culprit.not_before)}"
        return ChainResult(outcome, _at(culprit, _SENTENCES.get(code, message)), path)
    for depth, certificate in enumerate(path):
        if problem := _unfit(certificate, depth, is_anchor=depth == len(path) - 1):
            return ChainResult(ChainOutcome.INVALID, _at(certificate, problem), path)
    return ChainResult(ChainOutcome.OK, f"the chain holds up to {path[-1].subject or 'its anchor'}", path)


def _openssl_error(path: tuple[Certificate, ...], at: datetime) -> tuple[int, int, str] | None:
    """(code, depth, message) of X509_verify_cert(), or None when it is content.

    A store of its own for every call: stores carry the moment, and so may not be shared between threads.
    """
    leaf, *between = (certificate.openssl for certificate in path)
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    # set_time() reads the clock face and ignores the zone, so it has to be shown UTC.
    store.set_time(at.astimezone(UTC))
    anchor = between.pop() if between else leaf
    assert leaf is not None  # no certificate of the path has a `problem`
    assert anchor is not None
    store.add_cert(anchor)
    try:
        crypto.X509StoreContext(store, leaf, [item for item in between if item is not None]).verify_certificate()
    except crypto.X509StoreContextError as error:
        return int(error.errors[0]), int(error.errors[1]), str(error.errors[2])
    return None


def _unfit(certificate: Certificate, depth: int, *, is_anchor: bool) -> str:
    """Why a certificate that OpenSSL's general check accepts may not be used for this, or an empty string."""
    if not certificate.may_serve_tls:
        return "its extended key usage does not allow TLS servers"
    if depth == 0 and not certificate.key_may_serve_tls:
        return "its key usage does not allow TLS servers"
    return weakness(certificate, signature=not is_anchor or depth == 0)


def _at(certificate: Certificate, message: str) -> str:
    subject = certificate.subject or certificate.fingerprint[:16]
    return f"{message} ({subject})"


def _no_way(leaf: Certificate) -> str:
    if leaf.subject_key == leaf.issuer_key:
        return f"the certificate is self-signed ({leaf.subject})"
    return f"no trusted issuer was found for the certificate ({leaf.subject}), issued by {leaf.issuer or 'nobody named'}"
