"""The domains that the bulk analyzer is measured on: each kind with its share and what every analysis of it must say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simnet.internet import Cert, Destination, Host, Policy, simple
from simnet.nameserver import Fault
from simnet.policyhost import Behaviour
from simnet.signing import Signing

_GOOD = ("3 1 1",)
_UNSIGNED = Signing.UNSIGNED


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of domain."""

    name: str
    share: int
    """In so many of a hundred domains; see `domains`."""
    standing: str
    """sealroute.services.survey.Standing, by value."""
    protection: str = ""
    """How mail travels under Opportunistic; empty when it does not."""
    code: str = ""
    """For broken ones: the code under Opportunistic."""

    def destination(self, domain: str) -> Destination:
        return _published(self.name, domain)


KINDS = (
    Kind("dane", 24, "dane", "dane"),
    Kind("dane-ta", 5, "dane", "dane"),
    Kind("dane-and-sts", 4, "dane", "dane"),
    Kind("dane-mismatch", 5, "broken", code="4.7.323"),
    Kind("dane-no-starttls", 2, "broken", code="4.7.321"),
    Kind("bogus", 2, "broken", code="4.7.324"),
    Kind("tlsa-servfail", 1, "broken", code="4.7.324"),
    Kind("sts", 12, "sts-enforce", "mta-sts"),
    Kind("sts-wrong-mx", 2, "broken", code="4.4.8"),
    Kind("sts-self-signed", 2, "broken", code="4.7.5"),
    Kind("sts-testing", 5, "sts-testing", "tls"),
    Kind("sts-no-policy", 2, "neither", "tls"),
    Kind("signed", 12, "neither", "tls"),
    Kind("unsigned", 16, "neither", "tls"),
    Kind("plain", 3, "neither", "plain"),
    Kind("null-mx", 1, "broken", code="5.1.10"),
    Kind("missing", 2, "broken", code="5.4.310"),
)


def _published(kind: str, domain: str) -> Destination:
    """What a domain of a kind publishes, and how its servers behave."""
    mx = f"mx.{domain}"
    match kind:
        case "dane":
            return simple(domain, kind, Host(_GOOD))
        case "dane-ta":
            return simple(domain, kind, Host(("2 0 1 ca",), Cert.CHAIN))
        case "dane-and-sts":
            return simple(domain, kind, Host(_GOOD, Cert.WEB), policy=Policy())
        case "dane-mismatch":
            return simple(domain, kind, Host(("3 1 1 wrong",)))
        case "dane-no-starttls":
            return simple(domain, kind, Host(_GOOD, profile="plain"))
        case "bogus":
            return simple(domain, kind, Host(_GOOD), spoil=((domain, "MX"),))
        case "tlsa-servfail":
            return simple(domain, kind, Host(tlsa_fault=Fault.SERVFAIL))
        case "sts":
            return simple(domain, kind, Host(cert=Cert.WEB), signing=_UNSIGNED, policy=Policy())
        case "sts-wrong-mx":
            return simple(domain, kind, Host(cert=Cert.WEB), signing=_UNSIGNED, policy=Policy(mx=(f"other.{mx}",)))
        case "sts-self-signed":
            return simple(domain, kind, Host(), signing=_UNSIGNED, policy=Policy())
        case "sts-testing":
            return simple(domain, kind, Host(cert=Cert.WEB), signing=_UNSIGNED, policy=Policy(mode="testing"))
        case "sts-no-policy":
            return simple(domain, kind, Host(), signing=_UNSIGNED, policy=Policy(behaviour=Behaviour.NOT_FOUND))
        case "signed":
            return simple(domain, kind, Host())
        case "unsigned":
            return simple(domain, kind, Host(), signing=_UNSIGNED)
        case "plain":
            return simple(domain, kind, Host(profile="plain"), signing=_UNSIGNED)
        case "null-mx":
            return Destination(domain, kind, mx=((0, "."),))
        case "missing":
            return Destination(domain, kind, signing=None)
        case _:
            raise ValueError(kind)


def domains(count: int) -> dict[str, Kind]:
    """So many domains, each with its kind, mixed in one order that is always the same."""
    whole: Sequence[Kind] = [kind for kind in KINDS for _ in range(kind.share)]
    # A stride prime to the hundred spreads every kind over the whole list, so that any sample of it is as mixed as all of it.
    return {f"d{number}.test": whole[number * 37 % len(whole)] for number in range(count)}
