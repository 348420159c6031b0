"""Probes of a running gateway over real DNS, TLS and HTTPS, without any mail: what they see, tell once, and do not tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simnet.internet import FAULTY, Cert, Host, Internet, Policy, simple
from simnet.mailhost import PROFILES
from simnet.nameserver import Fault
from simnet.pki import self_signed
from simnet.signing import Spoil
from tests.real.gateway_world import GatewayWorld, gateway_world, wait_until

pytestmark = pytest.mark.real

DANE = Host(("3 1 1",))
DESTINATIONS = [
    simple("rolls.test", "a new certificate that no TLSA record knows", DANE),
    simple("republishes.test", "other TLSA records for the old certificate", DANE),
    simple("loses.test", "DANE until it is taken away", DANE),
    simple("silent.test", "DANE, then no answers about it", DANE),
    simple("forgets.test", "signatures that are not made anew", DANE),
    simple("relaxes.test", "a policy in enforce mode, then in testing", Host(cert=Cert.WEB), policy=Policy()),
    simple("partner.test", "of a partner connector; reads the alerts", DANE),
    simple("mailed.test", "gets mail", DANE),
    simple("unasked.test", "nobody has to do with it", DANE),
]
NAMED = ["rolls.test", "republishes.test", "loses.test", "silent.test", "forgets.test", "relaxes.test"]
WATCHED = sorted([*NAMED, "partner.test", "mailed.test"])


def toml(net: Internet, port: int) -> str:
    """The lab's clock: an hour is six seconds."""
    probes = [f"domains = {NAMED}", 'interval = "1h"']
    return net.gateway_toml(port, probes=probes, alerts='mail_to = "admins@partner.test"', lab="clock_speed = 600")


async def probed(world: GatewayWorld, more: int) -> None:
    """Return once every watched domain was probed so many times more."""

    def counts() -> dict[str, int]:
        found = world.store.observations.days("default", since, WATCHED)
        return {domain: sum(day.probes for day in days) for domain, days in found.items()}

    since = (datetime.now(UTC) - timedelta(days=1)).date()
    before = counts()
    await wait_until(
        lambda: all(counts().get(domain, 0) >= before.get(domain, 0) + more for domain in WATCHED),
        f"{more} more probes of each domain; there are {counts()}",
    )


