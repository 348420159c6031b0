"""`sealroute migrate import` on a real store: one transaction with its audit, or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError
from sealroute.base.times import rfc3339
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.policy.connector import Connector
from sealroute.settings import Settings
from sealroute.store.store import Store, open_store
from tests.unit.test_import_exchange import GUID, RECORD

OTHER = RECORD | {"Name": "To Contoso", "Guid": GUID[:-1] + "2", "RecipientDomains": ["contoso.com"]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/s.db")


def command(tmp_path: Path, *arguments: str) -> int:
    settings = Settings.model_validate({"store": {"url": f"sqlite:///{tmp_path}/s.db"}})
    return run(["migrate", "import", *arguments], lambda asked: Context(preset_settings=settings))


def written(tmp_path: Path, *records: object) -> str:
    file = tmp_path / "connectors.json"
    file.write_text(json.dumps(records))
    return str(file)


def test_connectors_come_in_with_age_and_audit(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, RECORD, OTHER)
    assert command(tmp_path, file, "--dry-run") == 0
    assert "would be 2 connectors new, 0 replaced. Nothing was changed." in capsys.readouterr().out
    assert store.admin.connectors.all("default") == []
    assert command(tmp_path, file) == 0
    shown = capsys.readouterr().out
    assert "Cannot be expressed\n  object 1: To Fabrikam: Sealroute has no place for ObjectState." in shown
    assert "Kept without effect\n" in shown
    assert shown.endswith("Imported: 2 connectors new, 0 replaced.\n")
    kept = store.admin.connectors.get("default", "To Fabrikam")
    assert kept is not None
    assert kept.guid == GUID
    assert kept.when_created is not None
    assert rfc3339(kept.when_created).startswith("2019-02-01T09:10:11")
    assert [item.action for item in store.admin.connectors.changes("default")] == ["New", "New"]
    assert all(item.actor for item in store.admin.connectors.changes("default"))
    assert command(tmp_path, file) == 2
    assert "there is a connector 'To Fabrikam' already" in capsys.readouterr().err
    assert command(tmp_path, written(tmp_path, RECORD | {"Comment": "again"}), "--replace", "--json") == 0
    (after,) = json.loads(capsys.readouterr().out)["replaced"]
    assert (after["Comment"], after["Guid"]) == ("again", GUID)
    assert store.admin.connectors.changes("default")[0].action == "Set"


def test_one_that_cannot_be_saved_keeps_all_out(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, written(tmp_path, RECORD, OTHER | {"TlsSettings": "EncryptionOnly"})) == 2
    assert "object 2: To Contoso: TlsDomain" in capsys.readouterr().err
    assert command(tmp_path, str(tmp_path / "none.json")) == 2
    assert store.admin.connectors.all("default") == []


def test_a_name_that_the_store_could_not_give_back_is_refused(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "tls_policy"
    table.write_bytes(b"contoso.com secure match=mx.contoso.com\nfabrikam.com secure match=A\0b.fabrikam.com\n")
    assert command(tmp_path, str(table)) == 2
    said = capsys.readouterr().err
    assert "TLS policy line 2: fabrikam.com" in said
    assert "TlsDomain" in said
    assert store.admin.connectors.all("default") == []
    table.write_bytes(b"contoso.com secure match=MX.Contoso.com\n")
    assert command(tmp_path, str(table)) == 0
    assert [item.tls_domain for item in store.admin.connectors.all("default")] == ["mx.contoso.com"]


def test_the_store_takes_all_or_none(store: Store) -> None:
    connectors = store.admin.connectors
    first = Connector(guid=GUID, name="First", recipient_domains=("contoso.com",))
    twin = replace(first, guid=GUID[:-1] + "2")
    with pytest.raises(OperatorError, match="already"):
        connectors.save_all((first, twin), (), "alice")
    assert connectors.all("default") == []
    assert connectors.changes("default") == []
    connectors.add(first, "alice")
    seen = connectors.get("default", "First")
    assert seen is not None
    connectors.replace(replace(seen, comment="somebody else"), "bert")
    with pytest.raises(OperatorError, match="meanwhile"):
        connectors.save_all((replace(twin, name="Second"),), ((seen, replace(seen, comment="mine")),), "alice")
    assert [item.comment for item in connectors.all("default")] == ["somebody else"]
