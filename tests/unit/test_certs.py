"""What a certificate says, however odd; names; files of certificates."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.base import pem
from sealroute.base.certnames import NameMatch, covers, match_name, permits_name
from sealroute.base.certs import Certificate
from sealroute.base.errors import InputError
from sealroute.base.pem import read_pem, write_pem
from simnet.pki import ANY_EKU, CLIENT_AUTH, Ca, Entity, Wish, self_signed

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@cache
def root() -> Ca:
    return Ca("Root", wish=Wish(now=NOW))


def leaf(*names: str, wish: Wish | None = None) -> Certificate:
    return Certificate(root().leaf(*(names or ("mx.example.com",)), wish=wish or Wish(now=NOW)).der)


def seq(*parts: bytes, tag: int = 0x30) -> bytes:
    """An element; DER length."""
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        head = bytes([size])
    else:
        width = (size.bit_length() + 7) // 8
        head = bytes([0x80 | width]) + size.to_bytes(width)
    return bytes([tag]) + head + body


def by_hand(*tail: bytes, subject: bytes = b"\x30\x00", until: bytes = b"\x17\x0d270101000000Z") -> Certificate:
    """A certificate put together octet by octet, its signature worthless; `tail` follows the key."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    dates = seq(seq(b"260101000000Z", tag=0x17), until)
    version, serial = bytes.fromhex("a003020102"), bytes.fromhex("020101")
    tbs = seq(version, serial, algorithm, b"\x30\x00", dates, subject, root().spki, *tail)
    return Certificate(seq(tbs, algorithm, seq(b"\x00" + bytes.fromhex("3006020101020101"), tag=0x03)))


def with_extensions(*extensions: bytes, subject: bytes = b"\x30\x00") -> Certificate:
    """One with exactly these extension elements."""
    return by_hand(*([seq(seq(*extensions), tag=0xA3)] if extensions else []), subject=subject)


def extension(oid: str, value: bytes, *middle: bytes) -> bytes:
    return seq(seq(bytes.fromhex(oid), tag=0x06), *middle, seq(value, tag=0x04))


SAN, KU, EKU, BC, NC = "551d11", "551d0f", "551d25", "551d13", "551d1e"


# ------------------------------------------------------------------------------------------------------------ facts


def test_facts_of_a_good_certificate() -> None:
    made = root().leaf("MX.example.com", "*.example.net", wish=Wish(now=NOW, subject="The Host"))
    got = Certificate(made.der)
    assert got.spki == made.spki
    assert got.fingerprint == made.tlsa(3, 0, 1)[6:]
    assert (got.subject, got.issuer) == ("CN=The Host", "CN=Root")
    assert got.dns_names == ("mx.example.com", "*.example.net")
    assert got.common_names == ("the host",)
    assert (got.not_before, got.not_after) == (datetime(2026, 5, 2, 12, tzinfo=UTC), datetime(2026, 7, 31, 12, tzinfo=UTC))
    assert (got.is_ca, got.may_serve_tls, got.key_may_serve_tls, got.has_san_dns, got.problem) == (False, True, True, True, "")
    assert Certificate(root().der).is_ca
    assert got.issuer_key == Certificate(root().der).subject_key


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x30\x00", b"\x30\x02\x30\x00", b"\x30\x03\x02\x01\x01", b"\x30\x05\x30\x03\x02", b"\x00" * 40, b"not DER at all"],
)
def test_octets_that_are_no_certificate_are_facts_all_the_same(octets: bytes) -> None:
    odd = Certificate(octets)
    assert odd.problem.startswith("the certificate could not be parsed: ")
    assert (odd.spki, odd.parsed, odd.openssl, odd.subject, odd.issuer) == (None, None, None, "", "")
    assert (odd.subject_key, odd.issuer_key, odd.not_before, odd.not_after) == (None, None, None, None)
    assert (odd.dns_names, odd.common_names, odd.is_ca) == ((), (), False)
    assert odd.extensions == {}
    assert match_name(odd, ["mx.example.com"], common_name=True) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20), st.integers(0, 255))
def test_no_single_damage_makes_a_fact_raise(position: int, octet: int) -> None:
    """Whatever one octet is changed to, every fact is a value."""
    good = root().der
    place = position % len(good)
    odd = Certificate(good[:place] + bytes([octet]) + good[place + 1 :])
    facts = ("spki", "extensions", "problem", "subject", "issuer", "subject_key", "issuer_key", "not_before", "not_after",
             "dns_names", "has_san_dns", "common_names", "is_ca", "may_serve_tls", "key_may_serve_tls")  # fmt: skip
    for fact in facts:
        getattr(odd, fact)
    permits_name(odd, "mx.example.com")


