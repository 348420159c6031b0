"""The entry point: which command is meant, what goes wrong readably, what is imported, and `sealroute config`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.faces.cli.context import Context, find_config
from sealroute.faces.cli.document import cli_markdown
from sealroute.faces.cli.main import COMMANDS, run, take_config
from tests.unit.cli_world import world

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEALROUTE_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("argv", "code", "out", "err"),
    [
        (["--version"], 0, "sealroute 0.1.0\n", ""),
        (["que"], 2, "", "sealroute: que: there is no such command. Did you mean `sealroute queue`?\n"),
        (["xyzzy"], 2, "", "sealroute: xyzzy: there is no such command. `sealroute --help` lists the commands.\n"),
        (["--verbose"], 2, "", "sealroute: --verbose: there is no such option. `sealroute --help` lists them.\n"),
        (["--config"], 2, "", "sealroute: --config: needs a file name after it.\n"),
        (
            ["queue", "list", "--config", "gone.toml"],
            2,
            "",
            "sealroute: --config: there is no file gone.toml. Name an existing configuration file.\n",
        ),
        (
            ["--config=gone.toml", "Get-MessageTraceV2"],
            2,
            "",
            "Get-MessageTraceV2: --config: there is no file gone.toml. Name an existing configuration file.\n",
        ),
    ],
)
def test_what_is_said(argv: list[str], code: int, out: str, err: str, capsys: Capture) -> None:
    assert run(argv) == code
    assert capsys.readouterr() == (out, err)


def test_help_names_every_command_and_no_arguments_are_unusable_input(capsys: Capture) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and command.help in shown for name, command in COMMANDS.items())
    assert max(map(len, shown.splitlines())) <= 120
    assert run([]) == 2
    assert capsys.readouterr() == ("", shown)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: Capture) -> None:
    assert run([name, "--help"]) == 0
    assert f"sealroute {name}" in capsys.readouterr().out


def test_a_misspelt_option_is_unusable_input(capsys: Capture) -> None:
    assert run(["queue", "list", "--xyzzy"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "No such option: --xyzzy" in err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            OperatorError.one("store.url", "is locked.", "Stop the other."),
            2,
            "sealroute: store.url: is locked. Stop the other.\n",
        ),
        (StoreUnavailable("the disk is full"), 2, "sealroute: the disk is full\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_messages(error: BaseException, code: int, message: str, capsys: Capture) -> None:
    def broken(_asked: str | None) -> Context:
        raise error

    assert run(["queue", "list"], broken) == code
    assert capsys.readouterr() == ("", message)


def test_a_bug_is_not_hidden() -> None:
    def broken(_asked: str | None) -> Context:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(["queue", "list"], broken)


def test_the_store_is_closed_after_a_command() -> None:
    context = world()
    store = context.store
    assert run(["queue", "list"], lambda _asked: context) == 0
    assert getattr(store, "closed", False)
    assert context.preset_store is None


def test_config_may_stand_before_or_after_the_command(capsys: Capture) -> None:
    Path("one.toml").write_text("organization = 'one'")
    Path("two.toml").write_text("organization = 'two'")
    for argv, expected in (
        (["-c", "one.toml", "config", "show"], "one"),
        (["config", "--config=two.toml", "show"], "two"),
        (["-c", "one.toml", "config", "show", "-c", "two.toml"], "two"),
    ):
        assert run([*argv, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["organization"] == expected
    assert take_config(["a", "--", "--config", "x"], short=True) == (None, ["a", "--", "--config", "x"])
    assert take_config(["-Comment", "-c", "--config", "x"], short=False) == ("x", ["-Comment", "-c"])


def test_where_the_configuration_is_found() -> None:
    assert find_config(None, {}) in (None, Path("/etc/sealroute/sealroute.toml"))
    Path("sealroute.toml").write_text("")
    Path("other.toml").write_text("")
    assert find_config(None, {}) == Path("sealroute.toml")
    assert find_config(None, {"SEALROUTE_CONFIG": "other.toml"}) == Path("other.toml")
    assert find_config("sealroute.toml", {"SEALROUTE_CONFIG": "other.toml"}) == Path("sealroute.toml")
    with pytest.raises(OperatorError, match="SEALROUTE_CONFIG: there is no file gone"):
        find_config(None, {"SEALROUTE_CONFIG": "gone"})


@pytest.mark.parametrize("argv", [["dane", "verify", "--help"], ["smtp", "--help"], ["--help"]])
def test_pure_commands_import_neither_store_nor_servers(argv: list[str]) -> None:
    code = (
        "import sys; from sealroute.faces.cli.main import run; run(sys.argv[1:]);"
        "print(sorted({'sqlalchemy', 'fastapi', 'sealroute.settings', 'uvloop', 'httpx'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"


def test_the_reference_of_commands_is_up_to_date() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text() == cli_markdown(), (
        "sealroute config reference cli > docs/reference/cli.md"
    )


# ------------------------------------------------------------------------------------------------------ sealroute config

GOOD = """
hostname = "gw.contoso.com"
[store]
url = "sqlite:///q.db"
[[listeners]]
kind = "relay"
address = "::"
networks = ["10.0.0.0/8"]
[resolver]
forwarders = ["192.0.2.53"]
"""


def test_config_check_says_what_would_run(capsys: Capture) -> None:
    Path("sealroute.toml").write_text(GOOD)
    assert run(["config", "check"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "sealroute.toml: OK",
        "",
        "  Name             gw.contoso.com",
        "  Listens (relay)  [::]:25, mail from 10.0.0.0/8, no TLS",
        f"  Store            sqlite:///{Path.cwd()}/q.db",
        "  Resolver         validates here (libunbound), forwards to 192.0.2.53, trust anchor: IANA's root keys",
        "  Delivers         to port 25 over ipv6 and ipv4",
        "  Retries          after 15m, 15m, 1h (the last repeats), ±10 %; returns mail after 24h",
        "  Observe          http://127.0.0.1:8025/metrics and /healthz; log level info",
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("hostname = 'localhost'", "the host name is 'localhost', which many servers refuse in EHLO. Set hostname."),
        (
            "hostname = 'a.example'\n[resolver]\nkind='ad'\nservers=['192.0.2.53']",
            "the AD bit of 192.0.2.53 is not believed, so DANE never applies to what they answer. Use a resolver on loopback, "
            'kind = "unbound", or trusted = true.',
        ),
        (
            "hostname = 'a.example'\n[[listeners]]\nkind='relay'\nnetworks=['0.0.0.0/0']",
            "listeners[1] relays mail for the whole Internet. Narrow its networks.",
        ),
        (
            "hostname = 'a.example'\n[lab]\nclock_speed = 60",
            "lab.clock_speed is set: retries and expiry do not take their real time. Not for production.",
        ),
    ],
)
def test_config_check_warns(text: str, warning: str, capsys: Capture) -> None:
    Path("sealroute.toml").write_text(f"{text}\n[store]\nurl = 'sqlite:///q.db'\n")
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().err == f"WARNING: {warning}\n"


def test_config_check_tells_every_problem(capsys: Capture) -> None:
    Path("sealroute.toml").write_text("[tls]\nca_file = 'gone.pem'\n[store]\nurl = 'sqlite:///gone/q.db'")
    assert run(["config", "check"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"tls.ca_file: {Path.cwd()}/gone.pem cannot be read: No such file or directory. Correct the name or the file's permissions.",
        f"store.url: the folder {Path.cwd()}/gone does not exist. Create it: mkdir -p {Path.cwd()}/gone",
        "2 problems in sealroute.toml.",
    ]
    assert run(["config", "check", "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is False
    assert [row["where"] for row in shown["problems"]] == ["tls.ca_file", "store.url"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "hostname='a.example'\n[[listeners]]\nkind='submission'\ntls_certificate='c'\ntls_key='k'\n[resolver]\nkind='ad'",
        "hostname='a.example'\n[[resolver.stub_zones]]\nzone='x.example'\naddresses=['127.0.0.1@53']",
    ],
)
def test_config_show_can_be_loaded_again(text: str, capsys: Capture) -> None:
    Path("sealroute.toml").write_text(text)
    assert run(["config", "show"]) == 0
    shown = capsys.readouterr().out
    Path("again.toml").write_text(shown)
    assert run(["config", "show", "--config", "again.toml"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == shown.splitlines()[1:]


def test_config_show_hides_the_stores_password(capsys: Capture) -> None:
    Path("sealroute.toml").write_text("[store]\nurl = 'postgresql+psycopg://me:hunter2@db.example/q'")
    assert run(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert json.loads(out)["store"]["url"] == "postgresql+psycopg://me:***@db.example/q"


def test_config_example_is_the_file_in_the_repository(capsys: Capture) -> None:
    assert run(["config", "example"]) == 0
    assert capsys.readouterr().out == (ROOT / "sealroute.example.toml").read_text()
