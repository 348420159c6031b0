"""What is configured rather than queued: connectors and their audit, users, organisations, the MTA-STS cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.ports import CachedPolicy
from sealroute.store.connectors import SqlConnectors
from sealroute.store.engine import Database
from sealroute.store.store import AdminStore, open_store
from tests.store_making import NOW, peek, url_in

GUID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
BANK = Connector(guid=GUID, name="Contoso Bank", recipient_domains=("contoso.com",), smtp_dane_mode=SmtpDaneMode.MANDATORY)


class Ticking:
    """A clock that moves a second whenever it is looked at."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[AdminStore]:
    opened = open_store(url_in(tmp_path)).admin
    yield opened
    opened.close()


@pytest.fixture
def connectors(admin: AdminStore, tmp_path: Path) -> Iterator[SqlConnectors]:
    database = Database(url_in(tmp_path))
    yield SqlConnectors(database, Ticking())
    database.close()


def first(moment: int) -> datetime:
    return NOW + timedelta(seconds=moment)


def test_a_connector_comes_back_as_given_and_stamped(connectors: SqlConnectors) -> None:
    given = replace(
        BANK,
        mta_sts_mode=MtaStsMode.MANDATORY,
        tls_settings=TlsSettings.DOMAIN_VALIDATION,
        tls_domain="*.contoso.com",
        comment="Grüße",
        retry_schedule=(timedelta(minutes=5), timedelta(minutes=30)),
        message_expiration=timedelta(hours=2),
        when_changed=datetime(2001, 1, 1, tzinfo=UTC),
    )
    connectors.add(given, "admin")
    stored = replace(given, when_created=first(1), when_changed=first(1))
    assert connectors.get("default", "CONTOSO bank") == stored
    assert connectors.get("default", GUID.upper()) == stored
    assert connectors.all("default") == [stored]
    assert connectors.get("default", "Contoso") is None
    assert connectors.all("fabrikam") == []


def test_a_name_like_anothers_guid_does_not_hide_it(connectors: SqlConnectors) -> None:
    connectors.add(BANK, "admin")
    connectors.add(replace(BANK, guid=OTHER, name=GUID), "admin")
    found = connectors.get("default", GUID)
    assert found is not None
    assert found.name == "Contoso Bank"


def test_a_change_keeps_the_time_of_creation(connectors: SqlConnectors) -> None:
    connectors.add(BANK, "admin")
    connectors.replace(replace(BANK, name="CONTOSO BANK", smtp_dane_mode=SmtpDaneMode.NONE), "admin")
    (connector,) = connectors.all("default")
    assert (connector.when_created, connector.when_changed) == (first(1), first(2))
    assert (connector.name, connector.smtp_dane_mode) == ("CONTOSO BANK", SmtpDaneMode.NONE)


@pytest.mark.parametrize(
    ("verb", "connector", "problem"),
    [
        ("add", replace(BANK, guid=OTHER, name="contoso BANK"), "Name: there is a connector 'Contoso Bank' already. Choose another name."),
        ("add", replace(BANK, name="Another"), f"Guid: there is a connector with GUID {GUID} already."),
        ("add", replace(BANK, organization="nowhere"), "Organization: there is no organisation 'nowhere'."),
        ("replace", replace(BANK, guid=OTHER), "Identity: there is no connector 'Contoso Bank' any more. It was removed."),
        ("replace", replace(BANK, name="second"), "Name: there is a connector 'Second' already. Choose another name."),
        ("remove", replace(BANK, guid="33333333"), "Identity: there is no connector with GUID 33333333."),
    ],
)  # fmt: skip
def test_refusals_change_nothing(connectors: SqlConnectors, verb: str, connector: Connector, problem: str) -> None:
    connectors.add(BANK, "admin")
    connectors.add(replace(BANK, guid="44444444", name="Second"), "admin")
    before = (connectors.all("default"), connectors.version(), connectors.changes("default"))
    verbs: dict[str, Callable[[Connector, str], None]] = {
        "add": connectors.add,
        "replace": connectors.replace,
        "remove": lambda gone, actor: connectors.remove("default", gone.guid, actor),
    }
    with pytest.raises(OperatorError) as caught:
        verbs[verb](connector, "admin")
    assert str(caught.value) == problem
    assert (connectors.all("default"), connectors.version(), connectors.changes("default")) == before


def test_organisations_do_not_share_names(admin: AdminStore, connectors: SqlConnectors) -> None:
    admin.organizations.add("fabrikam", "Fabrikam")
    connectors.add(BANK, "admin")
    connectors.add(replace(BANK, guid=OTHER, organization="fabrikam"), "admin")
    assert [item.guid for item in connectors.all("fabrikam")] == [OTHER]
    with pytest.raises(OperatorError, match="no connector with GUID"):
        connectors.remove("default", OTHER, "admin")
    assert admin.organizations.all() == [("default", "default"), ("fabrikam", "Fabrikam")]
    with pytest.raises(OperatorError, match="'fabrikam' already"):
        admin.organizations.add("fabrikam", "Fabrikam")


