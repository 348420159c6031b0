"""Destinations that lose their protection, over real DNS and HTTPS: told once, and mail goes as the connector says."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from simnet.internet import FAULTY, Cert, Host, Internet, Policy, simple
from simnet.nameserver import Fault, free_port
from tests.real.gateway_world import GatewayWorld, gateway_world

pytestmark = pytest.mark.real

DESTINATIONS = [
    simple("loses.test", "DANE until it is taken away", Host(("3 1 1",))),
    simple("relaxes.test", "a policy in enforce mode, then in testing", Host(cert=Cert.WEB), policy=Policy()),
    simple("stripped.test", "a policy whose record is taken away", Host(cert=Cert.WEB), policy=Policy()),
    simple("silent.test", "DANE, then no answers about it", Host(("3 1 1",))),
    simple("stays.test", "DANE that stays", Host(("3 1 1",))),
    simple("never.test", "neither", Host()),
]
NAMES = [destination.domain for destination in DESTINATIONS]


async def mail_to_all(world: GatewayWorld, tag: str) -> dict[str, str]:
    """The status of one message to each destination."""
    ids = {name: await world.send(f"bob@{name}", f"{tag}-{name}") for name in NAMES}
    return {name: (await world.decided(trace_id)).rows[0].status for name, trace_id in ids.items()}


async def known(world: GatewayWorld, count: int, *command: str) -> list[dict[str, Any]]:
    """What the command lists once it lists that much."""
    for _ in range(200):
        found: list[dict[str, Any]] = await world.json("drift", *command, "--json")
        if len(found) >= count:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(found)


async def test_what_goes_is_told_once_and_what_cannot_be_found_out_is_not(tmp_path: Path) -> None:
    http = free_port("127.0.0.1")

    def toml(net: Internet, port: int) -> str:
        return net.gateway_toml(port).replace("enabled = false", f"port = {http}")

    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.gateway.start()
        assert set((await mail_to_all(world, "before")).values()) == {"Delivered"}
        states = {item["domain"]: (item["dane"], item["mtaSts"]) for item in await known(world, 5, "known")}
        assert states == {
            "loses.test": ("all", "absent"), "silent.test": ("all", "absent"), "stays.test": ("all", "absent"),
            "relaxes.test": ("none", "enforce"), "stripped.test": ("none", "enforce"),
        }  # fmt: skip
        assert await world.json("drift", "list", "--json") == []

        await world.gateway.stop()
        dns, tlsa = world.net.world, f"_{world.net.smtp_port}._tcp."
        dns.remove(f"{tlsa}mx.loses.test", "TLSA")
        dns.remove(f"{tlsa}mx.silent.test", "TLSA")
        dns.delegate("_tcp.mx.silent.test", FAULTY[Fault.SERVFAIL])
        dns.remove("_mta-sts.stripped.test", "TXT")
        dns.replace("_mta-sts.relaxes.test", "TXT", '"v=STSv1; id=2;"')
        world.net.policies.serve("relaxes.test", "version: STSv1\r\nmode: testing\r\nmx: mx.relaxes.test\r\nmax_age: 86400\r\n")
        world.net.server.reload()
        world.gateway.config.write_text(toml(world.net, world.port))  # the new delegation is one more stub zone
        await world.gateway.start()
        statuses = await mail_to_all(world, "after")
        assert statuses == {**dict.fromkeys(NAMES, "Delivered"), "silent.test": "Pending"}
        events = {event["domain"]: event for event in await known(world, 3, "list")}
        assert {name: (event["kind"], event["detail"].split(" until ")[0]) for name, event in events.items()} == {
            "loses.test": ("dane-lost", "mx.loses.test publishes no TLSA record"),
            "relaxes.test": ("sts-weakened", "its policy's mode is testing"),
            "stripped.test": ("sts-weakened", "it publishes no MTA-STS record; the cached policy stays in force"),
        }
        assert all(event["knownSince"] and event["lastSeen"] for event in events.values())
        assert '"dane-lost"' in world.gateway.log.read_text()
        metrics = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=30).read())
        assert b'sealroute_drift_total{kind="dane-lost"} 1.0' in metrics

        await world.gateway.stop()
        await world.gateway.start()
        await mail_to_all(world, "again")
        await world.gateway.stop()  # writes what is still noted
        assert len(await world.json("drift", "list", "--json")) == 3
