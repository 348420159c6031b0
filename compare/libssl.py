"""OpenSSL's own DANE verifier, asked in process: two SSL objects shake hands over a BIO pair, and the client judges.

For comparisons only; nothing in src/ uses it.  The system's libssl is opened at run time through cffi, so there is nothing to
compile.  What is called is the documented interface of a DANE client [SSL_CTX_dane_enable(3)]: records are added one by one,
the verdict is SSL_get_verify_result(), and the record it names is SSL_get0_dane_tlsa().  Usages 0 and 1 are not added, as
an SMTP client must not use them [RFC 7672 §3.1.3]; names are not checked for usage 3 [RFC 7672 §3.1.1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cffi import FFI

from sealroute.base.dnsdata import Tlsa

_LIBRARIES = ("libssl.so.3", "libssl.dylib")
_DECLARATIONS = """
typedef ... SSL_CTX; typedef ... SSL; typedef ... SSL_METHOD; typedef ... X509; typedef ... EVP_PKEY; typedef ... BIO;
typedef ... X509_VERIFY_PARAM;
typedef int64_t sr_time_t;
const SSL_METHOD *TLS_client_method(void);
const SSL_METHOD *TLS_server_method(void);
SSL_CTX *SSL_CTX_new(const SSL_METHOD *);
void SSL_CTX_free(SSL_CTX *);
int SSL_CTX_dane_enable(SSL_CTX *);
void SSL_CTX_set_security_level(SSL_CTX *, int);
int SSL_CTX_use_certificate_ASN1(SSL_CTX *, int, const unsigned char *);
int SSL_CTX_use_PrivateKey(SSL_CTX *, EVP_PKEY *);
long SSL_CTX_ctrl(SSL_CTX *, int, long, void *);
SSL *SSL_new(SSL_CTX *);
void SSL_free(SSL *);
int SSL_dane_enable(SSL *, const char *);
unsigned long SSL_dane_set_flags(SSL *, unsigned long);
int SSL_dane_tlsa_add(SSL *, uint8_t, uint8_t, uint8_t, const unsigned char *, size_t);
int SSL_add1_host(SSL *, const char *);
void SSL_set_hostflags(SSL *, unsigned int);
void SSL_set_security_level(SSL *, int);
int SSL_set_purpose(SSL *, int);
X509_VERIFY_PARAM *SSL_get0_param(SSL *);
void X509_VERIFY_PARAM_set_time(X509_VERIFY_PARAM *, sr_time_t);
void SSL_set_bio(SSL *, BIO *, BIO *);
void SSL_set_connect_state(SSL *);
void SSL_set_accept_state(SSL *);
int SSL_do_handshake(SSL *);
int SSL_get_error(const SSL *, int);
long SSL_get_verify_result(const SSL *);
int SSL_get0_dane_authority(SSL *, X509 **, EVP_PKEY **);
int SSL_get0_dane_tlsa(SSL *, uint8_t *, uint8_t *, uint8_t *, const unsigned char **, size_t *);
int BIO_new_bio_pair(BIO **, size_t, BIO **, size_t);
X509 *d2i_X509(X509 **, const unsigned char **, long);
void X509_free(X509 *);
EVP_PKEY *d2i_AutoPrivateKey(EVP_PKEY **, const unsigned char **, long);
void EVP_PKEY_free(EVP_PKEY *);
unsigned long ERR_get_error(void);
void ERR_error_string_n(unsigned long, char *, size_t);
void ERR_clear_error(void);
const char *X509_verify_cert_error_string(long);
const char *OpenSSL_version(int);
"""
_NO_DANE_EE_NAMECHECKS = 1
_NO_PARTIAL_WILDCARDS = 4
_ANY_PURPOSE = 7
_EXTRA_CHAIN_CERT = 14
_WANT_READ, _WANT_WRITE = 2, 3
_BUFFER_BYTES = 1 << 20
_MAX_ROUNDS = 20


class HandshakeFailed(Exception):
    """The two sides did not come to a verdict; the message is OpenSSL's."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is presented to whom, at which moment; the switches are OpenSSL's own, as a fresh client has them."""

    chain: tuple[bytes, ...]
    """DER, leaf first."""
    key: bytes
    """The leaf's private key, PKCS 8 DER."""
    records: tuple[Tlsa, ...]
    names: tuple[str, ...]
    """Reference names, TLSA base name first."""
    at: datetime
    security_level: int = 2
    """What base/keys follows; distributions differ in their default."""
    partial_wildcards: bool = True
    any_purpose: bool = False


@dataclass(frozen=True, slots=True)
class OpenSslVerdict:
    """What OpenSSL makes of one presented chain."""

    usable: tuple[bool, ...]
    """For each record, whether SSL_dane_tlsa_add() took it."""
    matched: bool
    """Verified, by a record."""
    record: tuple[int, int, int] | None
    """Usage, selector and matching type of the record it names."""
    depth: int | None
    """How far above the leaf the match is."""
    code: int
    """The code of X509_verify_cert(); 0 is success."""
    words: str
    """The same in words."""


