"""Files of certificates: PEM text in and out [RFC 7468 §5].

What is inside a certificate is not looked at, only that it is one DER sequence: odd certificates are for others to judge.
Size and number are bounded.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from sealroute.base import der as asn1
from sealroute.base.errors import InputError

MAX_BUNDLE_BYTES = 4 * 1024 * 1024
MAX_BUNDLE_CERTIFICATES = 1000

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
