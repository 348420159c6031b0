"""The DER reader: framing only, never past the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base import der
from sealroute.base.der import DerError, read, whole


def test_an_element_knows_its_parts() -> None:
    outer = read(bytes.fromhex("30050201010400") + b"rest")
    assert (outer.tag, outer.octets, outer.value) == (
        der.SEQUENCE,
        bytes.fromhex("30050201010400"),
        bytes.fromhex("0201010400"),
    )
    assert [(item.tag, item.value) for item in outer.children()] == [(der.INTEGER, b"\x01"), (der.OCTET_STRING, b"")]


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        ("", "ends at octet 0"),
        ("30", "ends at octet 1"),
        ("1f8101", "identifier of several octets"),
        ("3080", "indefinite"),
        ("308500000000010a", "indefinite, too long"),
        ("3082", "cut off"),
        ("30810100", "shortest form"),
        ("3082007f", "shortest form"),
        ("300201", "only 1 are there"),
    ],
)
def test_broken_framing_is_named(octets: str, complaint: str) -> None:
    with pytest.raises(DerError, match=complaint):
        read(bytes.fromhex(octets))


def test_long_lengths_are_read() -> None:
    assert len(read(b"\x04\x81\x80" + bytes(128)).value) == 128
    assert len(read(b"\x04\x82\x01\x00" + bytes(256)).value) == 256


def test_whole_refuses_another_kind_and_what_follows() -> None:
    with pytest.raises(DerError, match="identifier is 0x04, not 0x30"):
        whole(b"\x04\x00", der.SEQUENCE)
    with pytest.raises(DerError, match="1 octets follow"):
        whole(b"\x30\x00\x00", der.SEQUENCE)


def test_a_child_may_not_leave_its_parent() -> None:
    with pytest.raises(DerError, match="only 0 are there"):
        list(read(b"\x30\x02\x04\x01\xff").children())


@given(st.binary(max_size=64))
def test_any_octets_are_an_element_or_an_error(data: bytes) -> None:
    try:
        element = read(data)
        inside = list(element.children())
    except DerError:
        return
    assert element.end <= len(data)
    assert b"".join(item.octets for item in inside) == element.value
