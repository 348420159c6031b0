"""A pinned connector's way to MtaStsMode Mandatory and, by the gateway itself, back.

As in test_tutorial_migrate, days pass by the clock that commands are given; the gateway keeps to the wall.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.move import Move, MoveStep
from sealroute.policy.readiness import Mechanism
from simnet.internet import Cert, Host, Internet, Policy, simple
from simnet.policyhost import policy_text
from simnet.signing import Signing
from tests.real.gateway_world import GatewayWorld, Story, gateway_world, wait_until
from tests.real.test_tutorial_migrate import CLI

pytestmark = [pytest.mark.real, pytest.mark.slow]
PARTNER, ADMINS, NAME = "fabrikam.com", "postmaster@contoso.com", "To Fabrikam"
WANTED = 3
"""Sessions to be observed, and messages held that are too many."""


class Way:
    """The partner, the connector, and the commands about it."""

    def __init__(self, world: GatewayWorld) -> None:
        self.world = world
        self.sent = 0

    async def command(self, *words: str, ahead: timedelta = timedelta(0), ok: int = 0) -> str:
        """What a command prints that is given `ahead` of now."""
        line = [sys.executable, "-c", CLI, str(ahead.total_seconds()), str(self.world.gateway.config), *words]
        done = await asyncio.to_thread(
            subprocess.run, line, cwd=self.world.gateway.folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def connectors(self) -> dict[str, Connector]:
        return {item.name: item for item in self.world.store.connectors.all("default")}

    def move(self) -> Move:
        return self.world.store.moves.all("default")[0]

    def satisfied(self) -> int:
        days = self.world.store.moves.days(self.move()).get(PARTNER, ())
        return sum(day.tally(Mechanism.MTA_STS).satisfied for day in days)

    async def send(self) -> str:
        self.sent += 1
        return await self.world.send(f"bob@{PARTNER}", f"way-{self.sent}")

    async def deliver(self) -> Story:
        story = await self.world.decided(await self.send())
        assert set(story.statuses.values()) == {"Delivered"}, story
        return story

    async def publish(self, mode: str, number: int) -> None:
        """Another policy of the partner; the gateway is restarted, so that nobody waits for the old record's time to live."""
        net = self.world.net
        net.policies.serve(PARTNER, policy_text(f"mx.{PARTNER}", mode=mode))
        net.world.replace(f"_mta-sts.{PARTNER}", "TXT", f'"v=STSv1; id={number};"')
        net.server.reload()
        await self.world.gateway.stop()
        await self.world.gateway.start()


async def test_to_enforced_mta_sts_by_observation_and_back_by_itself(tmp_path: Path) -> None:
    host = Host(cert=Cert.WEB)
    destinations = [
        simple(PARTNER, "MTA-STS enforce", host, signing=Signing.UNSIGNED, policy=Policy()),
        simple("contoso.com", "the administrators", Host()),
    ]

    def toml(net: Internet, port: int) -> str:
        return net.gateway_toml(port, alerts=f'mail_to = "{ADMINS}"')

    async with gateway_world(tmp_path, destinations, toml) as world:
        way = Way(world)
        await world.run("New-OutboundConnector", NAME, "-RecipientDomains", PARTNER, "-UseMXRecord", "$false",
                        "-SmartHosts", world.net.address_of[f"mx.{PARTNER}"], "-TlsSettings", "DomainValidation",
                        "-TlsDomain", f"mx.{PARTNER}", "-SmtpDaneMode", "None", "-MtaStsMode", "None")  # fmt: skip
        pinned = way.connectors()[NAME]
        await way.command("migrate", "start", NAME, "--sessions", str(WANTED), "--max-held", str(WANTED))
        assert (way.move().mechanism, way.move().step) == (Mechanism.MTA_STS, MoveStep.OBSERVING)
        by_mx = way.connectors()[NAME]
        assert (by_mx.use_mx_record, by_mx.smart_hosts, by_mx.tls_domain) == (True, (), None)
        assert (by_mx.tls_settings, by_mx.mta_sts_mode) == (TlsSettings.CERTIFICATE_VALIDATION, MtaStsMode.OPPORTUNISTIC)

        # Observed: neither too few sessions nor too few days are enough.
        await world.gateway.start()
        for _ in range(WANTED - 1):
            assert "sts-enforce" in (await way.deliver()).last["rows"]
        await wait_until(lambda: way.satisfied() == WANTED - 1, "every session is counted")
        fortnight = timedelta(days=14, minutes=1)
        said = await way.command("migrate", "advance", NAME, ahead=fortnight, ok=1)
        assert f"{WANTED - 1} of {WANTED} satisfied sessions." in said
        await way.deliver()
        await wait_until(lambda: way.satisfied() == WANTED, "every session is counted")
        assert "of 14d" in await way.command("migrate", "advance", NAME, ok=1)
        assert way.connectors()[NAME] == by_mx
        await way.command("migrate", "advance", NAME, ahead=fortnight)
        strict = way.connectors()[NAME]
        assert (strict.mta_sts_mode, strict.smtp_dane_mode) == (MtaStsMode.MANDATORY, SmtpDaneMode.OPPORTUNISTIC)
        assert way.move().step is MoveStep.MANDATORY
        await asyncio.sleep(3)  # the gateway looks every second whether a command changed connectors
        last = (await way.deliver()).last
        assert (last["mta_sts_mode"], "sts-enforce" in last["rows"]) == ("Mandatory", True)

        # A policy that no longer enforces would do for Opportunistic; it does not for what was asked.
        await way.publish("testing", 2)
        waiting = [await way.send() for _ in range(WANTED)]
        for trace_id in waiting:
            story = await world.decided(trace_id)
            assert story.last["finding"]["reason"] == "sts-required", story.last

        # The gateway goes back by itself, tells administrators, and what was held is delivered the old way.
        await wait_until(lambda: way.move().step is MoveStep.ROLLED_BACK, "the gateway rolls back")
        ended = way.move().ended
        assert ended is not None
        assert ended.by == "sealroute"
        assert ended.why.startswith(f"{WANTED} messages held")
        assert ended.why.endswith(f"Why: sts-required at {PARTNER}.")
        for trace_id in waiting:
            story = await world.story(trace_id, lambda story: set(story.statuses.values()) == {"Delivered"})
            assert story.last["rows"][0] == "smart-host", story.last
        assert way.connectors() == {NAME: replace(pinned, when_changed=way.connectors()[NAME].when_changed)}
        about = f"Subject: Sealroute: move-rolled-back at {PARTNER}".encode()
        await wait_until(lambda: any(about in item.content for item in world.net.mail.messages), "administrators are told")
