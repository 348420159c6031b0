"""`sealroute migrate plan` against real servers, and its own command lines carried out."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from simnet.destinations import DEMO
from simnet.gateway import Gateway
from simnet.internet import Internet
from simnet.nameserver import free_port

pytestmark = [pytest.mark.real, pytest.mark.asyncio]
NAMES = ("dane-good", "sts-good", "no-tlsa", "bogus")


async def test_each_partner_gets_what_it_is_ready_for(tmp_path: Path) -> None:
    cases = [case.destination for case in DEMO if case.destination.domain.removesuffix(".test") in NAMES]
    async with Internet(tmp_path, cases) as net:
        gateway = Gateway(tmp_path, net.gateway_toml(free_port("127.0.0.1")))

        async def run(*arguments: str, ok: tuple[int, ...] = (0,)) -> str:
            return await asyncio.to_thread(gateway.run, *arguments, ok=ok)

        for name in NAMES:
            await run("New-OutboundConnector", f"To {name}", "-RecipientDomains", f"{name}.test", "-UseMXRecord", "$false",
                      "-SmartHosts", "192.0.2.10", "-TlsSettings", "DomainValidation", "-TlsDomain", f"mx.{name}.test",
                      "-SmtpDaneMode", "None")  # fmt: skip
        await run("New-OutboundConnector", "Relay", "-RecipientDomains", "*", "-UseMXRecord", "$false", "-SmartHosts", "a.test")
        found: dict[str, Any] = {item["connector"]: item for item in json.loads(await run("migrate", "plan", "--json"))}
        assert {name: item["target"] for name, item in found.items()} == {
            "To dane-good": "DANE Mandatory",
            "To sts-good": "MTA-STS Mandatory",
            "To no-tlsa": "stay pinned",
            "To bogus": "stay pinned",
        }
        good = found["To dane-good"]
        assert good["gone"] == ["192.0.2.10"]
        assert good["notPinned"] == good["partners"][0]["addresses"] != []
        assert good["partners"][0]["tlsDomainInCertificate"] == {"mx.dane-good.test": True}
        assert "4.7.324" in found["To bogus"]["why"]
        assert found["To bogus"]["steps"] == []
        shown = await run("migrate", "plan", "To dane-good")
        assert "  3. Route by MX, SmtpDaneMode Opportunistic; the connector as it is stays, disabled. " in shown
        for name, mode in (("dane-good", "SmtpDaneMode"), ("sts-good", "MtaStsMode")):
            start, _, _, advance, back = [step["command"] for step in found[f"To {name}"]["steps"] if step["command"]]
            await run(*shlex.split(start)[1:])
            await run(*shlex.split(advance)[1:-2], ok=(1,))
            await run(*shlex.split(advance)[1:-2], "--force", "--reason", "a test")
            await run("analyze", f"{name}.test", "--connector", f"To {name}")
            record = json.loads(await run("connector", "get", f"To {name}", "--json"))
            assert (record["UseMXRecord"], record["SmartHosts"], record[mode]) == (True, [], "Mandatory")
            await run(*shlex.split(back)[1:])
            record = json.loads(await run("connector", "get", f"To {name}", "--json"))
            assert (record["TlsDomain"], record["SmartHosts"]) == (f"mx.{name}.test", ["192.0.2.10"])
            assert record["SmtpDaneMode"] == "None"
        await run("migrate", "plan", "Nobody", ok=(2,))
