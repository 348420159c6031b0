"""Notifications as octets: what Python's mail library and our own parser read in them, whatever was put in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email import policy as email_policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.base.status import Enhanced
from sealroute.proto.dsn import notice as module
from sealroute.proto.dsn.fields import field, mta_name, one_line, subject, unitext
from sealroute.proto.dsn.human import Story, hops, text
from sealroute.proto.dsn.notice import Action, Notice, RecipientStatus, boundary_for, build, header_of
from sealroute.proto.dsn.parse import Parsed, parse

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ORIGINAL = b"From: Ann <ann@example.com>\r\nSubject: Figures\r\n\r\nHello\r\n"
BOB = RecipientStatus(
    "bob@contoso.com", Action.FAILED, Enhanced(5, 1, 1), "550 5.1.1 No such user", "mx.contoso.com", last_attempt_at=NOW
)


def a_notice(**changes: Any) -> Notice:
    fields: dict[str, Any] = {
        "reporting_mta": "gw.example.com", "from_address": "postmaster@example.com", "to_address": "ann@example.com",
        "subject": "Undeliverable: Figures", "message_id": "n1@gw.example.com", "boundary": "=_n1", "at": NOW,
        "arrived_at": NOW - timedelta(hours=1), "human": "What happened\n", "recipients": (BOB,), "original": ORIGINAL,
        "return_full": True,
    }  # fmt: skip
    return Notice(**{**fields, **changes})


def read(octets: bytes) -> tuple[EmailMessage, Parsed]:
    """As the standard library and as we read it; what must hold for every notification is checked on the way."""
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert octets.replace(b"\r\n", b"").find(b"\n") == octets.replace(b"\r\n", b"").find(b"\r") == -1
    message = message_from_bytes(octets, policy=email_policy.default)
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    assert len(message.get_payload()) == 3
    if b"8bit" not in octets.split(b"\r\n\r\n")[0]:
        assert octets.isascii()
    parsed = parse(octets)
    assert isinstance(parsed, Parsed)
    return message, parsed


def test_a_notification() -> None:
    message, parsed = read(build(a_notice()))
    assert message["Subject"] == "Undeliverable: Figures"
    assert (message["From"], message["To"]) == ("Mail delivery <postmaster@example.com>", "ann@example.com")
    assert message["Auto-Submitted"] == "auto-replied"
    assert parsed.per_message == {
        "reporting-mta": "dns; gw.example.com",
        "arrival-date": "Sun, 22 Nov 2026 11:00:00 +0000",
    }
    assert parsed.recipients == (
        {
            "final-recipient": "rfc822; bob@contoso.com",
            "action": "failed",
            "status": "5.1.1",
            "remote-mta": "dns; mx.contoso.com",
            "diagnostic-code": "smtp; 550 5.1.1 No such user",
            "last-attempt-date": "Sun, 22 Nov 2026 12:00:00 +0000",
        },
    )
    assert (parsed.human.strip(), parsed.returned) == ("What happened", "full")


def test_the_original_comes_back_as_it_was() -> None:
    for original in (
        ORIGINAL,
        ORIGINAL[:-2],
        b"A: 1\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
        b"A: 1\r\n\r\n..\r\n.\r\n\r\n\r\n",
    ):
        octets = build(a_notice(original=original))
        _, _, tail = octets.partition(b"message/rfc822\r\n")
        encoding, _, rest = tail.partition(b"\r\n\r\n")
        assert rest.removesuffix(b"\r\n--=_n1--\r\n") == original
        assert encoding == (b"Content-Transfer-Encoding: 7bit" if original.isascii() else b"Content-Transfer-Encoding: 8bit")
        assert (b"8bit" in octets.split(b"\r\n\r\n")[0]) != original.isascii()


@pytest.mark.parametrize(
    ("changes", "returned", "size"),
    [
        ({"return_full": False}, "headers", 47),
        ({"original": b"A: 1\r\n\r\n" + b"x" * module.MAX_RETURNED_BYTES}, "headers", 6),
        (
            {"original": b"".join(b"X-%d: 1\r\n" % n for n in range(40_000)) + b"\r\nbody", "return_full": False},
            "headers",
            131_072,
        ),
        ({"original": b"Only: a header\r\n", "return_full": False}, "headers", 16),
        ({"original": b"\r\nonly a body\r\n", "return_full": False}, "headers", 0),
    ],
)
def test_how_much_of_the_original_returns(changes: dict[str, Any], returned: str, size: int) -> None:
    octets = build(a_notice(**changes))
    assert read(octets)[1].returned == returned
    part = octets.split(b"text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")[1]
    body = part.removesuffix(b"\r\n--=_n1--\r\n")
    assert size - 20 <= len(body) <= size
    assert not body or body.endswith(b"\r\n")


def test_per_message_and_per_recipient_fields_that_are_optional() -> None:
    ann = RecipientStatus(
        "bob@contoso.com",
        Action.DELAYED,
        Enhanced(4, 4, 1),
        orcpt="rfc822;B+b @x",
        will_retry_until=NOW,
        remote_mta="192.0.2.1",
    )
    _, parsed = read(build(a_notice(recipients=(ann, BOB), envid="QQ 314+159", original_message_id="<1@example.com>")))
    assert parsed.per_message["original-envelope-id"] == "QQ 314+159"
    first, second = parsed.recipients
    assert first["original-recipient"] == "rfc822; B+b @x"
    assert first["will-retry-until"] == "Sun, 22 Nov 2026 12:00:00 +0000"
    assert first["remote-mta"] == "dns; [192.0.2.1]"
    assert "diagnostic-code" not in first
    assert "original-recipient" not in second


@pytest.mark.parametrize("bad", ["", "<1\r\nX: 1@example.com>", "<" + "x" * 300 + ">", "<ä@example.com>"])
def test_an_odd_message_id_is_not_referred_to(bad: str) -> None:
    message, _ = read(build(a_notice(original_message_id=bad)))
    assert message["In-Reply-To"] is None
    assert message["References"] is None


# --------------------------------------------------------------------------------------------------- internationalized

UTF8_ORIGINAL = "From: Jürgen <jürgen@bücher.example>\r\nSubject: Grüße\r\n\r\nHallo\r\n".encode()


def test_internationalized_forms() -> None:
    jane = RecipientStatus(
        "jäne@contoso.com", Action.FAILED, Enhanced(5, 1, 1), "550 5.1.1 gibt's nicht, tschüß", orcpt="utf-8;jäne@x"
    )
    changes = {"internationalized": True, "to_address": "jürgen@bücher.example", "original": UTF8_ORIGINAL}
    octets = build(a_notice(recipients=(jane, BOB), **changes))
    assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n" in octets
    assert b"Content-Type: message/global\r\n" in octets
    _, parsed = read(octets)
    assert parsed.recipients[0]["final-recipient"] == "utf-8; jäne@contoso.com"
    assert parsed.recipients[0]["original-recipient"] == "utf-8; jäne@x"
    assert parsed.recipients[0]["diagnostic-code"] == "smtp; 550 5.1.1 gibt's nicht, tschüß"
    assert parsed.recipients[1]["final-recipient"] == "rfc822; bob@contoso.com"
    assert b"Content-Type: message/global-headers\r\n" in build(a_notice(return_full=False, **changes))


def test_plain_forms_stay_ascii_whatever_the_peer_says() -> None:
    jane = RecipientStatus("jäne@contoso.com", Action.FAILED, Enhanced(5, 1, 1), "550 tschüß", orcpt="utf-8;jäne@x")
    octets = build(a_notice(recipients=(jane,), human="Tschüß … \n", subject="Undeliverable: Grüße"))
    assert octets.isascii()
    message, parsed = read(octets)
    assert message["Subject"] == "Undeliverable: Grüße"
    assert parsed.human == "Tschüß … \r\n"
    assert parsed.recipients[0]["final-recipient"] == "utf-8; j\\x{E4}ne@contoso.com"
    assert parsed.recipients[0]["original-recipient"] == "utf-8; j\\x{E4}ne@x"
    assert parsed.recipients[0]["diagnostic-code"] == "smtp; 550 tsch??"


# ------------------------------------------------------------------------------------------------------- hostile texts

EVIL = "x\r\nBcc: all@example.com\r\n\r\n--=_n1\r\nContent-Type: text/html\r\n\r\n<b>"


def test_no_text_from_outside_begins_a_line_of_its_own() -> None:
    story = Story(EVIL, EVIL, EVIL, EVIL, (("Its last reply", EVIL),))
    evil = RecipientStatus(EVIL, Action.FAILED, Enhanced(5, 0, 0), EVIL, EVIL, EVIL, NOW, NOW)
    octets = build(
        a_notice(
            subject=EVIL, envid=EVIL, to_address=EVIL, original_message_id=EVIL, recipients=(evil,),
            human=text("Opening", EVIL, [story], [EVIL]),
        )
    )  # fmt: skip
    message, parsed = read(octets)
    assert message["Bcc"] is None
    assert all("bcc" not in fields for fields in (parsed.per_message, *parsed.recipients))
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain", "message/delivery-status", "message/rfc822",
    ]  # fmt: skip
    assert len(parsed.recipients) == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=1200), st.text(max_size=300))
def test_any_text_gives_a_notification_that_reads(long: str, short: str) -> None:
    """Whatever texts come in, the result is a notification with one recipient and lines of at most 998 octets."""
    status = RecipientStatus(short, Action.FAILED, Enhanced(5, 0, 0), long, short, short, NOW)
    for international in (False, True):
        human = text(short, long, [Story(short, long, short, long, (("a", long),))], [long])
        notice = a_notice(subject=long, envid=short, recipients=(status,), human=human, internationalized=international)
        assert len(read(build(notice))[1].recipients) == 1


def test_a_word_without_end_is_cut_and_folded() -> None:
    status = replace(BOB, diagnostic="550 " + "x" * 100_000)
    _, parsed = read(build(a_notice(recipients=(status,), human="y" * 5000 + "\n")))
    assert 1900 < len(parsed.recipients[0]["diagnostic-code"].replace(" ", "")) < 2100
    assert parsed.human.strip() == "y" * 5000


def test_long_subjects_are_bounded_and_folded() -> None:
    assert len(subject("word " * 1000)) < 400
    assert all(len(line) <= 78 for line in subject("word " * 1000).split(b"\r\n"))
    assert subject("…" * 1000).isascii()
    assert subject("a\ud800b") == b"Subject: a b\r\n"


def test_the_boundary_is_not_in_the_original() -> None:
    original = b"--=_a\r\n--=_a.1\r\n"
    assert boundary_for(original, "a") == "=_a.2"
    assert boundary_for(b"", "a") == "=_a"
    evil = b"A: 1\r\n\r\n--=_n1--\r\n--=_n1\r\nContent-Type: text/html\r\n\r\n"
    read(build(a_notice(original=evil, boundary=boundary_for(evil, "n1"))))


def test_small_parts() -> None:
    assert one_line("a\tb\x00c\u2028d", 100) == "a b c d"
    assert one_line("abcdef", 4) == "abc…"
    assert field("X", "a" * 250, ascii_only=True) == b"X: " + b"a" * 200 + b"\r\n " + b"a" * 50 + b"\r\n"
    assert field("X", " " * 300) == b"X: \r\n"
    assert field("X", "a…ä", ascii_only=True) == b"X: a...?\r\n"
    assert mta_name("2001:db8::1") == "dns; [2001:db8::1]"
    assert mta_name("[192.0.2.1]") == "dns; [192.0.2.1]"
    assert mta_name("4.example") == "dns; 4.example"
    assert unitext("aé") == "a\\x{E9}"
    assert header_of(b"A: 1\r\nB: 2\r\n\r\nbody") == b"A: 1\r\nB: 2\r\n"


# -------------------------------------------------------------------------------------------------- the part for people


def test_recipients_with_the_same_story_share_it() -> None:
    one = Story("a@contoso.com", "It failed.", "They.", "Repair it.", (("Code", "550"), ("Empty", "")))
    told = text(
        "Opening.", "Figures", [one, replace(one, address="b@contoso.com"), replace(one, address="c@x", who="", how="")], []
    )
    assert told == (
        "Opening.\n\nSubject of your message: Figures\n\n"
        "To: a@contoso.com\nTo: b@contoso.com\n\nWhat happened\n  It failed.\n\nWho has to fix it\n  They.\n\n"
        "How to fix it\n  Repair it.\n\nDetails for mail administrators\n  Code: 550\n\n"
        "To: c@x\n\nWhat happened\n  It failed.\n\nDetails for mail administrators\n  Code: 550\n"
    )


def test_hops() -> None:
    content = b"Received: from a\r\n\tby b\r\nSubject: x\r\nreceived: from c\r\n\r\nReceived: not this\r\n"
    assert hops(content) == ["from a by b", "from c"]
    assert hops(b" folded first\r\nReceived: x") == ["x"]
    assert len(hops(b"Received: x\r\n" * 100)) == 25
    assert "1. from a by b" in text("", "", [], hops(content))
