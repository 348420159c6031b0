"""Timed exceptions: what may be one, what one does, and above all what it leaves as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.exceptions import MAX_REASON_CHARACTERS, MAX_SPAN, ExceptedConnector, TimedException, apply, problems
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.services import exempt
from sealroute.services.plan import _key
from sealroute.settings import Settings
from sealroute.store.store import Store, open_store

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MUST, OPP, REPORT = SmtpDaneMode.MANDATORY, SmtpDaneMode.OPPORTUNISTIC, SmtpDaneMode.REPORT_ONLY
GUID = "00000000-0000-4000-8000-000000000001"
BANK = Connector(guid=GUID, name="Banks", recipient_domains=("contoso.com", "fabrikam.com"), smtp_dane_mode=MUST)
GOOD = TimedException(
    id="x00000001", organization="default", connector_guid=GUID, connector_name="Banks", domain="contoso.com",
    smtp_dane_mode=OPP, created_at=NOW, until=NOW + timedelta(days=3), reason="certificate renewal", author="anna",
)  # fmt: skip

# --------------------------------------------------------------------------------------------------------- what it does


def test_it_changes_the_modes_and_nothing_else() -> None:
    excepted = apply(BANK, replace(GOOD, mta_sts_mode=MtaStsMode.MANDATORY), "contoso.com", NOW)
    assert isinstance(excepted, ExceptedConnector)
    assert excepted.exception_id == "x00000001"
    different = {item.name for item in fields(Connector) if getattr(excepted, item.name) != getattr(BANK, item.name)}
    assert different == {"smtp_dane_mode", "mta_sts_mode"}
    assert (excepted.smtp_dane_mode, excepted.mta_sts_mode) == (OPP, MtaStsMode.MANDATORY)


def test_a_mode_that_is_not_named_stays() -> None:
    only_sts = replace(GOOD, smtp_dane_mode=None, mta_sts_mode=MtaStsMode.NONE)
    excepted = apply(BANK, only_sts, "contoso.com", NOW)
    assert (excepted.smtp_dane_mode, excepted.mta_sts_mode) == (MUST, MtaStsMode.NONE)


@pytest.mark.parametrize(
    ("connector", "domain", "now"),
    [
        (BANK, "fabrikam.com", NOW),
        (BANK, "mail.contoso.com", NOW),
        (BANK, "com", NOW),
        (replace(BANK, guid="other"), "contoso.com", NOW),
        (replace(BANK, organization="fabrikam"), "contoso.com", NOW),
        (BANK, "contoso.com", GOOD.until),
    ],
)
def test_it_changes_nothing_for_anybody_else_nor_after_its_date(connector: Connector, domain: str, now: datetime) -> None:
    assert apply(connector, GOOD, domain, now) is connector
    assert connector.exception_id == ""


def test_one_that_was_ended_changes_nothing() -> None:
    assert apply(BANK, replace(GOOD, ended_at=NOW, ended_by="bert"), "contoso.com", NOW) is BANK


def test_plans_are_not_shared_with_the_connector_itself() -> None:
    excepted = apply(BANK, GOOD, "contoso.com", NOW)
    other = apply(BANK, replace(GOOD, id="x00000002"), "contoso.com", NOW)
    assert len({_key(item, "contoso.com", Wishes()) for item in (BANK, excepted, other)}) == 3


@pytest.mark.parametrize(
    ("exception", "now", "state"),
    [
        (GOOD, NOW, "in force"),
        (GOOD, GOOD.until, "ended by its date"),
        (replace(GOOD, ended_at=NOW, ended_by="bert"), NOW, "ended by bert"),
    ],
)
def test_its_state_in_words(exception: TimedException, now: datetime, state: str) -> None:
    assert exception.state(now) == state


# ------------------------------------------------------------------------------------------------------- what may be one

SMART = replace(BANK, use_mx_record=False, smart_hosts=("192.0.2.1",), smtp_dane_mode=OPP)


@pytest.mark.parametrize(
    ("connector", "changes", "wrong"),
    [
        (BANK, {}, ""),
        (BANK, {"until": NOW + MAX_SPAN}, ""),
        (BANK, {"until": NOW}, "until: 2026-11-22T12:00:00Z is not in the future."),
        (BANK, {"until": NOW + MAX_SPAN + timedelta(seconds=1)}, "until: 2026-12-22T12:00:01Z is more than 30 days away."),
        (BANK, {"reason": " "}, "reason: it is empty."),
        (BANK, {"reason": "x" * 501}, "reason: it is not one line of at most 500 printable characters."),
        (BANK, {"reason": "two\nlines"}, "reason: it is not one line of at most 500 printable characters."),
        (BANK, {"smtp_dane_mode": None}, "exception: it changes nothing."),
        (BANK, {"smtp_dane_mode": MUST}, "SmtpDaneMode: Mandatory is what connector 'Banks' has already."),
        (BANK, {"mta_sts_mode": MtaStsMode.OPPORTUNISTIC}, "MtaStsMode: Opportunistic is what connector 'Banks' has already."),
        (SMART, {"smtp_dane_mode": MUST}, "SmtpDaneMode: Mandatory can never hold for"),
    ],
)
def test_what_is_refused(connector: Connector, changes: Mapping[str, Any], wrong: str) -> None:
    found = problems(connector, replace(GOOD, **changes))
    assert (str(found[0])[: len(wrong)] if found else "") == wrong


def test_an_exception_may_last_and_say_as_much_as_allowed_and_no_more() -> None:
    longest = replace(GOOD, until=GOOD.created_at + MAX_SPAN, reason="x" * MAX_REASON_CHARACTERS)
    assert problems(BANK, longest) == ()
    longer = replace(longest, until=longest.until + timedelta(microseconds=1), reason=longest.reason + "x")
    assert [problem.where for problem in problems(BANK, longer)] == ["until", "reason"]


# ------------------------------------------------------------------------------------------- service and store, with audit


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(f"sqlite:///{tmp_path / 'exceptions.db'}")
    opened.admin.connectors.add(BANK, "setup")
    opened.admin.connectors.add(Connector(guid=GUID[:-1] + "2", name="Rest", recipient_domains=("*.com",)), "setup")
    return opened


def asked(**changes: Any) -> exempt.Asked:
    given: dict[str, Any] = {
        "connector": "banks", "domain": "Contoso.COM", "until": NOW + timedelta(days=3), "reason": " renewal ",
        "smtp_dane_mode": OPP,
    }  # fmt: skip
    return exempt.Asked(**{**given, **changes})


def around(store: Store) -> exempt.Surroundings:
    return exempt.Surroundings(store.admin.connectors, default_connector())


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"connector": "Bnaks"}, "Identity: there is no connector 'Bnaks'. Did you mean 'Banks'?"),
        ({"domain": "*.contoso.com"}, "domain: '*.contoso.com' has a wildcard, and an exception is for one recipient domain."),
        ({"domain": "contoso..com"}, "domain: 'contoso..com' has an empty label."),
        ({"domain": "northwind.com"}, "connector: mail to northwind.com does not go through connector 'Banks': wildcard *.com. "
         "Name 'Rest', the one it goes through."),
        ({"connector": "(default)"}, "connector: mail to contoso.com does not go through connector '(default)': exact recipient"),
    ],
)  # fmt: skip
def test_what_the_service_refuses(store: Store, changes: Mapping[str, Any], wrong: str) -> None:
    with pytest.raises(OperatorError) as refused:
        exempt.plan(asked(**changes), around(store), "anna", NOW)
    assert any(str(problem).startswith(wrong) for problem in refused.value.problems), refused.value


def test_the_default_connector_may_have_one_too(store: Store) -> None:
    made = exempt.plan(asked(connector="(Default)", domain="example.org", smtp_dane_mode=REPORT), around(store), "anna", NOW)
    assert made.connector_guid == default_connector().guid
    assert apply(default_connector(), made, "example.org", NOW).smtp_dane_mode is REPORT


async def test_its_life_in_the_store(store: Store) -> None:
    exceptions, live = store.admin.exceptions, store.connectors
    now = datetime.now(UTC)
    made = exempt.plan(asked(until=now + timedelta(days=3)), around(store), "anna", now)
    await live.refresh()
    assert dict(live.exceptions("default")) == {}
    exceptions.add(made)
    assert await live.refresh(), "a running gateway must notice"
    assert dict(live.exceptions("default")) == {(GUID, "contoso.com"): made}
    assert dict(live.exceptions("fabrikam")) == {}
    with pytest.raises(OperatorError, match=rf"the exception {made.id} is in force for it until"):
        exceptions.add(replace(made, id="x00000002"))
    exceptions.add(replace(made, id="x00000003", domain="fabrikam.com"))
    with pytest.raises(OperatorError, match="the id x00000003 is taken"):
        exceptions.add(replace(made, id="x00000003", domain="northwind.com"))
    assert exceptions.end("default", made.id, "bert", now) == made
    assert await live.refresh()
    assert [key[1] for key in live.exceptions("default")] == ["fabrikam.com"]
    assert {item.domain: item.state(now) for item in exceptions.all("default")} == {
        "contoso.com": "ended by bert", "fabrikam.com": "in force",
    }  # fmt: skip
    with pytest.raises(OperatorError, match=rf"{made.id}: it has ended by bert already"):
        exceptions.end("default", made.id, "bert", now)
    with pytest.raises(OperatorError, match="x99: there is no such exception"):
        exceptions.end("default", "x99", "bert", now)
    assert [(change.actor, change.action) for change in store.admin.connectors.changes("default", 3)] == [
        ("bert", "EndException"), ("anna", "NewException"), ("anna", "NewException"),
    ]  # fmt: skip
    await store.close()


async def test_an_expired_one_is_not_loaded_and_makes_room_for_another(store: Store) -> None:
    old = replace(GOOD, created_at=NOW - timedelta(days=2), until=NOW - timedelta(days=1), id="x00000009")
    store.admin.exceptions.add(old)
    store.admin.exceptions.add(GOOD)
    assert [item.id for item in store.admin.exceptions.all("default")] == ["x00000001", "x00000009"]
    with pytest.raises(OperatorError, match="x00000009: it has ended by its date already, at 2026-11-21T12:00:00Z"):
        store.admin.exceptions.end("default", "x00000009", "bert", NOW)
    await store.close()


async def test_a_removed_connector_takes_its_exceptions_with_it(store: Store) -> None:
    now = datetime.now(UTC)
    store.admin.exceptions.add(replace(GOOD, created_at=now, until=now + timedelta(hours=1)))
    store.admin.connectors.remove("default", GUID, "carl")
    (ended,) = store.admin.exceptions.all("default")
    assert ended.ended_by == "carl"
    assert [change.action for change in store.admin.connectors.changes("default", 2)] == ["Remove", "EndException"]
    await store.close()


# ------------------------------------------------------------------------------------------------------- the command line


class Cli:
    """Commands on one store, at NOW."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._url = f"sqlite:///{folder / 'exceptions.db'}"
        self.now = NOW

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        settings = Settings()
        store = open_store(self._url).admin
        code = run(list(arguments), lambda asked: Context(asked, settings, store, self.now))
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


