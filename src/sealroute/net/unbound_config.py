"""What the operator may say to the validating resolver, and how it becomes a libunbound context.

Everything is set before the first look-up; a mistake shows as OperatorError when the context is made, never later.
Hardening is not optional: no setting here makes the validator believe more.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.net.anchors import iana_trust_anchors, parse_trust_anchors
from sealroute.net.libunbound import error_text, ffi, library

SPECIAL_NAMES = (
    "test.",
    "invalid.",
    "onion.",
    "localhost.",
    "home.arpa.",
    "127.in-addr.arpa.",
    "10.in-addr.arpa.",
    "168.192.in-addr.arpa.",
)
"""Zones that the library answers itself, without asking and without proof, unless they are taken from it [RFC 6761]."""


@dataclass(frozen=True, slots=True)
class UnboundConfig:
    """How look-ups are made.  Forwarders, stub zones or nothing (full recursion from the root)."""

    trust_anchors: tuple[str, ...] = field(default_factory=iana_trust_anchors)
    """DS or DNSKEY records, one per item (net/anchors reads them from a file)."""
    forwarders: tuple[str, ...] = ()
    """`ip` or `ip@port` of recursive servers; they need not validate, but must pass DNSSEC records on."""
    stub_zones: tuple[tuple[str, str], ...] = ()
    """(zone, `ip` or `ip@port`) of authoritative servers for zones that the public tree does not lead to."""
    root_hints: str | None = None
    """Path of a root hints file; the library's own list of root servers when not given."""
    special_names: bool = False
    """Ask the servers about test., invalid. and other special names too (private roots and labs)."""
    timeout_seconds: float = 30.0
    """After this an answer is UNKNOWN, whatever the servers still do."""
    cache_bytes: int = 64 * 1024 * 1024
    """Bound on the library's caches of messages and records together."""

    @property
    def may_ask_loopback(self) -> bool:
        """Loopback servers are asked only if a configured server is there, or the root is the operator's own."""
        servers = [*self.forwarders, *(address for _, address in self.stub_zones)]
        return self.root_hints is not None or any(_server_ip(server).is_loopback for server in servers)

    def names_to_ask(self) -> tuple[str, ...]:
        """The special names that the library must not answer itself: all, or those that meet a stub zone."""
        if self.special_names:
            return SPECIAL_NAMES
        stubs = ["." + zone.rstrip(".").lower() + "." for zone, _ in self.stub_zones if zone != "."]
        return tuple(s for s in SPECIAL_NAMES if any(("." + s).endswith(stub) or stub.endswith("." + s) for stub in stubs))


def _server_ip(server: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address in `ip` or `ip@port`; OperatorError when it is neither."""
    address, at, port = server.partition("@")
    try:
        if at and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{port!r} is not a port number")
        return ipaddress.ip_address(address)
    except ValueError as error:
        raise OperatorError.one(
            "resolver", f"the name server {server!r} cannot be used: {error}.", "Write `ip` or `ip@port`."
        ) from None


def make_context(config: UnboundConfig) -> Any:
    """A context, complete and checked, with its look-ups made in one background thread; OperatorError when it cannot be."""
    ub = library()
    anchors = parse_trust_anchors("\n".join(config.trust_anchors), "trust anchors")
    if config.root_hints is not None and not os.access(config.root_hints, os.R_OK):
        raise OperatorError.one(config.root_hints, "the root hints file cannot be read.")
    context = ub.ub_ctx_create()
    if context == ffi.NULL:
        raise OperatorError.one("resolver", "libunbound could not be started (out of memory or file descriptors).")
    try:
        # Its log would go to our stderr, once per failed validation; the reason comes with the answer.
        _check(ub.ub_ctx_debugout(context, ffi.NULL), "log")
        for name, value in _options(config).items():
            _check(ub.ub_ctx_set_option(context, f"{name}:".encode(), value.encode()), name)
        for anchor in anchors:
            _check(ub.ub_ctx_add_ta(context, anchor.encode()), f"trust anchor {anchor}")
        for server in config.forwarders:
            _server_ip(server)
            _check(ub.ub_ctx_set_fwd(context, server.encode()), f"forwarder {server}")
        for zone, server in config.stub_zones:
            _server_ip(server)
            _check(ub.ub_ctx_set_stub(context, zone.encode("ascii", "replace"), server.encode(), 0), f"stub zone {zone}")
        _check(ub.ub_ctx_async(context, 1), "thread")
        # The first of these also makes the library read and check all of the above.
        for zone in (*config.names_to_ask(), "sealroute.invalid."):
            _check(ub.ub_ctx_zone_remove(context, zone.encode()), "configuration")
    except OperatorError:
        ub.ub_ctx_delete(context)
        raise
    return context


def _check(code: int, what: str) -> None:
    if code != 0:
        raise OperatorError.one("resolver", f"libunbound refuses the {what}: {error_text(code)}.")


def _options(config: UnboundConfig) -> dict[str, str]:
    options = {
        "val-log-level": "2",  # makes why_bogus say why
        "qname-minimisation": "yes",
        "harden-glue": "yes",
        "harden-below-nxdomain": "yes",
        "harden-dnssec-stripped": "yes",
        "edns-buffer-size": "1232",  # above, fragments get lost; TCP takes over [DNS flag day 2020]
        "rrset-roundrobin": "no",
        # The library's own defaults are for one look-up at a time.
        "outgoing-range": "1024",
        "num-queries-per-thread": "4096",
        "outgoing-num-tcp": "64",
        "msg-cache-size": str(config.cache_bytes // 3),
        "rrset-cache-size": str(config.cache_bytes // 3 * 2),
        # A broken zone that has been mended should not have to wait longer than our first retries.
        "val-bogus-ttl": "60",
        "do-not-query-localhost": "no" if config.may_ask_loopback else "yes",
    }
    if config.root_hints is not None:
        options["root-hints"] = config.root_hints
    return options
