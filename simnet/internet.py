"""A whole simulated internet on loopback: signed DNS, mail hosts, MTA-STS policy hosts, each with its own keys.

    async with Internet(folder, destinations) as net:
        (folder / "sealroute.toml").write_text(net.gateway_toml(port))
        ...                                            # start a gateway, send mail to net's domains
        received = await net.mail.wait_for(1)

A `Destination` says what one mail domain publishes and how its servers behave; simnet/destinations has a catalogue.  All
mail hosts share one TCP port on addresses of their own in 127.66/16, so no root is needed; TLSA records therefore stand at
`_<port>._tcp`.  The parts are simnet/zones, nameserver, mailhost, policyhost and pki; here they are only put together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType

from simnet import policyhost
from simnet.mailhost import PROFILES, MailHost
from simnet.nameserver import Fault, FaultyNameServer, NsdServer, free_port
from simnet.pki import Ca, Entity, Wish, pem, self_signed
from simnet.policyhost import PolicyHost, policy_text
from simnet.signing import Signing, Spoil
from simnet.zones import World

NAME_SERVER, POLICY_HOST = "127.53.0.1", "127.44.0.1"
FAULTY = {Fault.SERVFAIL: "127.53.0.9", Fault.SILENT: "127.53.0.10", Fault.REFUSED: "127.53.0.11", Fault.GARBAGE: "127.53.0.12"}
SENDER_DOMAIN = "sender.test"
"""Where test mail comes from, and where notices go back to."""
ELSEWHERE = "elsewhere"


class Cert(Enum):
    """The certificate a mail host presents."""

    SELF_SIGNED = "self-signed"
    WEB = "of the web PKI"
    WEB_EXPIRED = "of the web PKI, expired"
    WEB_WRONG_NAME = "of the web PKI, for another name"
    CHAIN = "of a private authority, intermediate sent along"
    CHAIN_EXPIRED = "of a private authority, expired"
    CHAIN_WRONG_NAME = "of a private authority, for another name"
    SELF_SIGNED_EXPIRED = "self-signed, expired"
    SELF_SIGNED_WRONG_NAME = "self-signed, for another name"


@dataclass(frozen=True, slots=True)
class Host:
    """One mail host.

    Each of `tlsa` is `usage selector matching [what]`; what: nothing for the host's own leaf, `ca` for the private
    intermediate, `wrong` for a digest of nothing, `of:HOST` for another host's leaf.
    """

    tlsa: tuple[str, ...] = ()
    cert: Cert = Cert.SELF_SIGNED
    profile: str = "tls"
    """Of simnet/mailhost; ELSEWHERE when some other program serves at this address."""
    alias: str = ""
    """CNAME to this name instead of addresses; no server of its own then."""
    tlsa_fault: Fault | None = None
    """`_tcp.<host>` is delegated to a name server with this fault."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An MTA-STS policy as published."""

    mode: str = "enforce"
    mx: tuple[str, ...] = ()
    """Empty: the domain's own MX hosts."""
    txt: tuple[str, ...] = ("v=STSv1; id=1;",)
    behaviour: policyhost.Behaviour = policyhost.Behaviour.OK
    certificate: policyhost.Certificate = policyhost.Certificate.GOOD
    text: str = ""
    """The whole policy file, instead of one made of the above."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One mail domain."""

    domain: str
    about: str
    signing: Signing | None = Signing.NSEC
    """None: the domain does not exist."""
    mx: tuple[tuple[int, str], ...] | None = None
    """None: `10 mx.<domain>`; empty: no MX record; `((0, "."),)`: null MX."""
    hosts: Mapping[str, Host] = field(default_factory=dict)
    """Empty: one Host at `mx.<domain>`."""
    policy: Policy | None = None
    spoil: tuple[tuple[str, str], ...] = ()
    """(owner, type) whose signature is broken."""

    @property
    def mx_records(self) -> tuple[tuple[int, str], ...]:
        return ((10, f"mx.{self.domain}"),) if self.mx is None else self.mx


