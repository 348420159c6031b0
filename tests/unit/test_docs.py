"""The documentation against the code: printed pages are current, commands print what pages show, and nothing leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sealroute.base.chain import TrustRoots
from sealroute.base.dnsdata import Answer, Security, Tlsa
from sealroute.faces.cli.cmdlets import all_cmdlets
from sealroute.faces.cli.main import CMDLET_MODULES, COMMANDS
from sealroute.policy.connector import Connector
from sealroute.policy.decide import decide
from sealroute.policy.evidence import Hop, StsEvidence, TlsaLookup
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.parameters import TABLE
from sealroute.policy.reasons import Reason
from sealroute.policy.requirement import HandshakeFacts
from sealroute.policy.table import row_names
from sealroute.policy.verdict import judge
from sealroute.proto.dane.records import parse as parse_tlsa
from sealroute.proto.mtasts.policy import StsMode
from sealroute.services.metrics import Metrics
from sealroute.settings.load import all_keys
from sealroute.settings.load import parse as parse_settings
from simnet.pki import Ca, Entity
from tests.unit import evidence_factory as make
from tests.unit.cli_world import mismatch_attempt
from tools.doc_examples import Fence, Step, fences, matches, outcomes, rewrite, steps
from tools.print_docs import PAGES, with_examples

ROOT = Path(__file__).parents[2]
MARKDOWN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = [*MARKDOWN, *sorted((ROOT / "packaging").iterdir()), ROOT / "sealroute.example.toml"]
REFERENCE = ROOT / "docs/reference"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# --------------------------------------------------------------------------------------------------------- from the code


@pytest.mark.parametrize("name", PAGES)
def test_printed_pages_are_current(name: str) -> None:
    assert (ROOT / name).read_text() == PAGES[name](), f"{name} is stale; run `make docs`"


@pytest.mark.parametrize("path", with_examples(), ids=name_of)
def test_commands_print_what_the_page_shows(path: Path) -> None:
    wrong = [
        f"line {outcome.step.first}: $ {outcome.step.command}\n" + "\n".join(outcome.printed)
        for outcome in outcomes(path.read_text())
        if not outcome.good
    ]
    assert not wrong, "these print something else; look, then run `make docs`:\n" + "\n".join(wrong)


def test_what_the_example_runner_takes_for_right() -> None:
    assert matches(("a … c", "...", "z"), ("a b c", "1", "2", "z"))
    assert matches(("...", "z"), ("z",))
    assert not matches(("a … c",), ("a b d",))
    assert not matches((), ("something",))
    assert not matches(("something",), ())
    block = Fence("console", (), ("$ one \\", "> two", "out", "$ three"), 10)
    assert steps(block) == [Step("one  two", ("out",), 12, 13), Step("three", (), 14, 14)]
    with pytest.raises(ValueError, match="line 11"):
        steps(Fence("console", (), ("out",), 10))


def test_rewriting_keeps_what_a_page_leaves_open() -> None:
    before = "```console\n$ sealroute --version\nsealroute …\nold\n$ echo $?\n1\n```\n"
    after = "```console\n$ sealroute --version\nsealroute …\n$ echo $?\n0\n```\n"
    assert rewrite(before) == after
    assert rewrite(after) == after
    left_out = "```console\n$ sealroute --version\n...\nold\n```\n"
    assert rewrite(left_out) == left_out


def test_reference_names_everything() -> None:
    for module in CMDLET_MODULES:
        import_module(module).register_all()
    settings = page("settings")
    for key in all_keys():
        assert f"`{key[-1]}`" in settings or f"{key[-1]}]]`" in settings, f"setting {key}"
    shown = Metrics().render().decode()
    for name in set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE)):
        assert f"`{name}`" in page("metrics"), f"metric {name}"
    for reason in Reason:
        assert f"\n## {reason.value}\n" in page("reasons"), reason
    for row in row_names():
        assert f"| `{row}` |" in page("decision-table"), row
    for parameter in TABLE:
        assert re.search(rf"^\| {parameter.name}( ＊)? \|", page("connectors"), re.MULTILINE), parameter.name
    for command in COMMANDS:
        assert f"\n## `sealroute {command}`\n" in page("cli"), command
    for cmdlet in all_cmdlets():
        assert f"\n### `sealroute {cmdlet.name}`\n" in page("cli"), cmdlet.name


def test_the_trace_record_page_names_every_key_of_a_record() -> None:
    text = page("trace-record")

    def keys(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                yield from keys(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from keys(inner)

    found = set(keys(mismatch_attempt()))
    assert {"verdict", "chain_sha256", "txt_parsed", "security"} <= found
    assert [key for key in sorted(found) if f"| `{key}` |" not in text] == []


# ------------------------------------------------------------------------------------------------- nothing leads nowhere


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_links_resolve(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in slugs(there), target


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_settings_shown_can_be_loaded(path: Path) -> None:
    for fence in fences(path.read_text()):
        if fence.tag == "toml" and fence.file != "mistake.toml":
            parse_settings("\n".join(fence.lines))


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of every `sealroute ...` in inline code and in blocks of commands."""
    lines = re.findall(r"`([^`\n]+)`", prose(text))
    for fence in fences(text):
        if fence.tag in ("sh", "console", ""):
            lines += [line.removeprefix("$ ") for line in fence.lines]
    for line in lines:
        if found := re.match(r"(?:sudo -u sealroute )?(?:\S*/)?sealroute (.*)", line):
            yield found[1].split(" | ")[0].split("   ")[0].split()


