"""Transport rules through a running gateway: of one domain's mail, some is held to more than the rest, and the trace says why."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from simnet.internet import Cert, Destination, Host, Internet
from tests.real.gateway_world import SENDER, GatewayWorld, gateway_world, wait_until

pytestmark = pytest.mark.real

LABEL = "MSIP_Label_2096f6a2-d2f7-48be-b329-b73aaa526e5d_Enabled"
DESTINATIONS = [
    Destination("plain.test", "no TLSA records", hosts={"mx.plain.test": Host()}),
    Destination("dane.test", "TLSA records", hosts={"mx.dane.test": Host(("3 1 1",))}),
    Destination("gate.test", "where a rule sends mail", hosts={"mx.gate.test": Host(cert=Cert.WEB)}),
]


def toml(net: Internet, port: int) -> str:
    return net.gateway_toml(port, retry='schedule = ["2s"]\njitter_percent = 0')


def mail(sim_id: str, *head: str, body: bytes = b"hello\r\n") -> bytes:
    lines = [
        f"From: Alice <{SENDER}>",
        f"Subject: {sim_id}",
        f"X-Sim-Id: {sim_id}",
        f"Message-ID: <{sim_id}@sender.test>",
        *head,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def labelled(sim_id: str) -> bytes:
    """As Microsoft 365 writes the label: one long value, folded."""
    return mail(sim_id, f"msip_labels: {LABEL}=True;\r\n MSIP_Label_2096f6a2-d2f7-48be-b329-b73aaa526e5d_SetDate=2026-11-24;")


async def loaded(world: GatewayWorld, *arguments: str) -> None:
    """Run a command that changes rules or connectors, and wait until the gateway has seen it."""
    before = world.gateway.log.read_text().count("connectors loaded")
    await world.run(*arguments)
    await wait_until(lambda: world.gateway.log.read_text().count("connectors loaded") > before, "the gateway loads its rules")


async def last(world: GatewayWorld, to: str | list[str], sim_id: str, content: bytes) -> tuple[str, dict[str, Any]]:
    """Status and last attempt of a message, once it is decided."""
    story = await world.decided(await world.send(to, sim_id, content))
    return story.rows[0].status, story.last


async def test_a_label_holds_one_message_to_dane_and_lets_the_others_go(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.run(
            "New-TransportRule", "Label", "-HeaderContainsMessageHeader", "msip_labels", "-HeaderContainsWords", f"{LABEL}=true",
            "-SmtpDaneMode", "Mandatory",
        )  # fmt: skip
        await world.gateway.start()

        status, attempt = await last(world, "bob@plain.test", "open-1", mail("open-1"))
        assert (status, attempt["smtp_dane_mode"], attempt.get("transport_rules")) == ("Delivered", "Opportunistic", None)
        trace_id = await world.send("bob@plain.test", "secret-1", labelled("secret-1"))
        story = await world.decided(trace_id)
        assert story.rows[0].status == "Pending"
        assert story.last["finding"]["reason"] == "dane-required"
        assert story.last["rows"][0] == "transport-rule"
        (named,) = story.last["transport_rules"]
        assert (named["name"], named["version"]) == ("Label", 1)
        assert named["did"] == ["SmtpDaneMode Opportunistic -> Mandatory"]
        assert "[transport rule 'Label']" in story.text("DEFER")
        assert not world.net.mail.by_id("secret-1")
        # Again without the label, right behind it: nothing of the strict plan is left over, and the other way round.
        assert (await last(world, "bob@plain.test", "open-2", mail("open-2")))[0] == "Delivered"

        # Where DANE holds, both go; by connections of their own.
        for number in range(2):
            status, attempt = await last(world, "bob@dane.test", f"d{number}", labelled(f"d{number}"))
            assert (status, attempt["requirement"]["transport_rules"]) == ("Delivered", [_identity(named)])
            status, attempt = await last(world, "bob@dane.test", f"e{number}", mail(f"e{number}"))
            assert status == "Delivered"
            assert "transport_rules" not in attempt["requirement"]

        shown = await world.run("trace", trace_id)
        assert "Rule  Label (version 1)  SmtpDaneMode Opportunistic -> Mandatory" in shown
        detail = await world.run("Get-MessageTraceDetailV2", "-MessageTraceId", trace_id, "-RecipientAddress", "bob@plain.test")
        assert "[transport rule 'Label']" in detail

        # A message to both domains: each domain's recipients are judged by themselves.
        await loaded(world, "Set-TransportRule", "Label", "-RecipientDomainIs", "plain.test")
        both = await world.decided(await world.send(["bob@plain.test", "bob@dane.test"], "both", labelled("both")))
        assert both.statuses == {"bob@plain.test": "Pending", "bob@dane.test": "Delivered"}
        by_domain = {attempt["domain"]: attempt.get("transport_rules", []) for attempt in both.attempts}
        assert by_domain["dane.test"] == []
        assert by_domain["plain.test"][0]["version"] == 2

        # Held mail takes the rules as they stand.
        await loaded(world, "Disable-TransportRule", "Label", "-Confirm:$false")
        await world.story(trace_id, lambda story: story.rows[0].status == "Delivered")
        assert [change["Action"] for change in await world.json("rule", "history", "--json")] == ["Set", "Set", "New"]


def _identity(named: dict[str, Any]) -> str:
    return f"{named['name']} (version {named['version']}, {named['guid']})"


async def test_text_in_any_encoding_attachments_and_what_cannot_be_read(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.run(
            "rule", "new", "Words", "--subject-or-body-contains-words", "streng geheim", "--smtp-dane-mode", "mandatory"
        )
        await world.run("rule", "new", "Files", "--attachment-extension-matches-words", "dwg", "--smtp-dane-mode", "mandatory")
        await world.run("rule", "new", "Watched", "--mode", "audit", "--message-size-over", "1", "--mta-sts-mode", "mandatory")
        await world.gateway.start()
        encoded = base64.encodebytes("Das ist streng\r\ngeheim.".encode("utf-16")).replace(b"\n", b"\r\n")
        text = ("Content-Type: text/plain; charset=utf-16", "Content-Transfer-Encoding: base64")
        drawing = ("Content-Type: application/octet-stream; name*=utf-8''Pl%C3%A4ne.DWG",)
        smime = ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",)
        cases: list[tuple[str, bytes, list[str]]] = [
            ("words", mail("words", *text, body=encoded), ["Words"]),
            ("file", mail("file", *drawing, body=b"x"), ["Files"]),
            ("smime", mail("smime", *smime, body=b"MIIB"), ["Words", "Files"]),
            ("broken", mail("broken", "Content-Type: multipart/mixed; boundary=b", body=b"hello"), ["Words", "Files"]),
        ]
        for sim_id, content, rules in cases:
            status, attempt = await last(world, "bob@plain.test", sim_id, content)
            found = {rule["name"]: rule for rule in attempt["transport_rules"]}
            assert (status, list(found)) == ("Pending", [*rules, "Watched"]), sim_id
            assert ("uncertain" in found[rules[0]]) == (sim_id in ("smime", "broken"))
            assert found["Watched"]["audit"] is True
            assert attempt["mta_sts_mode"] == "Opportunistic", "Audit changes nothing"
        status, attempt = await last(world, "bob@plain.test", "well", mail("well", body=b"streng, aber nicht geheim"))
        assert (status, [rule["name"] for rule in attempt["transport_rules"]]) == ("Delivered", ["Watched"])
        assert "transport-rule" not in attempt["rows"]

        # What the trace can tell of it, and what it cannot.
        tried = await world.json("rule", "test", "Words", "Files", "--json")
        assert len(tried) == 5
        assert all(not item["changes"] for item in tried if item["subject"] == "well")
        (well,) = (item for item in tried if item["subject"] == "well")
        assert [item["rule"] for item in well["cannotBeTold"]] == ["Words", "Files"]
        assert well["cannotBeTold"][0]["conditions"] == ["SubjectOrBodyContainsWords"]
        assert well["wouldIfMet"]["smtp_dane_mode"] == "Mandatory"
        tried = await world.json("rule", "test", "Watched", "--json")
        assert {(item["changes"], item["would"]["mta_sts_mode"]) for item in tried} == {(True, "Mandatory")}


async def test_a_scoped_connector_is_used_by_rule_only(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, DESTINATIONS, toml) as world:
        await world.run(
            "New-OutboundConnector", "Gate", "-IsTransportRuleScoped", "$true", "-RecipientDomains", "plain.test",
            "-UseMXRecord", "$false", "-SmartHosts", "mx.gate.test", "-TlsSettings", "CertificateValidation",
        )  # fmt: skip
        await world.run(
            "New-TransportRule", "Large", "-MessageSizeOver", "20KB", "-RouteMessageOutboundConnector", "Gate",
            "-ExceptIfSubjectContainsWords", "newsletter",
        )  # fmt: skip
        await world.gateway.start()
        big = b"x" * 70 + b"\r\n"
        status, attempt = await last(world, "bob@plain.test", "small", mail("small"))
        assert (status, attempt["connector_name"], attempt["host"]) == ("Delivered", "(default)", "mx.plain.test")
        status, attempt = await last(world, "bob@plain.test", "large", mail("large", body=big * 400))
        assert (status, attempt["connector_name"], attempt["host"]) == ("Delivered", "Gate", "mx.gate.test")
        assert attempt["transport_rules"][0]["did"] == [
            "connector (default) -> Gate", "TlsSettings $null -> CertificateValidation",
        ]  # fmt: skip
        assert attempt["verdict"]["tls_settings"]["satisfied"] is True
        status, attempt = await last(world, "bob@plain.test", "newsletter", mail("newsletter", body=big * 400))
        assert attempt["connector_name"] == "(default)"
        said = await world.run("Remove-OutboundConnector", "Gate", "-Confirm:$false", ok=(2,))
        assert said == ""
        tried = await world.json("rule", "test", "--json")
        changed = {item["subject"]: item["changes"] for item in tried}
        assert changed == {"small": False, "large": False, "newsletter": False}, "it went by these rules already"
