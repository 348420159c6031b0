"""Two sightings of a destination → what is known from now on, what changed, and what an administrator must hear of.

Rules of the events (policy/history.DriftKind), beside those of policy/sighting:

* `tlsa-mismatch` when a host's certificate is matched by none of its TLSA records, and was or was not known to be; whatever
  changed, certificate or records.  Not at the first sight of a destination: what never matched has not drifted.  Once,
  until it matches again, which is `tlsa-matches`.
* `signatures-end` when the signature that ends first is in the last fifth of its life and has less than three days.  Once for
  a signature: made anew, and let go again, it is told again.
* `renewal-unready` when a certificate is in the last fifth of its life and has less than fourteen days, and the TLSA records
  can match no other.  Once for a certificate.

So that nothing is told again and again, what was told is part of what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from sealroute.base.times import rfc3339
from sealroute.policy.history import Drift, DriftKind
from sealroute.policy.sighting import CertificateSeen, HostSighting, PolicySeen, Sighting, carried

MAX_TEXT = 1000


class ChangeKind(Enum):
    """What changed."""

    MX = "mx"
    TLSA = "tlsa"
    CERTIFICATE = "certificate"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class SeenChange:
    """One thing that a destination changed, good or bad, for its history."""

    at: datetime
    kind: ChangeKind
    host: str
    """Empty for MX and policy."""
    text: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What a probe comes to."""

    after: Sighting
    changes: tuple[SeenChange, ...] = ()
    events: tuple[Drift, ...] = ()


def compare(key: tuple[str, str], before: Sighting | None, seen: Sighting) -> Compared:
    """What a new sighting of `key` (organisation, domain) comes to; the first one changes nothing."""
    after = seen if before is None else carried(before, seen)
    changes = () if before is None else tuple(_changes(before, after))
    events = [] if before is None else _matching(key, before, after)
    after, soon = _soon(key, seen, after)
    return Compared(after, changes, (*events, *soon))


# --------------------------------------------------------------------------------------------------------- the history


def _changes(before: Sighting, after: Sighting) -> list[SeenChange]:
    found: list[tuple[ChangeKind, str, str]] = []
    if before.mx is not None and after.mx is not None and before.mx != after.mx:
        found.append((ChangeKind.MX, "", f"{_listed(after.mx)}; was {_listed(before.mx)}"))
    for host in after.hosts:
        if (was := before.host(host.name)) is not None:
            found += ((kind, host.name, text) for kind, text in _host_changes(was, host))
    if before.policy is not None and after.policy is not None and before.policy != after.policy:
        found.append((ChangeKind.POLICY, "", f"{_policy(after.policy)}; was {_policy(before.policy)}"))
    return [SeenChange(after.at, kind, host, text[:MAX_TEXT]) for kind, host, text in found]


def _host_changes(before: HostSighting, after: HostSighting) -> list[tuple[ChangeKind, str]]:
    found = []
    if before.tlsa is not None and after.tlsa is not None and before.tlsa != after.tlsa:
        added = [f"added {short(record)}" for record in after.tlsa if record not in before.tlsa]
        gone = [f"removed {short(record)}" for record in before.tlsa if record not in after.tlsa]
        found.append((ChangeKind.TLSA, ", ".join((*added, *gone))))
    known = {*(item.fingerprint for item in before.certificates), *before.earlier}
    new = [item for item in after.certificates if item.fingerprint not in known]
    if known and new:
        same_key = {item.key for item in new} <= {item.key for item in before.certificates}
        was = "" if same_key else f"; was {_listed([_certificate(item) for item in before.certificates])}"
        said = _listed([_certificate(item) for item in new])
        found.append((ChangeKind.CERTIFICATE, f"{said}{', the same key' if same_key else was}"))
    return found


def short(record: str) -> str:
    """A TLSA record for people: enough of its data to tell it from others."""
    return record if len(record) <= 26 else f"{record[:22]}…"


def _certificate(item: CertificateSeen) -> str:
    until = f" until {item.not_after:%Y-%m-%d}" if item.not_after else ""
    return f"key {item.key[:16]}…{until}" if item.key else f"certificate {item.fingerprint[:16]}…{until}"


def _policy(policy: PolicySeen) -> str:
    return f"{policy.mode}, id {policy.id}, mx {_listed(policy.mx)}" if policy.id else policy.mode


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items) or "none"


# ---------------------------------------------------------------------------------------------------------- the events


def _matching(key: tuple[str, str], before: Sighting, after: Sighting) -> list[Drift]:
    """What stopped matching, and what matches again; several hosts are one event."""
    broken, mended = [], []
    for host in after.hosts:
        was = before.host(host.name)
        state = None if was is None else was.matches
        if host.matches is False and state is not False:
            broken.append(f"{_what_changed(was, host)}, and the two do not match: {host.mismatch}")
        elif host.matches and state is False:
            mended.append(f"{host.name} presents a certificate that its TLSA records match again")
    events = []
    for kind, details in ((DriftKind.TLSA_MISMATCH, broken), (DriftKind.TLSA_MATCHES, mended)):
        if details:
            events.append(_event(key, after.at, kind, "; ".join(details), before.at))
    return events


def _what_changed(before: HostSighting | None, after: HostSighting) -> str:
    if before is None:
        return f"{after.name} is a new mail host with TLSA records and a certificate"
    rolled = before.certificates != after.certificates
    published = before.tlsa != after.tlsa
    what = ["the certificate"] * rolled + ["the TLSA records"] * published
    if not what:
        return f"{after.name} has a certificate and TLSA records"
    return f"{' and '.join(what)} of {after.name} changed"


def _soon(key: tuple[str, str], seen: Sighting, after: Sighting) -> tuple[Sighting, list[Drift]]:
    """What was seen now, ends soon and was not told of yet; with it the sighting that knows that it was."""
    events, signature = [], after.signature
    if signature is not None and signature.ends_soon(after.at) and (after.told is None or signature.expires > after.told):
        detail = f"the signature of {signature.what} ends {rfc3339(signature.expires)}, and was not made anew"
        events.append(_event(key, after.at, DriftKind.SIGNATURES_END, detail))
        after = replace(after, told=signature.expires)
    hosts, unready = [], []
    for host in after.hosts:
        shown = seen.host(host.name)
        bound = shown.bound if shown is not None else None
        if bound is not None and bound.not_after is not None and bound.ends_soon(after.at) and host.told != bound.fingerprint:
            unready.append(
                f"the certificate of {host.name} ends {rfc3339(bound.not_after)}, and its TLSA records match no other"
            )
            host = replace(host, told=bound.fingerprint)
        hosts.append(host)
    if unready:
        events.append(_event(key, after.at, DriftKind.RENEWAL_UNREADY, "; ".join(unready)))
    return replace(after, hosts=tuple(hosts)), events


def _event(
    key: tuple[str, str], at: datetime, kind: DriftKind, detail: str, last_seen: datetime | None = None
) -> Drift:  # fmt: skip
    return Drift(
        organization=key[0], domain=key[1], at=at, kind=kind, detail=detail[:MAX_TEXT], known_since=None, last_seen=last_seen
    )
