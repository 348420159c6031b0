"""One mail host as checks: addresses, TLSA names and records, and what each address showed.

Requirement and verdict come from the plan under which everything is looked at; which record matches which certificate is asked
of proto/dane/verify, the function that delivery's judge uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealroute.base.chain import TrustRoots
from sealroute.base.dnsdata import Tlsa
from sealroute.policy.decide import HostPlan
from sealroute.policy.evidence import Hop, HostEvidence, TlsaLookup
from sealroute.policy.requirement import HandshakeFacts
from sealroute.policy.table import DANE, TOGETHER_ROWS
from sealroute.proto.dane.records import classify
from sealroute.proto.dane.verify import DaneResult, DaneVerdict, RecordResult, verify
from sealroute.services.analysis.advice import NEXT_KEY
from sealroute.services.analysis.advice import tlsa as tlsa_record
from sealroute.services.analysis.dns import address_check
from sealroute.services.analysis.model import MAX_SHOWN, Check, HostSeen, Seen, Status, Whose
from sealroute.services.analysis.servers import server_check, servers_of

_TOGETHER = frozenset(row.name for row in TOGETHER_ROWS)
"""Rows that hang on the modes, and here nothing is enforced."""


@dataclass(frozen=True, slots=True)
class _Host:
    """A host with everything known of it."""

    seen: Seen
    host: HostSeen
    hop: Hop
    evidence: HostEvidence

    @property
    def facts(self) -> HandshakeFacts | None:
        """The first handshake that came about."""
        found = (item.probe.facts for item in self.host.addresses)
        return next((facts for facts in found if facts is not None and facts.chain), None)

    @property
    def row(self) -> str:
        """The row of the decision table that its DNS falls in."""
        return next((row for row in self.host.plan.rows if row in DANE), "")


def host_checks(seen: Seen, roots: TrustRoots) -> tuple[Check, ...]:
    return tuple(_host(seen, host, roots) for host in seen.hosts)


def _host(seen: Seen, host: HostSeen, roots: TrustRoots) -> Check:
    known = _find(seen, host.plan)
    if known is None:
        said = host.plan.finding.words() if host.plan.finding else "nothing is known of it"
        return Check("host", Status.ERROR, f"Host {host.plan.name}", said)
    hop, evidence = known
    item = _Host(seen, host, hop, evidence)
    children = [address_check(evidence), _tlsa(item)]
    children += [server_check(seen, server, roots) for server in servers_of(host)]
    children += [_skipped(ip, finding.words()) for ip, finding in host.skipped]
    title = f"Host {evidence.name}" + (f", preference {evidence.preference}" if evidence.from_mx else "")
    rows = f"rows of the decision table: {', '.join(row for row in host.plan.rows if row not in _TOGETHER)}"
    return Check("host", _worst(children), title, facts=(rows,), children=tuple(children))


def _skipped(ip: str, why: str) -> Check:
    return Check(
        "server", Status.ERROR, f"Server {ip}", why, Whose.OURS, "Set delivery.allow_private_destinations if it is meant."
    )


def _find(seen: Seen, plan: HostPlan) -> tuple[Hop, HostEvidence] | None:
    hops = seen.plan.evidence.hops
    if plan.hop >= len(hops):
        return None
    hop = hops[plan.hop]
    found = next((host for host in hop.hosts if host.name == plan.name), None)
    return (hop, found) if found is not None else None


def _worst(children: Sequence[Check]) -> Status:
    order = (Status.INFO, Status.OK, Status.WARNING, Status.ERROR)
    return max((child.worst for child in children), key=order.index, default=Status.INFO)


# --------------------------------------------------------------------------------------------------------------- TLSA


def _tlsa(item: _Host) -> Check:
    """The TLSA records of a host, and what the certificate makes of them."""
    port, lookups = item.seen.plan.evidence.port, item.evidence.tlsa
    facts = tuple(_lookup_line(port, lookup) for lookup in lookups)
    base = lookups[0].base if lookups else item.evidence.name
    presented = item.facts
    publish = (tlsa_record(base, port, presented.chain),) if presented is not None else ()
    match item.row:
        case "dane-usable" | "dane-unusable" | "resolver-cannot-validate":
            lookup = next((one for one in lookups if one.answer.records), None)
            if lookup is not None:
                return _records(item, lookup, facts)
            return Check("tlsa", Status.INFO, "TLSA", "none found, and our resolver proves nothing", facts=facts)
        case "dane-absent":
            said = f"none published for {item.evidence.name}: mail is not protected by DANE"
            advice = f"Publish the record below for the key in use. {NEXT_KEY}"
            return Check("tlsa", Status.INFO, "TLSA", said, advice=advice if publish else "", publish=publish, facts=facts)
        case "dane-tlsa-unknown":
            failed = next((one.answer for one in lookups if one.answer.failed), None)
            said = f"could not be found out, so mail waits: {failed.detail if failed else 'not asked'}"
            advice = (
                f"See that every name server of the zone answers TLSA questions for _{port}._tcp.{base} correctly: with the "
                "records, or with a signed denial. SERVFAIL, a time-out or a broken signature holds mail."
            )
            return Check("tlsa", Status.ERROR, "TLSA", said, advice=advice, facts=facts)
        case "dane-insecure":
            said = "not asked for: the MX record or the host's addresses are not signed"
            advice = "With the zones of the domain and of the host signed, the record below would protect its mail."
            return Check("tlsa", Status.INFO, "TLSA", said, advice=advice if publish else "", publish=publish)
        case "dane-literal":
            return Check("tlsa", Status.INFO, "TLSA", "an address has no TLSA records")
        case _:
            return Check("tlsa", Status.INFO, "TLSA", "not asked for: the host's addresses are not known", facts=facts)


def _records(item: _Host, lookup: TlsaLookup, facts: tuple[str, ...]) -> Check:
    """A record set against the certificates that the host's addresses present."""
    records = lookup.answer.records
    port = item.seen.plan.evidence.port
    unusable = dict(classify(records).unusable)
    chains = {
        seen.probe.facts.chain: seen.probe.facts for seen in item.host.addresses if seen.probe.facts and seen.probe.facts.chain
    }
    names = tuple(dict.fromkeys((lookup.base, item.hop.name, item.evidence.name)))
    results = [verify(chain, records, names, facts_.at) for chain, facts_ in chains.items()]
    children = tuple(
        _record(record, [_of(result, index) for result in results], unusable)
        for index, record in enumerate(records[:MAX_SHOWN])
    )
    if not results:
        said = f"{_count(records)} at _{port}._tcp.{lookup.base}, but no certificate was seen to hold against"
        return Check("tlsa", Status.WARNING, "TLSA", said, facts=facts, children=children)
    bad = next((result for result in results if result.verdict is DaneVerdict.NO_MATCH), None)
    chain = next(chain for chain, result in zip(chains, results, strict=True) if result is (bad or results[0]))
    publish = (tlsa_record(lookup.base, port, chain),)
    if bad is not None:
        advice = (
            "Publish the record below for the key in use, beside the old ones until their TTL has passed; or install the "
            f"certificate that the published records name. {NEXT_KEY}"
        )
        return Check("tlsa", Status.ERROR, "TLSA", f"no match: {bad.detail}", advice=advice, publish=publish, facts=facts,
                     children=children)  # fmt: skip
    if results[0].verdict is DaneVerdict.UNUSABLE:
        advice = f"Publish the record below; usages 0 and 1 are not used between mail servers. {NEXT_KEY}"
        said = "no record is usable: TLS is required, and nobody is authenticated"
        return Check("tlsa", Status.WARNING, "TLSA", said, advice=advice, publish=publish, facts=facts, children=children)
    return Check(
        "tlsa", Status.OK, "TLSA", results[0].detail, advice=_rollover(records, unusable), facts=facts, children=children
    )


