"""`smtp_tls_policy_maps`: how TLS is to be with one next hop [postconf(5), TLS_README].

entry     = destination 1*WSP level *( 1*WSP attribute )
level     = "none" / "may" / "encrypt" / "dane" / "dane-only" / "fingerprint" / "verify" / "secure"
attribute = name "=" value             ; match=a:b, and match may occur several times
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sealroute.base import names
from sealroute.base.errors import InputError
from sealroute.proto.postfix.nexthop import NextHop, parse_nexthop
from sealroute.proto.postfix.tables import Entry, read_entries


class Level(Enum):
    """Postfix's TLS security levels."""

    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    DANE = "dane"
    DANE_ONLY = "dane-only"
    FINGERPRINT = "fingerprint"
    VERIFY = "verify"
    SECURE = "secure"


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """One entry."""

    line: int
    below: str
    """With a key `.domain`: that domain, whose subdomains are meant; else empty."""
    nexthop: NextHop | None
    """The next hop; None with `.domain`."""
    level: Level
    match: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """The others, in the order given."""

    @property
    def destination(self) -> str:
        return f".{self.below}" if self.nexthop is None else str(self.nexthop)


def read_tls_policies(raw: bytes) -> tuple[TlsPolicy, ...]:
    """The table; raises InputError naming the line."""
    return tuple(_policy(entry) for entry in read_entries(raw))


def _policy(entry: Entry) -> TlsPolicy:
    try:
        word, *rest = entry.value.split()
        try:
            level = Level(word.lower())
        except ValueError:
            allowed = ", ".join(item.value for item in Level)
            raise InputError(f"{word[:40]!r} is not a TLS security level ({allowed})") from None
        match: list[str] = []
        attributes: dict[str, str] = {}
        for item in rest:
            name, equals, value = item.partition("=")
            name = name.lower()
            if not equals or not name:
                raise InputError(f"{item[:60]!r} is not name=value")
            if name == "match":
                match += [part for part in (value.split("|") if level is Level.FINGERPRINT else value.split(":")) if part]
            elif name in attributes:
                raise InputError(f"{name} is given twice")
            else:
                attributes[name] = value
        below = names.domain(entry.key[1:]) if entry.key.startswith(".") else ""
        nexthop = None if below else parse_nexthop(entry.key)
    except InputError as error:
        raise InputError(f"line {entry.line}: {error}") from None
    return TlsPolicy(entry.line, below, nexthop, level, tuple(match), tuple(attributes.items()))
