"""What every command is given: which configuration file, the settings in it, and the store, each opened on first use.

`main` makes one Context and hands it to Typer as `ctx.obj`; a command that needs nothing of it pays nothing for it.
Tests make a Context with `settings` or `store` already set.  Opening a store is app.py's business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sealroute.base.errors import OperatorError

if TYPE_CHECKING:
    from sealroute.ports import ConnectorStore, QueueAdmin, Traces, Users
    from sealroute.settings import Settings

SYSTEM_CONFIG = Path("/etc/sealroute/sealroute.toml")
LOCAL_CONFIG = Path("sealroute.toml")


class AdminStores(Protocol):
    """The store as commands use it; `sealroute.app.open_store_for(settings)` returns one."""

    @property
    def connectors(self) -> ConnectorStore: ...
    @property
    def queue(self) -> QueueAdmin: ...
    @property
    def traces(self) -> Traces: ...
    @property
    def users(self) -> Users: ...
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

    config_path: Path | None = None
    """None: no file, the defaults apply."""
    _settings: Settings | None = field(default=None, repr=False)
    _store: AdminStores | None = field(default=None, repr=False)
    _now: datetime | None = None

    @property
    def settings(self) -> Settings:
        """The settings; raises OperatorError when the file cannot be used."""
        if self._settings is None:
            from sealroute.settings import load

            self._settings = load(self.config_path)
        return self._settings

    @property
    def store(self) -> AdminStores:
        """The store that the settings name, opened on first use; raises OperatorError when it cannot be opened."""
        if self._store is None:
            open_store_for: Callable[[Settings], AdminStores] = import_module("sealroute.app").open_store_for
            self._store = open_store_for(self.settings)
        return self._store

    @property
    def organization(self) -> str:
        """The organisation that commands speak of when none is named."""
        return self.settings.organization

    def now(self) -> datetime:
        """The moment the command runs."""
        return self._now or datetime.now(UTC)

    def close(self) -> None:
        """Close what was opened."""
        if self._store is not None:
            self._store.close()
            self._store = None