def _rollover(records: Sequence[Tlsa], unusable: dict[Tlsa, str]) -> str:
    """One usable record is right today; the next key needs a second one in time."""
    return NEXT_KEY if len(records) - len(unusable) == 1 else ""


def _of(result: DaneResult, index: int) -> RecordResult:
    return result.records[index]


def _record(record: Tlsa, results: Sequence[RecordResult], unusable: dict[Tlsa, str]) -> Check:
    title = _short(record)
    if record in unusable:
        return Check("tlsa-record", Status.WARNING, title, f"unusable: {unusable[record]}")
    matched = next((result for result in results if result.matched), None)
    if matched is not None:
        where = "the server's own certificate" if not matched.depth else f"certificate {matched.depth} above the server's own"
        what = "key of" if record.selector == 1 else ""
        named = f", which names {matched.name}" if matched.name else ""
        return Check("tlsa-record", Status.OK, title, f"matches {'the ' + what + ' ' if what else ''}{where}{named}")
    why = results[0].why if results else "not compared: no certificate was seen"
    # A record for the next or the last key is as it should be: whether that matters is the set's affair.
    return Check("tlsa-record", Status.INFO, title, f"does not match: {why}" if results else why)


def _lookup_line(port: int, lookup: TlsaLookup) -> str:
    answer = lookup.answer
    said = f"{len(answer.records)} found" if answer.records else answer.detail or "none"
    return f"_{port}._tcp.{lookup.base} {answer.security.value}: {said}"


def _count(records: Sequence[Tlsa]) -> str:
    return "1 record" if len(records) == 1 else f"{len(records)} records"


def _short(record: Tlsa) -> str:
    digits = record.data.hex()
    shown = digits if len(digits) <= 64 else f"{digits[:48]}…{digits[-8:]}"
    return f"{record.usage} {record.selector} {record.matching} {shown}"
