"""How both command lines show connectors and changes to them; the form of a change is told in changes.py."""

from __future__ import annotations

from collections.abc import Sequence

from sealroute.faces.cli.changes import plan_record, say_plan
from sealroute.faces.cli.output import Format, emit, emit_json
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import to_record
from sealroute.services.configure import Plan

TABLE_COLUMNS = (
    "Name",
    "Enabled",
    "RecipientDomains",
    "UseMXRecord",
    "SmartHosts",
    "TlsSettings",
    "SmtpDaneMode",
    "MtaStsMode",
)


def show_connectors(connectors: Sequence[Connector], fmt: Format, *, single: bool = False) -> None:
    """The connectors as records; `single` when one was asked for by name."""
    emit([to_record(connector) for connector in connectors], fmt, columns=TABLE_COLUMNS, single=single)


def show_plan(plan: Plan, fmt: Format, *, what_if: bool = False) -> None:
    """What a change does, or with `what_if` would do."""
    if fmt is Format.JSON:
        emit_json(plan_record(plan, "connector", what_if=what_if))
    else:
        say_plan(plan, "connector", what_if=what_if)
