"""A small certificate factory for tests, demo and benchmarks: authorities, leaves, and any defect one may want.

    root = Ca("Root")
    middle = root.ca("Issuing")
    server = middle.leaf("mx.example.com")
    server.chain_pem()          # leaf, then middle; not the root
    middle.leaf("mx.example.com", expired=True)

Keys are EC P-256 unless `key` is given.  Dates are around `now`, by default the real present; what is `expired` ended an hour
before it.  Everything signed is signed properly; use `forged` for what only looks signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
ANY_EKU = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE

_rsa_keys: dict[int, rsa.RSAPrivateKey] = {}


def ec_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, made once for each size: making them is slow."""
    if bits not in _rsa_keys:
        _rsa_keys[bits] = rsa.generate_private_key(65537, bits)
    return _rsa_keys[bits]


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a certificate shall be like; the defaults make a good one.

    `not_before`/`not_after` win over `expired` and `not_yet_valid`.  `extensions` are added as they are; each is (value,
    critical).  `key_usage` None leaves the extension out.
    """

    expired: bool = False
    not_yet_valid: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None
    now: datetime | None = None
    key: CertificateIssuerPrivateKeyTypes | None = None
    digest: hashes.HashAlgorithm | None = field(default_factory=hashes.SHA256)
    """None for Ed25519 and Ed448 issuers."""
    serial: int | None = None
    san: bool = True
    """False: the names go into the common name only."""
    subject: str | None = None
    eku: tuple[x509.ObjectIdentifier, ...] | None = None
    path_length: int | None = None
    is_ca: bool | None = None
    """Overrides what the maker says, for leaves that issue and authorities that may not."""
    cert_sign: bool | None = None
    basic_constraints: bool = True
    key_usage: bool = True
    key_ids: bool = True
    """False: no subject and authority key identifiers."""
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    forged: bool = False
    """True: signed with a key that nobody has."""

    def dates(self) -> tuple[datetime, datetime]:
        now = (self.now or datetime.now(UTC)).replace(microsecond=0)
        start, end = now - timedelta(days=30), now + timedelta(days=60)
        if self.expired:
            end = now - timedelta(hours=1)
        if self.not_yet_valid:
            start = now + timedelta(hours=1)
        return self.not_before or start, self.not_after or end


class Entity:
    """A certificate with its key and the certificates above it."""

    def __init__(self, certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes, above: Ca | None) -> None:
        self.certificate = certificate
        self.key = key
        self.above = above
        """Who issued it; None when self-signed."""

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def spki(self) -> bytes:
        return self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def issuers(self, *, root: bool = False) -> list[Ca]:
        """The authorities above, nearest first; the self-signed one only on request."""
        found: list[Ca] = []
        above = self.above
        while above is not None:
            if above.above is not None or root:
                found.append(above)
            above = above.above
        return found

    def chain(self, *, root: bool = False) -> list[bytes]:
        """DER, leaf first, as a server presents it."""
        return [self.der, *(ca.der for ca in self.issuers(root=root))]

    def chain_pem(self, *, root: bool = False) -> bytes:
        return b"".join([self.pem, *(ca.pem for ca in self.issuers(root=root))])

    def write(self, folder: Path, stem: str, *, root: bool = False) -> tuple[Path, Path]:
        """Write `stem.pem` (chain) and `stem.key`; returns both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        chain.write_bytes(self.chain_pem(root=root))
        key.write_bytes(self.key_pem)
        key.chmod(0o600)
        return chain, key

    def tlsa(self, usage: int, selector: int, matching: int) -> str:
        """The TLSA record that names this certificate, in presentation format."""
        return f"{usage} {selector} {matching} {self.tlsa_data(selector, matching).hex()}"

    def tlsa_data(self, selector: int, matching: int) -> bytes:
        octets = self.der if selector == 0 else self.spki
        digests = {1: hashlib.sha256, 2: hashlib.sha512}
        return digests[matching](octets).digest() if matching else octets


class Ca(Entity):
    """An authority: self-signed without `above`."""

    def __init__(self, name: str, above: Ca | None = None, wish: Wish | None = None) -> None:
        wish = wish or Wish()
        key = wish.key or ec_key()
        certificate = _issue(common_name(wish.subject or name), key, above, wish, ())
        super().__init__(certificate, key, above)

    def ca(self, name: str, wish: Wish | None = None) -> Ca:
        """An authority below this one."""
        return Ca(name, self, wish)

    def leaf(self, *names: str, wish: Wish | None = None, expired: bool = False) -> Entity:
        """A server certificate for DNS names (wildcards too); `expired` is a short form of the wish."""
        wish = wish or Wish(expired=expired)
        key = wish.key or ec_key()
        return Entity(_issue(_subject(names, wish), key, self, wish, names), key, self)

    def cross_signed_by(self, other: Ca, wish: Wish | None = None) -> Ca:
        """The same name and key, issued by another authority."""
        twin = Ca.__new__(Ca)
        wish = wish or Wish()
        certificate = _issue(self.certificate.subject, self.key, other, wish, None)
        Entity.__init__(twin, certificate, self.key, other)
        return twin


def self_signed(*names: str, wish: Wish | None = None) -> Entity:
    """A server certificate that vouches for itself."""
    wish = wish or Wish()
    key = wish.key or ec_key()
    return Entity(_issue(_subject(names, wish), key, None, wish, names), key, None)


def pem(entities: Iterable[Entity]) -> bytes:
    """Any certificates, in this order: also a bundle of roots."""
    return b"".join(entity.pem for entity in entities)


def _subject(names: tuple[str, ...], wish: Wish) -> x509.Name:
    return common_name(wish.subject if wish.subject is not None else names[0] if names else "")


def _issue(
    subject: x509.Name, key: CertificateIssuerPrivateKeyTypes, above: Ca | None, wish: Wish, names: tuple[str, ...] | None
) -> x509.Certificate:
    """`names` empty or None: an authority, unless the wish says otherwise."""
    issuer_key = above.key if above else key
    start, end = wish.dates()
    is_ca = (not names) if wish.is_ca is None else wish.is_ca
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(wish.serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if wish.basic_constraints:
        length = wish.path_length if is_ca else None
        builder = builder.add_extension(x509.BasicConstraints(is_ca, length), critical=True)
    if wish.key_usage:
        sign = is_ca if wish.cert_sign is None else wish.cert_sign
        usage = x509.KeyUsage(
            digital_signature=not is_ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    if wish.key_ids:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(authority, critical=False)
    if names and wish.san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    eku = wish.eku if wish.eku is not None else (() if is_ca else (SERVER_AUTH,))
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=False)
    for extension, critical in wish.extensions:
        builder = builder.add_extension(extension, critical)
    signer = ec_key() if wish.forged else issuer_key
    return builder.sign(signer, wish.digest)  # type: ignore[arg-type]
