"""What a destination once had, and what became of it: DANE and MTA-STS `enforce` do not disappear unnoticed.

A destination that had DANE yesterday and has none today may have changed its mind, or somebody is stripping it.  Under
Opportunistic both look alike and mail goes on; so the loss is told (a drift event), and that is all: nothing is decided
here, a memory never weakens and never holds.  Rules:

* Unknown is never drift: what could not be found out, was not asked, or came from an untrusted resolver changes nothing.
* Only destinations that ever had something are remembered; the first sight of it is no event.
* An event is raised when the state changes, not as long as it lasts.
* With smart hosts the evidence is about somebody else's servers and says nothing about the destination.

Elsewhere: where evidence comes from (services/plan), writing behind (services/history), keeping (store/history).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from sealroute.base.times import rfc3339
from sealroute.policy.decide import dane_detail
from sealroute.policy.evidence import Evidence, FetchFailure, HopKind, StsEvidence, StsSource
from sealroute.policy.modes import SmtpDaneMode
from sealroute.policy.rows import dane_row
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import TxtStatus

SEEN_AGAIN_AFTER = timedelta(hours=1)
"""How far the moment when something was last seen may lag behind."""


class DaneState(Enum):
    """For which of its hosts a destination has usable, secure TLSA records, strictest first."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


class StsState(Enum):
    """What a destination's MTA-STS says, strictest first."""

    ENFORCE = "enforce"
    CACHED = "cached"
    """`enforce` from our cache; the destination's record is gone or malformed."""
    TESTING = "testing"
    OFF = "none"
    """A policy that asks nothing any more [RFC 8461 §8.3]."""
    ABSENT = "absent"


class DriftKind(Enum):
    """How a destination's protection changed."""

    DANE_LOST = "dane-lost"
    """No host has usable TLSA records any more."""
    DANE_WEAKENED = "dane-weakened"
    """Some hosts have none any more."""
    DANE_GAINED = "dane-gained"
    """It has DANE that it had lost, or did not have when it was first remembered."""
    STS_LOST = "sts-lost"
    """No policy any more."""
    STS_WEAKENED = "sts-weakened"
    """The policy's mode asks less, or only our cache still knows the policy."""
    STS_GAINED = "sts-gained"
    """It has a policy in `enforce` mode that it had lost, or did not have when it was first remembered."""
    TLSA_MISMATCH = "tlsa-mismatch"
    """A host presents a certificate that its TLSA records do not match any more (policy/sighting)."""
    TLSA_MATCHES = "tlsa-matches"
    """They match again."""
    SIGNATURES_END = "signatures-end"
    """A DNSSEC signature that its mail depends on ends soon and was not made anew."""
    RENEWAL_UNREADY = "renewal-unready"
    """A certificate ends soon, and the TLSA records match nothing but this very certificate."""

    @property
    def weaker(self) -> bool:
        """True when there is something to look into."""
        return self not in (DriftKind.DANE_GAINED, DriftKind.STS_GAINED, DriftKind.TLSA_MATCHES)


