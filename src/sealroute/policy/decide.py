"""decide: (connector, evidence, wishes) → Plan: for every host either a Requirement or the reason it is ruled out.

Pure.  Classifiers name the row that the evidence falls in; what a row means stands in policy/table.  The rules that hold:

* Unknown is never absent: a failed answer leads to a `...-unknown` row or to a family that is not used, never to `absent`.
* A resolver that is not trusted adds and never replaces: DANE records it shows must still hold, but nothing that only DNSSEC
  can prove counts as proven, and its failures are not blamed on the destination.
* A row is looked up under the mode in force; `wishes` may raise a mode (REQUIRETLS) or turn Opportunistic into ReportOnly
  (`TLS-Required: No`), and never lowers Mandatory.
* The strictest of each property wins: TLS, chain, name.

Elsewhere: gathering (services/gather), the handshake's judgement (policy/verdict), order and shuffling (services/deliver).
[RFC 7672 §2, RFC 8461 §4-5, RFC 8689 §4]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, assert_never

from sealroute.base.dnsdata import Answer, Outcome, Security
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Evidence, FetchFailure, Hop, HopKind, HostEvidence, StsEvidence, StsSource
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.reasons import Finding, Reason, TlsRptResult
from sealroute.policy.requirement import DaneCheck, Requirement, StsCheck
from sealroute.policy.table import DANE, STS, Cell, Then
from sealroute.proto.dane.records import classify
from sealroute.proto.mtasts.match import match
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import TxtStatus


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the message itself asks of transport security [RFC 8689]."""

    require_tls: bool = False
    tls_required_no: bool = False


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host: to be dialled under a requirement, or ruled out."""

    name: str
    preference: int
    rows: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    """IPv6 first, then IPv4, each as DNS gave them."""
    requirement: Requirement | None = None
    finding: Finding | None = None
    """Set when the host, or the whole next hop of this name, is ruled out; `requirement` is then None."""
    reported: tuple[TlsRptResult, ...] = ()
    """TLS-report results of findings made before any handshake."""
    hop: int = 0
    """Which of the next hops it belongs to: the first is 0."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The way to one recipient domain, as decided from one evidence."""

    hosts: tuple[HostPlan, ...]
    """Ascending by preference within a hop; hops in the order given."""
    rows: tuple[str, ...]
    finding: Finding | None
    """Set when there is no host at all to try: hold, or return if `finding.final`."""
    evidence: Evidence
    reported: tuple[TlsRptResult, ...] = ()
    """TLS-report results of a finding that leaves no host to try."""


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
    if host.is_literal or not _name_is_secure(hop):
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


def _name_is_secure(hop: Hop) -> bool:
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
    if _addresses_unknown(host):
        return "dane-address-unknown"
    if not tlsa_bases(hop, host):
        return "dane-insecure"
    return _tlsa_row(host)


def _addresses_unknown(host: HostEvidence) -> bool:
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


def _only_cached(evidence: StsEvidence) -> bool:
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


# ----------------------------------------------------------------------------------------------------------- decide


def decide(connector: Connector, evidence: Evidence, wishes: Wishes | None = None) -> Plan:
    """The plan for one recipient domain."""
    wishes = wishes or Wishes()
    rows: list[str] = list(connector_rows(connector))
    hosts: list[HostPlan] = []
    lost: list[HostPlan] = []
    for number, hop in enumerate(evidence.hops):
        row, finding = _hop(hop)
        rows.append(row)
        if finding is not None and _is_blind(connector, evidence, finding, wishes):
            rows.append(BLIND)
            finding = Finding(Reason.RESOLVER_CANNOT_VALIDATE, evidence.resolver_detail, domain=hop.name)
        if finding is None:
            hosts += (replace(_host(connector, evidence, hop, host, wishes), hop=number) for host in hop.hosts)
        else:
            bogus = finding.reason is Reason.DNSSEC_INVALID and dane_mode(connector, wishes) is not SmtpDaneMode.NONE
            reported = (TlsRptResult.DNSSEC_INVALID,) if bogus else ()
            lost.append(HostPlan(hop.name, 0, (), finding=finding, reported=reported, hop=number))
    rows = list(dict.fromkeys(rows))
    if hosts:
        # A smart host that cannot be looked up is recorded in its place; the others are tried.
        everything = sorted((*hosts, *lost), key=lambda host: host.hop) if lost else hosts
        return Plan(tuple(everything), tuple(rows), None, evidence)
    if lost:
        first = min(lost, key=lambda host: host.finding is None or not host.finding.security)
        return Plan((), tuple(rows), first.finding, evidence, first.reported)
    return Plan((), tuple(rows), Finding(Reason.NO_ADDRESS, "no mail host was found", domain=evidence.domain), evidence)


