"""Settings: what is accepted, and that every problem names file, line, key and remedy."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError
from sealroute.settings import AddressFamily, ListenerKind, ResolverKind, check_files, load, parse
from sealroute.settings.document import example_toml, reference_markdown
from sealroute.settings.durations import format_duration, parse_duration
from sealroute.settings.load import all_keys

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to/private-roots-and-labs.md"


def problems(text: str, **environment: str) -> list[str]:
    with pytest.raises(OperatorError) as caught:
        parse(text, Path("gw.toml"), environment)
    return [str(problem) for problem in caught.value.problems]


def test_without_a_file_everything_has_a_default() -> None:
    settings = load(None, {})
    assert settings.store.url == "sqlite:////var/lib/sealroute/sealroute.db"
    assert [(x.kind, x.address, x.effective_port) for x in settings.listeners] == [(ListenerKind.RELAY, "127.0.0.1", 25)]
    assert settings.delivery.allow_private_destinations is False
    assert settings.retry.schedule == (timedelta(minutes=15), timedelta(minutes=15), timedelta(hours=1))
    assert settings.postmaster == f"postmaster@{settings.hostname}"
    assert settings.generating_server == settings.hostname


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hostnam = 'x'", "gw.toml:1: hostnam: there is no such setting. Did you mean hostname?"),
        (
            "[delivery]\n\nsmtp_prot = 25",
            "gw.toml:3: delivery.smtp_prot: there is no such setting. Did you mean smtp_port?",
        ),
        ("[lab]\nca_file = 'x'", "gw.toml:2: lab.ca_file: there is no such setting. There is one in [tls]."),
        ("[xyzzy]\na = 1", "gw.toml:1: xyzzy: there is no such setting. `sealroute config example` lists all settings."),
        ("[delivery]\nsmtp_port = '25'", "gw.toml:2: delivery.smtp_port: must be a whole number, not '25'."),
        ("[delivery]\nsmtp_port = true", "gw.toml:2: delivery.smtp_port: must be a whole number, not true."),
        ("[delivery]\nsmtp_port = 70000", "gw.toml:2: delivery.smtp_port: 70000 is out of bounds. Give at most 65535."),
        ("delivery.smtp_port = 0", "gw.toml:1: delivery.smtp_port: 0 is out of bounds. Give at least 1."),
        (
            "[retry]\nschedule = ['5s', '15x']",
            "gw.toml:2: retry.schedule[2]: '15x' is not a span of time; write it as 30s, 15m, 4h, 2d or 1h30m.",
        ),
        ("[retry]\nschedule = []", "gw.toml:2: retry.schedule: has 0 entries. At least 1 needed."),
        (
            "[retry]\nmessage_expiration = '30m'",
            "gw.toml:2: retry.message_expiration: 30m is out of bounds. Give at least 1 hour.",
        ),
        ("[resolver]\nforwarders = ['nope']",
         "gw.toml:2: resolver.forwarders[1]: 'nope' is not an IP address; write it as 192.0.2.1 or 2001:db8::1."),
        ("[resolver]\nforwarders = ['127.0.0.1@x']",
         "gw.toml:2: resolver.forwarders[1]: '127.0.0.1@x' has no valid port after the @; write it as 192.0.2.1@53."),
        ("[resolver]\nkind = 'ad'\ntrust_anchor_file = 'x'",
         'gw.toml:1: resolver: trust_anchor_file has no effect with kind = "ad"; take it out or change the kind.'),
        ("[resolver]\ntrusted = true",
         'gw.toml:1: resolver: trusted has no effect with kind = "unbound"; take it out or change the kind.'),
        ("[logging]\nlevel = 'loud'", "gw.toml:2: logging.level: 'loud' is not one of debug, info, warning, error."),
        ("[[listeners]]\nkind = 'relay'\n[[listeners]]\nkind = 'submission'",
         "gw.toml:3: listeners[2]: a submission listener needs tls_certificate and tls_key: passwords travel only over TLS."),
        ("[[listeners]]\nkind = 'submission'\ntls_certificate='a'\ntls_key='b'\nnetworks=['10.0.0.0/8']",
         "gw.toml:1: listeners[1]: networks is for relay listeners; on submission the user's login decides."),
        ("[[listeners]]\nkind = 'relay'\ntls_key='b'",
         "gw.toml:1: listeners[1]: tls_certificate and tls_key belong together; give both or neither."),
        ("[[listeners]]\nkind = 'relay'\nimplicit_tls=true", "gw.toml:1: listeners[1]: implicit_tls needs tls_certificate and tls_key."),
        ("[[listeners]]\nkind = 'relay'\nnetworks=[]",
         "gw.toml:1: listeners[1]: networks is empty, so nobody could send mail here; name at least one."),
        ("[[listeners]]\nkind = 'relay'\nnetworks=['10.0.0.1/8']",
         "gw.toml:3: listeners[1].networks[1]: 10.0.0.1/8 has host bits set; write a network as 192.0.2.0/24 or 2001:db8::/32."),
        ("[[listeners]]\nport = 25", "gw.toml:1: listeners[1].kind: is missing. Add it."),
        ("[delivery]\nsource_ipv4 = '2001:db8::1'",
         "gw.toml:1: delivery: source_ipv4 is 2001:db8::1, an address of the other family."),
        ("[limits]\ncontent_budget_bytes = 100000",
         "gw.toml:1: limits: content_budget_bytes is less than message_bytes, so a message of that size would never fit."),
        ("hostname = 'a..b'", "gw.toml:1: hostname: 'a..b' has an empty label."),
        ("postmaster = 'me'", "gw.toml:1: postmaster: 'me' is not a mail address: it needs a local part and a domain."),
        ("[store]\nurl = '/tmp/x.db'",
         "gw.toml:2: store.url: '/tmp/x.db' is not a database URL; write it as sqlite:////var/lib/sealroute/sealroute.db."),
        ("[tls]\nca_file = ''", "gw.toml:2: tls.ca_file: the file name is empty; leave the key out instead."),
        ("delivery = 3", "gw.toml:1: delivery: must be a [section], not 3."),
        ("a = ", "gw.toml: is not valid TOML: Invalid value (at end of document). Correct the syntax there."),
    ],
)  # fmt: skip
def test_a_problem_names_file_line_key_and_remedy(text: str, message: str) -> None:
    assert problems(text) == [message]


def test_every_problem_is_told_in_the_order_of_the_file() -> None:
    found = problems("[http]\nport = 0\n[delivery]\nsmtp_prot = 1\n[lab]\nclock_speed = 0.5", SEALROUTE_HTTP__PRT="1")
    assert found == [
        "environment variable SEALROUTE_HTTP__PRT: there is no setting http.prt. Did you mean http.port?",
        "gw.toml:2: http.port: 0 is out of bounds. Give at least 1.",
        "gw.toml:4: delivery.smtp_prot: there is no such setting. Did you mean smtp_port?",
        "gw.toml:6: lab.clock_speed: 0.5 is out of bounds. Give at least 1.0.",
    ]


def test_the_environment_wins_over_the_file() -> None:
    settings = parse(
        "hostname = 'file.example'\n[retry]\njitter_percent = 3",
        environment={
            "SEALROUTE_HOSTNAME": "env.example",
            "SEALROUTE_RETRY__JITTER_PERCENT": "7",
            "SEALROUTE_RESOLVER__FORWARDERS": '["127.0.0.1@53"]',
            "SEALROUTE_CONFIG": "elsewhere.toml",
            "PATH": "/bin",
        },
    )
    assert (settings.hostname, settings.retry.jitter_percent) == ("env.example", 7)
    assert settings.resolver.forwarders == ("127.0.0.1@53",)


def test_a_problem_in_the_environment_names_the_variable() -> None:
    assert problems("", SEALROUTE_RETRY__JITTER_PERCENT="99") == [
        "environment variable SEALROUTE_RETRY__JITTER_PERCENT: 99 is out of bounds. Give at most 50."
    ]


def test_file_names_are_relative_to_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "gw.toml"
    path.write_text("[tls]\nca_file = 'ca.pem'\n[mta_sts]\nca_file = '/etc/ca.pem'\n[store]\nurl = 'sqlite:///q.db'\n")
    settings = load(path, {})
    assert settings.tls.ca_file == tmp_path / "ca.pem"
    assert settings.mta_sts.ca_file == Path("/etc/ca.pem")
    assert settings.store.url == f"sqlite:///{tmp_path}/q.db"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\xff = 1", "gw.toml:2: is not UTF-8 text. Save the file as UTF-8."),
        (b"#" * (1024 * 1024 + 1), "gw.toml: is larger than 1 MiB. This is not a configuration file."),
        (None, "gw.toml: cannot be read: No such file or directory. Name a readable file."),
    ],
)
def test_an_unreadable_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "gw.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OperatorError) as caught:
        load(path, {})
    assert str(caught.value) == f"{tmp_path}/{message}"


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("15m", 900), ("1h30m", 5400), ("2d", 172800), ("24h", 86400), (" 1 h ", 3600)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 minutes", "-5m", "1.5h", "5s5", "٥s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a span of time"):
        parse_duration(text)


def test_words_of_closed_sets_in_any_case() -> None:
    settings = parse("[logging]\nlevel='DEBUG'\n[delivery]\naddress_families=['IPv4']\n[resolver]\nkind='AD'")
    assert settings.logging.level.value == "debug"
    assert settings.delivery.address_families == (AddressFamily.IPV4,)
    assert settings.resolver.kind is ResolverKind.AD


# ------------------------------------------------------------------------------------------------------------ documents


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^# (\[\[|[a-z_0-9]+ = )", r"\1", text)


def test_the_example_names_every_setting_and_loads_with_all_of_them() -> None:
    text = example_toml()
    for path in all_keys():
        assert f"# {path[-1]} = " in text or f"[[{'.'.join(path)}]]" in text, path
    assert parse(text) == parse("")
    # Only the keys of the other resolver kind may not stand beside the rest.
    full = re.sub(r"(?m)^(servers|trusted) = .*\n", "", uncommented(text))
    settings = parse(full)
    assert settings.delivery == parse("[delivery]\nsource_ipv4='192.0.2.25'\nsource_ipv6='2001:db8::25'").delivery
    assert (settings.retry, settings.limits, settings.auth) == (parse("").retry, parse("").limits, parse("").auth)


@pytest.mark.parametrize(
    ("file", "printed"), [("sealroute.example.toml", example_toml), ("docs/reference/settings.md", reference_markdown)]
)
def test_printed_documents_are_up_to_date(file: str, printed: object) -> None:
    assert callable(printed)
    assert (ROOT / file).read_text() == printed(), f"print {file} again: see docs/reference/cli.md, `sealroute config`"


def test_every_setting_is_described_and_bounded() -> None:
    for line in reference_markdown().splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert cells[3], line
            assert cells[2] or not re.fullmatch(r"`[\d_.]+`", cells[1]), f"no bounds: {line}"


def toml_blocks() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", HOW_TO.read_text(), re.S)


@pytest.mark.parametrize("number", range(2))
def test_the_how_tos_toml_loads(number: int) -> None:
    assert len(toml_blocks()) == 2
    settings = parse(toml_blocks()[number])
    if number == 0:
        assert settings.retry.schedule[0] == timedelta(seconds=5)
        assert settings.delivery.allow_private_destinations
        assert settings.resolver.special_names
        assert settings.resolver.stub_zones[0].addresses == ("127.0.0.2@5354", "127.0.0.3@5354")


# ---------------------------------------------------------------------------------------------------------- the files


def key_pair(folder: Path, name: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = builder.not_valid_before(start).not_valid_after(start + timedelta(days=365)).sign(key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, plain))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        key_pair(tmp_path, name)
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "empty").write_text(" \n")
    block = re.search(r"```\n(\. IN DS.*?)```", HOW_TO.read_text(), re.S)
    assert block
    (tmp_path / "anchors").write_text(block[1])
    (tmp_path / "comments").write_text("; nothing yet\n")
    (tmp_path / "a-record").write_text(". 60 IN A 192.0.2.1\n")
    return tmp_path


SUBMISSION = "[[listeners]]\nkind='submission'\ntls_certificate='{}'\ntls_key='{}'\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SUBMISSION.format("one.pem", "one.key"), None),
        (SUBMISSION.format("one.pem", "two.key"), "listeners[1].tls_key: the key in "),
        (SUBMISSION.format("one.key", "one.key"), "listeners[1].tls_certificate: "),
        (SUBMISSION.format("one.pem", "one.pem"), "listeners[1].tls_key: "),
        (SUBMISSION.format("gone.pem", "one.key"), "listeners[1].tls_certificate: "),
        ("[tls]\nca_file='one.pem'", None),
        ("[tls]\nca_file='junk'", "tls.ca_file: "),
        ("[mta_sts]\nca_file='empty'", "mta_sts.ca_file: "),
        ("[mta_sts]\nca_file='gone'", "mta_sts.ca_file: "),
        ("[resolver]\ntrust_anchor_file='anchors'", None),
        ("[resolver]\ntrust_anchor_file='junk'", "resolver.trust_anchor_file: "),
        ("[resolver]\ntrust_anchor_file='a-record'", "resolver.trust_anchor_file: "),
        ("[resolver]\ntrust_anchor_file='comments'", "resolver.trust_anchor_file: "),
        ("[resolver]\nroot_hints='gone'", "resolver.root_hints: "),
    ],
)
def test_the_files_that_settings_name_are_looked_at(folder: Path, text: str, expected: str | None) -> None:
    settings = parse(text + "\n[store]\nurl='sqlite:///q.db'", folder / "gw.toml")
    found = [str(problem) for problem in check_files(settings)]
    assert len(found) == (expected is not None)
    if expected:
        assert found[0].startswith(expected)


def test_the_stores_folder_must_exist(tmp_path: Path) -> None:
    settings = parse("[store]\nurl='sqlite:///gone/q.db'", tmp_path / "gw.toml")
    (problem,) = check_files(settings)
    assert str(problem) == f"store.url: the folder {tmp_path}/gone does not exist. Create it: mkdir -p {tmp_path}/gone"
