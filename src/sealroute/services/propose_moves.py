"""propose_moves: pinned connectors, what their partners publish today, and the steps from the one to the other.

A pinned connector sends one partner's mail to fixed smart hosts.  What mail by MX would meet is asked of the analyzer, so
that the proposal and delivery cannot disagree.  Mandatory is proposed only when every domain of the connector would be
delivered to under it now, and, for DANE, every mail host has usable TLSA records; what could not be found out speaks for
staying as it is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import shlex
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sealroute.base import names
from sealroute.base.certnames import match_name
from sealroute.base.certs import Certificate
from sealroute.base.errors import SealrouteError
from sealroute.policy.connector import Connector
from sealroute.policy.move import PartnerState
from sealroute.policy.readiness import Mechanism
from sealroute.services.analysis.model import Analysis
from sealroute.services.analyze import Analyzer
from sealroute.services.survey import STRICT_DANE, STRICT_STS, USUAL, Row, Standing, row_of

MAX_DOMAINS = 20
"""Domains of one connector that are looked at; one with more is proposed nothing."""
CONNECTORS_AT_ONCE, DOMAINS_AT_ONCE = 16, 16
DOMAIN_SECONDS = 180.0
"""The longest that one domain may take."""


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


async def propose_all(analyzer: Analyzer, connectors: Sequence[Connector]) -> AsyncIterator[Proposal]:
    """A proposal for each, in the order in which they are done, so many at a time."""
    room = asyncio.Semaphore(DOMAINS_AT_ONCE)
    waiting = iter(connectors)
    running: set[asyncio.Task[Proposal]] = set()
    try:
        while True:
            while len(running) < CONNECTORS_AT_ONCE and (connector := next(waiting, None)) is not None:
                running.add(asyncio.ensure_future(propose(analyzer, connector, room)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def propose(analyzer: Analyzer, connector: Connector, room: asyncio.Semaphore | None = None) -> Proposal:
    """Look at the partner and propose."""
    wild = [domain for domain in connector.recipient_domains if domain.startswith("*.")]
    if wild or len(connector.recipient_domains) > MAX_DOMAINS:
        why = f"{wild[0]} names no single domain to look at" if wild else f"it has more than {MAX_DOMAINS} domains; split it"
        return Proposal(connector, Target.STAY, why, (), (), (), ())
    return decide(connector, await look(analyzer, connector, room))


async def look(analyzer: Analyzer, connector: Connector, room: asyncio.Semaphore | None = None) -> list[Partner]:
    """Every domain of the connector as mail by MX would meet it now; what could not be looked at is Standing.UNKNOWN."""
    room = room or asyncio.Semaphore(DOMAINS_AT_ONCE)
    return await asyncio.gather(*(_partner(analyzer, connector, domain, room) for domain in connector.recipient_domains))


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


async def _partner(analyzer: Analyzer, connector: Connector, domain: str, room: asyncio.Semaphore) -> Partner:
    by_mx = replace(connector, use_mx_record=True, smart_hosts=(), tls_settings=None, tls_domain=None)
    modes = (USUAL, STRICT_DANE, STRICT_STS)
    async with room:
        try:
            async with asyncio.timeout(DOMAIN_SECONDS):
                found = await analyzer.run(domain, by_mx, asked=(USUAL,), modes=modes, chain_of_trust=False)
        except TimeoutError:
            return _unseen(domain, f"not finished within {DOMAIN_SECONDS:g} s")
        except SealrouteError as error:
            return _unseen(domain, str(error))
    return partner_of(found, connector)


def _unseen(domain: str, why: str) -> Partner:
    return Partner(domain, Row(domain, "", Standing.UNKNOWN, False, sentence=why), (), (), (), ())


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
    if not not_ready(Mechanism.DANE, partners):
        return Target.DANE, "every mail host has TLSA records, and mail would be delivered under SmtpDaneMode Mandatory"
    if not (why := not_ready(Mechanism.MTA_STS, partners)):
        return Target.STS, "an MTA-STS policy in enforce mode holds"
    return Target.STAY, why


def not_ready(mechanism: Mechanism, partners: Sequence[Partner]) -> str:
    """Why not all of them could be held to it now; empty: they could."""
    for item in partners:
        dane = item.row.dane_mandatory and bool(item.hosts) and not item.without_tlsa
        if dane if mechanism is Mechanism.DANE else item.row.sts_mandatory:
            continue
        if item.row.dane_mandatory and item.without_tlsa:
            return f"{item.domain}: {item.without_tlsa[0]} has no usable TLSA record"
        return f"{item.domain}: {item.row.sentence or 'neither DANE nor MTA-STS would hold'}"
    return "" if partners else "it has no domain to look at"


def state_of(partner: Partner) -> PartnerState:
    """What is kept of a partner in the record of a move."""
    return PartnerState(
        partner.domain,
        partner.row.standing.value,
        partner.row.tls_rpt,
        partner.hosts,
        partner.without_tlsa,
        partner.addresses,
    )


def _covers(smart_host: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(smart_host)
    except ValueError:
        return False


def _steps(connector: Connector, target: Target, partners: Sequence[Partner]) -> tuple[Step, ...]:
    """In the order that is advised to Exchange's administrators."""
    mode = "SmtpDaneMode" if target is Target.DANE else "MtaStsMode"
    recipient = connector.validation_recipients[:1] or (f"postmaster@{partners[0].domain}",)
    return (
        Step("Have TLS reports about your own domains sent to you (the TXT record _smtp._tls)."),
        Step("Tell the technical teams of both sides what will change, and when."),
        Step(
            f"Route by MX, {mode} Opportunistic; the connector as it is stays, disabled. Until {mode} is Mandatory, "
            "TlsDomain protects no more.",
            _line("migrate", "start", connector.name),
        ),
        Step("Send a test mail.", _line("Validate-OutboundConnector", connector.name, "-Recipients", *recipient)),
        Step("See for some weeks whether every session would satisfy it.", _line("migrate", "status", connector.name)),
        Step("Demand it, and keep the record.", _line("migrate", "advance", connector.name, "--document", "record.html")),
        Step("The way back, at any time.", _line("migrate", "rollback", connector.name)),
    )


def _line(*words: str) -> str:
    return shlex.join(["sealroute", *words])
