"""Reading notifications of others, and `sealroute dsn parse`."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sealroute.faces.cli.dsn import app
from sealroute.proto.dsn import parse as module
from sealroute.proto.dsn.notice import build
from sealroute.proto.dsn.parse import NotADsn, Parsed, parse, typed
from tests.unit.test_dsn_notice import a_notice

HEAD = b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
STATUS = b"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822;a@example\nAction: failed\nStatus: 5.0.0 (odd)\n"


def report(status: bytes = STATUS, head: bytes = b"Content-Type: message/delivery-status\n\n", extra: bytes = b"") -> bytes:
    return HEAD + b"--b\nContent-Type: text/plain\n\nSorry.\n--b\n" + head + status + b"\n" + extra + b"--b--\n"


def good(octets: bytes) -> Parsed:
    parsed = parse(octets)
    assert isinstance(parsed, Parsed), parsed
    return parsed


TOLERATED: dict[str, tuple[bytes, list[str]]] = {
    "as it should be": (report(), ["rfc822;a@example"]),
    "two recipients": (report(STATUS + b"\nFinal-Recipient: rfc822; b@example\n"), ["rfc822;a@example", "rfc822; b@example"]),
    "no group for the message": (report(STATUS.split(b"\n\n")[1]), ["rfc822;a@example"]),
    "folded fields": (report(STATUS.replace(b"rfc822;a", b"rfc822;\n\ta")), ["rfc822; a@example"]),
    "a group without a recipient": (report(STATUS + b"\nX: 1\n"), ["rfc822;a@example"]),
    "the status as plain text": (report(head=b"Content-Type: message/delivery-status; x=y\n\n"), ["rfc822;a@example"]),
    "quoted-printable": (
        report(STATUS.replace(b"a@", b"=61@"), b"Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: "
               b"quoted-printable\n\n"), ["rfc822;a@example"],
    ),
    "base64": (
        report(b64encode(STATUS), b"Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: base64\n\n"),
        ["rfc822;a@example"],
    ),
    "global": (report(head=b"Content-Type: message/global-delivery-status\n\n"), ["rfc822;a@example"]),
    "global, with a folded field in the second group": (
        report(STATUS.replace(b"rfc822;a", b"rfc822;\n\ta"), b"Content-Type: message/global-delivery-status\n\n"),
        ["rfc822; a@example"],
    ),
    "a group that poses as a multipart": (
        report(STATUS + b"\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n--x--\n"), ["rfc822;a@example"],
    ),
    "CRLF": (report().replace(b"\n", b"\r\n"), ["rfc822;a@example"]),
    "a status part twice": (report(extra=b"--b\nContent-Type: message/delivery-status\n\nX: 1\n"), ["rfc822;a@example"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLERATED)
def test_tolerated(name: str) -> None:
    octets, recipients = TOLERATED[name]
    parsed = good(octets)
    assert [item["final-recipient"] for item in parsed.recipients] == recipients
    assert parsed.human.strip() == "Sorry."


REFUSED: dict[str, tuple[bytes, str]] = {
    "plain mail": (b"Subject: x\n\nhello\n", "the media type is text/plain, not multipart/report"),
    "nothing": (b"", "the media type is text/plain, not multipart/report"),
    "another report": (HEAD.replace(b"delivery-status", b"tlsrpt") + b"--b--\n", "report-type is tlsrpt, not delivery-status"),
    "no report-type": (HEAD.replace(b" report-type=delivery-status;", b""), "report-type is missing, not delivery-status"),
    "no parts": (HEAD + b"nothing\n", "the report has fewer than two parts"),
    "no status": (HEAD + b"--b\n\nx\n--b\n\ny\n--b--\n", "there is no message/delivery-status part"),
    "empty status": (report(b""), "the delivery-status part is empty"),
    "an unknown charset": (
        report().replace(b"text/plain", b"text/plain; charset=nonsense"), "the message cannot be parsed: unknown encoding: nonsense"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    octets, reason = REFUSED[name]
    assert parse(octets) == NotADsn(reason)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    assert parse(b"x" * 1001) == NotADsn("1001 octets are more than 1000")
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_GROUPS", 3)
    many = STATUS + b"\nFinal-Recipient: rfc822; b@example\n" * 50
    assert len(good(report(many)).recipients) <= 3
    assert len(good(report(many, b"Content-Type: message/global-delivery-status\n\n")).recipients) <= 3


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 500))
def test_it_never_raises(noise: bytes, at: int) -> None:
    """Any octets, also in the middle of a good report, give a value."""
    octets = report()
    parse(noise)
    parse(octets[:at] + noise + octets[at:])


def test_typed() -> None:
    assert typed("RFC822 ; a@b") == ("rfc822", "a@b")
    assert typed("mx.example") == ("", "mx.example")


# ------------------------------------------------------------------------------------------------------------- command

runner = CliRunner()


def ran(*arguments: str, given: bytes | None = None) -> tuple[int, Any, str]:
    result = runner.invoke(app, ["parse", *arguments, "--json"], input=given)
    return result.exit_code, json.loads(result.stdout) if result.stdout else None, result.stderr


def test_the_command_reads_a_file_and_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "ndr.eml"
    file.write_bytes(build(a_notice(envid="E 1")))
    expected = {
        "ok": True,
        "reason": None,
        "reporting_mta": "gw.example.com",
        "envid": "E 1",
        "arrival_date": "Sun, 22 Nov 2026 11:00:00 +0000",
        "returned": "full",
        "recipients": [
            {
                "final_recipient": "bob@contoso.com",
                "original_recipient": None,
                "action": "failed",
                "status": "5.1.1",
                "remote_mta": "mx.contoso.com",
                "diagnostic": "550 5.1.1 No such user",
                "last_attempt": "Sun, 22 Nov 2026 12:00:00 +0000",
                "will_retry_until": None,
            }
        ],
    }
    assert ran(str(file)) == (0, expected, "")
    assert ran("-", given=file.read_bytes()) == (0, expected, "")
    shown = runner.invoke(app, ["parse", str(file)])
    assert shown.stdout == (
        "reported by gw.example.com, original returned: full\n  bob@contoso.com: failed 5.1.1 550 5.1.1 No such user\n"
    )


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    code, record, _ = ran("-", given=b"Subject: x\n\nhello\n")
    assert (code, record["ok"], record["reason"]) == (1, False, "the media type is text/plain, not multipart/report")
    shown = runner.invoke(app, ["parse", "-"], input=b"x")
    assert shown.stdout == "not a delivery status notification: the media type is text/plain, not multipart/report\n"
    code, record, error = ran(str(tmp_path / "missing"))
    assert (code, record) == (2, None)
    assert "No such file" in error
    assert ran(str(tmp_path))[0] == 2


def test_controls_do_not_reach_the_terminal() -> None:
    octets = report(STATUS.replace(b"a@example", b"a\x1b[2Jb@example"))
    shown = runner.invoke(app, ["parse", "-"], input=octets)
    assert "\x1b" not in shown.stdout
    assert "a?[2Jb@example: failed 5.0.0" in shown.stdout
