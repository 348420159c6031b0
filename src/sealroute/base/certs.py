"""Certificates as facts: what one certificate says, whose names it carries, and how files of them are read.

Rules that hold here:
* Nothing a certificate contains makes anything raise.  What cannot be read is None, empty or False, and `problem` says why.
* DANE compares octets [RFC 6698 §2.1.2]: `der` is what was presented, and `spki` is cut out of it as it stands, never
  encoded anew, so that keys and extensions no library understands can still be matched.
* Names are compared as DNS-IDs, ASCII without regard to case [RFC 6125 §6.4, RFC 9525 §6.3].  A wildcard is the whole
  leftmost label, stands for exactly one label, and needs at least two labels after it.  The common name is looked at only
  where the caller allows it *and* there is no dNSName: DANE-TA does [RFC 7671 §5.2.3 by way of RFC 6125 §6.4.4], MTA-STS
  does not [RFC 8461 §4.1].

Facts are worked out when first asked for and kept.  Elsewhere: signatures, dates and trust are base/chain's; DER framing is
base/der's; which names count is the caller's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import crypto

from sealroute.base import der as asn1
from sealroute.base.errors import InputError

MAX_BUNDLE_BYTES = 4 * 1024 * 1024
MAX_BUNDLE_CERTIFICATES = 1000

_OID_SAN = bytes.fromhex("551d11")
_OID_KEY_USAGE = bytes.fromhex("551d0f")
_OID_EXTENDED_KEY_USAGE = bytes.fromhex("551d25")
_OID_BASIC_CONSTRAINTS = bytes.fromhex("551d13")
_OID_NAME_CONSTRAINTS = bytes.fromhex("551d1e")
_EKU_FOR_SERVERS = frozenset({bytes.fromhex("2b06010505070301"), bytes.fromhex("551d2500")})
"""serverAuth and anyExtendedKeyUsage [RFC 5280 §4.2.1.12]."""
_KU_FOR_SERVERS = 0x80 | 0x20 | 0x08
"""digitalSignature, keyEncipherment, keyAgreement: the uses a TLS server has for its key [RFC 5280 §4.2.1.3]."""
_EXTENSIONS_TAG = 0xA3
_DNS_NAME_TAG = 0x82


@dataclass(frozen=True)
class Certificate:
    """One certificate, as presented; equal when the octets are."""

    der: bytes = field(repr=False)

    # ------------------------------------------------------------------------------------------------ octets

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole certificate, in hex."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def _tbs(self) -> tuple[asn1.Element, ...]:
        """The parts of tbsCertificate from serialNumber on; empty when the framing is broken.

        TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity, subject,
        subjectPublicKeyInfo, [1] [2] unique ids OPTIONAL, [3] extensions OPTIONAL }      [RFC 5280 §4.1]
        """
        try:
            tbs = next(asn1.whole(self.der, asn1.SEQUENCE).children(), None)
            if tbs is None or tbs.tag != asn1.SEQUENCE:
                return ()
            parts = tuple(tbs.children())
        except asn1.DerError:
            return ()
        parts = parts[1:] if parts and parts[0].tag == 0xA0 else parts
        return parts if len(parts) >= 6 and parts[5].tag == asn1.SEQUENCE else ()

    @cached_property
    def spki(self) -> bytes | None:
        """The subjectPublicKeyInfo exactly as it stands in the certificate; None when it cannot be found."""
        return self._tbs[5].octets if self._tbs else None

    @cached_property
    def extensions(self) -> dict[bytes, bytes] | None:
        """Extension values by the octets of their OID; None when the list is broken or names one twice [RFC 5280 §4.2]."""
        found: dict[bytes, bytes] = {}
        try:
            for wrapper in self._tbs[6:]:
                if wrapper.tag != _EXTENSIONS_TAG:
                    continue
                for extension in asn1.whole(wrapper.value, asn1.SEQUENCE).children():
                    parts = tuple(extension.children())
                    if len(parts) < 2 or parts[0].value in found:
                        return None
                    found[parts[0].value] = parts[-1].value
        except asn1.DerError:
            return None
        return found

    # ----------------------------------------------------------------------------------------------- parsers

    @cached_property
    def _loaded(self) -> tuple[x509.Certificate | None, str]:
        try:
            with warnings.catch_warnings():
                # Negative serials and the like: tolerated here, judged by OpenSSL when the chain is verified.
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                return x509.load_der_x509_certificate(self.der), ""
        except Exception as error:  # the parser's errors are of many kinds; all mean the same here
            return None, f"the certificate could not be parsed: {error}"

    @property
    def parsed(self) -> x509.Certificate | None:
        """The certificate for the cryptography library; None when that library refuses it."""
        return self._loaded[0]

    @cached_property
    def openssl(self) -> crypto.X509 | None:
        """The certificate for OpenSSL; None when it refuses it, or its key, or when octets follow its end."""
        try:
            certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, self.der)
            certificate.get_pubkey()
            same = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) == self.der
        except Exception:  # crypto.Error, and whatever else odd octets may lead to
            return None
        return certificate if same else None

    @cached_property
    def problem(self) -> str:
        """Why this certificate can take no part in a chain, in one clause; empty when it can."""
        if self.parsed is None:
            return self._loaded[1]
        if self.openssl is None:
            return "the certificate could not be parsed: OpenSSL does not understand it or its key"
        return "" if self.extensions is not None else "the certificate's extensions are broken or one is there twice"

    # ------------------------------------------------------------------------------------------------- facts

    @cached_property
    def subject(self) -> str:
        """Whom it names, as RFC 4514 text; empty when that cannot be read."""
        return _text_of_name(self.parsed, "subject")

    @cached_property
    def issuer(self) -> str:
        """Who issued it, as RFC 4514 text; empty when that cannot be read."""
        return _text_of_name(self.parsed, "issuer")

    @cached_property
    def subject_hash(self) -> int | None:
        """OpenSSL's hash of the subject in canonical form: equal for names that RFC 5280 §7.1 calls equal."""
        return None if self.openssl is None else self.openssl.get_subject().hash()

    @cached_property
    def issuer_hash(self) -> int | None:
        """The same of the issuer."""
        return None if self.openssl is None else self.openssl.get_issuer().hash()

    @cached_property
    def not_before(self) -> datetime | None:
        return _moment(self.parsed, "not_valid_before_utc")

    @cached_property
    def not_after(self) -> datetime | None:
        return _moment(self.parsed, "not_valid_after_utc")

    @cached_property
    def dns_names(self) -> tuple[str, ...]:
        """The dNSNames of subjectAltName, lower case; those that are not ASCII are left out."""
        value = (self.extensions or {}).get(_OID_SAN)
        if value is None:
            return ()
        try:
            names = [item.value for item in asn1.whole(value, asn1.SEQUENCE).children() if item.tag == _DNS_NAME_TAG]
        except asn1.DerError:
            return ()
        return tuple(name.decode("ascii").lower() for name in names if name.isascii())

    @cached_property
    def has_san_dns(self) -> bool:
        """True when there is a dNSName, readable or not: the common name then does not count.

        Unreadable extensions count as having one, so that breaking them gains nothing.
        """
        if self.extensions is None:
            return True
        value = self.extensions.get(_OID_SAN)
        if value is None:
            return False
        try:
            return any(item.tag == _DNS_NAME_TAG for item in asn1.whole(value, asn1.SEQUENCE).children())
        except asn1.DerError:
            return True

    @cached_property
    def common_names(self) -> tuple[str, ...]:
        """The common names of the subject, lower case, ASCII ones only."""
        try:
            attributes = self.parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME) if self.parsed else []
        except ValueError:
            return ()
        values = (attribute.value for attribute in attributes)
        return tuple(value.lower() for value in values if isinstance(value, str) and value.isascii())

    @cached_property
    def is_ca(self) -> bool:
        """True when basicConstraints says so."""
        value = (self.extensions or {}).get(_OID_BASIC_CONSTRAINTS)
        try:
            first = next(asn1.whole(value, asn1.SEQUENCE).children(), None) if value is not None else None
        except asn1.DerError:
            return False
        return first is not None and first.tag == asn1.BOOLEAN and first.value != b"\x00"

    @cached_property
    def may_serve_tls(self) -> bool:
        """True when extendedKeyUsage is absent, or allows TLS servers, or anything [RFC 5280 §4.2.1.12]."""
        value = (self.extensions or {}).get(_OID_EXTENDED_KEY_USAGE)
        if value is None:
            return self.extensions is not None
        try:
            return any(item.value in _EKU_FOR_SERVERS for item in asn1.whole(value, asn1.SEQUENCE).children())
        except asn1.DerError:
            return False

    @cached_property
    def key_may_serve_tls(self) -> bool:
        """True when keyUsage is absent, or allows one of the uses a TLS server has for its key [RFC 5280 §4.2.1.3]."""
        value = (self.extensions or {}).get(_OID_KEY_USAGE)
        if value is None:
            return self.extensions is not None
        try:
            bits = asn1.whole(value, asn1.BIT_STRING).value
        except asn1.DerError:
            return False
        return len(bits) >= 2 and bool(bits[1] & _KU_FOR_SERVERS)

    def permits_name(self, name: str) -> bool:
        """True when this CA's nameConstraints let it speak for a DNS name [RFC 5280 §4.2.1.10].

        OpenSSL applies the constraints to subjectAltName; this is for a common name that is used in its place.
        """
        if self.parsed is None or self.extensions is None:
            return False
        if _OID_NAME_CONSTRAINTS not in self.extensions:
            return True
        try:
            constraints = self.parsed.extensions.get_extension_for_class(x509.NameConstraints).value
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return False
        excluded = _dns_subtrees(constraints.excluded_subtrees)
        permitted = _dns_subtrees(constraints.permitted_subtrees)
        if any(_within(name, tree) for tree in excluded):
            return False
        return not permitted or any(_within(name, tree) for tree in permitted)


