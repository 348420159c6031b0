"""Moves of pinned connectors: what each step lacks, when one is rolled back, what it makes of the connector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import OperatorError
from sealroute.base.times import span
from sealroute.policy.attempt import Attempt
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.move import (
    MAX_HELD,
    THE_PEERS,
    Held,
    Mark,
    Move,
    MoveRules,
    MoveStep,
    PartnerState,
    Situation,
    counted,
    missing,
    progress,
    roll_back,
    seen_by,
)
from sealroute.policy.move_json import move_from_json, move_to_json
from sealroute.policy.move_steps import back, demanding, kept, routed_by_mx
from sealroute.policy.readiness import Day, Mechanism, Tally, Trouble
from sealroute.policy.reasons import Reason
from tests.store_making import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PINNED = Connector(
    guid="c1", name="To Fabrikam", use_mx_record=False, recipient_domains=("fabrikam.com",), smart_hosts=("192.0.2.1",),
    tls_settings=TlsSettings.DOMAIN_VALIDATION, tls_domain="*.fabrikam.com", smtp_dane_mode=SmtpDaneMode.NONE,
    mta_sts_mode=MtaStsMode.NONE, comment="since 2019", message_expiration=12 * HOUR,
)  # fmt: skip
STATE = PartnerState("fabrikam.com", "dane", True, ("mx.fabrikam.com",), (), ("192.0.2.4",))
MOVE = Move(
    id="m1",
    organization="default",
    connector_guid="c1",
    connector_name="To Fabrikam",
    mechanism=Mechanism.DANE,
    step=MoveStep.OBSERVING,
    rules=MoveRules(),
    before=PINNED,
    kept_guid="c2",
    kept_name="To Fabrikam (pinned)",
    started=Mark(NOW, "admin"),
    partner_before=(STATE,),
)
MANDATORY = replace(MOVE, step=MoveStep.MANDATORY, mandatory=Mark(NOW + 14 * DAY, "admin"))
DONE = replace(MANDATORY, step=MoveStep.DONE)
BACK = replace(MOVE, step=MoveStep.ROLLED_BACK)


def day(ago: int, dane: Tally, sts: Tally = Tally()) -> Day:
    return Day(NOW.date() + timedelta(days=ago), 1, dane, sts)


def held(count: int, since: timedelta = HOUR, reason: Reason = Reason.TLSA_INVALID) -> tuple[Held, ...]:
    """Messages that began to wait so long after the start, each a second after the other."""
    return tuple(Held("fabrikam.com", NOW + since + timedelta(seconds=number), reason) for number in range(count))


def seen(at: timedelta, days: Sequence[Day] = (), waits: Sequence[Held] = (), not_now: str = "") -> Situation:
    return Situation(NOW + at, {"fabrikam.com": days} if days else {}, tuple(waits), not_now)


def test_usual_rules() -> None:
    assert MAX_HELD == 10_000
    assert MoveRules() == MoveRules(14 * DAY, 20, 10, 4 * HOUR, 90 * DAY)


def test_a_span_of_time_in_words() -> None:
    assert [span(timedelta(seconds=n)) for n in (-5, 0, 59, 60, 3600, 3661, 86400, 90061)] == [
        "0s", "0s", "59s", "1m", "1h", "1h 1m", "1d", "1d 1h",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ observing

GOOD = day(0, Tally(20))
FAILED = day(3, Tally(5, 1, 1, 0, Trouble(NOW, "mx.fabrikam.com: no record matches")))


@pytest.mark.parametrize(
    ("situation", "lacks"),
    [
        (seen(14 * DAY, [GOOD]), ()),
        (seen(14 * DAY - HOUR, [GOOD]), ("Observed for 13d 23h of 14d.",)),
        (seen(14 * DAY, [day(0, Tally(19))]), ("19 of 20 satisfied sessions.",)),
        (seen(14 * DAY), ("0 of 20 satisfied sessions.", "No satisfied session with fabrikam.com.")),
        (seen(14 * DAY, [GOOD], held(1)), ("1 message held, the oldest since 2026-11-22T13:00:00Z.",)),
        (seen(14 * DAY, [GOOD], held(2)[::-1]), ("2 messages held, the oldest since 2026-11-22T13:00:00Z.",)),
        (seen(14 * DAY, [GOOD], (), "why"), ("Mandatory would not deliver now: why.",)),
        (
            seen(14 * DAY, [GOOD, FAILED]),
            (
                "Observed for 10d 12h of 14d.", "0 of 20 satisfied sessions.", "No satisfied session with fabrikam.com.",
                "On 2026-11-25 2 of 7 sessions with fabrikam.com were not satisfied: mx.fabrikam.com: no record matches."
                " What counts begins on 2026-11-26.",
            ),
        ),
        (
            seen(14 * DAY, [day(3, Tally(7, unknown=2)), day(4, Tally(20))]),
            (
                "Observed for 10d 12h of 14d.",
                "On 2026-11-25 2 of 9 sessions with fabrikam.com were not satisfied. What counts begins on 2026-11-26.",
            ),
        ),
        (seen(DAY, [day(1, Tally(0, 1))]), (
            "Observed for 0s of 14d.", "0 of 20 satisfied sessions.", "No satisfied session with fabrikam.com.",
            "On 2026-11-23 1 of 1 sessions with fabrikam.com were not satisfied. What counts begins on 2026-11-24.",
        )),
        (seen(18 * DAY, [FAILED, day(4, Tally(20))]), ()),
        (seen(14 * DAY, [day(0, Tally(20), Tally(0, 5))]), ()),
        (seen(14 * DAY, [GOOD, day(2, Tally())]), ()),
    ],
)  # fmt: skip
def test_what_is_missing_for_mandatory(situation: Situation, lacks: tuple[str, ...]) -> None:
    assert missing(MOVE, situation) == lacks


def test_every_domain_needs_a_session() -> None:
    both = replace(MOVE, before=replace(PINNED, recipient_domains=("fabrikam.com", "fabrikam.test")))
    assert missing(both, seen(14 * DAY, [GOOD])) == ("No satisfied session with fabrikam.test.",)
    days = {"fabrikam.com": [GOOD], "fabrikam.test": [day(2, Tally(0, 0, 3)), day(3, Tally(1))]}
    found = progress(both, days)
    assert (found.total, found.days, found.satisfied, found.silent) == (Tally(21, 0, 3), 3, 1, ("fabrikam.com",))
    assert found.bad_days == (("fabrikam.test", days["fabrikam.test"][0]),)


def test_the_last_bad_day_of_any_domain_counts() -> None:
    days = {"a.test": [day(4, Tally(0, 1)), day(2, Tally(0, 1))], "b.test": [day(3, Tally(0, 1)), day(4, Tally(0, 1))]}
    found = progress(MOVE, days)
    assert [(domain, bad.day.day) for domain, bad in found.bad_days] == [
        ("a.test", 24),
        ("b.test", 25),
        ("a.test", 26),
        ("b.test", 26),
    ]
    assert found.counts_from == NOW.replace(hour=0) + 5 * DAY
    assert progress(MOVE, {}).counts_from == NOW
    lacks = missing(MOVE, Situation(NOW + 7 * DAY, days))
    assert lacks[-1] == "On 2026-11-26 1 of 1 sessions with b.test were not satisfied. What counts begins on 2026-11-27."


def test_mta_sts_reads_its_own_counts() -> None:
    move = replace(MOVE, mechanism=Mechanism.MTA_STS)
    assert missing(move, seen(14 * DAY, [day(0, Tally(0, 0, 9), Tally(20))])) == ()
    assert (move.mode, MOVE.mode) == ("MtaStsMode", "SmtpDaneMode")


REVIEW = 104 * DAY


@pytest.mark.parametrize(
    ("move", "situation", "lacks"),
    [
        (MANDATORY, seen(REVIEW), ()),
        (MANDATORY, seen(REVIEW - HOUR), ("The review date 2027-03-06T12:00:00Z has not come.",)),
        (MANDATORY, seen(REVIEW - HOUR, (), (), "why"), (
            "The review date 2027-03-06T12:00:00Z has not come.", "Mandatory would not deliver now: why.",
        )),
        (MANDATORY, seen(REVIEW, (), held(1)), ("1 message held, the oldest since 2026-11-22T13:00:00Z.",)),
        (DONE, seen(HOUR, (), held(1)), ()),
        (BACK, seen(HOUR, (), held(1)), ()),
    ],
)  # fmt: skip
def test_what_is_missing_for_the_end(move: Move, situation: Situation, lacks: tuple[str, ...]) -> None:
    assert missing(move, situation) == lacks


days_of_any_kind = st.lists(
    st.builds(
        day,
        st.integers(0, 30),
        st.builds(Tally, st.integers(0, 30), *[st.integers(0, 1)] * 3),
        st.just(Tally()),
    ),
    max_size=8,
)


@given(days_of_any_kind, st.integers(0, 60), st.integers(0, 2), st.booleans())
def test_mandatory_is_never_asked_for_without_enough_proof(days: list[Day], after: int, waits: int, now: bool) -> None:
    situation = seen(after * DAY, days, held(waits), "" if now else "why")
    if missing(MOVE, situation):
        return
    bad = [item.day for item in days if item.dane.failed or item.dane.not_offered or item.dane.unknown]
    since = max(bad, default=date.min)
    assert now
    assert not waits
    assert sum(item.dane.satisfied for item in days if item.day > since) >= MOVE.rules.sessions
    assert situation.now.date() - max(since, NOW.date()) >= timedelta(days=14)


# ----------------------------------------------------------------------------------------------------------- roll back


@pytest.mark.parametrize(
    ("move", "situation", "why"),
    [
        (MOVE, seen(2 * HOUR), ""),
        (MOVE, seen(2 * HOUR, (), held(9)), ""),
        (MOVE, seen(2 * HOUR, (), held(10)), (
            "10 messages held, the oldest for 1h; the limit is 10 messages. Why: tlsa-invalid at fabrikam.com."
        )),
        (MOVE, seen(5 * HOUR, (), held(2)[::-1]), (
            "2 messages held, the oldest for 4h; the limit is 4h. Why: tlsa-invalid at fabrikam.com."
        )),
        (MOVE, seen(5 * HOUR - timedelta(seconds=1), (), held(2)), ""),
        (replace(MOVE, rules=MoveRules(max_held=1)), seen(HOUR, (), held(1)), (
            "1 message held, the oldest for 0s; the limit is 1 message. Why: tlsa-invalid at fabrikam.com."
        )),
        (MANDATORY, seen(20 * DAY, (), held(1)), (
            "1 message held, the oldest for 19d 23h; the limit is 4h. Why: tlsa-invalid at fabrikam.com."
        )),
        (MANDATORY, seen(REVIEW, (), held(10)), ""),
        (DONE, seen(20 * DAY, (), held(10)), ""),
        (BACK, seen(20 * DAY, (), held(10)), ""),
    ],
)  # fmt: skip
def test_when_it_is_rolled_back(move: Move, situation: Situation, why: str) -> None:
    assert roll_back(move, situation) == why


@given(st.sampled_from([MOVE, MANDATORY, DONE, BACK]), st.integers(0, 12), st.integers(0, 200 * 24), st.integers(0, 200 * 24))
def test_it_is_rolled_back_exactly_beyond_a_limit(move: Move, count: int, since: int, after: int) -> None:
    waits = held(count, since * HOUR)
    situation = seen((since + after) * HOUR, (), waits)
    over = count >= 10 or (count > 0 and after >= 4)
    in_time = move.step is MoveStep.OBSERVING or (move.step is MoveStep.MANDATORY and situation.now < NOW + REVIEW)
    assert bool(roll_back(move, situation)) == (over and in_time)


def test_what_the_peer_says_itself_is_not_counted() -> None:
    every = tuple(Held("fabrikam.com", NOW, reason) for reason in Reason)
    assert {item.reason for item in every} - {item.reason for item in counted(every)} == THE_PEERS
    assert {reason.value for reason in THE_PEERS} == {
        "try-later", "rejected", "host-rejected", "feature-unsupported", "suspended",
    }  # fmt: skip


def test_which_attempts_tell_of_a_move() -> None:
    modes = SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.OPPORTUNISTIC
    attempt = Attempt(NOW, 1, "c1", "To Fabrikam", *modes, "fabrikam.com", ("mx-found", "dane-usable"), None)
    assert seen_by(attempt, NOW)
    assert not seen_by(attempt, NOW + timedelta(microseconds=1))
    assert not seen_by(replace(attempt, rows=("smart-host", "dane-literal")), NOW)


def test_a_move_knows_its_dates() -> None:
    assert MOVE.review_at is None
    assert MANDATORY.review_at == NOW + REVIEW
    assert MOVE.watched(NOW + 1000 * DAY)
    assert MANDATORY.watched(NOW + REVIEW - HOUR)
    assert [move.watched(NOW) for move in (DONE, BACK)] == [False, False]
    assert [step.value for step in MoveStep if step.active] == ["observing", "mandatory"]


# ------------------------------------------------------------------------------------------------------- the connector


@pytest.mark.parametrize(
    ("mechanism", "given_settings", "settings"),
    [
        (Mechanism.DANE, TlsSettings.DOMAIN_VALIDATION, TlsSettings.ENCRYPTION_ONLY),
        (Mechanism.DANE, TlsSettings.CERTIFICATE_VALIDATION, TlsSettings.ENCRYPTION_ONLY),
        (Mechanism.DANE, TlsSettings.ENCRYPTION_ONLY, TlsSettings.ENCRYPTION_ONLY),
        (Mechanism.DANE, None, None),
        (Mechanism.MTA_STS, TlsSettings.DOMAIN_VALIDATION, TlsSettings.CERTIFICATE_VALIDATION),
        (Mechanism.MTA_STS, TlsSettings.CERTIFICATE_VALIDATION, TlsSettings.CERTIFICATE_VALIDATION),
        (Mechanism.MTA_STS, TlsSettings.ENCRYPTION_ONLY, TlsSettings.ENCRYPTION_ONLY),
        (Mechanism.MTA_STS, None, None),
    ],
)
def test_routed_by_mx(mechanism: Mechanism, given_settings: TlsSettings | None, settings: TlsSettings | None) -> None:
    assert routed_by_mx(replace(PINNED, tls_settings=given_settings), mechanism) == replace(
        PINNED,
        use_mx_record=True,
        smart_hosts=(),
        tls_domain=None,
        tls_settings=settings,
        smtp_dane_mode=SmtpDaneMode.OPPORTUNISTIC,
        mta_sts_mode=MtaStsMode.OPPORTUNISTIC,
    )


@given(st.sampled_from(SmtpDaneMode), st.sampled_from(MtaStsMode), st.sampled_from(Mechanism))
def test_no_step_weakens_a_mode(dane: SmtpDaneMode, sts: MtaStsMode, mechanism: Mechanism) -> None:
    order = [mode.value for mode in SmtpDaneMode]
    before = replace(PINNED, smtp_dane_mode=dane, mta_sts_mode=sts)
    by_mx = routed_by_mx(before, mechanism)
    strict = demanding(by_mx, mechanism)
    for earlier, later in ((before, by_mx), (by_mx, strict)):
        assert order.index(later.smtp_dane_mode.value) >= order.index(earlier.smtp_dane_mode.value)
        assert order.index(later.mta_sts_mode.value) >= order.index(earlier.mta_sts_mode.value)
    now = strict.smtp_dane_mode if mechanism is Mechanism.DANE else strict.mta_sts_mode
    assert now.value == "Mandatory"
    other = (
        (strict.mta_sts_mode, by_mx.mta_sts_mode)
        if mechanism is Mechanism.DANE
        else (strict.smtp_dane_mode, by_mx.smtp_dane_mode)
    )
    assert other[0] is other[1]


def test_nothing_of_the_old_connector_is_lost() -> None:
    fallback = kept(PINNED, "c2")
    assert fallback == replace(PINNED, guid="c2", name="To Fabrikam (pinned)", enabled=False)
    moved = replace(
        demanding(routed_by_mx(PINNED, Mechanism.DANE), Mechanism.DANE), name="Fabrikam", when_created=NOW, when_changed=NOW
    )
    restored = back(moved, fallback, PINNED)
    assert restored == replace(PINNED, name="Fabrikam", when_created=NOW, when_changed=NOW)
    changed = replace(fallback, smart_hosts=("192.0.2.9",), when_created=NOW - DAY, when_changed=NOW - DAY)
    assert back(moved, changed, PINNED).smart_hosts == ("192.0.2.9",)
    assert not back(moved, fallback, replace(PINNED, enabled=False)).enabled


def test_a_long_name_is_cut() -> None:
    assert kept(replace(PINNED, name="x" * 55 + "yzw"), "c2").name == "x" * 55 + " (pinned)"
    assert kept(replace(PINNED, name="x" * 54 + " yzw"), "c2").name == "x" * 54 + " (pinned)"
    assert len(kept(replace(PINNED, name="x" * 64), "c2").name) == 64


# --------------------------------------------------------------------------------------------------------------- at rest


def keys(move: Move) -> dict[str, str]:
    return {
        "id": move.id, "organization": move.organization, "connector_guid": move.connector_guid,
        "connector_name": move.connector_name, "step": move.step.value,
    }  # fmt: skip


@pytest.mark.parametrize(
    "move",
    [
        MOVE,
        replace(
            MANDATORY,
            mechanism=Mechanism.MTA_STS,
            mandatory=Mark(NOW + DAY, "bob", "it is urgent"),
            partner_mandatory=(replace(STATE, tls_rpt=False, without_tlsa=("mx2.fabrikam.com",)), STATE),
            after=routed_by_mx(PINNED, Mechanism.DANE),
            rules=MoveRules(timedelta(seconds=1.5), 2, 3, timedelta(seconds=4), timedelta(seconds=5)),
        ),
        replace(BACK, ended=Mark(NOW, "sealroute", "10 messages held")),
    ],
)
def test_a_move_comes_back_as_it_was_written(move: Move) -> None:
    text = move_to_json(move)
    assert move_from_json(keys(move), text) == move
    assert text.isascii()
    assert ": " not in text.replace("message: ", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        move_to_json(MOVE).replace('"DANE"', '"DNAE"'),
        move_to_json(MOVE).replace('"started":{', '"started":null,"x":{'),
    ],
)
def test_a_move_that_cannot_be_read_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(OperatorError, match="move m1: it cannot be read: "):
        move_from_json(keys(MOVE), text)
