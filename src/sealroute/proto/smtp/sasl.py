"""The AUTH exchange, server side: PLAIN and LOGIN, each as a few steps that end in credentials or a refusal.

No password is checked here.  Whether AUTH is allowed now is server.py's; it also ends an exchange on `*`.
Sources: [RFC 4954 §4], [RFC 4616] PLAIN; LOGIN has no RFC, only a widely spoken draft.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

from sealroute.base.errors import InputError

MECHANISMS = ("PLAIN", "LOGIN")
MAX_CREDENTIAL_OCTETS = 1024
"""Of a user name or password, before which nothing is hashed."""

_USERNAME = b"334 VXNlcm5hbWU6\r\n"
_PASSWORD = b"334 UGFzc3dvcmQ6\r\n"
"""`Username:` and `Password:` in base64, as every LOGIN client expects them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The exchange is over: check these."""

    user: str
    password: str = field(repr=False)


class Exchange:
    """One AUTH exchange; feed it the initial response (or None), then each line, until Credentials come out."""

    __slots__ = ("_mechanism", "_user")

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._user: str | None = None

    def __repr__(self) -> str:
        return f"<Exchange {self._mechanism} {'password' if self._user is not None else 'start'}>"

    def step(self, response: str | None) -> bytes | Credentials:
        """The next challenge as a whole reply line, or the credentials.  Raises InputError for a malformed response."""
        if self._mechanism == "PLAIN":
            return b"334 \r\n" if response is None else _plain(decode(response))
        if response is None:
            return _USERNAME
        value = _text(decode(response))
        if self._user is None:
            if not value:
                raise InputError("the user name is empty")
            self._user = value
            return _PASSWORD
        return Credentials(self._user, value)


def decode(response: str) -> bytes:
    """The octets of a base64 response; `=` stands for an empty one [RFC 4954 §4]."""
    if response == "=":
        return b""
    try:
        return binascii.a2b_base64(response.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InputError("the response is not base64") from None


def _plain(message: bytes) -> Credentials:
    # message = [authzid] UTF8NUL authcid UTF8NUL passwd
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise InputError("the PLAIN response must have three parts")
    authzid, authcid, password = (_text(part) for part in parts)
    if not authcid:
        raise InputError("the user name is empty")
    if authzid not in ("", authcid):
        raise InputError("acting for another user is not offered")
    return Credentials(authcid, password)


def _text(value: bytes) -> str:
    if len(value) > MAX_CREDENTIAL_OCTETS:
        raise InputError(f"user name and password may have {MAX_CREDENTIAL_OCTETS} octets at most")
    if b"\0" in value:
        raise InputError("the response contains a NUL")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("the response is not UTF-8") from None