def test_octets_behind_the_certificate_are_not_forgiven() -> None:
    assert Certificate(root().der + b"\x00").spki is None
    assert Certificate(root().der + b"\x00").openssl is None


def test_a_key_no_library_knows_is_still_cut_out() -> None:
    known = root().spki
    unknown = known.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d7f7f"))
    odd = Certificate(root().der.replace(known, unknown))
    assert odd.spki == unknown
    assert odd.problem == "the certificate could not be parsed: OpenSSL does not understand it or its key"


def test_without_extensions_everything_is_allowed() -> None:
    plain = with_extensions()
    assert (plain.extensions, plain.may_serve_tls, plain.key_may_serve_tls, plain.has_san_dns, plain.is_ca) == (
        {}, True, True, False, False,
    )  # fmt: skip
    assert permits_name(plain, "mx.example.com")


def test_broken_extensions_are_a_problem_and_allow_nothing() -> None:
    basic = extension(BC, seq(b"\x01\x01\xff"))
    for odd in (with_extensions(basic, basic), with_extensions(b"\x30\x02\x30\x05"), with_extensions(seq(b"\x06\x01\x01"))):
        assert odd.extensions is None
        assert "extensions" in odd.problem or "parsed" in odd.problem
        assert (odd.dns_names, odd.has_san_dns, odd.is_ca) == ((), True, False)
        assert (odd.may_serve_tls, odd.key_may_serve_tls) == (False, False)
        assert not permits_name(odd, "mx.example.com")


def test_a_duplicate_extension_is_named_as_the_problem() -> None:
    basic = extension(BC, b"\x30\x00")
    assert with_extensions(basic, basic).problem == "the certificate's extensions are broken or one is there twice"


@pytest.mark.parametrize(("value", "expected"), [(b"\x30\x03\x01\x01\xff", True), (b"\x30\x03\x01\x01\x00", False),
                                                 (b"\x30\x03\x02\x01\x00", False), (b"\x30\x00", False), (b"\x30\x05", False)])  # fmt: skip
def test_basic_constraints(value: bytes, expected: bool) -> None:
    assert with_extensions(extension(BC, value, b"\x01\x01\xff")).is_ca is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("03020780", True), ("03020520", True), ("03020308", True), ("03020204", False), ("030100", False), ("04020780", False)],
)
def test_key_usage(value: str, expected: bool) -> None:
    assert with_extensions(extension(KU, bytes.fromhex(value))).key_may_serve_tls is expected


def test_keys_that_may_sign_certificates() -> None:
    assert Certificate(root().der).key_may_sign_certificates
    assert with_extensions().key_may_sign_certificates
    assert not leaf().key_may_sign_certificates


def test_extended_key_usage() -> None:
    assert leaf(wish=Wish(now=NOW, eku=(ANY_EKU,))).may_serve_tls
    assert not leaf(wish=Wish(now=NOW, eku=(CLIENT_AUTH,))).may_serve_tls
    assert not with_extensions(extension(EKU, b"\x30\x07")).may_serve_tls


def test_names_of_a_broken_san_do_not_count_and_bar_the_common_name() -> None:
    odd = with_extensions(extension(SAN, b"\x30\x09\x82"))
    assert (odd.dns_names, odd.has_san_dns) == ((), True)


def test_a_dns_name_that_is_not_ascii_does_not_count_but_bars_the_common_name() -> None:
    subject = seq(seq(seq(bytes.fromhex("0603550403"), seq(b"mx.example.com", tag=0x0C)), tag=0x31))
    odd = with_extensions(extension(SAN, seq(seq("mx.exämple.com".encode(), tag=0x82))), subject=subject)
    assert (odd.dns_names, odd.has_san_dns, odd.common_names) == ((), True, ("mx.example.com",))
    assert match_name(odd, ["mx.example.com"], common_name=True) is None
    address = with_extensions(extension(SAN, seq(seq(b"\xc0\x00\x02\x01", tag=0x87))), subject=subject)
    assert match_name(address, ["mx.example.com"], common_name=True) == NameMatch("mx.example.com", "mx.example.com", True)


