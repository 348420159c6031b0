"""The chain of trust as checks: every zone from the root down, its keys, the parent's word for it, how long signatures hold.

Whether something is secure is the validator's word (`security`); keys, tags and dates are shown beside it so that an
administrator finds the place.  The only judgement of our own is about time: signatures that end soon are worth a warning.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sealroute.base.dnsdata import Outcome, Security
from sealroute.base.dnssec import SignedAnswer, ZoneLink
from sealroute.services.analysis.model import Check, Seen, Status, Whose


def dnssec_check(seen: Seen) -> Check:
    """The whole chain; its children are the zones, then the answers."""
    children = (*(_zone(link, seen) for link in seen.zones), *(_answer(item, seen) for item in seen.signed))
    own = _zone_of(seen)
    broken = [f"{item.rtype} {item.name}" for item in seen.signed if item.security in (Security.BOGUS, Security.UNKNOWN)]
    title = "DNSSEC"
    if not seen.plan.evidence.resolver_trusted:
        said = f"our resolver cannot tell valid DNSSEC from invalid: {seen.plan.evidence.resolver_detail}"
        advice = "Run `sealroute resolver check`; until then nothing below is proven."
        return Check("dnssec", Status.ERROR, title, said, Whose.OUR_DNS, advice, children=children)
    if own is None:
        return Check("dnssec", Status.INFO, title, "no zone was looked at: the next hop is an address", children=children)
    match own.keys.security:
        case Security.SECURE if own.keys.present and broken:
            said = f"the zone {_shown(own.zone)} is signed, but not every answer validates: {', '.join(broken)}"
            return Check("dnssec", Status.ERROR, title, said, children=children)
        case Security.SECURE if own.keys.present:
            said = f"the zone {_shown(own.zone)} is signed, and the chain of trust from the root holds"
            return Check("dnssec", Status.OK, title, said, children=children)
        case Security.SECURE | Security.INSECURE:
            said = f"the zone {_shown(own.zone)} is not signed, so DANE cannot apply"
            advice = "Sign the zone with DNSSEC and hand its DS record to the registrar; DANE needs both."
            return Check("dnssec", Status.INFO, title, said, advice=advice, children=children)
        case Security.BOGUS:
            said = f"the zone {_shown(own.zone)} should be signed and does not validate: {own.keys.detail}"
            return Check("dnssec", Status.ERROR, title, said, advice=_REPAIR, children=children)
        case Security.UNKNOWN:
            said = f"the keys of the zone {_shown(own.zone)} could not be found out: {own.keys.detail}"
            return Check("dnssec", Status.ERROR, title, said, advice=_SERVERS, children=children)


_REPAIR = (
    "Sign the zone anew and see that the DS record at the registrar names a key that the zone has. Where signing was given up "
    "or moved, remove the DS record first."
)
_SERVERS = "See that every name server of the zone answers, over UDP and TCP, also for DNSKEY and TLSA."


def _zone_of(seen: Seen) -> ZoneLink | None:
    """The zone that holds the first next hop."""
    names = [hop.name for hop in seen.plan.evidence.hops]
    if not names:
        return None
    holding = [link for link in seen.zones if not link.zone or names[0] == link.zone or names[0].endswith(f".{link.zone}")]
    return max(holding, key=lambda link: len(link.zone), default=None)


def _zone(link: ZoneLink, seen: Seen) -> Check:
    keys, ds = link.keys, link.delegation
    title = f"zone {_shown(link.zone)}"
    whose = _whose(link.zone)
    facts = [*_ds_facts(link), *(_key_fact(link, key.key_tag) for key in keys.keys), *_signature_facts(keys, seen.at)]
    unsigned = ds is not None and ds.outcome is Outcome.NODATA
    if keys.security in (Security.BOGUS, Security.UNKNOWN):
        advice = _REPAIR if keys.security is Security.BOGUS else _SERVERS
        return Check("zone", Status.ERROR, title, f"{keys.security.value}: {keys.detail}", whose, advice, facts=tuple(facts))
    if keys.secure_and_present:
        status, said, advice = _time(
            keys, seen.at, "signed, keys vouched for by " + ("the trust anchor" if ds is None else "DS")
        )
        return Check("zone", status, title, said, whose, advice, facts=tuple(facts))
    if keys.present and unsigned:
        advice = "Hand the zone's DS record to the registrar: without it nobody can rely on the signatures."
        said = "has keys, but its parent has no DS record for them: not signed as far as anybody can prove"
        return Check("zone", Status.WARNING, title, said, whose, advice, facts=tuple(facts))
    said = "not signed" + (", as its parent proves (no DS record)" if unsigned and ds is not None else "")
    return Check("zone", Status.INFO, title, said, whose, facts=tuple(facts))


def _answer(answer: SignedAnswer, seen: Seen) -> Check:
    title = f"{answer.rtype} {answer.name}"
    facts = tuple(_signature_facts(answer, seen.at))
    match answer.security:
        case Security.SECURE:
            status, said, advice = _time(answer, seen.at, "secure" if answer.present else "proven absent")
            return Check("signature", status, title, said, advice=advice, facts=facts)
        case Security.INSECURE:
            return Check("signature", Status.INFO, title, "not signed", facts=facts)
        case Security.BOGUS:
            return Check("signature", Status.ERROR, title, f"bogus: {answer.detail}", facts=facts)
        case Security.UNKNOWN:
            return Check("signature", Status.ERROR, title, f"no answer: {answer.detail}", facts=facts)


def _time(answer: SignedAnswer, now: datetime, said: str) -> tuple[Status, str, str]:
    """(status, sentence, advice): validated signatures, and whether they end soon."""
    last = answer.last_signature
    if last is None:
        return Status.OK, said, ""
    left = last.margin(now)
    if last.ends_soon(now):
        said = f"{said}; the signature ends in {_span(left)}"
        return Status.WARNING, said, "Sign the zone anew now, and see why it was not done by itself."
    return Status.OK, f"{said}; signature holds for {_span(left)}", ""


def _ds_facts(link: ZoneLink) -> list[str]:
    if link.delegation is None:
        return []
    tags = {key.key_tag for key in link.keys.keys}
    facts = []
    for item in link.delegation.delegations:
        known = "" if item.key_tag in tags or not tags else ", which the zone does not have"
        facts.append(f"DS names key {item.key_tag} {item.algorithm}, {item.digest}{known}")
    return facts


def _key_fact(link: ZoneLink, tag: int) -> str:
    key = next(item for item in link.keys.keys if item.key_tag == tag)
    return f"DNSKEY {key.key_tag} {key.algorithm}" + (", entry point" if key.entry_point else "")


def _signature_facts(answer: SignedAnswer, now: datetime) -> list[str]:
    facts = []
    for item in answer.signatures:
        left = item.margin(now)
        over = f", ended {_span(-left)} ago" if left < timedelta(0) else ""
        early = f", not valid before {item.begins:%Y-%m-%d %H:%M}Z" if item.begins > now else ""
        until = f"{item.expires:%Y-%m-%d %H:%M}Z"
        facts.append(f"RRSIG by key {item.key_tag} of {_shown(item.signer)} until {until}{over}{early}")
    return facts


def _whose(zone: str) -> Whose:
    """The root and top-level zones are nobody's in particular."""
    return Whose.RECIPIENT if "." in zone else Whose.NETWORK


def _shown(zone: str) -> str:
    return zone or "."


def _span(length: timedelta) -> str:
    hours = int(length.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours else "less than an hour"
