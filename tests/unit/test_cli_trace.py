"""`sealroute trace`, Get-MessageTraceV2 and Get-MessageTraceDetailV2, and the reason string."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sealroute.base.errors import OperatorError
from sealroute.base.status import Enhanced
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.record import finding_record
from sealroute.ports import TraceQuery
from sealroute.services.trace import (
    Asked,
    attempt_reason,
    attempt_text,
    finding_of,
    parse_date,
    query_of,
    reason_string,
)
from tests.unit.cli_world import DELIVERED, MISMATCH, NOW, WAITING, FakeStore, FakeTraces, mismatch_attempt, world

Capture = pytest.CaptureFixture[str]
LED = "450 4.7.323 tlsa-invalid: The domain failed DANE validation: none of 2 TLSA records matches the certificate of mx1.fabrikam.com"


@pytest.fixture
def context() -> Context:
    return world(hostname="gw.contoso.com")


def told(context: Context, capsys: Capture, *argv: str, code: int = 0) -> tuple[str, str]:
    store = context.preset_store
    assert run(list(argv), lambda _asked: context) == code
    context.preset_store = store
    out, err = capsys.readouterr()
    return out, err


def asked(context: Context) -> TraceQuery:
    assert isinstance(context.preset_store, FakeStore)
    return context.preset_store.traces.asked[-1]


# ------------------------------------------------------------------------------------------------------------- reasons


@pytest.mark.parametrize(
    ("host", "ip", "expected"),
    [
        (
            "mx.x",
            "192.0.2.4",
            "Reason: [{LED=450 4.4.317 text [LastAttemptedServerName=mx.x] [LastAttemptedIP=192.0.2.4:25]};{MSG=};{FQDN=mx.x};"
            "{IP=192.0.2.4};{LRT=2026-11-22T12:00:00Z}]",
        ),
        (
            "mx.x",
            "2001:db8::4",
            "Reason: [{LED=450 4.4.317 text [LastAttemptedServerName=mx.x] [LastAttemptedIP=[2001:db8::4]:25]};{MSG=};{FQDN=mx.x};"
            "{IP=2001:db8::4};{LRT=2026-11-22T12:00:00Z}]",
        ),
        ("", "", "Reason: [{LED=450 4.4.317 text};{MSG=};{FQDN=};{IP=};{LRT=2026-11-22T12:00:00Z}]"),
    ],
)
def test_the_reason_string_is_exchanges(host: str, ip: str, expected: str) -> None:
    assert reason_string("450 4.4.317 text", host=host, ip=ip, port=25, at=NOW) == expected


def test_an_attempts_reason_string() -> None:
    assert attempt_reason(mismatch_attempt()) == (
        f"Reason: [{{LED={LED} [LastAttemptedServerName=mx1.fabrikam.com] [LastAttemptedIP=192.0.2.4:25]}};{{MSG=}};"
        "{FQDN=mx1.fabrikam.com};{IP=192.0.2.4};{LRT=2026-11-22T11:20:00Z}]"
    )
    assert attempt_reason({"at": "2026-11-22T11:20:00Z"}) == ""


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (MISMATCH, LED),
        (Finding(Reason.NULL_MX), "556 5.1.10 Recipient domain does not accept mail (null MX)"),
        (
            Finding(Reason.REJECTED, "no such user", code=Enhanced(5, 1, 1), basic=550),
            "550 5.1.1 The destination mail server rejected the message: no such user",
        ),
        (
            Finding(Reason.TRY_LATER, "greylisted", code=Enhanced(4, 7, 1), basic=451),
            "451 4.7.1 The destination mail server asked to try again later: greylisted",
        ),
    ],
)
def test_a_recorded_finding_reads_as_it_did(finding: Finding, text: str) -> None:
    stored: Mapping[str, Any] = finding_record(finding)
    assert finding_of(stored) == finding
    assert attempt_text({"finding": stored}) == text


def test_a_reason_that_is_no_longer_known_is_still_shown() -> None:
    assert attempt_text({"finding": {"reason": "gone", "code": "4.9.9", "sentence": "What it said."}}) == "4.9.9 What it said."


# ------------------------------------------------------------------------------------------------------------- queries


def days(count: float) -> datetime:
    return NOW - timedelta(days=count)


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        (Asked(), days(2), NOW),
        (Asked(start=days(9)), days(9), NOW),
        (Asked(end=days(5)), days(7), days(5)),
        (Asked(start=days(90), end=days(80)), days(90), days(80)),
    ],
)
def test_the_span_of_a_query(given: Asked, start: datetime, end: datetime) -> None:
    query = query_of(given, NOW)
    assert (query.start, query.end, query.limit, query.subject_filter) == (start, end, 1000, "Contains")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Asked(start=days(1), end=days(2)), "StartDate: 2026-11-21T12:00:00Z is after EndDate 2026-11-20T12:00:00Z."),
        (Asked(start=days(91), end=days(89)), "StartDate: 2026-08-23T12:00:00Z is too long ago. The trace goes back 90 days."),
        (Asked(start=days(10.5)), "StartDate, EndDate: the span is 10 days long. One query covers at most 10 days"),
        (Asked(starting_recipient="a@b"), "StartingRecipientAddress: it continues an earlier query. Give EndDate too"),
        (Asked(subject_filter="Contains"), "SubjectFilterType: there is no Subject for it to apply to."),
        (Asked(subject="x", subject_filter="Like"), "SubjectFilterType: 'Like' is not one of them. Allowed: Contains, "),
        (Asked(statuses=("Lost",)), "Status: 'Lost' is not one of them. Allowed: GettingStatus, Pending, "),
        (Asked(limit=0), "ResultSize: 0 is out of bounds. Give 1 to 5000."),
        (Asked(limit=5001), "ResultSize: 5001 is out of bounds."),
    ],
)
def test_what_a_query_refuses(given: Asked, message: str) -> None:
    with pytest.raises(OperatorError) as caught:
        query_of(given, NOW)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", (2026, 1, 31, 12, 0)),
        ("2026-01-31T12:00:00+02:00", (2026, 1, 31, 10, 0)),
        ("2026-01-31", (2026, 1, 31, 0, 0)),
        ("2026-01-31 12:30", (2026, 1, 31, 12, 30)),
        ("1/31/2026", (2026, 1, 31, 0, 0)),
        ("01/31/2026 13:05:00", (2026, 1, 31, 13, 5)),
        ("1/31/2026 1:05 PM", (2026, 1, 31, 13, 5)),
    ],
)
def test_dates(text: str, expected: tuple[int, int, int, int, int]) -> None:
    assert parse_date("-StartDate", text) == datetime(*expected, tzinfo=UTC)


def test_what_is_no_date() -> None:
    with pytest.raises(OperatorError, match="-EndDate: 'yesterday' is not a date"):
        parse_date("-EndDate", "yesterday")


# -------------------------------------------------------------------------------------------------------- sealroute trace


def test_trace_lists_messages(context: Context, capsys: Capture) -> None:
    out, _ = told(context, capsys, "trace")
    assert [line.rstrip() for line in out.splitlines()] == [
        "RECEIVED              STATUS         MESSAGE TRACE ID",
        f"2026-11-22 11:00:00Z  Delivered      {DELIVERED}",
        "  alice@contoso.com → carol@example.com",
        "  Quarterly figures",
        f"2026-11-22 06:48:00Z  Pending        {WAITING}",
        "  alice@contoso.com → bob@fabrikam.com",
        "  Quarterly figures",
        f"2026-11-22 06:48:00Z  Pending        {WAITING}",
        "  alice@contoso.com → eve@fabrikam.com",
        "  Quarterly figures",
        "3 rows; `sealroute trace ID` tells a message's story.",
    ]


def test_trace_filters(context: Context, capsys: Capture) -> None:
    options = ["--sender", "*@contoso.com", "--recipient", "bob@fabrikam.com", "--status", "pending", "--since", "30d"]
    told(context, capsys, "trace", *options, "--until", "2026-11-22", "--subject", "figures", "--limit", "7", "--json")
    assert asked(context) == TraceQuery(
        days(30), datetime(2026, 11, 22, tzinfo=UTC), ("*@contoso.com",), ("bob@fabrikam.com",), statuses=("Pending",),
        subject="figures", limit=7,
    )  # fmt: skip


def test_a_messages_story(context: Context, capsys: Capture) -> None:
    out, _ = told(context, capsys, "trace", WAITING)
    for part in (
        "Received    2026-11-22 06:48:00Z, 12.3 KiB",
        "RECEIVE  Received from mail.contoso.com [192.0.2.200]",
        "bob@fabrikam.com  Pending  through Fabrikam",
        f"2026-11-22 06:48:01Z  DEFER  {LED}",
        "Attempt 3  2026-11-22 11:20:00Z  mx1.fabrikam.com [192.0.2.4]:25",
        "Connector  Fabrikam (SmtpDaneMode Opportunistic, MtaStsMode Opportunistic)",
        "Decided by  dane-usable, sts-enforce",
        "MX fabrikam.com  secure  10 mx1.fabrikam.com, 20 mx2.fabrikam.com",
        "AAAA mx1.fabrikam.com  bogus  could not be found out: signature has expired",
        "3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "Policy enforce, id 20261101, cached, until 2026-11-27T12:00:00Z",
        "TLSv1.3  TLS_AES_256_GCM_SHA384",
        "leaf 9f91161f43433e49a6de6db680d79f60159f2e4ac9172621a12846428158440b",
        "DANE  does not hold  no record matches",
        "MTA-STS  holds  *.fabrikam.com",
        "Would satisfy SmtpDaneMode Mandatory  no",
        "Would satisfy MtaStsMode Mandatory  yes",
        "EHLO gateway.contoso.com → 250 mx1.fabrikam.com STARTTLS SIZE 1000000",
        "Took  DNS and policy 12 ms, connect 8 ms, TLS 21 ms",
    ):
        assert part in out
    assert out.count("Attempt 3") == 1, "an attempt for two recipients is told once"


def test_earlier_runs_take_a_line_each_unless_asked_for(
    context: Context, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = [mismatch_attempt(number) for number in (1, 2, 2, 3)]
    monkeypatch.setattr(FakeTraces, "attempts", lambda *_: attempts)
    out, _ = told(context, capsys, "trace", WAITING)
    assert f"Attempt 1  2026-11-22 11:20:00Z  mx1.fabrikam.com [192.0.2.4]:25  {LED}" in out
    assert "  … the same 2 more times, up to attempt 2\n" in out
    assert (out.count("Attempt "), out.count("Decided by")) == (2, 1)
    out, _ = told(context, capsys, "trace", WAITING, "--full")
    assert (out.count("Attempt "), out.count("Decided by")) == (4, 4)


def test_no_line_is_padded(context: Context, capsys: Capture) -> None:
    """A pipe has no width, so nothing may be filled up to it."""
    for argv in (["trace"], ["trace", WAITING], ["queue", "list"], ["queue", "show", WAITING]):
        out, _ = told(context, capsys, *argv)
        assert max(map(len, out.splitlines())) < 250


def test_a_story_in_json_has_everything(context: Context, capsys: Capture) -> None:
    out, _ = told(context, capsys, "trace", WAITING, "--recipient", "bob@fabrikam.com", "--json")
    story = json.loads(out)
    assert [row["recipient"] for row in story["recipients"]] == ["bob@fabrikam.com"]
    assert [event["event"] for event in story["events"]] == ["RECEIVE", "DEFER"]
    assert story["attempts"] == [mismatch_attempt()]


def test_an_unknown_message(context: Context, capsys: Capture) -> None:
    _, err = told(context, capsys, "trace", "nope", code=2)
    assert err == "sealroute: nope: no message in the trace has this id. `sealroute trace` lists messages.\n"


# -------------------------------------------------------------------------------------------------------------- cmdlets


def test_get_message_trace_defaults_and_columns(context: Context, capsys: Capture) -> None:
    out, err = told(context, capsys, "get-messagetracev2")
    assert out.splitlines()[0].split() == ["Received", "SenderAddress", "RecipientAddress", "Subject", "Status"]
    assert err == ""
    assert asked(context) == TraceQuery(days(2), NOW)


def test_get_message_trace_takes_every_filter(context: Context, capsys: Capture) -> None:
    told(
        context, capsys, "Get-MessageTraceV2", "-StartDate", "11/20/2026", "-EndDate", "2026-11-21", "-SenderAddress",
        "a@contoso.com,", "b@contoso.com", "-RecipientAddress", "*@fabrikam.com", "-MessageId", "<1@contoso.com>",
        "-MessageTraceId", WAITING, "-FromIP", "192.0.2.1", "-ToIP", "192.0.2.2", "-Status", "failed,pending",
        "-Subject", "fig", "-SubjectFilterType", "startswith", "-StartingRecipientAddress", "a@fabrikam.com", "-ResultSize", "5",
    )  # fmt: skip
    assert asked(context) == TraceQuery(
        datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC), ("a@contoso.com", "b@contoso.com"),
        ("*@fabrikam.com",), ("<1@contoso.com>",), WAITING, "192.0.2.1", "192.0.2.2", ("Failed", "Pending"), "fig",
        "StartsWith", "a@fabrikam.com", 5,
    )  # fmt: skip


def test_a_full_page_says_how_to_go_on(context: Context, capsys: Capture) -> None:
    out, err = told(context, capsys, "Get-MessageTraceV2", "-ResultSize", "2", "-Json")
    assert [row["RecipientAddress"] for row in json.loads(out)] == ["carol@example.com", "bob@fabrikam.com"]
    assert err == (
        "WARNING: There may be more results. For the next ones repeat the command with "
        '-EndDate "2026-11-22T06:48:00Z" -StartingRecipientAddress "bob@fabrikam.com".\n'
    )


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["Get-MessageTraceV2", "-ResultSize", "many"], "-ResultSize: 'many' is not a whole number. Give 1 to 5000."),
        (["Get-MessageTraceV2", "-StartDate", "2026-01-01"], "StartDate: 2026-01-01T00:00:00Z is too long ago."),
        (["Get-MessageTraceDetailV2", WAITING], "-RecipientAddress: it is required."),
        (["Get-MessageTraceDetailV2", "nope", "x@y.example"], "-MessageTraceId, -RecipientAddress: no such message"),
        (["Get-MessageTraceDetailV2", WAITING, "bob@fabrikam.com", "-Event", "lost"], "-Event: 'lost' is not an event."),
    ],
)
def test_cmdlets_refuse_unusable_input(context: Context, capsys: Capture, argv: list[str], err: str) -> None:
    out, said = told(context, capsys, *argv, code=2)
    assert out == ""
    assert said.startswith(f"{argv[0]}: {err}")


def test_get_message_trace_detail(context: Context, capsys: Capture) -> None:
    out, _ = told(context, capsys, "Get-MessageTraceDetailV2", WAITING, "bob@fabrikam.com", "-Json")
    events = json.loads(out)
    assert [event["Event"] for event in events] == ["RECEIVE", "DEFER"]
    assert events[1]["Detail"] == (
        f"Reason: [{{LED={LED} [LastAttemptedServerName=mx1.fabrikam.com] [LastAttemptedIP=192.0.2.4:25]}};{{MSG=}};"
        "{FQDN=mx1.fabrikam.com};{IP=192.0.2.4};{LRT=2026-11-22T06:48:01Z}]"
    )
    out, _ = told(context, capsys, "Get-MessageTraceDetailV2", WAITING, "bob@fabrikam.com", "-Event", "receive", "-Json")
    assert [event["Event"] for event in json.loads(out)] == ["RECEIVE"]
    out, _ = told(context, capsys, "Get-MessageTraceDetailV2", WAITING, "bob@fabrikam.com", "-StartDate", "2026-11-23", "-Json")
    assert json.loads(out) == []
