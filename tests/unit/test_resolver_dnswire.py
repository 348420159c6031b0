"""DNS octets into records: what is odd is kept, what is cut short is refused, nothing runs away."""

from __future__ import annotations

import struct

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.dnsdata import Mx, Tlsa
from sealroute.base.errors import InputError
from sealroute.net import dnswire
from sealroute.net.dnswire import AliasLink, alias_links, read_name


def packet(*records: str) -> bytes:
    """A response to `start.test. A` with the records, in wire form, compressed."""
    message = dns.message.make_response(dns.message.make_query("start.test.", "A"))
    for record in records:
        owner, rtype, rdata = record.split(" ", 2)
        message.answer.append(dns.rrset.from_text(owner, 300, "IN", rtype, rdata))
    return message.to_wire()


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"\0", ""),
        (b"\2Mx\4TEST\0", "mx.test"),
        (b"\3_25\4_tcp\1x\0", "_25._tcp.x"),
        (b"\3a.b\1x\0", "a\\046b.x"),
        (b"\3\xe4 \x00\1x\0", "\\228\\032\\000.x"),
    ],
)
def test_names_are_read_in_compared_form(wire: bytes, name: str) -> None:
    assert read_name(wire) == (name, len(wire))
    assert read_name(b"??" + wire + b"??", 2) == (name, 2 + len(wire))


@pytest.mark.parametrize(
    ("wire", "offset"),
    [
        (b"", 0),
        (b"\3ab", 0),
        (b"\3abc", 0),
        (b"\x40", 0),
        (b"\xc0", 0),
        (b"\xc0\x00", 0),
        (b"\1a\xc0\x02", 2),
        (b"\1a" * 130 + b"\0", 0),
    ],
)
def test_names_that_do_not_end_are_refused(wire: bytes, offset: int) -> None:
    with pytest.raises(InputError, match="a DNS name"):
        read_name(wire, offset)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_octets_make_reading_a_name_fail_otherwise(wire: bytes, offset: int) -> None:
    try:
        name, after = read_name(wire, offset)
    except InputError:
        return
    assert offset < after <= len(wire)
    assert name == name.lower()


def test_records_are_read() -> None:
    assert dnswire.read_mx([b"\0\x14\2b2\0", b"\0\x0a\1Z\0", b"\0\x0a\1a\0"]) == (Mx(10, "a"), Mx(10, "z"), Mx(20, "b2"))
    assert dnswire.read_mx([b"\0\0\0"]) == (Mx(0, ""),)
    assert dnswire.read_a([b"\x7f\0\0\1"]) == ("127.0.0.1",)
    assert dnswire.read_aaaa([b"\0" * 15 + b"\1"]) == ("::1",)
    assert dnswire.read_tlsa([b"\3\1\1abc", b"\xff\0\0"]) == (Tlsa(3, 1, 1, b"abc"), Tlsa(255, 0, 0, b""))
    assert dnswire.read_txt([b"\2ab\1c", b"", b"\1\xe4"]) == ("abc", "", "ä")


@pytest.mark.parametrize(
    ("read", "rdata"),
    [
        (dnswire.read_mx, b"\0\x0a"),
        (dnswire.read_mx, b"\0\x0a\3ab"),
        (dnswire.read_a, b"\1\2\3"),
        (dnswire.read_aaaa, b"\1\2\3\4"),
        (dnswire.read_tlsa, b"\3\1"),
        (dnswire.read_tlsa, b""),
        (dnswire.read_txt, b"\3ab"),
        (dnswire.read_target, b"\3ab"),
    ],
)
def test_records_cut_short_are_refused(read: object, rdata: bytes) -> None:
    assert callable(read)
    with pytest.raises(InputError):
        read([rdata])


def test_alias_chains_are_followed_in_order_whatever_the_order_in_the_packet() -> None:
    wire = packet("b.test. CNAME C.test.", "c.test. A 192.0.2.1", "START.test. CNAME b.test.", "x.test. CNAME y.test.")
    assert alias_links(wire, "start.test") == (AliasLink("start.test", "b.test"), AliasLink("b.test", "c.test"))
    assert alias_links(packet("start.test. A 192.0.2.1"), "start.test") == ()


def test_a_dname_is_named_as_the_source_of_its_step() -> None:
    (link,) = alias_links(packet("test. DNAME example.", "start.test. CNAME start.example."), "start.test")
    assert link == AliasLink("start.test", "start.example", "test")
    assert link.agrees(["example"])
    assert not link.agrees(["other"])
    assert AliasLink("a.test", "b.test").agrees(["b.test"])
    assert not AliasLink("a.test", "b.test").agrees([])


def test_loops_and_long_chains_are_refused() -> None:
    with pytest.raises(InputError, match="form a loop or a chain of more than 16 steps"):
        alias_links(packet("start.test. CNAME b.test.", "b.test. CNAME start.test."), "start.test")


def test_messages_cut_short_are_refused_at_every_octet() -> None:
    wire = packet("start.test. CNAME b.test.", "b.test. CNAME c.test.")
    for size in range(len(wire) - 11):
        with pytest.raises(InputError):
            alias_links(wire[:size], "start.test")


def test_a_lying_record_count_is_refused() -> None:
    wire = packet("start.test. CNAME b.test.")
    with pytest.raises(InputError):
        alias_links(wire[:6] + struct.pack("!H", 60000) + wire[8:], "start.test")
