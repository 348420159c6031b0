"""The sending engine against scripted servers: a happy dialogue with one difference each.

A script maps what the client sends in one go to what the server answers; every dialogue runs with the answers whole and
octet by octet, and must come out the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealroute.base.mail import BodyType, Notify, Recipient, Ret
from sealroute.proto.smtp.client import ClientOptions, SmtpClient
from sealroute.proto.smtp.client_dialogue import State
from sealroute.proto.smtp.client_mail import Ending, Outcome

CONTENT = b"Subject: x\r\n\r\nhello\r\n"


@dataclass(frozen=True)
class Letter:
    sender: str = "a@example.com"
    recipients: tuple[Recipient, ...] = (Recipient("b@example.net"),)
    content: bytes = CONTENT
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    require_tls: bool = False
    crlf_only: bool = False


ONE = Letter()
THREE = Letter(recipients=(Recipient("b@example.net"), Recipient("c@example.net"), Recipient("d@example.net")))
FULL = "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 1000"
OPTIONS = ClientOptions("gw.example.com", max_recipients=2)


def ehlo(*keywords: str) -> bytes:
    lines = ["mx.example", *keywords]
    return b"".join(f"250{'-' if line is not lines[-1] else ' '}{line}\r\n".encode() for line in lines)


@dataclass
class Played:
    """What came of a dialogue."""

    client: SmtpClient
    said: list[bytes] = field(default_factory=list)

    @property
    def endings(self) -> list[str]:
        return [_short(outcome) for outcome in self.client.outcomes]


def _short(outcome: Outcome | None) -> str:
    assert outcome is not None
    return f"{outcome.ending.value}: {outcome.detail or outcome.reply}"


def play(script: list[bytes], mail: Letter | None = None, *, bytewise: bool, options: ClientOptions = OPTIONS) -> Played:
    """Feed the answers one after the other, noting what the client says to each; begin the mail at the first IDLE."""
    played = Played(SmtpClient(options))
    client = played.client
    for answer in script:
        pieces = [answer[place : place + 1] for place in range(len(answer))] if bytewise else [answer]
        for piece in pieces:
            client.receive(piece)
            if said := client.take_output():
                played.said.append(said)
        if client.state is State.HANDSHAKE:
            client.secured()
        if mail is not None and client.state is State.IDLE:
            client.begin(mail)
            mail = None
            if said := client.take_output():
                played.said.append(said)
    return played


both = pytest.mark.parametrize("bytewise", [False, True])

OPENINGS = [
    ([b"220 hi\r\n", ehlo("DSN")], State.IDLE, ""),
    ([b"220-hi\r\n220 there\r\n", ehlo("DSN")], State.IDLE, ""),
    ([b"220 hi\r\n", b"502 what?\r\n", b"250 mx\r\n"], State.IDLE, ""),
    ([b"220 hi\r\n", ehlo("STARTTLS"), b"220 go\r\n"], State.IDLE, ""),
    ([b"220 hi\r\n", ehlo("starttls"), b"454 4.7.0 no\r\n"], State.IDLE, ""),
    ([b"220 hi\r\n", ehlo("STARTTLS"), b"501 5.5.4 no\r\n"], State.IDLE, ""),
    ([b"554 5.3.2 go away\r\n"], State.DEAD, "host-refused: 554 5.3.2 go away"),
    ([b"450 busy\r\n"], State.DEAD, "postponed: 450 busy"),
    ([b"421 4.3.2 closing\r\n"], State.DEAD, "postponed: 421 4.3.2 closing"),
    ([b"354 hi\r\n"], State.DEAD, "violation: the reply '354 hi' cannot follow (connect)"),
    ([b"220 hi\r\n", b"550 no\r\n", b"550 5.7.1 no\r\n"], State.DEAD, "host-refused: 550 5.7.1 no"),
    ([b"220 hi\r\n", b"451 later\r\n"], State.DEAD, "postponed: 451 later"),
    ([b"220 hi\r\n", b"334 hm\r\n"], State.DEAD, "violation: the reply '334 hm' cannot follow EHLO gw.example.com"),
    ([b"220 hi\r\n", ehlo("STARTTLS"), b"250 ok\r\n"], State.DEAD, "violation: the reply '250 ok' cannot follow STARTTLS"),
    ([b"220 hi\r\n", ehlo("STARTTLS"), b"421 full\r\n"], State.DEAD, "postponed: 421 full"),
    (
        [b"SSH-2.0-x\r\n"],
        State.DEAD,
        "violation: line 1 of the reply does not begin with a reply code of 200 to 599: 'SSH-2.0-x'",
    ),
]


@both
@pytest.mark.parametrize(("script", "state", "failure"), OPENINGS)
def test_opening(script: list[bytes], state: State, failure: str, bytewise: bool) -> None:
    client = play(script, bytewise=bytewise).client
    assert client.state is state
    assert (_short(client.failure) if client.failure else "") == failure


@both
def test_what_the_opening_says(bytewise: bool) -> None:
    played = play([b"220 hi\r\n", b"500 what?\r\n", b"250 mx\r\n"], bytewise=bytewise)
    assert played.said == [b"EHLO gw.example.com\r\n", b"HELO gw.example.com\r\n"]
    assert [said for said, _ in played.client.log] == ["(connect)", "EHLO gw.example.com", "HELO gw.example.com"]


def test_starttls_is_left_alone_when_not_wanted() -> None:
    script = [b"220 hi\r\n", ehlo("STARTTLS")]
    client = play(script, bytewise=False, options=ClientOptions("gw", starttls=False)).client
    assert (client.state, client.starttls_offered, client.starttls_reply) == (State.IDLE, True, None)


@pytest.mark.parametrize("extra", [b"2", b"250 2.0.0 injected\r\n", b"\x16\x03\x03\x00\x05hello", b"421 bye\r\n"])
def test_octets_after_the_220_to_starttls_kill_the_connection(extra: bytes) -> None:
    client = play([b"220 hi\r\n", ehlo("STARTTLS"), b"220 go\r\n" + extra], bytewise=False).client
    assert client.state is State.DEAD
    assert client.failure is not None
    assert client.failure.ending is Ending.VIOLATION
    assert "in plaintext after its reply to STARTTLS, which answers no command" in client.failure.detail


@pytest.mark.parametrize("early", [b"220 hi\r\n250 mx\r\n", b"220 hi\r\n2"])
def test_a_server_may_not_answer_before_it_is_asked(early: bytes) -> None:
    client = play([early], bytewise=False).client
    assert client.failure is not None
    assert client.failure.ending is Ending.VIOLATION
    assert client.take_output() == b""


def test_nothing_is_said_after_the_handshake_and_old_offers_are_forgotten() -> None:
    played = play([b"220 hi\r\n", ehlo("STARTTLS", "DSN"), b"220 go\r\n"], bytewise=False)
    client = played.client
    assert (client.state, client.take_output(), client.capabilities.dsn) == (State.IDLE, b"", False)
    client.begin(ONE)
    assert client.take_output() == b"EHLO gw.example.com\r\n"


def open_script(*keywords: str) -> list[bytes]:
    return [b"220 hi\r\n", ehlo(*keywords)]


OK = b"250 2.1.0 ok\r\n"
NO = b"550 5.1.1 no\r\n"
LATER = b"451 4.2.1 later\r\n"
GO = b"354 go\r\n"
TAKEN = b"250 2.0.0 taken\r\n"
ACCEPTED = "accepted: 250 2.0.0 taken"

PIPELINED = [
    # (name, mail, answers to the flights, endings, state afterwards)
    ("accepted", ONE, [OK + OK + GO, TAKEN], [ACCEPTED], State.IDLE),
    ("MAIL refused", ONE, [NO + b"503 x\r\n" + b"503 y\r\n"], ["refused: 550 5.1.1 no"], State.IDLE),
    ("MAIL postponed", ONE, [LATER + b"503 x\r\n" + b"503 y\r\n"], ["postponed: 451 4.2.1 later"], State.IDLE),
    ("MAIL refused, RCPT and DATA granted", ONE, [NO + OK + GO, TAKEN], ["refused: 550 5.1.1 no"], State.IDLE),
    ("RCPT refused", ONE, [OK + NO + b"554 5.5.1 none\r\n"], ["refused: 550 5.1.1 no"], State.IDLE),
    ("RCPT refused, 354 all the same", ONE, [OK + NO + GO, b"554 5.5.1 empty\r\n"], ["refused: 550 5.1.1 no"], State.IDLE),
    ("RCPT refused, the empty message taken", ONE, [OK + NO + GO, TAKEN], ["refused: 550 5.1.1 no"], State.IDLE),
    ("DATA refused", ONE, [OK + OK + b"554 5.6.0 no\r\n"], ["refused: 554 5.6.0 no"], State.IDLE),
    ("DATA postponed", ONE, [OK + OK + LATER], ["postponed: 451 4.2.1 later"], State.IDLE),
    ("content refused", ONE, [OK + OK + GO, b"554 5.7.1 spam\r\n"], ["refused: 554 5.7.1 spam"], State.IDLE),
    ("content postponed", ONE, [OK + OK + GO, LATER], ["postponed: 451 4.2.1 later"], State.IDLE),
    (
        "421 to RCPT",
        ONE,
        [OK + b"421 4.3.2 bye\r\n"],
        ["postponed: 421 4.3.2 bye"],
        State.DEAD,
    ),
    ("421 to the content", ONE, [OK + OK + GO, b"421 bye\r\n"], ["postponed: 421 bye"], State.DEAD),
    ("421 after the last reply", ONE, [OK + OK + GO, TAKEN + b"421 bye\r\n"], [ACCEPTED], State.DEAD),
    ("250 to DATA", ONE, [OK + OK + OK], ["violation: the reply '250 2.1.0 ok' cannot follow DATA"], State.DEAD),
    ("354 to MAIL", ONE, [GO], ["violation: the reply '354 go' cannot follow MAIL FROM:<a@example.com> SIZE=21"], State.DEAD),
    ("354 to RCPT", ONE, [OK + GO], ["violation: the reply '354 go' cannot follow RCPT TO:<b@example.net>"], State.DEAD),
    (
        "250 for a message that was not sent",
        ONE,
        [OK + OK + GO + TAKEN],
        ["violation: the server sent '250 2.0.0 taken', which answers no command"],
        State.DEAD,
    ),
    (
        "354 to the content",
        ONE,
        [OK + OK + GO, GO],
        ["violation: the reply '354 go' cannot follow (end of data); the whole message had been sent, so it may arrive twice"],
        State.DEAD,
    ),
    (
        "more recipients than one transaction takes",
        THREE,
        [OK + OK + OK + GO, TAKEN, OK + NO + b"554 none\r\n"],
        [ACCEPTED, ACCEPTED, "refused: 550 5.1.1 no"],
        State.IDLE,
    ),
    (
        "one of two refused",
        replace(THREE, recipients=THREE.recipients[:2]),
        [OK + NO + OK + GO, TAKEN],
        ["refused: 550 5.1.1 no", ACCEPTED],
        State.IDLE,
    ),
    (
        "too many recipients for the server: the second follows by itself",
        replace(THREE, recipients=THREE.recipients[:2]),
        [OK + OK + b"452 4.5.3 too many\r\n" + GO, TAKEN, OK + OK + GO, TAKEN],
        [ACCEPTED, ACCEPTED],
        State.IDLE,
    ),
    (
        "a full disk is not too many recipients",
        replace(THREE, recipients=THREE.recipients[:2]),
        [OK + OK + b"452 4.3.1 disk full\r\n" + GO, TAKEN],
        [ACCEPTED, "postponed: 452 4.3.1 disk full"],
        State.IDLE,
    ),
    (
        "421 between transactions: what is decided stays",
        THREE,
        [OK + NO + OK + GO, TAKEN, b"421 bye\r\n"],
        ["refused: 550 5.1.1 no", ACCEPTED, "postponed: 421 bye"],
        State.DEAD,
    ),
]


def ends_as(played: Played, mail: Letter, endings: list[str], state: State) -> None:
    assert played.client.state is state
    assert played.endings == endings
    assert len(endings) == len(mail.recipients)


# Octet by octet, what comes too early is an answer in time: the content has then gone out.
_NEEDS_WHOLE = {"250 for a message that was not sent"}


@both
@pytest.mark.parametrize(("name", "mail", "answers", "endings", "state"), PIPELINED, ids=[row[0] for row in PIPELINED])
def test_pipelined(name: str, mail: Letter, answers: list[bytes], endings: list[str], state: State, bytewise: bool) -> None:
    if bytewise and name in _NEEDS_WHOLE:
        return
    ends_as(play(open_script(*FULL) + answers, mail, bytewise=bytewise), mail, endings, state)


UNPIPELINED = [
    ("accepted", ONE, [OK, OK, GO, TAKEN], [ACCEPTED], b"DATA\r\n"),
    ("MAIL refused: nothing more is said", ONE, [NO], ["refused: 550 5.1.1 no"], b"MAIL FROM:<a@example.com>\r\n"),
    ("all RCPT refused: no DATA", ONE, [OK, NO], ["refused: 550 5.1.1 no"], b"RCPT TO:<b@example.net>\r\n"),
    (
        "one of two refused",
        replace(THREE, recipients=THREE.recipients[:2]),
        [OK, NO, OK, GO, TAKEN],
        ["refused: 550 5.1.1 no", ACCEPTED],
        b"DATA\r\n",
    ),
    (
        "the last of two refused",
        replace(THREE, recipients=THREE.recipients[:2]),
        [OK, OK, NO, GO, TAKEN],
        [ACCEPTED, "refused: 550 5.1.1 no"],
        b"DATA\r\n",
    ),
]


@both
@pytest.mark.parametrize(("name", "mail", "answers", "endings", "last"), UNPIPELINED, ids=[row[0] for row in UNPIPELINED])
def test_one_command_at_a_time(
    name: str, mail: Letter, answers: list[bytes], endings: list[str], last: bytes, bytewise: bool
) -> None:
    played = play([*open_script(), *answers], mail, bytewise=bytewise)
    ends_as(played, mail, endings, State.IDLE)
    assert last == [said for said in played.said if said.endswith(b"\r\n") and b"Subject" not in said][-1]


def test_one_flight_with_pipelining() -> None:
    played = play([*open_script(*FULL), OK + OK + GO, TAKEN], ONE, bytewise=False)
    assert played.said[1:] == [
        b"MAIL FROM:<a@example.com> SIZE=21\r\nRCPT TO:<b@example.net>\r\nDATA\r\n",
        CONTENT + b".\r\n",
    ]


def test_the_lone_dot() -> None:
    played = play([*open_script(*FULL), OK + NO + GO, b"554 empty\r\n"], ONE, bytewise=False)
    assert played.said[-1] == b".\r\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([OK + OK + GO, TAKEN], b"MAIL FROM:"),
        ([OK + NO + b"554 none\r\n"], b"RSET\r\nMAIL FROM:"),
        ([OK + OK + b"451 later\r\n"], b"RSET\r\nMAIL FROM:"),
        ([OK + OK + GO, NO], b"RSET\r\nMAIL FROM:"),
    ],
)
def test_rset_goes_ahead_of_the_mail_that_follows_a_failed_one(first: list[bytes], second: bytes) -> None:
    client = play([*open_script(*FULL), *first], ONE, bytewise=False).client
    client.begin(ONE)
    assert client.take_output().startswith(second)


def test_a_refused_rset_fails_nobody() -> None:
    client = play([*open_script(*FULL), OK + NO + b"554 none\r\n"], ONE, bytewise=False).client
    client.begin(ONE)
    client.receive(b"502 5.5.1 what?\r\n" + NO + NO + NO)
    assert client.state is State.DEAD
    assert _short(client.outcomes[0]) == "violation: the reply '502 5.5.1 what?' cannot follow RSET"


CHUNKED = [
    ("accepted", ONE, [OK + OK + TAKEN], [ACCEPTED], State.IDLE),
    ("RCPT refused", ONE, [OK + NO + b"554 none\r\n"], ["refused: 550 5.1.1 no"], State.IDLE),
    ("RCPT refused, chunk taken", ONE, [OK + NO + TAKEN], ["refused: 550 5.1.1 no"], State.IDLE),
    ("MAIL refused", ONE, [NO + b"503 x\r\n" + b"503 y\r\n"], ["refused: 550 5.1.1 no"], State.IDLE),
    ("chunk refused", ONE, [OK + OK + b"554 5.7.1 spam\r\n"], ["refused: 554 5.7.1 spam"], State.IDLE),
    ("354 to BDAT", ONE, [OK + OK + GO], [], State.DEAD),
]


@both
@pytest.mark.parametrize(("name", "mail", "answers", "endings", "state"), CHUNKED, ids=[row[0] for row in CHUNKED])
def test_chunking(name: str, mail: Letter, answers: list[bytes], endings: list[str], state: State, bytewise: bool) -> None:
    played = play(open_script("CHUNKING", *FULL) + answers, mail, bytewise=bytewise)
    assert played.said[1].endswith(b"RCPT TO:<b@example.net>\r\nBDAT 21 LAST\r\n" + CONTENT)
    assert len(played.said) == 2
    assert played.client.state is state
    if endings:
        assert played.endings == endings


@pytest.mark.parametrize("chunking", [True, False])
def test_line_ends_are_mended_unless_they_were_looked_at(chunking: bool) -> None:
    script = [*open_script("CHUNKING", *FULL), OK + OK + TAKEN] if chunking else [*open_script(*FULL), OK + OK + GO, TAKEN]
    letter = replace(ONE, content=b"a\nb\r\n")
    mended, trusted = (b"".join(play(script, mail, bytewise=False).said) for mail in (letter, replace(letter, crlf_only=True)))
    assert b"\r\na\r\nb\r\n" in mended
    assert b"\r\na\nb\r\n" in trusted


def test_large_content_waits_for_the_recipients() -> None:
    big = replace(ONE, content=b"x" * 998 + b"\r\n")
    options = ClientOptions("gw", chunking_max_bytes=999)
    played = play([*open_script("CHUNKING", *FULL), OK + NO + b"554 none\r\n"], big, bytewise=False, options=options)
    assert played.said[-1].endswith(b"DATA\r\n")


LOSSES = [
    ([], "lost: gone"),
    ([OK], "lost: gone"),
    ([OK + OK], "lost: gone"),
    ([OK + OK + GO], "lost: gone; the whole message had been sent, so it may arrive twice"),
    ([OK + OK + GO, TAKEN], ACCEPTED),
]


@pytest.mark.parametrize(("answers", "ending"), LOSSES)
def test_the_connection_may_break_anywhere(answers: list[bytes], ending: str) -> None:
    played = play(open_script(*FULL) + answers, ONE, bytewise=False)
    played.client.lost(Ending.LOST, "gone")
    assert (played.client.state, played.endings) == (State.DEAD, [ending])


@pytest.mark.parametrize(
    ("reply", "ending"),
    [
        (TAKEN, "violation: the reply '250 2.0.0 taken' cannot follow (end of data)"),
        (b"552 5.3.4 too big\r\n", "refused: 552 5.3.4 too big"),
        (LATER, "postponed: 451 4.2.1 later"),
    ],
)
def test_a_reply_before_the_whole_message_has_left(reply: bytes, ending: str) -> None:
    client = play([*open_script(*FULL), OK + OK + GO], ONE, bytewise=False).client
    client.content_unsent = True
    client.receive(reply)
    assert client.state is State.DEAD
    assert _short(client.outcomes[0]) == ending


def test_ehlo_after_tls_may_rule_the_host_out_but_fails_nobody() -> None:
    script = [b"220 hi\r\n", ehlo("STARTTLS"), b"220 go\r\n", NO, NO]
    played = play(script, ONE, bytewise=False)
    assert (played.client.state, played.endings) == (State.DEAD, ["host-refused: 550 5.1.1 no"])


@pytest.mark.parametrize(("words", "ending"), [(b"421 idle\r\n", Ending.POSTPONED), (b"250 x\r\n", Ending.VIOLATION)])
def test_an_idle_server_speaks(words: bytes, ending: Ending) -> None:
    client = play(open_script(), bytewise=False).client
    client.receive(words)
    assert client.failure is not None
    assert client.failure.ending is ending


def test_quit() -> None:
    client = play(open_script(), bytewise=False).client
    client.quit()
    assert client.take_output() == b"QUIT\r\n"
    client.receive(b"221 bye\r\n")
    assert (client.state, client.failure) == (State.DEAD, None)


UNFIT = [
    (replace(ONE, content=b"x" * 1001), FULL, "refused: the message has 1001 octets and the server announces a limit of 1000"),
    (
        replace(ONE, content=b"Subject: x\r\n\r\nGr\xfc\xdfe\r\n"),
        (),
        "unsupported: the message has 8-bit content and the server does not offer 8BITMIME",
    ),
    (
        replace(ONE, content="Subject: Grüße\r\n\r\nx\r\n".encode(), smtputf8=True),
        ("8BITMIME",),
        "unsupported: the message has internationalized headers and the server does not offer SMTPUTF8",
    ),
    (
        replace(ONE, sender="grüße@example.com"),
        ("8BITMIME",),
        "unsupported: the sender's address is internationalized and the server does not offer SMTPUTF8",
    ),
    (replace(ONE, sender="a\r\nDATA@example.com"), FULL, "unsupported: the sender's address has control characters"),
    (
        replace(ONE, recipients=(Recipient("b\r\nRSET\r\n@example.net"),)),
        FULL,
        "unsupported: the recipient's address has control characters",
    ),
    (replace(ONE, require_tls=True), ("REQUIRETLS",), "no-requiretls: the server does not offer REQUIRETLS"),
]


@pytest.mark.parametrize(("mail", "keywords", "ending"), UNFIT)
def test_a_message_the_server_cannot_take_is_not_begun(mail: Letter, keywords: tuple[str, ...], ending: str) -> None:
    played = play(open_script(*keywords), mail, bytewise=False)
    assert (played.endings, played.client.state, len(played.said)) == ([ending], State.IDLE, 1)


COMMANDS = [
    (ONE, (), "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"),
    (replace(ONE, sender=""), (), "MAIL FROM:<>", "RCPT TO:<b@example.net>"),
    (
        replace(ONE, body=BodyType.EIGHT_BIT),
        ("8BITMIME",),
        "MAIL FROM:<a@example.com> BODY=8BITMIME",
        "RCPT TO:<b@example.net>",
    ),
    (replace(ONE, body=BodyType.EIGHT_BIT), (), "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"),
    (
        replace(ONE, content=b"\r\n\xff\r\n"),
        ("8BITMIME",),
        "MAIL FROM:<a@example.com> BODY=8BITMIME",
        "RCPT TO:<b@example.net>",
    ),
    (replace(ONE, smtputf8=True), ("SMTPUTF8",), "MAIL FROM:<a@example.com> SMTPUTF8", "RCPT TO:<b@example.net>"),
    (replace(ONE, smtputf8=True), (), "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"),
    (
        replace(ONE, ret=Ret.HDRS, envid="a+b=c d"),
        ("DSN",),
        "MAIL FROM:<a@example.com> RET=HDRS ENVID=a+2Bb+3Dc+20d",
        "RCPT TO:<b@example.net>",
    ),
    (replace(ONE, ret=Ret.HDRS, envid="x"), (), "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"),
    (
        replace(ONE, recipients=(Recipient("b@example.net", Notify.SUCCESS | Notify.DELAY, "rfc822;B+x@example.net"),)),
        ("DSN",),
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bx@example.net",
    ),
    (
        replace(ONE, recipients=(Recipient("b@example.net", Notify.NEVER, "utf-8;grüße+x@example.net"),)),
        ("DSN",),
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<b@example.net> NOTIFY=NEVER ORCPT=utf-8;gr\\x{FC}\\x{DF}e\\x{2B}x@example.net",
    ),
    (
        replace(ONE, recipients=(Recipient("grüße@example.net"),)),
        ("SMTPUTF8",),
        "MAIL FROM:<a@example.com> SMTPUTF8",
        "RCPT TO:<grüße@example.net>",
    ),
]


@pytest.mark.parametrize(("mail", "keywords", "first", "second"), COMMANDS)
def test_commands_hold_what_the_server_offers(mail: Letter, keywords: tuple[str, ...], first: str, second: str) -> None:
    played = play([*open_script("PIPELINING", *keywords)], mail, bytewise=False)
    assert played.said[-1].decode().split("\r\n") == [first, second, "DATA", ""]


def test_requiretls_is_passed_on_under_tls() -> None:
    script = [b"220 hi\r\n", ehlo("STARTTLS"), b"220 go\r\n", ehlo("PIPELINING", "REQUIRETLS")]
    played = play(script, replace(ONE, require_tls=True), bytewise=False)
    assert played.said[-1].startswith(b"MAIL FROM:<a@example.com> REQUIRETLS\r\n")


def test_only_the_internationalized_recipient_fails() -> None:
    mail = replace(ONE, recipients=(Recipient("grüße@example.net"), Recipient("b@example.net")))
    played = play([*open_script("PIPELINING"), OK + OK + GO, TAKEN], mail, bytewise=False)
    what = "unsupported: the recipient's address is internationalized and the server does not offer SMTPUTF8"
    assert played.endings == [what, ACCEPTED]


def test_the_servers_own_recipient_limit_counts() -> None:
    played = play(open_script("PIPELINING", "LIMITS MAILMAX=9 RCPTMAX=1"), THREE, bytewise=False)
    assert played.said[-1].count(b"RCPT") == 1


@pytest.mark.parametrize(
    ("line", "limit"), [("SIZE", None), ("SIZE 0", None), ("SIZE x", None), ("SIZE 123", 123), ("SIZE " + "9" * 30, None)]
)
def test_size_announcements(line: str, limit: int | None) -> None:
    assert play(open_script(line), bytewise=False).client.capabilities.size_limit_bytes == limit


_ANSWERS = st.sampled_from(
    [
        OK,
        OK,
        OK,
        GO,
        TAKEN,
        NO,
        LATER,
        b"421 bye\r\n",
        b"452 4.5.3 many\r\n",
        b"220 go\r\n",
        b"250-a\r\n",
        b"x\r\n",
        b"2",
        ehlo(*FULL),
    ]
)


@given(st.lists(st.lists(_ANSWERS, max_size=4).map(b"".join), max_size=12), st.sampled_from([(), FULL, ("CHUNKING", *FULL)]))
@example([OK * 4, NO], ("CHUNKING", *FULL))
def test_whatever_a_server_says(answers: list[bytes], keywords: tuple[str, ...]) -> None:
    """Invariant: nothing raises, a finished mail has all outcomes, and none is accepted before its content went out."""
    played = play(open_script(*keywords) + answers, THREE, bytewise=False)
    client = played.client
    # Still in the mail with every outcome known: answers to pipelined commands are outstanding.
    assert client.state is State.MAIL or None not in client.outcomes
    accepted = [outcome for outcome in client.outcomes if outcome is not None and outcome.ending is Ending.ACCEPTED]
    assert not accepted or any(CONTENT in said for said in played.said)
    client.lost(Ending.LOST, "gone")
    assert None not in client.outcomes
