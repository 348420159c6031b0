"""`connector match` and `analyze` say of a domain under transport rules what delivery then does with its mail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simnet.internet import Cert, Destination, Host, Internet
from tests.real.gateway_world import GatewayWorld, gateway_world, wait_until
from tests.real.test_transport_rules import mail

pytestmark = pytest.mark.real

DESTINATIONS = [
    Destination("plain.test", "no TLSA records", hosts={"mx.plain.test": Host()}),
    Destination("dane.test", "TLSA records", hosts={"mx.dane.test": Host(("3 1 1",))}),
    Destination("gate.test", "where a rule sends mail", hosts={"mx.gate.test": Host(cert=Cert.WEB)}),
]
SPOKEN = {"Delivered": "deliver", "Pending": "hold"}


def toml(net: Internet, port: int) -> str:
    return net.gateway_toml(port, retry='schedule = ["2s"]\njitter_percent = 0')


async def changed(world: GatewayWorld, *commands: tuple[str, ...]) -> None:
    """Run commands, one after the other, and wait each time until the gateway has loaded what they changed."""
    for command in commands:
        before = world.gateway.log.read_text().count("connectors loaded")
        await world.run(*command)
        await wait_until(lambda: world.gateway.log.read_text().count("connectors loaded") > before, "it is loaded")  # noqa: B023


async def agreed(world: GatewayWorld, domain: str, sim_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask both, send a message that meets no further rule, compare; returns what match says, and the last attempt."""
    matched: dict[str, Any] = await world.json("connector", "match", f"bob@{domain}", "--json")
    (analysed,) = json.loads(await world.run("analyze", domain, "--json", ok=(0, 1)))
    story = await world.decided(await world.send(f"bob@{domain}", sim_id, mail(sim_id)))
    attempt = story.last
    (in_force,) = [mode for mode in analysed["modes"] if mode["inForce"]]
    modes = attempt["smtp_dane_mode"], attempt["mta_sts_mode"]
    assert attempt["connector_name"] == matched["connector"] == analysed["connector"]
    assert modes == (matched["smtpDaneMode"], matched["mtaStsMode"]) == (in_force["smtpDaneMode"], in_force["mtaStsMode"])
    assert in_force["would"] == SPOKEN[story.rows[0].status]
    assert in_force["host"] == attempt["host"] or in_force["would"] == "hold"
    certain = [item["rule"] for item in matched["transportRules"] if item["applies"] == "certainly"]
    assert [item["name"] for item in attempt.get("transport_rules", ())] == certain
    assert analysed["transportRules"] == matched["transportRules"]
    (recorded,) = analysed["attempts"][-1:]
    finding, expected = attempt.get("finding") or {}, recorded.get("finding") or {}
    assert finding.get("reason") == expected.get("reason")
    return matched, attempt


async def test_match_analyze_and_the_trace_agree(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.gateway.start()
        matched, attempt = await agreed(world, "plain.test", "none")
        assert (matched["transportRules"], attempt["smtp_dane_mode"]) == ([], "Opportunistic")

        # A mode raised for one domain: held there, delivered where there is DANE, untouched elsewhere.
        rule = ("New-TransportRule", "Strict", "-RecipientDomainIs", "plain.test,dane.test", "-SmtpDaneMode", "Mandatory")
        await changed(world, rule)
        matched, attempt = await agreed(world, "plain.test", "held")
        assert (matched["smtpDaneMode"], attempt["finding"]["reason"]) == ("Mandatory", "dane-required")
        matched, attempt = await agreed(world, "dane.test", "dane")
        assert attempt["verdict"]["protection"] == "dane"
        matched, _ = await agreed(world, "gate.test", "other")
        assert matched["transportRules"] == []

        # A route, one that is watched only, and one that depends on the message.
        await changed(
            world,
            ("Remove-TransportRule", "Strict", "-Confirm:$false"),
            ("New-OutboundConnector", "Gate", "-IsTransportRuleScoped", "$true", "-UseMXRecord", "$false",
             "-SmartHosts", "mx.gate.test", "-TlsSettings", "CertificateValidation", "-ConnectorType", "Partner"),
            ("New-TransportRule", "Secret", "-SubjectContainsWords", "secret", "-SmtpDaneMode", "Mandatory"),
            ("New-TransportRule", "Watched", "-RecipientDomainIs", "plain.test", "-SmtpDaneMode", "Mandatory", "-Mode", "Audit"),
            ("New-TransportRule", "Gate", "-RecipientDomainIs", "plain.test", "-RouteMessageOutboundConnector", "Gate"),
        )  # fmt: skip
        matched, attempt = await agreed(world, "plain.test", "routed")
        assert (matched["connector"], matched["byDomain"], matched["tlsSettings"]) == (
            "Gate",
            "(default)",
            "CertificateValidation",
        )
        assert attempt["host"] == "mx.gate.test"
        assert [item["rule"] for item in matched["transportRules"]] == ["Secret", "Watched", "Gate"]

        # And the one that depends on the message does what was foretold of it.
        (secret,) = [item for item in matched["transportRules"] if item["rule"] == "Secret"]
        assert secret["dependsOn"] == {"SubjectContainsWords": ["secret"]}
        story = await world.decided(await world.send("bob@plain.test", "secret", mail("secret")))
        last = story.last
        assert (last["connector_name"], last["smtp_dane_mode"]) == (secret["connector"], secret["smtpDaneMode"])
        assert last["transport_rules"][0]["did"] == secret["did"]
