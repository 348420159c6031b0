"""`sealroute mta-sts` and `sealroute tlsrpt` as scripts call them: exit status, JSON keys, and words."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sealroute.base.dnsdata import Answer, Outcome, Security
from sealroute.faces.cli.main import run
from sealroute.policy.evidence import FetchFailure
from sealroute.ports import Fetched, FetchFailed

POLICY = "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n"
VALID = {
    "valid": True,
    "version": "STSv1",
    "mode": "enforce",
    "max_age_seconds": 604800,
    "mx": ["mail.example.com", "*.example.net"],
    "reason": None,
}


def invalid(reason: str) -> dict[str, Any]:
    return {"valid": False, "version": None, "mode": None, "max_age_seconds": None, "mx": [], "reason": reason}


Capture = pytest.CaptureFixture[str]


def said(capsys: Capture, *argv: str) -> tuple[int, str, str]:
    status = run(argv)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("argv", "status", "answer", "words"),
    [
        (
            ["mta-sts", "parse-txt", "--txt", "v=STSv1; id=1"],
            0,
            {"status": "ok", "id": "1", "reason": None},
            "ok: policy id 1\n",
        ),
        (
            ["mta-sts", "parse-txt", "--txt", "x", "--txt", "y"],
            1,
            {"status": "none", "id": None, "reason": None},
            "none: no record begins with v=STSv1\n",
        ),
        (
            ["mta-sts", "parse-txt", "--txt", "v=STSv1;", "--txt", "v=STSv1; id=1"],
            1,
            {"status": "invalid", "id": None, "reason": "2 records begin with v=STSv1; there must be exactly one"},
            "invalid: 2 records begin with v=STSv1; there must be exactly one\n",
        ),
        (
            ["mta-sts", "match", "--mx", "MAIL.example.net.", "--pattern", "example.com", "--pattern", "*.Example.net"],
            0,
            {"match": True, "pattern": "*.Example.net"},
            "MAIL.example.net. is covered by *.Example.net\n",
        ),
        (
            ["mta-sts", "match", "--mx", "a.b.example.net", "--pattern", "*.example.net"],
            1,
            {"match": False, "pattern": None},
            "a.b.example.net is covered by no pattern\n",
        ),
        (
            ["tlsrpt", "parse-txt", "--txt", "v=TLSRPTv1; rua=mailto:a@example.com,https://example.com/r"],
            0,
            {"status": "ok", "rua": ["mailto:a@example.com", "https://example.com/r"], "reason": None},
            "ok: reports go to\n  mailto:a@example.com\n  https://example.com/r\n",
        ),
        (
            ["tlsrpt", "parse-txt", "--txt", "x"],
            1,
            {"status": "none", "rua": [], "reason": None},
            "none: no record begins with v=TLSRPTv1\n",
        ),
        (
            ["tlsrpt", "parse-txt", "--txt", "v=TLSRPTv1"],
            1,
            {"status": "invalid", "rua": [], "reason": "the record has no rua field"},
            "invalid: the record has no rua field\n",
        ),
    ],
)
def test_what_scripts_and_people_are_told(
    capsys: Capture, argv: list[str], status: int, answer: dict[str, Any], words: str
) -> None:
    assert said(capsys, *argv) == (status, words, "")
    code, out, err = said(capsys, *argv, "--json")
    assert (code, json.loads(out), err) == (status, answer, "")


@pytest.mark.parametrize(
    ("text", "status", "answer", "words"),
    [
        (POLICY, 0, VALID, "valid: mode enforce, for 604800 seconds\n  mx mail.example.com\n  mx *.example.net\n"),
        ("mode: x", 1, invalid("Line 1: the mode 'x' is none of enforce, testing and none."), None),
        ("x" * 100_000, 1, invalid("The policy is larger than 65536 octets."), None),
    ],
)
def test_parse_policy(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, status: int, answer: dict[str, Any], words: str
) -> None:
    file = tmp_path / "mta-sts.txt"
    file.write_text(text)
    code, out, _ = said(capsys, "mta-sts", "parse-policy", str(file), "--json")
    assert (code, json.loads(out)) == (status, answer)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert said(capsys, "mta-sts", "parse-policy", "-") == (status, words or f"invalid: {answer['reason']}\n", "")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["mta-sts", "parse-policy", "/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
        (["mta-sts", "parse-policy", "/"], "/ cannot be read: Is a directory"),
        (["mta-sts", "parse-policy", "a\x00b"], "a\\x00b cannot be read: embedded null byte"),
        (["mta-sts", "match", "--mx", "a..b", "--pattern", "a.b"], "'a..b' has an empty label"),
        (["mta-sts", "match", "--mx", "192.0.2.1", "--pattern", "a.b"], "is an IP address; mx patterns cover names only"),
        (["mta-sts", "match", "--mx", "a.b", "--pattern", "*"], "which cannot be part of a host name"),
        (["mta-sts", "match", "--mx", "a.b", "--pattern", "a.b", "--pattern", "a.*.b"], "which cannot be part of a host name"),
        (["mta-sts", "match", "--mx", "a.b"], "--pattern"),
        (["mta-sts", "parse-txt"], "--txt"),
        (["tlsrpt", "parse-txt"], "--txt"),
        (["mta-sts", "fetch", "a b"], "which cannot be part of a host name"),
    ],
)
def test_input_that_cannot_be_used(capsys: Capture, argv: list[str], words: str) -> None:
    status, out, err = said(capsys, *argv)
    assert (status, out) == (2, "")
    assert words in err


# ---------------------------------------------------------------------------------------------------------------- fetch

TXT = Answer("_mta-sts.example.com", "TXT", Outcome.DATA, Security.SECURE, ("v=STSv1; id=7",), 60)
NO_TXT: Answer[str] = Answer("_mta-sts.example.com", "TXT", Outcome.NODATA, Security.SECURE, ttl_seconds=60)
SILENT: Answer[str] = Answer("_mta-sts.example.com", "TXT", Outcome.FAILED, Security.UNKNOWN, detail="timed out")
OK = {"status": "ok", "id": "7", "reason": None}
NONE = {"status": "none", "id": None, "reason": None}
NOT_FOUND = FetchFailed(FetchFailure.FETCH_ERROR, "HTTP status 404.")
DNS = "DNS gave no answer for _mta-sts.example.com (unknown): timed out"
NO_MX = "The policy has no mx field; mode enforce needs at least one."
NO_MX_POLICY = Fetched(b"version: STSv1\nmode: enforce\nmax_age: 1\n")


@pytest.mark.parametrize(
    ("answer", "served", "status", "record", "words"),
    [
        (
            TXT,
            Fetched(POLICY.encode()),
            0,
            {"txt": OK, "policy": VALID, "failure": None, "detail": None},
            "TXT    ok: policy id 7\npolicy valid: mode enforce, for 604800 seconds\n"
            "         mx mail.example.com\n         mx *.example.net\n",
        ),
        (
            NO_TXT,
            NOT_FOUND,
            1,
            {"txt": NONE, "policy": None, "failure": None, "detail": None},
            "TXT    none: no record begins with v=STSv1\n",
        ),
        (
            TXT,
            NOT_FOUND,
            1,
            {"txt": OK, "policy": None, "failure": "sts-policy-fetch-error", "detail": "HTTP status 404."},
            "TXT    ok: policy id 7\npolicy sts-policy-fetch-error: HTTP status 404.\n",
        ),
        (
            TXT,
            NO_MX_POLICY,
            1,
            {"txt": OK, "policy": invalid(NO_MX), "failure": "sts-policy-invalid", "detail": NO_MX},
            f"TXT    ok: policy id 7\npolicy invalid: {NO_MX}\n",
        ),
        (
            SILENT,
            NOT_FOUND,
            1,
            {
                "txt": {"status": "unknown", "id": None, "reason": DNS},
                "policy": None,
                "failure": "sts-policy-fetch-error",
                "detail": DNS,
            },
            f"unknown: {DNS}\n",
        ),
    ],
)
def test_fetch(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer[str],
    served: Fetched | FetchFailed,
    status: int,
    record: dict[str, Any],
    words: str,
) -> None:
    async def txt(name: str) -> Answer[str]:
        assert name == "_mta-sts.example.com"
        return answer

    async def fetch(domain: str) -> Fetched | FetchFailed:
        assert domain == "example.com"
        return served

    @asynccontextmanager
    async def open_policy_tools(config: Path | None) -> AsyncIterator[tuple[Any, Any]]:
        yield SimpleNamespace(txt=txt), SimpleNamespace(fetch=fetch)

    app = ModuleType("sealroute.parts")
    app.open_policy_tools = open_policy_tools  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sealroute.parts", app)
    assert said(capsys, "mta-sts", "fetch", "Example.COM") == (status, words, "")
    code, out, err = said(capsys, "mta-sts", "fetch", "example.com", "--json")
    assert (code, json.loads(out), err) == (status, {"domain": "example.com", **record}, "")
