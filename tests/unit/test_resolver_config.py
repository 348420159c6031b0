"""Settings of both resolvers, the trust anchors, and whose AD bit is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError
from sealroute.net.anchors import iana_trust_anchors, parse_trust_anchors, read_trust_anchors
from sealroute.net.resolver_ad import AdBitConfig, AdBitResolver
from sealroute.net.unbound_config import SPECIAL_NAMES, UnboundConfig


@pytest.mark.parametrize(
    ("servers", "trusted", "believed"),
    [
        (("127.0.0.1",), False, True),
        (("::1@5353",), False, True),
        (("127.0.0.53", "::1"), False, True),
        (("192.0.2.1",), False, False),
        (("127.0.0.1", "192.0.2.1"), False, False),
        (("10.0.0.1",), False, False),
        (("192.0.2.1",), True, True),
    ],
)
def test_the_ad_bit_is_believed_from_loopback_or_on_the_operators_word(
    servers: tuple[str, ...], trusted: bool, believed: bool
) -> None:
    resolver = AdBitResolver(AdBitConfig(servers=servers, trusted=trusted))
    assert resolver.trusted is believed
    assert (resolver.warning == "") is believed


def test_the_warning_says_what_to_do() -> None:
    resolver = AdBitResolver(AdBitConfig(servers=("192.0.2.1",)))
    assert resolver.warning == (
        "The resolver 192.0.2.1 is not on this machine, so its DNSSEC results are not believed and DANE is never used."
        " Validate here (libunbound), run a validating resolver on loopback, or set trusted if nobody can change what"
        " travels between."
    )
    assert repr(resolver) == "<AdBitResolver 192.0.2.1@53, not trusted>"


@pytest.mark.parametrize("server", ["dns.example.com", "192.0.2.1@", "192.0.2.1@99999", "192.0.2.1:53", ""])
def test_a_server_is_an_address(server: str) -> None:
    with pytest.raises(OperatorError, match="Write `ip` or `ip@port`"):
        AdBitResolver(AdBitConfig(servers=(server,)))


def test_the_iana_anchors_are_the_two_root_keys() -> None:
    assert [anchor.split()[:7] for anchor in iana_trust_anchors()] == [
        [".", "IN", "DS", "20326", "8", "2", "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d"],
        [".", "IN", "DS", "38696", "8", "2", "683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16"],
    ]


def test_anchors_may_be_spread_over_lines_with_ttl_and_comment() -> None:
    text = "; ours\ncorp.example. 3600 IN DS 1 13 2 (\n " + "ab" * 16 + "\n " + "ab" * 16 + " )\n"
    assert parse_trust_anchors(text, "x") == (f"corp.example. IN DS 1 13 2 {'ab' * 32}",)


def test_a_key_is_one_word() -> None:
    (anchor,) = parse_trust_anchors(". IN DNSKEY 257 3 13 " + "AAAA" * 12 + " " + "AAAA" * 10, "x")
    assert len(anchor.split()) == 7


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no trust anchor is given"),
        ("; nothing\n", "no trust anchor is given"),
        (". IN TXT x\n", "a TXT record cannot be a trust anchor"),
        (". IN DS 1 13\n", "these are not DNS records"),
        (". IN DS 1 13 2 zz\n", "these are not DNS records"),
        ("<xml>\n", "these are not DNS records"),
    ],
)
def test_what_is_no_anchor_is_refused_with_the_files_name(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "anchor.key"
    path.write_text(text)
    with pytest.raises(OperatorError, match=f"anchor.key: {sentence}"):
        read_trust_anchors(path)


def test_a_missing_anchor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be read"):
        read_trust_anchors(tmp_path / "none")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OperatorError, match="cannot be read"):
        read_trust_anchors(binary)


@pytest.mark.parametrize(
    ("config", "loopback", "names"),
    [
        (UnboundConfig(), False, ()),
        (UnboundConfig(forwarders=("192.0.2.1",)), False, ()),
        (UnboundConfig(forwarders=("192.0.2.1", "127.0.0.1@5353")), True, ()),
        (UnboundConfig(stub_zones=(("corp.test.", "::1"),)), True, ("test.",)),
        (UnboundConfig(stub_zones=(("test", "192.0.2.1"),)), False, ("test.",)),
        (UnboundConfig(stub_zones=(("latest", "192.0.2.1"),)), False, ()),
        (UnboundConfig(stub_zones=((".", "192.0.2.1"),)), False, ()),
        (UnboundConfig(root_hints="/etc/root.hints", special_names=True), True, SPECIAL_NAMES),
    ],
)
def test_what_a_configuration_opens(config: UnboundConfig, loopback: bool, names: tuple[str, ...]) -> None:
    assert config.may_ask_loopback is loopback
    assert config.names_to_ask() == names
