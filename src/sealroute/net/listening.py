"""Sockets that listen, opened before there is an event loop: by a parent, for its workers.

Each worker has its own socket on the same address (SO_REUSEPORT), because the kernel then spreads connections evenly; from one
shared socket whichever worker wakes first takes nearly all of a burst.  `probe` is what keeps a second gateway of the same
user from sharing the address unnoticed.
"""

from __future__ import annotations

import socket

BACKLOG = 1024


def listen(address: str, port: int, *, shared: bool = True) -> tuple[socket.socket, ...]:
    """Listening sockets, more than one when the address (`""`, `::`) means IPv4 and IPv6.  Raises OSError."""
    opened: list[socket.socket] = []
    try:
        for family, place in _places(address, port):
            opened.append(_open(family, place, shared=shared))
            opened[-1].listen(BACKLOG)
    except OSError:
        close(opened)
        raise
    return tuple(opened)


def probe(address: str, port: int) -> None:
    """Raises OSError when somebody listens there, or it may not be had."""
    for family, place in _places(address, port):
        _open(family, place, shared=False).close()


def close(sockets: list[socket.socket] | tuple[socket.socket, ...]) -> None:
    for item in sockets:
        item.close()


def _places(address: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    if address in ("", "::"):
        both = [(socket.AF_INET, ("0.0.0.0", port))]
        return [*both, (socket.AF_INET6, ("::", port))] if socket.has_dualstack_ipv6() else both
    return [(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port))]


def _open(family: socket.AddressFamily, place: tuple[str, int], *, shared: bool) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind(place)
    except OSError:
        opened.close()
        raise
    return opened
