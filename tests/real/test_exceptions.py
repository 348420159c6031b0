"""A timed exception over real DNS, TLS and SMTP: of two domains at one MX host only the one it names is treated otherwise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sealroute.base.times import rfc3339
from simnet.internet import Destination, Host, Internet
from tests.real.gateway_world import GatewayWorld, gateway_world, wait_until

pytestmark = pytest.mark.real

SHARED = {"mx.shared.test": Host(("3 1 1 wrong",), profile="chunking")}
DESTINATIONS = [
    Destination("shared.test", "the host's own zone", hosts=SHARED),
    *(
        Destination(f"{name}.test", "at the shared host", mx=((10, "mx.shared.test"),))
        for name in ("contoso", "fabrikam", "brief")
    ),
]
HELD = (
    "450 4.7.323 tlsa-invalid: The domain failed DANE validation: "
    "none of 1 usable TLSA records matches the presented certificates"
)


def toml(net: Internet, port: int) -> str:
    return net.gateway_toml(port, retry='schedule = ["1s"]')


async def attempts(world: GatewayWorld, domain: str, sim_id: str) -> tuple[str, list[dict[str, Any]]]:
    """What became of a message to the domain: its status, and its attempts."""
    story = await world.decided(await world.send(f"someone@{domain}", sim_id))
    return story.rows[0].status, story.attempts


async def test_only_the_domain_it_names_goes_and_only_until_it_ends(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        patterns = "contoso.test,fabrikam.test,brief.test"
        await world.run("New-OutboundConnector", "Banks", "-RecipientDomains", patterns, "-SmtpDaneMode", "Mandatory")
        await world.gateway.start()
        assert (await attempts(world, "contoso.test", "before"))[0] == "Pending"
        made = (await except_(world, "contoso.test", "1d"))["id"]
        await world.received("before")

        # Both domains, in turn, through the same host: a connection or a plan of the one must never serve the other.
        for number in range(3):
            status, found = await attempts(world, "contoso.test", f"c{number}")
            last = found[-1]
            assert (status, last["exception"], last["smtp_dane_mode"]) == ("Delivered", made, "ReportOnly")
            assert last["rows"][0] == "exception"
            assert last["requirement"]["exception"] == made
            assert last["verdict"]["would_satisfy_dane"] is False
            status, found = await attempts(world, "fabrikam.test", f"f{number}")
            assert (status, found[0].get("exception"), found[0]["smtp_dane_mode"]) == ("Pending", None, "Mandatory")
            assert "exception" not in found[0]["rows"]
            assert found[0]["finding"]["reason"] == "tlsa-invalid"
        assert {item.recipients for item in world.net.mail.messages if item.recipients} == {("<someone@contoso.test>",)}
        trace_id = await world.send("someone@contoso.test", "shown")
        await world.decided(trace_id)
        shown = await world.run("trace", trace_id)
        assert f"Exception  {made}" in shown
        assert "Decided by  exception, mx-found, dane-usable" in shown

        loads = loaded(world)
        await world.run("exception", "end", made)
        await wait_until(lambda: loaded(world) > loads, "the gateway loads its connectors")
        status, found = await attempts(world, "contoso.test", "after")
        assert (status, found[0].get("exception"), found[0]["smtp_dane_mode"]) == ("Pending", None, "Mandatory")


async def test_it_ends_by_itself(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.run("New-OutboundConnector", "Banks", "-RecipientDomains", "brief.test", "-SmtpDaneMode", "Mandatory")
        end = datetime.now(UTC) + timedelta(seconds=6)
        await except_(world, "brief.test", rfc3339(end))
        await world.gateway.start()
        assert (await attempts(world, "brief.test", "in-time"))[0] == "Delivered"
        await asyncio.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.1)
        status, found = await attempts(world, "brief.test", "too-late")
        assert (status, found[0].get("exception")) == ("Pending", None)
        assert (await world.json("exception", "list", "--all", "--json"))[0]["state"] == "ended by its date"


async def except_(world: GatewayWorld, domain: str, until: str) -> dict[str, Any]:
    made: dict[str, Any] = await world.json(
        "exception", "add", "--connector", "Banks", "--domain", domain, "--smtp-dane-mode", "reportonly", "--until", until,
        "--reason", "the partner renews its certificate", "--json",
    )  # fmt: skip
    return made


def loaded(world: GatewayWorld) -> int:
    """How often the running gateway has loaded connectors and exceptions since its start."""
    return world.gateway.log.read_text().count("connectors loaded")
