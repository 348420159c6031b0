"""Puts scenarios into a world: zones, certificates, mail and policy hosts, under names of each scenario's own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from simnet.mailhost import MailHost
from simnet.nameserver import Fault
from simnet.pki import Entity
from simnet.policyhost import PolicyHost, policy_text
from simnet.signing import Spoil
from simnet.zones import World
from tests.real.scenario import GOOD, Host, Policy, Scenario
from tests.real.scenario_certs import Pki, Presented, Site

NAME_SERVER, POLICY_HOST = "127.53.0.1", "127.44.0.1"
FAULTY = {fault: f"127.53.0.{number}" for number, fault in enumerate(Fault, 9)}


@dataclass(frozen=True)
class Parts:
    """What a world consists of."""

    world: World
    mail: MailHost
    policies: PolicyHost
    pki: Pki
    folder: Path
    """Where certificates are written."""


class Names:
    """One scenario's own names and addresses, in place of those that its definition uses."""

    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.port = port
        self.base = f"127.66.{number // 60}."
        self.first = number % 60 * 4 + 4
        ours = {f"s{number:03}": "contoso", f"t{number:03}": "fabrikam"}
        self._words = ours | {f"_{port}._tcp": "_25._tcp", f"port {port}": "port 25"}
        self._back = re.compile("|".join(map(re.escape, self._words)))

    def address(self, index: int) -> str:
        return f"{self.base}{self.first + index}"

    def real(self, text: str) -> str:
        """A piece of the definition as it is in the world."""
        text = text.replace("contoso", f"s{self.number:03}").replace("fabrikam", f"t{self.number:03}")
        text = text.replace("_25._tcp", f"_{self.port}._tcp")
        return re.sub(r"192\.0\.2\.([0-3])(?!\d)", lambda found: self.address(int(found[1])), text)

    def told(self, text: str) -> str:
        """What the gateway says, in the words of the definition; what differs from run to run becomes `…`."""
        text = re.sub(r"\b[0-9a-f]{8}…[0-9a-f]{8}\b", "…", text)
        text = re.sub(rf"{re.escape(self.base)}(\d+)(?!\d)", lambda found: f"192.0.2.{int(found[1]) - self.first}", text)
        text = self._back.sub(lambda found: self._words[found[0]], text)
        text = re.sub(rf" from {NAME_SERVER}(?: and {NAME_SERVER})*", "", text)
        return re.sub(r"\b20\d\d-\d\d-\d\dT[\d:.]+Z", "…", text)


class Builder:
    """Puts one scenario into the world."""

    def __init__(self, parts: Parts, scenario: Scenario, names: Names) -> None:
        self.parts = parts
        self.scenario = scenario
        self.names = names
        self.next_address = 0

    async def build(self) -> None:
        scenario, world, real = self.scenario, self.parts.world, self.names.real
        zones = dict(scenario.zones)
        if scenario.zone is not None:
            zones = {"contoso.test": scenario.zone, **zones}
        for name, signing in zones.items():
            world.zone(real(name), signing)
        if scenario.zone is not None:
            for mx in scenario.mx:
                world.add(real("contoso.test"), "MX", real(mx))
        for host in scenario.hosts:
            await self._host(host)
        for record in scenario.records:
            owner, rtype, rdata = record.split(maxsplit=2)
            world.add(real(owner), rtype, real(rdata))
        for subtree, fault in scenario.faults.items():
            world.delegate(real(subtree), FAULTY[fault])
        if scenario.policy is not None:
            self._policy(scenario.policy)
        for item in scenario.spoil:
            owner, rtype, *how = item.split()
            world.spoil(real(owner), rtype, Spoil(how[0]) if how else Spoil.BROKEN)

    async def _host(self, host: Host) -> None:
        parts, name = self.parts, self.names.real(host.name)
        presented = host.cert(Site(parts.pki, name, self.names.real))
        chain, key = presented.write(parts.folder, name)
        for behaviour in host.servers:
            address = self.names.address(self.next_address)
            self.next_address += 1
            parts.world.add(name, "A", address)
            if behaviour is not None:
                await parts.mail.listen(address, self.names.port, behaviour, chain, key)
        if host.ipv6:
            parts.world.add(name, "AAAA", "::1")
            await parts.mail.listen("::1", self.names.port, GOOD, chain, key)
        for owner in host.tlsa_at or (f"_25._tcp.{host.name}",):
            for spec in host.tlsa:
                parts.world.add(self.names.real(owner), "TLSA", _tlsa(spec, presented))

    def _policy(self, policy: Policy) -> None:
        parts, real = self.parts, self.names.real
        domain = real(policy.domain)
        for txt in policy.txt:
            parts.world.add(f"_mta-sts.{domain}", "TXT", f'"{txt}"')
        if policy.hosted_at:
            parts.world.add(f"mta-sts.{domain}", "CNAME", f"{real(policy.hosted_at)}.")
        parts.world.add(real(policy.hosted_at) or f"mta-sts.{domain}", "A", POLICY_HOST)
        text = real(policy.text) or policy_text(*map(real, policy.mx), mode=policy.mode, max_age=policy.max_age)
        parts.policies.serve(domain, text, policy.certificate, policy.behaviour)


def _tlsa(spec: str, presented: Presented) -> str:
    usage, selector, matching, *rest = spec.split()
    what = rest[0] if rest else "leaf"
    if what.startswith("="):
        return f"{usage} {selector} {matching} {what[1:]}"
    if what == "wrong":
        digest = hashlib.sha512 if matching == "2" else hashlib.sha256
        return f"{usage} {selector} {matching} {digest(spec.encode()).hexdigest()}"
    named: Entity = presented.named[what]
    kind = int(matching) if int(matching) in (0, 1, 2) else 1
    return f"{usage} {selector} {matching} {named.tlsa_data(int(selector) % 2, kind).hex()}"
