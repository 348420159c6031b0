"""Exchange's exported connectors as connectors-to-be.

Every property that Sealroute knows is kept, also those without effect here.  What Exchange's directory says about itself is
named in a note and left out.  A list that the export lost cannot be put back: where it decides where mail goes, nothing is
imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.policy import parameter_kinds as kinds
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import Reading, read_record
from sealroute.policy.parameters import BY_NAME, Parameter
from sealroute.proto.exchange.export import Exported
from sealroute.services.importing.exchange_values import plain
from sealroute.services.importing.model import Draft, Imported, Kept, Note

_REPAIR = "Export it again: Get-OutboundConnector | ConvertTo-Json -Depth 4 -EnumsAsStrings."
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read_exchange(records: Sequence[Exported], default: Connector) -> Imported:
    """Raises OperatorError with the problems of all records; `default` gives organisation and retry times."""
    drafts: list[Draft] = []
    notes: list[Note] = []
    problems: list[Problem] = []
    for record in records:
        try:
            draft, said = _draft(record, default)
        except OperatorError as error:
            problems += [Problem(f"{record.where}: {item.where}", item.what, item.fix) for item in error.problems]
        else:
            drafts.append(draft)
            notes += said
    if problems:
        raise OperatorError(*problems)
    return Imported(tuple(drafts), tuple(notes))


def _draft(record: Exported, default: Connector) -> tuple[Draft, list[Note]]:
    values: dict[str, Any] = {}
    notes: list[Note] = []
    problems: list[Problem] = []
    for name, value in record.values.items():
        parameter = BY_NAME.get(name.lower())
        if parameter is None:
            values[name] = None
            continue
        try:
            values[name] = _value(parameter, value)
        except InputError as error:
            if parameter.field == "validation_recipients":
                notes.append(Note(Kept.LOST, f"{record.where}: {parameter.name}", f"{error}; it is left empty.", _REPAIR))
            else:
                problems.append(Problem(parameter.name, f"{error}.", _REPAIR))
    if problems:
        raise OperatorError(*problems)
    reading = _read(values, default)
    connector = reading.connector
    where = f"{record.where}: {connector.name}"
    notes = [Note(note.kept, f"{where}: {note.where.rpartition(': ')[2]}", note.what, note.fix) for note in notes]
    told = [name for name in reading.unknown if record.values[name] not in (None, "", [], {})]
    if told:
        notes.append(
            Note(
                Kept.LOST,
                where,
                f"Sealroute has no place for {', '.join(sorted(told))}.",
                "Nothing in them routes or protects mail here.",
            )
        )
    if record.flattened and (connector.recipient_domains or connector.smart_hosts):
        notes.append(
            Note(Kept.EXACT, where, "the lists were text in the CSV and have been split.", "Compare them in the table.")
        )
    return Draft(connector, record.where), notes


def _value(parameter: Parameter, value: Any) -> Any:
    kind = parameter.kind
    found = plain(value, many=kind.many, moment=kind is kinds.MOMENT, duration=kind in (kinds.DURATION, kinds.DURATIONS))
    if parameter.field == "guid" and isinstance(found, str):
        found = found.strip().strip("{}").lower()
        if not _GUID.fullmatch(found):
            raise InputError(f"{found[:60]!r} is not a GUID")
    return found


def _read(values: dict[str, Any], default: Connector) -> Reading:
    given = {name.lower() for name, value in values.items() if value is not None}
    instead: dict[str, Any] = {"organization": default.organization}
    if "guid" not in given:
        instead["guid"] = str(uuid4())
    for name, field in (("retryschedule", "retry_schedule"), ("messageexpiration", "message_expiration")):
        if name not in given:
            instead[field] = getattr(default, field)
    # An empty Boolean is one that the export does not have; its default stands.
    there = {
        name: value
        for name, value in values.items()
        if not (value is None and name.lower() in BY_NAME and BY_NAME[name.lower()].kind.cleared is kinds.NOT_CLEARABLE)
    }
    return read_record(there, **instead)
