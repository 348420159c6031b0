"""`sealroute migrate status | advance | rollback` and the record on a real store; what they say, and what they refuse.

The steps that look at a partner are walked by tests/real/test_tutorial_migrate and tests/real/test_migrate_plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.faces.move_document import html, markdown, share_of
from sealroute.policy.move import Mark, Move, MoveStep, Situation
from sealroute.policy.readiness import Mechanism, Tally
from sealroute.settings import Settings
from sealroute.store.store import Store, open_store
from tests.store_making import NOW, url_in
from tests.unit.test_move import BACK, DONE, GOOD, MANDATORY, MOVE, held, seen
from tests.unit.test_move_store import CONNECTOR, RULES, started

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(url_in(tmp_path))
    opened.admin.connectors.add(CONNECTOR, "admin")
    yield opened
    opened.admin.close()


def command(tmp_path: Path, *arguments: str) -> int:
    settings = Settings.model_validate({"store": {"url": f"sqlite:///{tmp_path}/sealroute.db"}})
    return run(["migrate", *arguments], lambda asked: Context(preset_settings=settings, moment=NOW + HOUR))


def test_before_any_move(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "status") == 0
    assert capsys.readouterr().out == "No connector was moved yet; `sealroute migrate plan` shows which could be.\n"
    assert command(tmp_path, "status", "To Contoso") == 2
    assert "no connector 'To Contoso' was ever moved" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("start", "To Contoso", "--observe", "14"), "--observe: '14' is not a span of time"),
        (("start", "To Contoso", "--max-age", "0s"), "--max-age: 0s is not between 1s and 3650d"),
        (("start", "To Contoso", "--review", "9999d"), "--review: 9999d is not between 1s and 3650d"),
        (("advance", "To Contoso", "--force"), "--force: it and --reason belong together"),
        (("advance", "To Contoso", "--reason", "why"), "--force: it and --reason belong together"),
        (("advance", "To Contoso", "--document", "record.pdf"), "record.pdf ends in neither .md nor .html"),
        (("advance", "To Contoso", "--document", "/no/such/folder/record.md"), "record.md cannot be written"),
        (("status", "--document", "record.md"), "--document: it is about one connector"),
    ],
)
def test_what_cannot_be_used(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert command(tmp_path, *arguments) == 2
    assert why in capsys.readouterr().err


def test_a_table_a_record_and_the_way_back(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    move = started(store)
    assert command(tmp_path, "status") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["Connector", "To", "Step", "Started", "Sessions", "Share", "Held", "Review"]
    assert line.split() == ["To", "Contoso", "DANE", "observing", "2026-11-22", "12:00:00Z", "0", "-", "0"]
    assert command(tmp_path, "status", "To Contoso", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["id"], record["step"], record["kept"], record["held"]) == (move.id, "observing", "To Contoso (pinned)", 0)
    assert record["missing"] == ["0 of 1 satisfied sessions.", "No satisfied session with contoso.com."]
    assert record["started"] == {"at": "2026-11-22T12:00:00Z", "by": "admin", "why": "every mail host has TLSA records"}
    assert command(tmp_path, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [record]
    version = store.admin.connectors.version()
    assert command(tmp_path, "rollback", "To Contoso", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Dry run: connector 'To Contoso' would be rolled back to its fixed smart hosts.\n")
    assert shown.endswith("'To Contoso (pinned)', which was kept for the way back, would be removed.\nNothing was changed.\n")
    assert (store.admin.connectors.version(), store.admin.moves.all("default")) == (version, [move])
    assert command(tmp_path, "rollback", "To Contoso", "--reason", "it is late", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["change"]["removed"] == ["To Contoso (pinned)"]
    assert {item["parameter"]: item["after"] for item in answer["change"]["changes"]}["SmartHosts"] == ["192.0.2.1"]
    assert answer["move"]["ended"]["why"] == "it is late"
    assert command(tmp_path, "rollback", "To Contoso") == 2
    assert "it is rolled-back" in capsys.readouterr().err


def test_status_says_what_is_missing_and_held(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    started(store, replace(RULES, observe=3 * HOUR))
    file = tmp_path / "record.md"
    assert command(tmp_path, "status", "To Contoso", "--document", str(file)) == 0
    shown = capsys.readouterr()
    assert "  sessions   none yet\n  counting   1h of 3h, 0 of 1 sessions\n" in shown.out
    assert "  held       0 messages; rolled back by itself at 3 or after 4h\n" in shown.out
    assert "  missing    Observed for 1h of 3h.\n             0 of 1 satisfied sessions.\n" in shown.out
    assert "  next       sealroute migrate advance 'To Contoso'  asks for SmtpDaneMode Mandatory\n" in shown.out
    assert "Record written to" in shown.err
    assert file.read_text().startswith("# Connector To Contoso: from fixed smart hosts to DANE\n")


def test_status_says_what_was_done_by_hand(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    move = started(store)
    now = store.admin.connectors.get("default", "To Contoso")
    assert now is not None
    store.admin.connectors.replace(replace(now, use_mx_record=False, smart_hosts=("192.0.2.7",)), "bob")
    assert command(tmp_path, "status", "To Contoso") == 0
    shown = capsys.readouterr().out
    assert "  by hand    UseMXRecord: True -> False\n  by hand    SmartHosts: {} -> {192.0.2.7}\n" in shown
    store.admin.connectors.remove("default", move.connector_guid, "bob")
    assert command(tmp_path, "status", "To Contoso") == 0
    assert "  by hand    To Contoso was removed\n" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------ the record

HOSTILE = replace(MOVE, connector_name='<script>|*x*\n"', started=Mark(NOW, "eve\x1b[2J", "a | b"))


def test_foreign_text_stays_text() -> None:
    page, text = html(HOSTILE, seen(HOUR), ()), markdown(HOSTILE, seen(HOUR), ())
    assert "<script" not in page
    assert "&lt;script&gt;|*x*\\n&quot;" in page
    assert "\x1b" not in page + text
    assert r"\<script\>\|\*x\*\\n" in text
    assert r"| eve\\x1b\[2J | a \| b |" in text


def test_both_forms_say_the_same() -> None:
    situation = seen(14 * 24 * HOUR, [GOOD], held(2))
    text, page = markdown(MANDATORY, situation, ("one thing",)), html(MANDATORY, situation, ("one thing",))
    for words in (
        "Missing for the next step: one thing", "20 sessions since the start", "Messages held by the connector: 2",
        "SmtpDaneMode is Mandatory.", "Mail is never sent without the proof.", "On 2027-03-06 12:00:00Z: look at",
    ):  # fmt: skip
        assert words in text
        assert words in page


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (MOVE, "Until SmtpDaneMode is Mandatory, mail also goes when the partner is proven to publish nothing."),
        (replace(MOVE, mechanism=Mechanism.MTA_STS), "When MTA-STS does not hold, mail is held with 4.7.5, 4.4.8 or 4.7.327"),
        (
            replace(MANDATORY, mandatory=Mark(NOW, "bob", "no time")),
            "| Mandatory | 2026-11-22 12:00:00Z | bob | forced: no time |",
        ),
        (replace(DONE, ended=Mark(NOW, "bob")), "The move has ended; nothing more is to be done."),
        (replace(BACK, ended=Mark(NOW, "bob", "3 messages")), "the connector's own TlsSettings and TlsDomain decide."),
    ],
)
def test_each_step_says_what_holds_then(move: Move, words: str) -> None:
    assert words in markdown(move, seen(HOUR), ())


def test_a_share_is_rounded_down() -> None:
    assert [share_of(tally) for tally in (Tally(), Tally(1), Tally(9999, 1), Tally(0, 0, 0, 2), Tally(2, 0, 0, 1))] == [
        "-", "100 %", "99.9 %", "0 %", "66.6 %",
    ]  # fmt: skip


def test_every_step_has_words() -> None:
    for step in MoveStep:
        assert markdown(replace(MOVE, step=step), Situation(NOW), ()).count("\n## ") == 7
