"""What every command is given: which configuration file, the settings in it, and the store, each opened on first use.

`main` makes one Context and hands it to Typer as `ctx.obj`; a command that needs nothing of it pays nothing for it.
Tests make a Context with `settings` or `store` already set.  Opening a store is app.py's business.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sealroute.base.errors import OperatorError

if TYPE_CHECKING:
    from sealroute.policy.connector import Connector
    from sealroute.ports import (
        AlertLog,
        ConnectorStore,
        DestinationLog,
        DriftLog,
        ExceptionStore,
        MoveStore,
        ObservationLog,
        Organizations,
        QueueAdmin,
        ReportSource,
        RuleStore,
        Traces,
        Users,
        WatchLog,
    )
    from sealroute.settings import Settings

SYSTEM_CONFIG = Path("/etc/sealroute/sealroute.toml")
LOCAL_CONFIG = Path("sealroute.toml")


class AdminStores(Protocol):
    """The store as commands use it; `sealroute.parts.open_store_for(settings)` returns one."""

    @property
    def connectors(self) -> ConnectorStore: ...
    @property
    def queue(self) -> QueueAdmin: ...
    @property
    def traces(self) -> Traces: ...
    @property
    def users(self) -> Users: ...
    @property
    def organizations(self) -> Organizations: ...
    @property
    def exceptions(self) -> ExceptionStore: ...
    @property
    def moves(self) -> MoveStore: ...
    @property
    def rules(self) -> RuleStore: ...
    @property
    def drift(self) -> DriftLog: ...
    @property
    def alerts(self) -> AlertLog: ...
    @property
    def observations(self) -> ObservationLog: ...
    @property
    def watched(self) -> WatchLog: ...
    @property
    def destinations(self) -> DestinationLog: ...
    @property
    def reports(self) -> ReportSource: ...
    def close(self) -> None: ...


def find_config(asked: str | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file to use: asked for, SEALROUTE_CONFIG, ./sealroute.toml, /etc/sealroute/sealroute.toml, or none.

    Raises OperatorError when one was named that does not exist: silently using another would be worse.
    """
    for source, name in (("--config", asked), ("SEALROUTE_CONFIG", environment.get("SEALROUTE_CONFIG"))):
        if name:
            path = Path(name)
            if not path.is_file():
                raise OperatorError.one(source, f"there is no file {name}.", "Name an existing configuration file.")
            return path
    return next((path for path in (LOCAL_CONFIG, SYSTEM_CONFIG) if path.is_file()), None)


@dataclass
class Context:
    """One command's surroundings."""

    asked_config: str | None = None
    """What `--config` said."""
    preset_settings: Settings | None = field(default=None, repr=False)
    preset_store: AdminStores | None = field(default=None, repr=False)
    moment: datetime | None = None
    """Now, for tests; None: the real one."""

    @cached_property
    def config_path(self) -> Path | None:
        """The file in use; None: no file, the defaults apply."""
        return find_config(self.asked_config)

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises OperatorError when the file cannot be used."""
        if self.preset_settings is not None:
            return self.preset_settings
        from sealroute.settings import load

        return load(self.config_path)

    @property
    def store(self) -> AdminStores:
        """The store that the settings name, opened on first use; raises OperatorError when it cannot be opened."""
        if self.preset_store is None:
            settings = self.settings
            open_store_for: Callable[[Settings], AdminStores] = import_module("sealroute.parts").open_store_for
            self.preset_store = open_store_for(settings)
        return self.preset_store

    @property
    def connectors(self) -> ConnectorStore:
        return self.store.connectors

    @property
    def exceptions(self) -> ExceptionStore:
        return self.store.exceptions

    @property
    def rules(self) -> RuleStore:
        return self.store.rules

    @property
    def accepted_domains(self) -> Sequence[str]:
        """The organisation's own domains."""
        return self.settings.accepted_domains

    @property
    def default_connector(self) -> Connector:
        """What applies where no connector matches, with the retry settings of the configuration."""
        from sealroute.policy.connector import default_connector

        retry = self.settings.retry
        return default_connector(self.organization, retry_schedule=retry.schedule, message_expiration=retry.message_expiration)

    @property
    def actor(self) -> str:
        """Who is at the keyboard, for the record of changes: the login name, also behind sudo."""
        try:
            return os.environ.get("SUDO_USER") or getpass.getuser()
        except (KeyError, OSError):
            return f"uid {os.getuid()}"

    @property
    def organization(self) -> str:
        """The organisation that commands speak of when none is named."""
        return self.settings.organization

    def now(self) -> datetime:
        """The moment the command runs."""
        return self.moment or datetime.now(UTC)

    def close(self) -> None:
        """Close what was opened."""
        if self.preset_store is not None:
            self.preset_store.close()
            self.preset_store = None
