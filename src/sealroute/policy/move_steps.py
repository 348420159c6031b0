"""What each step of a move makes of the connector: pure, from one connector value to the next.

Never weaker than asked: a mode that is stricter already stays.  TlsDomain goes with the smart hosts it was for; from then on
DANE, or the policy, names the server.
"""

from __future__ import annotations

from dataclasses import replace

from sealroute.policy.connector import Connector
from sealroute.policy.connector_rules import MAX_NAME_CHARACTERS
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.readiness import Mechanism

KEPT = " (pinned)"
"""What the name of a kept connector ends in."""
_DANE, _STS = tuple(SmtpDaneMode), tuple(MtaStsMode)
_CHECKED = (TlsSettings.DOMAIN_VALIDATION, TlsSettings.CERTIFICATE_VALIDATION)


def routed_by_mx(connector: Connector, mechanism: Mechanism) -> Connector:
    """By MX, both modes at least Opportunistic."""
    settings = connector.tls_settings
    if settings in _CHECKED:
        # A policy's host has a certificate of the web PKI; one that DANE names need not.
        settings = TlsSettings.ENCRYPTION_ONLY if mechanism is Mechanism.DANE else TlsSettings.CERTIFICATE_VALIDATION
    return replace(
        connector,
        use_mx_record=True,
        smart_hosts=(),
        tls_settings=settings,
        tls_domain=None,
        smtp_dane_mode=max(connector.smtp_dane_mode, SmtpDaneMode.OPPORTUNISTIC, key=_DANE.index),
        mta_sts_mode=max(connector.mta_sts_mode, MtaStsMode.OPPORTUNISTIC, key=_STS.index),
    )


def demanding(connector: Connector, mechanism: Mechanism) -> Connector:
    """The same, with the mode Mandatory."""
    if mechanism is Mechanism.DANE:
        return replace(connector, smtp_dane_mode=SmtpDaneMode.MANDATORY)
    return replace(connector, mta_sts_mode=MtaStsMode.MANDATORY)


def kept(connector: Connector, guid: str) -> Connector:
    """The fallback: everything as it is, under another name and GUID, disabled."""
    name = connector.name[: MAX_NAME_CHARACTERS - len(KEPT)].rstrip() + KEPT
    return replace(connector, guid=guid, name=name, enabled=False)


def back(connector: Connector, fallback: Connector, before: Connector) -> Connector:
    """The moved connector as the fallback has it; its own identity and name, and enabled as it once was."""
    return replace(
        fallback,
        guid=connector.guid,
        name=connector.name,
        enabled=before.enabled,
        when_created=connector.when_created,
        when_changed=connector.when_changed,
    )
