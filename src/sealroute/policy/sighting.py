"""What a destination shows at one moment: mail hosts, TLSA records, certificates, MTA-STS policy, and how long signatures hold.

A probe (services/watch) makes one; the store keeps the last.  Rules:

* What could not be found out is None, and what was known of it before stays (`carried`): unknown is never a change.  Only
  signatures do not stay: they are made anew all the time.
* Only what DNSSEC proves counts as a TLSA record; an empty tuple says that there is none, proven or not.

Elsewhere: what changed since the last one (policy/sighting_changes), how it is kept (policy/sighting_json).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sealroute.base.dnssec import SOON, SOON_PART, SignedAnswer, ZoneLink

MAX_EARLIER = 8
CERTIFICATE_SOON = timedelta(days=14)
"""A certificate in the last fifth of its life, with less than that left, will be exchanged any day now."""


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """The certificate that a host presented."""

    fingerprint: str
    """SHA-256 of the whole, in hex."""
    key: str
    """SHA-256 of its subjectPublicKeyInfo, in hex, as `3 1 1` has it; empty when that cannot be read."""
    not_before: datetime | None = None
    not_after: datetime | None = None

    def ends_soon(self, now: datetime) -> bool:
        if self.not_before is None or self.not_after is None:
            return False
        left = self.not_after - now
        return left < CERTIFICATE_SOON and left < (self.not_after - self.not_before) / SOON_PART


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSighting:
    """One mail host."""

    name: str
    tlsa: tuple[str, ...] | None = None
    """As published, sorted; empty: none that DNSSEC proves; None: not found out."""
    certificates: tuple[CertificateSeen, ...] = ()
    """Of all its addresses; empty: none was shown."""
    matches: bool | None = None
    """Whether each certificate is matched by a record; None: there was nothing to compare."""
    mismatch: str = ""
    """Why not, when `matches` is False."""
    earlier: tuple[str, ...] = ()
    """Fingerprints shown before, the latest first: servers behind one name may take turns with theirs."""
    told: str = ""
    """The certificate whose end was told of."""
    seen_at: datetime | None = None
    """When its records and a certificate were last seen together; None: never."""

    @property
    def bound(self) -> CertificateSeen | None:
        """Its certificate, when its TLSA records match that one and can match no other; None: there is no such thing."""
        records = self.tlsa or ()
        alone = len({record.split()[2] for record in records}) == len(records)
        if not self.matches or not records or not alone or not all(record.startswith("3 0 ") for record in records):
            return None
        return next(iter(self.certificates)) if len(self.certificates) == 1 else None


@dataclass(frozen=True, slots=True)
class PolicySeen:
    """The MTA-STS policy as published."""

    mode: str
    """`enforce`, `testing`, `none`, or `absent`."""
    id: str = ""
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignatureSeen:
    """The signature that ends first, of those that its mail depends on."""

    what: str
    """Type and owner of what it signs, as in `MX contoso.com`."""
    begins: datetime
    expires: datetime

    def ends_soon(self, now: datetime) -> bool:
        """The same rule as base/dnssec.Signature has."""
        left = self.expires - now
        return left < SOON and left < (self.expires - self.begins) / SOON_PART


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """All of it."""

    at: datetime
    mx: tuple[str, ...] | None = None
    """Preference and host of each record; empty: there is none; None: not found out, and then there are no hosts here."""
    hosts: tuple[HostSighting, ...] = ()
    policy: PolicySeen | None = None
    signature: SignatureSeen | None = None
    """None: nothing is signed, or nothing was found out."""
    signatures_complete: bool = False
    """Whether every signature that was looked for was found out about."""
    told: datetime | None = None
    """The end of the signature that was told of last."""

    def host(self, name: str) -> HostSighting | None:
        return next((host for host in self.hosts if host.name == name), None)


def carried(before: Sighting, seen: Sighting) -> Sighting:
    """What is known from now on: `seen`, and what it does not say as it was before."""
    hosts = before.hosts if seen.mx is None else tuple(_carried(before.host(host.name), host) for host in seen.hosts)
    mx = before.mx if seen.mx is None else seen.mx
    # Signatures are made anew all the time: one that was not seen now says nothing of now.
    return replace(seen, mx=mx, hosts=hosts, policy=seen.policy or before.policy, told=before.told)


def _carried(before: HostSighting | None, seen: HostSighting) -> HostSighting:
    if before is None:
        return seen
    tlsa = before.tlsa if seen.tlsa is None else seen.tlsa
    if not seen.certificates:
        # Whether the records match what nobody showed is not known; unless there are none to match any more.
        matches, mismatch = (before.matches, before.mismatch) if tlsa else (None, "")
        shown, earlier = before.certificates, before.earlier
    else:
        unknown = seen.matches is None and seen.tlsa is None
        matches, mismatch = (before.matches, before.mismatch) if unknown else (seen.matches, seen.mismatch)
        now = {item.fingerprint for item in seen.certificates}
        kept = [*(item.fingerprint for item in before.certificates), *before.earlier]
        shown, earlier = seen.certificates, tuple(dict.fromkeys(item for item in kept if item not in now))[:MAX_EARLIER]
    return HostSighting(
        name=seen.name,
        tlsa=tlsa,
        certificates=shown,
        matches=matches,
        mismatch=mismatch,
        earlier=earlier,
        told=before.told,
        seen_at=seen.seen_at or before.seen_at,
    )


def first_to_end(zones: Iterable[ZoneLink], answers: Iterable[SignedAnswer]) -> tuple[SignatureSeen | None, bool]:
    """(the signature that ends first, whether everything was found out): answers, and the keys of the zones they are in.

    Of several signatures over one thing the last to end counts.  The root and top-level zones are left out: they are in
    other hands, and signed anew by their own rhythm.
    """
    looked: Sequence[SignedAnswer] = [*answers, *(link.keys for link in zones if "." in link.zone)]
    found = []
    for answer in looked:
        last = answer.last_signature
        if answer.secure_and_present and last is not None:
            found.append(SignatureSeen(f"{answer.rtype} {answer.name}", last.begins, last.expires))
    complete = all(answer.security.value in ("secure", "insecure") for answer in looked)
    return min(found, key=lambda item: (item.expires, item.what), default=None), complete
