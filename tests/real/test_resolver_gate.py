"""The resolver's trust gate with real resolvers: one that stops validating, one with a wrong trust anchor, one far away.

While the gate is shut no Mandatory mail leaves, and why is to be seen wherever somebody looks; it opens by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from simnet.internet import Host, Internet, simple
from simnet.nameserver import free_port
from simnet.recursive import UnboundServer
from simnet.signing import Signing
from simnet.zones import World
from tests.real.gateway_world import GatewayWorld, Story, gateway_world

pytestmark = pytest.mark.real

DESTINATIONS = [
    simple("must.test", "DANE; the connector demands it", Host(("3 1 1",))),
    simple("later.test", "DANE; the connector demands it", Host(("3 1 1",))),
    simple("may.test", "DANE, under the default connector", Host(("3 1 1",))),
    simple("plain.test", "no DNSSEC", Host(), signing=Signing.UNSIGNED),
    simple("broken.test", "its host's address has a broken signature", Host(), spoil=(("mx.broken.test", "A"),)),
]
CANARIES = 'canary_signed = "mx.may.test"\ncanary_unsigned = "mx.plain.test"\ncanary_broken = "mx.broken.test"'
BLIND = (
    "450 4.7.324 resolver-cannot-validate: Our DNS resolver cannot tell valid DNSSEC from invalid, so nothing can be proven: "
)


class Gate:
    """A world whose gateway serves /healthz and /metrics."""

    def __init__(self, world: GatewayWorld, port: int) -> None:
        self.world = world
        self._port = port

    async def start(self) -> None:
        await self.world.run("New-OutboundConnector", "Must", "-RecipientDomains", "must.test,later.test",
                             "-SmtpDaneMode", "Mandatory")  # fmt: skip
        await self.world.gateway.start()

    async def get(self, path: str) -> tuple[int, str]:
        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(ask)

    async def health(self) -> tuple[int, str]:
        """The status of /healthz and what it says of the resolver."""
        status, text = await self.get("/healthz")
        return status, json.loads(text)["parts"]["resolver"]["detail"]

    async def send(self, to: str, sim_id: str) -> Story:
        return await self.world.decided(await self.world.send(to, sim_id))

    async def check(self, code: int, *names: str) -> Any:
        """`sealroute resolver check`, which must end with this exit code."""
        await self.world.run("resolver", "check", ok=(code,))
        return json.loads(await self.world.run("resolver", "check", *names, "--json", ok=(code,)))


def ad(net: Internet, port: int, http: int, servers: str, timeout: float = 5.0) -> str:
    """The configuration of a gateway that asks a resolver next door and believes its AD bit."""
    text = re.sub(r"\[\[resolver\.stub_zones\]\]\nzone = .*\naddresses = .*\n", "", net.gateway_toml(port))
    text = text.replace('trust_anchor_file = "trust-anchor.ds"\nspecial_names = true', f'kind = "ad"\nservers = ["{servers}"]')
    lines = f"timeout_seconds = {timeout}\ncanary_interval_seconds = 10\n{CANARIES}"
    return text.replace("timeout_seconds = 15.0", lines).replace(
        "enabled = false", f'port = {http}\n[retry]\nschedule = ["1s"]'
    )


async def test_a_resolver_that_does_not_validate_and_one_that_stops(tmp_path: Path) -> None:
    http, port = free_port("127.0.0.1"), free_port("127.53.0.2")
    async with gateway_world(tmp_path, DESTINATIONS, lambda net, smtp: ad(net, smtp, http, f"127.53.0.2@{port}")) as world:
        gate = Gate(world, http)
        with UnboundServer(world.net.world, port=port, validates=False):
            await gate.start()
            held = await gate.send("bob@must.test", "held")
            await shows_that_it_is_shut(gate, held)
            # The other modes go by what the resolver shows, and say that it proves nothing.
            other = await gate.send("bob@may.test", "other")
            assert (other.rows[0].status, other.last["verdict"]["protection"]) == ("Delivered", "tls")
            assert "resolver-cannot-validate" in other.last["rows"]
        with UnboundServer(world.net.world, port=port):
            story = await world.story(held.rows[0].message_trace_id, lambda story: story.rows[0].status == "Delivered")
            assert story.last["verdict"]["protection"] == "dane"
            assert await gate.health() == (200, "the resolver tells valid DNSSEC from invalid")
            assert "sealroute_resolver_can_validate 1" in (await gate.get("/metrics"))[1]
            assert (await gate.check(0))["canValidate"] is True
            planned = await gate.send("bob@later.test", "planned")
            assert planned.rows[0].status == "Delivered"
        with UnboundServer(world.net.world, port=port, validates=False):
            await until_health(gate, 503)
            # Its plan would be good for minutes; it was made while the resolver could be trusted.
            late = await gate.send("bob@later.test", "late")
            assert (late.rows[0].status, late.last["rows"][:3]) == (
                "Pending", ["mx-found", "resolver-cannot-validate", "sts-absent"],
            )  # fmt: skip
    assert {item.id for item in world.net.mail.messages if item.id} == {"held", "other", "planned"}


async def shows_that_it_is_shut(gate: Gate, held: Story) -> None:
    """Trace, queue, health, metrics, log and command all say it."""
    world = gate.world
    assert held.rows[0].status == "Pending"
    assert "resolver-cannot-validate" in held.last["rows"]
    assert held.text("DEFER").startswith(BLIND)
    why = "mx.may.test should be secure and is insecure"
    assert why in held.text("DEFER")
    assert "resolver-cannot-validate" in await world.run("queue", "list")
    assert BLIND[:50] in await world.run("queue", "show", held.rows[0].message_trace_id)
    status, detail = await gate.health()
    assert status == 503
    assert why in detail
    assert "sealroute_resolver_can_validate 0" in (await gate.get("/metrics"))[1]
    assert '"can_validate":false' in world.gateway.log.read_text()
    checked = await gate.check(1, "must.test")
    assert checked["resolver"]["kind"] == "ad"
    assert [(probe["name"], probe["expected"], probe["seen"], probe["good"]) for probe in checked["probes"]] == [
        ("mx.may.test", "secure", "insecure", False),
        ("mx.plain.test", "insecure", "insecure", True),
        ("mx.broken.test", "bogus", "insecure", False),
    ]
    assert checked["advice"] == "The resolver accepts broken signatures: it does not validate. Use one that does."
    assert [answer["security"] for answer in checked["names"][0]["answers"]] == ["insecure"] * 3


async def until_health(gate: Gate, status: int) -> None:
    for _ in range(300):
        if (await gate.health())[0] == status:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(await gate.health())


async def test_a_wrong_trust_anchor_is_our_fault_and_holds(tmp_path: Path) -> None:
    http = free_port("127.0.0.1")

    def toml(net: Internet, port: int) -> str:
        text = net.gateway_toml(port, resolver=CANARIES.splitlines(), retry='schedule = ["1s"]')
        return text.replace("enabled = false", f"port = {http}")

    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        right = (tmp_path / "trust-anchor.ds").read_text()
        (tmp_path / "trust-anchor.ds").write_text("".join(f"{line}\n" for line in World().trust_anchors()))
        gate = Gate(world, http)
        await gate.start()
        must, may = await gate.send("bob@must.test", "must"), await gate.send("bob@may.test", "may")
        for story in (must, may):
            assert story.rows[0].status == "Pending"
            assert story.last["rows"] == ["mx-bogus", "resolver-cannot-validate"]
            assert story.text("DEFER").startswith(BLIND)
            assert "tls_report" not in story.last, "it is no failure of the destination's"
        status, detail = await gate.health()
        assert status == 503
        assert "Check trust anchors and the machine's clock" in detail
        checked = await gate.check(1)
        assert checked["resolver"]["trustAnchors"][0].startswith(". D")
        assert [probe["seen"] for probe in checked["probes"]] == ["bogus"] * 3
        assert all(probe["detail"] for probe in checked["probes"]), "the validator's own words"
        assert world.net.mail.messages == []

        await world.gateway.stop()
        (tmp_path / "trust-anchor.ds").write_text(right)
        await world.gateway.start()
        assert {item.id for item in [*await world.received("must"), *await world.received("may")]} == {"must", "may"}
        assert (await gate.check(0))["verdict"] == "the resolver tells valid DNSSEC from invalid"


async def test_a_resolver_elsewhere_is_not_believed_unless_it_is_called_trusted(tmp_path: Path) -> None:
    http, port = free_port("127.0.0.1"), free_port("127.0.0.1")
    # 0.0.0.0 leads to this machine without being a loopback address.
    async with gateway_world(tmp_path, DESTINATIONS, lambda net, smtp: ad(net, smtp, http, f"0.0.0.0@{port}", 1.0)) as world:
        gate = Gate(world, http)
        await gate.start()
        said = "The resolver 0.0.0.0 is not on this machine, so its DNSSEC results are not believed and DANE is never used."
        assert said in world.gateway.log.read_text()
        status, detail = await gate.health()
        assert status == 503
        assert said in detail
        held = await gate.send("bob@must.test", "far")
        assert held.last["rows"][-1] == "resolver-cannot-validate"
        assert said in held.text("DEFER")
        assert said in (await gate.check(1))["verdict"]


async def test_a_tree_of_ones_own_without_canaries_is_believed_and_says_so(tmp_path: Path) -> None:
    http = free_port("127.0.0.1")
    made = lambda net, port: net.gateway_toml(port).replace("enabled = false", f"port = {http}")  # noqa: E731
    async with gateway_world(tmp_path, DESTINATIONS, made) as world:
        gate = Gate(world, http)
        await gate.start()
        status, detail = await gate.health()
        assert status == 200
        assert detail.startswith("not probed: trust anchors, stub zones or root hints of your own are configured")
        assert "resolver not probed" in world.gateway.log.read_text()
        assert (await gate.check(0))["verdict"].startswith("believed without a probe")
        assert (await gate.send("bob@must.test", "sent")).rows[0].status == "Delivered"
