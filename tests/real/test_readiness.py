"""`sealroute readiness` after mail over real DNS, TLS and HTTPS: what each destination is found to be, and nothing lost at a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from simnet.internet import FAULTY, Cert, Host, Policy, simple
from simnet.nameserver import Fault
from tests.real.gateway_world import gateway_world

pytestmark = pytest.mark.real

DESTINATIONS = [
    simple("good.test", "DANE that matches", Host(("3 1 1",))),
    simple("enforce.test", "a policy in enforce mode", Host(cert=Cert.WEB), policy=Policy()),
    simple("never.test", "neither", Host()),
    simple("silent.test", "DANE, and no answers about it", Host(("3 1 1",))),
]


async def test_each_destination_is_found_to_be_what_it_is(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS) as world:
        dns, tlsa = world.net.world, f"_{world.net.smtp_port}._tcp."
        dns.remove(f"{tlsa}mx.silent.test", "TLSA")
        dns.delegate("_tcp.mx.silent.test", FAULTY[Fault.SERVFAIL])
        world.net.server.reload()
        world.gateway.config.write_text(world.net.gateway_toml(world.port))  # the new delegation is one more stub zone
        await world.gateway.start()
        for number in range(2):
            for item in DESTINATIONS:
                await world.decided(await world.send(f"bob@{item.domain}", f"{number}-{item.domain}"))
        await world.gateway.stop()

        found = {item["domain"]: item for item in await world.json("readiness", "--days", "1", "--sessions", "2", "--json")}
        assert {domain: (item["dane"]["state"], item["mtaSts"]["state"]) for domain, item in found.items()} == {
            "good.test": ("ready", "not offered"),
            "enforce.test": ("not offered", "ready"),
            "never.test": ("not offered", "not offered"),
            "silent.test": ("wait", "not offered"),
        }
        assert {domain: item["attempts"] for domain, item in found.items()} == dict.fromkeys(found, 2)
        assert found["silent.test"]["dane"]["unknown"] == 2
        assert "TLSA" in found["silent.test"]["dane"]["lastTrouble"]["why"]
        assert found["good.test"]["dane"]["reasons"][0].startswith("All 2 sessions on 1 day since ")
        shown = await world.run("readiness", "silent.test")
        assert "Whether it has DANE could not be found out." in shown
