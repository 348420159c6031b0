"""judge: (requirement, handshake facts) → Verdict: may this message go over this connection?

Pure.  Everything that applies is judged, also what cannot hold mail (testing, ReportOnly, MTA-STS under DANE), because
TLS reports and the shadow verdicts need it; then the first *enforced* failure rules the host out, in the order DANE,
MTA-STS, TlsSettings.  [RFC 7672 §2.2, RFC 8461 §4, RFC 8689 §4.2.1]

Elsewhere: matching a chain (proto/dane/verify, base/chain); what must hold (policy/decide).
"""

from __future__ import annotations

from typing import assert_never

from sealroute.base.chain import ChainOutcome, TrustRoots, verify_pkix
from sealroute.policy.reasons import Finding, Reason, TlsRptResult
from sealroute.policy.requirement import (
    CheckResult,
    DaneCheck,
    HandshakeFacts,
    Protection,
    Requirement,
    StsCheck,
    Verdict,
)
from sealroute.proto.dane.verify import DaneReason, DaneVerdict
from sealroute.proto.dane.verify import verify as verify_dane
from sealroute.proto.mtasts.policy import StsMode

_DANE_REASON = {
    DaneReason.CERTIFICATE_HOST_MISMATCH: (Reason.CERTIFICATE_HOST_MISMATCH, TlsRptResult.CERTIFICATE_HOST_MISMATCH),
    DaneReason.CERTIFICATE_EXPIRED: (Reason.CERTIFICATE_EXPIRED, TlsRptResult.CERTIFICATE_EXPIRED),
}
_DANE_OTHER = (Reason.TLSA_INVALID, TlsRptResult.VALIDATION_FAILURE)

_CHAIN_RESULT = {
    ChainOutcome.EXPIRED: ("Expired", TlsRptResult.CERTIFICATE_EXPIRED),
    ChainOutcome.NAME_MISMATCH: ("SubjectMismatch", TlsRptResult.CERTIFICATE_HOST_MISMATCH),
    ChainOutcome.NOT_TRUSTED: ("UntrustedRoot", TlsRptResult.CERTIFICATE_NOT_TRUSTED),
    ChainOutcome.NOT_YET_VALID: ("NotYetValid", TlsRptResult.VALIDATION_FAILURE),
    ChainOutcome.INVALID: ("InvalidChain", TlsRptResult.VALIDATION_FAILURE),
}
_NO_TLS = TlsRptResult.STARTTLS_NOT_SUPPORTED


def judge(requirement: Requirement, facts: HandshakeFacts, roots: TrustRoots) -> Verdict:
    """What the caller must do with this connection; `roots` are the web PKI's."""
    if not facts.encrypted:
        return _without_tls(requirement, facts)
    dane, dane_reason = _dane(requirement.dane, facts)
    sts = _sts(requirement, facts, roots)
    settings, settings_reason = _settings(requirement, facts, roots)
    finding: Finding | None = None
    if dane is not None and requirement.dane is not None and requirement.dane.enforced and not dane.satisfied:
        finding = Finding(dane_reason, dane.detail, requirement.host)
    elif sts is not None and requirement.sts is not None and requirement.sts.enforced and not sts.satisfied:
        finding = _sts_finding(requirement, requirement.sts, sts)
    elif settings is not None and not settings.satisfied:
        finding = Finding(settings_reason, settings.detail, requirement.host)
    # A match that the requirement does not count (a resolver that cannot validate) holds mail and authenticates nobody.
    counts = requirement.dane_shadow is not False
    authenticated_by_dane = dane is not None and dane.satisfied and bool(dane.matched) and counts
    authenticated_by_sts = sts is not None and sts.satisfied and _is_enforce(requirement)
    return Verdict(
        finding,
        _protection(authenticated_by_dane, authenticated_by_sts),
        dane=dane,
        sts=sts,
        tls_settings=settings,
        would_satisfy_dane=None if requirement.dane_shadow is None else authenticated_by_dane,
        would_satisfy_sts=None if requirement.sts_shadow is None else authenticated_by_sts,
    )


def _protection(by_dane: bool, by_sts: bool) -> Protection:
    return Protection.DANE if by_dane else Protection.MTA_STS if by_sts else Protection.TLS


def _is_enforce(requirement: Requirement) -> bool:
    return requirement.sts is not None and requirement.sts.mode is StsMode.ENFORCE


# ------------------------------------------------------------------------------------------------------- without TLS


