"""`sealroute queue` and `sealroute user` on a queue and users in memory."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.ports import GroupState
from tests.unit.cli_world import HELD, SENDING, WAITING, FakeStore, world

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def context() -> Context:
    return world(hostname="gw.contoso.com")


def told(context: Context, capsys: Capture, *argv: str, code: int = 0) -> str:
    store = context.preset_store
    assert run(list(argv), lambda _asked: context) == code
    context.preset_store = store
    out, err = capsys.readouterr()
    return out if code == 0 else err


def fake(context: Context) -> FakeStore:
    assert isinstance(context.preset_store, FakeStore)
    return context.preset_store


def test_list_shows_age_state_and_reason(context: Context, capsys: Capture) -> None:
    lines = [line.rstrip() for line in told(context, capsys, "queue", "list").splitlines()]
    assert lines == [
        "ID                                       AGE    SIZE TRIES  NEXT TRY   STATE",
        f"{WAITING}  5h 12m   12.3K     3  in 20m     queued",
        "  alice@contoso.com → fabrikam.com (2 recipients)",
        "  450 4.7.323 tlsa-invalid: The domain failed DANE validation: none of 2 TLSA records matches the certificate of "
        "mx1.fabrikam.com",
        f"{HELD}   1d 6h   12.3K     3  -          on hold",
        "  <> → example.net",
        "  450 4.4.316 Connection refused",
        f"{SENDING}      7s   12.3K     0  -          sending",
        "  alice@contoso.com → example.org",
        "  not tried yet",
        "3 entries: 1 queued, 1 on hold, 1 sending",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [WAITING, HELD, SENDING]),
        (["--domain", "Fabrikam.COM"], [WAITING]),
        (["--state", "suspended"], [HELD]),
        (["--sender", ""], [HELD]),
        (["--limit", "1"], [WAITING]),
        (["--domain", "contoso.com"], []),
    ],
)
def test_list_filters(context: Context, capsys: Capture, options: list[str], expected: list[str]) -> None:
    rows = json.loads(told(context, capsys, "queue", "list", "--json", *options))
    assert [row["message_id"] for row in rows] == expected


def test_list_in_json_has_the_reason_in_parts(context: Context, capsys: Capture) -> None:
    row: dict[str, Any] = json.loads(told(context, capsys, "queue", "list", "--json"))[0]
    assert row["reason"]["reason"] == "tlsa-invalid"
    assert row["reason"]["code"] == "4.7.323"
    assert row["next_attempt_at"] == "2026-11-22T12:20:00Z"
    assert row["recipients"] == ["bob@fabrikam.com", "eve@fabrikam.com"]


def test_nothing_waits(context: Context, capsys: Capture) -> None:
    fake(context).queue.items = []
    assert told(context, capsys, "queue", "list") == "Nothing waits.\n"
    assert told(context, capsys, "queue", "list", "--domain", "x.example") == "Nothing that waits matches.\n"


def test_show_tells_reason_remedy_expiry_and_the_last_attempt(context: Context, capsys: Capture) -> None:
    shown = told(context, capsys, "queue", "show", WAITING)
    for part in (
        "Returned     2026-11-23 06:48:00Z (in 18h 48m), if still undelivered",
        "Who can fix  the recipient's mail administrator",
        "What to do   Publish a TLSA record that matches",
        "Last attempt: number 3  2026-11-22 11:20:00Z  mx1.fabrikam.com [192.0.2.4]:25",
        "TLSA _25._tcp.mx1.fabrikam.com  secure",
        "Would satisfy SmtpDaneMode Mandatory  no",
    ):
        assert part in shown
    assert json.loads(told(context, capsys, "queue", "show", WAITING, "--json"))[0]["last_attempt"]["number"] == 3


def test_text_from_outside_cannot_steer_the_terminal(context: Context, capsys: Capture) -> None:
    from dataclasses import replace

    queue = fake(context).queue
    queue.items = [replace(queue.items[0], subject="\x1b[2Jgone [red]x[/red]", sender="a\nb@contoso.com")]
    shown = told(context, capsys, "queue", "show", WAITING)
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone [red]x[/red]" in shown


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (["retry", WAITING], "1 entry due now.\n"),
        (
            ["retry", WAITING, SENDING],
            "1 entry due now.\n1 entry is being sent right now and left alone; try again in a moment.\n",
        ),
        (["hold", "--domain", "fabrikam.com"], "1 entry put on hold.\n"),
        (
            ["retry", HELD],
            "0 entries due now.\n1 entry is on hold, so nothing was done; `sealroute queue release` lets them go on.\n",
        ),
        (["release", HELD], "1 entry released.\n"),
        (["release", WAITING], "0 entries released.\n1 entry is queued, so nothing was done.\n"),
        (
            ["remove", "--all", "--yes"],
            "2 entries removed.\n1 entry is being sent right now and left alone; try again in a moment.\n",
        ),
        (["remove", WAITING], "1 entry removed.\n"),
        (["hold", "--domain", "nobody.example"], "Nothing waits there.\n"),
    ],
)
def test_steering_says_what_changed_and_what_did_not(context: Context, capsys: Capture, argv: list[str], out: str) -> None:
    assert told(context, capsys, "queue", *argv) == out


def test_steering_changes_what_it_says(context: Context, capsys: Capture) -> None:
    told(context, capsys, "queue", "hold", WAITING)
    told(context, capsys, "queue", "release", HELD)
    assert [item.state for item in fake(context).queue.items] == [GroupState.SUSPENDED, GroupState.QUEUED, GroupState.ACTIVE]
    assert json.loads(told(context, capsys, "queue", "retry", "--all", "--json")) == {"changed": 1, "chosen": 3, "active": 1}


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["retry"], "ids, --domain, --all: say which mail. Give ids, or --domain, or --all."),
        (["retry", WAITING, "--all"], "ids, --domain, --all: these cannot be combined. Give ids, or --domain, or --all."),
        (
            ["remove", WAITING, "nope"],
            "nope: nothing in the queue has this id. Nothing was changed. `sealroute queue list` shows what waits.",
        ),
        (["remove", "--all"], "queue remove: this would drop 3 entries. Say --yes if you mean it."),
        (
            ["show", "nope"],
            "nope: nothing in the queue has this id. If it has left the queue, `sealroute trace nope` tells what became of it.",
        ),
        (["list", "--domain", "a..b"], "--domain: 'a..b' has an empty label."),
    ],
)
def test_unusable_input_changes_nothing(
    context: Context, capsys: Capture, argv: list[str], err: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = list(fake(context).queue.items)
    assert told(context, capsys, "queue", *argv, code=2) == f"sealroute: {err}\n"
    assert fake(context).queue.items == before


# ----------------------------------------------------------------------------------------------------------------- user


def test_a_users_password_is_kept_as_argon2_and_works(
    context: Context, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argon2 import PasswordHasher

    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    out = told(context, capsys, "user", "add", "alice@contoso.com", "--password-stdin")
    assert out == "alice@contoso.com may submit mail (organization default).\n"
    kept, owner = fake(context).users.known["alice@contoso.com"]
    assert kept.startswith("$argon2id$")
    assert PasswordHasher().verify(kept, "correct horse")
    assert owner == "default"
    monkeypatch.setattr("sys.stdin", io.StringIO("battery staple"))
    out = told(context, capsys, "user", "add", "alice@contoso.com", "--password-stdin")
    assert out == "alice@contoso.com has a new password (organization default).\n"
    assert told(context, capsys, "user", "list") == "NAME               ORGANIZATION\nalice@contoso.com  default\n"
    assert json.loads(told(context, capsys, "user", "list", "--json")) == [
        {"name": "alice@contoso.com", "organization": "default"}
    ]
    assert told(context, capsys, "user", "remove", "alice@contoso.com") == "alice@contoso.com may no longer submit mail.\n"
    assert told(context, capsys, "user", "list") == "Nobody may submit mail; `sealroute user add NAME` lets a user.\n"


@pytest.mark.parametrize(
    ("argv", "typed", "err"),
    [
        (["add", "a", "--password-stdin"], "short\n", "password: it has 5 characters. Use 8 to 1024 characters."),
        (
            ["add", "a", "--password-stdin"],
            "x" * 5000,
            "password: it has 1026 characters. Use 8 to 1024 characters.",
        ),
        (["add", "a", "--password-stdin"], "12345678\0", "password: it holds a null character, which AUTH PLAIN cannot carry."),
        (["add", "a"], "", "user add: there is no terminal to ask for the password. Use --password-stdin."),
        (
            ["add", " a", "--password-stdin"],
            "12345678",
            "NAME: ' a' cannot be a login name. Use 1 to 254 printable characters without spaces around them.",
        ),
        (["remove", "nobody"], "", "nobody: there is no such user. `sealroute user list` lists them."),
    ],
)
def test_unusable_users(
    context: Context, capsys: Capture, monkeypatch: pytest.MonkeyPatch, argv: list[str], typed: str, err: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert told(context, capsys, "user", *argv, code=2) == f"sealroute: {err}\n"
    assert fake(context).users.known == {}
