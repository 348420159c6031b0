"""TLS as every connection uses it; the only file that imports `ssl`.

Rules for SMTP clients: TLS 1.2 or newer, never an anonymous cipher, SNI as the requirement says, and *no* verification by
OpenSSL: the chain as presented is handed out and judged afterwards by policy/verdict, which knows DANE and MTA-STS.
Sessions are never resumed, because a resumed session presents no certificates.  SECLEVEL 1 (OpenSSL's own default is 1 or 2
by distribution) lets old keys and signatures through to the judge, which says precisely what is wrong with them; refusing
them here would only send opportunistic mail in plaintext.

`TlsLayer` is the record layer on memory buffers, for protocols that switch to TLS in mid-connection; the connection keeps
one protocol object and sees every octet before and after.

Elsewhere: what a certificate must be is in policy/ and proto/dane; names in base/names.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from typing import Any

from sealroute.base.errors import OperatorError, PeerError

_CIPHERS = (
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES"
    ":!aNULL:!eNULL:!PSK:!SRP:!DSS:@SECLEVEL=1"
)
_READ_OCTETS = 65536
_WHERE_IN_PYTHON = re.compile(r"\s*\(_ssl\.c:\d+\)$")
_LIBRARY = re.compile(r"^\[[^\]]*\]\s*")


def smtp_client_context() -> ssl.SSLContext:
    """The context of all SMTP client connections; make one and keep it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    return context


def server_context(cert_file: str, key_file: str | None = None) -> ssl.SSLContext:
    """The context of a listener; `key_file` None when the key is in `cert_file` too.

    Raises OperatorError when a file cannot be read, holds no PEM certificate or key, or the two do not belong together.
    """
    for path in (cert_file, key_file):
        if path is not None:
            _readable(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # The empty answer makes an encrypted key an error instead of a question on the terminal.
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        where = cert_file if key_file is None else f"{cert_file} with {key_file}"
        what = f"the certificate and key cannot be used: {describe(error)}"
        raise OperatorError.one(where, what, "Both must be PEM, unencrypted, leaf certificate first.") from None
    return context


def policy_client_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The context for MTA-STS policy hosts: PKIX, name checked, TLS 1.2 or newer [RFC 8461 §3.3].

    Trusts the roots of `ca_file`, else the system's; raises OperatorError when there are none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=system_roots_pem(ca_file).decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise OperatorError.one(ca_file or "", f"the CA certificates cannot be used: {describe(error)}") from None
    return context


def system_roots_pem(ca_file: str | None = None) -> bytes:
    """The trusted roots as PEM: the operator's file, else the system's bundle.

    Raises OperatorError when the file cannot be read or holds no certificate.
    """
    if ca_file is not None:
        return _pem(ca_file)
    paths = ssl.get_default_verify_paths()
    for candidate in (os.environ.get(paths.openssl_cafile_env), paths.cafile, *_WELL_KNOWN_BUNDLES):
        if candidate and os.path.isfile(candidate):
            return _pem(candidate)
    raise OperatorError.one("", "no trusted root certificates were found on this system", "Install ca-certificates.")


_WELL_KNOWN_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def _pem(path: str) -> bytes:
    data = _readable(path)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise OperatorError.one(path, "there is no PEM certificate in this file")
    return data


def _readable(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OperatorError.one(path, f"the file cannot be read: {error.strerror}") from None


def presented_chain(tls: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """The certificates as the peer presented them, DER, leaf first; empty before the handshake.

    Python 3.13 has a public method that gives DER; before it the same stands on the inner object and gives certificates.
    """
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return tuple(public() or ())
    inner: Any = tls._sslobj  # type: ignore[union-attr]
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner.get_unverified_chain() or ())


def describe(error: Exception) -> str:
    """An error of the TLS library in its own words, without the parts that only concern Python's source."""
    text = getattr(error, "verify_message", "") or _LIBRARY.sub(
        "", _WHERE_IN_PYTHON.sub("", str(error.args[-1] if error.args else ""))
    )
    return text or type(error).__name__


class TlsLayer:
    """TLS between a transport and a protocol: ciphertext in and out on one side, plaintext on the other."""

    __slots__ = ("_incoming", "_outgoing", "closed", "done", "tls")

    def __init__(self, context: ssl.SSLContext, *, sni: str | None = None, server_side: bool = False) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=sni)
        self.done = False
        """True after the handshake."""
        self.closed = False
        """True after the peer's close_notify."""

    def handshake(self, data: bytes = b"") -> bytes:
        """Go on with the handshake; returns what to send, also when `done` now.

        Raises PeerError when it failed; what remains to be sent (the alert) is then in take_outgoing().
        """
        if data:
            self._incoming.write(data)
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise PeerError(describe(error)) from None
        return self._outgoing.read()

    def take_outgoing(self) -> bytes:
        """Records that the library wants sent: alerts, key updates."""
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """The plaintext in what was received, maybe none; PeerError when the peer broke TLS or sent a fatal alert."""
        incoming, tls = self._incoming, self.tls
        incoming.write(data)
        chunks = []
        try:
            while chunk := tls.read(_READ_OCTETS):
                chunks.append(chunk)
                if not incoming.pending and not tls.pending():
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            raise PeerError(describe(error)) from None
        return b"".join(chunks)

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """The records that carry the plaintext; PeerError when the session is broken."""
        try:
            self.tls.write(data)
        except ssl.SSLError as error:
            raise PeerError(describe(error)) from None
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """The closing alert."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()

    @property
    def version(self) -> str:
        """Such as `TLSv1.3`."""
        return self.tls.version() or ""

    @property
    def cipher(self) -> str:
        cipher = self.tls.cipher()
        return cipher[0] if cipher else ""

    @property
    def chain(self) -> tuple[bytes, ...]:
        return presented_chain(self.tls)
