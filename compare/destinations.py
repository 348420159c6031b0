"""Mail domains for the comparison with Postfix and with other validators: the demo's, and the corners of RFC 7672 §2.

Only what a name server and one handshake can show; outcomes are not written down here, since the others are to say them.
"""

from __future__ import annotations

from simnet.destinations import DEMO
from simnet.internet import Cert, Destination, Host, simple
from simnet.nameserver import Fault
from simnet.signing import Signing

GOOD, WRONG = "3 1 1", "3 1 1 wrong"


def _alias(
    name: str, about: str, at_alias: tuple[str, ...], at_target: tuple[str, ...], target: Signing = Signing.NSEC
) -> tuple[Destination, Destination]:
    """The MX host is an alias into another zone; both may have TLSA records, `at_alias` naming the target's certificate."""
    domain, other = f"{name}.test", f"{name}-target.test"
    records = tuple(spec if "wrong" in spec else f"{spec} of:mx.{other}" for spec in at_alias)
    return (
        Destination(domain, about, hosts={f"mx.{domain}": Host(records, alias=f"mx.{other}")}),
        simple(other, f"the target of {domain}", Host(at_target), signing=target),
    )


_MORE: tuple[Destination, ...] = (
    simple("many.test", "one of several TLSA records matches", Host((WRONG, "2 0 1 ca", GOOD))),
    simple("agility.test", "the stronger digest is wrong, the weaker right", Host(("3 1 2 of:mx.dane-good.test", GOOD))),
    simple("agility-both.test", "both digests are right", Host(("3 1 2", GOOD))),
    simple("ee-expired.test", "3 1 1, certificate expired", Host((GOOD,), Cert.SELF_SIGNED_EXPIRED)),
    simple("ee-name.test", "3 1 1, certificate for another name", Host((GOOD,), Cert.SELF_SIGNED_WRONG_NAME)),
    simple("ee-cert.test", "3 0 1", Host(("3 0 1",))),
    simple("ee-full.test", "3 0 0", Host(("3 0 0",))),
    simple("ee-512.test", "3 1 2", Host(("3 1 2",))),
    simple("ta-key.test", "2 1 1 of the authority", Host(("2 1 1 ca",), Cert.CHAIN)),
    simple("ta-full.test", "2 0 0 of the authority", Host(("2 0 0 ca",), Cert.CHAIN)),
    simple("ta-bare.test", "2 1 0 of the authority", Host(("2 1 0 ca",), Cert.CHAIN)),
    simple("ta-other.test", "2 0 1 of an authority that issued nothing here", Host(("2 0 1 ca",))),
    simple("ta-self.test", "2 0 1 of the server's own certificate", Host(("2 0 1",))),
    simple("mixed.test", "2 0 1 of another authority, 3 1 1 right", Host(("2 0 1 ca", GOOD))),
    simple("pkix-and-ee.test", "1 1 1 unusable, 3 1 1 right", Host(("1 1 1", GOOD))),
    simple("pkix-and-wrong.test", "1 1 1 right but unusable, 3 1 1 wrong", Host(("1 1 1", WRONG))),
    simple("digest-length.test", "3 1 2 with too short a digest, 3 1 1 right", Host(("3 1 2 wrong", GOOD))),
    simple("unknown-usage.test", "only 4 1 1", Host(("4 1 1",))),
    simple("unknown-selector.test", "only 3 2 1", Host(("3 2 1",))),
    simple("unknown-matching.test", "only 3 1 9", Host(("3 1 9 wrong",))),
    simple("nsec3.test", "NSEC3, 3 1 1", Host((GOOD,)), signing=Signing.NSEC3),
    simple("nsec3-absent.test", "NSEC3, no TLSA", Host(), signing=Signing.NSEC3),
    simple("opt-out.test", "NSEC3 with opt-out, no TLSA", Host(), signing=Signing.NSEC3_OPT_OUT),
    simple("iterations.test", "NSEC3 with 500 iterations, no TLSA", Host(), signing=Signing.NSEC3_MANY_ITERATIONS),
    simple("iterations-tlsa.test", "NSEC3 with 500 iterations, 3 1 1", Host((GOOD,)), signing=Signing.NSEC3_MANY_ITERATIONS),
    simple("ds-no-key.test", "DS, but the zone is not signed", Host((GOOD,)), signing=Signing.DS_WITHOUT_KEY),
    simple("algorithm.test", "signed by an unknown algorithm", Host((WRONG,)), signing=Signing.UNKNOWN_ALGORITHM),
    simple("unsigned-tlsa.test", "TLSA in a zone that is not signed", Host((WRONG,)), signing=Signing.UNSIGNED),
    simple("tlsa-bogus.test", "TLSA with a broken signature", Host((GOOD,)), spoil=(("mx.tlsa-bogus.test", "TLSA"),)),
    simple("a-bogus.test", "address with a broken signature", Host((GOOD,)), spoil=(("mx.a-bogus.test", "A"),)),
    simple("tlsa-refused.test", "name server refuses TLSA", Host(tlsa_fault=Fault.REFUSED)),
    simple("tlsa-garbage.test", "name server answers TLSA with garbage", Host(tlsa_fault=Fault.GARBAGE)),
    simple("starttls-454.test", "STARTTLS answered 454, TLSA published", Host((GOOD,), profile="starttls454")),
    simple("alert.test", "handshake ends with an alert, TLSA published", Host((GOOD,), profile="handshake-alert")),
    simple("tls11.test", "TLS 1.1 only, TLSA published", Host((GOOD,), profile="tls11")),
    simple("tls12.test", "TLS 1.2 only, TLSA matches", Host((GOOD,), profile="tls12")),
    simple("plain-absent.test", "STARTTLS not offered, no TLSA", Host(profile="plain")),
    Destination("gone.test", "the domain does not exist", None),
    Destination("implicit.test", "no MX record, the domain is the host", mx=(), hosts={"implicit.test": Host((GOOD,))}),
    Destination("implicit-wrong.test", "no MX record, TLSA wrong", mx=(), hosts={"implicit-wrong.test": Host((WRONG,))}),
    *_alias("alias", "alias, TLSA at the expanded name", (), (GOOD,)),
    *_alias("alias-original", "alias, TLSA at the original name only", (GOOD,), ()),
    *_alias("alias-both", "alias, TLSA wrong at the expanded name, right at the original", (GOOD,), (WRONG,)),
    *_alias("alias-expanded", "alias, TLSA right at the expanded name, wrong at the original", (WRONG,), (GOOD,)),
    *_alias("alias-out", "alias into an unsigned zone, TLSA at the original name", (GOOD,), (WRONG,), Signing.UNSIGNED),
    *_alias("alias-out-wrong", "alias into an unsigned zone, TLSA wrong at the original name", (WRONG,), (), Signing.UNSIGNED),
    *_alias("alias-out-none", "alias into an unsigned zone, no TLSA at the original name", (), (WRONG,), Signing.UNSIGNED),
    Destination("alias-in.test", "MX host in an unsigned zone, alias into a signed one", mx=((10, "mx.alias-in-host.test"),)),
    Destination("alias-in-host.test", "an unsigned zone with an alias into a signed one", Signing.UNSIGNED,
                hosts={"mx.alias-in-host.test": Host(alias="mx.dane-good.test")}),
)  # fmt: skip

DESTINATIONS: tuple[Destination, ...] = (*(case.destination for case in DEMO), *_MORE)