def connector_rows(connector: Connector) -> tuple[str, ...]:
    """The rows that the connector itself brings into every attempt."""
    return ("exception",) if connector.exception_id else ()


def _is_blind(connector: Connector, evidence: Evidence, finding: Finding, wishes: Wishes) -> bool:
    """Whether what seems wrong with the next hop may be our resolver's own fault."""
    needs_proof = finding.reason is Reason.DNSSEC_INVALID or dane_mode(connector, wishes) is SmtpDaneMode.MANDATORY
    return needs_proof and not evidence.resolver_trusted


def _hop(hop: Hop) -> tuple[str, Finding | None]:
    """The hop's row, and why it has no hosts if it has none."""
    mx = hop.mx
    if mx is not None and mx.failed:
        if mx.security is Security.BOGUS:
            return "mx-bogus", Finding(Reason.DNSSEC_INVALID, _about("MX", mx), domain=hop.name)
        return "mx-unknown", Finding(Reason.DNS_FAILED, _about("MX", mx), domain=hop.name)
    if hop.kind is HopKind.SMART_HOST:
        return "smart-host", None
    if mx is not None and mx.outcome is Outcome.NXDOMAIN:
        return "mx-nxdomain", Finding(Reason.NO_SUCH_DOMAIN, domain=hop.name)
    if mx is not None and mx.records and not any(record.host for record in mx.records):
        return "mx-null", Finding(Reason.NULL_MX, domain=hop.name)
    return ("mx-implicit" if hop.kind is HopKind.IMPLICIT_MX else "mx-found"), None


def _about(rtype: str, answer: Answer[Any]) -> str:
    return f"{rtype} {answer.name}: {answer.detail or answer.security.value}"


def _host(connector: Connector, evidence: Evidence, hop: Hop, host: HostEvidence, wishes: Wishes) -> HostPlan:
    """One host's plan: rows, then what each demands, then the strictest of all."""
    dane, sts = dane_mode(connector, wishes), sts_mode(connector, wishes)
    policy, trusted = evidence.sts_for(hop.name), evidence.resolver_trusted
    d_row = dane_row(hop, host, dane, resolver_trusted=trusted)
    s_row = sts_row(policy, host, sts)
    d_cell, s_cell = DANE[d_row].cells[dane], STS[s_row].cells[sts]
    proven = trusted and d_cell.then is Then.MUST_HOLD
    rows = [d_row, s_row]
    if not trusted and dane is not SmtpDaneMode.NONE and d_row != BLIND:
        rows.append(BLIND)
    # What an untrusted resolver says of DNSSEC is no failure of the destination's.
    reports = (DANE[d_row].reported if trusted else None, d_cell.reported, STS[s_row].reported)
    reported = tuple(item for item in reports if item is not None)
    if policy is not None and _only_cached(policy):
        rows.append("sts-cached")
    if any(answer is not None and answer.failed for answer in (host.a, host.aaaa)):
        rows.append("host-address-unknown" if _addresses_unknown(host) else "dane-address-partial")
    elif not addresses(host):
        rows.append("host-no-address")

    finding = _ruled_out(host, hop, d_row, d_cell)
    if finding is not None and not trusted and finding.reason in (Reason.DNSSEC_INVALID, Reason.RESOLVER_CANNOT_VALIDATE):
        finding = Finding(Reason.RESOLVER_CANNOT_VALIDATE, evidence.resolver_detail, host.name, hop.name)
    if finding is None and _sts_rules_out(s_cell, sts, proven=proven):
        finding = _sts_finding(s_cell, host, policy, hop)
    if finding is None and wishes.require_tls and not (proven or s_cell.then is Then.MUST_HOLD):
        rows.append("requiretls")
        reason = _requiretls_reason(s_row, trusted=trusted)
        detail = "neither DANE nor MTA-STS authenticates it"
        if reason is Reason.STS_POLICY_FETCH_ERROR and policy is not None and policy.failure_detail:
            detail = f"{detail}, as REQUIRETLS asks. {policy.failure_detail}"
        finding = Finding(reason, detail, host.name, hop.name)
    if finding is not None:
        return HostPlan(host.name, host.preference, tuple(rows), finding=finding, reported=reported)
    requirement = _requirement(connector, (hop, host, policy), (d_cell, s_cell), (dane, sts), (tuple(rows), wishes))
    return HostPlan(host.name, host.preference, requirement.rows, addresses(host), requirement, reported=reported)


