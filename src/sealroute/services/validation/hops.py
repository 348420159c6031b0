"""The tasks before any connection: next hops, their DNSSEC state, MTA-STS, and each host up to its requirement.

Read off the plan that delivery made (policy/decide): a task fails exactly where the plan's own finding belongs.
"""

from __future__ import annotations

from sealroute.base.dnsdata import Answer, Security
from sealroute.policy.decide import HostPlan, Plan
from sealroute.policy.evidence import Hop, HopKind, HostEvidence, StsSource
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import Requirement
from sealroute.policy.table import DANE, STS
from sealroute.services.validation.model import Task, TaskName, TaskStatus

MAX_SHOWN = 8
"""Records of one answer that a detail spells out."""
_N, _S = TaskName, TaskStatus
_STEP = {
    Reason.NO_SUCH_DOMAIN: _N.NEXT_HOPS,
    Reason.NULL_MX: _N.NEXT_HOPS,
    Reason.NO_ADDRESS: _N.ADDRESSES,
    Reason.DNS_FAILED: _N.ADDRESSES,
    Reason.STS_REQUIRED: _N.STS_POLICY,
    Reason.STS_POLICY_FETCH_ERROR: _N.STS_POLICY,
    Reason.STS_MX_MISMATCH: _N.STS_HOST,
}
_ADDRESS_ROWS = ("dane-address-unknown", "host-address-unknown")


def host_step(host: HostPlan) -> TaskName | None:
    """The task at which a host was ruled out before any connection; None when it was not."""
    if host.finding is None:
        return None
    if host.finding.reason is Reason.DNSSEC_INVALID:
        return _N.ADDRESSES if any(row in _ADDRESS_ROWS for row in host.rows) else _N.TLSA
    return _STEP.get(host.finding.reason, _N.REQUIREMENT)


def without_plan(domain: str, finding: Finding) -> Task:
    """Nothing could be planned at all: a stored policy that cannot be read, for one."""
    name = _STEP.get(finding.reason, _N.REQUIREMENT)
    return Task(name, domain, domain, _S.FAILED, finding.words(), finding)


def hop_tasks(plan: Plan, number: int) -> list[Task]:
    """What concerns one next hop as a whole."""
    hop, domain = plan.evidence.hops[number], plan.evidence.domain
    lost = lost_hop(plan, number)
    tasks = [_next_hops(hop, domain, lost), _dnssec(hop, domain, lost)]
    return tasks if lost is not None else [*tasks, _sts_policy(plan, number)]


def lost_hop(plan: Plan, number: int) -> Finding | None:
    """Why a next hop has no hosts at all."""
    hop = plan.evidence.hops[number]
    if plan.finding is not None:
        return plan.finding if plan.finding.domain == hop.name or len(plan.evidence.hops) == 1 else None
    return next((item.finding for item in plan.hosts if item.hop == number and item.name == hop.name and not item.rows), None)


def _next_hops(hop: Hop, domain: str, lost: Finding | None) -> Task:
    if lost is not None:
        if _is_dnssec(lost):
            return Task(_N.NEXT_HOPS, domain, hop.name, _S.NOT_APPLICABLE, "the answer cannot be believed")
        return Task(_N.NEXT_HOPS, domain, hop.name, _S.FAILED, lost.words(), lost)
    hosts = ", ".join(f"{host.preference} {host.name}" if host.from_mx else host.name for host in hop.hosts[:MAX_SHOWN])
    if len(hop.hosts) > MAX_SHOWN:
        hosts += f", and {len(hop.hosts) - MAX_SHOWN} more"
    if hop.mx is None:
        return Task(_N.NEXT_HOPS, domain, hop.name, _S.NOT_APPLICABLE, "smart host; no MX record is asked for")
    if hop.kind is HopKind.SMART_HOST:
        return Task(_N.NEXT_HOPS, domain, hop.name, _S.SUCCEEDED, f"smart host: {hosts}")
    if hop.kind is HopKind.IMPLICIT_MX:
        return Task(_N.NEXT_HOPS, domain, hop.name, _S.SUCCEEDED, "no MX record: the domain itself is the host")
    return Task(_N.NEXT_HOPS, domain, hop.name, _S.SUCCEEDED, hosts)


def _dnssec(hop: Hop, domain: str, lost: Finding | None) -> Task:
    if lost is not None:
        if _is_dnssec(lost):
            return Task(_N.DNSSEC, domain, hop.name, _S.FAILED, lost.words(), lost)
        return Task(_N.DNSSEC, domain, hop.name, _S.NOT_APPLICABLE, "there is no next hop")
    if hop.mx is None:
        return Task(_N.DNSSEC, domain, hop.name, _S.NOT_APPLICABLE, "the connector names the host")
    if hop.mx.secure:
        return Task(_N.DNSSEC, domain, hop.name, _S.SUCCEEDED, "the MX answer is signed and validates")
    return Task(_N.DNSSEC, domain, hop.name, _S.NOT_APPLICABLE, "the MX answer is not signed: DANE cannot apply")


def _is_dnssec(finding: Finding) -> bool:
    return finding.reason in (Reason.DNSSEC_INVALID, Reason.RESOLVER_CANNOT_VALIDATE)