def _text_of_name(parsed: x509.Certificate | None, which: str) -> str:
    try:
        return getattr(parsed, which).rfc4514_string() if parsed is not None else ""
    except ValueError:
        return ""


def _moment(parsed: x509.Certificate | None, which: str) -> datetime | None:
    try:
        return getattr(parsed, which) if parsed is not None else None
    except ValueError:
        return None


def _dns_subtrees(trees: Iterable[x509.GeneralName] | None) -> list[str]:
    return [tree.value.lower() for tree in trees or () if isinstance(tree, x509.DNSName)]


def _within(name: str, tree: str) -> bool:
    """True when name is the tree's top or below it; a leading dot in the tree asks for strictly below."""
    return name.endswith(tree) if tree.startswith(".") else not tree or name == tree or name.endswith("." + tree)


# ------------------------------------------------------------------------------------------------------------ names


@dataclass(frozen=True, slots=True)
class NameMatch:
    """A certificate carries one of the names looked for."""

    name: str
    """The name looked for."""
    presented: str
    """The certificate's name that covers it."""
    from_common_name: bool = False


def match_name(certificate: Certificate, names: Sequence[str], *, common_name: bool = False) -> NameMatch | None:
    """The first of `names` that the certificate carries, or None.

    `names` are in compared form (base/names); `*.contoso.com` among them, as a connector's TlsDomain may be, is met by any
    name exactly one label below contoso.com.  `common_name` allows the fall-back to the subject's common name.
    """
    for name in names:
        for presented in certificate.dns_names:
            if covers(presented, name):
                return NameMatch(name, presented)
    if not common_name or certificate.has_san_dns:
        return None
    for name in names:
        for presented in certificate.common_names:
            if covers(presented, name):
                return NameMatch(name, presented, True)
    return None


