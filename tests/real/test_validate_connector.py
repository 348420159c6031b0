"""Validate-OutboundConnector against real servers: the tasks it lists, its exit code, and what it keeps."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from simnet.destinations import DEMO
from simnet.gateway import Gateway
from simnet.internet import Cert, Destination, Host, Internet, Policy, simple

WANTED = ("dane-good", "dane-mismatch", "no-starttls", "sts-good", "sts-testing", "bogus", "sts-wrong-mx", "unsigned")
GOOD = Host(tlsa=("3 1 1",))
EXTRA = (
    Destination(
        "pair.test",
        "the second host's record does not match",
        mx=((10, "mx1.pair.test"), (20, "mx2.pair.test")),
        hosts={"mx1.pair.test": GOOD, "mx2.pair.test": Host(tlsa=("3 1 1 wrong",))},
    ),
    simple("reject.test", "takes no recipient", Host(tlsa=("3 1 1",), profile="rcpt550")),
    simple("handshake.test", "STARTTLS fails", Host(profile="handshake-alert")),
    simple("relay.test", "a smart host", Host(tlsa=("3 1 1",), cert=Cert.WEB), policy=Policy()),
)
REACHED = {"Connect": "Succeeded", "Greeting": "Succeeded", "EHLO": "Succeeded"}
UNDER_TLS = {**REACHED, "STARTTLS": "Succeeded", "EHLO under TLS": "Succeeded"}
DANE_KNOWN = {"DNSSEC of next hops": "Succeeded", "Look up TLSA": "Succeeded", "Requirement": "Succeeded"}
SENT = {"Send test mail": "Succeeded"}

CASES: dict[str, tuple[str, int, dict[str, str], str, str]] = {
    # destination: (SmtpDaneMode, exit code, tasks that must come out so, codes of the failed ones, the recipient's line)
    "dane-good": ("Mandatory", 0, {**DANE_KNOWN, **UNDER_TLS, "Certificate (DANE)": "Succeeded", **SENT}, "", "delivered: 250 "),
    "dane-mismatch": ("Mandatory", 1, {**DANE_KNOWN, **REACHED, "STARTTLS": "Succeeded", "Certificate (DANE)": "Failed",
                                       "EHLO under TLS": "NotApplicable", "Send test mail": "Failed"},
                      "4.7.323", "not delivered: 450 4.7.323 tlsa-invalid: "),
    "no-starttls": ("Mandatory", 1, {**REACHED, "STARTTLS": "Failed", "Certificate (DANE)": "NotApplicable",
                                     "Send test mail": "Failed"},
                    "4.7.321", "not delivered: 450 4.7.321 starttls-not-supported: "),
    "sts-good": ("Opportunistic", 0, {**UNDER_TLS, "MTA-STS policy": "Succeeded", "MTA-STS names host": "Succeeded",
                                      "Certificate (MTA-STS)": "Succeeded", "Certificate (DANE)": "NotApplicable", **SENT},
                 "", "delivered: 250 "),
    "sts-testing": ("Opportunistic", 0, {**UNDER_TLS, "MTA-STS policy": "Succeeded", **SENT}, "", "delivered: 250 "),
    "sts-wrong-mx": ("Opportunistic", 1, {"MTA-STS policy": "Succeeded", "MTA-STS names host": "Failed",
                                          "Requirement": "NotApplicable", "Send test mail": "Failed"},
                     "4.4.8", "not delivered: 450 4.4.8 MX hosts of "),
    "bogus": ("None", 1, {"Resolve next hops": "NotApplicable", "DNSSEC of next hops": "Failed", "Send test mail": "Failed"},
              "4.7.324", "not delivered: 450 4.7.324 dnssec-invalid: "),
    "unsigned": ("Mandatory", 1, {"DNSSEC of next hops": "NotApplicable", "Look up TLSA": "NotApplicable",
                                  "Requirement": "Failed", "Send test mail": "Failed"},
                 "4.7.326", "not delivered: 450 4.7.326 dane-required: "),
    "pair": ("Mandatory", 1, {"Send test mail": "Succeeded"}, "4.7.323", "delivered: 250 "),
    "reject": ("Opportunistic", 1, {**REACHED, "STARTTLS": "Succeeded", "Certificate (DANE)": "Succeeded",
                                    "Send test mail": "Failed"}, "5.1.1", "not delivered: 550 5.1.1 "),
    "handshake": ("Opportunistic", 0, {**REACHED, "STARTTLS": "NotApplicable", "EHLO under TLS": "NotApplicable", **SENT},
                  "", "delivered: 250 "),
}  # fmt: skip


class Bench:
    """A gateway's command line in a simulated internet."""

    def __init__(self, net: Internet, folder: Path) -> None:
        self.net = net
        self._gateway = Gateway(folder, net.gateway_toml(25025))

    async def run(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
        return await asyncio.to_thread(self._gateway.run, *arguments, ok=ok)

    async def json(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> Any:
        return json.loads(await self.run(*arguments, "--json", ok=ok))


def world(folder: Path) -> Internet:
    return Internet(folder, [*(case.destination for case in DEMO if case.name in WANTED), *EXTRA])


@pytest.mark.real
async def test_validation_does_what_delivery_does(tmp_path: Path) -> None:
    async with world(tmp_path) as net:
        bench = Bench(net, tmp_path)
        for name, (mode, code, tasks, codes, last) in CASES.items():
            scope = ("-RecipientDomains", f"{name}.test", "-SmtpDaneMode", mode, "-Enabled", "$false")
            await bench.run("New-OutboundConnector", name, *scope)
            to = f"bob@{name}.test"
            said = await bench.run("Validate-OutboundConnector", name, "-Recipients", to, ok=(code,))
            assert f"\n{to}: {last}" in said, said
            for each in codes.split():
                assert f"\n{each} " in said, said
            record = await bench.json("connector", "validate", name, "--recipient", to, ok=(code,))
            found = {task["TaskName"]: task["Status"] for task in record["Tasks"]}
            assert {task: found[task] for task in tasks} == tasks, (name, record)
            assert {task["Code"] for task in record["Tasks"]} - {None} == set(codes.split())
            assert all(
                (task["Status"] == "Failed") == bool(task["Sentence"] and task["Side"] and task["Fix"])
                for task in record["Tasks"]
            )
            kept = await bench.json("connector", "get", name)
            assert kept["IsValidated"] is (code == 0) is record["IsValidated"]
            assert kept["LastValidationTimestamp"][:19] == record["At"][:19]
            assert await bench.json("connector", "get", name, "--validation-tasks") == record
        assert {message.mail.split()[0] for message in net.mail.messages} == {"<>"}
        assert all(b"Subject: Test email for connector validation\r\n" in message.content for message in net.mail.messages)


@pytest.mark.real
async def test_every_next_hop_is_opened_and_every_recipient_served(tmp_path: Path) -> None:
    async with world(tmp_path) as net:
        bench = Bench(net, tmp_path)
        await bench.run("New-OutboundConnector", "both", "-RecipientDomains", "pair.test", "-SmtpDaneMode", "Mandatory")
        to = ("bob@pair.test", "eve@pair.test", "bob@dane-good.test")
        record = await bench.json("connector", "validate", "both", *(f"--recipient={one}" for one in to), ok=(1,))
        assert [(mail["Recipient"], mail["IsDelivered"]) for mail in record["Recipients"]] == [(one, True) for one in to]
        assert record["WithoutWay"] == ["mx2.pair.test"]
        failed = [task for task in record["Tasks"] if task["Status"] == "Failed"]
        assert [(task["TaskName"], task["Reason"]) for task in failed] == [("Certificate (DANE)", "tlsa-invalid")]
        second = net.address_of["mx2.pair.test"]
        assert failed[0]["Target"] == f"mx2.pair.test [{second}]:{net.smtp_port}"
        assert len(net.mail.messages) == 3
        assert not [message for message in net.mail.messages if message.listener.startswith(second)]
        shown = await bench.run("Get-OutboundConnector", "both", "-ValidationTasks")
        assert "What to do: Publish a TLSA record that matches the certificate in use" in shown
        assert "Whose side: the recipient's mail administrator" in shown
        history = await bench.json("connector", "history", "both")
        assert [change["Action"] for change in history] == ["Validate", "Set", "New"]


@pytest.mark.real
async def test_many_domains_at_once_come_out_as_delivery_would_have_it(tmp_path: Path) -> None:
    async with Internet(tmp_path, [case.destination for case in DEMO]) as net:
        bench = Bench(net, tmp_path)
        await bench.run("New-OutboundConnector", "all", "-RecipientDomains", "*")
        to = [f"--recipient=bob@{case.destination.domain}" for case in DEMO]
        record = await bench.json("connector", "validate", "all", *to, ok=(1,))
        wanted = {f"bob@{case.destination.domain}": case.opportunistic.split()[-1] for case in DEMO}
        held = {mail["Recipient"]: mail["Sentence"].split()[1] for mail in record["Recipients"] if not mail["IsDelivered"]}
        assert held == {to: code for to, code in wanted.items() if code[0].isdigit()}
        failed = {(task["Domain"], task["Code"]) for task in record["Tasks"] if task["Code"]}
        assert {(to.partition("@")[2], f"4{code[1:]}") for to, code in held.items() if code[0] == "4"} <= failed
        clean = {case.destination.domain for case in DEMO} - {domain for domain, _ in failed}
        assert clean == {case.destination.domain for case in DEMO if case.opportunistic.startswith("delivered")} - {
            "second-mx.test"
        }


@pytest.mark.real
async def test_smart_hosts_are_the_next_hops(tmp_path: Path) -> None:
    async with world(tmp_path) as net:
        bench = Bench(net, tmp_path)
        pinned = net.address_of["mx1.pair.test"]
        await bench.run(
            "New-OutboundConnector", "pinned", "-RecipientDomains", "unsigned.test", "-UseMXRecord", "$false", "-SmartHosts",
            f"[mx.relay.test],{pinned}", "-TlsSettings", "DomainValidation", "-TlsDomain", "mx.relay.test",
        )  # fmt: skip
        record = await bench.json("connector", "validate", "pinned", "--recipient", "bob@unsigned.test", ok=(1,))
        found = {(task["TaskName"], task["Target"].split()[0]): task for task in record["Tasks"]}
        assert found["Certificate (DANE)", "mx.relay.test"]["Status"] == "Succeeded"
        assert found["Certificate (TlsSettings)", "mx.relay.test"]["Status"] == "Succeeded"
        # The pinned address shows a certificate that no public authority vouches for.
        assert found["Certificate (TlsSettings)", pinned]["Code"] == "4.7.320"
        assert found["Certificate (DANE)", pinned]["Status"] == "NotApplicable"
        assert record["WithoutWay"] == [pinned]
        assert [mail["IsDelivered"] for mail in record["Recipients"]] == [True]
        both = "bob@unsigned.test, eve@unsigned.test,bob@unsigned.test"
        said = await bench.run("Validate-OutboundConnector", "pinned", "-Recipients", both, ok=(1,))
        assert [said.count(f"\n{name}@unsigned.test: delivered") for name in ("bob", "eve")] == [1, 1]


@pytest.mark.real
async def test_unusable_input_sends_nothing(tmp_path: Path) -> None:
    async with Internet(tmp_path, []) as net:
        bench = Bench(net, tmp_path)
        await bench.run("New-OutboundConnector", "a", "-RecipientDomains", "a.test")
        await bench.run("Validate-OutboundConnector", "a", ok=(2,))
        await bench.run("Validate-OutboundConnector", "a", "-Recipients", "nobody", ok=(2,))
        await bench.run("Validate-OutboundConnector", "unknown", "-Recipients", "x@a.test", ok=(2,))
        await bench.run("Get-OutboundConnector", "a", "-ValidationTasks", ok=(2,))
        await bench.run("Get-OutboundConnector", "-ValidationTasks", ok=(2,))
        assert not net.mail.messages
