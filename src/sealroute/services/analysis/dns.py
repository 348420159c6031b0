"""The next hop as checks: MX records, each host's addresses and aliases, its TLSA names."""

from __future__ import annotations

from sealroute.base.dnsdata import Answer, Outcome, Security
from sealroute.policy.evidence import Hop, HopKind, HostEvidence
from sealroute.services.analysis.model import Check, Seen, Status, Whose

_ABSENT = {
    (Outcome.NODATA, Security.SECURE): "none, proven by DNSSEC",
    (Outcome.NXDOMAIN, Security.SECURE): "the name does not exist, proven by DNSSEC",
    (Outcome.NODATA, Security.INSECURE): "none (unsigned zone)",
    (Outcome.NXDOMAIN, Security.INSECURE): "the name does not exist (unsigned zone)",
}


def hop_checks(seen: Seen) -> tuple[Check, ...]:
    return tuple(_hop(hop) for hop in seen.plan.evidence.hops)


def _hop(hop: Hop) -> Check:
    """One next hop: where its mail goes, and how that is known."""
    title = f"MX {hop.name}"
    mx = hop.mx
    if mx is None:
        return Check(
            "mx", Status.INFO, f"Next hop {hop.name}", "as written in the connector; no MX records asked for", Whose.OURS
        )
    if mx.failed:
        advice = "Sign the zone anew and see that its DS record fits: as long as the MX record does not validate, mail waits."
        if mx.security is Security.UNKNOWN:
            advice = "See that the name servers of the domain answer; as long as they do not, mail waits."
        return Check("mx", Status.ERROR, title, f"{mx.security.value}: {mx.detail}", advice=advice)
    if mx.outcome is Outcome.NXDOMAIN:
        said = "the domain does not exist; mail is returned"
        return Check("mx", Status.ERROR, title, said, Whose.OURS, "Check the domain for a typing mistake.")
    hosts = tuple(f"{item.preference} {item.host or '.'}" for item in mx.records)
    if mx.records and not any(item.host for item in mx.records):
        return Check("mx", Status.INFO, title, "null MX: the domain takes no mail, and mail is returned", facts=hosts)
    if hop.kind is HopKind.IMPLICIT_MX or not mx.records:
        said = f"no MX record ({mx.security.value}); mail goes to the address of {hop.name} itself"
        advice = f"Publish `{hop.name}. IN MX 10 <mail host>.` so that the way is explicit."
        return Check("mx", Status.WARNING, title, said, advice=advice)
    return Check("mx", Status.OK, title, f"{', '.join(hosts)} ({mx.security.value})")


def address_check(host: HostEvidence) -> Check:
    """One host's addresses, and the aliases on the way to them."""
    answers = [answer for answer in (host.a, host.aaaa) if answer is not None]
    facts = [line for answer in answers for line in _answer_lines(answer)]
    if host.is_literal:
        return Check("addresses", Status.INFO, "Addresses", ", ".join(host.literal_addresses), Whose.OURS)
    found = [record for answer in answers for record in answer.records]
    failed = [answer for answer in answers if answer.failed]
    if failed and not found:
        said = "; ".join(f"{answer.rtype}: {answer.detail or answer.security.value}" for answer in failed)
        advice = "Repair the zone of the host's name: its addresses cannot be found out."
        return Check("addresses", Status.ERROR, "Addresses", said, advice=advice, facts=tuple(facts))
    if not found:
        advice = f"Publish A or AAAA records for {host.name}, or take it out of the MX record."
        return Check("addresses", Status.ERROR, "Addresses", "the host has no address", advice=advice, facts=tuple(facts))
    said = ", ".join(found)
    if failed:
        said = f"{said}; {', '.join(answer.rtype for answer in failed)} could not be found out"
        advice = "Repair the family that gives no answer: it is unknown, not absent."
        return Check("addresses", Status.WARNING, "Addresses", said, advice=advice, facts=tuple(facts))
    alias = answers[0].aliases or (answers[-1].aliases if len(answers) > 1 else ())
    if alias:
        said = f"{said}; {host.name} is an alias"
        advice = (
            "An MX record should name a host that is no alias [RFC 2181 §10.3]; TLSA is looked for at the alias's end first."
        )
        return Check("addresses", Status.WARNING, "Addresses", said, advice=advice, facts=tuple(facts))
    return Check("addresses", Status.OK, "Addresses", said, facts=tuple(facts))


def _answer_lines(answer: Answer[str]) -> list[str]:
    said = ", ".join(answer.records) or _ABSENT.get((answer.outcome, answer.security), answer.detail or answer.outcome.value)
    lines = [f"{answer.rtype} {answer.security.value}: {said}"]
    return lines + [f"alias {step.owner} → {step.target} ({step.security.value})" for step in answer.aliases]
