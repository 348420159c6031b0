"""How both command lines show connectors and changes to them.

A change is `{"action", "connector", "guid", "whatIf", "changes": [{"parameter", "before", "after"}], "warnings": [text]}` in
JSON, and a table of the changes otherwise; warnings then go to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sealroute.faces.cli.output import Format, emit, emit_json, printable, warn
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
        emit_json(_plan_record(plan, what_if))
        return
    warn(plan.warnings)
    name = plan.subject.name
    if plan.action == "Set" and not plan.differences:
        sys.stdout.write(printable(f"{name!r} is so already; nothing changes.") + "\n")
        return
    happens = {"New": "create", "Set": "change", "Remove": "remove"}[plan.action]
    done = {"New": "Created", "Set": "Changed", "Remove": "Removed"}[plan.action]
    sys.stdout.write(
        printable(f"What if: would {happens} connector {name!r}." if what_if else f"{done} connector {name!r}.") + "\n"
    )
    rows = [{"Parameter": item.parameter, "Before": item.before, "After": item.after} for item in plan.differences]
    emit(rows, Format.TABLE)


def _plan_record(plan: Plan, what_if: bool) -> dict[str, Any]:
    return {
        "action": plan.action,
        "connector": plan.subject.name,
        "guid": plan.subject.guid,
        "whatIf": what_if,
        "changes": [asdict(item) for item in plan.differences],
        "warnings": [str(warning) for warning in plan.warnings],
    }