def simple(domain: str, about: str, host: Host, **more: object) -> Destination:
    """A destination with the one host `mx.<domain>`."""
    return Destination(domain, about, hosts={f"mx.{domain}": host}, **more)  # type: ignore[arg-type]


class Internet:
    """All of it, running while the context lasts."""

    def __init__(self, folder: Path, destinations: Iterable[Destination], *, serve_mail: bool = True) -> None:
        """Without `serve_mail` nobody listens for mail: `mail_hosts` then tells another process what to serve."""
        self.folder = folder
        self.destinations = (_sender(), *destinations)
        self.mail = MailHost()
        self.mail_hosts: list[dict[str, str | int]] = []
        """Every mail host's ip, port, profile, cert and key, as `python -m simnet.mailhost` reads them."""
        self._serve_mail = serve_mail
        self.web_ca = Ca("Simulated web PKI root")
        self.private_root = Ca("Simulated private root")
        self.private_ca = self.private_root.ca("Simulated private intermediate")
        self.policies = PolicyHost(self.web_ca, POLICY_HOST)
        self.dns_port = free_port(NAME_SERVER, *FAULTY.values())
        self.smtp_port = free_port("127.66.0.1")
        self.world = World(address=NAME_SERVER, port=self.dns_port)
        self.server = NsdServer(self.world)
        self.address_of: dict[str, str] = {}
        self.entities: dict[str, Entity] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Internet:
        self.folder.mkdir(parents=True, exist_ok=True)
        await self._stack.enter_async_context(self.policies)
        self._stack.push_async_callback(self.mail.close)
        for fault, address in FAULTY.items():
            faulty = FaultyNameServer(fault, address, self.dns_port)
            await faulty.start()
            self._stack.push_async_callback(faulty.stop)
        for destination in self.destinations:
            self._certify(destination)
        for destination in self.destinations:
            self._publish(destination)
            await self._listen(destination)
        self.server.start()
        self._stack.callback(self.server.stop)
        (self.folder / "web-ca.pem").write_bytes(pem([self.web_ca]))
        (self.folder / "trust-anchor.ds").write_text("".join(f"{line}\n" for line in self.world.trust_anchors()))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self._stack.aclose()

    # ------------------------------------------------------------------------------------------------- the gateway

    def gateway_toml(self, port: int, **more: Sequence[str] | str) -> str:
        """The configuration of a gateway in here; `more` are tables by name, as lines to add to it."""
        stubs = "\n".join(
            f'[[resolver.stub_zones]]\nzone = "{zone}"\naddresses = ["{address}"]' for zone, address in self.world.stub_zones()
        )
        tables = {
            "store": ['url = "sqlite:///queue.db"'],
            "resolver": ['trust_anchor_file = "trust-anchor.ds"', "special_names = true", "timeout_seconds = 15.0"],
            "tls": ['ca_file = "web-ca.pem"'],
            "mta_sts": ['ca_file = "web-ca.pem"', f"https_port = {self.policies.port}"],
            "delivery": [
                f"smtp_port = {self.smtp_port}",
                "allow_private_destinations = true",
                'address_families = ["ipv4"]',
            ],
            "http": ["enabled = false"],
        }
        for name, lines in more.items():
            tables[name] = [*tables.get(name, []), *([lines] if isinstance(lines, str) else lines)]
        head = ['hostname = "gateway.test"', f'[[listeners]]\nkind = "relay"\nport = {port}']
        return "\n\n".join([*head, *(f"[{name}]\n" + "\n".join(lines) for name, lines in tables.items()), stubs]) + "\n"

    def certificate(self, host: str) -> tuple[Path, Path]:
        """The files of a mail host's chain and key."""
        return self.entities[host].write(self.folder / "certs", host)

    # ------------------------------------------------------------------------------------------------- publishing

    def _certify(self, destination: Destination) -> None:
        for name, host in _hosts(destination).items():
            if not host.alias:
                self.entities[name] = self._entity(name, host.cert)

    def _entity(self, name: str, cert: Cert) -> Entity:
        match cert:
            case Cert.SELF_SIGNED:
                return self_signed(name)
            case Cert.SELF_SIGNED_EXPIRED:
                return self_signed(name, wish=Wish(expired=True))
            case Cert.SELF_SIGNED_WRONG_NAME:
                return self_signed("wrong.example")
            case Cert.WEB | Cert.WEB_EXPIRED | Cert.WEB_WRONG_NAME:
                ca = self.web_ca
            case Cert.CHAIN | Cert.CHAIN_EXPIRED | Cert.CHAIN_WRONG_NAME:
                ca = self.private_ca
        wrong = cert in (Cert.WEB_WRONG_NAME, Cert.CHAIN_WRONG_NAME)
        expired = cert in (Cert.WEB_EXPIRED, Cert.CHAIN_EXPIRED)
        return ca.leaf("wrong.example" if wrong else name, expired=expired)

    def _publish(self, destination: Destination) -> None:
        domain, world = destination.domain, self.world
        if destination.signing is None:
            return
        world.zone(domain, destination.signing)
        for preference, name in destination.mx_records:
            world.add(domain, "MX", f"{preference} {name.rstrip('.')}.")
        for name, host in _hosts(destination).items():
            if host.alias:
                world.add(name, "CNAME", f"{host.alias}.")
            else:
                self.address_of[name] = self._next_address()
                world.add(name, "A", self.address_of[name])
            for spec in host.tlsa:
                world.add(f"_{self.smtp_port}._tcp.{name}", "TLSA", self._tlsa(spec, name))
            if host.tlsa_fault is not None:
                world.delegate(f"_tcp.{name}", FAULTY[host.tlsa_fault])
        if destination.policy is not None:
            self._publish_policy(destination, destination.policy)
        for owner, rtype in destination.spoil:
            owner = f"_{self.smtp_port}._tcp.{owner}" if rtype == "TLSA" else owner
            world.spoil(owner, rtype, Spoil.BROKEN)

    def _publish_policy(self, destination: Destination, policy: Policy) -> None:
        domain = destination.domain
        for txt in policy.txt:
            self.world.add(f"_mta-sts.{domain}", "TXT", f'"{txt}"')
        self.world.add(f"mta-sts.{domain}", "A", POLICY_HOST)
        mx = policy.mx or tuple(name for _, name in destination.mx_records)
        text = policy.text or policy_text(*mx, mode=policy.mode)
        self.policies.serve(domain, text, policy.certificate, policy.behaviour)

    def _tlsa(self, spec: str, host: str) -> str:
        usage, selector, matching, *what = spec.split()
        target = what[0] if what else ""
        if target == "wrong":
            return f"{usage} {selector} {matching} {hashlib.sha256(host.encode()).hexdigest()}"
        entity: Entity = self.private_ca if target == "ca" else self.entities[target[3:] if target else host]
        return entity.tlsa(int(usage), int(selector), int(matching))

    def _next_address(self) -> str:
        number = len(self.address_of)
        return f"127.66.{number // 250}.{number % 250 + 1}"

    async def _listen(self, destination: Destination) -> None:
        for name, host in _hosts(destination).items():
            if host.alias or destination.signing is None:
                continue
            chain, key = self.certificate(name)
            ip, port = self.address_of[name], self.smtp_port
            if host.profile == ELSEWHERE:
                continue
            self.mail_hosts.append({"ip": ip, "port": port, "profile": host.profile, "cert": str(chain), "key": str(key)})
            if self._serve_mail:
                await self.mail.listen(ip, port, PROFILES[host.profile], str(chain), str(key))


def _hosts(destination: Destination) -> Mapping[str, Host]:
    if destination.hosts or destination.mx is not None:
        return destination.hosts
    return {f"mx.{destination.domain}": Host()}


def _sender() -> Destination:
    return simple(SENDER_DOMAIN, "where the mail comes from", Host(tlsa=("3 1 1",)))
