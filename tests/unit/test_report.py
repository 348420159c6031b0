"""Reports: what they count, what they read from the store, and how they look."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.faces.cli.report import write_csv
from sealroute.policy.attempt import Fate
from sealroute.policy.reasons import Finding, Reason
from sealroute.ports import GroupState, Told, TraceEvent, Waits
from sealroute.services.report import (
    DANE,
    REQUIRETLS,
    SECURITY_TYPES,
    STS,
    TLS,
    Blocked,
    connectors,
    queued,
    security,
    versions,
)
from sealroute.store import reports
from sealroute.store.store import open_store
from tests.store_making import accept, run_of, url_in
from tests.unit.cli_world import MISMATCH, NOW, FakeStore, world

Capture = pytest.CaptureFixture[str]


def attempt(domain: str = "a.example", protection: str = "dane", delivered: int = 1, **changes: Any) -> dict[str, Any]:
    """A delivery over TLS 1.3 that DANE authenticated, but for the changes."""
    plain: dict[str, Any] = {
        "at": "2026-11-22T11:00:00Z",
        "domain": domain,
        "connector_name": "Partner",
        "host": f"mx.{domain}",
        "facts": {"starttls_offered": True, "tls_version": "TLSv1.3"},
        "verdict": {"protection": protection},
        "recipients": [{"address": f"{n}@{domain}", "fate": "delivered"} for n in range(delivered)],
    }
    return plain | changes


def deferred(finding: Finding, recipient: str = "bob@a.example", event: str = "DEFER") -> TraceEvent:
    text = finding.queued() if event == "DEFER" else finding.returned()
    return TraceEvent("m", NOW, event, recipient, text, {"reason": finding.reason.value})


def told(*attempts: dict[str, Any], events: tuple[TraceEvent, ...] = (), size: int = 100) -> Told:
    return Told("m", size, events, attempts)


# ------------------------------------------------------------------------------------------------------ transit security


def test_every_security_reason_has_a_type() -> None:
    security_reasons = {reason for reason in Reason if reason.facts.security}
    assert set(SECURITY_TYPES) == security_reasons - {Reason.STARTTLS_NOT_SUPPORTED}


def test_a_message_tried_often_and_returned_is_blocked_once() -> None:
    held = (deferred(MISMATCH), deferred(MISMATCH, "eve@a.example"), deferred(MISMATCH), deferred(MISMATCH, event="FAIL"))
    story = told(*(attempt(delivered=0, finding={"reason": "tlsa-invalid"}) for _ in range(4)), events=held)
    report = security([story, story])
    assert report.blocked == [Blocked("a.example", DANE, f"4.7.323 {MISMATCH.sentence()}", 2)]
    assert (report.sent, report.without_tls) == ([], [])


def test_what_is_no_matter_of_security_is_not_blocked() -> None:
    refused = deferred(Finding(Reason.CONNECT_REFUSED))
    removed = TraceEvent("m", NOW, "FAIL", "bob@a.example", "Removed from the queue by root, without an NDR.")
    assert security([told(events=(refused, removed))]).blocked == []


@pytest.mark.parametrize(
    ("requirement", "kind"),
    [
        ({"dane": {"enforced": True}, "sts": {"enforced": True}}, DANE),
        ({"dane": {"enforced": False}, "sts": {"enforced": True}}, STS),
        ({"authenticated": True}, REQUIRETLS),
        ({}, TLS),
    ],
)
def test_missing_starttls_belongs_to_what_demanded_it(requirement: dict[str, Any], kind: str) -> None:
    finding = Finding(Reason.STARTTLS_NOT_SUPPORTED)
    tried = attempt(delivered=0, facts={}, finding={"reason": finding.reason.value}, requirement=requirement)
    assert [row.security_type for row in security([told(tried, events=(deferred(finding),))]).blocked] == [kind]


def test_sent_by_day_and_protection() -> None:
    later = attempt("b.example", "mta-sts", at="2026-11-23T00:00:00Z")
    report = security([told(attempt(delivered=3), attempt("b.example", "tls")), told(attempt(), later)])
    assert report.sent == [
        ("2026-11-22", {"dane": 2, "mta-sts": 0, "tls": 1, "plain": 0}),
        ("2026-11-23", {"dane": 0, "mta-sts": 1, "tls": 0, "plain": 0}),
    ]


def test_domains_without_tls() -> None:
    broken = attempt(delivered=0, facts={"starttls_offered": True, "handshake_error": "wrong version number"})
    plain = attempt(facts={"starttls_offered": True}, verdict={"protection": "plain"})
    refused = attempt("b.example", delivered=0, facts={"starttls_offered": False})
    rows = security([told(broken, plain), told(refused), told(attempt("c.example"))]).without_tls
    assert [(row.domain, row.sent, row.not_sent, row.host, row.why) for row in rows] == [
        ("a.example", 1, 0, "mx.a.example", "wrong version number"),
        ("b.example", 0, 1, "mx.b.example", "STARTTLS is not offered"),
    ]


def test_only_one_connector() -> None:
    other = attempt("b.example", connector_name="Other")
    story = told(attempt(), other, events=(deferred(MISMATCH), deferred(MISMATCH, "x@b.example")))
    report = security([story], "partner")
    assert report.sent[0][1]["dane"] == 1
    assert [row.domain for row in report.blocked] == ["a.example"]


# ------------------------------------------------------------------------------------------------ connectors, waiting mail


def test_volume_by_connector() -> None:
    old = attempt("b.example", "plain", facts={}, delivered=2)
    held = told(attempt(delivered=0), events=(deferred(MISMATCH),))
    stories = [told(attempt(), old, size=1000), held, told(attempt("c.example", connector_name="Other"))]
    rows = connectors(stories)
    assert [(row.connector, row.messages, row.recipients, row.size_bytes, dict(row.tls), row.blocked) for row in rows] == [
        ("Partner", 2, 3, 2000, {"TLSv1.3": 1, "": 1}, 1),
        ("Other", 1, 1, 100, {"TLSv1.3": 1}, 0),
    ]
    assert list(versions(rows)) == ["TLSv1.3", ""]
    assert [(row.connector, row.domain) for row in connectors(stories, "other", by_domain=True)] == [("Other", "c.example")]


def test_waiting_mail_shows_why_the_oldest_waits() -> None:
    hour = timedelta(hours=1)
    groups = [
        Waits("a.example", GroupState.QUEUED, NOW - hour, None),
        Waits("a.example", GroupState.SUSPENDED, NOW - 3 * hour, MISMATCH),
        Waits("b.example", GroupState.ACTIVE, NOW, None),
    ]
    rows = [(row.domain, row.count, row.suspended, row.oldest, row.finding) for row in queued(groups)]
    assert rows == [("a.example", 2, 1, NOW - 3 * hour, MISMATCH), ("b.example", 1, 0, NOW, None)]


# ------------------------------------------------------------------------------------------------------------- the store


def test_the_store_is_read_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "SLICE", 2)
    monkeypatch.setattr(reports, "GROUPS", 2)

    async def fill() -> None:
        store = open_store(url_in(tmp_path))
        for number in range(5):
            at = NOW + timedelta(minutes=number // 2)  # some are received at the same moment
            _, group = await accept(store, "bob@contoso.com", id=f"m{number}", received_at=at)
            await store.queue.settle(run_of(group, bob=Fate.DEFERRED))
        await store.close()

    asyncio.run(fill())
    admin = open_store(url_in(tmp_path)).admin
    minute = timedelta(minutes=1)
    try:
        found = list(admin.reports.told(NOW, NOW + minute * 2))
        assert [told.message_id for told in found] == ["m0", "m1", "m2", "m3", "m4"]
        assert [told.attempts[0]["domain"] for told in found] == ["contoso.com"] * 5
        assert [told.message_id for told in admin.reports.told(NOW + minute, NOW + minute, "*.com")] == ["m2", "m3"]
        assert list(admin.reports.told(NOW, NOW + minute * 2, "contoso.net")) == []
        assert len(list(admin.reports.waiting(NOW + minute, "contoso.com"))) == 5
        assert list(admin.reports.waiting(NOW)) == []
    finally:
        admin.close()


# ------------------------------------------------------------------------------------------------------------ the screens


@pytest.fixture
def context() -> Context:
    return world(hostname="gw.contoso.com")


def say(context: Context, capsys: Capture, *argv: str, code: int = 0) -> str:
    store = context.preset_store
    assert run(list(argv), lambda _asked: context) == code
    context.preset_store = store
    out, err = capsys.readouterr()
    return err if code == 2 else out


def test_the_security_screen(context: Context, capsys: Capture) -> None:
    assert say(context, capsys, "report", "security").splitlines() == [
        "Messages received from 2026-11-15 12:00:00Z to 2026-11-22 12:00:00Z.",
        "",
        "Messages blocked",
        "  COUNT  SECURITY TYPE     RECIPIENT DOMAIN",
        "      1  DANE with DNSSEC  fabrikam.com",
        f"         4.7.323 {MISMATCH.sentence()}",
        "",
        "Messages sent",
        "Date        DANE with DNSSEC  MTA-STS  TLS  No TLS",
        "2026-11-22  0                 0        0    1",
        "",
        "Recipient domains not supporting TLS",
        "RecipientDomain  Sent  NotSent  Last                  Host            Why",
        "example.com      1     0        2026-11-22 11:00:00Z  mx.example.com  STARTTLS is not offered",
    ]


def test_options_reach_the_store(context: Context, capsys: Capture) -> None:
    say(context, capsys, "report", "security", "--domain", "Fabrikam.COM", "--start", "2026-11-01", "--end", "1d", "--json")
    store = context.preset_store
    assert isinstance(store, FakeStore)
    assert store.reports.asked == [(NOW - timedelta(days=21.5), NOW - timedelta(days=1), "fabrikam.com")]


def test_csv(context: Context, capsys: Capture) -> None:
    out = say(context, capsys, "report", "security", "--section", "blocked", "--csv")
    assert list(csv.DictReader(io.StringIO(out))) == [
        {"RecipientDomain": "fabrikam.com", "SecurityType": DANE, "Count": "1", "Error": f"4.7.323 {MISMATCH.sentence()}"}
    ]
    write_csv([{"Connector": "=1+1", "Messages": -1}])
    assert capsys.readouterr().out == "Connector,Messages\n'=1+1,-1\n"


def test_waiting_mail_and_its_alert(context: Context, capsys: Capture) -> None:
    quiet = say(context, capsys, "report", "queued")
    assert quiet.splitlines()[1].split() == ["1", "1", "2026-11-21", "06:00:00Z", "example.net"]
    assert quiet.splitlines()[-1] == "2 messages queued before 2026-11-22 11:00:00Z."
    assert say(context, capsys, "report", "queued", "--alert-at", "2", code=1).splitlines()[-1] == "ALERT: 2 are at least 2."
    loud = json.loads(say(context, capsys, "report", "queued", "--older-than", "6h", "--alert-at", "1", "--json", code=1))
    assert (loud["total"], loud["alert"], loud["domains"][0]["RecipientDomain"]) == (1, True, "example.net")


def test_connectors_and_the_cmdlet(context: Context, capsys: Capture) -> None:
    out = say(context, capsys, "report", "connectors")
    assert [line.split() for line in out.splitlines()[2:]] == [
        ["Connector", "Messages", "Recipients", "Bytes", "No", "TLS", "Blocked"],
        ["Default", "1", "1", "12600", "1", "0"],
        ["Fabrikam", "0", "0", "0", "0", "1"],
    ]
    rows = json.loads(say(context, capsys, "Get-OutboundConnectorReport", "-Domain", "example.com", "-Json"))
    assert [(row["Connector"], row["Domain"], row["No TLS"]) for row in rows] == [
        ("Default", "example.com", 1),
        ("Fabrikam", "fabrikam.com", 0),
    ]


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["report", "security", "--csv"], "sealroute: --csv: the sections have different columns."),
        (["report", "connectors", "--csv", "--json"], "sealroute: --csv, --json: these cannot be combined."),
        (["report", "connectors", "--start", "1d", "--end", "2d"], "sealroute: --start, --end: the period ends before it"),
        (["Get-OutboundConnectorReport", "-EndDate", "2026-01-01", "-StartDate", "2026-01-02"], "Get-OutboundConnectorReport: -StartDate"),
    ],
)  # fmt: skip
def test_what_is_refused(context: Context, capsys: Capture, argv: list[str], err: str) -> None:
    assert say(context, capsys, *argv, code=2).startswith(err)
