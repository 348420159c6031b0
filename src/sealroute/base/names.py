"""Domain names and mail addresses in the one form that everything compares.

A domain is kept as lower-case A-labels without the final dot; a mail address keeps its local part as given (only the
final destination may interpret it [RFC 5321 §2.4]) and its domain in that form.  The full path grammar, with quoting and
source routes, is in proto/smtp; here is only what every floor needs.
"""

from __future__ import annotations

import ipaddress

import idna

from sealroute.base.errors import InputError

MAX_DOMAIN_OCTETS = 253
_LABEL_OCTETS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


def domain(text: str) -> str:
    """The domain in compared form: A-labels, lower case, no final dot.

    Raises InputError when it is empty, too long, has an empty or overlong label, or cannot be a host name.
    Underscores are let through: they occur in the wild and DNS does not mind them.
    """
    name = text.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise InputError(f"{text!r} is not a valid internationalized domain name: {error}") from None
    if not name:
        raise InputError("the domain name is empty")
    if len(name) > MAX_DOMAIN_OCTETS:
        raise InputError(f"the domain name is {len(name)} octets long, more than {MAX_DOMAIN_OCTETS}")
    for label in name.split("."):
        if not label:
            raise InputError(f"{text!r} has an empty label")
        if len(label) > 63:
            raise InputError(f"{text!r} has a label of more than 63 octets")
        if not _LABEL_OCTETS.issuperset(label.encode()) or label[0] == "-" or label[-1] == "-":
            raise InputError(f"{text!r} has the label {label!r}, which cannot be part of a host name")
    return name


def address_domain(address: str) -> str:
    """The domain of a mail address in compared form; raises InputError when there is none. `[192.0.2.1]` stays as is."""
    local, at, right = address.rpartition("@")
    if not at or not local:
        raise InputError(f"{address!r} is not a mail address: it needs a local part and a domain")
    return right.lower() if right.startswith("[") else domain(right)


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that text is, or None; brackets and the `IPv6:` tag of an address literal are accepted."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare[:5].lower() == "ipv6:":
        bare = bare[5:]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return None


def is_subdomain(name: str, parent: str) -> bool:
    """True when name lies strictly below parent (both in compared form)."""
    return name.endswith("." + parent)
