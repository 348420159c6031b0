"""require: what must hold for a host that was not ruled out, from the cells of its rows.

Pure.  The strictest of each property wins: TLS, chain, name.
"""

from __future__ import annotations

from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Hop, HostEvidence, StsEvidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings, Wishes
from sealroute.policy.requirement import DaneCheck, Requirement, StsCheck
from sealroute.policy.rows import BLIND, match_host
from sealroute.policy.table import Cell, Then
from sealroute.proto.mtasts.policy import StsMode


def requirement(
    connector: Connector,
    where: tuple[Hop, HostEvidence, StsEvidence | None],
    cells: tuple[Cell, Cell],
    modes: tuple[SmtpDaneMode, MtaStsMode],
    why: tuple[tuple[str, ...], Wishes],
) -> Requirement:
    """All that must hold for a host that was not ruled out."""
    hop, host, policy = where
    (d_cell, s_cell), (d_mode, s_mode), (found, wishes) = cells, modes, why
    rows = list(found)
    dane = _dane_check(hop, host, d_cell)
    overrules = d_cell.then is Then.MUST_HOLD and BLIND not in found and s_mode is not MtaStsMode.MANDATORY
    sts = _sts_check(host, policy, s_cell, overruled=overrules)
    if overrules and sts is not None:
        rows.append("dane-over-sts")
    settings = connector.tls_settings
    if settings is not None:
        rows.append("tls-settings")
    if wishes.require_tls:
        rows.append("requiretls")
    elif wishes.tls_required_no and (d_mode, s_mode) != (connector.smtp_dane_mode, connector.mta_sts_mode):
        rows.append("tls-required-no")
    tls_required = (
        settings is not None
        or d_cell.then in (Then.TLS, Then.MUST_HOLD)
        or (sts is not None and sts.enforced)
        or wishes.require_tls
    )
    if not tls_required:
        rows.append("opportunistic-tls")
    return Requirement(
        host=host.name,
        rows=tuple(rows),
        tls_required=tls_required,
        sni=None if host.is_literal else (dane.base if dane else host.name),
        dane=dane,
        sts=sts,
        chain=settings in (TlsSettings.CERTIFICATE_VALIDATION, TlsSettings.DOMAIN_VALIDATION),
        certificate_names=(connector.tls_domain,) if settings is TlsSettings.DOMAIN_VALIDATION and connector.tls_domain else (),
        authenticated=wishes.require_tls,
        dane_shadow=None if d_mode is SmtpDaneMode.NONE else "dane-usable" in found and BLIND not in found,
        sts_shadow=None if s_mode is MtaStsMode.NONE else "sts-enforce" in found,
        exception=connector.exception_id,
        transport_rules=tuple(effect.identity for effect in connector.rule_effects if not effect.audit),
    )


def _dane_check(hop: Hop, host: HostEvidence, cell: Cell) -> DaneCheck | None:
    """The TLSA set to hold the handshake against; None when DANE asks nothing."""
    if cell.then not in (Then.MUST_HOLD, Then.TLS, Then.OBSERVE):
        return None
    lookup = next(item for item in host.tlsa if item.answer.secure and item.answer.records)
    # Base name first, then the next-hop domain and the host's own name [RFC 7672 §3.2.2].
    names = tuple(dict.fromkeys((lookup.base, hop.name, host.name)))
    return DaneCheck(lookup.base, lookup.answer.records, names, enforced=cell.then is not Then.OBSERVE)


def _sts_check(host: HostEvidence, policy: StsEvidence | None, cell: Cell, *, overruled: bool) -> StsCheck | None:
    """The policy to hold the handshake against; `overruled` when DANE decides and MTA-STS is only judged."""
    if policy is None or policy.policy is None or policy.policy.mode is StsMode.NONE or cell.then is Then.NOTHING:
        return None
    enforced = cell.then is Then.MUST_HOLD and not overruled
    matches = match_host(host.name, policy.policy.mx)
    return StsCheck(policy.domain, policy.policy.mode, policy.policy_id, matches, enforced)
