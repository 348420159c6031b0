"""An in-memory ConnectorStore and what commands are given, for the tests of connector administration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.connector_json import connector_from_json, connector_to_json, to_record
from sealroute.policy.exceptions import TimedException
from sealroute.policy.transport.rule import TransportRule
from sealroute.ports import Change, ConnectorStore, ExceptionStore, RuleStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def guid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


class FakeStore:
    """Keeps JSON as the real store does, so that every test passes through it."""

    def __init__(self, *connectors: Connector) -> None:
        self._rows = {connector.guid: connector_to_json(connector) for connector in connectors}
        self._changes: list[Change] = []
        self._validations: dict[str, Mapping[str, Any]] = {}

    def all(self, organization: str) -> list[Connector]:
        found = map(connector_from_json, self._rows.values())
        return [connector for connector in found if connector.organization == organization]

    def get(self, organization: str, identity: str) -> Connector | None:
        wanted = identity.casefold()
        return next((c for c in self.all(organization) if wanted in (c.name.casefold(), c.guid)), None)

    def add(self, connector: Connector, actor: str) -> None:
        if self.get(connector.organization, connector.name):
            raise OperatorError.one("Name", "taken")
        self._rows[connector.guid] = connector_to_json(connector)
        self._note("New", None, connector, actor)

    def replace(self, connector: Connector, actor: str) -> None:
        before = connector_from_json(self._rows[connector.guid])
        self._rows[connector.guid] = connector_to_json(connector)
        self._note("Set", before, connector, actor)

    def remove(self, organization: str, guid: str, actor: str) -> None:
        self._note("Remove", connector_from_json(self._rows.pop(guid)), None, actor)

    def save_all(self, added: Sequence[Connector], replaced: Sequence[tuple[Connector, Connector]], actor: str) -> None:
        for _, after in replaced:
            self.replace(after, actor)
        for connector in added:
            self.add(connector, actor)

    def validated(self, seen: Connector, after: Connector, record: Mapping[str, Any], actor: str) -> None:
        self.replace(after, actor)
        self._validations[seen.guid] = record

    def last_validation(self, organization: str, guid: str) -> Mapping[str, Any] | None:
        return self._validations.get(guid)

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        return self._changes[::-1][:limit]

    def version(self) -> int:
        return len(self._changes)

    def _note(self, action: str, before: Connector | None, after: Connector | None, actor: str) -> None:
        name = (after or before or default_connector()).name
        at = NOW + timedelta(minutes=len(self._changes))
        was, becomes = (to_record(connector) if connector else None for connector in (before, after))
        self._changes.append(Change(at, actor, action, name, was, becomes))


class FakeExceptions:
    """ports.ExceptionStore, in memory and without an audit."""

    def __init__(self) -> None:
        self.kept: list[TimedException] = []

    def all(self, organization: str) -> list[TimedException]:
        return [item for item in self.kept if item.organization == organization]

    def add(self, exception: TimedException) -> None:
        self.kept.append(exception)

    def end(self, organization: str, identity: str, actor: str, now: datetime) -> TimedException:
        was = next(item for item in self.all(organization) if item.id == identity)
        self.kept[self.kept.index(was)] = replace(was, ended_at=now, ended_by=actor)
        return was


class FakeRules:
    """ports.RuleStore, in memory and without an audit."""

    def __init__(self) -> None:
        self.kept: list[TransportRule] = []

    def all(self, organization: str) -> list[TransportRule]:
        return [rule for rule in self.kept if rule.organization == organization]

    def get(self, organization: str, identity: str) -> TransportRule | None:
        wanted = identity.casefold()
        return next((rule for rule in self.all(organization) if wanted in (rule.name.casefold(), rule.guid)), None)

    def save(self, changes: Sequence[tuple[TransportRule | None, TransportRule | None]], actor: str) -> None:
        for before, after in changes:
            self.kept = [rule for rule in self.kept if rule != before] + ([after] if after else [])

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        return []


@dataclass
class FakeContext:
    """A CliContext."""

    connectors: ConnectorStore
    organization: str = "default"
    actor: str = "admin"
    accepted_domains: Sequence[str] = ("example.org",)
    default_connector: Connector = field(default_factory=default_connector)
    exceptions: ExceptionStore = field(default_factory=FakeExceptions)
    rules: RuleStore = field(default_factory=FakeRules)

    def now(self) -> datetime:
        return NOW
