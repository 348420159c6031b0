"""`sealroute dane verify`: exact JSON, exit status, and what goes to stderr."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealroute.faces.cli.dane import app
from simnet.pki import Ca, Entity

HOST = "mx.example.com"


@cache
def ca() -> Ca:
    return Ca("Root")


@cache
def server() -> Entity:
    return ca().leaf(HOST)


@pytest.fixture
def chain(tmp_path: Path) -> str:
    path = tmp_path / "chain.pem"
    path.write_bytes(server().chain_pem(root=True))
    return str(path)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["verify", *arguments], env={"COLUMNS": "300", "NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr


def test_a_match(chain: str) -> None:
    record = server().tlsa(3, 1, 1)
    status, out, err = run("--chain", chain, "--tlsa", record.upper(), "--name", HOST, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "verdict": "match",
        "usage": 3,
        "selector": 1,
        "matching": 1,
        "depth": 0,
        "reason": None,
        "records": [{"record": record, "usable": True, "matched": True, "why": ""}],
    }


def test_no_match_with_the_reason_of_the_closest_record(chain: str) -> None:
    later = (datetime.now(UTC) + timedelta(days=300)).isoformat()
    good = ca().tlsa(2, 0, 1)
    status, out, _ = run(
        "--chain",
        chain,
        "--tlsa",
        "3 1 1 " + "00 " * 32,
        "--tlsa",
        good,
        "--name",
        "x.test",
        "--name",
        HOST,
        "--at",
        later,
        "--json",
    )
    answer = json.loads(out)
    assert (status, answer["verdict"], answer["reason"]) == (1, "no-match", "certificate-expired")
    assert (answer["usage"], answer["selector"], answer["matching"], answer["depth"]) == (None, None, None, None)
    assert [item["usable"] for item in answer["records"]] == [True, True]
    assert run("--chain", chain, "--tlsa", good, "--name", "x.test", "--name", HOST + ".", "--json")[0] == 0


def test_records_that_cannot_be_used_are_usable_input(chain: str) -> None:
    status, out, _ = run("--chain", chain, "--tlsa", "9 9 9 00", "--tlsa", "3 1 1 aabb", "--name", HOST, "--json")
    answer = json.loads(out)
    assert (status, answer["verdict"], answer["reason"]) == (1, "unusable", "all-unusable")
    assert [(item["usable"], item["matched"], item["why"]) for item in answer["records"]] == [
        (False, False, "usage 9 is unknown"),
        (False, False, "the digest has 2 octets instead of 32"),
    ]


def test_text_for_people(chain: str) -> None:
    status, out, _ = run("--chain", chain, "--tlsa", server().tlsa(3, 1, 1), "--tlsa", "1 1 1 00", "--name", HOST)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("match: TLSA 3 1 1 ")
    assert lines[1].endswith("  matches")
    assert lines[2].endswith("  unusable: usage 1 (PKIX-EE) is not used with SMTP")
    status, out, _ = run("--chain", chain, "--tlsa", ca().tlsa(2, 0, 1), "--name", "mx.example.net")
    assert status == 1
    assert out.startswith("no-match (certificate-host-mismatch): TLSA 2 0 1 ")


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--chain", "/nonexistent/chain.pem", "--chain /nonexistent/chain.pem: No such file or directory"),
        ("--chain", "/", "--chain /: Is a directory"),
        ("--chain", __file__, "holds no certificate"),
        ("--tlsa", "3 1 1", "'3 1 1' is not a TLSA record"),
        ("--tlsa", "3 1 256 00", "the TLSA matching type '256' is not a number from 0 to 255"),
        ("--tlsa", "3 1 1 0g", "is not hexadecimal"),
        ("--name", "mx..example.com", "'mx..example.com' has an empty label"),
        ("--at", "yesterday", "--at: Invalid isoformat string: 'yesterday'; write a moment as in 2026-01-31T12:00:00Z"),
        ("--at", "2026-01-31T12:00:00", "has no time zone"),
        ("--at", "0001-01-01T00:00:00+14:00", "--at: "),
    ],
)
def test_input_that_cannot_be_used(chain: str, option: str, value: str, complaint: str) -> None:
    given = {"--chain": chain, "--tlsa": server().tlsa(3, 1, 1), "--name": HOST} | {option: value}
    status, out, err = run(*(part for pair in given.items() for part in pair), "--json")
    assert (status, out) == (2, "")
    assert err.startswith("sealroute dane verify: ")
    assert complaint in err


def test_options_that_are_missing_are_unusable_input(chain: str) -> None:
    for arguments in (["--chain", chain], ["--chain", chain, "--name", HOST], ["--tlsa", "3 1 1 00", "--name", HOST]):
        assert run(*arguments)[0] == 2
