"""https: fetches MTA-STS policy files, and nothing else [RFC 8461 §3.3].

Rules that hold: the host's name is resolved through our own resolver, never by the system; addresses that are not public are
left alone unless the operator allows them; the certificate must hold by PKIX for exactly `mta-sts.<domain>`, its subject's
common name does not count; no redirect, no proxy, no environment, no HTTP cache, no kept connection, no content coding.
Time and size are bounded: what is beyond them is not read.  A body whose end only the connection's end tells is refused, since
anyone on the way could cut it short.

Built on httpcore, not httpx: what is to be switched off in httpx is not there in httpcore.  Reading the policy is
proto/mtasts; remembering failures and joining simultaneous fetches is services/sts; the TLS context comes from net/tls.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import chain, zip_longest
from typing import Any

import httpcore

from sealroute.base.dnsdata import Answer
from sealroute.base.errors import InputError
from sealroute.base.names import domain as compared
from sealroute.net.patience import patience
from sealroute.policy.evidence import FetchFailure
from sealroute.ports import Fetched, FetchFailed, Resolver

MAX_BODY_BYTES = 65_536
MAX_ADDRESSES = 8
PATH = "/.well-known/mta-sts.txt"
_HEADERS = (("Accept", "text/plain"), ("Connection", "close"), ("User-Agent", "sealroute"))
_NETWORK_TROUBLE = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, UnicodeError)


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What an operator may set."""

    port: int = 443
    timeout_seconds: float = 60.0
    """From the first DNS query to the last octet.  Not counted: waiting for one of the `concurrency` places, and what our own
    event loop was late (net/patience), for a policy that we were too busy to fetch would not protect its domain's mail."""
    concurrency: int = 128
    """Fetches at a time, all domains together: many, since a host that stays silent keeps its place for the whole time-out."""
    allow_private: bool = False
    """Also connect to loopback, private and link-local addresses."""


