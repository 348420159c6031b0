"""DANE verdicts: a chain that matches, with one difference at a time, and the sentence an administrator reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.base.certs import Certificate
from sealroute.base.dnsdata import Tlsa
from sealroute.proto.dane.records import parse
from sealroute.proto.dane.verify import MAX_RECORDS, DaneReason, DaneResult, DaneVerdict, verify
from simnet.pki import CLIENT_AUTH, Ca, Entity, Wish, self_signed

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GOOD = Wish(now=NOW)
HOST = "mx.example.com"
FORMS = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


@cache
def root() -> Ca:
    return Ca("Root", wish=GOOD)


@cache
def middle() -> Ca:
    return root().ca("Issuing", GOOD)


@cache
def leaf() -> Entity:
    return middle().leaf(HOST, wish=GOOD)


def wish(**changes: object) -> Wish:
    return Wish(now=NOW, **changes)  # type: ignore[arg-type]


def verdict(chain: Sequence[bytes], *records: str, names: Sequence[str] = (HOST,)) -> DaneResult:
    return verify(chain, [parse(text) for text in records], names, NOW)


def short(result: DaneResult) -> tuple[str, str | None, int | None]:
    return result.verdict.value, result.reason.value if result.reason else None, result.depth


MATCH_0, MATCH_1, MATCH_2 = (("match", None, depth) for depth in (0, 1, 2))
NO_MATCH = ("no-match", "no-record-matches", None)


def spoiled(text: str) -> str:
    return text[:-2] + f"{int(text[-2:], 16) ^ 1:02x}"


# --------------------------------------------------------------------------------------------------------- DANE-EE(3)


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_usage_3_matches_the_leaf_in_every_form(selector: int, matching: int) -> None:
    assert short(verdict(leaf().chain(), leaf().tlsa(3, selector, matching))) == MATCH_0
    if matching:
        assert short(verdict(leaf().chain(), spoiled(leaf().tlsa(3, selector, matching)))) == NO_MATCH
    assert short(verdict(leaf().chain(), middle().tlsa(3, selector, matching))) == NO_MATCH


@pytest.mark.parametrize(
    "server",
    [
        wish(expired=True), wish(not_yet_valid=True), wish(forged=True), wish(eku=(CLIENT_AUTH,)), wish(san=False, subject="x"),
    ],
)  # fmt: skip
def test_usage_3_asks_for_nothing_but_equality(server: Wish) -> None:
    made = middle().leaf("elsewhere.example.net", wish=server)
    assert short(verdict([made.der], made.tlsa(3, 1, 1))) == MATCH_0
    assert short(verdict([made.der], made.tlsa(3, 0, 2))) == MATCH_0


def test_usage_3_matches_a_certificate_nobody_can_parse() -> None:
    digest = Certificate(b"\x30\x03odd").fingerprint
    assert short(verdict([b"\x30\x03odd"], f"3 0 1 {digest}")) == MATCH_0
    assert short(verdict([b"\x30\x03odd"], f"3 1 1 {digest}", f"2 1 1 {digest}")) == NO_MATCH
    assert short(verdict([b"\x30\x03odd", middle().der], middle().tlsa(2, 1, 1))) == ("no-match", "chain-invalid", None)


def test_usage_3_of_an_issuer_is_told_to_be_usage_2() -> None:
    why = verdict(leaf().chain(), middle().tlsa(3, 1, 1)).records[0].why
    assert why == (
        "it is not the digest or value of the server's key, but certificate 1 of the chain, for which usage 2 would be right"
    )
    other = verdict(leaf().chain(), f"3 0 1 {'00' * 32}").records[0].why
    assert other == "it is not the digest or value of the server's certificate"


# --------------------------------------------------------------------------------------------------------- DANE-TA(2)


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_usage_2_matches_issuers_in_every_form_but_not_the_leaf(selector: int, matching: int) -> None:
    chain = leaf().chain(root=True)
    assert short(verdict(chain, middle().tlsa(2, selector, matching))) == MATCH_1
    assert short(verdict(chain, root().tlsa(2, selector, matching))) == MATCH_2
    assert short(verdict(chain, leaf().tlsa(2, selector, matching))) == NO_MATCH
    if matching:
        assert short(verdict(chain, spoiled(root().tlsa(2, selector, matching)))) == NO_MATCH


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_only_a_whole_value_can_be_an_anchor_that_is_not_sent(selector: int, matching: int) -> None:
    """The depth of a bare key is that of the certificate it signed, as OpenSSL counts."""
    expected = NO_MATCH if matching else MATCH_1 if selector else MATCH_2
    assert short(verdict(leaf().chain(), root().tlsa(2, selector, matching))) == expected
    expected = NO_MATCH if matching else MATCH_0 if selector else MATCH_1
    assert short(verdict([leaf().der], middle().tlsa(2, selector, matching))) == expected


def test_a_whole_certificate_that_is_sent_as_well_is_no_second_anchor() -> None:
    assert short(verdict(leaf().chain(root=True), root().tlsa(2, 0, 0))) == MATCH_2


def test_a_self_signed_server_is_its_own_anchor_only_by_its_bare_key() -> None:
    alone = self_signed(HOST, wish=GOOD)
    for selector, matching in FORMS:
        expected = MATCH_0 if (selector, matching) == (1, 0) else NO_MATCH
        assert short(verdict(alone.chain(), alone.tlsa(2, selector, matching))) == expected
        assert short(verdict([alone.der, alone.der], alone.tlsa(2, selector, matching))) == expected


def test_order_and_strangers_do_not_matter() -> None:
    chain = [leaf().der, Ca("Stranger", wish=GOOD).der, root().der, b"rubbish", middle().der]
    assert short(verdict(chain, root().tlsa(2, 0, 1))) == MATCH_2


DEFECTS: list[tuple[Wish, Wish, tuple[str, ...], str, str]] = [
    (GOOD, GOOD, ("mx.example.net",), "certificate-host-mismatch", "the certificate is for mx.example.net, not for mx.example.com"),
    (wish(expired=True), GOOD, (HOST,), "certificate-expired", "the certificate expired at 2026-06-01T11:00:00Z (CN=mx.example.com)"),
    (GOOD, wish(expired=True), (HOST,), "certificate-expired", "the certificate expired at 2026-06-01T11:00:00Z (CN=Issuing)"),
    (wish(not_yet_valid=True), GOOD, (HOST,), "certificate-not-yet-valid",
     "the certificate is not valid before 2026-06-01T13:00:00Z (CN=mx.example.com)"),
    (wish(forged=True), GOOD, (HOST,), "chain-invalid", "its signature was not made by its issuer (CN=mx.example.com)"),
    (GOOD, wish(is_ca=False, cert_sign=True), (HOST,), "chain-invalid", "it is not an authority (basic constraints) (CN=Issuing)"),
    (wish(eku=(CLIENT_AUTH,)), GOOD, (HOST,), "chain-invalid",
     "its extended key usage does not allow TLS servers (CN=mx.example.com)"),
]  # fmt: skip


@pytest.mark.parametrize(("server", "issuer", "names", "reason", "why"), DEFECTS)
@pytest.mark.parametrize("form", [(0, 1), (1, 0), (1, 2)])
def test_usage_2_with_one_defect(
    server: Wish, issuer: Wish, names: tuple[str, ...], reason: str, why: str, form: tuple[int, int]
) -> None:
    issuing = root().ca("Issuing", issuer)
    made = issuing.leaf(*names, wish=server)
    result = verdict(made.chain(), issuing.tlsa(2, *form))
    assert (short(result), result.records[0].why) == (("no-match", reason, None), why)


def test_an_expired_anchor_counts_intermediate_or_root() -> None:
    old = Ca("Old Root", wish=wish(expired=True))
    made = old.leaf(HOST, wish=GOOD)
    for chain, record in ((made.chain(root=True), old.tlsa(2, 1, 1)), (made.chain(), old.tlsa(2, 0, 0))):
        assert short(verdict(chain, record)) == ("no-match", "certificate-expired", None)
    assert short(verdict(made.chain(), old.tlsa(2, 1, 0))) == MATCH_0  # a bare key has no dates


def test_reference_names_are_alternatives_and_a_common_name_will_do() -> None:
    made = middle().leaf("*.example.net", wish=GOOD)
    result = verdict(made.chain(), middle().tlsa(2, 1, 1), names=[HOST, "mx.example.net"])
    assert (short(result), result.best and result.best.name) == (MATCH_1, "mx.example.net")
    bare = middle().leaf(HOST, wish=wish(san=False))
    assert short(verdict(bare.chain(), middle().tlsa(2, 1, 1))) == MATCH_1
    beside = middle().leaf("mx.example.net", wish=wish(subject=HOST))
    assert verdict(beside.chain(), middle().tlsa(2, 1, 1)).reason is DaneReason.CERTIFICATE_HOST_MISMATCH
    assert verdict(leaf().chain(), middle().tlsa(2, 1, 1), names=[]).reason is DaneReason.CERTIFICATE_HOST_MISMATCH


def test_an_anchor_that_did_not_issue_is_told_apart_from_one_that_is_not_there() -> None:
    stranger = Ca("Stranger", wish=GOOD)
    beside = verdict([*leaf().chain(), stranger.der], stranger.tlsa(2, 1, 1))
    assert (short(beside), beside.records[0].why) == (
        NO_MATCH,
        "the anchor it names did not issue the server's certificate, nor a certificate above it",
    )
    absent = verdict(leaf().chain(), stranger.tlsa(2, 1, 1))
    assert absent.records[0].why == "no certificate in the presented chain, above the server's own, is the anchor it names"
    own = verdict(leaf().chain(), leaf().tlsa(2, 1, 1))
    assert own.records[0].why == "it names the server's own certificate, for which usage 3 would be right"


def test_a_bare_key_is_judged_by_its_certificate_where_that_is_sent() -> None:
    renewed = root().ca("Issuing", wish(expired=True))
    made = renewed.leaf(HOST, wish=GOOD)
    assert short(verdict(made.chain(), renewed.tlsa(2, 1, 0))) == ("no-match", "certificate-expired", None)
    assert short(verdict([made.der], renewed.tlsa(2, 1, 0))) == MATCH_0
    # a certificate of another name for the same key leads nowhere, and is no hindrance
    namesake = Ca("Namesake", wish=wish(key=renewed.key))
    assert short(verdict([made.der, namesake.der], renewed.tlsa(2, 1, 0))) == MATCH_0


# --------------------------------------------------------------------------------------------------- sets of records


def test_any_one_record_is_enough_and_the_end_entity_is_told_first() -> None:
    chain = leaf().chain(root=True)
    ee, ta, top = leaf().tlsa(3, 0, 1), middle().tlsa(2, 1, 1), root().tlsa(2, 1, 1)
    assert str(verdict(chain, top, ta, ee).matched) == ee
    assert str(verdict(chain, top, ta, spoiled(ee)).matched) == ta
    assert str(verdict(chain, leaf().tlsa(3, 0, 1), leaf().tlsa(3, 1, 1)).matched) == leaf().tlsa(3, 1, 1)
    every = verdict(chain, top, ta, ee).records
    assert [(item.matched, item.depth, item.why) for item in every] == [(True, 2, ""), (True, 1, ""), (True, 0, "")]


def test_the_strongest_digest_decides() -> None:
    good, bad = leaf().tlsa(3, 1, 1), spoiled(leaf().tlsa(3, 1, 2))
    result = verdict(leaf().chain(), good, bad)
    assert short(result) == NO_MATCH
    assert result.records[0].why == "not compared: a record with the stronger digest SHA2_512 is published"
    assert short(verdict(leaf().chain(), good, bad[:-2])) == MATCH_0  # an unusable record outranks nothing
    assert short(verdict(leaf().chain(), leaf().tlsa(3, 1, 0), bad)) == MATCH_0
    assert short(verdict(leaf().chain(), good, spoiled(leaf().tlsa(3, 0, 2)))) == MATCH_0


def test_the_record_that_came_closest_gives_the_reason() -> None:
    made = middle().leaf("mx.example.net", wish=GOOD)
    result = verdict(made.chain(), spoiled(made.tlsa(3, 1, 1)), middle().tlsa(2, 1, 1))
    assert short(result) == ("no-match", "certificate-host-mismatch", None)
    assert result.detail.endswith("the certificate is for mx.example.net, not for mx.example.com (and 1 more did not match)")


def test_when_nothing_is_usable_dane_says_nothing() -> None:
    result = verdict(leaf().chain(), "1 1 1 00", "3 1 1 00")
    assert short(result) == ("unusable", "all-unusable", None)
    assert result.detail == "TLSA 1 1 1 00: usage 1 (PKIX-EE) is not used with SMTP (and 1 more did not match)"
    assert [(item.usable, item.why) for item in result.records] == [
        (False, "usage 1 (PKIX-EE) is not used with SMTP"),
        (False, "the digest has 1 octets instead of 32"),
    ]
    assert result.matched is None


def test_details_of_matches() -> None:
    assert verdict(leaf().chain(), f"3 1 1 {leaf().tlsa(3, 1, 1)[6:]}").detail.endswith(" matches at depth 0")
    assert verdict(leaf().chain(), middle().tlsa(2, 1, 1)).detail.endswith(
        " matches at depth 1, certificate for mx.example.com"
    )


def test_no_certificate() -> None:
    result = verdict([], leaf().tlsa(3, 1, 1), middle().tlsa(2, 1, 1))
    assert (short(result), result.detail) == (("no-match", "no-certificate", None), "the server presented no certificate")
    assert short(verdict([], "1 1 1 00"))[0] == "unusable"


def test_no_record_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no TLSA record"):
        verify(leaf().chain(), [], [HOST], NOW)


def test_a_huge_set_is_bounded() -> None:
    noise = [f"3 1 1 {number:064x}" for number in range(MAX_RECORDS)]
    result = verdict(leaf().chain(), *noise, leaf().tlsa(3, 1, 1))
    assert short(result) == NO_MATCH
    assert result.records[-1].why == "not compared: the set has more than 100 usable records"


# -------------------------------------------------------------------------------------------------------- properties

tlsa_records = st.builds(
    Tlsa, st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), st.sampled_from([b"", bytes(32), bytes(64), b"\x30\x00"])
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\x30\x00"])), max_size=4),
    st.lists(tlsa_records, min_size=1, max_size=6),
)
def test_nothing_a_peer_or_zone_sends_raises_or_matches_by_accident(chain: list[bytes], records: list[Tlsa]) -> None:
    result = verify(chain, records, [HOST], NOW)
    assert result.verdict is not DaneVerdict.MATCH
    assert len(result.records) == len(records)
    assert all(item.why for item in result.records)
    assert result.detail


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(5)), st.sets(st.integers(0, 4), min_size=1))
def test_the_order_of_records_does_not_matter(order: list[int], chosen: set[int]) -> None:
    texts = [leaf().tlsa(3, 1, 1), spoiled(leaf().tlsa(3, 1, 2)), middle().tlsa(2, 1, 1), root().tlsa(2, 0, 0), "1 1 1 00"]
    ordered = [texts[index] for index in order if index in chosen]
    one, other = verdict(leaf().chain(), *ordered), verdict(leaf().chain(), *sorted(ordered))
    assert (short(one), one.matched) == (short(other), other.matched)
