"""What commands about connectors and about transport rules have in common: showing a change, and who changed what.

A change is `{"action", NOUN, "guid", "whatIf", "changes": [{"parameter", "before", "after"}], "warnings": [text]}` in JSON,
and a table of the changes otherwise; warnings then go to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from sealroute.faces.cli.output import Format, emit, printable, text_of, warn
from sealroute.ports import Change, ConnectorStore, RuleStore
from sealroute.services.configure import Plan
from sealroute.services.configure_rules import RulePlan

MAX_HISTORY = 10_000
WhatIfOption = Annotated[bool, typer.Option("--what-if", help="Show what would change, and change nothing.")]
_HAPPENS = {
    "New": ("create", "Created"), "Set": ("change", "Changed"), "Enable": ("enable", "Enabled"),
    "Disable": ("disable", "Disabled"), "Remove": ("remove", "Removed"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------- one change


def plan_record(plan: Plan | RulePlan, noun: str, *, what_if: bool) -> dict[str, Any]:
    """A change to a `noun` as plain JSON values."""
    return {
        "action": plan.action,
        noun: plan.subject.name,
        "guid": plan.subject.guid,
        "whatIf": what_if,
        "changes": [asdict(item) for item in plan.differences],
        "warnings": [str(warning) for warning in plan.warnings],
    }


def say_plan(plan: Plan | RulePlan, noun: str, *, what_if: bool) -> None:
    """A change to a `noun` in a sentence, and a table of what changes."""
    warn(plan.warnings)
    name = plan.subject.name
    if plan.before is not None and plan.after is not None and not plan.differences:
        sys.stdout.write(printable(f"{name!r} is so already; nothing changes.") + "\n")
        return
    happens, done = _HAPPENS[plan.action]
    said = f"What if: would {happens} {noun} {name!r}." if what_if else f"{done} {noun} {name!r}."
    sys.stdout.write(printable(said) + "\n")
    rows = [{"Parameter": item.parameter, "Before": item.before, "After": item.after} for item in plan.differences]
    emit(rows, Format.TABLE)


# -------------------------------------------------------------------------------------------------------- the history


def changes_of(store: ConnectorStore | RuleStore, organization: str, identity: str | None, limit: int) -> list[Change]:
    """The newest changes, `limit` at most; with an identity those to what has, or had, that name or GUID."""
    # The store's limit counts everyone's changes; those to one may lie far behind.
    found = store.changes(organization, limit if identity is None else MAX_HISTORY)
    return [change for change in found if identity is None or _is_about(change, identity)][:limit]


def _is_about(change: Change, identity: str) -> bool:
    """Whether the change is to what has that GUID, or to what had the name before or after it."""
    records = [record for record in (change.before, change.after) if record is not None]
    known = {str(record.get(key, "")).casefold() for record in records for key in ("Name", "Guid")}
    return identity.casefold() in known | {change.connector.casefold()}


def show_changes(rows: Sequence[dict[str, Any]], fmt: Format) -> None:
    """Rows with what changed as `Changes`: a list of parameter, before and after; in words where people read it."""
    emit(rows if fmt is Format.JSON else [row | {"Changes": _spoken(row["Changes"])} for row in rows], fmt)


def _spoken(changed: list[dict[str, Any]]) -> str:
    return "; ".join(f"{item['parameter']}: {_or_null(item['before'])} -> {_or_null(item['after'])}" for item in changed)


def _or_null(value: Any) -> str:
    return text_of(value) or "$null"