def _ruled_out(host: HostEvidence, hop: Hop, row: str, cell: Cell) -> Finding | None:
    """Why the host cannot be dialled for DANE's or its addresses' sake."""
    if cell.then is Then.RULED_OUT:
        assert cell.reason is not None
        return Finding(cell.reason, dane_detail(host, hop, row), host.name, hop.name)
    if _addresses_unknown(host):
        bogus = any(answer is not None and answer.security is Security.BOGUS for answer in (host.a, host.aaaa))
        reason = Reason.DNSSEC_INVALID if bogus else Reason.DNS_FAILED
        return Finding(reason, dane_detail(host, hop, "dane-address-unknown"), host.name, hop.name)
    if not addresses(host):
        return Finding(Reason.NO_ADDRESS, f"{host.name} has neither A nor AAAA records", host.name, hop.name)
    return None


def dane_detail(host: HostEvidence, hop: Hop, row: str) -> str:
    """The precise cause behind a DANE row, in one clause."""
    match row:
        case "dane-address-unknown":
            failed = [("A", host.a), ("AAAA", host.aaaa)]
            return "; ".join(_about(rtype, answer) for rtype, answer in failed if answer is not None and answer.failed)
        case "dane-tlsa-unknown":
            failed_tlsa = [lookup.answer for lookup in host.tlsa if lookup.answer.failed]
            return _about("TLSA", failed_tlsa[0]) if failed_tlsa else f"TLSA of {host.name} was not asked for"
        case "dane-insecure":
            if hop.mx is not None and not _name_is_secure(hop):
                return f"the MX record of {hop.name} is not signed with DNSSEC"
            return f"the addresses of {host.name} are not signed with DNSSEC"
        case "dane-absent":
            return f"{host.name} publishes no TLSA record"
        case "dane-unusable":
            return f"no TLSA record of {host.name} is usable for SMTP"
        case "dane-literal":
            return f"{host.name} is an address, not a name"
        case _:
            return ""


def _sts_rules_out(cell: Cell, mode: MtaStsMode, *, proven: bool) -> bool:
    """MTA-STS alone does not hold mail that DANE will authenticate (`proven`), unless it is Mandatory [ADR 7.1]."""
    return cell.then is Then.RULED_OUT and (mode is MtaStsMode.MANDATORY or not proven)


def _sts_finding(cell: Cell, host: HostEvidence, policy: StsEvidence | None, hop: Hop) -> Finding:
    assert cell.reason is not None
    if cell.reason is Reason.STS_MX_MISMATCH:
        assert policy is not None
        assert policy.policy is not None
        return Finding(cell.reason, f"{host.name} is not among: {', '.join(policy.policy.mx)}", host.name, hop.name)
    detail = f"{host.name} is an address, not a name" if host.is_literal else ""
    if policy is not None:
        said = policy.txt_parsed.reason if policy.txt_parsed else None
        mode = f"the policy's mode is {policy.policy.mode.value}" if policy.policy else ""
        detail = policy.failure_detail or mode or said or f"{policy.domain} publishes no MTA-STS policy"
    return Finding(cell.reason, detail, host.name, hop.name)


def _requiretls_reason(s_row: str, *, trusted: bool) -> Reason:
    """Final only when it is *known* that the host cannot be authenticated; otherwise hold."""
    if s_row in ("sts-dns-unknown", "sts-fetch-error", "sts-webpki-invalid", "sts-policy-invalid"):
        return Reason.STS_POLICY_FETCH_ERROR
    return Reason.REQUIRETLS_UNSUPPORTED if trusted else Reason.RESOLVER_CANNOT_VALIDATE


def _requirement(
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
