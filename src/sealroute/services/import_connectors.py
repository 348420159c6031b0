"""import_connectors: connectors from other systems' files, all of them or none.

Reading and saving are two steps, so that `--dry-run` and the import show the same.  Every draft must keep the rules of
policy/connector_rules; the problems of all of them are in one OperatorError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import from_record, to_record
from sealroute.policy.connector_rules import check
from sealroute.policy.parameters import BY_NAME
from sealroute.ports import ConnectorStore
from sealroute.proto.exchange.clixml import read_clixml
from sealroute.proto.exchange.csv_export import read_csv
from sealroute.proto.exchange.export import text_of
from sealroute.proto.exchange.json_export import read_json
from sealroute.proto.postfix.tls_policy import Level, TlsPolicy, read_tls_policies
from sealroute.proto.postfix.transport import Transport, read_transports
from sealroute.services.importing.exchange import read_exchange
from sealroute.services.importing.model import Draft, Imported, Kept, Note
from sealroute.services.importing.postfix import read_postfix


class FileFormat(Enum):
    """What a file is."""

    JSON = "exchange-json"
    CLIXML = "exchange-clixml"
    CSV = "exchange-csv"
    TLS_POLICY = "postfix-tls-policy"
    TRANSPORT = "postfix-transport"


_EXCHANGE = {FileFormat.JSON: read_json, FileFormat.CLIXML: read_clixml, FileFormat.CSV: read_csv}


@dataclass(frozen=True, slots=True)
class File:
    """One file as given."""

    name: str
    raw: bytes
    format: FileFormat | None = None
    """None: told by what is in it."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do; it may be saved."""

    added: tuple[Connector, ...]
    replaced: tuple[tuple[Connector, Connector], ...]
    """(as stored, as it will be)."""
    notes: tuple[Note, ...]


def format_of(raw: bytes) -> FileFormat:
    """What the octets look like; raises InputError when they look like nothing known."""
    text = text_of(raw).lstrip()
    if text.startswith("<"):
        return FileFormat.CLIXML
    if text.startswith("{") or (text.startswith("[") and text[1:].lstrip()[:1] in ("{", "]")):
        return FileFormat.JSON
    lines = [line for line in text.splitlines()[:200] if line.strip() and not line.lstrip().startswith("#")]
    head = lines[0] if lines else ""
    names = {word.strip(' "').lower() for word in head.replace(";", ",").replace("\t", ",").split(",")}
    if "name" in names and len(names & BY_NAME.keys()) > 1:
        return FileFormat.CSV
    words = head.split()
    if len(words) > 1 and words[1].lower() in {level.value for level in Level}:
        return FileFormat.TLS_POLICY
    if len(words) > 1 and ":" in words[1]:
        return FileFormat.TRANSPORT
    raise InputError("it cannot be told what the file is")


def read(files: Sequence[File], default: Connector) -> Imported:
    """All files together; raises OperatorError naming file and place."""
    drafts: list[Draft] = []
    notes: list[Note] = []
    policies: list[TlsPolicy] = []
    transports: list[Transport] = []
    for file in files:
        try:
            kind = file.format or format_of(file.raw)
            if kind is FileFormat.TLS_POLICY:
                policies += read_tls_policies(file.raw)
            elif kind is FileFormat.TRANSPORT:
                transports += read_transports(file.raw)
            else:
                found = read_exchange(_EXCHANGE[kind](file.raw), default)
                drafts += found.drafts
                notes += found.notes
        except InputError as error:
            formats = ", ".join(item.value for item in FileFormat)
            raise OperatorError.one(file.name, f"{error}.", f"--format can be {formats}.") from None
        except OperatorError as error:
            raise OperatorError(*(Problem(f"{file.name}: {p.where}", p.what, p.fix) for p in error.problems)) from None
    both = read_postfix(policies, transports, default)
    return Imported((*drafts, *both.drafts), (*notes, *both.notes))


def plan(store: ConnectorStore, imported: Imported, now: datetime, *, replacing: bool = False) -> ImportPlan:
    """What would be saved; raises OperatorError with every problem.

    A connector of the same GUID or name is replaced when `replacing`, and keeps its GUID; else it is a problem.
    """
    added: list[Connector] = []
    replaced: list[tuple[Connector, Connector]] = []
    notes, problems = list(imported.notes), list[Problem]()
    others = {item.guid: item for draft in imported.drafts[:1] for item in store.all(draft.connector.organization)}
    stored = dict(others)
    taken: set[str] = set()
    for draft in imported.drafts:
        where = f"{draft.where}: {draft.connector.name}"
        try:
            after = from_record(to_record(draft.connector))  # in compared form, and certain to be readable from the store
        except OperatorError as error:
            problems += [Problem(f"{where}: {item.where}", item.what, item.fix) for item in error.problems]
            continue
        same_name = next((item for item in stored.values() if item.name.casefold() == after.name.casefold()), None)
        before = stored.get(after.guid) or same_name
        if before is not None and not replacing:
            problems.append(Problem(where, f"there is a connector {before.name!r} already.", "Give --replace to replace it."))
            continue
        after = replace(after, when_changed=now, when_created=after.when_created or now)
        if before is not None:
            after = replace(after, guid=before.guid)
        if after.guid in taken:
            problems.append(Problem(where, "the import has this connector twice."))
            continue
        taken.add(after.guid)
        findings = check(after, [item for item in others.values() if item.guid != after.guid])
        problems += [Problem(f"{where}: {item.where}", item.what, item.fix) for item in findings.problems]
        notes += [
            Note(Kept.INERT if "not act" in w.what else Kept.EXACT, f"{where}: {w.where}", w.what, w.fix)
            for w in findings.warnings
        ]
        others[after.guid] = after
        if before is None:
            added.append(after)
        else:
            replaced.append((before, after))
    if problems:
        raise OperatorError(*problems)
    return ImportPlan(tuple(added), tuple(replaced), tuple(notes))


def save(store: ConnectorStore, planned: ImportPlan, actor: str) -> None:
    """All or nothing; raises OperatorError when the store is no longer what the plan was made from."""
    store.save_all(planned.added, planned.replaced, actor)
