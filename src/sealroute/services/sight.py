"""sight: one analysis → what it shows of the destination (policy/sighting).  Reads only; what it does not say is None."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sealroute.base.certs import Certificate
from sealroute.base.dnsdata import Tlsa
from sealroute.policy.evidence import Hop, HostEvidence, StsEvidence
from sealroute.policy.modes import SmtpDaneMode
from sealroute.policy.rows import dane_row
from sealroute.policy.sighting import (
    CertificateSeen,
    HostSighting,
    PolicySeen,
    Sighting,
    first_to_end,
)
from sealroute.proto.mtasts.txt import TxtStatus
from sealroute.services.analysis.model import AddressSeen, Analysis

MAX_HOSTS, MAX_RECORDS, MAX_CERTIFICATES, MAX_PATTERNS = 32, 40, 8, 40
"""So much is kept of what a peer or zone can make long."""
MAX_SHOWN_DATA = 64
"""Octets of a TLSA record that are kept as they are; of a longer one its digest is."""
MAX_REASON = 300


def sighting_of(analysis: Analysis) -> Sighting | None:
    """What the analysis shows; None when our resolver could not be believed, so that it shows nothing."""
    seen, evidence = analysis.seen, analysis.seen.plan.evidence
    if not evidence.resolver_trusted:
        return None
    signature, complete = first_to_end(seen.zones, seen.signed)
    addresses = {host.plan.name: host.addresses for host in seen.hosts}
    found = [(hop, host) for hop in evidence.hops for host in hop.hosts if not host.is_literal][:MAX_HOSTS]
    return Sighting(
        at=seen.at,
        mx=_mx(evidence.hops[0] if len(evidence.hops) == 1 else None),
        hosts=tuple(_host(hop, host, addresses.get(host.name, ()), seen.at) for hop, host in found),
        policy=_policy(evidence.sts_for(evidence.domain)),
        signature=signature,
        signatures_complete=complete,
    )


def _mx(hop: Hop | None) -> tuple[str, ...] | None:
    if hop is None or hop.mx is None or hop.mx.failed:
        return None
    return tuple(f"{record.preference} {record.host or '.'}" for record in sorted(hop.mx.records)[:MAX_HOSTS])


def _host(hop: Hop, host: HostEvidence, addresses: tuple[AddressSeen, ...], at: datetime) -> HostSighting:
    shown: dict[str, CertificateSeen] = {}
    matches, mismatch = None, ""
    for address in addresses:
        facts, verdict = address.probe.facts, address.verdict
        if facts is None or not facts.chain:
            continue
        certificate = _certificate(facts.chain[0])
        shown[certificate.fingerprint] = certificate
        dane = verdict.dane if verdict is not None else None
        if dane is None or (dane.satisfied and not dane.matched):  # DANE does not apply, or no record is usable
            continue
        if dane.satisfied:
            matches = matches is not False
        elif matches is not False:
            matches, mismatch = False, dane.detail[:MAX_REASON]
    certificates = tuple(sorted(shown.values(), key=lambda item: item.fingerprint))[:MAX_CERTIFICATES]
    tlsa = _tlsa(hop, host)
    return HostSighting(
        name=host.name,
        tlsa=tlsa,
        certificates=certificates,
        matches=matches,
        mismatch=mismatch,
        seen_at=at if tlsa is not None and certificates else None,
    )


def _certificate(octets: bytes) -> CertificateSeen:
    found = Certificate(octets)
    key = hashlib.sha256(found.spki).hexdigest() if found.spki is not None else ""
    return CertificateSeen(found.fingerprint, key, found.not_before, found.not_after)


def _tlsa(hop: Hop, host: HostEvidence) -> tuple[str, ...] | None:
    match dane_row(hop, host, SmtpDaneMode.OPPORTUNISTIC):
        case "dane-address-unknown" | "dane-tlsa-unknown":
            return None
        case "dane-usable" | "dane-unusable":
            records = {_record(item) for lookup in host.tlsa if lookup.answer.secure for item in lookup.answer.records}
            return tuple(sorted(records)[:MAX_RECORDS])
        case _:
            return ()


def _record(record: Tlsa) -> str:
    if len(record.data) <= MAX_SHOWN_DATA:
        return str(record)
    return f"{record.usage} {record.selector} {record.matching} sha256:{hashlib.sha256(record.data).hexdigest()}"


def _policy(found: StsEvidence | None) -> PolicySeen | None:
    """As published: a policy that only our cache still knows is absent, and one that could not be fetched unknown."""
    if found is None or found.failure is not None or found.txt_parsed is None:
        return None
    if found.txt_parsed.status is not TxtStatus.OK:
        return PolicySeen("absent")
    if found.policy is None:
        return None
    return PolicySeen(found.policy.mode.value, found.policy_id, found.policy.mx[:MAX_PATTERNS])
