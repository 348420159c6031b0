"""Reasons, requirements and records, what `make mutation` found that no other test noticed: security, defaults, codes, digests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sealroute.policy.attempt import Attempt
from sealroute.policy.evidence import Evidence, HostEvidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.record import evidence_record, finding_record, plain
from sealroute.policy.requirement import DaneCheck, Requirement, StsCheck
from sealroute.proto.mtasts.policy import StsMode
from tests.unit import evidence_factory as make

SECURITY = {
    Reason.STARTTLS_NOT_SUPPORTED,
    Reason.CERTIFICATE_EXPIRED,
    Reason.TLSA_INVALID,
    Reason.DNSSEC_INVALID,
    Reason.CERTIFICATE_HOST_MISMATCH,
    Reason.DANE_REQUIRED,
    Reason.RESOLVER_CANNOT_VALIDATE,
    Reason.STS_POLICY_FETCH_ERROR,
    Reason.STS_REQUIRED,
    Reason.STS_MX_MISMATCH,
    Reason.STS_CERTIFICATE,
    Reason.TLS_REQUIRED,
    Reason.TLS_CERTIFICATE,
    Reason.TLS_DOMAIN_MISMATCH,
    Reason.REQUIRETLS_UNSUPPORTED,
}


def test_which_reasons_say_that_a_demanded_proof_is_missing() -> None:
    assert {reason for reason in Reason if reason.facts.security} == SECURITY


@pytest.mark.parametrize(
    ("reason", "begins"),
    [
        (Reason.TLS_CERTIFICATE, "450 4.7.320 Certificate validation failed"),
        (Reason.STARTTLS_NOT_SUPPORTED, "450 4.7.321 starttls-not-supported: "),
        (Reason.STS_POLICY_FETCH_ERROR, "450 4.7.327 sts-policy-fetch-error: "),
        (Reason.STS_REQUIRED, "450 4.7.328 sts-required: "),
        (Reason.STS_CERTIFICATE, "450 4.7.5 Remote certificate failed"),
    ],
)
def test_the_keyword_stands_before_the_sentence_from_321_to_328(reason: Reason, begins: str) -> None:
    assert Finding(reason).queued().startswith(begins)


def test_a_reason_that_is_final_at_once_is_550() -> None:
    assert Finding(Reason.REQUIRETLS_UNSUPPORTED).returned().startswith("550 5.7.30 ")


@pytest.mark.parametrize(
    ("basic", "queued", "returned"),
    [(400, 400, 550), (499, 499, 550), (500, 450, 500), (599, 450, 599), (399, 450, 550), (600, 450, 550), (None, 450, 550)],
)
def test_the_peers_basic_code_is_shown_where_its_class_is_right(basic: int | None, queued: int, returned: int) -> None:
    finding = Finding(Reason.TRY_LATER, "later", basic=basic)
    assert (finding.queued()[:4], finding.returned()[:4]) == (f"{queued} ", f"{returned} ")


def test_what_is_asked_holds_unless_said_otherwise() -> None:
    assert DaneCheck(make.HOST, (), ()).enforced
    assert StsCheck(make.DOMAIN, StsMode.ENFORCE, "1", True).enforced


def test_a_requirement_asks_nothing_unless_told_to() -> None:
    bare = Requirement(make.HOST, ())
    assert bare == Requirement(make.HOST, (), False, None, None, None, False, (), False, None, None, "")


def test_a_requirements_key_is_a_digest_of_128_bits_that_nobody_need_read() -> None:
    need = Requirement(make.HOST, ())
    assert len(bytes.fromhex(need.key)) == 16
    assert need.key not in repr(need)


def test_defaults_of_evidence() -> None:
    assert HostEvidence(make.HOST) == HostEvidence(make.HOST, 0, False, (), None, None, (), True)
    bare = Evidence(make.DOMAIN, (), (), make.NOW, 0)
    assert (bare.port, bare.resolver_trusted) == (25, True)


def attempt(**parts: Any) -> Attempt:
    return Attempt(make.NOW, 1, "g", "Contoso", SmtpDaneMode.NONE, MtaStsMode.NONE, make.DOMAIN, (), None, **parts)


def test_an_attempt_is_at_port_25_over_a_connection_of_its_own() -> None:
    assert attempt() == attempt(port=25, reused_connection=False)


def test_a_finding_is_recorded_with_all_it_says_wherever_it_stands() -> None:
    finding = Finding(Reason.DANE_REQUIRED, "no TLSA record", make.HOST)
    assert plain(finding) == finding_record(finding)
    assert plain(finding)["code"] == "4.7.326"


def test_evidence_is_recorded_as_text_and_named_by_128_bits() -> None:
    said = make.evidence(resolver_detail="größer")
    digest, text = evidence_record(said)
    assert json.loads(text)["resolver_detail"] == "größer"
    assert text.isascii()
    assert len(bytes.fromhex(digest)) == 16
    assert evidence_record(replace(said, resolver_detail="kleiner"))[0] != digest
