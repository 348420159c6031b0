"""Replies: each table row runs whole, octet by octet, and with octets after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import PeerError
from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp.replies import MAX_LINE_OCTETS, MAX_LINES, MAX_REPLY_OCTETS, ReplyParser, parse_reply

GOOD = [
    (b"250 2.1.0 Ok\r\n", Reply(250, ("Ok",), Enhanced(2, 1, 0))),
    (b"250 Ok\r\n", Reply(250, ("Ok",))),
    (b"250\r\n", Reply(250, ("",))),
    (b"250 \r\n", Reply(250, ("",))),
    (b"250 2.1.0\r\n", Reply(250, ("",), Enhanced(2, 1, 0))),
    (b"250-\r\n250\r\n", Reply(250, ("", ""))),
    (b"250-mx.example\r\n250-SIZE 100\r\n250 DSN\r\n", Reply(250, ("mx.example", "SIZE 100", "DSN"))),
    (b"550-5.7.1 no\r\n550 5.7.1 never\r\n", Reply(550, ("no", "never"), Enhanced(5, 7, 1))),
    (b"550-first\r\n550 5.1.1 second\r\n", Reply(550, ("first", "second"), Enhanced(5, 1, 1))),
    (b"550-5.1.1 a\r\n550 5.7.1 b\r\n", Reply(550, ("a", "b"), Enhanced(5, 1, 1))),
    (b"550 4.1.1 class disagrees\r\n", Reply(550, ("4.1.1 class disagrees",))),
    (b"250 2.1 no code\r\n", Reply(250, ("2.1 no code",))),
    (b"250 2.1.0, too\r\n", Reply(250, ("2.1.0, too",))),
    (b"250 2.1.1000 too long\r\n", Reply(250, ("2.1.1000 too long",))),
    (b"354 3.0.0 no such class\r\n", Reply(354, ("3.0.0 no such class",))),
    (b"250 bare LF\n", Reply(250, ("bare LF",))),
    (b"571 odd middle digit\r\n", Reply(571, ("odd middle digit",))),
    (b"250 Gr\xc3\xbc\xc3\x9fe\r\n", Reply(250, ("Grüße",))),
    (b"250 Gr\xfc\xdfe\r\n", Reply(250, ("Grüße",))),
    (b"250 a\tb\r\n", Reply(250, ("a\tb",))),
    (b"250 a\x1b[31mb\rc\x00\r\n", Reply(250, ("a\ufffd[31mb\ufffdc\ufffd",))),
    (b"250   spaced \r\n", Reply(250, ("  spaced ",))),
]

MALFORMED = [
    (b"\r\n", "line 1 of the reply does not begin with a reply code of 200 to 599: ''"),
    (b"25 Ok\r\n", "line 1 of the reply does not begin with a reply code of 200 to 599: '25 Ok'"),
    (b"150 Ok\r\n", "line 1 of the reply does not begin with a reply code of 200 to 599: '150 Ok'"),
    (b"650 Ok\r\n", "line 1 of the reply does not begin with a reply code of 200 to 599: '650 Ok'"),
    (b"HTTP/1.1 400\r\n", "line 1 of the reply does not begin with a reply code of 200 to 599: 'HTTP/1.1 400'"),
    (b"2\xb250 Ok\r\n", "line 1 of the reply does not begin with a reply code of 200 to 599: '2\\xb250 Ok'"),
    (b"250_Ok\r\n", "line 1 of the reply has neither a space nor '-' after the code: '250_Ok'"),
    (b"250-a\r\n251 b\r\n", "line 2 of the reply has the code 251 in a reply that began with 250"),
    (b"250-a\r\n\r\n", "line 2 of the reply does not begin with a reply code of 200 to 599: ''"),
    (b"250 " + b"x" * MAX_LINE_OCTETS + b"\r\n", f"line 1 of the reply is longer than {MAX_LINE_OCTETS} octets"),
    (b"250 " + b"x" * MAX_LINE_OCTETS, f"line 1 of the reply is longer than {MAX_LINE_OCTETS} octets"),
    (b"250-\r\n" * (MAX_LINES + 1), "line 129 of the reply is one more than the 128 lines a reply may have"),
    (b"250-" + b"y" * 4000 + b"\r\n", ""),
]


def fed(octets: bytes, size: int) -> list[Reply]:
    """What the parser gives when it is fed so many octets at a time."""
    parser, replies = ReplyParser(), []
    for start in range(0, len(octets), size):
        parser.feed(octets[start : start + size])
        while reply := parser.next_reply():
            replies.append(reply)
    return replies


@pytest.mark.parametrize(("octets", "reply"), GOOD)
def test_well_formed(octets: bytes, reply: Reply) -> None:
    assert parse_reply(octets) == reply
    assert fed(octets, 1) == [reply]
    assert fed(octets + octets, 1) == fed(octets + octets, 10_000) == [reply, reply]


@pytest.mark.parametrize(("octets", "reply"), GOOD)
def test_octets_after_a_reply_stay_pending(octets: bytes, reply: Reply) -> None:
    parser = ReplyParser()
    parser.feed(octets + b"2")
    assert parser.next_reply() == reply
    assert parser.next_reply() is None
    assert parser.pending
    with pytest.raises(PeerError, match="octets after the end"):
        parse_reply(octets + b"2")


@pytest.mark.parametrize(("octets", "why"), MALFORMED[:-1])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_malformed(octets: bytes, why: str, size: int) -> None:
    with pytest.raises(PeerError) as caught:
        fed(octets, size)
    assert str(caught.value) == why


def test_a_reply_is_bounded_as_a_whole() -> None:
    line = MALFORMED[-1][0]
    with pytest.raises(PeerError, match=f"makes the reply longer than {MAX_REPLY_OCTETS} octets"):
        fed(line * 20, 5000)


@pytest.mark.parametrize("octets", [b"250-a\r\n", b"250 a", b"250 a\r", b"250-a\r\n250"])
def test_incomplete(octets: bytes) -> None:
    assert fed(octets, 1) == []
    with pytest.raises(PeerError, match="not complete"):
        parse_reply(octets)


def test_nothing_is_no_reply() -> None:
    with pytest.raises(PeerError, match="there is no reply"):
        parse_reply(b"")


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_whatever_comes_ends_in_replies_or_peer_error(pieces: list[bytes]) -> None:
    """Invariant: any octets give replies within the bounds, or PeerError; how they are cut makes no difference."""

    def outcome(chunks: list[bytes]) -> tuple[list[Reply], str]:
        parser, replies = ReplyParser(), []
        try:
            for chunk in chunks:
                parser.feed(chunk)
                while reply := parser.next_reply():
                    replies.append(reply)
        except PeerError as error:
            return replies, str(error)
        return replies, ""

    replies, error = outcome(pieces)
    assert (replies, error) == outcome([b"".join(pieces)])
    assert all(200 <= reply.code <= 599 and 1 <= len(reply.lines) <= MAX_LINES for reply in replies)


@given(
    st.integers(200, 599),
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), min_size=1, max_size=6),
)
def test_lines_come_back_as_sent(code: int, texts: list[str]) -> None:
    """Invariant: what was put into lines is what comes out, for text that begins with no enhanced code."""
    lines = [f"x{text}" for text in texts]
    wire = "".join(f"{code}{'-' if number < len(lines) else ' '}{line}\r\n" for number, line in enumerate(lines, 1))
    assert parse_reply(wire.encode()) == Reply(code, tuple(lines))