def test_a_validation_is_kept_with_its_tasks_and_the_latest_is_found(connectors: SqlConnectors) -> None:
    connectors.add(BANK, "anna")
    assert connectors.last_validation("default", GUID) is None
    (seen,) = connectors.all("default")
    connectors.validated(seen, replace(seen, is_validated=True), {"Tasks": [1]}, "bob")
    (later,) = connectors.all("default")
    assert later.is_validated
    connectors.validated(later, replace(later, is_validated=False), {"Tasks": [2]}, "bob")
    assert connectors.last_validation("default", GUID) == {"Tasks": [2]}
    assert connectors.last_validation("default", OTHER) is None
    with pytest.raises(OperatorError, match="changed or removed meanwhile"):
        connectors.validated(seen, seen, {"Tasks": [3]}, "bob")
    assert connectors.last_validation("default", GUID) == {"Tasks": [2]}
    assert [change.action for change in connectors.changes("default")] == ["Validate", "Set", "Validate", "Set", "New"]


def test_every_change_is_audited_and_grows_the_version(connectors: SqlConnectors) -> None:
    versions = [connectors.version()]
    connectors.add(BANK, "anna")
    versions.append(connectors.version())
    connectors.replace(replace(BANK, smtp_dane_mode=SmtpDaneMode.NONE), "bob")
    versions.append(connectors.version())
    connectors.remove("default", GUID, "carol")
    versions.append(connectors.version())
    assert versions == sorted(set(versions))

    def mode(record: object) -> object:
        return record["SmtpDaneMode"] if isinstance(record, dict) else None

    assert [
        (change.at, change.actor, change.action, change.connector, mode(change.before), mode(change.after))
        for change in connectors.changes("default")
    ] == [
        (first(3), "carol", "Remove", "Contoso Bank", "None", None),
        (first(2), "bob", "Set", "Contoso Bank", "Mandatory", "None"),
        (first(1), "anna", "New", "Contoso Bank", None, "Mandatory"),
    ]
    assert len(connectors.changes("default", limit=1)) == 1


def test_a_connector_that_cannot_be_read_is_an_error(connectors: SqlConnectors, tmp_path: Path) -> None:
    connectors.add(BANK, "admin")
    with peek(tmp_path) as database:
        database.execute("UPDATE connector SET parameters = replace(parameters, 'Mandatory', 'Strictest')")
    with pytest.raises(OperatorError, match="connector 'Contoso Bank': SmtpDaneMode"):
        connectors.all("default")


async def test_live_connectors_follow_the_store(tmp_path: Path) -> None:
    store = open_store(url_in(tmp_path))
    live, connectors = store.connectors, store.admin.connectors
    assert live.all("default") == ()
    assert await live.refresh()
    assert not await live.refresh()
    connectors.add(BANK, "admin")
    assert live.all("default") == ()
    assert await live.refresh()
    assert [item.name for item in live.all("default")] == ["Contoso Bank"]
    with peek(tmp_path) as database:
        database.execute("UPDATE connector SET parameters = '[]'")
        database.execute("UPDATE counter SET value = value + 1")
    for _ in range(2):
        with pytest.raises(OperatorError, match="connector 'Contoso Bank': connector record: it is not a JSON object"):
            await live.refresh()
    assert [item.name for item in live.all("default")] == ["Contoso Bank"]
    assert repr(live) == "<LiveConnectors version 1, 1 connectors>"
    await store.close()


def test_users(admin: AdminStore) -> None:
    users = admin.users
    users.set("Zoe", "hash-1", "default")
    users.set("anna", "hash-2", "default")
    users.set("ZOE", "hash-3", "default")
    assert users.all() == [("anna", "default"), ("ZOE", "default")]
    assert (users.hash_of("zoe"), users.organization_of("zOe")) == ("hash-3", "default")
    assert (users.hash_of("bob"), users.organization_of("bob")) == (None, None)
    assert (users.remove("zoe"), users.remove("zoe")) == (True, False)
    assert users.all() == [("anna", "default")]
    with pytest.raises(OperatorError, match="no organisation 'nowhere'"):
        users.set("bob", "hash", "nowhere")


async def test_the_policy_cache_outlives_the_process(tmp_path: Path) -> None:
    policies = [
        CachedPolicy(f"{name}.test", f"id-{name}", "version: STSv1\r\n", NOW, NOW + timedelta(days=days), NOW)
        for name, days in (("a", 3), ("b", 1), ("c", 2))
    ]
    store = open_store(url_in(tmp_path))
    for policy in policies:
        await store.policies.put(policy)
    newer = replace(policies[0], policy_id="id-new", checked_at=NOW + timedelta(seconds=1))
    await store.policies.put(newer)
    await store.close()
    store = open_store(url_in(tmp_path))
    assert await store.policies.get("a.test") == newer
    assert await store.policies.expiring(NOW + timedelta(days=3), 10) == [policies[1], policies[2]]
    assert await store.policies.expiring(NOW + timedelta(days=3), 1) == [policies[1]]
    await store.policies.remove("b.test")
    await store.policies.remove("b.test")
    assert await store.policies.get("b.test") is None
    await store.close()