def covers(presented: str, name: str) -> bool:
    """True when a certificate's name stands for the name looked for [RFC 9525 §6.3].

    presented-id = domain / "*." domain        ; "*" is exactly one label
    """
    if not name:
        return False
    presented = presented.lower()
    if presented == name:
        return True
    _, dot, parent = name.partition(".")
    if not dot or "." not in parent:
        return False
    if presented.startswith("*."):
        return presented[2:] == parent
    return name.startswith("*.") and presented.partition(".")[2] == parent and "*" not in presented


# ------------------------------------------------------------------------------------------------------ PEM bundles

_BEGIN = b"-----BEGIN "
_DASHES = b"-----"
_LABEL = b"CERTIFICATE"


def read_pem(data: bytes, where: str = "the PEM data", *, limit: int = MAX_BUNDLE_CERTIFICATES) -> tuple[bytes, ...]:
    """The certificates in PEM text, DER each, in order [RFC 7468 §5].

    Blocks of another kind (keys, parameters) and text between blocks are passed over.  Raises InputError when there is no
    certificate, when one is cut off or not base64 of a DER sequence, or when size or number go beyond what is sensible.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise InputError(f"{where} has {len(data)} octets, more than {MAX_BUNDLE_BYTES}")
    found: list[bytes] = []
    position = 0
    while (start := data.find(_BEGIN, position)) >= 0:
        line = data.count(b"\n", 0, start) + 1
        label_end = data.find(_DASHES, start + len(_BEGIN))
        if label_end < 0:
            raise InputError(f"{where}, line {line}: the BEGIN line is cut off")
        label = data[start + len(_BEGIN) : label_end]
        end_line = b"-----END " + label + _DASHES
        end = data.find(end_line, label_end)
        if end < 0:
            raise InputError(f"{where}, line {line}: the block that begins here has no END line")
        position = end + len(end_line)
        if label != _LABEL:
            continue
        if len(found) == limit:
            raise InputError(f"{where} holds more than {limit} certificates")
        found.append(_decode(data[label_end + len(_DASHES) : end], f"{where}, line {line}"))
    if not found:
        raise InputError(f"{where} holds no certificate: a line `-----BEGIN CERTIFICATE-----` is expected")
    return tuple(found)


def _decode(body: bytes, where: str) -> bytes:
    try:
        octets = base64.b64decode(b"".join(body.split()), validate=True)
        asn1.whole(octets, asn1.SEQUENCE)
    except binascii.Error as error:
        raise InputError(f"{where}: the certificate is not valid base64: {error}") from None
    except asn1.DerError as error:
        raise InputError(f"{where}: the certificate is damaged: {error}") from None
    return octets


def write_pem(certificates: Iterable[bytes]) -> bytes:
    """PEM text of DER certificates, in order."""
    blocks = []
    for octets in certificates:
        text = base64.b64encode(octets)
        lines = [text[index : index + 64] for index in range(0, len(text), 64)]
        blocks.append(b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n")
    return b"".join(blocks)
