"""Evidence for tests: a happy scenario, to be changed in one respect at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sealroute.base.dnsdata import AliasStep, Answer, Mx, Outcome, Security, Tlsa
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Evidence, FetchFailure, Hop, HopKind, HostEvidence, StsEvidence, StsSource, TlsaLookup
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.proto.mtasts.policy import StsMode, StsPolicy
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus

T = TypeVar("T")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DOMAIN, HOST = "contoso.com", "mx.contoso.com"
GOOD_TLSA = Tlsa(3, 1, 1, bytes(range(32)))
UNUSABLE_TLSA = Tlsa(1, 1, 1, bytes(range(32)))


def data(*records: T, security: Security = Security.SECURE, name: str = HOST, rtype: str = "A") -> Answer[T]:
    return Answer(name, rtype, Outcome.DATA, security, records, 300)


def none(
    security: Security = Security.SECURE, outcome: Outcome = Outcome.NODATA, name: str = HOST, rtype: str = "A"
) -> Answer[Any]:
    return Answer(name, rtype, outcome, security, (), 300)


def failed(security: Security = Security.UNKNOWN, detail: str = "SERVFAIL", name: str = HOST, rtype: str = "A") -> Answer[Any]:
    return Answer(name, rtype, Outcome.FAILED, security, detail=detail)


def aliased(answer: Answer[T], *steps: tuple[str, Security]) -> Answer[T]:
    """The answer reached from its name over the given targets."""
    owner, chain = answer.name, []
    for target, security in steps:
        chain.append(AliasStep(owner, target, security))
        owner = target
    return replace(answer, aliases=tuple(chain))


def host(**changes: Any) -> HostEvidence:
    fields: dict[str, Any] = {
        "name": HOST,
        "preference": 10,
        "a": data("192.0.2.1"),
        "aaaa": none(rtype="AAAA"),
        "tlsa": (TlsaLookup(HOST, data(GOOD_TLSA, name=f"_25._tcp.{HOST}", rtype="TLSA")),),
    }
    return HostEvidence(**{**fields, **changes})


def hop(*hosts: HostEvidence, **changes: Any) -> Hop:
    mx = data(*(Mx(item.preference, item.name) for item in hosts or (host(),)), name=DOMAIN, rtype="MX")
    fields: dict[str, Any] = {"name": DOMAIN, "kind": HopKind.MX, "mx": mx, "hosts": hosts or (host(),)}
    return Hop(**{**fields, **changes})


def policy(mode: StsMode = StsMode.ENFORCE, *mx: str) -> StsPolicy:
    return StsPolicy(mode, 604_800, mx or (HOST,))


def sts(**changes: Any) -> StsEvidence:
    fields: dict[str, Any] = {
        "domain": DOMAIN,
        "txt": data("v=STSv1; id=1;", name=f"_mta-sts.{DOMAIN}", rtype="TXT", security=Security.INSECURE),
        "txt_parsed": StsTxt(TxtStatus.OK, "1"),
        "policy": policy(),
        "source": StsSource.FETCHED,
        "policy_id": "1",
        "fetched_at": NOW,
        "expires_at": NOW + timedelta(days=7),
    }
    return StsEvidence(**{**fields, **changes})


def sts_absent() -> StsEvidence:
    return sts(
        txt=none(outcome=Outcome.NXDOMAIN, rtype="TXT", name=f"_mta-sts.{DOMAIN}"), txt_parsed=StsTxt(TxtStatus.NONE),
        policy=None, source=StsSource.NONE,
    )  # fmt: skip


def sts_failed(failure: FetchFailure = FetchFailure.FETCH_ERROR, detail: str = "HTTP 404", **changes: Any) -> StsEvidence:
    return sts(policy=None, source=StsSource.NONE, failure=failure, failure_detail=detail, **changes)


def evidence(*hops: Hop, policies: tuple[StsEvidence, ...] | None = None, **changes: Any) -> Evidence:
    """DANE good and no MTA-STS, unless said otherwise."""
    fields: dict[str, Any] = {
        "domain": DOMAIN,
        "hops": hops or (hop(),),
        "sts": (sts_absent(),) if policies is None else policies,
        "gathered_at": NOW,
        "ttl_seconds": 300,
    }
    return Evidence(**{**fields, **changes})


def connector(
    dane: SmtpDaneMode = SmtpDaneMode.OPPORTUNISTIC, sts_mode: MtaStsMode = MtaStsMode.OPPORTUNISTIC, **changes: Any
) -> Connector:
    return Connector(guid="g", name="Contoso", smtp_dane_mode=dane, mta_sts_mode=sts_mode, **changes)
