"""The catalogue of reasons: codes and sentences as an administrator meets them."""

from __future__ import annotations

import re

import pytest

from sealroute.base.status import Enhanced
from sealroute.policy.reasons import CATALOGUE, Finding, Reason, Side, _facts

DETAIL = Finding(Reason.TLSA_INVALID, "no record matches", "mx.contoso.com", "contoso.com")


@pytest.mark.parametrize(
    ("finding", "queued", "returned"),
    [
        (
            DETAIL,
            "450 4.7.323 tlsa-invalid: The domain failed DANE validation: no record matches",
            "550 5.7.323 tlsa-invalid: The domain failed DANE validation: no record matches",
        ),
        (
            Finding(Reason.STARTTLS_NOT_SUPPORTED),
            "450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail.",
            "550 5.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail.",
        ),
        (
            Finding(Reason.STS_MX_MISMATCH, domain="contoso.com"),
            "450 4.4.8 MX hosts of contoso.com failed MTA-STS validation",
            "550 5.4.8 MX hosts of contoso.com failed MTA-STS validation",
        ),
        (
            Finding(Reason.STS_CERTIFICATE, "Expired: since yesterday"),
            "450 4.7.5 Remote certificate failed MTA-STS validation. Reason: Expired: since yesterday",
            "550 5.7.5 Remote certificate failed MTA-STS validation. Reason: Expired: since yesterday",
        ),
        (
            Finding(Reason.TLS_DOMAIN_MISMATCH, "mx.example"),
            "450 4.4.317 Cannot connect to remote server [Message=SubjectMismatch mx.example]",
            "550 5.4.317 Cannot connect to remote server [Message=SubjectMismatch mx.example]",
        ),
        (
            Finding(Reason.NULL_MX),
            "450 4.1.10 Recipient domain does not accept mail (null MX)",
            "556 5.1.10 Recipient domain does not accept mail (null MX)",
        ),
        (
            Finding(Reason.REJECTED, "554 5.7.1 Spam", code=Enhanced(5, 7, 1), basic=554),
            "450 4.7.1 The destination mail server rejected the message: 554 5.7.1 Spam",
            "554 5.7.1 The destination mail server rejected the message: 554 5.7.1 Spam",
        ),
        (
            Finding(Reason.TRY_LATER, "421 Busy", basic=421),
            "421 4.0.0 The destination mail server asked to try again later: 421 Busy",
            "550 5.0.0 The destination mail server asked to try again later: 421 Busy",
        ),
        (
            Finding(Reason.HOST_REJECTED, "554 Listed", basic=554),
            "450 4.0.0 The destination mail server does not take mail from us: 554 Listed",
            "554 5.0.0 The destination mail server does not take mail from us: 554 Listed",
        ),
        (Finding(Reason.ROUTING_LOOP), "450 4.4.14 Routing loop detected", "554 5.4.14 Routing loop detected"),
    ],
)
def test_as_queued_and_as_returned(finding: Finding, queued: str, returned: str) -> None:
    assert (finding.queued(), finding.returned()) == (queued, returned)


def test_the_keyword_is_for_administrators() -> None:
    assert DETAIL.sentence() == "tlsa-invalid: The domain failed DANE validation: no record matches"
    assert DETAIL.words() == "The domain failed DANE validation: no record matches"
    assert DETAIL.security


def test_what_returns_mail_at_once() -> None:
    final = {reason for reason in Reason if Finding(reason).final}
    assert final == {
        Reason.REQUIRETLS_UNSUPPORTED, Reason.NULL_MX, Reason.NO_SUCH_DOMAIN, Reason.ROUTING_LOOP, Reason.MESSAGE_EXPIRED,
        Reason.REJECTED, Reason.FEATURE_UNSUPPORTED,
    }  # fmt: skip


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_in_full(reason: Reason) -> None:
    facts = CATALOGUE[reason]
    assert reason.facts is facts
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", reason.value)
    assert facts.basic // 100 == facts.enhanced.klass
    assert facts.fix.endswith((".", "on."))
    assert isinstance(facts.side, Side)
    assert facts.sentence[0].isupper()
    words = Finding(reason, "a detail", domain="contoso.com").words()
    assert "{" not in words
    assert ("a detail" in words) or "{domain}" in facts.sentence


def test_a_catalogue_entry_needs_a_code() -> None:
    with pytest.raises(ValueError, match="no code"):
        _facts("no code", "x", Side.OURS, "x")
