"""Our DANE verdicts against OpenSSL's own, in real handshakes: `openssl s_server` presents, `openssl s_client` judges.

Every case is one server (a chain with at most one difference from a good one) and one TLSA record set.  Verdict, and where it
matches the usage and depth, have to agree.  The one place where we differ on purpose has a test of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509

from sealroute.proto.dane.records import parse
from sealroute.proto.dane.verify import DaneReason, DaneVerdict, verify
from simnet.pki import ANY_EKU, CLIENT_AUTH, SERVER_AUTH, Ca, Entity, Wish, self_signed

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command"),
]

HOST = "mx.example.com"
TIMEOUT_SECONDS = 20
MATCHED = re.compile(r"^DANE TLSA (\d) (\d) (\d) \S+ (?:matched|signed) .*?at depth (\d+)", re.M)
UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00"), True)
ONLY_OTHER = (x509.NameConstraints([x509.DNSName("example.net")], None), True)
ONLY_OURS = (x509.NameConstraints([x509.DNSName("example.com")], None), True)


@dataclass(frozen=True)
class Scene:
    """What one server presents, and whom records may name."""

    leaf: Entity
    middle: Ca
    root: Ca
    presented: tuple[Entity, ...]


def scene(
    leaf: Wish | None = None, middle: Wish | None = None, root: Wish | None = None, names: tuple[str, ...] = (HOST,)
) -> Scene:
    top = Ca("Sealroute Test Root", wish=root)
    issuing = top.ca("Sealroute Test Issuing", middle)
    server = issuing.leaf(*names, wish=leaf)
    return Scene(server, issuing, top, (server, issuing))


def rearranged(order: Callable[[Scene], tuple[Entity, ...]]) -> Scene:
    plain = scene()
    return Scene(plain.leaf, plain.middle, plain.root, order(plain))


def lonely() -> Scene:
    server = self_signed(HOST)
    other = Ca("Elsewhere")
    return Scene(server, other, other, (server,))


def direct() -> Scene:
    top = Ca("Sealroute Test Root")
    server = top.leaf(HOST)
    return Scene(server, top, top, (server, top))


def deep() -> Scene:
    top = Ca("Sealroute Test Root", wish=Wish(path_length=0))
    upper = top.ca("Sealroute Test Upper")
    issuing = upper.ca("Sealroute Test Issuing")
    server = issuing.leaf(HOST)
    return Scene(server, issuing, top, (server, issuing, upper, top))


SCENES: dict[str, Callable[[], Scene]] = {
    "good": scene,
    "with root": lambda: rearranged(lambda s: (s.leaf, s.middle, s.root)),
    "unordered": lambda: rearranged(lambda s: (s.leaf, s.root, Ca("Stranger"), s.middle)),
    "leaf only": lambda: rearranged(lambda s: (s.leaf,)),
    "root missing link": lambda: rearranged(lambda s: (s.leaf, s.root)),
    "direct": direct,
    "self-signed": lonely,
    "expired": lambda: scene(Wish(expired=True)),
    "not yet valid": lambda: scene(Wish(not_yet_valid=True)),
    "expired below anchor": lambda: scene(middle=Wish(expired=True)),
    "expired root": lambda: scene(root=Wish(expired=True)),
    "other name": lambda: scene(names=("mx.example.net",)),
    "wildcard": lambda: scene(names=("*.example.com",)),
    "wildcard two labels up": lambda: scene(names=("*.com", "*.mx.example.com")),
    "common name only": lambda: scene(Wish(san=False)),
    "common name beside SAN": lambda: scene(Wish(subject=HOST), names=("mx.example.net",)),
    "upper case": lambda: scene(names=("MX.Example.COM",)),
    "forged": lambda: scene(Wish(forged=True)),
    "forged issuer": lambda: scene(middle=Wish(forged=True)),
    "issuer no CA": lambda: scene(middle=Wish(is_ca=False)),
    "issuer may not sign": lambda: scene(middle=Wish(cert_sign=False)),
    "path too long": lambda: scene(root=Wish(path_length=0), middle=Wish()),
    "path too long above": deep,
    "client only": lambda: scene(Wish(eku=(CLIENT_AUTH,))),
    "any purpose": lambda: scene(Wish(eku=(ANY_EKU,))),
    "both purposes": lambda: scene(Wish(eku=(CLIENT_AUTH, SERVER_AUTH))),
    "issuer client only": lambda: scene(middle=Wish(eku=(CLIENT_AUTH,))),
    "unknown critical": lambda: scene(Wish(extensions=(UNKNOWN_CRITICAL,))),
    "outside constraints": lambda: scene(middle=Wish(extensions=(ONLY_OTHER,))),
    "inside constraints": lambda: scene(middle=Wish(extensions=(ONLY_OURS,))),
    "without key ids": lambda: scene(Wish(key_ids=False), Wish(key_ids=False), Wish(key_ids=False)),
}


@cache
def the_scene(name: str) -> Scene:
    return SCENES[name]()


def records_of(scene: Scene, wanted: str) -> list[str]:
    """`leaf 3 1 1; root 2 0 1`: records that name a certificate of the scene; `!` before one spoils its last octet."""
    found = []
    for part in wanted.split("; "):
        spoiled = part.startswith("!")
        who, usage, selector, matching = part.lstrip("!").split()
        entity: Entity = {"leaf": scene.leaf, "middle": scene.middle, "root": scene.root}[who]
        text = entity.tlsa(int(usage), int(selector), int(matching))
        found.append(text[:-2] + f"{int(text[-2:], 16) ^ 1:02x}" if spoiled else text)
    return found


ALL_FORMS = [f"{selector} {matching}" for selector in (0, 1) for matching in (0, 1, 2)]
CASES: list[tuple[str, str]] = [
    *[("good", f"leaf 3 {form}") for form in ALL_FORMS],
    *[("good", f"!leaf 3 {form}") for form in ("0 1", "1 1", "1 2")],
    *[("good", f"middle 2 {form}") for form in ALL_FORMS],
    *[("good", f"root 2 {form}") for form in ALL_FORMS],
    *[("leaf only", f"middle 2 {form}") for form in ALL_FORMS],
    *[("leaf only", f"root 2 {form}") for form in ("0 0", "1 0")],
    *[("self-signed", f"leaf 2 {form}") for form in ALL_FORMS],
    ("self-signed", "leaf 3 1 1"),
    *[("good", f"leaf 2 {form}") for form in ("0 0", "0 1", "1 0", "1 1")],
    ("good", "middle 3 1 1"),
    *[(name, "leaf 3 1 1") for name in ("expired", "not yet valid", "other name", "forged", "client only", "unknown critical")],
    *[(name, "middle 2 1 1") for name in SCENES if name not in ("good", "expired below anchor", "any purpose")],
    *[(name, "root 2 0 1") for name in ("with root", "unordered", "root missing link", "expired root", "path too long above")],
    *[
        (name, f"root 2 {form}")
        for form in ("0 0", "1 0")
        for name in (
            "expired root", "expired below anchor", "forged issuer", "issuer no CA", "issuer may not sign", "path too long",
            "other name", "expired", "issuer client only", "outside constraints", "without key ids",
        )
    ],
    # several records
    ("good", "!leaf 3 1 1; middle 2 1 1"),
    ("good", "leaf 3 1 1; !middle 2 1 1"),
    ("good", "leaf 3 1 1; !leaf 3 1 2"),
    ("good", "!leaf 3 1 1; leaf 3 1 2"),
    ("good", "leaf 3 1 1; !leaf 3 0 2"),
    ("good", "leaf 3 1 0; !leaf 3 1 2"),
    ("good", "middle 2 1 1; !middle 2 1 2"),
    ("good", "middle 2 1 0; !middle 2 1 2"),
    ("expired", "middle 2 1 1; leaf 3 1 1"),
    ("expired", "middle 2 1 1; !leaf 3 1 1"),
    ("with root", "root 2 0 1; middle 2 0 1"),
]  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], int]]:
    """Ports of servers by scene, started when first asked for."""
    folder: Path = tmp_path_factory.mktemp("pki")
    with ExitStack() as stack:

        @cache
        def port(name: str) -> int:
            scene = the_scene(name)
            stem = folder / name.replace(" ", "_")
            leaf, rest, key = stem.with_suffix(".leaf"), stem.with_suffix(".rest"), stem.with_suffix(".key")
            leaf.write_bytes(scene.presented[0].pem)
            rest.write_bytes(b"".join(entity.pem for entity in scene.presented[1:]))
            key.write_bytes(scene.leaf.key_pem)
            command: list[str | Path] = [
                "openssl",
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-cert",
                leaf,
                "-key",
                key,
                "-no_ticket",
            ]
            command += ["-cert_chain", rest] if scene.presented[1:] else []
            said = stem.with_suffix(".log")
            # s_server ends when its standard input does, so it gets a pipe that stays open.
            with said.open("wb") as log:
                server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(server.communicate)
            stack.callback(server.kill)
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while not (found := re.search(r"^ACCEPT \S+:(\d+)\n", said.read_text(), re.M)):
                assert server.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.01)
            return int(found[1])

        yield port


def openssl_says(port: int, records: list[str], name: str = HOST) -> tuple[bool, tuple[int, ...]]:
    """(verified, (usage, selector, matching, depth) of the record that OpenSSL names)."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-brief", "-dane_ee_no_namechecks"]
    command += ["-dane_tlsa_domain", name]
    for record in records:
        command += ["-dane_tlsa_rrdata", record]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert "CONNECTION ESTABLISHED" in text, text
    matched = MATCHED.search(text)
    verified = "Verification: OK" in text
    return verified, tuple(map(int, matched.groups())) if matched and verified else ()


