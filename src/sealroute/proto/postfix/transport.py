"""`transport_maps`: which way mail for a domain goes [transport(5)].

entry   = pattern 1*WSP [transport] ":" [nexthop *( "," nexthop )]
pattern = "*" / domain / "." domain / user "@" domain
"""

from __future__ import annotations

from dataclasses import dataclass

from sealroute.base import names
from sealroute.base.errors import InputError
from sealroute.proto.postfix.nexthop import NextHop, parse_nexthop
from sealroute.proto.postfix.tables import Entry, read_entries

_MAIL = ("", "smtp", "relay")


@dataclass(frozen=True, slots=True)
class Transport:
    """One entry."""

    line: int
    pattern: str
    """`*`, a domain, or `*.domain` for what Postfix writes `.domain`; with a user as written."""
    transport: str
    """In lower case; empty for the default one."""
    nexthops: tuple[NextHop, ...] = ()
    """Of SMTP transports; empty: the recipient's domain."""
    argument: str = ""
    """As written, of the other transports."""

    @property
    def is_smtp(self) -> bool:
        return self.transport in _MAIL

    @property
    def one_user(self) -> bool:
        return "@" in self.pattern


def read_transports(raw: bytes) -> tuple[Transport, ...]:
    """The table; raises InputError naming the line."""
    return tuple(_transport(entry) for entry in read_entries(raw))


def _transport(entry: Entry) -> Transport:
    try:
        name, colon, argument = entry.value.partition(":")
        name, argument = name.strip().lower(), argument.strip()
        if not colon and any(c in entry.value for c in "[]. \t"):
            raise InputError(f"{entry.value[:60]!r} is not transport:nexthop")
        if entry.key == "*":
            pattern = "*"
        elif "@" in entry.key:
            pattern = entry.key
        elif entry.key.startswith("."):
            pattern = f"*.{names.domain(entry.key[1:])}"
        else:
            pattern = names.domain(entry.key)
        hops = tuple(map(parse_nexthop, argument.split(","))) if name in _MAIL and argument else ()
    except InputError as error:
        raise InputError(f"line {entry.line}: {error}") from None
    return Transport(entry.line, pattern, name, hops, argument)
