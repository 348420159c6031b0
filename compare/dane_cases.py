"""Generated cases for DANE: a presented chain, a TLSA record set, reference names and a moment; from a seed, the same again.

`make_case(seed)` draws a way of certificates (a self-signed leaf, up to three authorities between leaf and root,
cross-signed or re-keyed ones), up to two defects, a way of presenting it (root sent or not, out of order, doubled,
something missing, strangers in between), and one to four records that name any certificate or key of it in any usage,
selector and matching type, or nothing, or are malformed.  Keys (but RSA) and serial numbers come from the seed as well;
signatures do not, which no verdict depends on.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import crypto

from compare.libssl import Question
from sealroute.base.dnsdata import Tlsa
from simnet.pki import ANY_EKU, CLIENT_AUTH, SERVER_AUTH, Ca, Entity, Wish, rsa_key, self_signed

HOST = "mx.example.com"
DOMAIN = "example.com"
IDN_HOST = "mx.xn--bcher-kva.example"
NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)

Change = Callable[[Wish, Random], Wish]


def _extension(value: x509.ExtensionType, *, critical: bool) -> Change:
    def change(wish: Wish, random: Random) -> Wish:
        others = tuple(item for item in wish.extensions if item[0].oid != value.oid)
        return replace(wish, extensions=(*others, (value, critical)))

    return change


def _set(**fields: object) -> Change:
    return lambda wish, random: replace(wish, **fields)  # type: ignore[arg-type]


_UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00")
_ONLY_LISTS = x509.KeyUsage(False, False, False, False, False, False, True, False, False)
"""Revocation lists only; a key usage without any bit is refused by OpenSSL before anything else."""
_MAIL_NAME = x509.SubjectAlternativeName([x509.RFC822Name("postmaster@example.com")])
_MONTH, _HOUR, _SECOND = timedelta(days=30), timedelta(hours=1), timedelta(seconds=1)

ANYWHERE: dict[str, Change] = {
    "expired": _set(not_before=NOW - _MONTH, not_after=NOW - _HOUR),
    "expired a second ago": _set(not_before=NOW - _MONTH, not_after=NOW - _SECOND),
    "expires this second": _set(not_before=NOW - _MONTH, not_after=NOW),
    "expires next second": _set(not_before=NOW - _MONTH, not_after=NOW + _SECOND),
    "not yet valid": _set(not_before=NOW + _HOUR, not_after=NOW + _MONTH),
    "valid from this second": _set(not_before=NOW, not_after=NOW + _MONTH),
    "valid from next second": _set(not_before=NOW + _SECOND, not_after=NOW + _MONTH),
    "forged signature": _set(forged=True),
    "unknown critical extension": _extension(_UNKNOWN, critical=True),
    "unknown extension": _extension(_UNKNOWN, critical=False),
    "without key identifiers": _set(key_ids=False),
    "without key usage": _set(key_usage=False),
    "EKU for clients": _set(eku=(CLIENT_AUTH,)),
    "EKU for both": _set(eku=(CLIENT_AUTH, SERVER_AUTH)),
    "any EKU": _set(eku=(ANY_EKU,)),
    "RSA key": lambda wish, random: replace(wish, key=rsa_key()),
    "weak RSA key": lambda wish, random: replace(wish, key=rsa_key(1024)),
    "SHA-1 signature": lambda wish, random: wish,  # signed anew afterwards: the builder refuses to
    "SHA-512 signature": _set(digest=hashes.SHA512()),
}
"""Differences that any certificate of a chain may have; some are no defect at all."""

AUTHORITY: dict[str, Change] = {
    "no CA": _set(is_ca=False),
    "no CA but may sign": _set(is_ca=False, cert_sign=True),
    "no basic constraints": _set(basic_constraints=False),
    "neither basic constraints nor key usage": _set(basic_constraints=False, key_usage=False),
    "key usage without signing": lambda wish, random: _extension(_ONLY_LISTS, critical=True)(
        replace(wish, key_usage=False), random
    ),
    "path length 0": _set(path_length=0),
    "path length 1": _set(path_length=1),
    "constrained to others": _extension(x509.NameConstraints([x509.DNSName("example.net")], None), critical=True),
    "constrained to ours": _extension(x509.NameConstraints([x509.DNSName(DOMAIN)], None), critical=True),
    "ours excluded": _extension(x509.NameConstraints(None, [x509.DNSName(HOST)]), critical=True),
    "others excluded": _extension(x509.NameConstraints(None, [x509.DNSName("example.net")]), critical=False),
    "constrained below ours": _extension(x509.NameConstraints([x509.DNSName(".example.com")], None), critical=True),
    "constrained in mail": _extension(x509.NameConstraints([x509.RFC822Name("example.com")], None), critical=True),
    "Ed25519 key": lambda wish, random: replace(wish, key=ed25519.Ed25519PrivateKey.from_private_bytes(random.randbytes(32))),
}

LEAF: dict[str, Change] = {
    "leaf is a CA": _set(is_ca=True),
    "leaf is a CA that also signs": _set(is_ca=True, cert_sign=True),
    "common name only": _set(san=False),
    "other common name only": _set(san=False, subject="mx.example.net"),
    "wildcard common name only": _set(san=False, subject="*.example.com"),
    "no name at all": _set(san=False, subject=""),
    "mail name and common name": lambda wish, random: _extension(_MAIL_NAME, critical=False)(
        replace(wish, san=False, subject=HOST), random
    ),
    "right common name, wrong DNS name": _set(subject=HOST),
    "no subject": _set(subject=""),
    "leaf without basic constraints": _set(basic_constraints=False),
}

NAMES: dict[str, tuple[str, ...]] = {
    "right name": (HOST,),
    "next-hop domain": (DOMAIN,),
    "wrong name": ("mx.example.net",),
    "among several": ("www.example.net", "mx.example.net", HOST),
    "wildcard": ("*.example.com",),
    "wildcard too high": ("*.com",),
    "wildcard too low": ("*.mx.example.com",),
    "bare wildcard": ("*",),
    "wildcard in the middle": ("mx.*.com",),
    "partial wildcard": ("m*.example.com",),
    "upper case": ("MX.EXAMPLE.COM",),
    "final dot": ("mx.example.com.",),
    "IDN": (IDN_HOST,),
    "IDN wildcard": ("*.xn--bcher-kva.example",),
    "prefix of the name": ("mx.example.co",),
    "name and more": ("mx.example.com.example.net",),
}

ORDERS = (
    "as it should be", "with root", "out of order", "doubled", "leaf only", "one missing", "a stranger between",
    "strangers first", "leaf twice", "reversed above",
)  # fmt: skip
SHAPES = ("self-signed", "direct", "one between", "two between", "three between", "cross-signed", "re-keyed", "twin roots")


@dataclass(frozen=True, slots=True)
class DaneCase:
    """One question to both engines."""

    seed: int
    shape: str
    differences: tuple[str, ...]
    """`what at depth`, from the leaf (0) up."""
    order: str
    named: str
    """Which names the leaf carries, key of NAMES."""
    sought: tuple[str, ...]
    """Reference names."""
    targets: tuple[str, ...]
    """What each record names."""
    question: Question

    @property
    def depth(self) -> int:
        """How many authorities the server presents."""
        return len(self.question.chain) - 1

    def __str__(self) -> str:
        what = "; ".join((self.shape, *self.differences, self.order, f"certificate: {self.named}", f"for {self.sought}"))
        records = ", ".join(
            f"{item.usage} {item.selector} {item.matching} of {target}"
            for item, target in zip(self.question.records, self.targets, strict=True)
        )
        return f"seed {self.seed}: {what}; records: {records}"


def make_case(seed: int, without: str = "") -> DaneCase:
    """The case of a seed; `without` leaves one difference out and everything else as it is, keys included."""
    return _Maker(seed, without).make()


class _Maker:
    def __init__(self, seed: int, without: str) -> None:
        self.seed = seed
        self.without = without
        self.random = Random(seed)
        self.applied: list[str] = []

    def make(self) -> DaneCase:
        random = self.random
        shape = random.choice(SHAPES)
        named = random.choice(list(NAMES)) if random.random() < 0.3 else "right name"
        host = IDN_HOST if named.startswith("IDN") else HOST
        sought = random.choice(((host,), (host, DOMAIN), (host, "mail.example.com", DOMAIN)))
        way, others = self._certificates(shape, NAMES[named])
        self._sign_with_sha1(way)
        order = random.choice(ORDERS) if random.random() < 0.6 else "as it should be"
        presented = self._present(order, way, others)
        targets, records = self._records(way, others)
        key = way[0].key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        question = Question(tuple(item.der for item in presented), key, records, sought, NOW)
        return DaneCase(self.seed, shape, tuple(self.applied), order, named, sought, targets, question)

    # ---------------------------------------------------------------------------------------------- certificates

    def _certificates(self, shape: str, names: tuple[str, ...]) -> tuple[list[Entity], list[Entity]]:
        """The way from the leaf to the root, and other certificates that belong to the scene."""
        between = {"self-signed": -1, "direct": 0, "two between": 2, "three between": 3}.get(shape, 1)
        wishes = self._wishes(between + 2)
        if between < 0:
            return [self_signed(*names, wish=wishes[0])], []
        root = Ca("Compared Root", wish=_signable(wishes[-1], wishes[-1]))
        authorities = [root]
        for depth in range(between, 0, -1):
            authorities.append(authorities[-1].ca(f"Compared Issuing {depth}", _signable(wishes[depth], wishes[depth + 1])))
        leaf = authorities[-1].leaf(*names, wish=_signable(wishes[0], wishes[1]))
        others: list[Entity] = []
        if shape == "cross-signed":
            # The issuing authority has a second certificate, from another root; either may come first.
            other = Ca("Compared Other Root", wish=self._wish())
            others = [authorities[-1].cross_signed_by(other, self._changed(self._wish(), 0.3, "twin")), other]
        elif shape == "re-keyed":
            # An authority of the same name with a new key, issued by the same root: not the leaf's issuer.
            others = [root.ca("Compared Issuing 1", _signable(self._wish(), wishes[-1]))]
        elif shape == "twin roots":
            others = [Ca("Compared Root", wish=self._wish())]
        return [leaf, *reversed(authorities)], others

    def _wish(self) -> Wish:
        number = int.from_bytes(self.random.randbytes(31), "big") + 1
        return Wish(now=NOW, key=ec.derive_private_key(number, ec.SECP256R1()), serial=self.random.getrandbits(120) + 1)

    def _wishes(self, length: int) -> list[Wish]:
        """One for each certificate, leaf first, with up to two differences among them."""
        random = self.random
        wishes = [self._wish() for _ in range(length)]
        for _ in range(random.choices((0, 1, 2), (35, 45, 20))[0]):
            depth = random.randrange(length)
            wishes[depth] = self._changed(wishes[depth], 1.0, str(depth), leaf=depth == 0)
        return wishes

    def _changed(self, wish: Wish, share: float, where: str, *, leaf: bool = False) -> Wish:
        if self.random.random() >= share:
            return wish
        changes = {**ANYWHERE, **(LEAF if leaf else AUTHORITY)}
        if where == "twin":
            changes = {name: change for name, change in changes.items() if "key" not in name}
        what = self.random.choice(list(changes))
        changed = changes[what](wish, self.random)
        if what == self.without:
            return wish
        self.applied.append(f"{what} at {where}")
        return changed

    def _sign_with_sha1(self, way: list[Entity]) -> None:
        for depth, entity in enumerate(way):
            issuer = way[min(depth + 1, len(way) - 1)]
            if f"SHA-1 signature at {depth}" in self.applied and not isinstance(issuer.key, ed25519.Ed25519PrivateKey):
                again = crypto.X509.from_cryptography(entity.certificate)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    again.sign(crypto.PKey.from_cryptography_key(issuer.key), "sha1")  # type: ignore[arg-type]
                entity.certificate = again.to_cryptography()

    # ------------------------------------------------------------------------------------------------ presenting

    def _present(self, order: str, way: list[Entity], others: list[Entity]) -> list[Entity]:
        random = self.random
        above = way[1:-1]
        if others:
            above = above + [item for item in others if random.random() < 0.8]
            random.shuffle(above)
        root = way[-1:] if len(way) > 1 else []
        match order:
            case "with root":
                above = above + root
            case "out of order":
                above = above + root
                random.shuffle(above)
            case "reversed above":
                above = (above + root)[::-1]
            case "doubled":
                above = [*above, *above]
            case "leaf only":
                above = []
            case "one missing" if above:
                above = above + root
                above.pop(random.randrange(len(above)))
            case "a stranger between":
                above = [*above, Ca("Stranger", wish=self._wish()), *root]
            case "strangers first":
                above = [Ca("Stranger", wish=self._wish()), self_signed("mail.example.net", wish=self._wish()), *above]
            case "leaf twice":
                above = [way[0], *above, *root]
        return [way[0], *above]

    # --------------------------------------------------------------------------------------------------- records

    def _records(self, way: list[Entity], others: list[Entity]) -> tuple[tuple[str, ...], tuple[Tlsa, ...]]:
        targets, records = [], []
        for _ in range(self.random.choices((1, 2, 3, 4), (60, 20, 12, 8))[0]):
            target, record = self._record(way, others)
            targets.append(target)
            records.append(record)
        return tuple(targets), tuple(records)

    def _record(self, way: list[Entity], others: list[Entity]) -> tuple[str, Tlsa]:
        random = self.random
        usage = random.choices((2, 3, 0, 1, 4, 255), (60, 30, 3, 3, 2, 2))[0]
        selector = random.choices((0, 1, 2, 255), (48, 48, 2, 2))[0]
        matching = random.choices((0, 1, 2, 3, 255), (30, 40, 26, 2, 2))[0]
        # Usage 3 usually names the leaf, usage 2 something above it; sometimes the other way round.
        everything = [*way, *others]
        natural = way[:1] if usage == 3 else everything[1:] or way
        entity = random.choice(natural if random.random() < 0.85 else everything)
        where = str(way.index(entity)) if entity in way else "another"
        octets = entity.der if selector == 0 else entity.spki
        data = {1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}.get(matching, octets)
        if random.random() < 0.12:
            spoilt, data = self._spoilt(data)
            return f"{where}, {spoilt}", Tlsa(usage, selector, matching, data)
        return where, Tlsa(usage, selector, matching, data)

    def _spoilt(self, data: bytes) -> tuple[str, bytes]:
        # A certificate's length differs from run to run (ECDSA signatures do); what follows must not depend on it.
        unrelated = Random(self.random.getrandbits(64))
        kinds: dict[str, bytes] = {
            "last octet wrong": data[:-1] + bytes([data[-1] ^ 1]),
            "cut short": data[:-1],
            "an octet too long": data + b"\x00",
            "empty": b"",
            "random octets": unrelated.randbytes(len(data)),
            "hexadecimal text": data.hex().encode(),
            "an unrelated digest": hashlib.sha256(b"nothing").digest(),
            "only a head": data[:2],
        }
        kind = self.random.choice(list(kinds))
        return kind, kinds[kind]


def _signable(wish: Wish, issuer: Wish) -> Wish:
    """Ed25519 issuers sign without a digest of one's choosing."""
    return replace(wish, digest=None) if isinstance(issuer.key, ed25519.Ed25519PrivateKey) and not wish.forged else wish