ADD = ("exception", "add", "--connector", "Banks", "--domain", "contoso.com", "--reason", "certificate renewal")


def test_commands(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(tmp_path, capsys)
    assert cli("exception", "list") == (0, "No exception is in force.\n", "")
    assert cli("exception", "list", "--all") == (0, "There has been no exception.\n", "")
    code, out, _ = cli(*ADD, "--smtp-dane-mode", "opportunistic", "--until", "3d")
    made = out.split()[1].rstrip(":")
    assert (code, out) == (
        0,
        f"Exception {made}: contoso.com in connector Banks has SmtpDaneMode Opportunistic until 2026-11-25 12:00:00Z (in 3d).\n",
    )
    match = cli.json("connector", "match", "user@contoso.com")
    assert (match["connector"], match["smtpDaneMode"], match["exception"]) == ("Banks", "Opportunistic", made)
    assert cli.json("connector", "match", "user@fabrikam.com")["smtpDaneMode"] == "Mandatory"
    assert cli.json("exception", "list")[0]["reason"] == "certificate renewal"
    assert "contoso.com in connector Banks: SmtpDaneMode Opportunistic, until" in cli("exception", "list")[1]
    history = cli("connector", "history", "Banks")[1]
    assert f"Exception: $null -> {made}" in history
    assert "SmtpDaneMode: $null -> Opportunistic" in history
    assert cli("exception", "end", made)[:2] == (
        0, f"Exception {made} has ended: contoso.com has the connector's own modes again.\n",
    )  # fmt: skip
    assert cli.json("connector", "match", "user@contoso.com")["exception"] is None
    assert "EndException" in cli("connector", "history", "Banks")[1]
    record = cli.json(*ADD, "--mta-sts-mode", "report-only", "--until", "2026-11-23T00:00:00Z")
    assert (record["mtaStsMode"], record["smtpDaneMode"], record["until"]) == ("ReportOnly", None, "2026-11-23T00:00:00Z")
    cli.now = NOW + timedelta(days=1)
    assert cli.json("exception", "list") == []
    states = [item["state"] for item in cli.json("exception", "list", "--all")]
    assert sorted(states) == sorted(["ended by " + record["author"], "ended by its date"])
    assert "ended by its date" in cli("exception", "list", "--all")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--smtp-dane-mode", "lax", "--until", "3d"), "--smtp-dane-mode: 'lax' is not one of them."),
        (("--smtp-dane-mode", "none", "--until", "soon"), "--until: 'soon' is neither a moment nor a span of time."),
        (("--smtp-dane-mode", "none", "--until", "31d"), "until: 2026-12-23T12:00:00Z is more than 30 days away."),
        (("--until", "3d"), "exception: it changes nothing."),
    ],
)
def test_commands_refuse(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = Cli(tmp_path, capsys)(*ADD, *arguments)
    assert code == 2
    assert said in err