_DANE_RANK = {state: rank for rank, state in enumerate(reversed(DaneState))}
_STS_RANK = {state: rank for rank, state in enumerate(reversed(StsState))}
_STS_MODES = {StsMode.ENFORCE: StsState.ENFORCE, StsMode.TESTING: StsState.TESTING, StsMode.NONE: StsState.OFF}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one evidence says of a destination; None where it does not say."""

    dane: DaneState | None
    sts: StsState | None
    dane_detail: str = ""
    """Why not every host has DANE."""
    sts_detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is known of one destination of one organisation."""

    organization: str
    domain: str
    dane: DaneState = DaneState.NONE
    dane_first: datetime | None = None
    """When it was first seen to have DANE; None: never."""
    dane_last: datetime | None = None
    sts: StsState = StsState.ABSENT
    sts_first: datetime | None = None
    """When it was first seen to have a policy in `enforce` mode; None: never."""
    sts_last: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One change, for an administrator."""

    organization: str
    domain: str
    at: datetime
    kind: DriftKind
    detail: str
    known_since: datetime | None = None
    """When the protection was first seen."""
    last_seen: datetime | None = None
    """When it was last seen before the change."""

    @property
    def sentence(self) -> str:
        """The event in words."""
        since = f" (seen from {rfc3339(self.known_since)}" if self.known_since else ""
        last = f" to {rfc3339(self.last_seen)})" if since and self.last_seen else ")" if since else ""
        return f"{self.domain}: {self.detail}{since}{last}"


# ------------------------------------------------------------------------------------------------- what evidence says


def seen(evidence: Evidence) -> Seen:
    """What the evidence says of the recipient domain itself."""
    if any(hop.kind is HopKind.SMART_HOST for hop in evidence.hops):
        return Seen(None, None)
    dane, dane_why = _dane(evidence)
    sts, sts_why = _sts(evidence.sts_for(evidence.domain))
    return Seen(dane, sts, dane_why, sts_why)


def _dane(evidence: Evidence) -> tuple[DaneState | None, str]:
    """Hosts are told apart as under Opportunistic, whatever the mode; a look-up that the mode left out is unknown."""
    if not evidence.resolver_trusted:
        return None, ""
    hosts = [(hop, host) for hop in evidence.hops for host in hop.hosts if not host.is_literal]
    if not hosts or any(hop.mx is None or hop.mx.failed for hop, _ in hosts):
        return None, ""
    rows = [dane_row(hop, host, SmtpDaneMode.OPPORTUNISTIC) for hop, host in hosts]
    if any(row in ("dane-address-unknown", "dane-tlsa-unknown") for row in rows):
        return None, ""
    lacking = [dane_detail(host, hop, row) for (hop, host), row in zip(hosts, rows, strict=True) if row != "dane-usable"]
    if not lacking:
        return DaneState.ALL, ""
    return (DaneState.SOME if len(lacking) < len(hosts) else DaneState.NONE), "; ".join(dict.fromkeys(lacking))


def _sts(found: StsEvidence | None) -> tuple[StsState | None, str]:
    if found is None:
        return None, ""
    if found.policy is not None:
        return _with_policy(found, _STS_MODES[found.policy.mode])
    if found.failure is FetchFailure.POLICY_INVALID:
        return StsState.ABSENT, f"its policy is malformed: {found.failure_detail}"
    if found.failure is not None or found.txt is None or found.txt.failed or found.txt_parsed is None:
        return None, ""
    return (None, "") if found.txt_parsed.status is TxtStatus.OK else (StsState.ABSENT, _record(found))


def _with_policy(found: StsEvidence, state: StsState) -> tuple[StsState, str]:
    if state is not StsState.ENFORCE:
        return state, f"its policy's mode is {state.value}"
    gone = found.source is StsSource.CACHED and found.txt_parsed is not None and found.txt_parsed.status is not TxtStatus.OK
    if not gone:
        return state, ""
    until = f" until {rfc3339(found.expires_at)}" if found.expires_at else ""
    return StsState.CACHED, f"{_record(found)}; the cached policy stays in force{until}"


def _record(found: StsEvidence) -> str:
    """What is wrong with the TXT record."""
    said = found.txt_parsed.reason if found.txt_parsed is not None else ""
    return f"its _mta-sts record is malformed: {said}" if said else "it publishes no MTA-STS record"


# --------------------------------------------------------------------------------------------------- what has changed


def observe(
    before: Remembered | None, key: tuple[str, str], what: Seen, now: datetime
) -> tuple[Remembered | None, list[Drift]]:
    """What is remembered from now on of the destination `key` (organisation, domain), and the events.

    None: there is still nothing to remember.
    """
    had = before or Remembered(organization=key[0], domain=key[1])
    after = _seen_dane(_seen_sts(had, what.sts, now), what.dane, now)
    if before is None:
        return (after if after.dane_first or after.sts_first else None), []
    events = []
    if (kind := _dane_drift(before.dane, after.dane)) is not None:
        detail = what.dane_detail or "every mail host has usable TLSA records"
        events.append(_drift(after, now, kind, detail, (before.dane_first, before.dane_last)))
    if (kind := _sts_drift(before.sts, after.sts)) is not None:
        detail = what.sts_detail or "its policy's mode is enforce"
        events.append(_drift(after, now, kind, detail, (before.sts_first, before.sts_last)))
    return after, events


def _drift(
    about: Remembered, now: datetime, kind: DriftKind, detail: str, known: tuple[datetime | None, datetime | None]
) -> Drift:
    return Drift(
        organization=about.organization, domain=about.domain, at=now, kind=kind, detail=detail, known_since=known[0],
        last_seen=known[1],
    )  # fmt: skip


def _seen_dane(was: Remembered, state: DaneState | None, now: datetime) -> Remembered:
    if state is None:
        return was
    if state is DaneState.NONE:
        return replace(was, dane=state)
    return replace(was, dane=state, dane_first=was.dane_first or now, dane_last=_last(was.dane_last, now))


def _seen_sts(was: Remembered, state: StsState | None, now: datetime) -> Remembered:
    if state is None:
        return was
    if state is not StsState.ENFORCE:
        return replace(was, sts=state)
    return replace(was, sts=state, sts_first=was.sts_first or now, sts_last=_last(was.sts_last, now))


def _last(last: datetime | None, now: datetime) -> datetime:
    """The moment to be remembered: not moved for less than an hour, so that little is written."""
    return last if last is not None and now - last < SEEN_AGAIN_AFTER else now


def _dane_drift(before: DaneState, after: DaneState) -> DriftKind | None:
    if _DANE_RANK[after] > _DANE_RANK[before]:
        return DriftKind.DANE_GAINED
    if _DANE_RANK[after] == _DANE_RANK[before]:
        return None
    return DriftKind.DANE_LOST if after is DaneState.NONE else DriftKind.DANE_WEAKENED


def _sts_drift(before: StsState, after: StsState) -> DriftKind | None:
    if _STS_RANK[after] > _STS_RANK[before]:
        return DriftKind.STS_GAINED if after is StsState.ENFORCE else None
    if after is before:
        return None
    return DriftKind.STS_LOST if after is StsState.ABSENT else DriftKind.STS_WEAKENED
