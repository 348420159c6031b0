"""What destinations had, what `make mutation` found that no other test noticed: literals, the hour, half a memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sealroute.policy.history import SEEN_AGAIN_AFTER, DaneState, Drift, DriftKind, Seen, StsState, observe, seen
from tests.unit import evidence_factory as make
from tests.unit.test_history import FULL, KEY, LITERAL, NOW

DRIFT = Drift(organization="default", domain=make.DOMAIN, at=NOW, kind=DriftKind.DANE_LOST, detail="gone")


def test_an_address_beside_hosts_with_names_is_not_counted() -> None:
    assert seen(make.evidence(make.hop(make.host(), LITERAL))).dane is DaneState.ALL


@pytest.mark.parametrize("early", [timedelta(0), timedelta(microseconds=1)])
def test_when_something_was_last_seen_is_moved_after_a_whole_hour(early: timedelta) -> None:
    now = NOW + SEEN_AGAIN_AFTER - early
    after, events = observe(FULL, KEY, Seen(DaneState.ALL, StsState.ENFORCE), now)
    assert events == []
    assert after == (FULL if early else replace(FULL, dane_last=now, sts_last=now))


def test_an_event_tells_only_what_is_remembered() -> None:
    assert DRIFT.sentence == "contoso.com: gone"
    assert replace(DRIFT, last_seen=NOW).sentence == "contoso.com: gone"
    assert replace(DRIFT, known_since=NOW).sentence == "contoso.com: gone (seen from 2026-11-22T12:00:00Z)"
