"""Attempts and evidence as plain JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from sealroute.base.dnsdata import Mx, Outcome, Tlsa
from sealroute.base.status import Enhanced, Reply
from sealroute.policy.attempt import Attempt, Fate, RecipientFate, Timings
from sealroute.policy.decide import decide
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding, Reason, TlsRptResult
from sealroute.policy.record import attempt_record, evidence_record, finding_record, plain
from sealroute.policy.requirement import CheckResult, HandshakeFacts, Protection, Verdict
from tests.unit import evidence_factory as make

FACTS = HandshakeFacts(make.NOW, True, Reply(220, ("Go",)), tls_version="TLSv1.3", cipher="AES", chain=(b"leaf",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("x", "x"),
        ((1, "a"), [1, "a"]),
        ([b"\xab"], ["ab"]),
        (Outcome.NODATA, "nodata"),
        (make.NOW, "2026-11-22T12:00:00Z"),
        (timedelta(minutes=1), 60.0),
        ({1: Enhanced(4, 7, 1)}, {"1": "4.7.1"}),
        (Tlsa(3, 1, 1, b"\x01"), "3 1 1 01"),
        (Mx(10, "mx.contoso.com"), "10 mx.contoso.com"),
        (Mx(0, ""), "0 ."),
        (Reply(250, ("OK",)), "250 OK"),
        (Timings(connect_ms=1.0), {"connect_ms": 1.0}),
        (RecipientFate("a@b", Fate.DELIVERED), {"address": "a@b", "fate": "delivered", "dsn_passed_on": True}),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected


def test_what_has_no_plain_form() -> None:
    for value in (object(), Timings, {1}):
        with pytest.raises(TypeError, match="has no plain form"):
            plain(value)


def test_a_finding_with_its_sentence_and_side() -> None:
    finding = Finding(Reason.TRY_LATER, "450 4.2.0 Grey", "mx.contoso.com", "contoso.com", "192.0.2.1", Enhanced(4, 2, 0), 450)
    assert finding_record(finding) == {
        "reason": "try-later",
        "code": "4.2.0",
        "sentence": "The destination mail server asked to try again later: 450 4.2.0 Grey",
        "detail": "450 4.2.0 Grey",
        "host": "mx.contoso.com",
        "domain": "contoso.com",
        "ip": "192.0.2.1",
        "side": "the recipient's mail administrator",
        "basic": 450,
        "peer_code": "4.2.0",
    }
    assert finding_record(Finding(Reason.NULL_MX)) == {
        "reason": "null-mx",
        "code": "5.1.10",
        "sentence": "Recipient domain does not accept mail (null MX)",
        "side": "the sender",
    }


def test_handshakes_name_certificates_by_fingerprint() -> None:
    record = plain(FACTS)
    assert record["chain_sha256"] == [sha256(b"leaf").hexdigest()]
    assert record["starttls_reply"] == "220 Go"
    assert "handshake_error" not in record
    assert plain(HandshakeFacts(make.NOW, handshake_error="no cipher")) == {
        "at": "2026-11-22T12:00:00Z",
        "starttls_offered": False,
        "handshake_error": "no cipher",
    }


def an_attempt(**changes: Any) -> Attempt:
    plan = decide(make.connector(), make.evidence())
    fields: dict[str, Any] = {
        "at": make.NOW, "number": 2, "connector_guid": "g", "connector_name": "Contoso", "domain": "contoso.com",
        "smtp_dane_mode": SmtpDaneMode.MANDATORY, "mta_sts_mode": MtaStsMode.NONE, "rows": ("mx-found", "dane-usable"),
        "finding": None, "host": make.HOST, "ip": "192.0.2.1", "evidence": plan.evidence,
        "requirement": plan.hosts[0].requirement, "facts": FACTS, "replies": (("EHLO", Reply(250)),),
        "verdict": Verdict(None, Protection.DANE, dane=CheckResult(True, matched="3 1 1"), would_satisfy_dane=True),
    }  # fmt: skip
    return Attempt(**{**fields, **changes})


def test_an_attempt_without_its_evidence() -> None:
    record = attempt_record(an_attempt())
    assert json.loads(json.dumps(record)) == record
    assert "evidence" not in record
    assert (record["smtp_dane_mode"], record["rows"], record["replies"]) == (
        "Mandatory", ["mx-found", "dane-usable"], [["EHLO", "250"]],
    )  # fmt: skip
    assert record["verdict"]["would_satisfy_dane"] is True
    assert not {"finding", "recipients", "reported", "tls_report"} & record.keys()


def test_an_attempts_tls_report_joins_what_was_found_before_and_in_the_handshake() -> None:
    failed = CheckResult(False, TlsRptResult.VALIDATION_FAILURE, "no match")
    verdict = Verdict(Finding(Reason.TLSA_INVALID), Protection.TLS, dane=failed, sts=failed)
    attempt = an_attempt(verdict=verdict, reported=(TlsRptResult.STS_POLICY_FETCH_ERROR,))
    assert attempt_record(attempt)["tls_report"] == ["sts-policy-fetch-error", "validation-failure"]
    assert an_attempt(verdict=None).tls_report == ()


def test_equal_evidence_has_one_digest() -> None:
    digest, text = evidence_record(make.evidence())
    assert evidence_record(make.evidence()) == (digest, text)
    assert evidence_record(replace(make.evidence(), ttl_seconds=1))[0] != digest
    record = json.loads(text)
    assert record["hops"][0]["hosts"][0]["tlsa"][0]["answer"]["security"] == "secure"
    assert record["hops"][0]["mx"]["records"] == ["10 mx.contoso.com"]
