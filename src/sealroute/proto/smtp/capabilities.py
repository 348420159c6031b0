"""What an SMTP server says it can do: the keywords of its EHLO reply [RFC 5321 §4.1.1.1].

    ehlo-line   = keyword *( SP param )

Tolerated: keywords in any case, unknown keywords and parameters, a SIZE or RCPTMAX whose number is none (read as "no limit
announced").  A server that answered HELO only has no capabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealroute.base.status import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions that concern sending."""

    keywords: tuple[str, ...] = ()
    """Everything offered, upper case, in order, without parameters."""
    starttls: bool = False
    pipelining: bool = False
    """[RFC 2920]"""
    eight_bit: bool = False
    """8BITMIME [RFC 6152]"""
    smtputf8: bool = False
    """[RFC 6531]"""
    chunking: bool = False
    """[RFC 3030]"""
    dsn: bool = False
    """[RFC 3461]"""
    require_tls: bool = False
    """[RFC 8689]"""
    size: bool = False
    """[RFC 1870]"""
    size_limit_bytes: int | None = None
    """None when SIZE gave no limit (none at all, or 0)."""
    max_recipients: int | None = None
    """RCPTMAX of LIMITS [RFC 9422 §3.2]."""


NO_CAPABILITIES = Capabilities()


def parse_capabilities(ehlo: Reply) -> Capabilities:
    """The capabilities that a positive reply to EHLO lists; its first line is the server's greeting."""
    offered: dict[str, list[str]] = {}
    for line in ehlo.lines[1:]:
        words = line.split()
        if words:
            offered.setdefault(words[0].upper(), words[1:])
    return Capabilities(
        keywords=tuple(offered),
        starttls="STARTTLS" in offered,
        pipelining="PIPELINING" in offered,
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        chunking="CHUNKING" in offered,
        dsn="DSN" in offered,
        require_tls="REQUIRETLS" in offered,
        size="SIZE" in offered,
        size_limit_bytes=_number("".join(offered.get("SIZE", ())[:1])),
        max_recipients=_rcptmax(offered.get("LIMITS", [])),
    )


def _number(text: str) -> int | None:
    """A positive decimal number of at most 20 digits [RFC 1870 §4], or None."""
    return int(text) or None if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _rcptmax(limits: list[str]) -> int | None:
    for limit in limits:
        name, _, value = limit.partition("=")
        if name.upper() == "RCPTMAX":
            return _number(value)
    return None
