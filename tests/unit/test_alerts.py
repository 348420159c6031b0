"""Telling administrators of changes: what is said, when, how often, and that a restart neither loses nor doubles it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.alerts import (
    LAST_TRY,
    AlertRules,
    AlertState,
    Channel,
    QuietHours,
    body_of_drift,
    body_of_roll_back,
    body_of_test,
    mail_of,
    signature,
    wait_after,
)
from sealroute.policy.history import DaneState, Drift, DriftKind, Remembered
from sealroute.policy.move import Mark
from sealroute.ports import HistoryChange
from sealroute.services.alert import Alerts, Told
from sealroute.services.ids import IdSource
from sealroute.settings import Settings, parse
from sealroute.store import alerts as store_alerts
from sealroute.store.store import Store, open_store
from tests.store_making import NOW, rows, url_in
from tests.unit.test_move import MOVE

GONE = Drift(organization="default", domain="contoso.com", at=NOW, kind=DriftKind.DANE_LOST, detail="no TLSA",
             known_since=NOW - timedelta(days=2), last_seen=NOW - timedelta(hours=1))  # fmt: skip
BOTH = AlertRules((Channel.MAIL, Channel.WEBHOOK))

# ------------------------------------------------------------------------------------------------------------ the rules


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (500, 60)]
)
def test_back_off(attempts: int, minutes: int) -> None:
    assert wait_after(attempts) == timedelta(minutes=minutes)


def test_tries_last_a_day_and_little_more() -> None:
    waits = [wait_after(attempts) for attempts in range(1, LAST_TRY)]
    assert timedelta(hours=24) <= sum(waits, timedelta()) < timedelta(hours=25)


BERLIN = ZoneInfo("Europe/Berlin")
NIGHT, NOON = QuietHours(time(22), time(7), BERLIN), QuietHours(time(12), time(13, 30), BERLIN)
QUIET = [
    (NIGHT, "20:59", False), (NIGHT, "21:00", True), (NIGHT, "23:30", True), (NIGHT, "05:59", True), (NIGHT, "06:00", False),
    (NOON, "10:59", False), (NOON, "11:00", True), (NOON, "12:29", True), (NOON, "12:30", False),
    (QuietHours(time(12), time(12), BERLIN), "11:00", True), (QuietHours(time(12), time(12), BERLIN), "10:59", True),
]  # fmt: skip


@pytest.mark.parametrize(("hours", "utc", "quiet"), QUIET)
def test_quiet_hours_follow_the_zone(hours: QuietHours, utc: str, quiet: bool) -> None:
    assert hours.hold(datetime.fromisoformat(f"2026-11-22T{utc}:00+00:00")) is quiet
    summer = datetime.fromisoformat(f"2026-07-01T{utc}:00+00:00") - timedelta(hours=1)
    assert hours.hold(summer) is quiet


def test_what_is_said_of_a_change() -> None:
    assert body_of_drift(GONE, "7") == {
        "id": "7", "kind": "dane-lost", "weaker": True, "organization": "default", "domain": "contoso.com",
        "at": "2026-11-22T12:00:00Z",
        "text": "contoso.com: no TLSA (seen from 2026-11-20T12:00:00Z to 2026-11-22T11:00:00Z)",
        "knownSince": "2026-11-20T12:00:00Z", "lastSeen": "2026-11-22T11:00:00Z",
    }  # fmt: skip
    back = body_of_drift(replace(GONE, kind=DriftKind.DANE_GAINED, known_since=None, last_seen=None), "8")
    assert (back["weaker"], back["knownSince"], back["lastSeen"]) == (False, None, None)


def test_the_signature_covers_moment_and_body() -> None:
    assert (
        signature(b"secret", NOW, b"{}")
        == "t=1795348800,v1=" + hmac.new(b"secret", b"1795348800.{}", hashlib.sha256).hexdigest()
    )
    others = [(b"Secret", NOW, b"{}"), (b"secret", NOW + timedelta(seconds=1), b"{}"), (b"secret", NOW, b"{ }")]
    digests = {signature(*other).partition(",")[2] for other in [(b"secret", NOW, b"{}"), *others]}
    assert len(digests) == 4


def test_the_mail() -> None:
    body = body_of_drift(replace(GONE, detail="no TLSA für \r\nBcc: x@y.example"), "7")
    content = mail_of(body, ("postmaster@gw.example", "team@contoso.net"), "1@gw.example", NOW)
    assert content.isascii()
    assert b"\n" not in content.replace(b"\r\n", b"")
    read = email.message_from_bytes(content, policy=email.policy.default)
    headers = {name: read[name] for name in ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Bcc")}
    assert headers == {
        "From": "postmaster@gw.example", "To": "team@contoso.net", "Subject": "Sealroute: dane-lost at contoso.com",
        "Date": "Sun, 22 Nov 2026 12:00:00 +0000", "Message-ID": "<1@gw.example>", "Auto-Submitted": "auto-generated", "Bcc": None,
    }  # fmt: skip
    text = read.get_content()
    assert "no TLSA für" in text
    assert "When: 2026-11-22T12:00:00Z\nOrganization: default\n\nThis notice" in text.replace("\r\n", "\n")
    assert "    sealroute drift list --domain contoso.com\n    sealroute readiness contoso.com\n" in text.replace("\r\n", "\n")


def test_the_mail_of_a_roll_back() -> None:
    domains = ("contoso.com", "contoso.net")
    ended = Mark(NOW + timedelta(hours=2), "sealroute", "10 messages held.")
    move = replace(MOVE, before=replace(MOVE.before, recipient_domains=domains), ended=ended)
    body = body_of_roll_back(move, ended, "7")
    assert body == {
        "id": "7", "kind": "move-rolled-back", "weaker": True, "organization": "default", "domain": "contoso.com",
        "at": "2026-11-22T14:00:00Z",
        "text": "Connector 'To Fabrikam' for contoso.com, contoso.net was rolled back to its fixed smart hosts. 10 messages held.",
        "knownSince": "2026-11-22T12:00:00Z", "lastSeen": None, "connector": "To Fabrikam",
    }  # fmt: skip
    content = mail_of(body, ("postmaster@gw.example", "team@contoso.net"), "1@gw.example", NOW)
    text = email.message_from_bytes(content, policy=email.policy.default).get_content().replace("\r\n", "\n")
    assert "Organization: default\n\nWhat waited for it is being tried again." in text
    assert text.endswith("\n    sealroute migrate status 'To Fabrikam'\n    sealroute analyze contoso.com\n")
    assert "Nothing is held" not in text


def test_the_mail_of_a_test_and_to_an_address_beyond_ascii() -> None:
    body = body_of_test("default", NOW, "7")
    assert (body["kind"], body["weaker"], body["at"], body["id"]) == ("test", False, "2026-11-22T12:00:00Z", "7")
    content = mail_of(body, ("postmaster@gw.example", "jürgen@contoso.net"), "1@gw.example", NOW)
    assert "To: jürgen@contoso.net\r\nSubject: Sealroute: test\r\n".encode() in content
    assert b"readiness" not in content


# --------------------------------------------------------------------------------------------------- settings and errors


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ('quiet_hours = "22-7"', "write it as 22:00-07:00"),
        ('quiet_hours = "07:00-07:00"', "is not a span of a day"),
        ('quiet_hours = "24:00-07:00"', "is not a span of a day"),
        ('time_zone = "Mars/Olympus"', "is not a time zone"),
        ('time_zone = "../etc/passwd"', "is not a time zone"),
        ('webhook_url = "http://a.example/"', "is not an HTTPS address"),
        ('webhook_url = "https://u:p@a.example/"', "is not an HTTPS address"),
        ('webhook_url = "https://a.example/x"', "needs webhook_secret_file"),
        ('mail_to = "nobody"', "mail_to"),
    ],
)
def test_settings_that_cannot_be(lines: str, wrong: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse(f"[alerts]\n{lines}\n")
    assert wrong in str(caught.value)


def test_settings_that_can_be() -> None:
    assert parse("").alerts.quiet is None
    found = parse('[alerts]\nquiet_hours = "22:00-07:30"\ntime_zone = "Europe/Berlin"\n').alerts
    assert found.quiet == QuietHours(time(22), time(7, 30), BERLIN)


# ------------------------------------------------------------------------------------------------ the store and sending


@dataclass
class Hook:
    """A webhook that answers as told."""

    answers: list[str] = field(default_factory=list)
    got: list[tuple[str, bytes]] = field(default_factory=list)

    async def __call__(self, identity: str, body: bytes, at: datetime) -> str:
        self.got.append((identity, body))
        return self.answers.pop(0) if self.answers else ""


@dataclass
class FakeClock:
    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        raise NotImplementedError


def known(domain: str = "contoso.com", state: DaneState = DaneState.ALL) -> Remembered:
    return Remembered(organization="default", domain=domain, dane=state, dane_first=NOW)


async def tell(store: Store, *events: Drift, rules: AlertRules = BOTH) -> None:
    """Write events as a gateway does, each for a destination not remembered yet."""
    store.history.alerts = rules
    for event in events:
        key = (event.organization, event.domain)
        before = (await store.history.known([key])).get(key)
        await store.history.record([HistoryChange(before, known(event.domain), (event,))])


def alerts(store: Store, clock: FakeClock, **told: Any) -> Alerts:
    return Alerts(store.alerts, Told("gw.example", "postmaster@gw.example", **told), clock, IdSource())


def states(store: Store) -> list[tuple[str, str, str, int]]:
    found = store.admin.alerts.all("default", 100)
    return sorted((item.domain, item.channel.value, item.state.value, item.attempts) for item in found)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    opened = open_store(url_in(tmp_path))
    yield opened
    await opened.close()


async def test_both_ways_once(store: Store, tmp_path: Path) -> None:
    hook, clock = Hook(), FakeClock()
    sender = alerts(store, clock, mail_to="team@contoso.net", post=hook)
    await tell(store, GONE)
    await sender.send_due()
    await sender.send_due()
    assert states(store) == [("contoso.com", "mail", "sent", 1), ("contoso.com", "webhook", "sent", 1)]
    ((identity, body),) = hook.got
    assert json.loads(body) == body_of_drift(GONE, identity)
    assert rows(tmp_path, "SELECT sender, origin, subject FROM message") == [
        ("", "notification", "Sealroute: dane-lost contoso.com")
    ]
    assert rows(tmp_path, "SELECT domain, state FROM recipient_group") == [("contoso.net", "queued")]


async def test_a_way_that_is_not_configured_any_more_is_left_alone(store: Store) -> None:
    await tell(store, GONE)
    await alerts(store, FakeClock(), mail_to="team@contoso.net").send_due()
    assert states(store) == [("contoso.com", "mail", "sent", 1), ("contoso.com", "webhook", "waiting", 0)]


async def test_the_webhook_is_tried_again_until_it_takes_it(store: Store) -> None:
    hook, clock = Hook(["HTTP 500", "HTTP 500"]), FakeClock()
    sender = alerts(store, clock, post=hook)
    await tell(store, GONE, rules=AlertRules((Channel.WEBHOOK,)))
    for minute, tries in ((0, 1), (0.5, 1), (1, 2), (2.9, 2), (3, 3), (500, 3)):
        clock.moment = NOW + timedelta(minutes=minute)
        await sender.send_due()
        assert len(hook.got) == tries, minute
    assert states(store) == [("contoso.com", "webhook", "sent", 3)]
    assert len({identity for identity, _ in hook.got}) == 1


async def test_it_is_given_up_after_a_day_of_tries(store: Store) -> None:
    hook, clock = Hook(["refused"] * 100), FakeClock()
    sender = alerts(store, clock, post=hook)
    await tell(store, GONE, rules=AlertRules((Channel.WEBHOOK,)))
    for _ in range(LAST_TRY + 3):
        await sender.send_due()
        clock.moment += timedelta(hours=1)
    assert len(hook.got) == LAST_TRY
    (item,) = store.admin.alerts.all("default", 10)
    assert (item.state, item.last_error) == (AlertState.GIVEN_UP, "refused")


async def test_a_restart_neither_loses_nor_doubles(tmp_path: Path) -> None:
    clock, hook = FakeClock(), Hook(["HTTP 500"])
    first = open_store(url_in(tmp_path))
    await tell(first, GONE)
    await alerts(first, clock, mail_to="team@contoso.net", post=hook).send_due()
    await first.close()
    clock.moment += timedelta(minutes=1)
    second = open_store(url_in(tmp_path))
    await alerts(second, clock, mail_to="team@contoso.net", post=hook).send_due()
    assert [len(hook.got), rows(tmp_path, "SELECT count(*) FROM message")] == [2, [1]]
    assert states(second) == [("contoso.com", "mail", "sent", 1), ("contoso.com", "webhook", "sent", 2)]
    await second.close()


async def test_of_two_nodes_one_sends(tmp_path: Path) -> None:
    nodes = [open_store(url_in(tmp_path)) for _ in range(2)]
    await tell(nodes[0], GONE)
    due = [await node.alerts.due(NOW, list(Channel), 10, tests_only=False) for node in nodes]
    assert due[0] == due[1]
    until = NOW + timedelta(minutes=1)
    assert [await node.alerts.take(due[0][0], until) for node in nodes] == [True, False]
    for node in nodes:
        await node.close()


async def test_a_mail_that_another_node_queued_is_not_queued_again(store: Store, tmp_path: Path) -> None:
    await tell(store, GONE, rules=AlertRules((Channel.MAIL,)))
    (item,) = await store.alerts.due(NOW, [Channel.MAIL], 10, tests_only=False)
    await store.alerts.note(item.id, AlertState.SENT, "")
    sender = alerts(store, FakeClock(), mail_to="team@contoso.net")
    with pytest.raises(StoreUnavailable):
        await sender._mail(item, NOW)
    assert rows(tmp_path, "SELECT count(*) FROM message") == [0]


async def test_quiet_hours_delay_and_do_not_drop(store: Store) -> None:
    hook = Hook()
    clock = FakeClock(datetime(2026, 11, 22, 22, 30, tzinfo=UTC))
    sender = alerts(store, clock, post=hook, quiet=QuietHours(time(22), time(7), UTC))
    await tell(store, replace(GONE, at=clock.moment), rules=AlertRules((Channel.WEBHOOK,)))
    await sender.send_due()
    assert hook.got == []
    store.admin.alerts.add_test("default", [Channel.WEBHOOK], clock.moment)
    await sender.send_due()
    assert [json.loads(body)["kind"] for _, body in hook.got] == ["test"]
    clock.moment = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
    await sender.send_due()
    assert [json.loads(body)["kind"] for _, body in hook.got] == ["test", "dane-lost"]


async def test_the_same_again_is_told_only_after_a_while(store: Store) -> None:
    rules = AlertRules((Channel.WEBHOOK,), timedelta(hours=6))
    again = [replace(GONE, at=NOW + timedelta(hours=hours)) for hours in (0, 1, 5.9, 6, 7)]
    await tell(store, *again, replace(GONE, kind=DriftKind.STS_LOST), replace(GONE, domain="fabrikam.com"), rules=rules)
    found = sorted((item.domain, item.kind, item.created_at) for item in store.admin.alerts.all("default", 100))
    assert found == [
        ("contoso.com", "dane-lost", NOW), ("contoso.com", "dane-lost", NOW + timedelta(hours=6)),
        ("contoso.com", "sts-lost", NOW), ("fabrikam.com", "dane-lost", NOW),
    ]  # fmt: skip
    assert len(store.admin.drift.events("default")) == 7


async def test_what_waits_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_alerts, "MAX_WAITING", 2)
    await tell(store, *(replace(GONE, domain=f"d{number}.test") for number in range(4)), rules=AlertRules((Channel.MAIL,)))
    assert [item[0] for item in states(store)] == ["d0.test", "d1.test"]


async def test_old_ones_are_removed(store: Store) -> None:
    await tell(store, replace(GONE, at=NOW - timedelta(days=91)), replace(GONE, domain="fabrikam.com"), rules=BOTH)
    assert store.admin.alerts.purge(NOW - timedelta(days=90)) == 2
    assert [item[0] for item in states(store)] == ["fabrikam.com", "fabrikam.com"]


async def test_nobody_is_told_when_nobody_is_configured(store: Store) -> None:
    sender = alerts(store, FakeClock())
    await tell(store, GONE, rules=AlertRules())
    await asyncio.wait_for(sender.work(), 5)
    assert states(store) == []


# ----------------------------------------------------------------------------------------------------- the command line


def command(folder: Path, capsys: pytest.CaptureFixture[str], toml: str, words: Sequence[str]) -> tuple[int, str, str]:
    settings: Settings = parse(toml)
    admin = open_store(url_in(folder)).admin
    code = run(["alerts", *words], lambda asked: Context(preset_settings=settings, preset_store=admin, moment=NOW))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_test_and_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, capsys, "", ["list"])[1] == "Nothing was told yet.\n"
    code, _, wrong = command(tmp_path, capsys, "", ["test"])
    assert (code, "nobody is configured to be told" in wrong) == (2, True)
    assert command(tmp_path, capsys, '[alerts]\nmail_to = "team@contoso.net"\n', ["test"])[:2] == (
        0,
        "Handed to the gateway, by mail. `sealroute alerts list` shows what became of it.\n",
    )

    async def fail() -> None:
        store = open_store(url_in(tmp_path))
        await tell(store, GONE, rules=AlertRules((Channel.WEBHOOK,)))
        await alerts(store, FakeClock(), mail_to="team@contoso.net", post=Hook(["it said\x1b no"])).send_due()
        await store.close()

    asyncio.run(fail())
    capsys.readouterr()  # the log
    shown = sorted(command(tmp_path, capsys, "", ["list"])[1].splitlines())
    assert shown == [
        "2026-11-22 12:00:00Z  mail     test  -  sent",
        "2026-11-22 12:00:00Z  webhook  dane-lost  contoso.com  waiting after 1 try  it said\\x1b no",
    ]
    found = {item["channel"]: item for item in json.loads(command(tmp_path, capsys, "", ["list", "--json"])[1])}
    assert (found["webhook"]["dueAt"], found["webhook"]["lastError"]) == ("2026-11-22T12:01:00Z", "it said\x1b no")
    assert (found["mail"]["dueAt"], found["mail"]["state"]) == (None, "sent")
