"""MTA-STS and TLS-RPT as checks: the TXT record, the policy in force and the one to be had now, each host against it."""

from __future__ import annotations

from sealroute.policy.evidence import FetchFailure, Hop, StsEvidence, StsSource
from sealroute.proto.mtasts.match import match
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus
from sealroute.proto.tlsrpt.txt import RptStatus, parse_txt
from sealroute.services.analysis.advice import FIRST_MAX_AGE_SECONDS, rpt_txt, sts_policy, sts_txt
from sealroute.services.analysis.model import Check, Publish, Seen, Status, Whose, few

BEGIN = (
    "To begin, serve the file below as text/plain at https://mta-sts.{domain}/.well-known/mta-sts.txt with a certificate of a "
    "public authority, then publish the TXT record. Read TLS reports for a while before `mode: enforce`, with a new id."
)


def sts_checks(seen: Seen) -> tuple[Check, ...]:
    """One check per policy domain; the hosts hang below it."""
    evidence = seen.plan.evidence
    checks = []
    for hop in evidence.hops:
        found = evidence.sts_for(hop.name)
        if found is not None:
            checks.append(_sts(seen, hop, found))
    return tuple(checks)


def _sts(seen: Seen, hop: Hop, found: StsEvidence) -> Check:
    title = f"MTA-STS of {found.domain}"
    children = [_txt(found), *_policy(seen, found)]
    hosts = tuple(host.name for host in hop.hosts)
    if found.policy is None:
        return _without_policy(seen, found, hosts, tuple(children))
    if found.policy.mode is not StsMode.NONE:
        children += [_host(seen, found, host, hosts) for host in hosts]
    kept = f", kept since {found.fetched_at:%Y-%m-%d %H:%M}Z" if found.source is StsSource.CACHED and found.fetched_at else ""
    ends = f", in force here until {found.expires_at:%Y-%m-%d %H:%M}Z" if found.expires_at else ""
    uncovered = sum(check.id == "sts-host" and check.status is Status.ERROR for check in children)
    missed = f"; it does not cover {uncovered} of {len(hosts)} mail hosts" if uncovered else ""
    said = f"policy in force: {found.policy.mode.value}, id {found.policy_id}{kept}{ends}{missed}"
    match found.policy.mode:
        case StsMode.ENFORCE:
            return Check("mta-sts", Status.ERROR if uncovered else Status.OK, title, said, children=tuple(children))
        case StsMode.TESTING:
            if uncovered:
                return Check("mta-sts", Status.WARNING, title, said, children=tuple(children))
            publish = (sts_policy(found.domain, StsMode.ENFORCE, found.policy.mx), sts_txt(found.domain, seen.at))
            advice = "Failures are reported and hold nothing. When reports show none, publish the policy below with a new id."
            return Check("mta-sts", Status.INFO, title, said, advice=advice, publish=publish, children=tuple(children))
        case StsMode.NONE:
            return Check("mta-sts", Status.INFO, title, f"{said}: MTA-STS is switched off", children=tuple(children))


def _without_policy(seen: Seen, found: StsEvidence, hosts: tuple[str, ...], children: tuple[Check, ...]) -> Check:
    """No policy in force: because there is none, or because it cannot be had."""
    title = f"MTA-STS of {found.domain}"
    publish: tuple[Publish, ...] = (
        sts_policy(found.domain, StsMode.TESTING, hosts, FIRST_MAX_AGE_SECONDS),
        sts_txt(found.domain, seen.at),
    )
    advice = BEGIN.replace("{domain}", found.domain)
    if not hosts:
        publish, advice = (), ""  # without a known mail host there is nothing to list
    if found.txt_parsed is not None and found.txt_parsed.status is TxtStatus.NONE:
        return Check("mta-sts", Status.INFO, title, "no policy published", advice=advice, publish=publish, children=children)
    said = "a policy is announced and none can be had: mail goes without MTA-STS, except under MtaStsMode Mandatory"
    return Check("mta-sts", Status.ERROR, title, said, children=children)


def _txt(found: StsEvidence) -> Check:
    title = f"TXT _mta-sts.{found.domain}"
    parsed = found.txt_parsed
    if found.txt is not None and found.txt.failed:
        return Check("sts-txt", Status.ERROR, title, f"{found.txt.security.value}: {found.txt.detail}",
                     advice="See that the name servers of the zone answer, and that its signatures hold.")  # fmt: skip
    if parsed is None:
        return Check("sts-txt", Status.INFO, title, "not asked: what was kept is still fresh")
    return _txt_parsed(title, parsed)


