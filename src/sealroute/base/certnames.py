"""Whose certificate is it: DNS names looked for against names presented.

Names are compared as DNS-IDs, ASCII without regard to case [RFC 6125 §6.4, RFC 9525 §6.3].  A wildcard is the whole
leftmost label, stands for exactly one label, and needs at least two labels after it.  The common name is looked at only
where the caller allows it *and* there is no dNSName: DANE-TA does [RFC 7672 §3.2.3], MTA-STS does not
[RFC 8461 §4.1].

Sources: [RFC 9525 §6], [RFC 6125 §6.4], [RFC 5280 §4.2.1.10].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509

from sealroute.base.certs import Certificate

NAME_CONSTRAINTS = bytes.fromhex("551d1e")


@dataclass(frozen=True, slots=True)
class NameMatch:
    """A certificate carries one of the names looked for."""

    name: str
    """The name looked for."""
    presented: str
    """The certificate's name that covers it."""
    from_common_name: bool = False


def match_name(certificate: Certificate, names: Sequence[str], *, common_name: bool = False) -> NameMatch | None:
    """The first of `names` that the certificate carries, or None.

    `names` are in compared form (base/names); `*.contoso.com` among them, as a connector's TlsDomain may be, is met by any
    name exactly one label below contoso.com.  `common_name` allows the fall-back to the subject's common name.
    """
    for name in names:
        for presented in certificate.dns_names:
            if covers(presented, name):
                return NameMatch(name, presented)
    if not common_name or certificate.has_san_dns:
        return None
    for name in names:
        for presented in certificate.common_names:
            if covers(presented, name):
                return NameMatch(name, presented, True)
    return None


def covers(presented: str, name: str) -> bool:
    """True when a certificate's name stands for the name looked for [RFC 9525 §6.3].

    presented-id = domain / "*." domain        ; "*" is exactly one label
    """
    if not name:
        return False
    presented = presented.lower()
    if presented == name:
        return True
    _, dot, parent = name.partition(".")
    if not dot or "." not in parent:
        return False
    if presented.startswith("*."):
        return presented[2:] == parent
    return name.startswith("*.") and presented.partition(".")[2] == parent and "*" not in presented


def permits_name(authority: Certificate, name: str) -> bool:
    """True when an authority's nameConstraints let it speak for a DNS name [RFC 5280 §4.2.1.10].

    OpenSSL applies the constraints to subjectAltName; this is for a common name that is used in its place.
    """
    if authority.parsed is None or authority.extensions is None:
        return False
    if NAME_CONSTRAINTS not in authority.extensions:
        return True
    try:
        constraints = authority.parsed.extensions.get_extension_for_class(x509.NameConstraints).value
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False
    excluded = _dns_subtrees(constraints.excluded_subtrees)
    permitted = _dns_subtrees(constraints.permitted_subtrees)
    if any(_within(name, tree) for tree in excluded):
        return False
    return not permitted or any(_within(name, tree) for tree in permitted)


def _dns_subtrees(trees: Iterable[x509.GeneralName] | None) -> list[str]:
    return [tree.value.lower() for tree in trees or () if isinstance(tree, x509.DNSName)]


def _within(name: str, tree: str) -> bool:
    """True when name is the tree's top or below it; a leading dot in the tree asks for strictly below."""
    return name.endswith(tree) if tree.startswith(".") else not tree or name == tree or name.endswith("." + tree)