async def readiness(world: GatewayWorld, domain: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = await world.json("readiness", domain, "--days", "1", "--probes", "2", "--json")
    return found[0]


async def test_what_probes_see_is_counted_kept_and_told_once(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.run("New-OutboundConnector", "Partner", "-RecipientDomains", "partner.test")
        await world.gateway.start()
        await world.decided(await world.send("bob@mailed.test", "mail"))
        await probed(world, 2)
        await world.gateway.stop()
        assert await world.json("drift", "list", "--json") == []
        assert sorted(world.store.watched.watched("default")) == WATCHED
        good = await readiness(world, "rolls.test")
        assert (good["attempts"], good["dane"]["state"], good["mtaSts"]["state"]) == (0, "ready", "not offered")
        assert good["dane"]["reasons"][0].startswith(f"All {good['probes']} probes on ")
        assert (await readiness(world, "mailed.test"))["attempts"] == 1
        assert (await readiness(world, "relaxes.test"))["mtaSts"]["state"] == "ready"
        assert len(world.net.mail.by_id("mail")) == len(world.net.mail.messages) == 1

        await change(world)
        await world.gateway.start()
        await probed(world, 2)
        await world.gateway.stop()

        told = await world.json("drift", "list", "--json")
        assert sorted((event["domain"], event["kind"]) for event in told) == [
            ("forgets.test", "signatures-end"),
            ("loses.test", "dane-lost"),
            ("relaxes.test", "sts-weakened"),
            ("republishes.test", "tlsa-mismatch"),
            ("rolls.test", "tlsa-mismatch"),
        ]
        details = {event["domain"]: event["detail"] for event in told}
        assert details["rolls.test"].startswith(
            "the certificate of mx.rolls.test changed, and the two do not match: TLSA 3 1 1 "
        )
        assert details["republishes.test"].startswith("the TLSA records of mx.republishes.test changed, and ")
        assert details["forgets.test"].startswith("the signature of MX forgets.test ends ")
        changes = {domain: [item["kind"] for item in (await readiness(world, domain))["changes"]] for domain in NAMED}
        assert changes == {
            "rolls.test": ["certificate"], "republishes.test": ["tlsa"], "loses.test": ["tlsa"], "relaxes.test": ["policy"],
            "silent.test": [], "forgets.test": [],
        }  # fmt: skip
        states = {domain: (await readiness(world, domain))["dane"]["state"] for domain in NAMED}
        lost = states.pop("loses.test")  # by the lab's clock it may be another day now, which knows nothing but the loss
        assert lost in ("wait", "not offered")
        assert states == {
            "rolls.test": "broken", "republishes.test": "broken", "silent.test": "wait", "forgets.test": "wait",
            "relaxes.test": "not offered",
        }  # fmt: skip
        silent = await readiness(world, "silent.test")
        assert silent["dane"]["unknown"] >= 2
        assert silent["sighting"]["hosts"][0]["matches"], "what was known stays known"
        shown = await world.run("readiness", *NAMED)
        assert "First signature to end: MX forgets.test, " in shown
        assert "certificate changed: mx.rolls.test: key " in shown


async def test_mail_that_meets_a_mismatch_brings_the_probe_forward(tmp_path: Path) -> None:
    def monthly(net: Internet, port: int) -> str:
        probes = ['domains = ["rolls.test"]', 'interval = "30d"', "traffic_days = 0"]
        return net.gateway_toml(port, probes=probes, lab="clock_speed = 600")

    async with gateway_world(tmp_path, [simple("rolls.test", "a new certificate", DANE)], monthly) as world:
        await world.gateway.start()
        await wait_until(lambda: bool(world.store.watched.watched("default", ["rolls.test"])), "it is watched")
        await wait_until(lambda: world.store.watched.watched("default")["rolls.test"].sighting is not None, "it is probed")
        await world.gateway.stop()
        await roll(world)
        world.net.server.reload()
        await world.gateway.start()
        story = await world.decided(await world.send("bob@rolls.test", "mail"))
        assert story.rows[0].status == "Pending"
        await wait_until(lambda: bool(world.store.drift.events("default")), "the mismatch is told")
        assert [event.kind.value for event in world.store.drift.events("default")] == ["tlsa-mismatch"]


async def roll(world: GatewayWorld) -> None:
    """A new certificate, at a new address."""
    chain, key = self_signed("mx.rolls.test").write(world.net.folder / "certs", "rolled")
    await world.net.mail.listen("127.66.9.1", world.net.smtp_port, PROFILES["tls"], str(chain), str(key))
    world.net.world.replace("mx.rolls.test", "A", "127.66.9.1")


async def change(world: GatewayWorld) -> None:
    """What happens at the destinations."""
    net, dns, tlsa = world.net, world.net.world, f"_{world.net.smtp_port}._tcp."
    await roll(world)
    dns.replace(f"{tlsa}mx.republishes.test", "TLSA", f"3 1 1 {'ab' * 32}")
    dns.remove(f"{tlsa}mx.loses.test", "TLSA")
    dns.remove(f"{tlsa}mx.silent.test", "TLSA")
    dns.delegate("_tcp.mx.silent.test", FAULTY[Fault.SERVFAIL])
    dns.spoil("forgets.test", "MX", Spoil.ENDING)
    dns.replace("_mta-sts.relaxes.test", "TXT", '"v=STSv1; id=2;"')
    net.policies.serve("relaxes.test", "version: STSv1\r\nmode: testing\r\nmx: mx.relaxes.test\r\nmax_age: 86400\r\n")
    net.server.reload()
    world.gateway.config.write_text(toml(net, world.port))  # the new delegation is one more stub zone
