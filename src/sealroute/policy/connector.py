"""An outbound connector, as Exchange has it plus ours: a frozen value that everything else reads.

The parameters' spelling, parsing and save-time rules are in policy/parameters; choosing one for a recipient in
policy/choose.  Defaults are Exchange's; RetrySchedule, MessageExpiration and the limits are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sealroute.policy.modes import ConnectorType, MtaStsMode, SmtpDaneMode, TlsSettings

if TYPE_CHECKING:
    from sealroute.policy.transport.apply import RuleEffect

DEFAULT_EXPIRATION = timedelta(hours=24)
MIN_EXPIRATION, MAX_EXPIRATION = timedelta(hours=1), timedelta(days=5)
DEFAULT_SCHEDULE = (timedelta(minutes=15), timedelta(minutes=15), timedelta(hours=1))
"""Waits after the first, second, ... failed attempt; the last one repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One outbound connector.  Field names are Exchange's parameter names in snake case."""

    guid: str
    organization: str = "default"
    name: str
    enabled: bool = True
    use_mx_record: bool = True
    comment: str = ""
    connector_type: ConnectorType = ConnectorType.PARTNER
    connector_source: str = "Default"
    recipient_domains: tuple[str, ...] = ()
    """Compared form; `*.contoso.com` for every name below, `*` for every domain."""
    smart_hosts: tuple[str, ...] = ()
    """As written: `name`, `[name]` (addresses only), an IP address, or a CIDR block."""
    tls_domain: str | None = None
    tls_settings: TlsSettings | None = None
    is_transport_rule_scoped: bool = False
    route_all_messages_via_on_premises: bool = False
    cloud_services_mail_enabled: bool = False
    all_accepted_domains: bool = False
    sender_rewriting_enabled: bool = False
    mta_sts_mode: MtaStsMode = MtaStsMode.OPPORTUNISTIC
    smtp_dane_mode: SmtpDaneMode = SmtpDaneMode.OPPORTUNISTIC
    test_mode: bool = False
    validation_recipients: tuple[str, ...] = ()
    is_validated: bool = False
    last_validation_timestamp: datetime | None = None
    admin_display_name: str = ""
    link_for_modified_connector: str = ""
    retry_schedule: tuple[timedelta, ...] = DEFAULT_SCHEDULE
    message_expiration: timedelta = DEFAULT_EXPIRATION
    max_connections_per_destination: int | None = None
    """None: as the settings have it."""
    max_messages_per_minute: int | None = None
    """To all its destinations together; None: no limit."""
    when_changed: datetime | None = None
    when_created: datetime | None = None
    is_valid: bool = True

    @property
    def exception_id(self) -> str:
        """The timed exception that made this value of the stored connector (policy/exceptions); empty: none."""
        return ""

    @property
    def rule_effects(self) -> tuple[RuleEffect, ...]:
        """The transport rules that made this value of the stored connector (policy/transport/apply)."""
        return ()

    @property
    def rule_key(self) -> str:
        """What those of them that changed something demand; empty: none did."""
        return ""


DEFAULT_CONNECTOR_NAME = "(default)"


def default_connector(
    organization: str = "default",
    *,
    retry_schedule: tuple[timedelta, ...] = DEFAULT_SCHEDULE,
    message_expiration: timedelta = DEFAULT_EXPIRATION,
) -> Connector:
    """What applies to a recipient that no connector matches: MX routing, both modes Opportunistic."""
    return Connector(
        guid="00000000-0000-0000-0000-000000000000",
        organization=organization,
        name=DEFAULT_CONNECTOR_NAME,
        retry_schedule=retry_schedule,
        message_expiration=message_expiration,
    )
