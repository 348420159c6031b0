"""propose_moves: pinned connectors, what their partners publish today, and the steps from the one to the other.

A pinned connector sends one partner's mail to fixed smart hosts.  What mail by MX would meet is asked of the analyzer, so
that the proposal and delivery cannot disagree.  Mandatory is proposed only when every domain of the connector would be
delivered to under it now, and, for DANE, every mail host has usable TLSA records; what could not be found out speaks for
staying as it is.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sealroute.base import names
from sealroute.base.certnames import match_name
from sealroute.base.certs import Certificate
from sealroute.policy.connector import Connector
from sealroute.policy.modes import TlsSettings
from sealroute.services.analysis.model import Analysis
from sealroute.services.analyze import Analyzer
from sealroute.services.survey import STRICT_DANE, STRICT_STS, USUAL, Row, row_of

MAX_DOMAINS = 20
"""Domains of one connector that are looked at; one with more is proposed nothing."""


class Target(Enum):
    """What a connector can become."""

    DANE = "DANE Mandatory"
    STS = "MTA-STS Mandatory"
    STAY = "stay pinned"


@dataclass(frozen=True, slots=True)
class Partner:
    """One recipient domain today."""

    domain: str
    row: Row
    hosts: tuple[str, ...]
    without_tlsa: tuple[str, ...]
    """Mail hosts without usable TLSA records."""
    addresses: tuple[str, ...]
    certificates: tuple[tuple[str, bool], ...]
    """(host, whether its certificate carries TlsDomain) for each host that showed one; empty without TlsDomain."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    what: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One connector."""

    connector: Connector
    target: Target
    why: str
    partners: tuple[Partner, ...]
    pinned_and_gone: tuple[str, ...]
    """Smart hosts that are no mail host, nor an address of one, today."""
    not_pinned: tuple[str, ...]
    """Today's addresses that the connector does not know; only when all its smart hosts are addresses."""
    steps: tuple[Step, ...]


def pinned(connectors: Iterable[Connector]) -> list[Connector]:
    """Those that send mail of domains named one by one to fixed hosts."""
    return [
        item for item in connectors if not item.use_mx_record and item.recipient_domains and "*" not in item.recipient_domains
    ]


async def propose(analyzer: Analyzer, connector: Connector) -> Proposal:
    """Look at the partner and propose; raises StoreUnavailable."""
    wild = [domain for domain in connector.recipient_domains if domain.startswith("*.")]
    if wild or len(connector.recipient_domains) > MAX_DOMAINS:
        why = f"{wild[0]} names no single domain to look at" if wild else f"it has more than {MAX_DOMAINS} domains; split it"
        return Proposal(connector, Target.STAY, why, (), (), (), ())
    partners = [await _partner(analyzer, connector, domain) for domain in connector.recipient_domains]
    return decide(connector, partners)


def decide(connector: Connector, partners: Sequence[Partner]) -> Proposal:
    """The proposal, from what was seen."""
    target, why = _target(partners)
    today = [address for partner in partners for address in partner.addresses]
    hosts = {host for partner in partners for host in partner.hosts}
    gone = tuple(
        item for item in connector.smart_hosts if item.strip("[]") not in hosts and not any(_covers(item, ip) for ip in today)
    )
    fixed = all("/" in item or names.parse_ip(item) for item in connector.smart_hosts)
    new = [ip for ip in dict.fromkeys(today) if fixed and not any(_covers(item, ip) for item in connector.smart_hosts)]
    steps = () if target is Target.STAY else _steps(connector, target, partners)
    return Proposal(connector, target, why, tuple(partners), gone, tuple(new), steps)


async def _partner(analyzer: Analyzer, connector: Connector, domain: str) -> Partner:
    by_mx = replace(connector, use_mx_record=True, smart_hosts=(), tls_settings=None, tls_domain=None)
    found = await analyzer.run(domain, by_mx, asked=(USUAL,), modes=(USUAL, STRICT_DANE, STRICT_STS), chain_of_trust=False)
    return partner_of(found, connector)