@pytest.mark.parametrize(
    "path", [path for path in MARKDOWN if path.parent != REFERENCE or path.name == "reasons.md"], ids=name_of
)
def test_commands_named_exist(path: Path) -> None:
    for module in CMDLET_MODULES:
        import_module(module).register_all()
    cmdlets = {cmdlet.name.lower() for cmdlet in all_cmdlets()}
    known_options = page("cli") + page("connectors")
    for words in commands_in(path.read_text()):
        name = words[0]
        if name.startswith("-") or name.isupper():
            continue
        assert name in COMMANDS or name.lower() in cmdlets, words
        if name in COMMANDS and not COMMANDS[name].single and len(words) > 1:
            assert f"### `sealroute {name} {words[1]}" in page("cli"), words
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{re.escape(option)}\b", known_options), f"{option} in {words}"


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_metrics_and_reasons_named_exist(path: Path) -> None:
    known = set(re.findall(r"`(sealroute_\w+)`", page("metrics")))
    text = path.read_text()
    named = set(re.findall(r"\bsealroute_\w+(?<!_)", text))
    assert {name for name in named if re.sub(r"_(bucket|sum|count)$", "", name) not in known} == set()
    for words in re.findall(r'reason=~?"([^"]*)"', text):
        assert set(words.split("|")) <= {reason.value for reason in Reason}


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_nothing_unfinished_and_nothing_of_one_machine(path: Path) -> None:
    text = path.read_text()
    for word in ("TODO", "TBD", "FIXME", "XXX", "lorem ipsum", "coming soon", "placeholder"):
        assert not re.search(rf"\b{word}\b", text, re.IGNORECASE if word.islower() else 0), word
    for place in (str(ROOT), "/home/", "/tmp/"):
        assert place not in text, place


def test_the_unit_fits_the_tutorial_and_the_settings() -> None:
    unit = (ROOT / "packaging/sealroute.service").read_text()
    tutorial = (ROOT / "docs/tutorial/first-gateway.md").read_text()
    (program,) = set(re.findall(r"^Exec\w+=(\S+/sealroute) ", unit, re.MULTILINE))
    assert f"ln -s {program} /usr/local/bin/sealroute" in tutorial
    assert set(re.findall(r"--config (\S+)", unit)) == {"/etc/sealroute/sealroute.toml"}
    stop = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert stop > 2 * parse_settings("").limits.shutdown_seconds


# ------------------------------------------------------------------------------- the table in how-dane-and-mta-sts-combine


@cache
def trusted() -> Ca:
    return Ca("Web root")


@cache
def leaf() -> Entity:
    return trusted().leaf(make.HOST)


def published(row: str) -> list[Hop]:
    """What DNS may say for the first column of the table."""

    def host(answer: Answer[Tlsa]) -> Hop:
        return make.hop(make.host(tlsa=(TlsaLookup(make.HOST, answer),)))

    match row:
        case "matches":
            return [host(make.data(parse_tlsa(leaf().tlsa(3, 1, 1)), rtype="TLSA"))]
        case "does not match":
            return [host(make.data(make.GOOD_TLSA, rtype="TLSA"))]
        case "proven absent":
            return [host(make.none(rtype="TLSA"))]
        case "unknown":
            return [host(make.failed(rtype="TLSA")), host(make.failed(Security.BOGUS, rtype="TLSA"))]
    raise AssertionError(row)


def policies(row: str) -> list[tuple[StsEvidence, TrustRoots]]:
    """What MTA-STS may say for the second column, and whom the web PKI trusts."""
    ours, theirs = TrustRoots.from_pem(trusted().pem), TrustRoots.from_pem(Ca("Another root").pem)
    holds = (make.sts(), ours)
    fails = [(make.sts(policy=make.policy(StsMode.ENFORCE, "mx.elsewhere.example")), ours), (make.sts(), theirs)]
    testing = (make.sts(policy=make.policy(StsMode.TESTING)), theirs)
    absent = (make.sts_absent(), theirs)
    return {
        "none": [absent],
        "`enforce`, holds": [holds],
        "`enforce`, fails": fails,
        "`testing`": [testing],
        "any": [holds, *fails, testing, absent],
    }[row]


def became(connector: Connector, hop: Hop, sts: StsEvidence, roots: TrustRoots) -> str:
    """`sent`, or `held` and the code."""
    (host,) = decide(connector, make.evidence(hop, policies=(sts,))).hosts
    finding = host.finding
    if host.requirement is not None:
        seen = HandshakeFacts(datetime.now(UTC), True, None, "", "TLSv1.3", "AES", tuple(leaf().chain()))
        finding = judge(host.requirement, seen, roots).finding
    return "sent" if finding is None else f"held {finding.enhanced(4)}"


def combined() -> Iterator[tuple[str, str, int, str]]:
    """(DANE, policy, column, what the page says) for each cell."""
    text = (ROOT / "docs/explain/how-dane-and-mta-sts-combine.md").read_text()
    table = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[1:]
    for row in table:
        dane, sts, *cells = row.split(" | ")
        yield from ((dane, sts, column, cell) for column, cell in enumerate(cells))


@pytest.mark.parametrize(("dane", "sts", "column", "says"), list(combined()))
def test_the_combinations_are_as_the_page_says(dane: str, sts: str, column: int, says: str) -> None:
    connector = (make.connector(), make.connector(SmtpDaneMode.MANDATORY), make.connector(sts_mode=MtaStsMode.MANDATORY))[
        column
    ]
    seen = {became(connector, hop, *policy) for hop in published(dane) for policy in policies(sts)}
    codes = set(re.findall(r"\d\.\d\.\d+", says))
    word = says.split()[0].rstrip(",")
    assert {outcome.split()[0] for outcome in seen} == {word}
    assert not codes or {outcome.removeprefix("held ") for outcome in seen} == codes
