"""How much a destination bears: what a run says of it, and what becomes of its window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.pace import BROKEN_OFF, SERVED, START_WINDOW, Feedback, Heard, Window, heard, overload
from sealroute.policy.reasons import Finding, Reason
from tests.unit.fakes import NOW, reply

TAKEN, OVERLOADED, NOTHING = Feedback.TAKEN, Feedback.OVERLOADED, Feedback.NOTHING


def attempt(finding: Finding | None, *fates: RecipientFate, said: str = "RCPT TO:<bob@contoso.com>") -> Attempt:
    replies = tuple((said, fate.reply) for fate in fates if fate.reply is not None)
    return Attempt(
        NOW,
        1,
        "g",
        "Contoso",
        SmtpDaneMode.NONE,
        MtaStsMode.NONE,
        "contoso.com",
        (),
        finding,
        recipients=fates,
        replies=replies,
    )


def deferred(text: str) -> RecipientFate:
    said = reply(text)
    return RecipientFate("bob@contoso.com", Fate.DEFERRED, said, Finding(Reason.TRY_LATER, text, code=said.enhanced))


def told(text: str, said: str) -> Heard:
    fate = deferred(text)
    return heard((fate,), (attempt(fate.finding, fate, said=said),))


MAIL, RCPT, CONTENT = "MAIL FROM:<alice@sender.example>", "RCPT TO:<bob@contoso.com>", "(end of data)"
# name, what the server says, to which command, what that says of the destination
REPLIES = [
    ("421 is about the server, whenever it comes", "421 4.2.1 Later", RCPT, OVERLOADED),
    ("too much from us", "450 4.7.1 Rate limited", MAIL, OVERLOADED),
    ("no code", "451 Try again", MAIL, OVERLOADED),
    ("no room for content", "452 4.3.1 Insufficient system storage", CONTENT, OVERLOADED),
    ("the sender's address", "450 4.1.8 Sender address not found", MAIL, NOTHING),
    ("the content", "451 4.6.0 Cannot be read", CONTENT, NOTHING),
    ("a full mailbox after the content", "452 4.2.2 Mailbox full", CONTENT, NOTHING),
    ("greylisting", "450 4.2.0 Greylisted", RCPT, NOTHING),
    ("greylisting, another way", "451 4.7.1 Please try again", RCPT, NOTHING),
    ("greylisting without a code", "450 Greylisted", RCPT, NOTHING),
    ("the server's own trouble", "451 4.3.0 Temporary lookup failure", "rcpt to:<bob@contoso.com>", OVERLOADED),
    ("congestion", "450 4.4.5 Congestion", RCPT, OVERLOADED),
]


@pytest.mark.parametrize(("text", "said", "expected"), [row[1:] for row in REPLIES], ids=[row[0] for row in REPLIES])
def test_what_a_temporary_refusal_is_about(text: str, said: str, expected: Feedback) -> None:
    found = told(text, said)
    assert (found.feedback, found.reached) == (expected, True)
    assert found.why is not None
    assert found.why.detail == text


@pytest.mark.parametrize("reason", [Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECTION_LOST, Reason.TRY_LATER])
def test_a_host_that_could_not_be_reached(reason: Reason) -> None:
    finding = Finding(reason, "it is gone", "mx.contoso.com")
    assert heard((), (attempt(finding),)) == Heard(OVERLOADED, False, finding)


@pytest.mark.parametrize("reason", sorted(set(Reason) - {
    Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECTION_LOST, Reason.TRY_LATER,
}, key=str))  # fmt: skip
def test_what_is_not_the_peers_overload_leaves_the_window_alone(reason: Reason) -> None:
    finding = Finding(reason)
    assert heard((), (attempt(finding),)) == Heard(NOTHING, False, finding)


def test_what_was_said_to_other_commands_does_not_count() -> None:
    fate = deferred("451 4.7.0 Too much from you")
    assert fate.reply is not None
    replies = ((RCPT, reply("250 OK")), (CONTENT, fate.reply))
    assert overload(replace(attempt(fate.finding, fate), replies=replies)) is fate.finding


def test_what_is_told_without_a_cause() -> None:
    assert (SERVED.reached, BROKEN_OFF.reached) == (True, False)


def test_a_connection_lost_during_the_message() -> None:
    finding = Finding(Reason.CONNECTION_LOST)
    fate = RecipientFate("bob@contoso.com", Fate.DEFERRED, None, finding)
    assert heard((fate,), (attempt(finding, fate),)) == Heard(OVERLOADED, True, finding)


def test_refused_recipients_and_messages_say_nothing() -> None:
    finding = Finding(Reason.REJECTED)
    fate = RecipientFate("bob@contoso.com", Fate.FAILED, reply("550 5.1.1 Unknown"), finding)
    assert heard((fate,), (attempt(finding, fate),)) == Heard(NOTHING, True, finding)
    without_reply = RecipientFate("bob@contoso.com", Fate.DEFERRED, None, Finding(Reason.TRY_LATER))
    without_finding = RecipientFate("ann@contoso.com", Fate.DEFERRED)
    assert overload(attempt(finding, without_finding, without_reply)) is None
    assert heard((), ()) == Heard(NOTHING, False)


def test_somebody_got_it_so_a_dead_host_beside_does_not_count() -> None:
    refused = attempt(Finding(Reason.CONNECT_REFUSED))
    fates = (deferred("421 4.3.2 Closing"), RecipientFate("ann@contoso.com", Fate.DELIVERED, reply("250 OK")))
    assert heard(fates, (refused, attempt(None, *fates))) is SERVED
    assert overload(attempt(None)) is None


def test_the_first_host_that_was_overloaded_is_the_reason() -> None:
    held, refused = Finding(Reason.TLSA_INVALID), Finding(Reason.CONNECT_REFUSED)
    assert heard((), (attempt(held), attempt(refused))) == Heard(OVERLOADED, False, refused)
    assert heard((), (attempt(None), attempt(held))) == Heard(NOTHING, False, held)


# --------------------------------------------------------------------------------------------------------- the window


def fed(window: Window, *outcomes: tuple[Feedback, int], limit: int = 20) -> list[int]:
    sizes = []
    for feedback, times in outcomes:
        for _ in range(times):
            before = window.size
            assert window.feed(feedback, limit) is (window.size != before)
        sizes.append(window.size)
    return sizes


def test_it_opens_one_by_one_up_to_the_limit() -> None:
    assert fed(Window(), (TAKEN, 1), (TAKEN, 13), (TAKEN, 1), (TAKEN, 50)) == [6, 19, 20, 20]
    assert START_WINDOW == 5
    assert fed(Window(), (TAKEN, 50), limit=3) == [5]  # whoever looks uses the smaller of the two


def test_it_halves_once_for_all_that_was_under_way() -> None:
    window = Window(20)
    assert fed(window, (OVERLOADED, 1), (OVERLOADED, 19), (OVERLOADED, 1), (OVERLOADED, 10)) == [10, 10, 5, 2]
    assert fed(window, (OVERLOADED, 4), (OVERLOADED, 2), (OVERLOADED, 50)) == [2, 1, 1]
    assert window.halved
    assert repr(window) == "<Window 1, growing slowly>"


def test_after_a_halving_it_grows_by_one_for_each_window() -> None:
    window = Window(20)
    fed(window, (OVERLOADED, 1), (TAKEN, 19))
    assert fed(window, (TAKEN, 9), (TAKEN, 1), (TAKEN, 10), (TAKEN, 1)) == [10, 11, 11, 12]
    assert fed(window, (NOTHING, 100)) == [12]
    assert fed(Window(1, halved=True), (TAKEN, 1), (TAKEN, 1), (TAKEN, 1)) == [2, 2, 3]


def test_growth_begins_anew_after_a_halving() -> None:
    window = Window(4, halved=True)
    fed(window, (TAKEN, 3), (OVERLOADED, 1), (TAKEN, 3))
    assert fed(window, (TAKEN, 1), (TAKEN, 1)) == [2, 3]


def test_a_limit_that_was_lowered_is_what_is_halved() -> None:
    window = Window(20)
    assert fed(window, (OVERLOADED, 1), limit=6) == [3]
    assert fed(window, (OVERLOADED, 5), (OVERLOADED, 1), limit=6) == [3, 1]
    assert Window(0).size == 1
    assert not Window(1).feed(OVERLOADED, 20)


@given(st.lists(st.sampled_from(Feedback)), st.integers(1, 30))
def test_it_is_never_below_one_nor_grows_beyond_its_limit(outcomes: list[Any], limit: int) -> None:
    window = Window()
    for feedback in outcomes:
        window.feed(feedback, limit)
        assert 1 <= window.size <= max(START_WINDOW, limit)