def partner_of(analysis: Analysis, connector: Connector) -> Partner:
    """What one analysis says of the partner."""
    hosts = analysis.seen.hosts
    seen = []
    for host in hosts:
        chains = [item.probe.facts.chain for item in host.addresses if item.probe.facts and item.probe.facts.chain]
        if connector.tls_domain and chains:
            carried = all(match_name(Certificate(chain[0]), (connector.tls_domain,)) is not None for chain in chains)
            seen.append((host.plan.name, carried))
    return Partner(
        analysis.domain,
        row_of(analysis),
        tuple(host.plan.name for host in hosts),
        tuple(host.plan.name for host in hosts if "dane-usable" not in host.plan.rows),
        tuple(address for host in hosts for address in host.plan.addresses),
        tuple(seen),
    )


def _target(partners: Sequence[Partner]) -> tuple[Target, str]:
    if all(item.row.dane_mandatory and item.hosts and not item.without_tlsa for item in partners):
        return Target.DANE, "every mail host has TLSA records, and mail would be delivered under SmtpDaneMode Mandatory"
    if all(item.row.sts_mandatory for item in partners):
        return Target.STS, "an MTA-STS policy in enforce mode holds"
    worst = next(item for item in partners if not item.row.sts_mandatory)
    if worst.row.dane_mandatory and worst.without_tlsa:
        return Target.STAY, f"{worst.domain}: {worst.without_tlsa[0]} has no usable TLSA record"
    return Target.STAY, f"{worst.domain}: {worst.row.sentence or 'neither DANE nor MTA-STS would hold'}"


def _covers(smart_host: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(smart_host)
    except ValueError:
        return False


def _steps(connector: Connector, target: Target, partners: Sequence[Partner]) -> tuple[Step, ...]:
    """In the order that is advised to Exchange's administrators.

    TlsDomain goes with the smart hosts it was for; DANE or the policy authenticates the server from then on.
    """
    mode = "SmtpDaneMode" if target is Target.DANE else "MtaStsMode"
    back = ["-UseMXRecord", "$false", "-SmartHosts", ",".join(connector.smart_hosts)]
    ahead = ["-UseMXRecord", "$true", "-SmartHosts", "$null", f"-{mode}", "Opportunistic"]
    validates = connector.tls_settings in (TlsSettings.DOMAIN_VALIDATION, TlsSettings.CERTIFICATE_VALIDATION)
    if validates:
        # A policy's host has a certificate of the web PKI; one that DANE names need not.
        kept = TlsSettings.ENCRYPTION_ONLY if target is Target.DANE else TlsSettings.CERTIFICATE_VALIDATION
        ahead += ["-TlsSettings", kept.value, "-TlsDomain", "$null"]
        assert connector.tls_settings is not None
        back += ["-TlsSettings", connector.tls_settings.value, "-TlsDomain", connector.tls_domain or "$null"]
    # Whatever modes it had come back with it.
    back += ["-SmtpDaneMode", connector.smtp_dane_mode.value, "-MtaStsMode", connector.mta_sts_mode.value]
    recipient = connector.validation_recipients[:1] or (f"postmaster@{partners[0].domain}",)
    return (
        Step("Have TLS reports about your own domains sent to you (the TXT record _smtp._tls)."),
        Step("Tell the technical teams of both sides what will change, and when."),
        Step(
            f"Route by MX, leaving the connector in place. Until {mode} is Mandatory, TlsDomain protects no more.",
            _set(connector, ahead),
        ),
        Step("Send a test mail.", _line("Validate-OutboundConnector", connector.name, ["-Recipients", *recipient])),
        Step("Watch the trace for some weeks: every attempt should satisfy the mode to come.", "sealroute trace"),
        Step("Demand it.", _set(connector, [f"-{mode}", "Mandatory"])),
        Step("Write down what was changed and when to look again. The way back:", _set(connector, back)),
    )


def _set(connector: Connector, arguments: Sequence[str]) -> str:
    return _line("Set-OutboundConnector", connector.name, arguments)


def _line(cmdlet: str, name: str, arguments: Sequence[str]) -> str:
    return shlex.join(["sealroute", cmdlet, name, *arguments])