def subject_of(tag: int, text: bytes) -> Certificate:
    return with_extensions(subject=seq(seq(seq(bytes.fromhex("0603550403"), seq(text, tag=tag)), tag=0x31)))


def test_distinguished_names_are_compared_without_case_space_and_string_type() -> None:
    keys = {
        subject_of(0x0C, b"Some  Host").subject_key,
        subject_of(0x13, b" some host ").subject_key,
        subject_of(0x1E, "SOME HOST".encode("utf-16-be")).subject_key,
    }
    assert len(keys) == 1
    assert subject_of(0x0C, b"\xff").subject_key != subject_of(0x0C, b"\xfe").subject_key
    assert subject_of(0x04, b"host").subject_key != subject_of(0x0C, b"host").subject_key
    assert with_extensions(subject=seq(seq(seq(b"\x06\x01\x01"), tag=0x31))).subject_key is None


def test_a_subject_that_cannot_be_read_is_empty() -> None:
    odd = subject_of(0x0C, b"\xff\xfe")
    assert (odd.subject, odd.common_names) == ("", ())


def test_a_common_name_that_is_not_text_or_not_ascii_does_not_count() -> None:
    assert subject_of(0x0C, "mx.exämple.com".encode()).common_names == ()


def test_impossible_dates_are_none() -> None:
    assert by_hand(until=b"\x17\x0d271301000000Z").not_after is None
    assert by_hand(until=seq(b"00000101000000Z", tag=0x18)).not_after is None
    assert by_hand(until=seq(b"99991231235959Z", tag=0x18)).not_after == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_unique_identifiers_before_the_extensions_are_passed_over() -> None:
    unique = seq(b"\x00\x01", tag=0x81)
    assert by_hand(unique, seq(seq(extension(BC, b"\x30\x03\x01\x01\xff")), tag=0xA3)).is_ca


# ------------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("presented", "name", "expected"),
    [
        ("mx.example.com", "mx.example.com", True),
        ("MX.Example.COM", "mx.example.com", True),
        ("*.example.com", "mx.example.com", True),
        ("*.EXAMPLE.com", "mx.example.com", True),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.com", "example.com", False),
        ("*", "com", False),
        ("*", "localhost", False),
        ("m*.example.com", "mx.example.com", False),
        ("*x.example.com", "mx.example.com", False),
        ("mx.*.com", "mx.example.com", False),
        ("*.*.com", "mx.example.com", False),
        ("mx.example.com\x00.attacker.test", "mx.example.com", False),
        ("mx.example.com.", "mx.example.com", False),
        (".example.com", "mx.example.com", False),
        ("", "", False),
        ("*.xn--bcher-kva.example", "mx.xn--bcher-kva.example", True),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com", True),
        # a connector's TlsDomain may be a wildcard
        ("mail.contoso.com", "*.contoso.com", True),
        ("*.contoso.com", "*.contoso.com", True),
        ("a.mail.contoso.com", "*.contoso.com", False),
        ("contoso.com", "*.contoso.com", False),
        ("m*.contoso.com", "*.contoso.com", False),
    ],
)
def test_which_presented_name_covers_which(presented: str, name: str, expected: bool) -> None:
    assert covers(presented, name) is expected


labels = st.text("abcxyz019-", min_size=1, max_size=5).map(lambda text: "a" + text + "a")
domains = st.lists(labels, min_size=1, max_size=5).map(".".join)


@given(domains, domains)
def test_without_a_wildcard_only_the_name_itself_is_covered(one: str, other: str) -> None:
    assert covers(one, other) == (one == other)


@given(domains, domains)
def test_a_wildcard_covers_exactly_one_label_more(parent: str, name: str) -> None:
    expected = name.partition(".")[2] == parent and "." in parent
    assert covers("*." + parent, name) == expected


def test_the_first_name_looked_for_wins_and_says_what_covered_it() -> None:
    certificate = leaf("*.example.com", "example.com")
    assert match_name(certificate, ["mx.example.org", "mx.example.com", "example.com"]) == NameMatch(
        "mx.example.com", "*.example.com"
    )
    assert match_name(certificate, ["mx.example.org"]) is None
    assert match_name(certificate, []) is None


