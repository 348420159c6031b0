"""What goes out after 354."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealroute.proto.smtp.data import canonical, encode_data, has_lone_cr_or_lf


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b"\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.b\r\n..c\r\nd.\r\n", b"a\r\n..b\r\n...c\r\nd.\r\n.\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n.\r\n"),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\r", b"a\r\n..\r\n.\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n.\r\n"),
        (b"\xff\x00\r\n", b"\xff\x00\r\n.\r\n"),
    ],
)
def test_encoding(content: bytes, wire: bytes) -> None:
    assert encode_data(content) == wire


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b""])).map(b"".join))
def test_nothing_can_end_the_message_early(content: bytes) -> None:
    """Invariant: the end mark stands at the end only, no CR or LF stands alone, and unstuffing gives the content back."""
    wire = encode_data(content)
    assert not has_lone_cr_or_lf(wire)
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
    back = (b"\r\n" + wire[:-3]).replace(b"\r\n.", b"\r\n")[2:]
    clean = canonical(content)
    assert back == (clean if clean.endswith(b"\r\n") else clean + b"\r\n")


@given(st.text("\r\nab", max_size=12))
@example("\r")
@example("a\n\r")
@example("\r\r\n")
@example("a\r\n\r\n\r")
def test_lone_cr_or_lf_is_found_wherever_it_stands(text: str) -> None:
    content = text.encode()
    assert has_lone_cr_or_lf(content) == bool(re.search(rb"(?<!\r)\n|\r(?!\n)", content))