def _txt_parsed(title: str, parsed: StsTxt) -> Check:
    match parsed.status:
        case TxtStatus.OK:
            return Check("sts-txt", Status.OK, title, f"policy id {parsed.id}")
        case TxtStatus.NONE:
            return Check("sts-txt", Status.INFO, title, "none")
        case TxtStatus.INVALID:
            advice = 'Publish exactly one record of the form "v=STSv1; id=20260101T000000;".'
            return Check("sts-txt", Status.ERROR, title, f"invalid: {parsed.reason}", advice=advice)


_FETCH_ADVICE = {
    FetchFailure.FETCH_ERROR: "Serve the file at that address with status 200 as text/plain; redirects are not followed.",
    FetchFailure.WEBPKI_INVALID: "Install a certificate of a public authority that names mta-sts.{domain} on the policy host.",
    FetchFailure.POLICY_INVALID: "Correct the policy file; each line is `name: value`, as below.",
}


def _policy(seen: Seen, found: StsEvidence) -> list[Check]:
    """The policy file: the last fetch that delivery made, and one made now if delivery relied on what it had kept."""
    checks = []
    title = f"Policy https://mta-sts.{found.domain}/.well-known/mta-sts.txt"
    fresh = seen.fresh_sts if seen.fresh_sts is not None and seen.fresh_sts.domain == found.domain else found
    failure = fresh.failure or found.failure
    if fresh.policy is not None:
        facts = (*few([f"mx {pattern}" for pattern in fresh.policy.mx]), f"max_age {fresh.policy.max_age_seconds}")
        said = f"{fresh.policy.mode.value}, readable"
        if fresh.policy.mode is not StsMode.NONE and fresh.policy.max_age_seconds < FIRST_MAX_AGE_SECONDS:
            advice = f"A max_age under a day is soon forgotten: publish {FIRST_MAX_AGE_SECONDS} or more, a week to a year."
            checks.append(
                Check("sts-policy", Status.WARNING, title, f"{said}, kept for less than a day", advice=advice, facts=facts)
            )
        else:
            checks.append(Check("sts-policy", Status.OK, title, said, facts=facts))
    elif failure is not None and not (found.txt is not None and found.txt.failed):
        detail = fresh.failure_detail or found.failure_detail
        advice = _FETCH_ADVICE[failure].replace("{domain}", found.domain)
        hosts = tuple(host.name for hop in seen.plan.evidence.hops if hop.name == found.domain for host in hop.hosts)
        publish = (sts_policy(found.domain, StsMode.TESTING, hosts),) if failure is FetchFailure.POLICY_INVALID else ()
        checks.append(Check("sts-policy", Status.ERROR, title, f"{failure.value}: {detail}", advice=advice, publish=publish))
    return checks


def _host(seen: Seen, found: StsEvidence, host: str, hosts: tuple[str, ...]) -> Check:
    """One MX host against the patterns of the policy in force [RFC 8461 §4.1]."""
    assert found.policy is not None
    pattern = match(host, found.policy.mx)
    if pattern is not None:
        return Check("sts-host", Status.OK, host, f"covered by mx: {pattern}")
    said = f"not covered by any of: {', '.join(few(found.policy.mx))}"
    missing = [name for name in hosts if match(name, found.policy.mx) is None]
    policy = sts_policy(found.domain, found.policy.mode, (*found.policy.mx, *missing))
    advice = "Add the host to the policy and give the TXT record a new id. A wildcard covers exactly one label."
    return Check("sts-host", Status.ERROR, host, said, advice=advice, publish=(policy, sts_txt(found.domain, seen.at)))


def rpt_check(seen: Seen) -> Check:
    """Whether the domain wants to hear of failures."""
    title = f"TLS-RPT _smtp._tls.{seen.domain}"
    answer = seen.rpt
    if answer is None or answer.failed:
        detail = answer.detail if answer is not None else "not asked"
        return Check("tls-rpt", Status.WARNING, title, f"could not be found out: {detail}")
    judged = parse_txt(answer.records)
    publish = (rpt_txt(seen.domain),)
    match judged.status:
        case RptStatus.OK:
            return Check("tls-rpt", Status.OK, title, f"reports go to {', '.join(judged.rua)}")
        case RptStatus.NONE:
            if not seen.hosts:
                return Check("tls-rpt", Status.INFO, title, "none")
            advice = "Publish it: senders then tell you of failures before your partners do."
            return Check("tls-rpt", Status.INFO, title, "none: nobody is told of failures", advice=advice, publish=publish)
        case RptStatus.INVALID:
            advice = "Publish exactly one record, as below."
            return Check("tls-rpt", Status.ERROR, title, f"invalid: {judged.reason}", Whose.RECIPIENT, advice, publish=publish)
