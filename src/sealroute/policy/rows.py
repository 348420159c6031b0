"""rows: which modes are in force for a message, what may be asked of DNS, and the row of the table that the evidence falls in.

Pure.  What a row means stands in policy/table.  The rules that hold:

* Unknown is never absent: a failed answer leads to a `...-unknown` row or to a family that is not used, never to `absent`.
* `wishes` may raise a mode (REQUIRETLS) or turn Opportunistic into ReportOnly (`TLS-Required: No`), and never lowers Mandatory.

[RFC 7672 §2, RFC 8461 §4-5, RFC 8689 §4]
"""

from __future__ import annotations

from typing import assert_never

from sealroute.base.dnsdata import Security
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import FetchFailure, Hop, HopKind, HostEvidence, StsEvidence, StsSource
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.proto.dane.records import classify
from sealroute.proto.mtasts.match import match
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import TxtStatus

BLIND = "resolver-cannot-validate"
"""The row of a resolver that failed its canaries."""

# ------------------------------------------------------------------------------------------------------------ modes


def dane_mode(connector: Connector, wishes: Wishes) -> SmtpDaneMode:
    """The DANE mode in force for a message."""
    mode = connector.smtp_dane_mode
    if wishes.require_tls and mode in (SmtpDaneMode.NONE, SmtpDaneMode.REPORT_ONLY):
        return SmtpDaneMode.OPPORTUNISTIC
    if wishes.tls_required_no and not wishes.require_tls and mode is SmtpDaneMode.OPPORTUNISTIC:
        return SmtpDaneMode.REPORT_ONLY
    return mode


def sts_mode(connector: Connector, wishes: Wishes) -> MtaStsMode:
    """The MTA-STS mode in force for a message."""
    mode = connector.mta_sts_mode
    if wishes.require_tls and mode in (MtaStsMode.NONE, MtaStsMode.REPORT_ONLY):
        return MtaStsMode.OPPORTUNISTIC
    if wishes.tls_required_no and not wishes.require_tls and mode is MtaStsMode.OPPORTUNISTIC:
        return MtaStsMode.REPORT_ONLY
    return mode


# ------------------------------------------------------------------------------------------- what to ask, and of whom


def tlsa_bases(hop: Hop, host: HostEvidence) -> tuple[str, ...]:
    """The TLSA base names to ask for, in order; empty when DANE cannot apply and asking would be a mistake.

    [RFC 7672 §2.2.1] the MX answer must be secure; [§2.2.2] an alias all of whose steps are secure: expanded name, then
    original; an alias that turns insecure after a secure first step: original only.
    """
    if host.is_literal or not name_is_secure(hop):
        return ()
    known = [answer for answer in (host.a, host.aaaa) if answer is not None and not answer.failed]
    if not known:
        return ()
    with_data = [answer for answer in known if answer.records] or known
    secure = all(answer.secure for answer in with_data)
    aliases = with_data[0].aliases
    if not aliases:
        return (host.name,) if secure else ()
    if secure and all(step.security is Security.SECURE for step in aliases):
        return (aliases[-1].target, host.name)
    return (host.name,) if aliases[0].security is Security.SECURE else ()


def name_is_secure(hop: Hop) -> bool:
    """Whether the host's *name* is authentic: from a secure MX answer, a secure denial, or the operator's own hand."""
    if hop.mx is None or (hop.kind is HopKind.SMART_HOST and hop.mx.absent):
        return True
    return hop.mx.secure


def addresses(host: HostEvidence) -> tuple[str, ...]:
    """The host's addresses, IPv6 first; a failed family has none."""
    if host.is_literal:
        return host.literal_addresses
    return tuple(address for answer in (host.aaaa, host.a) if answer is not None for address in answer.records)


# ------------------------------------------------------------------------------------------------------ classifiers


def dane_row(hop: Hop, host: HostEvidence, mode: SmtpDaneMode, *, resolver_trusted: bool = True) -> str:
    """The DANE row this host falls in."""
    if mode is SmtpDaneMode.NONE:
        return "dane-off"
    if mode is SmtpDaneMode.MANDATORY and not resolver_trusted:
        return BLIND
    if host.is_literal:
        return "dane-literal"
    if addresses_unknown(host):
        return "dane-address-unknown"
    if not tlsa_bases(hop, host):
        return "dane-insecure"
    return _tlsa_row(host)


def addresses_unknown(host: HostEvidence) -> bool:
    """No family gave an address, and at least one did not say that it has none.

    A BOGUS family beside an insecure one is a contradiction (the zone cannot be both signed and not): nothing is used.
    """
    answers = [answer for answer in (host.a, host.aaaa) if answer is not None]
    if any(answer.security is Security.BOGUS for answer in answers) and not any(
        answer.secure and answer.records for answer in answers
    ):
        return True
    return any(answer.failed for answer in answers) and not any(answer.records for answer in answers)


def _tlsa_row(host: HostEvidence) -> str:
    for lookup in host.tlsa:
        if lookup.answer.failed:
            return "dane-tlsa-unknown"
        if lookup.answer.secure and lookup.answer.records:
            return "dane-usable" if classify(lookup.answer.records).usable else "dane-unusable"
    asked = {lookup.base for lookup in host.tlsa}
    # Never asked is not absent: evidence without the look-ups it needs proves nothing.
    return "dane-absent" if asked else "dane-tlsa-unknown"


def sts_row(evidence: StsEvidence | None, host: HostEvidence, mode: MtaStsMode) -> str:
    """The MTA-STS row this host falls in."""
    if mode is MtaStsMode.NONE:
        return "sts-off"
    if host.is_literal:
        return "sts-literal"
    if evidence is None:
        return "sts-dns-unknown"
    if evidence.policy is not None:
        match evidence.policy.mode:
            case StsMode.ENFORCE:
                return "sts-enforce" if match_host(host.name, evidence.policy.mx) else "sts-enforce-mismatch"
            case StsMode.TESTING:
                return "sts-testing"
            case StsMode.NONE:
                return "sts-none"
            case never:
                assert_never(never)
    return _no_policy_row(evidence)


def match_host(host: str, patterns: tuple[str, ...]) -> bool:
    return match(host, patterns) is not None


def only_cached(evidence: StsEvidence) -> bool:
    """Whether the policy in force is there only because it was kept: TXT is gone or invalid, or the fetch failed."""
    txt = evidence.txt_parsed
    failed = evidence.failure is not None or (txt is not None and txt.status is not TxtStatus.OK)
    return evidence.source is StsSource.CACHED and failed


def _no_policy_row(evidence: StsEvidence) -> str:
    if evidence.failure is FetchFailure.POLICY_INVALID:
        return "sts-policy-invalid"
    if evidence.failure is FetchFailure.WEBPKI_INVALID:
        return "sts-webpki-invalid"
    if evidence.failure is FetchFailure.FETCH_ERROR and evidence.txt is not None and not evidence.txt.failed:
        return "sts-fetch-error"
    if evidence.txt_parsed is None or (evidence.txt is not None and evidence.txt.failed):
        return "sts-dns-unknown"
    if evidence.txt_parsed.status is TxtStatus.NONE:
        return "sts-absent"
    if evidence.txt_parsed.status is TxtStatus.INVALID:
        return "sts-txt-invalid"
    return "sts-fetch-error"
