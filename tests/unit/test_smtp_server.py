"""The server engine: order, keywords, who may send, DATA and BDAT; whole and byte by byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealroute.base.mail import BodyType, Envelope, Notify, Recipient, Ret
from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import MessageReceived
from tests.unit.smtp_server_world import ENVELOPE, RELAY, SUBMISSION, over_tls, world

CHUNKS = pytest.mark.parametrize("chunk", [0, 1, 7])

# name: (what the client says after EHLO, the replies it gets)
DIALOGUES: dict[str, tuple[str, list[str]]] = {
    "a message": (
        ENVELOPE + "DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n",
        ["250 2.1.0", "250 2.1.5", "354", "250 2.6.0", "221 2.0.0"],
    ),
    "an empty message": (ENVELOPE + "DATA\r\n.\r\n", ["250 2.1.0", "250 2.1.5", "354", "250 2.6.0"]),
    "lower case": ("mail from:<>\r\nrcpt to:<b@example.com>\r\nrset\r\n", ["250 2.1.0", "250 2.1.5", "250 2.0.0"]),
    "nested MAIL": (ENVELOPE + "MAIL FROM:<c@example.com>\r\n", ["250 2.1.0", "250 2.1.5", "503 5.5.1"]),
    "RCPT before MAIL": ("RCPT TO:<b@example.com>\r\n", ["503 5.5.1"]),
    "DATA before MAIL": ("DATA\r\n", ["503 5.5.1"]),
    "DATA without RCPT": ("MAIL FROM:<>\r\nDATA\r\n", ["250 2.1.0", "503 5.5.1"]),
    "DATA after refused RCPT": ("MAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\n", ["250 2.1.0", "501 5.1.3", "503 5.5.1"]),
    "DATA with an argument": (ENVELOPE + "DATA x\r\n", ["250 2.1.0", "250 2.1.5", "501 5.5.4"]),
    "RSET forgets": (ENVELOPE + "RSET\r\nDATA\r\n", ["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1"]),
    "EHLO forgets": (ENVELOPE + "HELO x\r\nDATA\r\n", ["250 2.1.0", "250 2.1.5", "250", "503 5.5.1"]),
    "side commands": (
        "NOOP x\r\nVRFY joe\r\nVRFY\r\nEXPN all\r\nHELP\r\nXYZZY\r\n\r\n",
        ["250 2.0.0", "252 2.5.0", "501 5.5.4", "502 5.5.1", "214 2.0.0", "500 5.5.1", "500 5.5.1"],
    ),
    "EHLO without a name": ("EHLO\r\nEHLO a b\r\nEHLO (x)\r\n", ["501 5.5.4"] * 3),
    "unknown parameter": ("MAIL FROM:<> X=1\r\n", ["555 5.5.4"]),
    "too big, announced": ("MAIL FROM:<> SIZE=99999999\r\n", ["552 5.3.4"]),
    "8-bit without SMTPUTF8": ("MAIL FROM:<ä@example.com>\r\n", ["553 5.6.7"]),
    "8-bit where none belongs": ("NOOP \xe4\r\nVRFY \x01\r\n", ["250 2.0.0", "500 5.5.2"]),
    "two in one session": (
        (ENVELOPE + "DATA\r\nA: 1\r\n\r\n.\r\n") * 2,
        ["250 2.1.0", "250 2.1.5", "354", "250 2.6.0"] * 2,
    ),
    "BDAT": (
        ENVELOPE + "BDAT 8\r\nA: 1\r\n\r\nBDAT 0\r\nBDAT 7 LAST\r\nhello\r\nNOOP\r\n",
        ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "250 2.6.0", "250 2.0.0"],
    ),
    "BDAT with zero last": (
        ENVELOPE + "BDAT 8\r\nA: 1\r\n\r\nbdat 0 last\r\n",
        ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.6.0"],
    ),
    "BDAT without MAIL swallows its chunk": ("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", ["503 5.5.1", "250 2.0.0"]),
    "DATA after BDAT": (
        ENVELOPE + "BDAT 2\r\n\r\nDATA\r\nRCPT TO:<c@example.com>\r\nMAIL FROM:<>\r\nBDAT 0 LAST\r\n",
        ["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.6.0"],
    ),
    "BDAT that cannot be stepped over": (ENVELOPE + "BDAT x\r\nNOOP\r\n", ["250 2.1.0", "250 2.1.5", "501 5.5.4"]),
    "BDAT beyond all reason": (
        ENVELOPE + "BDAT 999999999999 LAST\r\nNOOP\r\n",
        ["250 2.1.0", "250 2.1.5", "552 5.3.4"],
    ),
    "BDAT reset": (ENVELOPE + "BDAT 2\r\n\r\nRSET\r\nNOOP\r\n", ["250 2.1.0", "250 2.1.5"] + ["250 2.0.0"] * 3),
    "STARTTLS with an argument": ("STARTTLS now\r\n", ["501 5.5.4"]),
    "AUTH where it is not offered": ("AUTH PLAIN\r\n", ["502 5.5.1"]),
    "a web browser": ("POST / HTTP/1.1\r\nMAIL FROM:<>\r\n", ["421 4.7.0"]),
    "bare LF after a command": ("NOOP\nNOOP\r\n", ["500 5.5.2"]),
    "bare CR in a command": ("NOOP \rx\r\nNOOP\r\n", ["500 5.5.2"]),
    "CR CR LF": ("NOOP\r\r\nNOOP\r\n", ["500 5.5.2"]),
    "content sent after a refused DATA": (
        "MAIL FROM:<>\r\nDATA\r\nSubject: x\r\nMAIL FROM:<>\r\n",
        ["250 2.1.0", "503 5.5.1", "500 5.5.1", "421 4.5.0"],
    ),
}


@CHUNKS
@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name: str, chunk: int) -> None:
    said, replies = DIALOGUES[name]
    assert world(chunk=chunk).codes(said) == replies


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_session_that_closed_takes_nothing_more(name: str) -> None:
    client = world()
    client.say(DIALOGUES[name][0])
    if client.closed:
        assert client.say("NOOP\r\n") == []
        assert client.engine.closed


def test_greeting_and_keywords() -> None:
    engine = ServerEngine(RELAY)
    engine.greet()
    assert engine.data_to_send() == b"220 gw.example.com ESMTP Sealroute\r\n"
    engine.receive_data(b"EHLO [192.0.2.7]\r\n")
    assert engine.data_to_send().decode().splitlines() == [
        "250-gw.example.com greets [192.0.2.7]",
        "250-PIPELINING",
        "250-SIZE 36700160",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-CHUNKING",
        "250-ENHANCEDSTATUSCODES",
        "250-DSN",
        "250 STARTTLS",
    ]


def test_keywords_follow_tls_and_policy() -> None:
    def keywords(lines: list[str]) -> set[str]:
        return {line[4:].split()[0] for line in lines[1:]} & {"STARTTLS", "AUTH", "REQUIRETLS"}

    assert keywords(world(replace(RELAY, offers_tls=False), hello="").say("EHLO x\r\n")) == set()
    assert keywords(world(SUBMISSION, hello="").say("EHLO x\r\n")) == {"STARTTLS"}
    assert keywords(over_tls(SUBMISSION).say("EHLO x\r\n")) == {"AUTH", "REQUIRETLS"}
    assert keywords(over_tls(RELAY).say("EHLO x\r\n")) == {"REQUIRETLS"}


@CHUNKS
def test_what_is_handed_over(chunk: int) -> None:
    client = over_tls(RELAY)
    client.chunk = chunk
    client.say(
        "MAIL FROM:<ä@example.com> SMTPUTF8 RET=HDRS ENVID=x+2B BODY=8BITMIME REQUIRETLS\r\n"
        "RCPT TO:<b@example.com> NOTIFY=SUCCESS ORCPT=rfc822;c@example.com\r\n"
        "RCPT TO:<d@example.net>\r\n"
        "DATA\r\nSubject: ä\r\n\r\n..leading dot\r\nx\r\n.\r\n"
    )
    recipients = (Recipient("b@example.com", Notify.SUCCESS, "rfc822;c@example.com"), Recipient("d@example.net"))
    assert client.stored == [
        (
            Envelope("ä@example.com", recipients, BodyType.EIGHT_BIT, True, Ret.HDRS, "x+", True),
            "Subject: ä\r\n\r\n.leading dot\r\nx\r\n".encode(),
        )
    ]
    facts = client.facts[0]
    assert (facts.helo, facts.esmtp, facts.tls_version, facts.user) == ("client.example.com", True, "TLSv1.3", "")


@CHUNKS
@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("", ""),
        ("a\r\n", "a\r\n"),
        ("..\r\n", ".\r\n"),
        ("..a\r\n", ".a\r\n"),
        (".a\r\n", "a\r\n"),
        ("a\r\n..\r\n..b\r\n", "a\r\n.\r\n.b\r\n"),
        ("a.\r\n", "a.\r\n"),
        ("\r\n", "\r\n"),
        ("...\r\n", "..\r\n"),
    ],
)
def test_dots(sent: str, stored: str, chunk: int) -> None:
    client = world(chunk=chunk)
    assert client.codes(ENVELOPE + "DATA\r\n" + sent + ".\r\nNOOP\r\n")[-2:] == ["250 2.6.0", "250 2.0.0"]
    assert client.stored[0][1] == stored.encode()


def test_eight_bit_content_is_called_so_even_when_mail_did_not() -> None:
    client = world()
    client.say(ENVELOPE + "DATA\r\n\r\nä\r\n.\r\n")
    assert client.stored[0][0].body is BodyType.EIGHT_BIT


def test_bdat_content_is_not_unstuffed_and_ends_with_crlf() -> None:
    client = world()
    client.say(ENVELOPE + "BDAT 6\r\n..\r\n.\rBDAT 2 LAST\r\n\nx")
    assert client.stored[0][1] == b"..\r\n.\r\nx\r\n"


def test_helo_is_no_esmtp() -> None:
    client = world(hello="HELO old.example.com\r\n")
    client.say(ENVELOPE + "DATA\r\n.\r\n")
    assert (client.facts[0].helo, client.facts[0].esmtp) == ("old.example.com", False)


def test_mail_needs_ehlo() -> None:
    assert world(hello="").codes("MAIL FROM:<>\r\n")[-1] == "503 5.5.1"


def test_while_a_message_is_stored_nothing_more_is_answered() -> None:
    client = world()
    engine = client.engine
    one = (ENVELOPE + "DATA\r\n.\r\n").encode()
    (event,) = engine.receive_data(one + b"NOOP\r\n" + one)
    assert isinstance(event, MessageReceived)
    assert len(client.lines()) == 3
    assert engine.receive_data(b"") == []
    assert engine.outcome_due
    assert engine.backlogged
    (event,) = engine.message_done(Reply(451, ("disk full",), Enhanced(4, 3, 0)))
    assert client.lines()[:2] == ["451 4.3.0 disk full", "250 2.0.0 OK"]
    assert isinstance(event, MessageReceived)


def test_a_421_outcome_ends_the_session() -> None:
    client = world()
    client.outcome = Reply(421, ("going down",), Enhanced(4, 3, 2))
    assert client.codes(ENVELOPE + "DATA\r\n.\r\nNOOP\r\n")[-1] == "421 4.3.2"
    assert client.closed


@pytest.mark.parametrize(
    ("make", "reply"),
    [
        (
            lambda: world(replace(RELAY, may_relay=False)),
            "550 5.7.1 Relay access denied: 192.0.2.7 is in no network that may relay here",
        ),
        (lambda: world(SUBMISSION), "530 5.7.0 Authentication required; STARTTLS must come first"),
        (lambda: over_tls(SUBMISSION), "530 5.7.0 Authentication required"),
    ],
)
def test_who_may_not_send(make: object, reply: str) -> None:
    assert callable(make)
    client = make()
    assert client.say(ENVELOPE + "DATA\r\n")[0] == reply
    assert client.stored == []


# ---------------------------------------------------------------------------------------------------- leaving, no room


def test_leaving_between_messages_is_at_once() -> None:
    client = world()
    client.say(ENVELOPE)
    client.act(client.engine.leave("Shutting down"))
    assert client.lines() == ["421 4.3.2 Shutting down"]
    assert client.closed == "leaving"


@pytest.mark.parametrize(
    ("before", "after"),
    [("DATA\r\nA: 1\r\n", "\r\n.\r\n"), ("BDAT 8\r\nA: 1\r\n\r\n", "BDAT 0 LAST\r\n"), ("BDAT 8 LAST\r\nA: 1", "\r\n\r\n")],
)
def test_leaving_finishes_the_message_in_progress(before: str, after: str) -> None:
    client = world()
    client.say(ENVELOPE + before)
    client.act(client.engine.leave("Shutting down"))
    assert client.lines() == []
    assert client.codes(after + ENVELOPE) == ["250 2.6.0", "421 4.3.2"]
    assert len(client.stored) == 1


def test_leaving_waits_for_the_outcome() -> None:
    client = world()
    client.engine.receive_data((ENVELOPE + "DATA\r\n.\r\n").encode())
    assert client.engine.leave("Shutting down") == []
    client.lines()
    client.act(client.engine.message_done(Reply(250, ("ok",))))
    assert client.lines() == ["250 ok", "421 4.3.2 Shutting down"]


def test_time_out() -> None:
    client = world()
    client.say("NOO")
    client.act(client.engine.timed_out())
    assert client.lines() == ["421 4.4.2 Timed out; closing the connection"]
    assert client.closed == "timeout"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DATA\r\nA: 1\r\n", "more\r\n.\r\n"),
        ("BDAT 8\r\nA: 1\r\n\r\n", "BDAT 1 LAST\r\nx"),
        ("BDAT 8 LAST\r\nA: 1", "\r\n\r\n"),
    ],
)
def test_no_room(before: str, after: str) -> None:
    client = world()
    client.say(ENVELOPE + before)
    held = client.engine.held_octets
    client.engine.no_room()
    assert client.engine.held_octets < held
    assert client.engine.held_octets <= 4
    assert client.codes(after + "NOOP\r\n") == ["452 4.3.1", "250 2.0.0"]
    assert client.stored == []


def test_no_room_between_chunks_allows_neither_data_nor_more_recipients() -> None:
    client = world()
    client.say(ENVELOPE + "BDAT 2\r\n\r\n")
    client.engine.no_room()
    assert client.codes("DATA\r\nRCPT TO:<c@example.com>\r\nBDAT 0 LAST\r\n") == ["503 5.5.1", "503 5.5.1", "452 4.3.1"]


def test_no_room_without_content_does_nothing() -> None:
    client = world()
    client.engine.no_room()
    assert client.codes(ENVELOPE + "DATA\r\n.\r\n")[-1] == "250 2.6.0"