def _sts_policy(plan: Plan, number: int) -> Task:
    hop, domain = plan.evidence.hops[number], plan.evidence.domain
    hosts = [host for host in plan.hosts if host.hop == number]
    failed = next((host.finding for host in hosts if host_step(host) is _N.STS_POLICY), None)
    if failed is not None:
        return Task(_N.STS_POLICY, domain, hop.name, _S.FAILED, failed.words(), failed)
    found = plan.evidence.sts_for(hop.name)
    row = next((row for host in hosts for row in host.rows if row in STS), "")
    if found is None or found.policy is None:
        return Task(_N.STS_POLICY, domain, hop.name, _S.NOT_APPLICABLE, STS[row].finding if row else "not looked at")
    kept = ", kept from before" if found.source is StsSource.CACHED else ""
    said = f"{found.policy.mode.value}, id {found.policy_id}{kept}; mx {', '.join(found.policy.mx[:MAX_SHOWN])}"
    return Task(_N.STS_POLICY, domain, hop.name, _S.SUCCEEDED, said)


# ------------------------------------------------------------------------------------------------------------ hosts


def host_tasks(plan: Plan, host: HostPlan) -> list[Task]:
    """What concerns one host before it is dialled."""
    evidence = next((item for item in plan.evidence.hops[host.hop].hosts if item.name == host.name), None)
    if evidence is None:
        return []
    failed, domain = host_step(host), plan.evidence.domain
    readings = {
        _N.ADDRESSES: _addresses(evidence),
        _N.TLSA: _tlsa(host, evidence, plan.evidence.port),
        _N.STS_HOST: _sts_host(host),
        _N.REQUIREMENT: _requirement(host),
    }
    tasks = []
    for name, (status, detail) in readings.items():
        if name is failed and host.finding is not None:
            tasks.append(Task(name, domain, host.name, _S.FAILED, host.finding.words(), host.finding))
        else:
            tasks.append(Task(name, domain, host.name, status, detail))
    return tasks


def _addresses(host: HostEvidence) -> tuple[TaskStatus, str]:
    if host.is_literal:
        return _S.NOT_APPLICABLE, "an address, not a name"
    answers = [answer for answer in (host.aaaa, host.a) if answer is not None]
    said = "; ".join(filter(None, map(_address_line, answers)))
    known = any(answer.records for answer in answers)
    return (_S.SUCCEEDED, said) if known else (_S.NOT_APPLICABLE, said or "not asked for")


def _address_line(answer: Answer[str]) -> str:
    if answer.failed:
        return f"{answer.rtype} could not be found out: {answer.detail or answer.security.value}"
    shown = ", ".join(answer.records[:MAX_SHOWN])
    more = f" and {len(answer.records) - MAX_SHOWN} more" if len(answer.records) > MAX_SHOWN else ""
    alias = f" by way of {answer.aliases[-1].target}" if answer.aliases else ""
    return f"{shown}{more}{alias} ({_SIGNED[answer.security]})" if shown else ""


_SIGNED = {
    Security.SECURE: "signed",
    Security.INSECURE: "not signed",
    Security.BOGUS: "bogus",
    Security.UNKNOWN: "unknown",
}


def _tlsa(host: HostPlan, evidence: HostEvidence, port: int) -> tuple[TaskStatus, str]:
    row = next((row for row in host.rows if row in DANE), "")
    found = next((item for item in evidence.tlsa if item.answer.secure and item.answer.records), None)
    if found is None:
        return _S.NOT_APPLICABLE, DANE[row].finding if row else "not looked at"
    records = [shortened(str(record)) for record in found.answer.records[:MAX_SHOWN]]
    more = f", and {len(found.answer.records) - MAX_SHOWN} more" if len(found.answer.records) > MAX_SHOWN else ""
    return _S.SUCCEEDED, f"_{port}._tcp.{found.base}: {', '.join(records)}{more} (signed)"


def shortened(record: str) -> str:
    """A TLSA record with the middle of its digest left out."""
    return record if len(record) <= 26 else f"{record[:18]}…{record[-6:]}"


def _sts_host(host: HostPlan) -> tuple[TaskStatus, str]:
    check = host.requirement.sts if host.requirement else None
    if check is None:
        return _S.NOT_APPLICABLE, "no MTA-STS policy applies"
    if check.mx_matches:
        return _S.SUCCEEDED, f"the policy of {check.domain} names it"
    return _S.NOT_APPLICABLE, f"the policy of {check.domain} does not name it; not enforced"


def _requirement(host: HostPlan) -> tuple[TaskStatus, str]:
    if host.requirement is None:
        return _S.NOT_APPLICABLE, f"the host is ruled out ({', '.join(host.rows)})"
    return _S.SUCCEEDED, f"{demanded(host.requirement)} ({', '.join(host.requirement.rows)})"


def demanded(need: Requirement) -> str:
    """What must hold, in words."""
    if not need.tls_required:
        return "nothing: TLS if it is offered"
    parts = ["TLS"]
    if need.dane is not None and need.dane.enforced:
        parts.append(f"a certificate that the TLSA records of {need.dane.base} name")
    if need.sts is not None and need.sts.enforced:
        parts.append(f"a certificate of a public authority for {need.host}")
    if need.certificate_names:
        parts.append(f"a certificate for {', '.join(need.certificate_names)}")
    elif need.chain:
        parts.append("a certificate that leads to a trusted root")
    return ", ".join(parts)
