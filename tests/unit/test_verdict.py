"""judge: a real certificate chain, one difference per case, and the sentence an administrator would read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest

from sealroute.base.chain import TrustRoots
from sealroute.base.status import Enhanced, Reply
from sealroute.policy.reasons import Reason, TlsRptResult
from sealroute.policy.requirement import DaneCheck, HandshakeFacts, Protection, Requirement, StsCheck, Verdict
from sealroute.policy.verdict import judge
from sealroute.proto.dane.records import parse
from sealroute.proto.mtasts.policy import StsMode
from simnet.pki import Ca, Entity, self_signed

HOST = "mx.contoso.com"
NOW = datetime.now(UTC)
REFUSED = Reply(454, ("TLS not available",), Enhanced(4, 7, 0))


@cache
def web() -> Ca:
    return Ca("Web root")


@cache
def leaf(name: str = HOST, expired: bool = False) -> Entity:
    return web().leaf(name, expired=expired)


@cache
def alone() -> Entity:
    return self_signed(HOST)


def facts(entity: Entity | None = None, **changes: object) -> HandshakeFacts:
    chain = tuple((entity or leaf()).chain())
    return replace(HandshakeFacts(NOW, True, None, "", "TLSv1.3", "TLS_AES_256_GCM_SHA384", chain), **changes)  # type: ignore[arg-type]


NO_TLS = HandshakeFacts(NOW)
NO_HANDSHAKE = HandshakeFacts(NOW, True, None, "alert handshake failure")
NOT_TRIED = HandshakeFacts(NOW, True)


def dane(entity: Entity, *specs: tuple[int, int, int], enforced: bool = True) -> DaneCheck:
    records = tuple(parse(entity.tlsa(*spec)) for spec in specs or [(3, 1, 1)])
    return DaneCheck(HOST, records, (HOST, "contoso.com"), enforced)


def sts(mode: StsMode = StsMode.ENFORCE, matches: bool = True, enforced: bool = True) -> StsCheck:
    return StsCheck("contoso.com", mode, "1", matches, enforced)


def need(**changes: object) -> Requirement:
    fields: dict[str, object] = {"host": HOST, "rows": (), "tls_required": True, "dane_shadow": True, "sts_shadow": True}
    return Requirement(**{**fields, **changes})  # type: ignore[arg-type]


def verdict(requirement: Requirement, seen: HandshakeFacts) -> Verdict:
    return judge(requirement, seen, TrustRoots.from_pem(web().pem))


PASS = [
    ("dane", need(dane=dane(alone())), facts(alone()), Protection.DANE, (True, False)),
    ("dane, unusable", need(dane=dane(alone(), (1, 1, 1))), facts(alone()), Protection.TLS, (False, False)),
    ("dane over sts", need(dane=dane(alone()), sts=sts(enforced=False)), facts(alone()), Protection.DANE, (True, False)),
    ("both", need(dane=dane(leaf()), sts=sts()), facts(), Protection.DANE, (True, True)),
    ("sts", need(sts=sts()), facts(), Protection.MTA_STS, (False, True)),
    ("sts testing fails", need(sts=sts(StsMode.TESTING, enforced=False)), facts(alone()), Protection.TLS, (False, False)),
    ("sts testing holds", need(sts=sts(StsMode.TESTING, enforced=False)), facts(), Protection.TLS, (False, False)),
    ("dane observed fails", need(dane=dane(leaf(), enforced=False)), facts(alone()), Protection.TLS, (False, False)),
    ("chain", need(chain=True), facts(), Protection.TLS, (False, False)),
    ("chain, other host", need(chain=True), facts(leaf("mx.fabrikam.com")), Protection.TLS, (False, False)),
    ("tls domain", need(chain=True, certificate_names=(HOST,)), facts(), Protection.TLS, (False, False)),
    ("tls domain, wildcard wish", need(chain=True, certificate_names=("*.contoso.com",)), facts(), Protection.TLS, (False, False)),
    ("tls only", need(), facts(alone()), Protection.TLS, (False, False)),
    ("nothing asked, no tls", need(tls_required=False), NO_TLS, Protection.PLAIN, (False, False)),
    ("dane matches by the word of a resolver that cannot validate", need(dane=dane(alone()), dane_shadow=False), facts(alone()),
     Protection.TLS, (False, False)),
    ("not looked at", need(dane_shadow=None, sts_shadow=None), facts(alone()), Protection.TLS, (None, None)),
    ("not looked at, no tls", need(tls_required=False, dane_shadow=None, sts_shadow=None), NO_TLS, Protection.PLAIN, (None, None)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "requirement", "seen", "protection", "shadows"), PASS, ids=[case[0] for case in PASS])
def test_goes(
    what: str, requirement: Requirement, seen: HandshakeFacts, protection: Protection, shadows: tuple[bool | None, bool | None]
) -> None:
    said = verdict(requirement, seen)
    assert said.finding is None
    assert said.protection is protection
    assert (said.would_satisfy_dane, said.would_satisfy_sts) == shadows
    assert not said.retry_in_plaintext


R = Reason
T = TlsRptResult
FAIL = [
    ("dane mismatch", need(dane=dane(leaf())), facts(alone()), R.TLSA_INVALID, T.VALIDATION_FAILURE,
     "450 4.7.323 tlsa-invalid: The domain failed DANE validation: TLSA 3 1 1"),
    ("ta name", need(dane=dane(web(), (2, 0, 1))), facts(leaf("mx.fabrikam.com"), chain=(leaf("mx.fabrikam.com").der, web().der)),
     R.CERTIFICATE_HOST_MISMATCH, T.CERTIFICATE_HOST_MISMATCH, "450 4.7.325 certificate-host-mismatch: Remote certificate MUST"),
    ("ta expired", need(dane=dane(web(), (2, 0, 1))), facts(chain=(leaf(HOST, True).der, web().der)),
     R.CERTIFICATE_EXPIRED, T.CERTIFICATE_EXPIRED, "450 4.7.322 certificate-expired: Destination mail server's"),
    ("no certificate", need(dane=dane(leaf())), facts(chain=()), R.TLSA_INVALID, T.VALIDATION_FAILURE,
     "450 4.7.323 tlsa-invalid: The domain failed DANE validation: the server presented no certificate"),
    ("sts self-signed", need(sts=sts()), facts(alone()), R.STS_CERTIFICATE, T.CERTIFICATE_NOT_TRUSTED,
     "450 4.7.5 Remote certificate failed MTA-STS validation. Reason: UntrustedRoot: "),
    ("sts name", need(sts=sts()), facts(leaf("mx.fabrikam.com")), R.STS_CERTIFICATE, T.CERTIFICATE_HOST_MISMATCH,
     "450 4.7.5 Remote certificate failed MTA-STS validation. Reason: SubjectMismatch: "),
    ("sts expired", need(sts=sts()), facts(leaf(HOST, True)), R.STS_CERTIFICATE, T.CERTIFICATE_EXPIRED,
     "450 4.7.5 Remote certificate failed MTA-STS validation. Reason: Expired: "),
    ("sts mx", need(sts=sts(matches=False)), facts(), R.STS_MX_MISMATCH, T.VALIDATION_FAILURE,
     "450 4.4.8 MX hosts of contoso.com failed MTA-STS validation: the host is not in the policy of contoso.com"),
    ("dane first", need(dane=dane(leaf()), sts=sts()), facts(alone()), R.TLSA_INVALID, T.VALIDATION_FAILURE, "450 4.7.323"),
    ("both, sts fails", need(dane=dane(alone()), sts=sts()), facts(alone()), R.STS_CERTIFICATE, T.CERTIFICATE_NOT_TRUSTED, "450 4.7.5"),
    ("dane without starttls", need(dane=dane(leaf())), NO_TLS, R.STARTTLS_NOT_SUPPORTED, T.STARTTLS_NOT_SUPPORTED,
     "450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail: STARTTLS is not offered"),
    ("dane, starttls refused", need(dane=dane(leaf())), replace(NOT_TRIED, starttls_reply=REFUSED), R.STARTTLS_NOT_SUPPORTED,
     T.STARTTLS_NOT_SUPPORTED,
     "450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail: "
     "STARTTLS was answered 454 4.7.0 TLS not available"),
    ("sts, handshake fails", need(sts=sts()), NO_HANDSHAKE, R.STARTTLS_NOT_SUPPORTED, T.STARTTLS_NOT_SUPPORTED,
     "450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail: "
     "the TLS handshake failed: alert handshake failure"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "requirement", "seen", "reason", "report", "sentence"), FAIL, ids=[case[0] for case in FAIL])
def test_is_ruled_out(
    what: str, requirement: Requirement, seen: HandshakeFacts, reason: Reason, report: TlsRptResult, sentence: str
) -> None:
    said = verdict(requirement, seen)
    assert said.finding is not None
    assert said.finding.reason is reason
    assert said.finding.queued().startswith(sentence)
    assert report in {check.result for check in (said.dane, said.sts) if check is not None}


SETTINGS_FAIL = [
    ("chain", need(chain=True), facts(alone()), "450 4.7.320 Certificate validation failed: UntrustedRoot: "),
    ("name", need(chain=True, certificate_names=("mail.contoso.com",)), facts(),
     "450 4.4.317 Cannot connect to remote server [Message=SubjectMismatch the certificate is for mx.contoso.com, "
     "not for mail.contoso.com]"),
    ("no tls", need(), NO_TLS,
     "450 4.4.317 Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required to send mail]: STARTTLS is not offered"),
    ("not tried", need(), NOT_TRIED,
     "450 4.4.317 Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required to send mail]: STARTTLS was not tried"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "requirement", "seen", "sentence"), SETTINGS_FAIL, ids=[case[0] for case in SETTINGS_FAIL])
def test_tls_settings_rule_out(what: str, requirement: Requirement, seen: HandshakeFacts, sentence: str) -> None:
    said = verdict(requirement, seen)
    assert said.finding is not None
    assert said.finding.queued().startswith(sentence)
    assert said.tls_settings is not None
    assert not said.tls_settings.satisfied


def test_a_failed_handshake_is_followed_by_plaintext_only_where_nothing_demands_tls() -> None:
    optional = verdict(need(tls_required=False, sts=sts(StsMode.TESTING, enforced=False)), NO_HANDSHAKE)
    assert optional.retry_in_plaintext
    assert optional.finding is not None
    assert optional.sts is not None
    assert not optional.sts.satisfied
    assert not verdict(need(), NO_HANDSHAKE).retry_in_plaintext
    assert verdict(need(authenticated=True), NO_TLS).finding is not None
