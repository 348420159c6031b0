"""`sealroute smtp parse-reply` and `encode-data`: exactly the keys promised, and exit status 0, 1, 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealroute.faces.cli.smtp import app

NOTHING: dict[str, object] = {"ok": False, "code": None, "enhanced": None, "lines": []}


@pytest.mark.parametrize(
    ("octets", "status", "answer", "stderr"),
    [
        (b"250 2.1.0 Ok\r\n", 0, {"ok": True, "code": 250, "enhanced": "2.1.0", "lines": ["Ok"]}, ""),
        (b"550-a\n550 b\n", 0, {"ok": True, "code": 550, "enhanced": None, "lines": ["a", "b"]}, ""),
        (b"250-a\r\n251 b\r\n", 1, NOTHING, "line 2 of the reply has the code 251 in a reply that began with 250"),
        (b"", 1, NOTHING, "there is no reply"),
    ],
)
def test_parse_reply(octets: bytes, status: int, answer: dict[str, object], stderr: str, tmp_path: Path) -> None:
    file = tmp_path / "reply"
    file.write_bytes(octets)
    for arguments, given in (([str(file)], None), (["-"], octets)):
        result = CliRunner().invoke(app, ["parse-reply", *arguments, "--json"], input=given)
        assert result.exit_code == status
        assert json.loads(result.stdout) == answer
        assert stderr in result.stderr


def test_parse_reply_for_people(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["parse-reply", "-"], input=b"550-5.7.1 no\r\n550 5.7.1 never\r\n")
    assert result.stdout == "code 550, enhanced code 5.7.1\n  no\n  never\n"


def test_encode_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["encode-data", "-"], input=b"Subject: x\n\n.\xff\n")
    assert (result.exit_code, result.stdout_bytes) == (0, b"Subject: x\r\n\r\n..\xff\r\n.\r\n")


@pytest.mark.parametrize("command", ["parse-reply", "encode-data"])
def test_a_file_that_cannot_be_read(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [command, str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "none cannot be read: No such file or directory" in result.stderr
