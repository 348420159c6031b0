"""Settings of the way out: DNS, TLS, MTA-STS, connections, retries, notifications."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Annotated

from pydantic import Field, model_validator

from sealroute.settings.values import DomainName, Duration, FilePath, IpAddress, NameServer, Port, Section, Zone, choice


class ResolverKind(Enum):
    UNBOUND = "unbound"
    AD = "ad"


class StubZone(Section):
    """One zone that is asked at fixed authoritative servers instead of being found from the root."""

    zone: Zone = Field(description="The zone, such as `corp.example`.")
    addresses: tuple[NameServer, ...] = Field(
        min_length=1, max_length=32, strict=False, description="Its servers: IP addresses, with `@port` when not 53."
    )


class Resolver(Section):
    """DNS, and where DNSSEC is validated."""

    kind: Annotated[ResolverKind, choice(ResolverKind)] = Field(
        default=ResolverKind.UNBOUND,
        description="`unbound` validates in this process (libunbound); `ad` believes the AD bit of `servers`.",
    )
    forwarders: tuple[NameServer, ...] = Field(
        default=(),
        max_length=32,
        strict=False,
        description="unbound: send every query to these resolvers, still validating here. Empty: full recursion from the root.",
    )
    stub_zones: tuple[StubZone, ...] = Field(
        default=(),
        max_length=10_000,
        strict=False,
        description="unbound: zones with their own servers, `[[resolver.stub_zones]]` each.",
    )
    root_hints: FilePath | None = Field(
        default=None, description="unbound: file of root server names and addresses instead of IANA's."
    )
    trust_anchor_file: FilePath | None = Field(
        default=None, description="unbound: DS or DNSKEY records (zone file format) that replace IANA's root trust anchors."
    )
    special_names: bool = Field(
        default=False,
        description="unbound: ask the servers about `test` and the other special names (RFC 6761), too, instead of answering "
        "them here. For private roots and labs.",
    )
    servers: tuple[NameServer, ...] = Field(
        default=("127.0.0.1",), min_length=1, max_length=8, strict=False, description="ad: the validating resolvers to ask."
    )
    trusted: bool = Field(
        default=False,
        description="ad: believe the AD bit of servers not on loopback, too. Only where nobody can tamper with the way there.",
    )
    timeout_seconds: float = Field(
        default=20.0, ge=0.1, le=120, description="A look-up that takes longer is `unknown`, never `absent`."
    )
    canary_interval_seconds: int = Field(
        default=300,
        ge=10,
        le=86400,
        description="How often the resolver is probed for whether it can tell valid DNSSEC from invalid.",
    )
    canary_signed: DomainName | None = Field(
        default=None,
        description="Canary: a name with A records in a correctly signed zone. Default: two well-known ones, or, with trust "
        "anchors, stub zones or root hints of your own, none: then nothing is probed unless all three canaries are named.",
    )
    canary_unsigned: DomainName | None = Field(
        default=None, description="Canary: a name with A records in an unsigned zone. Default: as for canary_signed."
    )
    canary_broken: DomainName | None = Field(
        default=None,
        description="Canary: a name with A records whose signatures are deliberately broken. Default: as for canary_signed.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Resolver:
        other = UNBOUND_ONLY if self.kind is ResolverKind.AD else AD_ONLY
        for name in other & self.model_fields_set:
            raise ValueError(f'{name} has no effect with kind = "{self.kind.value}"; take it out or change the kind')
        missing = [name for name in PUBLIC_CANARIES if getattr(self, name) is None]
        if self.own_tree and 0 < len(missing) < len(PUBLIC_CANARIES):
            raise ValueError(f"{', '.join(missing)} is missing; name all three canaries or none")
        return self

    @property
    def own_tree(self) -> bool:
        """Whether answers come from a tree of the operator's, where names of the public one may not exist."""
        return bool(self.trust_anchor_file or self.root_hints or self.stub_zones)

    @property
    def canaries(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None:
        """The signed, unsigned and broken names to be probed; None: nothing is probed."""
        named = [getattr(self, name) for name in PUBLIC_CANARIES]
        if self.own_tree and None in named:
            return None
        signed, unsigned, broken = (
            (name,) if name else public for name, public in zip(named, PUBLIC_CANARIES.values(), strict=True)
        )
        return signed, unsigned, broken


PUBLIC_CANARIES = {
    "canary_signed": ("iana.org", "isc.org"),
    "canary_unsigned": ("google.com", "wikipedia.org"),
    "canary_broken": ("dnssec-failed.org",),
}
"""What is probed in the public tree unless the operator names others: zones known for being as they are."""
UNBOUND_ONLY = {"forwarders", "stub_zones", "root_hints", "trust_anchor_file", "special_names"}
AD_ONLY = {"servers", "trusted"}


class Tls(Section):
    """TLS towards other mail servers."""

    ca_file: FilePath | None = Field(
        default=None,
        description="PEM bundle of authorities for SMTP certificates instead of the system's. DANE does not use it.",
    )


class MtaSts(Section):
    """Fetching and keeping MTA-STS policies."""

    ca_file: FilePath | None = Field(
        default=None, description="PEM bundle of authorities for the policy hosts' HTTPS certificates instead of the system's."
    )
    https_port: Port = Field(default=443, description="Port of the policy hosts; other than 443 only in a lab.")
    timeout_seconds: float = Field(default=60.0, ge=0.1, le=300, description="A policy fetch that takes longer has failed.")


class AddressFamily(Enum):
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Delivery(Section):
    """The way out: connections to other mail servers."""

    smtp_port: Port = Field(default=25, description="Port of the destinations' mail servers; other than 25 only in a lab.")
    address_families: tuple[Annotated[AddressFamily, choice(AddressFamily)], ...] = Field(
        default=(AddressFamily.IPV6, AddressFamily.IPV4),
        min_length=1,
        max_length=2,
        strict=False,
        description="Which kinds of addresses to connect to. Leave `ipv6` out on a network without it.",
    )
    source_ipv4: IpAddress | None = Field(
        default=None, description="Connect from this IPv4 address instead of the system's choice."
    )
    source_ipv6: IpAddress | None = Field(
        default=None, description="Connect from this IPv6 address instead of the system's choice."
    )
    allow_private_destinations: bool = Field(
        default=False,
        description="Deliver to loopback, private and link-local addresses. Off, so that an MX that points at 127.0.0.1 "
        "cannot make the gateway talk to itself or to inner machines; needed in labs and for smart hosts inside.",
    )
    connect_timeout_seconds: float = Field(default=30.0, ge=0.1, le=300, description="For the TCP connection.")
    greeting_timeout_seconds: float = Field(default=60.0, ge=0.1, le=600, description="For the server's greeting.")
    tls_timeout_seconds: float = Field(default=30.0, ge=0.1, le=300, description="For the TLS handshake.")
    command_timeout_seconds: float = Field(
        default=300.0, ge=0.1, le=3600, description="For the reply to a command (RFC 5321: 5 min)."
    )
    final_reply_timeout_seconds: float = Field(
        default=600.0, ge=0.1, le=3600, description="For the reply after the message (RFC 5321: 10 min)."
    )
    minimum_bytes_per_second: int = Field(
        default=4096, ge=1, le=10**9, description="A server that takes a message more slowly is given up."
    )
    recipients_per_transaction: int = Field(
        default=100, ge=1, le=1000, description="A message for more recipients at one server is sent to it in several parts."
    )
    chunking_max_bytes: int = Field(
        default=65536,
        ge=0,
        le=1024**3,
        description="Messages up to this size go as BDAT where the server offers CHUNKING, larger ones as DATA; 0: always.",
    )
    max_connections: int = Field(
        default=500,
        ge=1,
        le=20000,
        description="Open connections to all destinations together; each worker has its part of them.",
    )
    max_connections_per_destination: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Open connections to one destination domain at a time; each worker has its part of them, at least one. "
        "A destination begins with 5, gets more while it takes mail, and fewer while it is overloaded.",
    )
    max_messages_per_minute_per_destination: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Messages to one destination domain in a minute; each worker has its part of them, at least one. "
        "0: no limit. Attempts that fail count as well.",
    )
    messages_per_connection: int = Field(
        default=100, ge=1, le=10000, description="A connection is closed after so many messages."
    )
    idle_connection_seconds: float = Field(
        default=5.0, ge=0, le=300, description="How long an unused connection is kept for more mail."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Delivery:
        for name, value, colon in (("source_ipv4", self.source_ipv4, False), ("source_ipv6", self.source_ipv6, True)):
            if value is not None and (":" in value) != colon:
                raise ValueError(f"{name} is {value}, an address of the other family")
        return self


class Retry(Section):
    """When held mail is tried again; for the default connector and every connector that does not say otherwise."""

    schedule: tuple[Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))], ...] = Field(
        default=(timedelta(minutes=15), timedelta(minutes=15), timedelta(hours=1)),
        min_length=1,
        max_length=50,
        strict=False,
        description="Waits after the first, second, ... failed attempt, such as `5s`, `15m`, `1h`; the last one repeats.",
    )
    jitter_percent: int = Field(
        default=10, ge=0, le=50, description="Each wait is lengthened or shortened by up to this, at random."
    )
    message_expiration: Duration = Field(
        default=timedelta(hours=24),
        ge=timedelta(hours=1),
        le=timedelta(days=5),
        description="Mail that could not be delivered for so long is returned.",
    )
    delay_notice_after: Duration = Field(
        default=timedelta(hours=4),
        ge=timedelta(minutes=1),
        le=timedelta(days=5),
        description="The sender is told once that mail is delayed after so long.",
    )


class Ndr(Section):
    """Notifications that we send: returned mail, delays, requested receipts."""

    generating_server: DomainName | None = Field(default=None, description="The server named in them. Default: the host name.")
