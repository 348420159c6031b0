"""Matching a mail host against a policy's mx patterns [RFC 8461 §4.1].

A wildcard stands for exactly one whole label, the leftmost; nothing else is a wildcard.  Case, a final dot and the
spelling of international names (U-label or A-label) make no difference.  Whether the certificate holds is a different question,
answered in policy/verdict.
"""

from __future__ import annotations

from collections.abc import Iterable

from sealroute.base.errors import InputError
from sealroute.base.names import domain, parse_ip


def compared_pattern(text: str) -> str:
    """The pattern in compared form; raises InputError when it is neither a domain nor `*.` and a domain."""
    return "*." + domain(text[2:]) if text.startswith("*.") else domain(text)


def match(host: str, patterns: Iterable[str]) -> str | None:
    """The first pattern, as given, that covers the host; None when none does.

    Never raises: a host or pattern that is no domain name matches nothing, and an IP address is no name.
    """
    if parse_ip(host) is not None:
        return None
    try:
        name = domain(host)
    except InputError:
        return None
    _, _, parent = name.partition(".")
    covering = {name, "*." + parent} if parent else {name}
    return next((pattern for pattern in patterns if _folded(pattern) in covering), None)


def _folded(pattern: str) -> str | None:
    """Cheap folding is enough for ASCII, since only a valid name can be found; a policy may hold thousands of patterns."""
    if pattern.isascii():
        return pattern.lower().removesuffix(".")
    try:
        return compared_pattern(pattern)
    except InputError:
        return None
