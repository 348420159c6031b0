"""Look-ups through a validating resolver elsewhere, believing its AD bit only where nobody can have changed it.

The AD bit crosses the network unprotected, so it counts from a loopback address, or from a server that the operator calls
`trusted` (a protected network); from any other server every answer is at most INSECURE, and `warning` says so.  SERVFAIL
is UNKNOWN; it is BOGUS when the server adds an extended error that says that validation failed [RFC 8914 §4.7].
dnspython does the asking: retries, TCP after truncation, cache by TTL.

Sources: [RFC 6840 §5.7-5.8] the AD bit; [RFC 7672 §2.1.1] and [RFC 4035 §4.9.3] whom to believe.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import dns.asyncresolver
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.wire
from dns.rdtypes.ANY.TLSA import TLSA

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.base.dnssec import SignedAnswer
from sealroute.base.errors import InputError, OperatorError
from sealroute.net import dnswire
from sealroute.net.aliases import prove_steps
from sealroute.net.dnswire import AliasLink, RecordType
from sealroute.net.signed import SIGNED_TYPES, signed_answer

T = TypeVar("T")

_UDP_OCTETS = 1232
_BOGUS_ERRORS = frozenset(range(6, 13))
"""DNSSEC Bogus, Signature Expired, ... NSEC Missing [RFC 8914 §4.7-4.13]."""


class _RawTlsa(TLSA):
    """TLSA as octets: dnspython takes a whole answer for broken when one digest in it has the wrong length.

    Such a record is unusable and no more than that; those beside it must still hold (proto/dane/records).
    """

    @classmethod
    def from_wire_parser(
        cls,
        rdclass: dns.rdataclass.RdataClass,
        rdtype: dns.rdatatype.RdataType,
        parser: dns.wire.Parser,
        origin: dns.name.Name | None = None,
    ) -> Any:
        return dns.rdata.GenericRdata(rdclass, rdtype, parser.get_remaining())


# There is no public way to replace a type that dnspython knows.
dns.rdata._rdata_classes[(dns.rdataclass.IN, dns.rdatatype.TLSA)] = _RawTlsa


@dataclass(frozen=True, slots=True)
class AdBitConfig:
    """Which servers, and whether they are to be believed."""

    servers: tuple[str, ...] = ()
    """IP addresses, `ip@port` for another port than 53; /etc/resolv.conf when empty."""
    trusted: bool = False
    """The operator's word that the way to the servers cannot be tampered with."""
    timeout_seconds: float = 30.0
    cache_entries: int = 20_000


