"""Metrics read attempts; /metrics and /healthz show them; the log is one line per event."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog

from sealroute import logs
from sealroute.faces.http.health import Part, create_app
from sealroute.policy.attempt import Attempt, Fate, RecipientFate, Timings
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts, Protection, Verdict
from sealroute.ports import GroupState, Reach, Settled
from sealroute.services.metrics import LaneState, Metrics, QueueState, Sources, reference_markdown
from tests.unit.cli_world import MISMATCH, NOW, FakeQueue

ROOT = Path(__file__).parents[2]


def attempt(fate: RecipientFate, **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "at": NOW,
        "number": 1,
        "connector_guid": "g",
        "connector_name": "n",
        "smtp_dane_mode": SmtpDaneMode.OPPORTUNISTIC,
        "mta_sts_mode": MtaStsMode.OPPORTUNISTIC,
        "domain": "fabrikam.com",
        "rows": (),
        "finding": fate.finding,
        "host": "mx1.fabrikam.com",
        "ip": "192.0.2.4",
        "facts": HandshakeFacts(NOW, True, None, "", "TLSv1.3", "x"),
        "verdict": Verdict(fate.finding, Protection.DANE, would_satisfy_dane=fate.finding is None, would_satisfy_sts=False),
        "recipients": (fate,),
        "timings": Timings(1.0, 2.0, 3.0, 4.0),
    }
    return Attempt(**(values | changes))


def settled(*attempts: Attempt, fates: Sequence[RecipientFate] = ()) -> Settled:
    return Settled(FakeQueue().items[0].group, tuple(fates) or attempts[0].recipients, attempts, (), None)


def sent() -> RecipientFate:
    return RecipientFate("bob@fabrikam.com", Fate.DELIVERED)


def held(finding: Finding = MISMATCH) -> RecipientFate:
    return RecipientFate("bob@fabrikam.com", Fate.DEFERRED, finding=finding)


def counted(metrics: Metrics, prefix: str) -> set[str]:
    """The lines of the metric that are not zero, without its name."""
    lines = (line for line in metrics.render().decode().splitlines() if line.startswith(f"sealroute_{prefix}"))
    return {line.removeprefix(f"sealroute_{prefix}") for line in lines if not line.endswith(" 0.0")}


@pytest.mark.parametrize(
    ("run", "prefix", "lines"),
    [
        (settled(attempt(sent())), "recipients", {'_total{fate="delivered",protection="dane",reason="none"} 1.0'}),
        (settled(attempt(held())), "recipients", {'_total{fate="deferred",protection="none",reason="tlsa-invalid"} 1.0'}),
        (
            settled(attempt(held(), recipients=(), host=""), fates=(held(),)),
            "recipients",
            {'_total{fate="deferred",protection="none",reason="tlsa-invalid"} 1.0'},
        ),
        (settled(attempt(sent())), "attempts_total", {'{reason="none"} 1.0'}),
        (settled(attempt(held(), host="", facts=None)), "attempts_before_dial", {'_total{reason="tlsa-invalid"} 1.0'}),
        (settled(attempt(sent())), "attempts_before_dial", set()),
        (settled(attempt(sent())), "tls_handshakes", {'_total{result="done",version="TLSv1.3"} 1.0'}),
        (
            settled(attempt(held(), facts=HandshakeFacts(NOW, True, None, "alert", "", ""))),
            "tls_handshakes",
            {'_total{result="failed",version="none"} 1.0'},
        ),
        (settled(attempt(sent(), facts=HandshakeFacts(NOW))), "tls_handshakes", set()),
        (settled(attempt(sent(), reused_connection=True)), "tls_handshakes", set()),
        (settled(attempt(sent(), reused_connection=True)), "outbound_sessions", {'_total{reused="true"} 1.0'}),
        (
            settled(attempt(sent())),
            "mandatory_shadow",
            {'_total{mode="dane",satisfied="true"} 1.0', '_total{mode="mta-sts",satisfied="false"} 1.0'},
        ),
        (settled(attempt(sent(), verdict=None)), "mandatory_shadow", set()),
    ],
)
def test_what_a_run_counts(run: Settled, prefix: str, lines: set[str]) -> None:
    metrics = Metrics()
    metrics.observe(run)
    assert counted(metrics, prefix) == lines


def test_times_are_seconds() -> None:
    metrics = Metrics()
    metrics.observe(settled(attempt(sent())))
    lines = counted(metrics, "attempt_seconds_sum")
    assert lines == {'{part="resolve"} 0.001', '{part="connect"} 0.002', '{part="tls"} 0.003', '{part="transaction"} 0.004'}


def test_sources_are_read_when_asked_for_and_absent_ones_show_nothing() -> None:
    counts = SimpleNamespace(
        connections=5, connections_open=2, connections_refused=0, messages_accepted=3, messages_refused=1, handshakes=0,
        handshakes_failed=0, logins=0, logins_failed=4, held_bytes=0,
    )  # fmt: skip
    metrics = Metrics(
        Sources(
            inbound=lambda: counts,
            queue=lambda: QueueState({GroupState.QUEUED: 7}, 3600.0),
            resolver_can_validate=lambda: False,
            lanes=lambda: LaneState({Reach.REACHED: 3, Reach.UNREACHED: 2}, 7, 4),
        )
    )
    shown = metrics.render().decode()
    for line in (
        "sealroute_messages_accepted_total 3.0",
        "sealroute_logins_failed_total 4.0",
        "sealroute_inbound_connections_open 2.0",
        'sealroute_queue_groups{state="queued"} 7.0',
        'sealroute_destinations{reach="unreached"} 2.0',
        'sealroute_destinations{reach="unknown"} 0.0',
        "sealroute_window_halvings_total 7.0",
        "sealroute_rate_limited_lanes 4.0",
        'sealroute_queue_groups{state="suspended"} 0.0',
        "sealroute_queue_oldest_age_seconds 3600.0",
        "sealroute_resolver_can_validate 0.0",
    ):
        assert line in shown.splitlines()
    assert "mta_sts_cached_policies" not in shown
    counts.messages_accepted = 4
    assert "sealroute_messages_accepted_total 4.0" in metrics.render().decode().splitlines()


def test_the_reference_of_metrics_is_up_to_date() -> None:
    assert (ROOT / "docs/reference/metrics.md").read_text() == reference_markdown()


# ----------------------------------------------------------------------------------------------------------------- HTTP


async def get(path: str, parts: Sequence[Part] | Exception) -> httpx.Response:
    async def health() -> Sequence[Part]:
        if isinstance(parts, Exception):
            raise parts
        return parts

    metrics = Metrics(Sources(writer=lambda: SimpleNamespace(commits=2, changes=9)))
    transport = httpx.ASGITransport(app=create_app(metrics, health))
    async with httpx.AsyncClient(transport=transport, base_url="http://gw.test") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("parts", "code", "status"),
    [
        ([Part("store", True), Part("resolver", True, "validates")], 200, "ok"),
        ([Part("store", True), Part("resolver", False, "cannot tell valid DNSSEC from invalid")], 503, "failing"),
        ([], 200, "ok"),
        (RuntimeError("boom"), 503, "failing"),
    ],
)
async def test_healthz(parts: Sequence[Part] | Exception, code: int, status: str) -> None:
    answer = await get("/healthz", parts)
    assert (answer.status_code, answer.json()["status"]) == (code, status)
    if isinstance(parts, Exception):
        assert answer.json()["parts"]["health"]["detail"] == "the check itself failed: RuntimeError: boom"


async def test_metrics_over_http() -> None:
    answer = await get("/metrics", [])
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert {"sealroute_store_commits_total 2.0", "sealroute_store_changes_total 9.0"} <= set(answer.text.splitlines())


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json"])
async def test_nothing_else_is_served(path: str) -> None:
    assert (await get(path, [])).status_code == 404


# ----------------------------------------------------------------------------------------------------------------- logs


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def logged(style: str, level: str = "info") -> list[str]:
    out = io.StringIO()
    logs.configure(level, style, out)
    structlog.get_logger("sealroute.test").info("accepted", sender="a\nFORGED b", count=3)
    structlog.get_logger("sealroute.test").debug("detail")
    logging.getLogger("uvicorn.access").info("GET /metrics")
    logging.getLogger("uvicorn.error").warning("hello %s", "you")
    password = "".join(("sec", "ret"))
    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger("sealroute.test").exception("broke")
    return out.getvalue().splitlines()


@pytest.mark.usefixtures("restored")
def test_json_logs_are_one_object_per_line() -> None:
    lines = [json.loads(line) for line in logged("json")]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("accepted", "info"),
        ("hello you", "warning"),
        ("broke", "error"),
    ]
    assert lines[0]["sender"] == "a\nFORGED b"
    assert lines[0]["logger"] == "sealroute.test"
    assert lines[0]["timestamp"].endswith("Z")
    assert "ValueError" in lines[2]["exception"]


@pytest.mark.usefixtures("restored")
def test_console_logs_can_neither_be_forged_nor_show_variables() -> None:
    lines = logged("console", "debug")
    assert "sender='a␊FORGED b'" in lines[0]
    assert not any(line.startswith("FORGED") for line in lines)
    assert not any("secret" in line for line in lines)
    assert any("detail" in line for line in lines)


@pytest.mark.usefixtures("restored")
async def test_in_a_running_gateway_lines_wait_a_moment_for_each_other_but_never_behind_a_warning() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    log = structlog.get_logger("sealroute.test")
    log.info("one")
    assert out.getvalue() == ""
    log.info("two")
    await asyncio.sleep(logs.FLUSH_SECONDS * 2)
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["one", "two"]
    log.info("three")
    log.warning("four")
    logging.getLogger("uvicorn.error").error("five")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()[2:]] == ["three", "four", "five"]
    log.info("six")
    logs.flush()
    assert "six" in out.getvalue()
