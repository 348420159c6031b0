"""Two hundred domains at one mail host, half of them with requirements that cannot be met: the others never notice.

All of them lead to one host with one address, and differ in what must hold: DANE, an MTA-STS policy, nothing; or, for those
that fail, a policy that does not name the host, DANE demanded where there is none, a certificate name that is not there, a
policy host that never answers.  The last kind is still being worked on when all others are long done: whatever places there
are (for policy fetches, for runs of a lane) would be taken if siblings shared them, and then no sibling could be served.
The mail host tells which connection a message came over, so that it is seen, and not only recorded, who shared one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from simnet.internet import Cert, Destination, Host, Internet, Policy
from simnet.policyhost import Behaviour
from simnet.signing import Signing
from tests.real.gateway_world import Story, gateway_world

pytestmark = pytest.mark.real

HEALTHY = {"dane": 40, "sts": 20, "open": 40}
BROKEN = {
    "elsewhere": (20, "sts-mx-mismatch"),
    "demanded": (20, "dane-required"),
    "misnamed": (20, "tls-domain-mismatch"),
}
SILENT = 40
PROTECTION = {"dane": "dane", "sts": "mta-sts", "open": "tls"}
SHARED = "mx.shared.test"


def domains(kind: str, count: int) -> list[str]:
    return [f"{kind}{number}.test" for number in range(count)]


def kind_of(address: str) -> str:
    """The kind of `<bob@dane12.test>`."""
    return address.strip("<>").partition("@")[2].partition(".")[0].rstrip("0123456789")


def destination(domain: str) -> Destination:
    kind = kind_of(f"@{domain}")
    policies = {
        "sts": Policy(mx=(SHARED,)),
        "elsewhere": Policy(mx=("mx.fabrikam.test",)),
        "silent": Policy(mx=(SHARED,), behaviour=Behaviour.HANG),
    }
    signing = Signing.NSEC if kind == "dane" else Signing.UNSIGNED
    return Destination(domain, kind, signing, mx=((10, SHARED),), policy=policies.get(kind))


GOOD = [name for kind, count in HEALTHY.items() for name in domains(kind, count)]
BAD = [name for kind, (count, _) in BROKEN.items() for name in domains(kind, count)]
UNHEARD = domains("silent", SILENT)
DESTINATIONS = [
    Destination("shared.test", "the one host", hosts={SHARED: Host(("3 1 1",), cert=Cert.WEB, profile="chunking")}),
    *map(destination, [*UNHEARD, *BAD, *GOOD]),
]


async def test_a_failure_of_one_domain_never_delays_its_siblings_nor_do_they_share_a_connection(tmp_path: Path) -> None:
    assert (len(GOOD), len(BAD) + len(UNHEARD)) == (100, 100)
    async with gateway_world(tmp_path, DESTINATIONS, patient) as world:
        for name, kind, options in (
            ("Demand", "demanded", ("-SmtpDaneMode", "Mandatory")),
            ("Name", "misnamed", ("-TlsSettings", "DomainValidation", "-TlsDomain", "mx.fabrikam.test")),
        ):
            patterns = ",".join(domains(kind, BROKEN[kind][0]))
            await world.run("New-OutboundConnector", name, "-RecipientDomains", patterns, *options)
        await world.gateway.start()
        for round_ in ("first", "second"):
            # One message: all two hundred are worked on at the same time, the broken ones first.
            trace_id = await world.send([f"bob@{name}" for name in (*UNHEARD, *BAD, *GOOD)], round_)
            story = await world.story(trace_id, all_siblings_are_decided)
            assert_each_got_its_own(story)
            copies = await world.received(round_, len(GOOD))
            assert Counter(item.recipients for item in copies) == Counter((f"<bob@{name}>",) for name in GOOD)

        by_connection: dict[int, set[str]] = {}
        for item in world.net.mail.messages:
            if item.id in ("first", "second"):
                by_connection.setdefault(item.connection, set()).update(map(kind_of, item.recipients))
        assert all(len(kinds) == 1 for kinds in by_connection.values()), "only among equal requirements"
        assert {kind for kinds in by_connection.values() for kind in kinds} == set(HEALTHY)
        assert len(by_connection) < 2 * len(GOOD), "and among those they are used again"
        await world.gateway.kill()  # it would wait for the silent ones


def patient(net: Internet, port: int) -> str:
    """A gateway that is still waiting for the silent policy hosts when even a slow machine has done everything else."""
    return net.gateway_toml(port, mta_sts="timeout_seconds = 300.0")


def all_siblings_are_decided(story: Story) -> bool:
    """Every recipient but those of silent policy hosts was delivered, or held with a reason."""
    spoken = {event.recipient for event in story.events} | {f"bob@{name}" for name in UNHEARD}
    return all(row.status != "Pending" or row.recipient in spoken for row in story.rows)


def assert_each_got_its_own(story: Story) -> None:
    """Every domain was judged by its own requirement, the healthy ones in their first run."""
    statuses = story.statuses
    assert {address for address, status in statuses.items() if status == "Delivered"} == {f"bob@{name}" for name in GOOD}
    assert {address for address, status in statuses.items() if status == "Pending"} == {
        f"bob@{name}" for name in (*UNHEARD, *BAD)
    }
    assert not any(kind_of(event.recipient) == "silent" for event in story.events), "nobody waited for those"
    for attempt in story.attempts:
        kind = kind_of(f"@{attempt['domain']}")
        assert attempt["number"] == 1
        if kind in HEALTHY:
            assert attempt["verdict"]["protection"] == PROTECTION[kind], attempt
        else:
            assert attempt["finding"]["reason"] == BROKEN[kind][1], attempt
