"""Validate-OutboundConnector against real servers: the tasks it lists, its exit code, and what it keeps."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from simnet.destinations import DEMO
from simnet.gateway import Gateway
from simnet.internet import Internet

WANTED = ("dane-good", "dane-mismatch", "no-starttls", "sts-good", "sts-testing", "bogus")


async def in_thread(gateway: Gateway, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    return await asyncio.to_thread(gateway.run, *arguments, ok=ok)


CASES = {
    # destination: (mode, exit code, {task: succeeded}, the last line)
    "dane-good": ("Mandatory", 0, {"Resolve": True, "Connect": True, "STARTTLS": True, "DANE": True, "Send test mail": True},
                  "bob@dane-good.test: delivered: 250 "),
    "dane-mismatch": ("Mandatory", 1, {"Resolve": True, "Connect": True, "STARTTLS": True, "DANE": False},
                      "bob@dane-mismatch.test: not delivered: 450 4.7.323 tlsa-invalid: "),
    "no-starttls": ("Mandatory", 1, {"Resolve": True, "Connect": True, "STARTTLS": False, "DANE": False},
                    "bob@no-starttls.test: not delivered: 450 4.7.321 starttls-not-supported: "),
    "sts-good": ("Opportunistic", 0, {"Resolve": True, "Connect": True, "STARTTLS": True, "MTA-STS": True, "Send test mail": True},
                 "bob@sts-good.test: delivered: 250 "),
    "sts-testing": ("Opportunistic", 0, {"Resolve": True, "Connect": True, "STARTTLS": True, "MTA-STS": True, "Send test mail": True},
                    "bob@sts-testing.test: delivered: 250 "),
    "bogus": ("None", 1, {"Resolve": False}, "bob@bogus.test: not delivered: 450 4.7.324 dnssec-invalid: "),
}  # fmt: skip


@pytest.mark.real
async def test_validation_does_what_delivery_does(tmp_path: Path) -> None:
    async with Internet(tmp_path, [case.destination for case in DEMO if case.name in WANTED]) as net:
        gateway = Gateway(tmp_path, net.gateway_toml(25025))
        for name, (mode, code, tasks, last) in CASES.items():
            await in_thread(
                gateway,
                "New-OutboundConnector",
                name,
                "-RecipientDomains",
                f"{name}.test",
                "-SmtpDaneMode",
                mode,
                "-Enabled",
                "$false",
            )
            to = f"bob@{name}.test"
            said = await in_thread(gateway, "Validate-OutboundConnector", name, "-Recipients", to, ok=(code,))
            assert said.strip().splitlines()[-1].startswith(last)
            rows = json.loads(await in_thread(gateway, "connector", "validate", name, "--recipient", to, "--json", ok=(code,)))
            assert {row["TaskName"]: row["IsTaskSuccessful"] for row in rows} == tasks
            kept = json.loads(await in_thread(gateway, "Get-OutboundConnector", name, "-Output", "json"))
            kept = kept[0] if isinstance(kept, list) else kept
            assert kept["IsValidated"] is (code == 0)
            assert kept["LastValidationTimestamp"]
        assert {message.mail.split()[0] for message in net.mail.messages} == {"<>"}
        assert all(b"Subject: Test email for connector validation\r\n" in message.content for message in net.mail.messages)


@pytest.mark.real
async def test_unusable_input_sends_nothing(tmp_path: Path) -> None:
    async with Internet(tmp_path, []) as net:
        gateway = Gateway(tmp_path, net.gateway_toml(25025))
        await in_thread(gateway, "New-OutboundConnector", "a", "-RecipientDomains", "a.test")
        await in_thread(gateway, "Validate-OutboundConnector", "a", ok=(2,))
        await in_thread(gateway, "Validate-OutboundConnector", "a", "-Recipients", "nobody", ok=(2,))
        await in_thread(gateway, "Validate-OutboundConnector", "unknown", "-Recipients", "x@a.test", ok=(2,))
        assert not net.mail.messages
