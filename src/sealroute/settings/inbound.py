"""Settings of the way in: listeners, and what clients may use."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field, model_validator

from sealroute.settings.values import FilePath, IpAddress, Network, Port, Section, choice


class ListenerKind(Enum):
    RELAY = "relay"
    SUBMISSION = "submission"


class Listener(Section):
    """One address where mail is accepted. Repeat `[[listeners]]` for each."""

    kind: Annotated[ListenerKind, choice(ListenerKind)] = Field(
        description="`relay` takes mail by source network; `submission` takes it from users after STARTTLS and AUTH."
    )
    address: IpAddress = Field(
        default="127.0.0.1", description="IP address to listen on; `0.0.0.0` all of IPv4, `::` all of both."
    )
    port: Port | None = Field(
        default=None, description="TCP port. Default: 25 for relay, 587 for submission, 465 with implicit_tls."
    )
    networks: tuple[Network, ...] = Field(
        default=("127.0.0.0/8", "::1/128"),
        strict=False,
        description="Relay only: the source networks that may send mail through here. Everyone else is refused.",
    )
    tls_certificate: FilePath | None = Field(default=None, description="PEM file: certificate and its chain, for STARTTLS.")
    tls_key: FilePath | None = Field(default=None, description="PEM file: the certificate's private key, without a passphrase.")
    implicit_tls: bool = Field(default=False, description="TLS from the first byte (RFC 8314), without STARTTLS.")

    organization: str = Field(
        default="default",
        min_length=1,
        max_length=64,
        description="Relay only: owner of the mail. On submission it is the user's.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Listener:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; give both or neither")
        if self.tls_certificate is None and self.kind is ListenerKind.SUBMISSION:
            raise ValueError("a submission listener needs tls_certificate and tls_key: passwords travel only over TLS")
        if self.tls_certificate is None and self.implicit_tls:
            raise ValueError("implicit_tls needs tls_certificate and tls_key")
        if self.kind is ListenerKind.RELAY and not self.networks:
            raise ValueError("networks is empty, so nobody could send mail here; name at least one")
        for name in ("networks", "organization"):
            if self.kind is ListenerKind.SUBMISSION and name in self.model_fields_set:
                raise ValueError(f"{name} is for relay listeners; on submission the user's login decides")
        return self

    @property
    def effective_port(self) -> int:
        """The port, with the default of the kind filled in."""
        if self.port is not None:
            return self.port
        if self.implicit_tls:
            return 465
        return 25 if self.kind is ListenerKind.RELAY else 587


class Limits(Section):
    """What one client, one message and all of them together may use on the way in."""

    message_bytes: int = Field(
        default=35 * 1024 * 1024, ge=65536, le=1024 * 1024 * 1024, description="Largest message accepted; announced as SIZE."
    )
    recipients_per_message: int = Field(default=1000, ge=100, le=50000, description="RFC 5321 asks for at least 100.")
    messages_per_session: int = Field(default=10_000, ge=1, le=1_000_000, description="Then the client has to connect again.")
    errors_per_session: int = Field(default=10, ge=1, le=1000, description="Commands in error; then the session ends.")
    refused_recipients_per_session: int = Field(default=100, ge=1, le=50000, description="Then the session ends.")
    idle_commands: int = Field(default=100, ge=10, le=10_000, description="NOOP, RSET, EHLO and the like between two messages.")
    hops: int = Field(default=20, ge=5, le=100, description="Received header fields that count as a routing loop (5.4.14).")
    max_connections: int = Field(
        default=1000, ge=1, le=50000, description="Incoming connections at a time, all listeners together."
    )
    max_connections_per_client: int = Field(
        default=50, ge=1, le=50000, description="Incoming connections at a time from one IPv4 address or IPv6 /64."
    )
    command_timeout_seconds: float = Field(
        default=300.0, ge=1, le=3600, description="Silence between commands (RFC 5321: 5 min)."
    )
    data_timeout_seconds: float = Field(default=180.0, ge=1, le=3600, description="Silence inside a message (RFC 5321: 3 min).")
    handshake_timeout_seconds: float = Field(default=30.0, ge=0.1, le=300, description="For the TLS handshake.")
    session_seconds: float = Field(
        default=3600.0,
        ge=10,
        le=86400,
        description="Longest session; a message under way is finished, then the client is sent away.",
    )
    content_budget_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=65536,
        le=64 * 1024 * 1024 * 1024,
        description="Message bytes received and not yet stored, all sessions together; beyond it senders are asked to wait.",
    )
    shutdown_seconds: float = Field(default=30.0, ge=0, le=600, description="How long a stop waits for messages under way.")

    @model_validator(mode="after")
    def _consistent(self) -> Limits:
        if self.content_budget_bytes < self.message_bytes:
            raise ValueError("content_budget_bytes is less than message_bytes, so a message of that size would never fit")
        return self


class Auth(Section):
    """Checking passwords on submission listeners."""

    concurrency: int = Field(default=2, ge=1, le=64, description="Passwords checked at a time; argon2 takes 64 MiB for each.")
    waiting: int = Field(
        default=64, ge=0, le=10_000, description="Further checks that may wait; beyond it clients are told to try later."
    )
    attempts_per_session: int = Field(default=3, ge=1, le=100, description="Failed logins; then the session ends.")
    free_failures: int = Field(
        default=3, ge=0, le=1000, description="Failed logins of one client before its next tries are delayed."
    )
    max_delay_seconds: float = Field(
        default=300.0, ge=0, le=86400, description="The delay doubles with each failure, up to this."
    )
