"""Through which connector a domain's mail goes, for commands that look at many domains: everything is read once."""

from __future__ import annotations

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import warn
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import apply
from sealroute.services import configure


class Connectors:
    """The connector named, or for each domain the one that delivery would choose; timed exceptions apply."""

    def __init__(self, context: Context, identity: str | None) -> None:
        """Raises OperatorError when the connector named is not there.  Without a store there is only the default one."""
        self._default = context.default_connector
        self._now = context.now()
        self._named: Connector | None = None
        if identity is not None:
            default = identity.casefold() in (self._default.name.casefold(), self._default.guid)
            self._named = self._default if default else configure.find(context.connectors, context.organization, identity)
        try:
            stored = context.connectors.all(context.organization) if self._named is None else []
            self._exceptions = context.exceptions.all(context.organization)
        except OperatorError as error:
            warn([f"no connector is known, so the default one is looked at: {error}"])
            stored, self._exceptions = [], []
        self._index = ConnectorIndex(stored, context.accepted_domains)

    def of(self, domain: str) -> Connector:
        """The connector for a domain in compared form."""
        connector = self._named or self._index.find(domain) or self._default
        excepted = (apply(connector, exception, domain, self._now) for exception in self._exceptions)
        return next((other for other in excepted if other is not connector), connector)
