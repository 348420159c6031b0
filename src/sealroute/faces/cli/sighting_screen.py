"""What probes saw of a destination, for `sealroute readiness DOMAIN`: on the screen, and as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.policy.sighting import HostSighting, PolicySeen, Sighting
from sealroute.policy.sighting_changes import SeenChange, short
from sealroute.policy.sighting_json import to_record
from sealroute.ports import Watched

if TYPE_CHECKING:
    from rich.console import Console

RECORDS_SHOWN = 6


def show(out: Console, watched: Watched | None, changes: Sequence[SeenChange], now: datetime) -> None:
    """The last probe, what the destination shows, and what it changed."""
    if watched is None:
        return
    lines = [_last_probe(watched)]
    if watched.sighting is not None:
        lines += _sighting(watched.sighting, now)
    for change in changes:
        about = f"{change.host}: " if change.host else ""
        lines.append(f"  {screen.moment(change.at)}  {change.kind.value} changed: {about}{change.text}")
    for line in lines:
        out.print(screen.text(line), soft_wrap=True)


def _last_probe(watched: Watched) -> str:
    due = f"next {screen.moment(watched.due_at)}"
    if watched.probed_at is None:
        return f"  Not probed yet; {due}"
    trouble = f" saw nothing: {watched.trouble}" if watched.trouble else ""
    return f"  Last probe {screen.moment(watched.probed_at)}{trouble}; {due}"


def _sighting(sighting: Sighting, now: datetime) -> list[str]:
    lines = [line for host in sighting.hosts for line in _host(host, sighting.at)]
    lines.append(f"  MTA-STS policy: {_policy(sighting.policy)}")
    signature = sighting.signature
    if signature is not None:
        margin = _margin(signature.expires, now)
        lines.append(f"  First signature to end: {signature.what}, {screen.moment(signature.expires)} ({margin})")
    elif sighting.signatures_complete:
        lines.append("  Nothing is signed.")
    else:
        lines.append("  How long its signatures hold could not be found out.")
    return lines


def _host(host: HostSighting, at: datetime) -> list[str]:
    old = "" if host.seen_at == at else f" (as of {screen.moment(host.seen_at)})" if host.seen_at else " (never seen whole)"
    lines = [f"  {host.name}{old}: {_tlsa(host)}"]
    for item in host.certificates:
        key = f"3 1 1 {item.key[:16]}…" if item.key else f"3 0 1 {item.fingerprint[:16]}…"
        until = f" until {screen.moment(item.not_after)}" if item.not_after else ""
        lines.append(f"    certificate {key}{until}")
    if host.matches is not None:
        lines.append(f"    {'matched by its TLSA records' if host.matches else host.mismatch}")
    return lines


def _tlsa(host: HostSighting) -> str:
    if host.tlsa is None:
        return "its TLSA records could not be found out"
    more = f", and {len(host.tlsa) - RECORDS_SHOWN} more" if len(host.tlsa) > RECORDS_SHOWN else ""
    shown = ", ".join(short(record) for record in host.tlsa[:RECORDS_SHOWN])
    return f"TLSA {shown}{more}" if shown else "no TLSA records that DNSSEC proves"


def _policy(policy: PolicySeen | None) -> str:
    if policy is None:
        return "could not be found out"
    return f"{policy.mode}, id {policy.id}, mx {', '.join(policy.mx) or 'none'}" if policy.id else policy.mode


def _margin(expires: datetime, now: datetime) -> str:
    left = expires - now
    if left.total_seconds() < 0:
        return "over"
    hours = int(left.total_seconds() // 3600)
    return f"{screen.plural(hours // 24, 'day')} left" if hours >= 48 else f"{screen.plural(hours, 'hour')} left"


def record(watched: Watched | None, changes: Sequence[SeenChange]) -> dict[str, Any]:
    """The same as plain JSON values."""
    probed_at = watched.probed_at if watched is not None else None
    sighting = watched.sighting if watched is not None else None
    return {
        "lastProbe": rfc3339(probed_at) if probed_at else None,
        "probeTrouble": (watched.trouble or None) if watched is not None else None,
        "sighting": to_record(sighting) if sighting is not None else None,
        "changes": [
            {"at": rfc3339(item.at), "kind": item.kind.value, "host": item.host or None, "text": item.text} for item in changes
        ],
    }
