"""Mail domains worth sending to: the demo's selection, each with what a gateway must make of it under each mode.

Expected outcomes are written as `delivered dane`, `delivered mta-sts`, `delivered tls`, `delivered plain`, `held 4.7.323`
or `returned 5.1.10`.
"""

from __future__ import annotations

from dataclasses import dataclass

from simnet.internet import Cert, Destination, Host, Policy, simple
from simnet.nameserver import Fault
from simnet.policyhost import Behaviour, Certificate
from simnet.signing import Signing

GOOD = ("3 1 1",)
UNSIGNED = Signing.UNSIGNED


@dataclass(frozen=True, slots=True)
class Case:
    """A destination and what is expected of a gateway, by SmtpDaneMode."""

    destination: Destination
    opportunistic: str
    mandatory: str
    none: str

    @property
    def name(self) -> str:
        return self.destination.domain.split(".")[0]

    def expected(self, mode: str) -> str:
        """The outcome under this SmtpDaneMode."""
        return {"Opportunistic": self.opportunistic, "Mandatory": self.mandatory, "None": self.none}[mode]


def _case(name: str, about: str, host: Host, outcomes: tuple[str, str, str], **more: object) -> Case:
    return Case(simple(f"{name}.test", about, host, **more), *outcomes)


def _two_hosts(name: str, about: str, first: Host, second: Host, outcomes: tuple[str, str, str]) -> Case:
    domain = f"{name}.test"
    hosts = {f"mx1.{domain}": first, f"mx2.{domain}": second}
    return Case(Destination(domain, about, mx=((10, f"mx1.{domain}"), (20, f"mx2.{domain}")), hosts=hosts), *outcomes)


DEMO: tuple[Case, ...] = (
    _case("dane-good", "TLSA 3 1 1 matches", Host(GOOD), ("delivered dane", "delivered dane", "delivered tls")),
    _case("dane-ta", "TLSA 2 0 1 names the authority", Host(("2 0 1 ca",), Cert.CHAIN),
          ("delivered dane", "delivered dane", "delivered tls")),
    _case("dane-mismatch", "TLSA matches no certificate", Host(("3 1 1 wrong",)),
          ("held 4.7.323", "held 4.7.323", "delivered tls")),
    _case("dane-expired", "TLSA 2 0 1, certificate expired", Host(("2 0 1 ca",), Cert.CHAIN_EXPIRED),
          ("held 4.7.322", "held 4.7.322", "delivered tls")),
    _case("dane-name", "TLSA 2 0 1, certificate for another name", Host(("2 0 1 ca",), Cert.CHAIN_WRONG_NAME),
          ("held 4.7.325", "held 4.7.325", "delivered tls")),
    _case("no-starttls", "TLSA published, STARTTLS not offered", Host(GOOD, profile="plain"),
          ("held 4.7.321", "held 4.7.321", "delivered plain")),
    _case("unsigned", "zone not signed", Host(), ("delivered tls", "held 4.7.326", "delivered tls"), signing=UNSIGNED),
    _case("no-tlsa", "zone signed, no TLSA", Host(), ("delivered tls", "held 4.7.326", "delivered tls")),
    _case("bogus", "MX record with a broken signature", Host(GOOD), ("held 4.7.324", "held 4.7.324", "held 4.7.324"),
          spoil=(("bogus.test", "MX"),)),
    _case("tlsa-servfail", "name server fails on TLSA", Host(tlsa_fault=Fault.SERVFAIL),
          ("held 4.7.324", "held 4.7.324", "delivered tls")),
    _case("unusable", "only TLSA 1 1 1, unusable for SMTP", Host(("1 1 1",)),
          ("delivered tls", "held 4.7.326", "delivered tls")),
    _two_hosts("second-mx", "first MX fails DANE, second passes", Host(("3 1 1 wrong",)), Host(GOOD),
               ("delivered dane", "delivered dane", "delivered tls")),
    _case("sts-good", "MTA-STS enforce, all good", Host(cert=Cert.WEB),
          ("delivered mta-sts", "held 4.7.326", "delivered mta-sts"), signing=UNSIGNED, policy=Policy()),
    _case("sts-wrong-mx", "MTA-STS enforce, MX not in the policy", Host(cert=Cert.WEB),
          ("held 4.4.8", "held 4.7.326", "held 4.4.8"), signing=UNSIGNED, policy=Policy(mx=("mx.elsewhere.test",))),
    _case("sts-bad-cert", "MTA-STS enforce, self-signed certificate", Host(),
          ("held 4.7.5", "held 4.7.326", "held 4.7.5"), signing=UNSIGNED, policy=Policy()),
    _case("sts-testing", "MTA-STS testing, self-signed certificate", Host(),
          ("delivered tls", "held 4.7.326", "delivered tls"), signing=UNSIGNED, policy=Policy(mode="testing")),
    _case("sts-no-fetch", "MTA-STS policy cannot be fetched", Host(),
          ("delivered tls", "held 4.7.326", "delivered tls"), signing=UNSIGNED, policy=Policy(behaviour=Behaviour.NOT_FOUND)),
    _case("sts-bad-host", "MTA-STS policy host with a self-signed certificate", Host(),
          ("delivered tls", "held 4.7.326", "delivered tls"), signing=UNSIGNED,
          policy=Policy(certificate=Certificate.SELF_SIGNED)),
    _case("both", "DANE and MTA-STS both good", Host(GOOD, Cert.WEB),
          ("delivered dane", "delivered dane", "delivered mta-sts"), policy=Policy()),
    Case(Destination("null-mx.test", "null MX: takes no mail", mx=((0, "."),)),
         "returned 5.1.10", "returned 5.1.10", "returned 5.1.10"),
)  # fmt: skip
"""Under every mode MtaStsMode stays Opportunistic."""
