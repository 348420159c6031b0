"""Ways from a leaf to an anchor: which hold, and what is said of those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealroute.base import chain as chain_module
from sealroute.base.certs import Certificate
from sealroute.base.chain import ChainOutcome, ChainResult, TrustRoots, find_path, presented, verify_pkix
from sealroute.base.errors import InputError
from sealroute.base.keys import signed_by_key, weakness
from simnet.pki import ANY_EKU, CLIENT_AUTH, Ca, Entity, Wish, pem, rsa_key, self_signed

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GOOD = Wish(now=NOW)
HOST = "mx.example.com"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True)
class Pki:
    root: Ca
    middle: Ca
    leaf: Entity

    @property
    def roots(self) -> TrustRoots:
        return TrustRoots.from_pem(self.root.pem)


def pki(leaf: Wish = GOOD, middle: Wish = GOOD, root: Wish = GOOD, names: tuple[str, ...] = (HOST,)) -> Pki:
    top = Ca("Root", wish=root)
    issuing = top.ca("Issuing", middle)
    return Pki(top, issuing, issuing.leaf(*names, wish=leaf))


@cache
def good() -> Pki:
    return pki()


def judged(scene: Pki, names: Sequence[str] = (HOST,), at: datetime = NOW) -> tuple[str, str]:
    result = verify_pkix(scene.leaf.chain(), scene.roots, at, names)
    return result.outcome.value, result.detail


def wish(**changes: object) -> Wish:
    return Wish(now=NOW, **changes)  # type: ignore[arg-type]


UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00"), True)
ONLY_OTHER = (x509.NameConstraints([x509.DNSName("example.net")], None), True)

SCENES: dict[str, tuple[Callable[[], Pki], str, str]] = {
    "good": (pki, "ok", "the chain holds up to CN=Root"),
    "wildcard": (lambda: pki(names=("*.example.com",)), "ok", "the chain holds up to CN=Root"),
    "any purpose": (lambda: pki(wish(eku=(ANY_EKU,))), "ok", "the chain holds up to CN=Root"),
    "RSA": (lambda: pki(wish(key=rsa_key())), "ok", "the chain holds up to CN=Root"),
    "Ed25519 issuer": (
        lambda: pki(wish(digest=None), wish(key=ed25519.Ed25519PrivateKey.generate())),
        "ok",
        "the chain holds up to CN=Root",
    ),
    "path length enough": (lambda: pki(root=wish(path_length=1)), "ok", "the chain holds up to CN=Root"),
    "other name": (
        lambda: pki(names=("mx.example.net", "www.example.net")),
        "name-mismatch",
        "the certificate is for mx.example.net, www.example.net, not for mx.example.com",
    ),
    "common name only": (
        lambda: pki(wish(san=False)),
        "name-mismatch",
        "the certificate is for no DNS name, not for mx.example.com",
    ),
    "expired": (
        lambda: pki(wish(expired=True)),
        "expired",
        "the certificate expired at 2026-06-01T11:00:00Z (CN=mx.example.com)",
    ),
    "issuer expired": (
        lambda: pki(middle=wish(expired=True)),
        "expired",
        "the certificate expired at 2026-06-01T11:00:00Z (CN=Issuing)",
    ),
    "root expired": (
        lambda: pki(root=wish(expired=True)),
        "expired",
        "the certificate expired at 2026-06-01T11:00:00Z (CN=Root)",
    ),
    "not yet valid": (
        lambda: pki(wish(not_yet_valid=True)),
        "not-yet-valid",
        "the certificate is not valid before 2026-06-01T13:00:00Z (CN=mx.example.com)",
    ),
    "forged": (lambda: pki(wish(forged=True)), "invalid", "its signature was not made by its issuer (CN=mx.example.com)"),
    "issuer forged": (
        lambda: pki(middle=wish(forged=True)),
        "invalid",
        "its signature was not made by its issuer (CN=Issuing)",
    ),
    "issuer no CA": (
        lambda: pki(middle=wish(is_ca=False, cert_sign=True)),
        "invalid",
        "it is not an authority (basic constraints) (CN=Issuing)",
    ),
    "issuer may not sign": (
        lambda: pki(middle=wish(cert_sign=False)),
        "invalid",
        "its key usage does not allow it to sign certificates (CN=Issuing)",
    ),
    "path too long": (
        lambda: pki(root=wish(path_length=0)),
        "invalid",
        "it allows fewer authorities below it than there are (path length) (CN=Root)",
    ),
    "outside constraints": (
        lambda: pki(middle=wish(extensions=(ONLY_OTHER,))),
        "invalid",
        "an authority above it may not speak for its names (name constraints) (CN=mx.example.com)",
    ),
    "unknown critical": (
        lambda: pki(wish(extensions=(UNKNOWN_CRITICAL,))),
        "invalid",
        "it has a critical extension that is not understood (CN=mx.example.com)",
    ),
    "client only": (
        lambda: pki(wish(eku=(CLIENT_AUTH,))),
        "invalid",
        "its extended key usage does not allow TLS servers (CN=mx.example.com)",
    ),
    "issuer client only": (
        lambda: pki(middle=wish(eku=(CLIENT_AUTH,))),
        "invalid",
        "its extended key usage does not allow TLS servers (CN=Issuing)",
    ),
    "CA as server": (
        lambda: pki(wish(is_ca=True)),
        "invalid",
        "its key usage does not allow TLS servers (CN=mx.example.com)",
    ),
    "short RSA": (lambda: pki(wish(key=rsa_key(1024))), "invalid", "its RSA key has only 1024 bits (CN=mx.example.com)"),
    "short EC": (
        lambda: pki(wish(key=ec.generate_private_key(ec.SECP192R1()))),
        "invalid",
        "its EC key has only 192 bits (CN=mx.example.com)",
    ),
    "several faults: the nearest to success is told": (
        lambda: pki(wish(expired=True), names=("mx.example.net",)),
        "expired",
        "the certificate expired at 2026-06-01T11:00:00Z (CN=mx.example.net)",
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_one_difference_at_a_time(name: str) -> None:
    make, outcome, detail = SCENES[name]
    assert judged(make()) == (outcome, detail)


def test_without_names_only_the_chain_is_judged() -> None:
    result = verify_pkix(good().leaf.chain(), good().roots, NOW)
    assert (result.ok, result.matched_name, result.name) == (True, "", None)
    named = verify_pkix(good().leaf.chain(), good().roots, NOW, ["other.example.com", HOST])
    assert (named.matched_name, len(named.path)) == (HOST, 3)


def test_the_common_name_counts_where_allowed_and_within_constraints() -> None:
    bare = pki(wish(san=False))
    assert verify_pkix(bare.leaf.chain(), bare.roots, NOW, [HOST], common_name=True).ok
    bound = pki(wish(san=False), wish(extensions=(ONLY_OTHER,)))
    result = verify_pkix(bound.leaf.chain(), bound.roots, NOW, [HOST], common_name=True)
    assert result.outcome in (ChainOutcome.NAME_MISMATCH, ChainOutcome.INVALID)  # by our check, or already by OpenSSL's


def test_no_certificate() -> None:
    result = verify_pkix([], good().roots, NOW, [HOST])
    assert (result.outcome, result.detail) == (ChainOutcome.NOT_TRUSTED, "the server presented no certificate")


def test_a_leaf_that_cannot_be_parsed() -> None:
    result = verify_pkix([b"\x30\x00", good().middle.der], good().roots, NOW, [HOST])
    assert result.outcome is ChainOutcome.INVALID
    assert result.detail.startswith("the certificate could not be parsed")


def test_no_way_to_a_root_is_told_with_names() -> None:
    elsewhere = TrustRoots.from_pem(Ca("Elsewhere", wish=GOOD).pem)
    result = verify_pkix(good().leaf.chain(), elsewhere, NOW, [HOST])
    assert (result.outcome, result.detail) == (
        ChainOutcome.NOT_TRUSTED,
        "no trusted issuer was found for the certificate (CN=mx.example.com), issued by CN=Issuing",
    )
    alone = verify_pkix(self_signed(HOST, wish=GOOD).chain(), elsewhere, NOW, [HOST])
    assert alone.detail == "the certificate is self-signed (CN=mx.example.com)"


def test_a_missing_intermediate_is_no_way() -> None:
    assert verify_pkix([good().leaf.der], good().roots, NOW, [HOST]).outcome is ChainOutcome.NOT_TRUSTED


def test_a_mimic_of_a_root_trusts_nothing() -> None:
    mimic = pki()  # the same names, other keys
    for chain in (mimic.leaf.chain(root=True), mimic.leaf.chain()):
        result = verify_pkix(chain, good().roots, NOW, [HOST])
        assert not result.ok
        assert result.outcome in (ChainOutcome.NOT_TRUSTED, ChainOutcome.INVALID)


def test_order_strangers_duplicates_and_rubbish_do_not_matter() -> None:
    stranger = Ca("Stranger", wish=GOOD)
    scene = good()
    chain = [scene.leaf.der, stranger.der, b"rubbish", scene.root.der, scene.leaf.der, scene.middle.der, scene.middle.der]
    result = verify_pkix(chain, scene.roots, NOW, [HOST])
    assert (result.ok, [item.subject for item in result.path]) == (True, ["CN=mx.example.com", "CN=Issuing", "CN=Root"])


def test_a_chain_that_ends_short_of_the_root_is_completed_from_the_bundle() -> None:
    deep = good().middle.ca("Deeper", GOOD).leaf(HOST, wish=GOOD)
    result = verify_pkix(deep.chain(), good().roots, NOW, [HOST])
    assert len(result.path) == 4


def test_an_intermediate_in_the_bundle_is_an_anchor_and_so_is_a_leaf() -> None:
    for anchor, length in ((good().middle, 2), (good().leaf, 1)):
        result = verify_pkix(good().leaf.chain(), TrustRoots.from_pem(anchor.pem), NOW, [HOST])
        assert (result.ok, len(result.path)) == (True, length)


def test_cross_signed_issuers_are_tried_until_one_leads_to_an_anchor() -> None:
    """OpenSSL alone takes the first issuer that fits and never turns back."""
    scene = good()
    other = Ca("Other Root", wish=GOOD)
    dead_end = Ca("Dead End", wish=GOOD)
    crosses = [scene.middle.cross_signed_by(dead_end, GOOD), scene.middle.cross_signed_by(other, wish(expired=True))]
    chain = [scene.leaf.der, crosses[0].der, dead_end.der, crosses[1].der, scene.middle.der]
    assert verify_pkix(chain, scene.roots, NOW, [HOST]).ok
    only_expired = verify_pkix(chain, TrustRoots.from_pem(other.pem), NOW, [HOST])
    assert only_expired.outcome is ChainOutcome.EXPIRED
    both = verify_pkix(chain, TrustRoots.from_pem(pem([other, scene.root])), NOW, [HOST])
    assert (both.ok, both.path[-1].subject) == (True, "CN=Root")


def test_a_renamed_key_with_the_same_name_is_told_apart_by_signature() -> None:
    """Two authorities of one name and no key identifiers: only the signature says which one it was."""
    plain = wish(key_ids=False)
    root = Ca("Root", wish=plain)
    old, new = root.ca("Issuing", plain), root.ca("Issuing", plain)
    leaf = new.leaf(HOST, wish=plain)
    assert verify_pkix([leaf.der, old.der, new.der], TrustRoots.from_pem(root.pem), NOW, [HOST]).ok


def test_the_closest_failure_is_the_one_reported() -> None:
    scene = pki(wish(expired=True))
    forged = scene.root.ca("Issuing", wish(forged=True, key=scene.middle.key))
    for order in ([forged, scene.middle], [scene.middle, forged]):
        result = verify_pkix([scene.leaf.der, *(item.der for item in order)], scene.roots, NOW, [HOST])
        assert result.outcome is ChainOutcome.EXPIRED


def test_a_way_over_a_certificate_with_a_problem_is_invalid() -> None:
    """OpenSSL would complain of the twice-given extension as well, but not in words an administrator can use."""
    middle = good().middle
    broken = Certificate(middle.der.replace(bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d0f")))
    leaf = Certificate(good().leaf.der)
    result = find_path(leaf, [broken], [Certificate(good().root.der)], NOW)
    assert (result.outcome, result.detail) == (
        ChainOutcome.INVALID,
        "the certificate's extensions are broken or one is there twice (CN=Issuing)",
    )


def test_a_signature_over_sha1_is_too_weak_except_the_anchors_own() -> None:
    """Libraries no longer make such signatures, so one is relabelled; OpenSSL would see through that, our rule need not."""
    made = Ca("Old", wish=wish(key=rsa_key())).der
    old = Certificate(made.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")))
    assert weakness(old, signature=True) == "its signature uses sha1, which is too weak"
    assert weakness(old, signature=False) == ""


def test_a_key_that_cannot_be_judged_is_refused() -> None:
    """A curve that OpenSSL knows and the cryptography library does not."""
    leaf = Certificate(good().leaf.der)

    class Odd(Certificate):
        problem = ""

    known = good().leaf.spki
    unknown = known.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106"))  # prime239v3
    odd = Odd(leaf.der.replace(known, unknown))
    assert weakness(odd, signature=False) == "its key or signature algorithm is not supported"


# ------------------------------------------------------------------------------------------------------------- time


def test_the_moment_is_absolute_whatever_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    last = NOW - timedelta(hours=1)
    scene = pki(wish(expired=True))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    for zone in (UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-11, minutes=-30))):
        assert judged(scene, at=last.astimezone(zone))[0] == "ok"
        assert judged(scene, at=(last + timedelta(seconds=1)).astimezone(zone))[0] == "expired"


def test_the_first_second_counts() -> None:
    scene = pki(wish(not_yet_valid=True))
    first = NOW + timedelta(hours=1)
    assert judged(scene, at=first)[0] == "ok"
    assert judged(scene, at=first - timedelta(seconds=1))[0] == "not-yet-valid"


def test_a_moment_without_zone_is_a_bug() -> None:
    with pytest.raises(ValueError, match="time zone"):
        judged(good(), at=NOW.replace(tzinfo=None))


# ----------------------------------------------------------------------------------------------------------- bounds


def test_only_the_first_certificates_are_looked_at() -> None:
    strangers = [bytes([0x30, 1, number]) for number in range(chain_module.MAX_PRESENTED)]
    chain = [good().leaf.der, *strangers, good().middle.der]
    assert len(presented(chain)) == chain_module.MAX_PRESENTED
    assert verify_pkix(chain, good().roots, NOW, [HOST]).outcome is ChainOutcome.NOT_TRUSTED


def test_a_maze_of_equal_names_ends() -> None:
    """Every certificate could have issued every other, and the root all of them; only so many ways are tried."""
    plain = wish(key_ids=False)
    root = Ca("Maze", wish=plain)
    mazes = [root.ca("Maze", plain) for _ in range(12)]
    leaf = Ca("Maze", wish=plain).leaf(HOST, wish=plain)
    tried = list(chain_module._paths(Certificate(leaf.der), [Certificate(ca.der) for ca in mazes], [Certificate(root.der)]))
    assert len(tried) == chain_module.MAX_PATHS
    nowhere = list(chain_module._paths(Certificate(leaf.der), [Certificate(ca.der) for ca in mazes], []))
    assert nowhere == []
    assert not verify_pkix([leaf.der, *(ca.der for ca in mazes)], TrustRoots.from_pem(root.pem), NOW, [HOST]).ok


def test_a_chain_of_more_than_ten_is_too_long() -> None:
    ca, chain = good().middle, [good().middle]
    for number in range(chain_module.MAX_PATH_LENGTH):
        ca = ca.ca(f"Step {number}", GOOD)
        chain.append(ca)
    leaf = ca.leaf(HOST, wish=GOOD)
    assert verify_pkix(leaf.chain(), good().roots, NOW, [HOST]).outcome is ChainOutcome.NOT_TRUSTED


# ------------------------------------------------------------------------------------------------------------ roots


def test_roots_are_read_once_and_without_duplicates() -> None:
    roots = TrustRoots.from_pem(pem([good().root, good().root, good().middle]))
    assert (len(roots), repr(roots)) == (2, "<TrustRoots 2 certificates>")


def test_a_bundle_may_hold_a_certificate_nobody_can_parse() -> None:
    odd = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    assert judged_with(TrustRoots.from_pem(odd + good().root.pem)).ok
    with pytest.raises(InputError, match=r"roots\.pem holds no certificate that could be parsed"):
        TrustRoots.from_pem(odd, "roots.pem")
    with pytest.raises(InputError, match=r"roots\.pem holds no certificate: "):
        TrustRoots.from_pem(b"", "roots.pem")


def judged_with(roots: TrustRoots) -> ChainResult:
    return verify_pkix(good().leaf.chain(), roots, NOW, [HOST])


# -------------------------------------------------------------------------------------------------------- bare keys

KEYS: dict[str, Callable[[], Key]] = {
    "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA": rsa_key,
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_bare_key_vouches_for_what_it_signed(kind: str) -> None:
    key = KEYS[kind]()
    digest = hashes.SHA256() if kind in ("EC", "RSA") else None
    ca = Ca("Root", wish=wish(key=key, digest=digest))
    leaf = Certificate(ca.leaf(HOST, wish=wish(digest=digest)).der)
    assert signed_by_key(leaf, ca.spki)
    for other in KEYS.values():
        public = other().public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert signed_by_key(leaf, spki) == (spki == ca.spki)


def test_a_bare_key_that_is_none_vouches_for_nothing() -> None:
    assert not signed_by_key(Certificate(good().leaf.der), b"\x30\x00")
    assert not signed_by_key(Certificate(b"\x30\x00"), good().root.spki)
