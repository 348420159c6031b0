"""What keys and signatures are worth: strong enough for a chain, and made by a given bare key.

At least 112 bits of security: RSA of 2048 bits, curves of 224 bits, digests of 224 bits and up; that is OpenSSL's security
level 2.  Usage 3 of DANE never asks.  Elsewhere: chains as a whole, base/chain.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealroute.base.certs import Certificate

MIN_DIGEST_BYTES = 28
MIN_RSA_BITS = 2048
MIN_EC_BITS = 224


def weakness(certificate: Certificate, *, signature: bool) -> str:
    """Why the key, or with `signature` also the digest that was signed, is too weak; empty when it is not.

    The certificate must have been parsed (no `problem`).
    """
    parsed: Any = certificate.parsed
    try:
        key = parsed.public_key()
        digest = parsed.signature_hash_algorithm if signature else None
    except (UnsupportedAlgorithm, ValueError):
        return "its key or signature algorithm is not supported"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"its RSA key has only {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MIN_EC_BITS:
        return f"its EC key has only {key.key_size} bits"
    if digest is not None and digest.digest_size < MIN_DIGEST_BYTES:
        return f"its signature uses {digest.name}, which is too weak"
    return ""


def signed_by_key(certificate: Certificate, spki: bytes) -> bool:
    """True when the certificate's signature was made with the bare public key (DER subjectPublicKeyInfo)."""
    parsed = certificate.parsed
    if parsed is None:
        return False
    try:
        key = load_der_public_key(spki)
        scheme = parsed.signature_algorithm_parameters
        digest = parsed.signature_hash_algorithm
        signature, content = parsed.signature, parsed.tbs_certificate_bytes
        match key, scheme, digest:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS(), digest if digest is not None:
                key.verify(signature, content, scheme, digest)
            case ec.EllipticCurvePublicKey(), ec.ECDSA(), _:
                key.verify(signature, content, scheme)
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey(), None, _:
                key.verify(signature, content)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
