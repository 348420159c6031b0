"""A Postfix next hop: `domain`, `domain:port`, `[host]`, `[host]:port`, in brackets without MX look-up [transport(5)]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealroute.base import names
from sealroute.base.errors import InputError

_FORM = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]\s:]+)(?::([A-Za-z0-9_-]+))?")
_SMTP = ("", "25", "smtp")


@dataclass(frozen=True, slots=True)
class NextHop:
    """One next hop."""

    name: str
    """A domain in compared form, or an IP address."""
    bracketed: bool
    port: str = ""
    """As written; empty for port 25."""

    def __str__(self) -> str:
        name = f"[{self.name}]" if self.bracketed else self.name
        return f"{name}:{self.port}" if self.port else name


def parse_nexthop(text: str) -> NextHop:
    """Raises InputError."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text[:80]!r} is not a next hop such as fabrikam.com or [mx.fabrikam.com]:25")
    bracketed = match[1].startswith("[")
    port = match[2] or ""
    port = "" if port.lower() in _SMTP else port
    ip = names.parse_ip(match[1])
    if ip is not None and bracketed:
        return NextHop(str(ip), True, port)
    return NextHop(names.domain(match[1].strip("[]")), bracketed, port)
