"""What destinations show: what stays known, what changed, what is told and how often, and what it bodes for readiness."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.dnsdata import Outcome, Security
from sealroute.base.dnssec import Signature, SignedAnswer, ZoneLink
from sealroute.policy.history import Drift, DriftKind
from sealroute.policy.outlook import caveats_of
from sealroute.policy.readiness import Mechanism
from sealroute.policy.readiness_verdict import Caveat, State
from sealroute.policy.sighting import (
    CertificateSeen,
    HostSighting,
    PolicySeen,
    Sighting,
    SignatureSeen,
    carried,
    first_to_end,
)
from sealroute.policy.sighting_changes import ChangeKind, Compared, SeenChange, compare, short
from sealroute.policy.sighting_json import from_record, to_record

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = ("default", "contoso.com")
OLD = CertificateSeen("aa" * 32, "a1" * 32, NOW - 30 * DAY, NOW + 60 * DAY)
NEW = CertificateSeen("bb" * 32, "b1" * 32, NOW - DAY, NOW + 89 * DAY)
RENEWED = replace(NEW, key=OLD.key)
RECORD, OTHER = f"3 1 1 {OLD.key}", f"3 1 1 {NEW.key}"
SIGNATURE = SignatureSeen("MX contoso.com", NOW - 10 * DAY, NOW + 20 * DAY)
HOST = HostSighting(name="mx.contoso.com", tlsa=(RECORD,), certificates=(OLD,), matches=True, seen_at=NOW)
POLICY = PolicySeen("enforce", "1", ("mx.contoso.com",))
SEEN = Sighting(
    at=NOW, mx=("10 mx.contoso.com",), hosts=(HOST,), policy=POLICY, signature=SIGNATURE, signatures_complete=True
)  # fmt: skip


def later(days: int = 1, host: HostSighting | None = HOST, **changes: Any) -> Sighting:
    """The same some days later, with differences."""
    at = NOW + days * DAY
    hosts = (replace(host, seen_at=at),) if host is not None else ()
    signature = replace(SIGNATURE, expires=SIGNATURE.expires + days * DAY, begins=SIGNATURE.begins + days * DAY)
    return replace(SEEN, **{"at": at, "hosts": hosts, "signature": signature, **changes})


def blind(days: int = 1) -> Sighting:
    """A probe whose every look-up failed."""
    return Sighting(at=NOW + days * DAY)


# ------------------------------------------------------------------------------------------------------ drawn at random

moments = st.integers(-180, 180).map(lambda days: NOW + days * DAY)
hexes = st.sampled_from(["aa" * 32, "bb" * 32, "cc" * 32])
certificates = st.builds(CertificateSeen, hexes, st.sampled_from(["", "a1" * 32]), st.none() | moments, st.none() | moments)
records = st.sampled_from([RECORD, OTHER, f"3 0 1 {'aa' * 32}", f"2 1 1 {'dd' * 32}"])
hosts = st.builds(
    HostSighting, name=st.sampled_from(["mx1.contoso.com", "mx2.contoso.com"]),
    tlsa=st.none() | st.lists(records, unique=True, max_size=3).map(lambda found: tuple(sorted(found))),
    certificates=st.lists(certificates, max_size=2, unique_by=lambda item: item.fingerprint).map(tuple),
    matches=st.none() | st.booleans(), mismatch=st.sampled_from(["", "no record matches"]), seen_at=st.none() | moments,
)  # fmt: skip
policies = st.builds(PolicySeen, st.sampled_from(["enforce", "testing", "absent"]), st.sampled_from(["", "1"]))
signatures = st.builds(SignatureSeen, st.just("MX contoso.com"), moments, moments)
sightings = st.builds(
    Sighting, at=moments, mx=st.none() | st.sampled_from([(), ("10 mx1.contoso.com",)]),
    hosts=st.lists(hosts, max_size=2, unique_by=lambda item: item.name).map(tuple), policy=st.none() | policies,
    signature=st.none() | signatures, signatures_complete=st.booleans(),
).map(lambda sighting: sighting if sighting.mx is not None else replace(sighting, hosts=()))  # fmt: skip


@given(sightings, sightings)
def test_a_sighting_comes_back_from_the_store_as_it_was(before: Sighting, seen: Sighting) -> None:
    for sighting in (seen, compare(KEY, before, seen).after):
        assert from_record(json.loads(json.dumps(to_record(sighting)))) == sighting


@given(sightings, sightings)
def test_the_same_seen_again_changes_and_tells_nothing(before: Sighting, seen: Sighting) -> None:
    first = compare(KEY, before, seen)
    again = compare(KEY, first.after, seen)
    assert (again.changes, again.events) == ((), ())


@given(sightings, st.booleans())
def test_what_could_not_be_found_out_changes_and_tells_nothing(before: Sighting, mx_known: bool) -> None:
    """Unknown is never absent: nothing at all, or MX records and nothing about the hosts."""
    seen = Sighting(at=before.at + DAY)
    if mx_known and before.mx is not None:
        seen = replace(seen, mx=before.mx, hosts=tuple(HostSighting(name=host.name) for host in before.hosts))
    found = compare(KEY, before, seen)
    assert (found.changes, found.events) == ((), ())
    assert found.after == replace(before, at=seen.at, signature=None, signatures_complete=False, told=before.told, hosts=tuple(
        replace(host, matches=host.matches if host.tlsa else None, mismatch=host.mismatch if host.tlsa else "")
        for host in before.hosts
    ) if seen.mx is not None else before.hosts)  # fmt: skip


@given(sightings)
def test_the_first_sight_is_no_change_and_no_mismatch(seen: Sighting) -> None:
    found = compare(KEY, None, seen)
    assert found.changes == ()
    assert {event.kind for event in found.events} <= {DriftKind.SIGNATURES_END, DriftKind.RENEWAL_UNREADY}


# ---------------------------------------------------------------------------------------------------- what stays known


def test_part_by_part() -> None:
    changed = replace(HOST, tlsa=(OTHER,), certificates=(NEW,))
    everything = carried(SEEN, later(host=changed, mx=("5 mx.contoso.com",), policy=PolicySeen("absent")))
    assert everything == later(
        mx=("5 mx.contoso.com",), policy=PolicySeen("absent"),
        host=replace(changed, earlier=(OLD.fingerprint,)),
    )  # fmt: skip
    assert carried(SEEN, blind()) == replace(SEEN, at=NOW + DAY, signature=None, signatures_complete=False)
    gone = carried(SEEN, replace(blind(), mx=("10 mx2.contoso.com",), hosts=(HostSighting(name="mx2.contoso.com"),)))
    assert gone.hosts == (HostSighting(name="mx2.contoso.com"),)


HOSTS = [
    ("nobody answered", HostSighting(name=HOST.name), HOST),
    ("records alone", HostSighting(name=HOST.name, tlsa=(OTHER,)), replace(HOST, tlsa=(OTHER,))),
    ("records that are gone match nothing", HostSighting(name=HOST.name, tlsa=()), replace(HOST, tlsa=(), matches=None)),
    ("a certificate alone", HostSighting(name=HOST.name, certificates=(NEW,)),
     replace(HOST, certificates=(NEW,), earlier=(OLD.fingerprint,))),
    ("a certificate without records", HostSighting(name=HOST.name, tlsa=(), certificates=(OLD,), seen_at=NOW + DAY),
     replace(HOST, tlsa=(), matches=None, seen_at=NOW + DAY)),
    ("a mismatch", replace(HOST, certificates=(NEW,), matches=False, mismatch="no"),
     replace(HOST, certificates=(NEW,), matches=False, mismatch="no", earlier=(OLD.fingerprint,))),
]  # fmt: skip


@pytest.mark.parametrize(("shown", "known"), [case[1:] for case in HOSTS], ids=[case[0] for case in HOSTS])
def test_of_a_host(shown: HostSighting, known: HostSighting) -> None:
    before = replace(SEEN, hosts=(replace(HOST, told="x"),))
    assert carried(before, replace(SEEN, hosts=(shown,))).hosts == (replace(known, told="x"),)


def test_what_did_not_match_stays_so_while_nobody_answers() -> None:
    bad = replace(HOST, matches=False, mismatch="no")
    unheard = HostSighting(name=HOST.name, certificates=(NEW,))
    for shown in (HostSighting(name=HOST.name), unheard):
        (host,) = carried(replace(SEEN, hosts=(bad,)), replace(SEEN, hosts=(shown,))).hosts
        assert (host.matches, host.mismatch) == (False, "no")
    gone = HostSighting(name=HOST.name, tlsa=())
    (host,) = carried(replace(SEEN, hosts=(bad,)), replace(SEEN, hosts=(gone,))).hosts
    assert (host.matches, host.mismatch) == (None, "")


def test_certificates_of_before_are_remembered_latest_first_and_not_too_many() -> None:
    known = SEEN
    for number in range(12):
        shown = CertificateSeen(f"{number:064x}", "")
        known = carried(known, replace(SEEN, hosts=(replace(HOST, certificates=(shown,)),)))
    (host,) = known.hosts
    assert host.earlier == tuple(f"{number:064x}" for number in range(10, 2, -1))
    again = carried(known, replace(SEEN, hosts=(replace(HOST, certificates=(CertificateSeen(f"{10:064x}", ""),)),)))
    assert again.hosts[0].earlier[0] == f"{11:064x}"
    assert f"{10:064x}" not in again.hosts[0].earlier


# --------------------------------------------------------------------------------------------------------- the history

CHANGES = [
    ("mx", later(mx=("5 a.contoso.com", "10 mx.contoso.com")), ChangeKind.MX, "",
     "5 a.contoso.com, 10 mx.contoso.com; was 10 mx.contoso.com"),
    ("no mx any more", later(mx=()), ChangeKind.MX, "", "none; was 10 mx.contoso.com"),
    ("a record more", later(host=replace(HOST, tlsa=(RECORD, OTHER))), ChangeKind.TLSA, "mx.contoso.com",
     "added 3 1 1 b1b1b1b1b1b1b1b1…"),
    ("another record", later(host=replace(HOST, tlsa=(OTHER,))), ChangeKind.TLSA, "mx.contoso.com",
     "added 3 1 1 b1b1b1b1b1b1b1b1…, removed 3 1 1 a1a1a1a1a1a1a1a1…"),
    ("no record", later(host=replace(HOST, tlsa=(), matches=None)), ChangeKind.TLSA, "mx.contoso.com",
     "removed 3 1 1 a1a1a1a1a1a1a1a1…"),
    ("another key", later(host=replace(HOST, certificates=(NEW,))), ChangeKind.CERTIFICATE, "mx.contoso.com",
     "key b1b1b1b1b1b1b1b1… until 2027-02-21; was key a1a1a1a1a1a1a1a1… until 2027-01-23"),
    ("the same key", later(host=replace(HOST, certificates=(RENEWED,))), ChangeKind.CERTIFICATE, "mx.contoso.com",
     "key a1a1a1a1a1a1a1a1… until 2027-02-21, the same key"),
    ("unreadable", later(host=replace(HOST, certificates=(CertificateSeen("cc" * 32, ""),))), ChangeKind.CERTIFICATE,
     "mx.contoso.com", "certificate cccccccccccccccc…; was key a1a1a1a1a1a1a1a1… until 2027-01-23"),
    ("another policy", later(policy=replace(POLICY, mode="testing", id="2")), ChangeKind.POLICY, "",
     "testing, id 2, mx mx.contoso.com; was enforce, id 1, mx mx.contoso.com"),
    ("no policy", later(policy=PolicySeen("absent")), ChangeKind.POLICY, "", "absent; was enforce, id 1, mx mx.contoso.com"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "kind", "host", "text"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_change(seen: Sighting, kind: ChangeKind, host: str, text: str) -> None:
    assert compare(KEY, SEEN, seen).changes == (SeenChange(seen.at, kind, host, text),)


def test_what_was_not_known_before_did_not_change() -> None:
    unknown = Sighting(at=NOW - DAY, mx=SEEN.mx, hosts=(HostSighting(name=HOST.name),))
    assert compare(KEY, unknown, SEEN).changes == ()
    assert compare(KEY, replace(unknown, mx=None, hosts=()), SEEN).changes == ()
    assert compare(KEY, replace(SEEN, hosts=()), SEEN).changes == (), "a new host has no history"


def test_servers_behind_one_name_take_turns_without_a_history() -> None:
    known = compare(KEY, SEEN, later(1, replace(HOST, certificates=(NEW,)))).after
    for days, certificate in ((2, OLD), (3, NEW), (4, OLD)):
        found = compare(KEY, known, later(days, replace(HOST, certificates=(certificate,))))
        assert found.changes == ()
        known = found.after


def test_a_change_is_cut_to_a_length() -> None:
    many = tuple(f"3 1 1 {number:064x}" for number in range(40))
    (change,) = compare(KEY, SEEN, later(host=replace(HOST, tlsa=many))).changes
    assert len(change.text) == 1000


def test_a_record_for_people() -> None:
    assert short("3 1 1 " + "a" * 20) == "3 1 1 " + "a" * 20
    assert short("3 1 1 " + "a" * 21) == "3 1 1 " + "a" * 16 + "…"


# ------------------------------------------------------------------------------------------------- does not match any more


def kinds(found: Compared) -> list[tuple[DriftKind, str]]:
    return [(event.kind, event.detail) for event in found.events]


BAD = replace(HOST, matches=False, mismatch="no record matches")
MISMATCHES = [
    ("the certificate", replace(BAD, certificates=(NEW,)), "the certificate of mx.contoso.com changed"),
    ("the records", replace(BAD, tlsa=(OTHER,)), "the TLSA records of mx.contoso.com changed"),
    ("both", replace(BAD, tlsa=(OTHER,), certificates=(NEW,)),
     "the certificate and the TLSA records of mx.contoso.com changed"),
    ("neither", BAD, "mx.contoso.com has a certificate and TLSA records"),
    ("new host", replace(BAD, name="mx2.contoso.com"),
     "mx2.contoso.com is a new mail host with TLSA records and a certificate"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "what"), [case[1:] for case in MISMATCHES], ids=[case[0] for case in MISMATCHES])
def test_a_mismatch_is_told_once_until_it_is_mended(host: HostSighting, what: str) -> None:
    first = compare(KEY, SEEN, later(1, host))
    detail = f"{what}, and the two do not match: no record matches"
    assert first.events == (
        Drift(
            organization="default", domain="contoso.com", at=NOW + DAY, kind=DriftKind.TLSA_MISMATCH, detail=detail,
            last_seen=NOW,
        ),
    )  # fmt: skip
    unheard = compare(KEY, first.after, blind(2))
    assert unheard.events == ()
    second = compare(KEY, unheard.after, later(3, host))
    assert second.events == ()
    mended = compare(KEY, second.after, later(4, replace(host, matches=True, mismatch="")))
    said = f"{host.name} presents a certificate that its TLSA records match again"
    assert kinds(mended) == [(DriftKind.TLSA_MATCHES, said)]
    assert not DriftKind.TLSA_MATCHES.weaker


def test_a_host_that_could_not_be_judged_before_is_told_of() -> None:
    unknown = replace(SEEN, hosts=(replace(HOST, matches=None),))
    assert [kind for kind, _ in kinds(compare(KEY, unknown, later(1, BAD)))] == [DriftKind.TLSA_MISMATCH]
    assert kinds(compare(KEY, unknown, later(1, HOST))) == [], "to match is no news"
    assert kinds(compare(KEY, SEEN, later(1, HOST))) == []


def test_several_hosts_are_one_event() -> None:
    two = later(1, host=None, hosts=(replace(BAD, certificates=(NEW,)), replace(BAD, name="mx2.contoso.com")))
    (event,) = compare(KEY, SEEN, two).events
    assert event.detail == (
        "the certificate of mx.contoso.com changed, and the two do not match: no record matches; "
        "mx2.contoso.com is a new mail host with TLSA records and a certificate, and the two do not match: no record matches"
    )


def test_an_event_is_cut_to_a_length() -> None:
    (event,) = compare(KEY, SEEN, later(1, replace(BAD, mismatch="x" * 5000))).events
    assert len(event.detail) == 1000


# ------------------------------------------------------------------------------------------------------- what ends soon


def ending(left: timedelta, life: timedelta = 30 * DAY, at: datetime = NOW) -> SignatureSeen:
    return SignatureSeen("MX contoso.com", at + left - life, at + left)


@pytest.mark.parametrize(
    ("left", "life", "soon"),
    [
        (timedelta(hours=71), 30 * DAY, True),
        (timedelta(hours=72), 30 * DAY, False),
        (timedelta(hours=71), 15 * DAY, True),
        (timedelta(hours=71), timedelta(hours=355), False),
        (timedelta(hours=24), 2 * DAY, False),  # signed as it is asked for
        (timedelta(hours=9), 2 * DAY, True),
        (timedelta(0), 30 * DAY, True),
        (timedelta(hours=-1), 30 * DAY, True),
    ],
)
def test_which_signatures_end_soon(left: timedelta, life: timedelta, soon: bool) -> None:
    signature = ending(left, life)
    assert signature.ends_soon(NOW) is soon
    assert Signature(1, "RSASHA256", "contoso.com", signature.begins, signature.expires).ends_soon(NOW) is soon


def test_a_signature_that_ends_is_told_once_and_the_next_one_again() -> None:
    ends = ending(2 * DAY)
    said = "the signature of MX contoso.com ends 2026-11-26T12:00:00Z, and was not made anew"
    first = compare(KEY, None, later(0, signature=ends))
    assert kinds(first) == [(DriftKind.SIGNATURES_END, said)]
    assert (first.after.told, first.events[0].at, first.events[0].last_seen) == (ends.expires, NOW, None)
    second = compare(KEY, first.after, later(1, signature=ends))
    assert kinds(second) == []
    unheard = compare(KEY, second.after, blind(2))
    assert kinds(unheard) == []
    anew = compare(KEY, unheard.after, later(3))
    assert kinds(anew) == []
    stale = compare(KEY, anew.after, later(3, signature=ends))
    assert kinds(stale) == [], "a stale server that answers now and then is no news"
    again = compare(KEY, stale.after, later(40, signature=ending(DAY, at=NOW + 40 * DAY)))
    assert [kind for kind, _ in kinds(again)] == [DriftKind.SIGNATURES_END]


def signed(rtype: str, name: str, *left: int, security: Security = Security.SECURE, present: bool = True) -> SignedAnswer:
    outcome = Outcome.FAILED if security in (Security.BOGUS, Security.UNKNOWN) else Outcome.DATA
    signatures = tuple(Signature(1, "RSASHA256", "contoso.com", NOW - 30 * DAY, NOW + days * DAY) for days in left)
    return SignedAnswer(name, rtype, outcome, security, present=present, signatures=signatures)


def link(zone: str, *left: int, security: Security = Security.SECURE) -> ZoneLink:
    return ZoneLink(zone, signed("DNSKEY", zone, *left, security=security), None)


def test_the_first_signature_to_end() -> None:
    mx, tlsa = signed("MX", "contoso.com", 9), signed("TLSA", "_25._tcp.mx.contoso.com", 5, 12)
    nobody = signed("A", "mx.contoso.com", security=Security.INSECURE)
    found = SignatureSeen("MX contoso.com", NOW - 30 * DAY, NOW + 9 * DAY)
    assert first_to_end([], [tlsa, mx, nobody]) == (found, True)
    keys = SignatureSeen("DNSKEY contoso.com", NOW - 30 * DAY, NOW + 2 * DAY)
    assert first_to_end([link("", 1), link("com", 1), link("contoso.com", 2)], [mx]) == (keys, True)
    assert first_to_end([], []) == (None, True)
    unsigned = signed("MX", "contoso.com", 1, security=Security.INSECURE)
    denied = signed("AAAA", "mx.contoso.com", 1, present=False)
    assert first_to_end([], [unsigned, denied]) == (None, True)
    for security in (Security.BOGUS, Security.UNKNOWN):
        assert first_to_end([], [mx, signed("A", "mx.contoso.com", 1, security=security)]) == (found, False)
        assert first_to_end([link("contoso.com", 1, security=security)], [mx]) == (found, False)
    same = signed("A", "a.contoso.com", 9)
    assert first_to_end([], [mx, same])[0] == replace(found, what="A a.contoso.com"), "the same answer whatever the order"


def cert(left: timedelta, life: timedelta = 90 * DAY) -> CertificateSeen:
    return CertificateSeen("ee" * 32, "e1" * 32, NOW + left - life, NOW + left)


@pytest.mark.parametrize(
    ("certificate", "soon"),
    [
        (cert(timedelta(days=13, hours=23)), True),
        (cert(14 * DAY), False),
        (cert(13 * DAY, 60 * DAY), False),
        (cert(11 * DAY, 60 * DAY), True),
        (cert(12 * DAY, 60 * DAY), False),
        (cert(-DAY), True),
        (CertificateSeen("ee" * 32, "", NOW, None), False),
        (CertificateSeen("ee" * 32, "", None, NOW), False),
    ],
)
def test_which_certificates_end_soon(certificate: CertificateSeen, soon: bool) -> None:
    assert certificate.ends_soon(NOW) is soon


ENDS = cert(5 * DAY)
EXACT, DIGEST = f"3 0 1 {ENDS.fingerprint}", f"3 0 2 {'ff' * 64}"
ONLY = replace(HOST, tlsa=(EXACT,), certificates=(ENDS,))


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        (ONLY, ENDS),
        (replace(ONLY, tlsa=(EXACT, DIGEST)), ENDS),
        (replace(ONLY, tlsa=(EXACT, f"3 0 1 {'00' * 32}")), None),  # the next one is there
        (replace(ONLY, tlsa=(EXACT, f"3 1 1 {ENDS.key}")), None),  # holds as long as the key does
        (replace(ONLY, tlsa=(f"3 1 1 {ENDS.key}",)), None),
        (replace(ONLY, tlsa=(f"2 0 1 {'00' * 32}",)), None),
        (replace(ONLY, matches=False), None),
        (replace(ONLY, matches=None), None),
        (replace(ONLY, tlsa=None), None),
        (replace(ONLY, tlsa=(), matches=None), None),
        (replace(ONLY, certificates=(ENDS, NEW)), None),
    ],
)
def test_a_certificate_that_no_record_outlives(host: HostSighting, bound: CertificateSeen | None) -> None:
    assert host.bound == bound


def test_a_renewal_that_nobody_prepared_is_told_once_for_a_certificate() -> None:
    said = "the certificate of mx.contoso.com ends 2026-11-29T12:00:00Z, and its TLSA records match no other"
    first = compare(KEY, None, later(0, ONLY))
    assert kinds(first) == [(DriftKind.RENEWAL_UNREADY, said)]
    second = compare(KEY, first.after, later(1, ONLY))
    assert kinds(second) == []
    unheard = compare(KEY, second.after, later(2, HostSighting(name=HOST.name, tlsa=(EXACT,))))
    assert kinds(unheard) == []
    following = replace(ENDS, fingerprint="dd" * 32, not_after=NOW + 12 * DAY)
    third = compare(KEY, unheard.after, later(3, replace(ONLY, tlsa=(f"3 0 1 {'dd' * 32}",), certificates=(following,))))
    assert [kind for kind, _ in kinds(third)] == [DriftKind.RENEWAL_UNREADY]
    two = later(0, host=None, hosts=(ONLY, replace(ONLY, name="mx2.contoso.com"), replace(HOST, name="mx3.contoso.com")))
    (event,) = compare(KEY, None, two).events
    assert event.detail == f"{said}; {said.replace('mx.', 'mx2.')}"


def test_a_certificate_of_long_ago_is_not_told_of_when_nobody_shows_it() -> None:
    fine = later(-60, replace(ONLY, seen_at=NOW - 60 * DAY))
    assert fine.hosts[0].bound is not None
    known = compare(KEY, None, fine)
    assert kinds(known) == []
    assert kinds(compare(KEY, known.after, blind(0))) == []
    silent = later(0, HostSighting(name=HOST.name))
    assert kinds(compare(KEY, known.after, silent)) == []


# ---------------------------------------------------------------------------------------------------- what it all bodes


def test_what_is_wrong_speaks_against_dane_while_it_is_fresh() -> None:
    bad = replace(SEEN, hosts=(BAD, replace(HOST, name="mx2.contoso.com")))
    said = "mx.contoso.com, probed 2026-11-24T12:00:00Z: no record matches."
    assert caveats_of(bad, Mechanism.DANE, NOW + 3 * DAY) == (Caveat(State.BROKEN, said),)
    assert caveats_of(bad, Mechanism.DANE, NOW + 3 * DAY + timedelta(seconds=1)) == ()
    assert caveats_of(bad, Mechanism.MTA_STS, NOW) == ()
    assert caveats_of(None, Mechanism.DANE, NOW) == ()
    assert caveats_of(SEEN, Mechanism.DANE, NOW) == ()
    old = replace(bad, at=NOW + 9 * DAY)
    assert caveats_of(old, Mechanism.DANE, NOW + 9 * DAY) == (), "the host itself was not seen for long"
    never = replace(bad, hosts=(replace(BAD, seen_at=None),))
    assert caveats_of(never, Mechanism.DANE, NOW) == ()


def test_what_ends_soon_makes_one_wait() -> None:
    signature = replace(SEEN, signature=ending(2 * DAY))
    said = "The signature of MX contoso.com ends 2026-11-26T12:00:00Z, and was not made anew."
    assert caveats_of(signature, Mechanism.DANE, NOW) == (Caveat(State.WAIT, said),)
    certificate = replace(SEEN, hosts=(ONLY, HOST))
    said = "The certificate of mx.contoso.com ends 2026-11-29T12:00:00Z, and its TLSA records match no other."
    assert caveats_of(certificate, Mechanism.DANE, NOW) == (Caveat(State.WAIT, said),)
    assert caveats_of(replace(SEEN, signature=None), Mechanism.DANE, NOW) == ()
    endless = replace(ONLY, certificates=(replace(ENDS, not_after=None),))
    assert caveats_of(replace(SEEN, hosts=(endless,)), Mechanism.DANE, NOW) == ()