class HttpsPolicyFetcher:
    """`ports.PolicyFetcher` over the network; may be used for any number of fetches at once."""

    def __init__(self, resolver: Resolver, context: Any, rules: FetchRules | None = None) -> None:
        """`context` is net/tls `policy_client_context`, which belongs to the fetcher from now on."""
        context.hostname_checks_common_name = False  # only a DNS-ID in subjectAltName names the host [RFC 8461 §3.3]
        self._resolver = resolver
        self._context = context
        self._rules = rules or FetchRules()
        self._room = asyncio.Semaphore(self._rules.concurrency)

    def __repr__(self) -> str:
        return f"<HttpsPolicyFetcher {self._rules}>"

    async def fetch(self, domain: str) -> Fetched | FetchFailed:
        """GET the policy file of the domain; every trouble is a FetchFailed whose detail is one sentence."""
        try:
            host = compared(f"mta-sts.{compared(domain)}")
        except InputError as error:
            return _failed(f"mta-sts.{domain[:260]} cannot be a host: {error}.")
        async with self._room:
            try:
                async with patience(self._rules.timeout_seconds):
                    return await self._fetch(host)
            except TimeoutError:
                return _failed(f"The policy host {host} did not answer in full within {self._rules.timeout_seconds:g} s.")

    async def close(self) -> None:
        """Nothing is kept open between fetches."""

    async def _fetch(self, host: str) -> Fetched | FetchFailed:
        addresses = await self._addresses(host)
        if isinstance(addresses, FetchFailed):
            return addresses
        origin = httpcore.Origin(b"https", host.encode("ascii"), self._rules.port)
        each_seconds = self._rules.timeout_seconds * 0.8 / len(addresses)
        backend = _Backend(addresses, each_seconds)
        try:
            async with httpcore.AsyncHTTPConnection(origin, self._context, network_backend=backend) as connection:
                return await self._get(connection, host)
        except _NETWORK_TROUBLE as error:
            unverified = _certificate_trouble(error)
            if unverified is not None:
                detail = f"The certificate of the policy host {host} does not hold: {unverified.rstrip('.')}."
                return FetchFailed(FetchFailure.WEBPKI_INVALID, detail)
            return _failed(f"The policy could not be fetched from {host}: {_describe(error).rstrip('.')}.")

    async def _get(self, connection: httpcore.AsyncHTTPConnection, host: str) -> Fetched | FetchFailed:
        url = httpcore.URL(scheme=b"https", host=host.encode("ascii"), port=self._rules.port, target=PATH.encode("ascii"))
        async with connection.stream("GET", url, headers=_HEADERS) as response:
            refused = _refused(response)
            if refused is not None:
                return _failed(f"The policy host {host} {refused}.")
            body = bytearray()
            async for part in response.aiter_stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    return _failed(f"The policy host {host} sent more than {MAX_BODY_BYTES} octets.")
            return Fetched(bytes(body))

    async def _addresses(self, host: str) -> list[str] | FetchFailed:
        """Where to connect, IPv6 and IPv4 by turns; one family suffices when the other is unknown."""
        aaaa, a = await asyncio.gather(self._resolver.aaaa(host), self._resolver.a(host))
        by_turns = chain.from_iterable(zip_longest(aaaa.records, a.records))
        found = [address for address in by_turns if address is not None]
        usable = [address for address in found if self._rules.allow_private or _is_public(address)]
        if usable:
            return usable[:MAX_ADDRESSES]
        if found:
            return _failed(f"The policy host {host} has no public address, only {', '.join(found[:MAX_ADDRESSES])}.")
        unknown = next((answer for answer in (a, aaaa) if answer.failed), None)
        if unknown is not None:
            return _failed(f"The address of the policy host {host} is not known: {_dns_trouble(unknown)}.")
        return _failed(f"The policy host {host} has no address.")


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to given addresses, one after the other, whatever name is asked for."""

    def __init__(self, addresses: list[str], each_seconds: float) -> None:
        self._addresses = addresses
        self._each_seconds = each_seconds
        self._tcp = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        troubles: list[str] = []
        for address in self._addresses:
            try:
                async with patience(self._each_seconds):
                    return await self._tcp.connect_tcp(address, port, None, local_address, socket_options)
            except (TimeoutError, httpcore.ConnectTimeout):  # our patience, or the system's
                troubles.append(f"{address} did not answer within {self._each_seconds:g} s")
            except httpcore.ConnectError as error:
                troubles.append(f"{address}: {_describe(error)}")
        raise httpcore.ConnectError(f"no connection to port {port} ({'; '.join(troubles)})")


def _refused(response: httpcore.Response) -> str | None:
    """Why the response is no policy file, as the end of a sentence about the host; None when it may be one."""
    headers = {name.lower(): value for name, value in response.headers}
    if 300 <= response.status < 400:
        return f"answered with HTTP status {response.status}; redirects are not followed"
    if response.status != 200:
        return f"answered with HTTP status {response.status} instead of 200"
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        return f"serves the policy as {media_type[:60].decode('ascii', 'replace') or 'no media type'} instead of text/plain"
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity":
        return f"serves the policy in the content coding {coding[:60].decode('ascii', 'replace')}, which was not asked for"
    if b"content-length" not in headers and b"transfer-encoding" not in headers:
        return "does not say where the policy ends (neither Content-Length nor chunked)"
    return None


def _failed(detail: str) -> FetchFailed:
    return FetchFailed(FetchFailure.FETCH_ERROR, detail)


def _is_public(address: str) -> bool:
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast


def _dns_trouble(answer: Answer[str]) -> str:
    return f"{answer.rtype} is {answer.security.value}" + (f" ({answer.detail})" if answer.detail else "")


def _causes(error: BaseException) -> Iterable[BaseException]:
    """The error and what led to it, outermost first."""
    at: BaseException | None = error
    for _ in range(20):
        if at is None:
            return
        yield at
        at = at.__cause__ or at.__context__


def _certificate_trouble(error: BaseException) -> str | None:
    """What OpenSSL says against the certificate; None when the error is about something else."""
    for cause in _causes(error):
        # By name: only net/tls may import ssl, and the class is the same whatever event loop runs.
        if any(kind.__name__ == "SSLCertVerificationError" for kind in type(cause).__mro__):
            return str(getattr(cause, "verify_message", "") or cause)
    return None


def _describe(error: BaseException) -> str:
    """The innermost words there are."""
    *_, innermost = (cause for cause in _causes(error) if str(cause) or cause is error)
    plain = isinstance(innermost, (ConnectionError, TimeoutError)) or type(innermost) is OSError
    if isinstance(innermost, OSError) and plain and innermost.errno:
        return os.strerror(innermost.errno)  # asyncio puts words of its own into strerror
    return str(innermost) or type(innermost).__name__
