"""What each part of the gateway is told, read off the settings; nothing is opened here but the listeners' certificates."""

from __future__ import annotations

from ipaddress import ip_network

from sealroute.base.mail import Origin
from sealroute.net.smtp_connection import DialSettings
from sealroute.net.smtp_in import ListenerConfig, ReceiveConfig, ReceiveLimits
from sealroute.net.tls import server_context
from sealroute.parts import text_of
from sealroute.policy.retry import RetryRules
from sealroute.proto.smtp.session import ServerLimits
from sealroute.services.deliver import DeliverRules
from sealroute.services.schedule import ScheduleLimits
from sealroute.services.sessions import SessionLimits
from sealroute.settings import Settings
from sealroute.settings.inbound import Listener, ListenerKind
from sealroute.settings.outbound import AddressFamily
from sealroute.worker import Worker


def deliver_rules(settings: Settings) -> DeliverRules:
    families = tuple(6 if family is AddressFamily.IPV6 else 4 for family in settings.delivery.address_families)
    return DeliverRules(
        RetryRules(settings.retry.delay_notice_after, settings.retry.jitter_percent / 100),
        settings.delivery.smtp_port,
        settings.delivery.allow_private_destinations,
        families,
    )


def dial_settings(settings: Settings) -> DialSettings:
    wanted = settings.delivery
    return DialSettings(
        helo_name=settings.hostname,
        source_ipv4=wanted.source_ipv4,
        source_ipv6=wanted.source_ipv6,
        connect_timeout_seconds=wanted.connect_timeout_seconds,
        greeting_timeout_seconds=wanted.greeting_timeout_seconds,
        tls_timeout_seconds=wanted.tls_timeout_seconds,
        command_timeout_seconds=wanted.command_timeout_seconds,
        final_reply_timeout_seconds=wanted.final_reply_timeout_seconds,
        minimum_bytes_per_second=wanted.minimum_bytes_per_second,
        max_recipients=wanted.recipients_per_transaction,
        chunking_max_bytes=wanted.chunking_max_bytes,
    )


def schedule_limits(settings: Settings, worker: Worker | None) -> ScheduleLimits:
    wanted = settings.delivery
    return ScheduleLimits(
        connections=wanted.max_connections,
        runs_per_destination=wanted.max_connections_per_destination,
        messages_per_minute_per_destination=wanted.max_messages_per_minute_per_destination,
        workers=1 if worker is None else settings.worker_count,
    )


def session_limits(settings: Settings) -> SessionLimits:
    wanted = settings.delivery
    return SessionLimits(wanted.max_connections, wanted.messages_per_connection, wanted.idle_connection_seconds)


def receive_config(settings: Settings) -> ReceiveConfig:
    wanted = settings.limits
    return ReceiveConfig(
        settings.hostname,
        settings.configured_postmaster or "",
        ReceiveLimits(
            connections=wanted.max_connections,
            connections_per_client=wanted.max_connections_per_client,
            command_seconds=wanted.command_timeout_seconds,
            data_seconds=wanted.data_timeout_seconds,
            session_seconds=wanted.session_seconds,
            handshake_seconds=wanted.handshake_timeout_seconds,
            content_budget_bytes=wanted.content_budget_bytes,
        ),
        ServerLimits(
            message_bytes=wanted.message_bytes,
            recipients_per_message=wanted.recipients_per_message,
            messages_per_session=wanted.messages_per_session,
            errors_per_session=wanted.errors_per_session,
            refused_recipients_per_session=wanted.refused_recipients_per_session,
            idle_commands=wanted.idle_commands,
            auth_attempts=settings.auth.attempts_per_session,
        ),
    )


def listeners(settings: Settings) -> tuple[ListenerConfig, ...]:
    return tuple(_listener(item) for item in settings.listeners)


def _listener(listener: Listener) -> ListenerConfig:
    context = None
    if listener.tls_certificate is not None:
        context = server_context(str(listener.tls_certificate), text_of(listener.tls_key))
    relay = listener.kind is ListenerKind.RELAY
    return ListenerConfig(
        listener.address,
        listener.effective_port,
        Origin.RELAY if relay else Origin.SUBMISSION,
        tuple(ip_network(network) for network in listener.networks) if relay else (),
        context,
        listener.implicit_tls,
        listener.organization,
    )