class OpenSsl:
    """The system's OpenSSL as DANE client; use it from one thread, close it at the end."""

    def __init__(self) -> None:
        self._ffi = FFI()
        self._ffi.cdef(_DECLARATIONS)
        self._lib: Any = self._open()
        self._client = self._lib.SSL_CTX_new(self._lib.TLS_client_method())
        if self._lib.SSL_CTX_dane_enable(self._client) != 1:
            raise OSError(f"OpenSSL has no DANE: {self._error()}")

    def _open(self) -> Any:
        for name in _LIBRARIES:
            try:
                return self._ffi.dlopen(name)
            except OSError:
                continue
        raise OSError("OpenSSL 3's libssl was not found")

    @property
    def version(self) -> str:
        return self._text(self._lib.OpenSSL_version(0))

    def close(self) -> None:
        self._lib.SSL_CTX_free(self._client)

    def judge(self, question: Question) -> OpenSslVerdict:
        """Present the chain and let a DANE client judge it; raises HandshakeFailed."""
        lib = self._lib
        lib.ERR_clear_error()
        context = lib.SSL_CTX_new(lib.TLS_server_method())
        server = client = self._ffi.NULL
        try:
            self._prepare_server(context, question.chain, question.key)
            server, client = lib.SSL_new(context), lib.SSL_new(self._client)
            usable = self._prepare_client(client, question)
            self._shake_hands(client, server)
            return self._verdict(client, usable)
        finally:
            lib.SSL_free(client)
            lib.SSL_free(server)
            lib.SSL_CTX_free(context)

    def _prepare_server(self, context: Any, chain: Sequence[bytes], key: bytes) -> None:
        lib, ffi = self._lib, self._ffi
        lib.SSL_CTX_set_security_level(context, 0)
        if lib.SSL_CTX_use_certificate_ASN1(context, len(chain[0]), chain[0]) != 1:
            raise HandshakeFailed(f"the leaf cannot be presented: {self._error()}")
        private = lib.d2i_AutoPrivateKey(ffi.NULL, ffi.new("unsigned char **", ffi.from_buffer(key)), len(key))
        if private == ffi.NULL or lib.SSL_CTX_use_PrivateKey(context, private) != 1:
            raise HandshakeFailed(f"the key cannot be used: {self._error()}")
        lib.EVP_PKEY_free(private)
        for der in chain[1:]:
            octets = ffi.from_buffer(der)
            certificate = lib.d2i_X509(ffi.NULL, ffi.new("unsigned char **", octets), len(der))
            if certificate == ffi.NULL or lib.SSL_CTX_ctrl(context, _EXTRA_CHAIN_CERT, 0, certificate) != 1:
                raise HandshakeFailed(f"a certificate cannot be presented: {self._error()}")

    def _prepare_client(self, client: Any, question: Question) -> tuple[bool, ...]:
        lib, names = self._lib, question.names
        if lib.SSL_dane_enable(client, names[0].encode()) <= 0:
            raise HandshakeFailed(f"DANE cannot be enabled: {self._error()}")
        lib.SSL_dane_set_flags(client, _NO_DANE_EE_NAMECHECKS)
        for name in names[1:]:
            lib.SSL_add1_host(client, name.encode())
        lib.X509_VERIFY_PARAM_set_time(lib.SSL_get0_param(client), int(question.at.timestamp()))
        lib.SSL_set_security_level(client, question.security_level)
        if not question.partial_wildcards:
            lib.SSL_set_hostflags(client, _NO_PARTIAL_WILDCARDS)
        if question.any_purpose:
            lib.SSL_set_purpose(client, _ANY_PURPOSE)
        usable = []
        for record in question.records:
            fields = (record.usage, record.selector, record.matching)
            for_smtp = record.usage not in (0, 1)
            usable.append(for_smtp and lib.SSL_dane_tlsa_add(client, *fields, record.data, len(record.data)) == 1)
        lib.ERR_clear_error()
        return tuple(usable)

    def _shake_hands(self, client: Any, server: Any) -> None:
        lib, ffi = self._lib, self._ffi
        near, far = ffi.new("BIO **"), ffi.new("BIO **")
        if lib.BIO_new_bio_pair(near, _BUFFER_BYTES, far, _BUFFER_BYTES) != 1:
            raise HandshakeFailed(f"no buffers: {self._error()}")
        lib.SSL_set_bio(client, near[0], near[0])
        lib.SSL_set_bio(server, far[0], far[0])
        lib.SSL_set_connect_state(client)
        lib.SSL_set_accept_state(server)
        waiting = [client, server]
        for _ in range(_MAX_ROUNDS):
            for side in tuple(waiting):
                result = lib.SSL_do_handshake(side)
                if result == 1:
                    waiting.remove(side)
                elif lib.SSL_get_error(side, result) not in (_WANT_READ, _WANT_WRITE):
                    raise HandshakeFailed(f"{'client' if side == client else 'server'}: {self._error()}")
            if not waiting:
                return
        raise HandshakeFailed("no end of the handshake")

    def _verdict(self, client: Any, usable: tuple[bool, ...]) -> OpenSslVerdict:
        lib, ffi = self._lib, self._ffi
        code = int(lib.SSL_get_verify_result(client))
        words = self._text(lib.X509_verify_cert_error_string(code))
        depth = int(lib.SSL_get0_dane_authority(client, ffi.NULL, ffi.NULL))
        if code != 0 or depth < 0:
            return OpenSslVerdict(usable, False, None, None, code, words)
        usage, selector, matching = (ffi.new("uint8_t *") for _ in range(3))
        lib.SSL_get0_dane_tlsa(client, usage, selector, matching, ffi.NULL, ffi.NULL)
        return OpenSslVerdict(usable, True, (usage[0], selector[0], matching[0]), depth, code, words)

    def _error(self) -> str:
        """The first error of OpenSSL's queue; the queue is empty afterwards."""
        code = self._lib.ERR_get_error()
        self._lib.ERR_clear_error()
        if not code:
            return "no error given"
        buffer = self._ffi.new("char[256]")
        self._lib.ERR_error_string_n(code, buffer, 256)
        return self._text(buffer)

    def _text(self, pointer: Any) -> str:
        text = self._ffi.string(pointer)
        return text if isinstance(text, str) else text.decode("utf-8", "replace")
