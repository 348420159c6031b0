"""`sealroute analyze --from-trace ID`: which domains a message went to, through which connector, and what was recorded last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.context import Context
from sealroute.policy.connector import Connector
from sealroute.services import exempt

Traced = tuple[str, Connector, tuple[dict[str, Any], ...]]


def traced(context: Context, identity: str) -> Iterator[Traced]:
    """(domain, connector as it is now, attempts of the last run) for each domain of the message.

    Raises OperatorError when the trace has no attempt of it, or its connector is no more.
    """
    attempts = context.store.traces.attempts(identity)
    if not attempts:
        fix = "`sealroute trace` lists messages; one that was never tried has nothing to compare with."
        raise OperatorError.one(identity, "the trace has no attempt of a message with this id.", fix)
    for domain in dict.fromkeys(str(record.get("domain", "")) for record in attempts):
        ours = [record for record in attempts if record.get("domain") == domain]
        last = max(record.get("number", 0) for record in ours)
        recorded = tuple(record for record in ours if record.get("number", 0) == last)
        yield domain, _connector(context, recorded[-1], domain), recorded


def _connector(context: Context, record: dict[str, Any], domain: str) -> Connector:
    guid, name = str(record.get("connector_guid", "")), str(record.get("connector_name", ""))
    default = context.default_connector
    found = default if guid == default.guid else context.connectors.get(context.organization, guid)
    if found is None:
        fix = f"Analyse the domain itself, with --connector if another has taken its place: sealroute analyze {domain}"
        raise OperatorError.one("connector", f"{name!r}, through which the message was tried, is no more.", fix)
    return exempt.in_force(context.exceptions, found, domain, context.now())