def test_the_common_name_counts_only_where_allowed_and_without_dns_names() -> None:
    bare = leaf("mx.example.com", wish=Wish(now=NOW, san=False))
    assert match_name(bare, ["mx.example.com"]) is None
    assert match_name(bare, ["other.example.com", "mx.example.com"], common_name=True) == NameMatch(
        "mx.example.com", "mx.example.com", True
    )
    assert match_name(bare, ["other.example.com"], common_name=True) is None
    both = leaf("other.example.com", wish=Wish(now=NOW, subject="mx.example.com"))
    assert match_name(both, ["mx.example.com"], common_name=True) is None


def constrained(permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None) -> Certificate:
    extension = (x509.NameConstraints(permitted, excluded), True)
    return Certificate(root().ca("Constrained", Wish(now=NOW, extensions=(extension,))).der)


def test_name_constraints_bind_a_common_name_too() -> None:
    ours = constrained([x509.DNSName("Example.com")], None)
    assert permits_name(ours, "mx.example.com")
    assert permits_name(ours, "example.com")
    assert not permits_name(ours, "mx.notexample.com")
    below = constrained([x509.DNSName(".example.com")], None)
    assert permits_name(below, "mx.example.com")
    assert not permits_name(below, "example.com")
    without = constrained(None, [x509.DNSName("example.com")])
    assert not permits_name(without, "mx.example.com")
    assert permits_name(without, "mx.example.net")
    assert not permits_name(constrained(None, [x509.DNSName("")]), "mx.example.net")
    mail_only = constrained([x509.RFC822Name("example.com")], None)
    assert permits_name(mail_only, "mx.example.net")
    assert not permits_name(with_extensions(extension(NC, b"\x05\x00")), "mx.example.com")


# ------------------------------------------------------------------------------------------------------ PEM bundles


def test_pem_there_and_back_with_other_blocks_between() -> None:
    first, second = root(), root().leaf("mx.example.com", wish=Wish(now=NOW))
    text = b"a comment\n" + first.pem + second.key_pem + b"\r\n" + second.pem.replace(b"\n", b"\r\n") + b"the end"
    assert read_pem(text) == (first.der, second.der)
    assert write_pem([first.der, second.der]) == first.pem + second.pem


def block(body: bytes, label: bytes = b"CERTIFICATE") -> bytes:
    return b"-----BEGIN " + label + b"-----\n" + body + b"\n-----END " + label + b"-----\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "F holds no certificate"),
        (b"\x00\x01\x02", "F holds no certificate"),
        (block(b"MAA=", b"PRIVATE KEY"), "F holds no certificate"),
        (b"\n\n-----BEGIN CERTIFICATE", "F, line 3: the BEGIN line is cut off"),
        (b"\n-----BEGIN CERTIFICATE-----\nMAA=\n", "F, line 2: the block that begins here has no END line"),
        (block(b"M!A="), "F, line 1: the certificate is not valid base64"),
        (block(b"MAA"), "F, line 1: the certificate is not valid base64"),
        (block(base64.b64encode(b"hello")), "F, line 1: the certificate is damaged"),
        (block(base64.b64encode(b"\x30\x05\x00")), "the certificate is damaged: octet 0: the element should have 5 octets"),
    ],
)
def test_pem_that_cannot_be_used(text: bytes, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        read_pem(text, "F")
    assert complaint in str(caught.value)


def test_pem_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="F holds more than 2 certificates"):
        read_pem(block(b"MAA=") * 3, "F", limit=2)
    monkeypatch.setattr(pem, "MAX_BUNDLE_BYTES", 100)
    with pytest.raises(InputError, match="F has 101 octets, more than 100"):
        read_pem(b"x" * 101, "F")


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_octets_are_certificates_or_an_input_error(data: bytes) -> None:
    for text in (data, block(data), block(base64.b64encode(data))):
        try:
            found = read_pem(text)
        except InputError:
            continue
        assert all(item[0] == 0x30 for item in found)


# ------------------------------------------------------------------------------------------------- the factory itself


def test_the_factory_makes_what_is_wished(tmp_path: object) -> None:
    made: Entity = self_signed("mx.example.com", wish=Wish(now=NOW, key=ec.generate_private_key(ec.SECP384R1())))
    assert made.issuers(root=True) == []
    below = root().ca("Middle", Wish(now=NOW)).leaf("mx.example.com", expired=True)
    assert read_pem(below.chain_pem(root=True)) == tuple(below.chain(root=True))
    assert len(below.chain()) == 2
    names = made.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["mx.example.com"]
