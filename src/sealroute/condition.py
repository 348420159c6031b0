"""How the parts of the running gateway are: as /healthz shows it, and what the log says of the resolver."""

from __future__ import annotations

import structlog

from sealroute.faces.http.health import Part
from sealroute.services.canary import CanaryReport
from sealroute.services.sts import StsPolicies

log = structlog.get_logger("sealroute")

NOT_PROBED = (
    "not probed: trust anchors, stub zones or root hints of your own are configured, and resolver.canary_signed, "
    "canary_unsigned and canary_broken are not"
)


def log_resolver(report: CanaryReport) -> None:
    """What a round of probes came to."""
    if not report.probes and report.can_validate:
        log.info("resolver not probed", text=NOT_PROBED)
    elif report.can_validate:
        log.info("resolver probed", can_validate=True, text=report.sentence)
    else:
        log.error("resolver probed", can_validate=False, text=report.sentence, advice=report.advice)


def resolver_part(report: CanaryReport | None) -> Part:
    if report is None:
        return Part("resolver", False, "not probed yet")
    if not report.probes and report.can_validate:
        return Part("resolver", True, NOT_PROBED)
    return Part("resolver", report.can_validate, f"{report.sentence}. {report.advice}".rstrip(". "))


def sts_part(policies: StsPolicies) -> Part:
    """A stale policy is a partner's trouble: shown, but no reason to take this node out of service."""
    detail = "; ".join(f"{domain}: {why}" for domain, why in list(policies.refresh_troubles.items())[:5])
    return Part("mta-sts", True, f"not refreshed: {detail}" if detail else "policies are fresh")
