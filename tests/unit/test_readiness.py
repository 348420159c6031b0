"""Whether a destination could be held to Mandatory: what attempts see, the verdict from days, and that unknown never helps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.policy.attempt import Attempt
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.readiness import (
    DANE_NOT_OFFERED,
    DANE_UNKNOWN,
    STS_FAILED,
    STS_NOT_OFFERED,
    STS_UNKNOWN,
    Day,
    Mechanism,
    Sight,
    Tally,
    Trouble,
    sight_of_dane,
    sight_of_sts,
    why_not,
)
from sealroute.policy.readiness_verdict import Caveat, Readiness, Rules, State, judge
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import CheckResult, Protection, Verdict
from sealroute.policy.table import DANE, STS, row_names

D, M = Mechanism.DANE, Mechanism.MTA_STS
TODAY = date(2026, 11, 22)
AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
RULES = Rules(3, 10, 14)
HELD = Verdict(None, Protection.DANE, CheckResult(True), CheckResult(True), would_satisfy_dane=True, would_satisfy_sts=True)
BAD = Verdict(
    None, Protection.TLS, CheckResult(False, detail="no record matches"), CheckResult(False, detail="Expired: long ago"),
    would_satisfy_dane=False, would_satisfy_sts=False,
)  # fmt: skip


def attempt(*rows: str, verdict: Verdict | None = HELD, finding: Finding | None = None) -> Attempt:
    modes = SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.OPPORTUNISTIC
    return Attempt(AT, 1, "guid", "Bank", *modes, "contoso.com", rows, finding, "mx.contoso.com", verdict=verdict)


# ------------------------------------------------------------------------------------------------- what an attempt saw


def test_a_judged_handshake_is_what_the_verdict_says() -> None:
    held = attempt("mx-found", "dane-usable", "sts-enforce")
    assert (sight_of_dane(held), sight_of_sts(held)) == (Sight.SATISFIED, Sight.SATISFIED)
    bad = replace(held, verdict=BAD)
    assert (sight_of_dane(bad), sight_of_sts(bad)) == (Sight.FAILED, Sight.FAILED)


def test_a_server_that_was_not_reached_says_nothing() -> None:
    missed = attempt("mx-found", "dane-usable", "sts-enforce", verdict=None)
    assert (sight_of_dane(missed), sight_of_sts(missed)) == (None, None)


def test_a_mechanism_that_was_not_looked_at_says_nothing() -> None:
    blind = Verdict(None, Protection.TLS)
    off = attempt("dane-off", "sts-off", "host-address-unknown", verdict=blind)
    assert (sight_of_dane(off), sight_of_sts(off)) == (None, None)


@pytest.mark.parametrize("row", [row for row in row_names() if row in DANE])
def test_every_dane_row_has_one_meaning(row: str) -> None:
    """No satisfied verdict lifts a row that knows better; a row that nobody thought of would be taken by the verdict."""
    want = (
        Sight.UNKNOWN if row in DANE_UNKNOWN else Sight.NOT_OFFERED if row in DANE_NOT_OFFERED
        else Sight.FAILED if row == "dane-unusable" else Sight.SATISFIED
    )  # fmt: skip
    assert sight_of_dane(attempt(row)) is want
    if want is Sight.SATISFIED:
        assert row in ("dane-off", "dane-usable")


@pytest.mark.parametrize("row", [row for row in row_names() if row in STS])
def test_every_sts_row_has_one_meaning(row: str) -> None:
    want = (
        Sight.UNKNOWN if row in STS_UNKNOWN else Sight.NOT_OFFERED if row in STS_NOT_OFFERED
        else Sight.FAILED if row in STS_FAILED else Sight.SATISFIED
    )  # fmt: skip
    assert sight_of_sts(attempt(row)) is want
    if want is Sight.SATISFIED:
        assert row in ("sts-off", "sts-enforce")


@pytest.mark.parametrize("row", sorted((DANE_UNKNOWN | STS_UNKNOWN) - {"dane-absent"}))
def test_an_unknown_row_is_unknown_whatever_stands_beside_it(row: str) -> None:
    if row in DANE_UNKNOWN:
        assert sight_of_dane(attempt("dane-absent", row)) is Sight.UNKNOWN
    if row in STS_UNKNOWN:
        assert sight_of_sts(attempt("sts-absent", row)) is Sight.UNKNOWN


def test_the_rows_are_rows_of_the_table() -> None:
    assert {*row_names()} >= DANE_UNKNOWN | DANE_NOT_OFFERED | STS_UNKNOWN | STS_NOT_OFFERED | STS_FAILED


WHYS = [
    ("a check that failed", attempt("dane-usable", verdict=BAD), D, Sight.FAILED, "mx.contoso.com: no record matches"),
    ("the other's check", attempt("sts-enforce", verdict=BAD), M, Sight.FAILED, "mx.contoso.com: Expired: long ago"),
    ("held before a handshake",
     attempt("dane-tlsa-unknown", verdict=None, finding=Finding(Reason.DNSSEC_INVALID, "TLSA mx.contoso.com: SERVFAIL")),
     D, Sight.UNKNOWN, "TLSA mx.contoso.com: SERVFAIL"),
    ("a finding without words",
     attempt("dane-absent", "sts-absent", verdict=None, finding=Finding(Reason.CONNECT_TIMEOUT)),
     D, Sight.NOT_OFFERED, "mx.contoso.com: dane-absent"),
    ("rows of the other are left out", attempt("mx-found", "dane-absent", "sts-testing", verdict=BAD), M, Sight.NOT_OFFERED,
     "mx.contoso.com: mx-found, sts-testing"),
    ("a check that held is no cause", attempt("dane-unusable", "sts-enforce"), D, Sight.FAILED, "mx.contoso.com: dane-unusable"),
    ("a finding after a handshake is about something else",
     attempt("dane-absent", verdict=HELD, finding=Finding(Reason.TRY_LATER, "busy")), D, Sight.NOT_OFFERED,
     "mx.contoso.com: dane-absent"),
    ("no host", replace(attempt("mx-bogus", verdict=None), host=""), D, Sight.UNKNOWN, "mx-bogus"),
]  # fmt: skip


@pytest.mark.parametrize(("tried", "mechanism", "sight", "why"), [case[1:] for case in WHYS], ids=[case[0] for case in WHYS])
def test_why_not(tried: Attempt, mechanism: Mechanism, sight: Sight, why: str) -> None:
    assert why_not(tried, mechanism, sight) == why


# --------------------------------------------------------------------------------------------------------- the verdict


def day(ago: int, satisfied: int = 0, failed: int = 0, not_offered: int = 0, unknown: int = 0) -> Day:
    """A day some days before today; its trouble is at noon."""
    on = TODAY - timedelta(days=ago)
    trouble = Trouble(datetime(on.year, on.month, on.day, 12, tzinfo=UTC), f"trouble {ago} days ago")
    tally = Tally(satisfied, failed, not_offered, unknown, trouble if failed or not_offered or unknown else None)
    return Day(on, satisfied + failed + not_offered + unknown + 1, tally, Tally())


def verdict(*days: Day, rules: Rules = RULES) -> Readiness:
    return judge(D, days, TODAY, rules)


def trouble(ago: int) -> str:
    return f"Last trouble {TODAY - timedelta(days=ago)}T12:00:00Z: trouble {ago} days ago."


CASES = [
    ("nothing tried", [], State.WAIT, ("No mail was tried yet.",)),
    ("not looked at", [day(0)], State.WAIT, ("DANE was not looked at: the connector's mode is None, or no server was reached.",)),
    ("exactly enough", [day(2, 4), day(1, 3), day(0, 3)], State.READY,
     ("All 10 sessions on 3 days since 2026-11-20 were satisfied.",)),
    ("days that say nothing are left out", [day(9, 4), day(5, 3), day(2), day(1, 3), day(0)], State.READY,
     ("All 10 sessions on 3 days since 2026-11-13 were satisfied.",)),
    ("in any order", [day(0, 3), day(2, 4), day(1, 3)], State.READY,
     ("All 10 sessions on 3 days since 2026-11-20 were satisfied.",)),
    ("one session too few", [day(2, 3), day(1, 3), day(0, 3)], State.WAIT, ("9 satisfied sessions of 10.",)),
    ("one day too few", [day(1, 5), day(0, 5)], State.WAIT, ("2 good days of 3.",)),
    ("the first day", [day(0, 1)], State.WAIT, ("1 good day of 3.", "1 satisfied session of 10.")),
    ("just fresh enough", [day(16, 4), day(15, 4), day(14, 4)], State.READY,
     ("All 12 sessions on 3 days since 2026-11-06 were satisfied.",)),
    ("too old", [day(17, 4), day(16, 4), day(15, 4)], State.WAIT, ("Nothing was seen for 15 days.",)),
    ("a failure long ago", [day(4, 9, failed=1), day(2, 4), day(1, 4), day(0, 4)], State.READY,
     ("All 12 sessions on 3 days since 2026-11-20 were satisfied.",)),
    ("a failure not long ago", [day(3, 4), day(2, 9, failed=1), day(1, 4), day(0, 8)], State.WAIT,
     ("2 good days of 3.", trouble(2))),
    ("a failure now", [day(2, 4), day(1, 4), day(0, 4, failed=2)], State.BROKEN, ("2 sessions failed on 2026-11-22.", trouble(0))),
    ("one failure, then nothing certain", [day(1, failed=1), day(0, unknown=1)], State.BROKEN,
     ("1 session failed on 2026-11-21.", trouble(0))),
    ("not offered", [day(0, not_offered=4)], State.NOT_OFFERED, (trouble(0),)),
    ("no longer offered", [day(2, 4), day(1, 4), day(0, not_offered=4)], State.NOT_OFFERED, (trouble(0),)),
    ("offered again", [day(1, not_offered=4), day(0, 12)], State.WAIT, ("1 good day of 3.", trouble(1))),
    ("not offered by every server", [day(0, 12, not_offered=1)], State.WAIT,
     ("1 session met a server without it.", "0 good days of 3.", "0 satisfied sessions of 10.", trouble(0))),
    ("not offered, or unknown", [day(0, not_offered=4, unknown=1)], State.WAIT,
     ("Whether it has DANE could not be found out in 1 attempt.", "4 sessions met a server without it.", "0 good days of 3.",
      "0 satisfied sessions of 10.", trouble(0))),
    ("not offered, unknown since", [day(1, not_offered=4), day(0, unknown=2)], State.WAIT,
     ("Whether it has DANE could not be found out in 2 attempts.", "0 good days of 3.", "0 satisfied sessions of 10.",
      trouble(0))),
    ("unknown before, not offered now", [day(1, unknown=4), day(0, not_offered=4)], State.NOT_OFFERED, (trouble(0),)),
    ("never known", [day(1, unknown=1), day(0, unknown=1)], State.WAIT,
     ("Whether it has DANE could not be found out.", trouble(0))),
    ("unknown once among good", [day(4, 4), day(3, 4, unknown=1), day(2, 4), day(1, 4), day(0, 4)], State.READY,
     ("All 12 sessions on 3 days since 2026-11-20 were satisfied.",)),
]  # fmt: skip


@pytest.mark.parametrize(("days", "state", "reasons"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_verdict(days: list[Day], state: State, reasons: tuple[str, ...]) -> None:
    found = verdict(*days)
    assert (found.state, found.reasons) == (state, reasons)


def probe(ago: int, satisfied: int = 0, failed: int = 0, not_offered: int = 0, unknown: int = 0) -> Day:
    """A day on which nothing but probes tell something."""
    alike = day(ago, satisfied, failed, not_offered, unknown)
    return Day(alike.day, 0, Tally(), Tally(), alike.attempts, alike.dane, Tally())


def with_probes(ago: int, sessions: int, probes: int, **what: int) -> Day:
    """A day with both."""
    return replace(day(ago, sessions, **what), probes=probes, probed_dane=Tally(probes))


PROBED = Rules(3, 10, 14, probes=4)
WITH_PROBES = [
    ("probes alone", [probe(2, 2), probe(1, 1), probe(0, 1)], State.READY,
     ("All 4 probes on 3 days since 2026-11-20 were satisfied.",)),
    ("one probe too few", [probe(2, 1), probe(1, 1), probe(0, 1)], State.WAIT,
     ("0 satisfied sessions of 10 (or 3 probes of 4).",)),
    ("both", [with_probes(2, 4, 1), day(1, 3), day(0, 3)], State.READY,
     ("All 10 sessions and 1 probes on 3 days since 2026-11-20 were satisfied.",)),
    ("probes are no sessions", [with_probes(2, 3, 1), day(1, 3), day(0, 3)], State.WAIT,
     ("9 satisfied sessions of 10 (or 1 probe of 4).",)),
    ("too few days", [probe(0, 9)], State.WAIT, ("1 good day of 3.",)),
    ("a probe that failed", [day(1, 9), replace(day(0, 9), probes=1, probed_dane=Tally(0, 1))], State.BROKEN,
     ("1 probe failed on 2026-11-22.",)),
    ("sessions and probes that failed", [replace(day(0, 0, 2), probes=1, probed_dane=Tally(0, 1))], State.BROKEN,
     ("2 sessions and 1 probe failed on 2026-11-22.", trouble(0))),
    ("a probe that met none, among good", [replace(day(0, 9), probes=1, probed_dane=Tally(0, 0, 1))], State.WAIT,
     ("1 probe met a server without it.", "0 good days of 3.", "0 satisfied sessions of 10.")),
    ("not offered, say probes", [probe(0, not_offered=2)], State.NOT_OFFERED, (trouble(0),)),
    ("a probe that could not find out", [day(1, 9), replace(day(0, 9), probes=2, probed_dane=Tally(0, 0, 0, 2))], State.WAIT,
     ("Whether it has DANE could not be found out in 2 probes.", "0 good days of 3.", "0 satisfied sessions of 10.")),
    ("nobody was reached", [Day(TODAY, 0, Tally(), Tally(), 1)], State.WAIT,
     ("DANE was not looked at: the connector's mode is None, or no server was reached.",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("days", "state", "reasons"), [case[1:] for case in WITH_PROBES], ids=[case[0] for case in WITH_PROBES]
)
def test_verdict_with_probes(days: list[Day], state: State, reasons: tuple[str, ...]) -> None:
    found = verdict(*days, rules=PROBED)
    assert (found.state, found.reasons) == (state, reasons)


def test_probes_take_the_place_of_sessions_only_where_the_rules_say_so() -> None:
    days = [probe(ago, 9) for ago in range(3)]
    assert verdict(*days, rules=replace(PROBED, probes=None)).reasons == ("0 satisfied sessions of 10.",)
    week = [probe(ago, 1) for ago in range(7)]
    assert verdict(*week, rules=Rules()).state is State.READY
    assert verdict(*week[:6], rules=Rules()).reasons == ("6 good days of 7.", "0 satisfied sessions of 20 (or 6 probes of 7).")


def test_sessions_and_probes_count_together_and_each_mechanism_by_itself() -> None:
    both = replace(with_probes(0, 2, 3), probed_sts=Tally(0, 0, 5))
    assert both.tally(D) == Tally(5)
    assert (day(0, 1).probes, day(0, 1).probed(D)) == (0, Tally())
    assert both.probed(D) == Tally(3)
    assert (both.tally(M), both.probed(M)) == (Tally(0, 0, 5), Tally(0, 0, 5))
    assert verdict(both).total == Tally(5)
    assert judge(M, [both], TODAY, RULES).state is State.NOT_OFFERED


WAITS, BREAKS = Caveat(State.WAIT, "It ends soon."), Caveat(State.BROKEN, "It does not match.")


def test_caveats_turn_a_better_verdict_into_their_own() -> None:
    ready, wait = [day(2, 4), day(1, 3), day(0, 3)], [day(0, 1)]
    said = "All 10 sessions on 3 days since 2026-11-20 were satisfied."

    def judged(days: list[Day], *caveats: Caveat) -> tuple[State, tuple[str, ...]]:
        found = judge(D, days, TODAY, RULES, caveats)
        return found.state, found.reasons

    assert judged(ready) == (State.READY, (said,))
    assert judged(ready, WAITS) == (State.WAIT, ("It ends soon.", said))
    assert judged(ready, BREAKS, WAITS) == (State.BROKEN, ("It does not match.", "It ends soon.", said))
    assert judged(wait, WAITS)[0] is State.WAIT
    assert judged(wait, BREAKS)[0] is State.BROKEN
    broken = [day(0, 4, failed=2)]
    assert judged(broken, WAITS) == (
        State.BROKEN, ("It ends soon.", "2 sessions failed on 2026-11-22.", trouble(0))
    )  # fmt: skip
    assert judged([day(0, not_offered=4)], BREAKS) == (State.NOT_OFFERED, (trouble(0),))
    assert judged([], BREAKS) == (State.WAIT, ("No mail was tried yet.",))


def test_usual_rules() -> None:
    week = [day(ago, 3) for ago in range(7)]
    assert verdict(*week, rules=Rules()).state is State.READY
    assert verdict(*week[:6], rules=Rules()).reasons == ("6 good days of 7.", "18 satisfied sessions of 20.")
    assert verdict(*(day(ago + 14, 3) for ago in range(7)), rules=Rules()).state is State.READY
    assert verdict(*(day(ago + 15, 3) for ago in range(7)), rules=Rules()).state is State.WAIT


def test_each_mechanism_by_itself() -> None:
    both = [replace(day(ago, 4), sts=Tally(not_offered=1, trouble=Trouble(AT, "sts-absent"))) for ago in range(3)]
    assert judge(D, both, TODAY, RULES).state is State.READY
    assert judge(M, both, TODAY, RULES) == Readiness(
        State.NOT_OFFERED, ("Last trouble 2026-11-22T09:30:00Z: sts-absent.",), Tally(0, 0, 3, 0, Trouble(AT, "sts-absent"))
    )


def test_the_share_leaves_unknown_out() -> None:
    assert verdict(day(1, 1, 1, 1, 5), day(0, 1)).share == 0.5
    assert verdict(day(0, unknown=3)).share is None
    assert verdict().total == Tally()


def test_a_day_without_a_satisfied_session_is_not_good() -> None:
    assert Tally(satisfied=1).good
    assert not Tally().good


def test_of_two_troubles_the_later_stays() -> None:
    early, late = Trouble(AT, "early"), Trouble(AT + timedelta(seconds=1), "late")
    assert Tally(1, 2, 3, 4, late).plus(Tally(10, 20, 30, 40, early)) == Tally(11, 22, 33, 44, late)
    assert Tally(trouble=early).plus(Tally(trouble=late)).trouble == late
    assert Tally(trouble=early).plus(Tally()).trouble == early


counts = st.integers(0, 12)
tallies = st.builds(day, st.integers(0, 20), counts, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


@given(st.lists(tallies, max_size=8, unique_by=lambda day: day.day), st.data())
def test_unknown_never_counts_as_satisfied_nor_as_not_offered(days: list[Day], data: st.DataObject) -> None:
    """Whatever becomes unknown, no verdict turns to READY, nor to NOT_OFFERED, and no number of satisfied ones grows."""
    before = verdict(*days)
    changed = []
    for item in days:
        lost = data.draw(st.integers(0, item.dane.satisfied))
        more = data.draw(st.integers(0, 2))
        tally = replace(item.dane, satisfied=item.dane.satisfied - lost, unknown=item.dane.unknown + lost + more)
        changed.append(replace(item, dane=tally))
    after = verdict(*changed)
    assert after.total.satisfied <= before.total.satisfied
    assert after.state is not State.READY or before.state is State.READY
    touched = changed != days
    if touched and after.state is State.NOT_OFFERED:
        assert all(not item.dane.unknown for item in changed if item.day >= max(d.day for d in changed if d.dane.certain))


@given(st.lists(tallies, max_size=8, unique_by=lambda day: day.day))
def test_ready_means_that_nothing_was_wrong_for_long_enough(days: list[Day]) -> None:
    found = verdict(*days)
    if found.state is State.READY:
        seen = sorted((item for item in days if item.dane.certain or item.dane.unknown), key=lambda item: item.day)
        last = [item.dane for item in seen[-RULES.days :]]
        assert len(last) == RULES.days
        assert all(tally.satisfied and not (tally.failed or tally.not_offered or tally.unknown) for tally in last)