@pytest.mark.parametrize(("name", "wanted"), CASES, ids=[f"{name}: {wanted}" for name, wanted in CASES])
def test_the_verdict_is_openssls(servers: Callable[[str], int], name: str, wanted: str) -> None:
    scene = the_scene(name)
    records = records_of(scene, wanted)
    chain = [entity.der for entity in scene.presented]
    result = verify(chain, [parse(text) for text in records], [HOST], datetime.now(UTC))
    ours = result.verdict is DaneVerdict.MATCH
    best = result.best
    fields = (best.record.usage, best.record.selector, best.record.matching, best.depth) if best else ()
    assert ((ours, fields), result.detail) == (openssl_says(servers(name), records), result.detail)


def test_dates_of_an_anchor_that_is_not_self_signed_count_for_us(servers: Callable[[str], int]) -> None:
    """OpenSSL checks the dates of a self-signed anchor but not of an intermediate one; we treat both alike."""
    scene = the_scene("expired below anchor")
    records = records_of(scene, "middle 2 1 1")
    assert openssl_says(servers("expired below anchor"), records)[0]
    result = verify([entity.der for entity in scene.presented], [parse(records[0])], [HOST], datetime.now(UTC))
    assert (result.verdict, result.reason) == (DaneVerdict.NO_MATCH, DaneReason.CERTIFICATE_EXPIRED)


def test_any_purpose_counts_as_serving_tls_for_us(servers: Callable[[str], int]) -> None:
    """anyExtendedKeyUsage allows every purpose [RFC 5280 §4.2.1.12]; OpenSSL's check for TLS servers does not know it."""
    scene = the_scene("any purpose")
    records = records_of(scene, "middle 2 1 1")
    assert not openssl_says(servers("any purpose"), records)[0]
    result = verify([entity.der for entity in scene.presented], [parse(records[0])], [HOST], datetime.now(UTC))
    assert result.verdict is DaneVerdict.MATCH