class AdBitResolver:
    """Implements ports.Resolver."""

    def __init__(self, config: AdBitConfig | None = None) -> None:
        """Raises OperatorError when no usable server is named."""
        self.config = config or AdBitConfig()
        self._resolver = _make_resolver(self.config)
        self._resolver.cache = self._cache = dns.resolver.LRUCache(self.config.cache_entries)
        servers = [server for server in self._resolver.nameservers if isinstance(server, dns.nameserver.Do53Nameserver)]
        addresses = [server.address for server in servers]
        self.servers = tuple(f"{server.address}@{server.port}" for server in servers)
        self.trusted = self.config.trusted or all(ipaddress.ip_address(address).is_loopback for address in addresses)
        """True when AD bits are believed."""
        self.warning = "" if self.trusted else _warning(addresses)
        """What the administrator should know; empty when all is well."""

    async def mx(self, name: str) -> Answer[Mx]:
        return await self._look_up(name, dnswire.MX)

    async def a(self, name: str) -> Answer[str]:
        return await self._look_up(name, dnswire.A)

    async def aaaa(self, name: str) -> Answer[str]:
        return await self._look_up(name, dnswire.AAAA)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._look_up(name, dnswire.TLSA)

    async def txt(self, name: str) -> Answer[str]:
        return await self._look_up(name, dnswire.TXT)

    def forget(self) -> None:
        """Drop what is cached: it was believed or not as the servers were then."""
        self._cache.flush()

    async def close(self) -> None:
        """Nothing stays open between look-ups."""

    async def _look_up(self, name: str, rtype: RecordType[T]) -> Answer[T]:
        answer, links = await self._ask(name.rstrip(".").lower(), rtype)
        return await prove_steps(answer, links, self._ask_alias) if links else answer

    async def _ask_alias(self, name: str, rtype: RecordType[str]) -> Answer[str]:
        return (await self._ask(name, rtype))[0]

    async def signed(self, name: str, rtype: str) -> SignedAnswer:
        """ports.Signatures: the records of a name with their signatures; to be shown, never to decide by."""
        kind, name = SIGNED_TYPES[rtype], name.rstrip(".").lower()
        found = await self._respond(name, kind)
        if isinstance(found, Answer):
            return signed_answer(found, b"")
        try:
            answer, _ = self._read(name, kind, found[0])
            return signed_answer(answer, found[0].to_wire())
        except (InputError, dns.exception.DNSException) as error:
            return signed_answer(_failed(name, kind, f"the answer cannot be read: {error}"), b"")

    async def _ask(self, name: str, rtype: RecordType[T]) -> tuple[Answer[T], tuple[AliasLink, ...]]:
        found = await self._respond(name, rtype)
        if isinstance(found, Answer):
            return found, ()
        response, expires_at = found
        try:
            answer, links = self._read(name, rtype, response)
        except (InputError, dns.exception.DNSException) as error:
            return _failed(name, rtype, f"the answer cannot be read: {error}"), ()
        left = max(0, int(expires_at - time.time()))
        return (answer if left >= answer.ttl_seconds else replace(answer, ttl_seconds=left)), links

    async def _respond(self, name: str, rtype: RecordType[T]) -> tuple[dns.message.Message, float] | Answer[T]:
        """The response and when it ends, in seconds since 1970; or the failed answer."""
        try:
            owner = dns.name.from_text(name, origin=dns.name.root)
        except (dns.exception.DNSException, UnicodeError):
            return _failed(name, rtype, f"{name[:300]!r} is not a name that can be looked up")
        try:
            found = await self._resolver.resolve(
                owner, dns.rdatatype.RdataType.make(rtype.number), raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN as denial:
            return denial.kwargs["responses"][owner], self._denied_until(owner)
        except dns.resolver.LifetimeTimeout:
            return _failed(name, rtype, f"no answer within {self.config.timeout_seconds:g} s")
        except dns.resolver.NoNameservers as failure:
            return _refused(name, rtype, failure)
        except dns.exception.DNSException as error:
            return _failed(name, rtype, f"{type(error).__name__}: {error}"[:500])
        return found.response, found.expiration

    def _denied_until(self, owner: dns.name.Name) -> float:
        """When the cached NXDOMAIN ends, in seconds since 1970; 0 when it is not cached."""
        cached = self._cache.get((owner, dns.rdatatype.ANY, dns.rdataclass.IN))
        return 0.0 if cached is None else cached.expiration

    def _read(self, name: str, rtype: RecordType[T], response: dns.message.Message) -> tuple[Answer[T], tuple[AliasLink, ...]]:
        authentic = self.trusted and bool(response.flags & dns.flags.AD)
        security = Security.SECURE if authentic else Security.INSECURE
        chain = dns.message.QueryMessage.resolve_chaining(response)  # type: ignore[arg-type]
        rdatas = [rdata.to_wire() for rdata in chain.answer] if chain.answer else []
        records = rtype.read([rdata for rdata in rdatas if rdata is not None])
        if records:
            outcome = Outcome.DATA
        else:
            outcome = Outcome.NXDOMAIN if response.rcode() == dns.rcode.NXDOMAIN else Outcome.NODATA
        links: tuple[AliasLink, ...] = ()
        if chain.cnames and rtype not in (dnswire.CNAME, dnswire.DNAME):
            links = dnswire.alias_links(response.to_wire(), name)
        return Answer(name, rtype.name, outcome, security, records, chain.minimum_ttl, ()), links

    def __repr__(self) -> str:
        return f"<AdBitResolver {', '.join(self.servers)}, {'trusted' if self.trusted else 'not trusted'}>"


def _make_resolver(config: AdBitConfig) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not config.servers)
    except (dns.resolver.NoResolverConfiguration, OSError) as error:
        raise OperatorError.one("/etc/resolv.conf", f"no name server can be read from it ({error}).") from None
    if config.servers:
        resolver.nameservers = [_server(text) for text in config.servers]
    else:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(str(server)) for server in resolver.nameservers]
    resolver.search = []
    resolver.lifetime = config.timeout_seconds
    resolver.timeout = min(5.0, config.timeout_seconds)
    resolver.flags = dns.flags.RD | dns.flags.AD
    resolver.use_edns(0, dns.flags.DO, _UDP_OCTETS)
    return resolver


def _server(text: str) -> dns.nameserver.Do53Nameserver:
    address, at, port = text.partition("@")
    try:
        if at and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{port!r} is not a port number")
        ipaddress.ip_address(address)
    except ValueError as error:
        raise OperatorError.one(
            "resolver", f"the name server {text!r} cannot be used: {error}.", "Write `ip` or `ip@port`."
        ) from None
    return dns.nameserver.Do53Nameserver(address, int(port) if at else 53)


def _warning(addresses: Iterable[str]) -> str:
    return (
        f"The resolver {', '.join(addresses)} is not on this machine, so its DNSSEC results are not believed and DANE is"
        " never used. Validate here (libunbound), run a validating resolver on loopback, or set trusted if nobody can change"
        " what travels between."
    )


def _failed(name: str, rtype: RecordType[Any], detail: str) -> Answer[Any]:
    return Answer(name, rtype.name, Outcome.FAILED, Security.UNKNOWN, detail=detail)


def _refused(name: str, rtype: RecordType[Any], failure: dns.resolver.NoNameservers) -> Answer[Any]:
    """Every server failed: bogus if the last that answered says that validation failed, else unknown."""
    details = []
    for _server_name, _tcp, _port, error, response in failure.kwargs.get("errors", ()):
        for option in response.options if response is not None else ():
            if isinstance(option, dns.edns.EDEOption) and option.code in _BOGUS_ERRORS:
                text = f": {option.text[:300]}" if option.text else ""
                reason = dns.edns.EDECode(option.code).name.replace("_", " ").lower()
                return Answer(name, rtype.name, Outcome.FAILED, Security.BOGUS, detail=f"the resolver says {reason}{text}")
        details.append(str(error))
    return _failed(name, rtype, f"no resolver gave a usable answer ({', '.join(dict.fromkeys(details))[:300]})")
