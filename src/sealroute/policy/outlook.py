"""What the last sighting of a destination bodes for its readiness, beside what was counted so far.

Only what was seen lately speaks: what was true some days ago may have been repaired since.  A certificate that no TLSA record
matches is there to be repaired (BROKEN); what will break soon if nobody does anything makes one WAIT.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sealroute.base.times import rfc3339
from sealroute.policy.readiness import Mechanism
from sealroute.policy.readiness_verdict import Caveat, State
from sealroute.policy.sighting import Sighting

FRESH = timedelta(days=3)


def caveats_of(sighting: Sighting | None, mechanism: Mechanism, now: datetime) -> tuple[Caveat, ...]:
    """What speaks against holding the destination to the mechanism; all of it concerns DANE."""
    if sighting is None or mechanism is not Mechanism.DANE or now - sighting.at > FRESH:
        return ()
    hosts = [(host, host.seen_at) for host in sighting.hosts]
    fresh = [(host, seen_at) for host, seen_at in hosts if seen_at is not None and now - seen_at <= FRESH]
    found = [
        Caveat(State.BROKEN, f"{host.name}, probed {rfc3339(seen_at)}: {host.mismatch}.")
        for host, seen_at in fresh
        if host.matches is False
    ]
    signature = sighting.signature
    if signature is not None and signature.ends_soon(now):
        said = f"The signature of {signature.what} ends {rfc3339(signature.expires)}, and was not made anew."
        found.append(Caveat(State.WAIT, said))
    for host, _ in fresh:
        bound = host.bound
        if bound is not None and bound.not_after is not None and bound.ends_soon(now):
            until = rfc3339(bound.not_after)
            said = f"The certificate of {host.name} ends {until}, and its TLSA records match no other."
            found.append(Caveat(State.WAIT, said))
    return tuple(found)
