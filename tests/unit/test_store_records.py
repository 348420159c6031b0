"""Values to rows and back: nothing is lost on the way, and the quick form of an attempt equals the plain one."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta

import pytest

from sealroute.base.dnsdata import Tlsa
from sealroute.base.status import Enhanced, Reply
from sealroute.policy.attempt import Attempt, Fate, RecipientFate, Timings
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding, Reason, TlsRptResult
from sealroute.policy.record import attempt_record
from sealroute.policy.requirement import CheckResult, DaneCheck, HandshakeFacts, Protection, Requirement, Verdict
from sealroute.policy.transport.apply import RuleEffect
from sealroute.store.records import AttemptTexts, Remembered, finding_of, finding_text
from tests.store_making import EVIDENCE, LATER, NOW, OK

TLSA = Tlsa(3, 1, 1, b"\x01" * 32)
BARE = Attempt(NOW, 1, "", "", SmtpDaneMode.NONE, MtaStsMode.NONE, "contoso.com", (), None)
FULL = Attempt(
    at=NOW + timedelta(microseconds=5),
    number=3,
    connector_guid="00000000-0000-0000-0000-000000000001",
    connector_name="Contoso — Bank",
    smtp_dane_mode=SmtpDaneMode.MANDATORY,
    mta_sts_mode=MtaStsMode.OPPORTUNISTIC,
    domain="contoso.com",
    rows=("dane-usable", "sts-enforce"),
    finding=LATER,
    host="mx.contoso.com",
    ip="2001:db8::25",
    port=2525,
    evidence=EVIDENCE,
    requirement=Requirement(
        "mx.contoso.com", ("dane-usable",), True, dane=DaneCheck("mx.contoso.com", (TLSA,), ("contoso.com",))
    ),
    facts=HandshakeFacts(NOW, True, OK, "", "TLSv1.3", "TLS_AES_256_GCM_SHA384", (b"leaf", b"issuer")),
    verdict=Verdict(
        LATER, Protection.TLS, CheckResult(False, TlsRptResult.VALIDATION_FAILURE, "no match"), would_satisfy_dane=False
    ),
    reused_connection=True,
    replies=(("MAIL FROM:<anna@fabrikam.com>", OK), ("RCPT", Reply(451, ("later", "please"), Enhanced(4, 7, 1)))),
    recipients=(
        RecipientFate("bob@contoso.com", Fate.DEFERRED, Reply(451), LATER, False),
        RecipientFate("jürgen@contoso.com", Fate.DELIVERED),
    ),
    timings=Timings(1.5, 2.5, None, 4.0),
    reported=(TlsRptResult.TLSA_INVALID,),
    exception="x1f0c9a27",
    transport_rules=(
        RuleEffect("0000000a", "Secret", 3, ("SmtpDaneMode Opportunistic -> Mandatory",), "it is encrypted", True),
    ),
)


@pytest.mark.parametrize("attempt", [BARE, FULL, replace(FULL, facts=None), replace(FULL, recipients=FULL.recipients[1:])])
def test_an_attempts_text_equals_its_record(attempt: Attempt) -> None:
    texts = AttemptTexts()
    for _ in range(2):
        assert json.loads(texts.text(attempt)) == json.loads(json.dumps(attempt_record(attempt)))


def test_every_field_of_an_attempt_and_a_fate_is_in_the_full_example() -> None:
    """So that a field added later is compared above."""
    assert all(getattr(FULL, item.name) for item in fields(Attempt))
    assert all(getattr(FULL.recipients[0], item.name) or item.name == "dsn_passed_on" for item in fields(RecipientFate))


@pytest.mark.parametrize("reason", Reason)
def test_a_finding_comes_back(reason: Reason) -> None:
    full = Finding(reason, "jürgen \udcff\0", "mx.contoso.com", "contoso.com", "192.0.2.1", Enhanced(5, 7, 26), 550)
    for finding in (full, Finding(reason), Finding(reason, basic=421)):
        text = finding_text(finding)
        assert text is not None
        assert text.isascii()
        assert finding_of(text) == finding


def test_no_finding_and_one_of_another_version() -> None:
    assert finding_text(None) is None
    assert finding_of(None) is None
    assert finding_of('{"reason":"unheard-of","detail":"x"}') is None


def test_what_is_remembered_is_bounded_and_goes_by_identity() -> None:
    remembered: Remembered[str] = Remembered(2)
    values = [(number, number) for number in range(3)]
    for value in values:
        remembered.put(value, str(value[0]))
    assert [remembered.get(value) for value in values] == [None, "1", "2"]
    assert remembered.get((1, 1)) is None
