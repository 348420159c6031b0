"""The server engine under attack: smuggling, bytes behind STARTTLS, AUTH, limits, and noise."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.base.status import Reply
from sealroute.proto.smtp.conversation import format_reply
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import (
    Authenticate,
    AuthThrottled,
    AuthUnavailable,
    MessageReceived,
    ServerLimits,
    StartTls,
)
from tests.unit.smtp_server_world import ENVELOPE, QUEUED, RELAY, SUBMISSION, over_tls, world

# ------------------------------------------------------------------------------------------------------------ smuggling

NOT_THE_END = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\n.\r",
    "\r.\n",
    "\r\n.\r\r\n",
    "\r\n\r.\r\n",
    "\r\n.\n\r\n",
]
SMUGGLED = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nsmuggled\r\n"


@pytest.mark.parametrize("chunk", [0, 1, 3])
@pytest.mark.parametrize("ending", NOT_THE_END)
def test_only_crlf_dot_crlf_ends_data_and_the_message_is_refused(ending: str, chunk: int) -> None:
    client = world(chunk=chunk)
    said = ENVELOPE + "DATA\r\nA: 1\r\n\r\nbody" + ending + SMUGGLED + ".\r\nNOOP\r\n"
    assert client.codes(said) == ["250 2.1.0", "250 2.1.5", "354", "550 5.6.1", "250 2.0.0"]
    assert client.stored == []


@pytest.mark.parametrize("content", ["a\nb\r\n", "a\rb\r\n", "\n\r\r\n", "a\r\r\n", "\n", "a\r"])
def test_bare_line_ends_are_refused_in_chunks_too(content: str) -> None:
    client = world()
    replies = client.say(ENVELOPE + f"BDAT {len(content)} LAST\r\n{content}NOOP\r\n")
    assert replies[-2:] == ["550 5.6.11 Bare CR or LF in the message; lines must end in CRLF", "250 2.0.0 OK"]
    assert client.stored == []


def test_a_pair_split_over_two_chunks_is_no_bare_line_end() -> None:
    client = world()
    assert client.codes(ENVELOPE + "BDAT 2\r\na\rBDAT 1 LAST\r\n\n")[-1] == "250 2.6.0"


# ------------------------------------------------------------------------------------------------------------- STARTTLS


def test_bytes_behind_starttls_are_never_executed() -> None:
    engine = ServerEngine(RELAY)
    engine.receive_data(b"EHLO x\r\n")
    engine.data_to_send()
    events = engine.receive_data(b"STARTTLS\r\nRSET\r\nMAIL FROM:<>\r\n")
    assert not any(isinstance(event, StartTls) for event in events)
    assert engine.closed
    assert engine.data_to_send().startswith(b"503 5.5.1 ")
    assert engine.receive_data(b"NOOP\r\n") == []
    assert engine.data_to_send() == b""


def test_plaintext_between_starttls_and_the_handshake_ends_the_session() -> None:
    engine = ServerEngine(RELAY)
    engine.receive_data(b"EHLO x\r\n")
    (event,) = engine.receive_data(b"STARTTLS\r\n")
    assert isinstance(event, StartTls)
    engine.data_to_send()
    engine.receive_data(b"RSET\r\n")
    assert engine.closed
    assert engine.data_to_send() == b""


def test_starttls_forgets_everything_said_before() -> None:
    client = world()
    client.say(ENVELOPE)
    assert client.codes("STARTTLS\r\n") == ["220 2.0.0"]
    assert client.engine.facts.helo == ""
    assert client.codes("DATA\r\nMAIL FROM:<>\r\nEHLO x\r\nSTARTTLS\r\n")[:2] == ["503 5.5.1", "503 5.5.1"]
    assert client.codes("STARTTLS\r\n") == ["503 5.5.1"]


def test_starttls_where_it_is_not_offered() -> None:
    assert world(replace(RELAY, offers_tls=False)).codes("STARTTLS\r\n") == ["502 5.5.1"]


# ----------------------------------------------------------------------------------------------------------------- AUTH


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PLAIN = b64("\0joe\0secret")

AUTHS: dict[str, tuple[str, list[str]]] = {
    "PLAIN at once": (f"AUTH PLAIN {PLAIN}\r\n", ["235 2.7.0"]),
    "plain in two steps": (f"auth plain\r\n{PLAIN}\r\n", ["334", "235 2.7.0"]),
    "the same authorization identity": (f"AUTH PLAIN {b64(chr(0).join(('joe', 'joe', 'secret')))}\r\n", ["235 2.7.0"]),
    "LOGIN": (f"AUTH LOGIN\r\n{b64('joe')}\r\n{b64('secret')}\r\n", ["334", "334", "235 2.7.0"]),
    "LOGIN with initial response": (f"AUTH LOGIN {b64('joe')}\r\n{b64('secret')}\r\n", ["334", "235 2.7.0"]),
    "wrong password": (f"AUTH PLAIN {b64(chr(0) + 'joe' + chr(0) + 'wrong')}\r\n", ["535 5.7.8"]),
    "cancelled": ("AUTH PLAIN\r\n*\r\nNOOP\r\n", ["334", "501 5.7.0", "250 2.0.0"]),
    "not base64": ("AUTH PLAIN !!!!\r\n", ["501 5.5.2"]),
    "base64 with junk": (f"AUTH PLAIN {PLAIN}=\r\n", ["501 5.5.2"]),
    "empty response": ("AUTH PLAIN =\r\n", ["501 5.5.2"]),
    "for another user": (f"AUTH PLAIN {b64(chr(0).join(('ann', 'joe', 'secret')))}\r\n", ["501 5.5.2"]),
    "no user": (f"AUTH PLAIN {b64(chr(0) * 2 + 'secret')}\r\n", ["501 5.5.2"]),
    "LOGIN without a user": ("AUTH LOGIN\r\n\r\n", ["334", "501 5.5.2"]),
    "LOGIN with a NUL": (f"AUTH LOGIN {b64('jo' + chr(0))}\r\n", ["501 5.5.2"]),
    "not UTF-8": ("AUTH LOGIN /w==\r\n", ["501 5.5.2"]),
    "overlong name": (f"AUTH LOGIN {b64('j' * 1025)}\r\n", ["501 5.5.2"]),
    "8-bit response": ("AUTH PLAIN\r\nä\r\n", ["334", "501 5.5.2"]),
    "unknown mechanism": ("AUTH CRAM-MD5\r\nAUTH\r\n", ["504 5.5.4", "504 5.5.4"]),
    "twice": (f"AUTH PLAIN {PLAIN}\r\nAUTH PLAIN {PLAIN}\r\n", ["235 2.7.0", "503 5.5.1"]),
    "then mail": (f"AUTH PLAIN {PLAIN}\r\n" + ENVELOPE, ["235 2.7.0", "250 2.1.0", "250 2.1.5"]),
    "within mail": (
        f"AUTH PLAIN {PLAIN}\r\nMAIL FROM:<> AUTH=<>\r\nAUTH PLAIN {PLAIN}\r\n",
        ["235 2.7.0", "250 2.1.0", "503 5.5.1"],
    ),
    "three failures": ("AUTH PLAIN !\r\n" * 3 + "NOOP\r\n", ["501 5.5.2"] * 3 + ["421 4.7.0"]),
    "a long line": ("AUTH PLAIN " + "A" * 12000 + "\r\n", ["501 5.5.2"]),
    "an overlong line": ("AUTH PLAIN " + "A" * 12288 + "\r\nNOOP\r\n", ["500 5.5.2"]),
}


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("name", AUTHS)
def test_auth(name: str, chunk: int) -> None:
    said, replies = AUTHS[name]
    client = over_tls()
    client.chunk = chunk
    assert client.codes(said) == replies


def test_the_user_and_organization_are_known_afterwards() -> None:
    client = over_tls()
    client.say(f"AUTH PLAIN {PLAIN}\r\n")
    assert (client.engine.facts.user, client.engine.facts.organization) == ("joe", "fabrikam")


def test_no_auth_in_plaintext() -> None:
    client = world(SUBMISSION)
    assert client.say(f"AUTH PLAIN {PLAIN}\r\n") == ["538 5.7.11 Encryption required; STARTTLS must come first"]


def test_what_is_pipelined_behind_auth_waits_for_its_outcome() -> None:
    client = over_tls()
    (event,) = client.engine.receive_data(f"AUTH PLAIN {PLAIN}\r\nMAIL FROM:<>\r\n".encode())
    assert isinstance(event, Authenticate)
    assert "secret" not in repr(event)
    assert client.lines() == []
    client.act(client.engine.auth_done(AuthUnavailable()))
    assert [line[:9] for line in client.lines()] == ["454 4.7.0", "530 5.7.0"]


def test_throttled() -> None:
    client = over_tls()
    client.engine.receive_data(f"AUTH PLAIN {PLAIN}\r\n".encode())
    client.engine.auth_done(AuthThrottled(8))
    assert client.lines() == ["454 4.7.0 Too many failed logins; try again in 8 seconds"]


# --------------------------------------------------------------------------------------------------------------- limits


def test_command_line() -> None:
    client = world()
    assert client.codes("NOOP " + "x" * (4096 - 7) + "\r\n") == ["250 2.0.0"]
    assert client.codes("NOOP " + "x" * (4096 - 6) + "\r\nNOOP\r\n") == ["500 5.5.2"]
    assert client.closed


def test_a_line_that_never_ends_is_not_collected() -> None:
    client = world()
    for _ in range(100):
        client.engine.receive_data(b"x" * 1000)
        assert client.engine.held_octets <= 5096
    assert client.engine.closed


def test_recipients() -> None:
    client = world(recipients_per_message=2)
    rcpt = "RCPT TO:<b@example.com>\r\n"
    assert client.codes("MAIL FROM:<>\r\n" + rcpt * 4) == ["250 2.1.0", "250 2.1.5", "250 2.1.5", "452 4.5.3", "452 4.5.3"]
    assert client.codes("DATA\r\n.\r\n") == ["354", "250 2.6.0"]
    assert len(client.stored[0][0].recipients) == 2
    assert client.codes("MAIL FROM:<>\r\n" + rcpt * 30)[-2:] == ["452 4.5.3", "421 4.5.3"]


def test_refused_recipients() -> None:
    client = world(refused_recipients_per_session=3, errors_per_session=2)
    assert client.codes("MAIL FROM:<>\r\n" + "RCPT TO:<b>\r\n" * 5) == ["250 2.1.0"] + ["501 5.1.3"] * 3 + ["421 4.7.0"]


def test_errors() -> None:
    client = world(errors_per_session=3)
    message = ENVELOPE + "DATA\r\n.\r\n"
    assert client.codes("X\r\nX\r\n" + message)[-1] == "250 2.6.0"
    assert client.codes("X\r\n" * 5) == ["500 5.5.1"] * 3 + ["421 4.7.0"]


def test_idle_commands() -> None:
    client = world(idle_commands=5)
    assert client.codes("NOOP\r\nRSET\r\nHELP\r\nVRFY x\r\n" + ENVELOPE + "DATA\r\n.\r\n")[-1] == "250 2.6.0"
    assert client.codes("NOOP\r\n" * 9) == ["250 2.0.0"] * 6 + ["421 4.7.0"]


def test_refused_messages_count_as_idle() -> None:
    client = world(idle_commands=3)
    client.outcome = Reply(451, ("disk full",))
    assert client.codes((ENVELOPE + "DATA\r\n.\r\n") * 9)[-1] == "421 4.7.0"
    client = world(idle_commands=3)
    assert client.codes((ENVELOPE + "DATA\r\na\nb\r\n.\r\n") * 9)[-1] == "421 4.7.0"


def test_idle_chunks() -> None:
    client = world(idle_commands=5)
    assert client.codes(ENVELOPE + "BDAT 0\r\n" * 9)[-1] == "421 4.7.0"


def test_ehlo_counts_as_idle() -> None:
    assert world(idle_commands=3).codes("HELO x\r\n" * 9) == ["250", "250", "421 4.7.0"]


def test_messages() -> None:
    client = world(messages_per_session=1)
    assert client.codes((ENVELOPE + "DATA\r\n.\r\n") * 2)[-1] == "421 4.7.0"
    assert len(client.stored) == 1


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize(("octets", "reply"), [(100, "250 2.6.0"), (101, "552 5.3.4"), (150, "552 5.3.4")])
def test_message_size(octets: int, reply: str, chunk: int) -> None:
    client = world(message_bytes=100, chunk=chunk)
    content = "x" * (octets - 2) + "\r\n"
    assert client.codes(ENVELOPE + "DATA\r\n" + content + ".\r\nNOOP\r\n")[-2:] == [reply, "250 2.0.0"]
    assert client.codes(ENVELOPE + f"BDAT {octets} LAST\r\n{content}NOOP\r\n")[-2:] == [reply, "250 2.0.0"]
    half = octets // 2
    assert client.codes(ENVELOPE + f"BDAT {half}\r\n{content[:half]}BDAT {octets - half} LAST\r\n{content[half:]}")[-1] == reply


def test_content_without_end_is_not_collected() -> None:
    client = world(message_bytes=1000)
    client.say(ENVELOPE + "DATA\r\n")
    for _ in range(100):
        client.engine.receive_data(b"x" * 100)
        assert client.engine.held_octets <= 1200
    assert client.lines()[-1][:9] == "421 4.3.4"


def test_backlog() -> None:
    client = world(backlog_bytes=1000)
    client.engine.receive_data((ENVELOPE + "DATA\r\n.\r\n").encode())
    client.lines()
    client.engine.receive_data(b"x" * 1000)
    assert not client.engine.closed
    client.engine.receive_data(b"x")
    assert client.lines()[0][:9] == "421 4.7.0"


def test_an_outcome_that_comes_after_the_end_says_nothing() -> None:
    client = world(backlog_bytes=10)
    client.engine.receive_data((ENVELOPE + "DATA\r\n.\r\n").encode())
    client.engine.receive_data(b"x" * 11)
    client.lines()
    assert client.engine.message_done(QUEUED) == []
    client = over_tls(backlog_bytes=10)
    client.engine.receive_data(f"AUTH PLAIN {PLAIN}\r\n".encode())
    client.engine.receive_data(b"x" * 11)
    client.lines()
    assert client.engine.auth_done(AuthUnavailable()) == []
    assert client.lines() == []


def test_unread_replies() -> None:
    client = world(output_bytes=2000)
    assert client.codes(ENVELOPE + "BDAT 1\r\nx" * 1000)[-1] == "421 4.7.0"


# ---------------------------------------------------------------------------------------------------------------- noise

WELL_FORMED = re.compile(rb"(?:[2-5][0-9][0-9][ -][ -~]{0,500}\r\n)*")
WORDS = st.sampled_from(
    [
        b"EHLO x\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n", b"DATA\r\n", b".\r\n",
        b"BDAT 5 LAST\r\n", b"BDAT 3\r\n", b"RSET\r\n", b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN am9l\r\n",
        b"MAIL FROM:<> SMTPUTF8 ENVID=+20\r\n", b"QUIT\r\n", b"\r\n", b"\r", b"\n", b"\r\n.\r\n", b"\n.\n", b"*\r\n", b"abc",
    ]
)  # fmt: skip
NOISE = st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=30).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(NOISE, st.integers(1, 64), st.booleans())
def test_the_engine_never_raises_says_only_well_formed_replies_and_holds_no_more_than_its_limits(
    noise: bytes, size: int, submission: bool
) -> None:
    policy = SUBMISSION if submission else RELAY
    engine = ServerEngine(policy, ServerLimits(message_bytes=200, command_line_bytes=100, auth_line_bytes=100))
    engine.greet()
    for start in range(0, len(noise), size):
        events = engine.receive_data(noise[start : start + size])
        while events:
            event = events.pop(0)
            if isinstance(event, MessageReceived):
                assert b"\n" not in event.content.replace(b"\r\n", b"")
                assert event.envelope.recipients
                events += engine.message_done(QUEUED)
            elif isinstance(event, Authenticate):
                events += engine.auth_done(AuthUnavailable())
            elif isinstance(event, StartTls):
                engine.tls_started("TLSv1.3", "x")
        assert WELL_FORMED.fullmatch(engine.data_to_send())
        assert engine.held_octets <= 200 + 200 // 32 + 8 + 100 + 64


@given(NOISE)
@settings(max_examples=200, deadline=None)
def test_the_same_bytes_store_the_same_messages_however_they_are_cut(noise: bytes) -> None:
    # STARTTLS is left out: there the cut itself is what is judged.
    noise = noise.replace(b"STARTTLS", b"NOOP")
    whole, cut = world(), world(chunk=1)
    whole.say(noise)
    cut.say(noise)
    assert whole.stored == cut.stored
    assert whole.closed == cut.closed


@given(st.text(max_size=600))
def test_no_text_breaks_a_reply(text: str) -> None:
    assert WELL_FORMED.fullmatch(format_reply(Reply(550, (text, text))))
