"""`sealroute analyze` against real servers: every demo destination under every mode, and everything its options promise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sealroute.services.analysis.reference import CHECKS
from simnet.destinations import DEMO
from simnet.gateway import Gateway, send
from simnet.internet import Host, Internet, simple
from simnet.nameserver import free_port

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
MISMATCH = "dane-mismatch.test"


class Lab:
    """The demo's internet and a gateway's configuration in it."""

    def __init__(self, net: Internet, folder: Path) -> None:
        self.net = net
        self.port = free_port("127.0.0.1")
        self.gateway = Gateway(folder, net.gateway_toml(self.port))

    async def run(self, *arguments: str, ok: tuple[int, ...] = (0, 1)) -> str:
        return await asyncio.to_thread(self.gateway.run, *arguments, ok=ok)

    async def analyze(self, *arguments: str, ok: tuple[int, ...] = (0, 1)) -> list[dict[str, Any]]:
        return list(json.loads(await self.run("analyze", *arguments, "--json", ok=ok)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("analyze")
    async with Internet(folder, [case.destination for case in DEMO]) as net:
        yield Lab(net, folder)


def told(mode: dict[str, Any]) -> str:
    """An outcome as simnet/destinations writes it."""
    word = {"deliver": "delivered", "hold": "held", "return": "returned"}[mode["would"]]
    return f"{word} {mode['protection'] or mode['code']}"


def all_checks(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found for check in checks for found in (check, *all_checks(check["children"]))]


async def test_every_demo_destination_under_every_mode(lab: Lab) -> None:
    dialled = lab.net.mail.dialled
    records = await lab.analyze(*(case.destination.domain for case in DEMO), ok=(1,))
    assert len(records) == len(DEMO)
    for case, record in zip(DEMO, records, strict=True):
        assert record["domain"] == case.destination.domain
        assert len(record["modes"]) == 16
        for mode in record["modes"]:
            if mode["mtaStsMode"] == "Opportunistic" and mode["smtpDaneMode"] != "ReportOnly":
                assert told(mode) == case.expected(mode["smtpDaneMode"]), (case.name, mode)
        assert record["wouldDeliver"] is case.opportunistic.startswith("delivered")
        assert {check["id"] for check in all_checks(record["checks"])} <= set(CHECKS)
    assert lab.net.mail.messages == []
    # Sixteen pairs of modes, and every server was dialled once: those of a domain without readable MX not at all.
    hosts = sum(len(host["addresses"]) for record in records for host in record["hosts"])
    assert lab.net.mail.dialled - dialled == hosts
    assert hosts == len(DEMO) + 1 - len(("bogus", "null-mx"))


async def test_exit_codes_follow_the_modes_asked_about(lab: Lab) -> None:
    await lab.analyze("dane-good.test", ok=(0,))
    await lab.analyze("no-tlsa.test", ok=(0,))
    await lab.analyze("no-tlsa.test", "--dane-mode", "mandatory", ok=(1,))
    await lab.analyze("dane-mismatch.test", "--dane-mode", "none", ok=(0,))
    await lab.analyze("sts-bad-cert.test", ok=(1,))
    (record,) = await lab.analyze("sts-bad-cert.test", "--sts-mode", "ReportOnly", ok=(0,))
    (asked,) = [mode for mode in record["modes"] if mode["inForce"]]
    assert (asked["smtpDaneMode"], asked["mtaStsMode"]) == ("Opportunistic", "ReportOnly")


async def test_a_connector_is_analysed_as_its_mail_meets_it(lab: Lab) -> None:
    await lab.run("New-OutboundConnector", "Strict", "-RecipientDomains", "no-tlsa.test", "-SmtpDaneMode", "Mandatory", ok=(0,))
    (record,) = await lab.analyze("no-tlsa.test", "--connector", "Strict", ok=(1,))
    assert record["connector"] == "Strict"
    await lab.run(
        "New-OutboundConnector", "Chain", "-RecipientDomains", "dane-good.test", "-TlsSettings", "CertificateValidation"
    )
    (record,) = await lab.analyze("dane-good.test", "--connector", "Chain", ok=(1,))
    (asked,) = [mode for mode in record["modes"] if mode["inForce"]]
    assert asked["reason"] == "tls-certificate-invalid"
    await lab.run("exception", "add", "--connector", "Strict", "--domain", "no-tlsa.test", "--smtp-dane-mode", "opportunistic",
                  "--until", "3d", "--reason", "test", ok=(0,))  # fmt: skip
    (record,) = await lab.analyze("no-tlsa.test", "--connector", "Strict", ok=(0,))
    assert record["exception"]
    await lab.run("analyze", "no-tlsa.test", "--connector", "Nobody", ok=(2,))
    await lab.run("connector", "remove", "Strict", ok=(0,))
    await lab.run("connector", "remove", "Chain", ok=(0,))


async def test_the_checks_say_what_is_wrong_whose_side_it_is_and_what_to_publish(lab: Lab) -> None:
    (record,) = await lab.analyze(MISMATCH, ok=(1,))
    checks = {check["id"]: check for check in all_checks(record["checks"])}
    assert checks["dnssec"]["status"] == "ok"
    assert checks["tlsa"]["status"] == "error"
    assert checks["tlsa"]["whose"] == "the recipient's side"
    zones = [check["title"] for check in all_checks(record["checks"]) if check["id"] == "zone"]
    assert zones == ["zone .", "zone test", f"zone {MISMATCH}"]
    ((where, line),) = [(item["where"], *item["lines"]) for item in checks["tlsa"]["publish"]]
    assert where == "zone file"
    assert line == f"_{lab.net.smtp_port}._tcp.mx.{MISMATCH}. IN TLSA {lab.net.entities[f'mx.{MISMATCH}'].tlsa(3, 1, 1)}"
    (bogus,) = await lab.analyze("bogus.test", ok=(1,))
    broken = [check for check in all_checks(bogus["checks"]) if check["id"] == "signature" and check["status"] == "error"]
    assert [check["title"] for check in broken] == ["MX bogus.test"]
    assert any("RRSIG by key" in fact for fact in broken[0]["facts"]), "the signature that does not hold is shown"
    (wrong,) = await lab.analyze("sts-wrong-mx.test", ok=(1,))
    lacking = next(check for check in all_checks(wrong["checks"]) if check["id"] == "sts-host")
    assert "mx: mx.sts-wrong-mx.test" in lacking["publish"][0]["lines"]
    top = next(check for check in wrong["checks"] if check["id"] == "mta-sts")
    assert top["status"] == "error"
    assert "does not cover 1 of 1 mail hosts" in top["said"]
    judged = next(check for check in all_checks(wrong["checks"]) if check["id"] == "sts-certificate")
    assert judged["advice"] is None, "the certificate is not what has to be repaired"


async def test_the_screen_names_verdict_reason_and_remedy_and_fits_100_columns(lab: Lab) -> None:
    shown = await lab.run("analyze", MISMATCH, ok=(1,))
    assert f"{MISMATCH}: mail would be held under SmtpDaneMode Opportunistic, MtaStsMode Opportunistic\n" in shown
    assert "450 4.7.323 tlsa-invalid: The domain failed DANE validation: TLSA 3 1 1 " in shown
    assert "[hold 4.7.323]" in shown
    assert "✗ TLSA  no match: " in shown
    assert f"_{lab.net.smtp_port}._tcp.mx.{MISMATCH}. IN TLSA 3 1 1 " in shown
    assert "\x1b" not in shown


async def test_the_report_is_one_file_that_loads_nothing(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    await lab.run("analyze", MISMATCH, "sts-good.test", "--html", str(file), ok=(1,))
    html = file.read_text()
    assert f"<h1>{MISMATCH}</h1>" in html
    assert "<h1>sts-good.test</h1>" in html
    assert "IN TLSA 3 1 1 " in html
    assert "<script" not in html
    assert "src=" not in html
    await lab.run("analyze", MISMATCH, "--html", str(tmp_path / "no" / "such.html"), ok=(2,))


async def test_other_resolvers_are_shown_beside_ours(lab: Lab) -> None:
    silent = f"127.53.0.10@{lab.net.dns_port}"
    (record,) = await lab.analyze("dane-good.test", "--resolver", silent, "--timeout", "1", ok=(0,))
    compared = record["compared"]
    assert [item["name"] for item in compared["resolvers"]] == ["ours", silent]
    assert {"type": "MX", "name": "dane-good.test"}.items() <= compared["questions"][0].items()
    assert all(item["differs"] for item in compared["questions"])
    assert all(item["answers"][1]["security"] == "unknown" for item in compared["questions"])
    far = await lab.run("analyze", "dane-good.test", "--resolver", "192.0.2.1", "--timeout", "0.3", ok=(0,))
    assert "no answer to anything" in far
    await lab.run("analyze", "dane-good.test", "--resolver", "nonsense", ok=(2,))


async def test_codes_are_explained_without_looking_at_anything(lab: Lab) -> None:
    (item,) = json.loads(await lab.run("analyze", "--explain", "5.7.323", "--json", ok=(0,)))
    assert item["keyword"] == "tlsa-invalid"
    assert item["side"] == "the recipient's mail administrator"
    await lab.run("analyze", "--explain", "nothing", ok=(2,))
    await lab.run("analyze", "--explain", "323", "dane-good.test", ok=(2,))
    await lab.run("analyze", ok=(2,))
    await lab.run("analyze", "not a domain", ok=(2,))


async def test_in_bulk_each_domain_goes_through_its_own_connector(lab: Lab, tmp_path: Path) -> None:
    names = ["no-tlsa.test", "dane-good.test", "unsigned.test"]
    listing, state = tmp_path / "partners.txt", tmp_path / "state"
    listing.write_text("\n".join(names))
    await lab.run("New-OutboundConnector", "Own", "-RecipientDomains", "unsigned.test", "-SmtpDaneMode", "Mandatory", ok=(0,))
    command = ("analyze", "--input", str(listing), "--state", str(state), "--json")

    async def rows(*more: str, ok: tuple[int, ...]) -> list[tuple[str, str, bool]]:
        found = json.loads(await lab.run(*command, *more, ok=ok))["domains"]
        return [(row["connector"], row["dane_mode_asked"], row["would_deliver"]) for row in found]

    plain = ("(default)", "Opportunistic", True)
    own = ("Own", "Mandatory", False)
    assert await rows(ok=(1,)) == [plain, plain, own]
    assert [record["connector"] for record in await lab.analyze(*names, ok=(1,))] == ["(default)", "(default)", "Own"]
    dialled = lab.net.mail.dialled
    assert await rows(ok=(1,)) == [plain, plain, own]
    assert lab.net.mail.dialled == dialled, "all was kept"
    await lab.run("Set-OutboundConnector", "Own", "-SmtpDaneMode", "None", ok=(0,))
    assert await rows(ok=(0,)) == [plain, plain, ("Own", "None", True)], "only what is asked anew is done anew"
    assert lab.net.mail.dialled == dialled + 1
    await lab.run("connector", "remove", "Own", ok=(0,))
    listed = await lab.run("analyze", "--input", str(listing), "--connector", "(default)", "--csv", "-", ok=(0,))
    assert listed.splitlines()[0].endswith("connector,dane_mode_asked,sts_mode_asked,resolvers_differ")


async def test_in_bulk_resolvers_that_differ_are_named(lab: Lab, tmp_path: Path) -> None:
    listing = tmp_path / "partners.txt"
    listing.write_text("dane-good.test\nunsigned.test\n")
    silent = f"127.53.0.10@{lab.net.dns_port}"
    command = ("analyze", "--input", str(listing), "--resolver", silent, "--timeout", "1")
    found = json.loads(await lab.run(*command, "--json", ok=(0,)))
    assert found["summary"]["resolversDiffer"] == 2
    assert "MX dane-good.test" in found["domains"][0]["resolvers_differ"]
    shown = await lab.run(*command, ok=(0,))
    assert "The resolvers differ about 2 domains" in shown
    await lab.run("analyze", "--input", str(listing), "--resolver", "nonsense", ok=(2,))


async def test_many_domains_are_counted_and_taken_up_again(lab: Lab, tmp_path: Path) -> None:
    names = [case.destination.domain for case in DEMO]
    (tmp_path / "partners.csv").write_text("partner,domain\n" + "".join(f"someone,{name}\n" for name in names))
    (tmp_path / "half.txt").write_text("\n".join(names[:10]))
    state, table, html = tmp_path / "state.jsonl", tmp_path / "rows.csv", tmp_path / "rows.html"
    await lab.run("analyze", "--input", str(tmp_path / "half.txt"), "--state", str(state), ok=(1,))
    dialled = lab.net.mail.dialled
    found = json.loads(
        await lab.run("analyze", "--input", str(tmp_path / "partners.csv"), "--state", str(state), "--csv", str(table),
                      "--html", str(html), "--json", ok=(1,))
    )  # fmt: skip
    again = lab.net.mail.dialled - dialled
    # The first ten were not dialled again; of the others the null MX has no server, and second-mx has two.
    assert again == len(names) - 10
    rows = {row["domain"]: row for row in found["domains"]}
    assert list(rows) == names
    for case in DEMO:
        row = rows[case.destination.domain]
        assert row["would_deliver"] is case.opportunistic.startswith("delivered")
        assert row["dane_mandatory"] is case.mandatory.startswith("delivered")
        assert (row["standing"] == "broken") is not case.opportunistic.startswith("delivered")
    held = sum(not case.opportunistic.startswith("delivered") for case in DEMO)
    assert found["summary"]["standings"] == {
        "unknown": 0, "broken": held, "dane": 4, "sts-enforce": 1, "sts-testing": 1, "neither": len(DEMO) - held - 6
    }  # fmt: skip
    assert sum(cause["count"] for cause in found["summary"]["causes"]) == held
    assert len(table.read_text().splitlines()) == len(names) + 1
    assert "sts-bad-cert.test" in html.read_text()
    shown = await lab.run("analyze", "--input", str(tmp_path / "partners.csv"), "--state", str(state), ok=(1,))
    assert lab.net.mail.dialled - dialled == again, "everything was known"
    assert f"{len(DEMO)} domains" in shown
    other = ("analyze", "--input", str(tmp_path / "partners.csv"), "--state", str(state), "--dane-mode", "Mandatory")
    await lab.run(*other, ok=(2,))
    await lab.run("analyze", "--input", str(tmp_path / "none.txt"), ok=(2,))
    await lab.run("analyze", "dane-good.test", "--csv", "-", ok=(2,))


async def test_what_changed_since_a_message_was_held(lab: Lab) -> None:
    """A held message; the partner publishes what the analyzer said; the analyzer shows the change, and the mail would go."""
    await lab.gateway.start()
    try:
        await send(lab.port, f"bob@{MISMATCH}", "held-1")
        trace_id = await held(lab)
    finally:
        await lab.gateway.stop()
    shown = await lab.run("analyze", "--from-trace", trace_id, ok=(1,))
    assert "nothing: DNS, policy and certificates are as they were" in shown
    (record,) = await lab.analyze(MISMATCH, ok=(1,))
    publish = next(check for check in all_checks(record["checks"]) if check["id"] == "tlsa")["publish"]
    owner, _, rtype, rdata = publish[0]["lines"][0].split(maxsplit=3)
    lab.net.world.add(owner, rtype, rdata)
    lab.net.server.reload()
    (record,) = await lab.analyze("--from-trace", trace_id, ok=(0,))
    changed = {item["what"]: (item["then"], item["now"]) for item in record["changes"]["found"]}
    tlsa = f"TLSA {owner.rstrip('.')}"
    assert set(changed) == {tlsa, "result"}
    assert rdata not in changed[tlsa][0]
    assert rdata in changed[tlsa][1]
    assert changed["result"][0].startswith("450 4.7.323 tlsa-invalid")
    assert changed["result"][1] == f"delivered over mx.{MISMATCH}"
    await lab.run("analyze", MISMATCH, "--dane-mode", "Mandatory", ok=(0,))
    await lab.run("analyze", "--from-trace", "unknown", ok=(2,))
    await lab.run("analyze", "--from-trace", trace_id, MISMATCH, ok=(2,))


async def held(lab: Lab) -> str:
    """The trace id of the message once an attempt of it is recorded."""
    for _ in range(100):
        rows = json.loads(await lab.run("trace", "--json", ok=(0,)))
        for row in rows:
            story = json.loads(await lab.run("trace", row["message_trace_id"], "--json", ok=(0,)))
            if story["attempts"]:
                return str(row["message_trace_id"])
        await asyncio.sleep(0.1)
    raise AssertionError("the message was never tried")


async def test_silent_servers_are_waited_for_side_by_side(tmp_path: Path) -> None:
    """Those that say nothing cost the whole run little more than one of them would."""
    count, seconds = 120, 2.0
    silent = [simple(f"s{number}.test", "never says a word", Host(profile="silent")) for number in range(count)]
    async with Internet(tmp_path, silent) as net:
        lab = Lab(net, tmp_path)
        (tmp_path / "list.txt").write_text("\n".join(item.domain for item in silent))
        started = asyncio.get_running_loop().time()
        command = ("analyze", "--input", str(tmp_path / "list.txt"), "--timeout", str(seconds), "--json")
        rows = json.loads(await lab.run(*command, ok=(1,)))["domains"]
        took = asyncio.get_running_loop().time() - started
    assert {(row["standing"], row["reason"]) for row in rows} == {("broken", "connection-timed-out")}
    assert took < count * seconds / 4
