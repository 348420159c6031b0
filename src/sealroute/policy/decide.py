"""decide: (connector, evidence, wishes) → Plan: for every host either a Requirement or the reason it is ruled out.

Pure.  policy/rows names the rows that the evidence falls in, policy/table says what a row means, policy/require makes one
Requirement of it.  The rules that hold:

* A resolver that is not trusted adds and never replaces: DANE records it shows must still hold, but nothing that only DNSSEC
  can prove counts as proven, and its failures are not blamed on the destination.
* A row is looked up under the mode in force.

Elsewhere: gathering (services/gather), the handshake's judgement (policy/verdict), order and shuffling (services/deliver).
[RFC 7672 §2, RFC 8461 §4-5, RFC 8689 §4]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sealroute.base.dnsdata import Answer, Outcome, Security
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Evidence, Hop, HopKind, HostEvidence, StsEvidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.policy.reasons import Finding, Reason, TlsRptResult
from sealroute.policy.require import requirement
from sealroute.policy.requirement import Requirement
from sealroute.policy.rows import (
    BLIND,
    addresses,
    addresses_unknown,
    dane_mode,
    dane_row,
    name_is_secure,
    only_cached,
    sts_mode,
    sts_row,
)
from sealroute.policy.table import DANE, STS, Cell, Then


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
    rows = ("exception",) if connector.exception_id else ()
    return (*rows, "transport-rule") if connector.rule_key else rows


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
    if policy is not None and only_cached(policy):
        rows.append("sts-cached")
    if any(answer is not None and answer.failed for answer in (host.a, host.aaaa)):
        rows.append("host-address-unknown" if addresses_unknown(host) else "dane-address-partial")
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
    must_hold = requirement(connector, (hop, host, policy), (d_cell, s_cell), (dane, sts), (tuple(rows), wishes))
    return HostPlan(host.name, host.preference, must_hold.rows, addresses(host), must_hold, reported=reported)


def _ruled_out(host: HostEvidence, hop: Hop, row: str, cell: Cell) -> Finding | None:
    """Why the host cannot be dialled for DANE's or its addresses' sake."""
    if cell.then is Then.RULED_OUT:
        assert cell.reason is not None
        return Finding(cell.reason, dane_detail(host, hop, row), host.name, hop.name)
    if addresses_unknown(host):
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
            if hop.mx is not None and not name_is_secure(hop):
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