def _without_tls(requirement: Requirement, facts: HandshakeFacts) -> Verdict:
    """No TLS came about: a failure of everything that was to be checked; plaintext only where nothing demands TLS."""
    why = _why_no_tls(facts)
    failed = CheckResult(False, _NO_TLS, why)
    finding: Finding | None = None
    if requirement.tls_required:
        reason = Reason.STARTTLS_NOT_SUPPORTED if _demanded_by_policy(requirement) else Reason.TLS_REQUIRED
        finding = Finding(reason, why, requirement.host)
    retry = bool(facts.handshake_error) and not requirement.tls_required
    if retry:
        finding = Finding(Reason.STARTTLS_NOT_SUPPORTED, why, requirement.host)
    has_settings = requirement.tls_required and not _demanded_by_policy(requirement)
    return Verdict(
        finding,
        Protection.PLAIN,
        dane=failed if requirement.dane is not None else None,
        sts=failed if requirement.sts is not None else None,
        tls_settings=failed if has_settings else None,
        would_satisfy_dane=None if requirement.dane_shadow is None else False,
        would_satisfy_sts=None if requirement.sts_shadow is None else False,
        retry_in_plaintext=retry,
    )


def _why_no_tls(facts: HandshakeFacts) -> str:
    if facts.handshake_error:
        return f"the TLS handshake failed: {facts.handshake_error}"
    if facts.starttls_reply is not None and not facts.starttls_reply.positive:
        return f"STARTTLS was answered {facts.starttls_reply}"
    if facts.starttls_offered:
        return "STARTTLS was not tried"
    return "STARTTLS is not offered"


def _demanded_by_policy(requirement: Requirement) -> bool:
    """DANE, MTA-STS or REQUIRETLS demands TLS, not only the connector's TlsSettings."""
    by_dane = requirement.dane is not None and requirement.dane.enforced
    by_sts = requirement.sts is not None and requirement.sts.enforced
    return by_dane or by_sts or requirement.authenticated


# ---------------------------------------------------------------------------------------------------------- with TLS


def _dane(check: DaneCheck | None, facts: HandshakeFacts) -> tuple[CheckResult | None, Reason]:
    """Satisfied with `matched` empty means: no record was usable, TLS alone was asked [RFC 7672 §2.2]."""
    if check is None:
        return None, Reason.TLSA_INVALID
    result = verify_dane(facts.chain, check.records, check.names, facts.at)
    match result.verdict:
        case DaneVerdict.MATCH:
            return CheckResult(True, matched=str(result.matched), detail=result.detail), Reason.TLSA_INVALID
        case DaneVerdict.UNUSABLE:
            return CheckResult(True, detail="no TLSA record is usable; TLS without authentication"), Reason.TLSA_INVALID
        case DaneVerdict.NO_MATCH:
            reason, report = _DANE_REASON.get(result.reason, _DANE_OTHER) if result.reason else _DANE_OTHER
            return CheckResult(False, report, result.detail), reason
        case never:
            assert_never(never)


def _sts(requirement: Requirement, facts: HandshakeFacts, roots: TrustRoots) -> CheckResult | None:
    """The policy's mx patterns, then the chain and the host's own name by the web PKI [RFC 8461 §4.1, §4.2]."""
    check = requirement.sts
    if check is None:
        return None
    if not check.mx_matches:
        return CheckResult(False, TlsRptResult.VALIDATION_FAILURE, f"the host is not in the policy of {check.domain}")
    result = verify_pkix(facts.chain, roots, facts.at, (requirement.host,))
    if result.ok:
        return CheckResult(True, matched=result.name.name if result.name else "")
    status, report = _CHAIN_RESULT[result.outcome]
    return CheckResult(False, report, f"{status}: {result.detail}")


def _sts_finding(requirement: Requirement, check: StsCheck, result: CheckResult) -> Finding:
    reason = Reason.STS_CERTIFICATE if check.mx_matches else Reason.STS_MX_MISMATCH
    return Finding(reason, result.detail, requirement.host, check.domain)


def _settings(requirement: Requirement, facts: HandshakeFacts, roots: TrustRoots) -> tuple[CheckResult | None, Reason]:
    """The connector's own TlsSettings: the chain, and the certificate naming TlsDomain."""
    if not requirement.chain:
        return None, Reason.TLS_CERTIFICATE
    result = verify_pkix(facts.chain, roots, facts.at, requirement.certificate_names)
    if result.ok:
        return CheckResult(True, matched=result.name.presented if result.name else ""), Reason.TLS_CERTIFICATE
    status, report = _CHAIN_RESULT[result.outcome]
    if result.outcome is ChainOutcome.NAME_MISMATCH:
        return CheckResult(False, report, result.detail), Reason.TLS_DOMAIN_MISMATCH
    return CheckResult(False, report, f"{status}: {result.detail}"), Reason.TLS_CERTIFICATE
