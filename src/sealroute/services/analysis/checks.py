"""All checks of one analysis, in the order in which a message would meet them."""

from __future__ import annotations

from sealroute.base.chain import TrustRoots
from sealroute.services.analysis.dns import hop_checks
from sealroute.services.analysis.dnssec import dnssec_check
from sealroute.services.analysis.hosts import host_checks
from sealroute.services.analysis.model import Check, Seen
from sealroute.services.analysis.policies import rpt_check, sts_checks


def checks_of(seen: Seen, roots: TrustRoots) -> tuple[Check, ...]:
    """DNSSEC, MX, each host, MTA-STS, TLS-RPT."""
    return (dnssec_check(seen), *hop_checks(seen), *host_checks(seen, roots), *sts_checks(seen), rpt_check(seen))
