"""Through which connector a domain's mail goes, for commands that look at domains: everything is read once.

Transport rules that ask for nothing but the recipient's domain are carried out, as delivery does; those that may apply to a
message are told.  A connector that is named is looked at as it is: the question is about it, not about where mail goes.
"""

from __future__ import annotations

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.cmdlets import CliContext
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import warn
from sealroute.policy.choose import Choice
from sealroute.policy.connector import Connector
from sealroute.services import configure
from sealroute.services.foresee import Configured, Course, Foresight


def foresight(context: Context | CliContext) -> Foresight:
    """From all that the store has; raises OperatorError when it cannot be read."""
    organization = context.organization
    configured = Configured(
        context.default_connector, context.connectors.all(organization), context.accepted_domains,
        context.exceptions.all(organization), context.rules.all(organization),
    )  # fmt: skip
    return Foresight(configured, context.now())


class Connectors:
    """The connector named, or for each domain the one that delivery would use; timed exceptions apply."""

    def __init__(self, context: Context, identity: str | None) -> None:
        """Without a store there is only the default one.

        Raises OperatorError when the connector named is not there, and when what the store has cannot be read.
        """
        default = context.default_connector
        self._named: Connector | None = None
        if identity is not None:
            is_default = identity.casefold() in (default.name.casefold(), default.guid)
            self._named = default if is_default else configure.find(context.connectors, context.organization, identity)
        try:
            stored = context.connectors
        except OperatorError as error:
            warn([f"no connector is known, so the default one is looked at: {error}"])
            stored = None
        # What a store has and cannot be read is unknown, not absent: then there is an error, and no verdict.
        self._foresight = Foresight(Configured(default), context.now()) if stored is None else foresight(context)

    def course(self, domain: str) -> Course:
        """For a domain in compared form; raises OperatorError when a rule that applies routes where it cannot."""
        if self._named is None:
            return self._foresight.of(domain)
        connector = self._foresight.excepted(self._named, domain)
        return Course(Choice(self._named, "named"), connector, connector)
