"""Certificates as facts: what one certificate says.

Rules that hold here:
* Nothing a certificate contains makes anything raise.  What cannot be read is None, empty or False, and `problem` says why.
* DANE compares octets [RFC 6698 §2.1.2]: `der` is what was presented, and `spki` is cut out of it as it stands, never
  encoded anew, so that keys and extensions no library understands can still be matched.

Facts are worked out when first asked for and kept.  Elsewhere: whose name it is, base/certnames; files of them, base/pem;
signatures, dates and trust, base/chain; DER framing, base/der.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import crypto

from sealroute.base import der as asn1

_OID_SAN = bytes.fromhex("551d11")
_OID_KEY_USAGE = bytes.fromhex("551d0f")
_OID_EXTENDED_KEY_USAGE = bytes.fromhex("551d25")
_OID_BASIC_CONSTRAINTS = bytes.fromhex("551d13")
_EKU_FOR_SERVERS = frozenset({bytes.fromhex("2b06010505070301"), bytes.fromhex("551d2500")})
"""serverAuth and anyExtendedKeyUsage [RFC 5280 §4.2.1.12]."""
_KU_FOR_SERVERS = 0x80 | 0x20 | 0x08
"""digitalSignature, keyEncipherment, keyAgreement: the uses a TLS server has for its key [RFC 5280 §4.2.1.3]."""
_KU_CERT_SIGN = 0x04
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
    def subject_key(self) -> NameKey | None:
        """The subject in a form that is equal for names that are equal by RFC 5280 §7.1; None when it cannot be read."""
        return _name_key(self._tbs[4]) if self._tbs else None

    @cached_property
    def issuer_key(self) -> NameKey | None:
        """The same of the issuer."""
        return _name_key(self._tbs[2]) if self._tbs else None

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
        return self._key_may(_KU_FOR_SERVERS)

    @cached_property
    def key_may_sign_certificates(self) -> bool:
        """True when keyUsage is absent or has keyCertSign."""
        return self._key_may(_KU_CERT_SIGN)

    def _key_may(self, uses: int) -> bool:
        value = (self.extensions or {}).get(_OID_KEY_USAGE)
        if value is None:
            return self.extensions is not None
        try:
            bits = asn1.whole(value, asn1.BIT_STRING).value
        except asn1.DerError:
            return False
        return len(bits) >= 2 and bool(bits[1] & uses)


NameKey = tuple[tuple[bytes, str | bytes], ...]
_CODECS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""How each string type of a distinguished name is decoded [X.690 §8.23]."""


def _name_key(name: asn1.Element) -> NameKey | None:
    """Name ::= SEQUENCE OF SET OF SEQUENCE { type, value }, flattened; text without case and superfluous white space.

    Only finds candidates for an issuer: OpenSSL compares the names again, and the signature decides.
    """
    found: list[tuple[bytes, str | bytes]] = []
    try:
        for relative in name.children():
            for attribute in relative.children():
                kind, value = attribute.children()
                found.append((kind.value, _folded(value)))
    except ValueError:  # DerError, or not two parts
        return None
    return tuple(found)


def _folded(value: asn1.Element) -> str | bytes:
    codec = _CODECS.get(value.tag)
    try:
        return " ".join(value.value.decode(codec).lower().split()) if codec else value.octets
    except UnicodeDecodeError:
        return value.octets


@lru_cache(maxsize=512)
def known_certificate(der: bytes) -> Certificate:
    """The same certificate for the same octets while they are in use: a host's is looked at again and again."""
    return Certificate(der)


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
