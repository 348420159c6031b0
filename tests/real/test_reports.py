"""Reports against what was delivered: five kinds of destination, one gateway, and the copies at the mail hosts."""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path

import pytest

from simnet.destinations import DEMO
from simnet.internet import Host, simple
from simnet.signing import Signing
from tests.real.gateway_world import gateway_world

SENT = {"dane-good": 2, "sts-good": 1, "unsigned": 3, "plain": 1}
HELD = {"dane-mismatch": 2, "no-starttls": 1}
PROTECTION = {"dane-good": "DANE with DNSSEC", "sts-good": "MTA-STS", "unsigned": "TLS", "plain": "No TLS"}


@pytest.mark.real
async def test_reports_say_what_was_delivered(tmp_path: Path) -> None:
    destinations = [case.destination for case in DEMO if case.name in {**SENT, **HELD}]
    destinations.append(simple("plain.test", "no TLS, nothing published", Host(profile="plain"), signing=Signing.UNSIGNED))
    async with gateway_world(tmp_path, destinations) as world:
        await world.run("New-OutboundConnector", "Plain", "-RecipientDomains", "plain.test")
        await world.gateway.start()
        ids = [
            await world.send(f"bob@{name}.test", f"{name}-{number}")
            for name, count in {**SENT, **HELD}.items()
            for number in range(count)
        ]
        await asyncio.gather(*map(world.decided, ids))
        copies = {name: sum(len(world.net.mail.by_id(f"{name}-{n}")) for n in range(5)) for name in {**SENT, **HELD}}
        assert copies == {**SENT, **dict.fromkeys(HELD, 0)}

        report = await world.json("report", "security", "--json")
        sent = {kind: sum(day[kind] for day in report["sent"]) for kind in PROTECTION.values()}
        assert sent == {PROTECTION[name]: copies[name] for name in SENT}
        blocked = {
            row["RecipientDomain"]: (row["SecurityType"], row["Count"], row["Error"].split()[0]) for row in report["blocked"]
        }
        assert blocked == {
            "dane-mismatch.test": ("DANE with DNSSEC", 2, "4.7.323"),
            "no-starttls.test": ("DANE with DNSSEC", 1, "4.7.321"),
        }
        without = {row["RecipientDomain"]: (row["Sent"], row["NotSent"]) for row in report["without-tls"]}
        assert without == {"plain.test": (1, 0), "no-starttls.test": (0, 1)}

        rows = {row["Connector"]: row for row in csv.DictReader(io.StringIO(await world.run("report", "connectors", "--csv")))}
        volume = {name: (row["Messages"], row["TLSv1.3"], row["No TLS"], row["Blocked"]) for name, row in rows.items()}
        assert volume.pop("Plain") == ("1", "0", "1", "0")
        assert list(volume.values()) == [("6", "6", "0", "3")]
        only = await world.json("Get-OutboundConnectorReport", "-Domain", "plain.test", "-Json")
        assert [(row["Connector"], row["Messages"]) for row in only] == [("Plain", 1)]

        waiting = await world.json("report", "queued", "--older-than", "0s", "--json")
        assert {row["RecipientDomain"]: row["Count"] for row in waiting["domains"]} == {f"{k}.test": v for k, v in HELD.items()}
        assert (await world.json("report", "queued", "--json"))["total"] == 0
