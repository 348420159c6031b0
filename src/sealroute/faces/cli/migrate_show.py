"""How `sealroute migrate start | status | advance | rollback` show moves: screen, JSON, and the record to keep."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.base.times import rfc3339, span
from sealroute.faces.cli.output import Format, emit, printable, text_of
from sealroute.faces.cli.screen import moment, plural
from sealroute.faces.move_document import html, markdown, share_of
from sealroute.policy.connector import Connector
from sealroute.policy.move import Mark, Move, MoveStep, Situation, missing, progress
from sealroute.policy.move_json import mark_record, partner_state_record
from sealroute.ports import MoveChange
from sealroute.services.configure import differences

_FORMS = {".md": markdown, ".html": html}


def move_record(move: Move, seen: Situation) -> dict[str, Any]:
    """A move and what is known of it as plain JSON values."""
    found, rules = progress(move, seen.days), move.rules
    total = found.total
    whole = total.certain + total.unknown
    return {
        "id": move.id,
        "connector": move.connector_name,
        "guid": move.connector_guid,
        "kept": move.kept_name,
        "domains": list(move.domains),
        "to": move.mechanism.value,
        "step": move.step.value,
        "started": mark_record(move.started),
        "mandatory": mark_record(move.mandatory),
        "ended": mark_record(move.ended),
        "review": rfc3339(move.review_at) if move.review_at else None,
        "rules": {
            "observeSeconds": rules.observe.total_seconds(),
            "sessions": rules.sessions,
            "maxHeld": rules.max_held,
            "maxAgeSeconds": rules.max_age.total_seconds(),
            "reviewSeconds": rules.review.total_seconds(),
        },
        "observed": {
            "days": found.days,
            "sessions": whole,
            "satisfied": total.satisfied,
            "failed": total.failed,
            "notOffered": total.not_offered,
            "unknown": total.unknown,
            "share": total.satisfied / whole if whole else None,
            "countsFrom": rfc3339(found.counts_from),
            "counting": found.satisfied,
            "lastTrouble": {"at": rfc3339(total.trouble.at), "why": total.trouble.why} if total.trouble else None,
        },
        "held": len(seen.held),
        "heldSince": rfc3339(min(item.since for item in seen.held)) if seen.held else None,
        "missing": list(missing(move, seen)),
        "partnerBefore": [partner_state_record(item) for item in move.partner_before],
        "partnerMandatory": [partner_state_record(item) for item in move.partner_mandatory],
    }


def change_record(change: MoveChange, *, dry_run: bool) -> dict[str, Any]:
    """What a step changes as plain JSON values."""
    return {
        "dryRun": dry_run,
        "step": change.after.step.value,
        "changes": [
            {"connector": before.name, "parameter": item.parameter, "before": item.before, "after": item.after}
            for before, after in change.replaced
            for item in differences(before, after)
        ],
        "added": [item.name for item in change.added],
        "removed": [item.name for item in change.removed],
    }


def show_change(change: MoveChange, *, dry_run: bool) -> None:
    """The exact changes of a step."""
    move = change.after
    name, now, verb = repr(move.connector_name), _now(move), "would be" if dry_run else "is"
    said = f"Dry run: connector {name} would be {now}." if dry_run else f"Connector {name} is now {now}."
    sys.stdout.write(printable(said) + "\n")
    for before, after in change.replaced:
        rows = [
            {"Parameter": item.parameter, "Before": item.before, "After": item.after} for item in differences(before, after)
        ]
        emit(rows, Format.TABLE)
    for item in change.added:
        sys.stdout.write(printable(f"As it was it {verb} kept, disabled, as {item.name!r}.") + "\n")
    for item in change.removed:
        sys.stdout.write(printable(f"{item.name!r}, which was kept for the way back, {verb} removed.") + "\n")
    if dry_run:
        sys.stdout.write("Nothing was changed.\n")


def _now(move: Move) -> str:
    return {
        MoveStep.OBSERVING: f"routed by MX and observed, on its way to {move.mode} Mandatory",
        MoveStep.MANDATORY: f"held to {move.mode} Mandatory",
        MoveStep.DONE: "at the end of its move",
        MoveStep.ROLLED_BACK: "rolled back to its fixed smart hosts",
    }[move.step]


def show_table(moves: Sequence[tuple[Move, Situation]]) -> None:
    """One line for each move."""
    rows = []
    for move, seen in moves:
        total = progress(move, seen.days).total
        rows.append(
            {
                "Connector": move.connector_name,
                "To": move.mechanism.value,
                "Step": move.step.value,
                "Started": moment(move.started.at),
                "Sessions": total.certain + total.unknown,
                "Share": share_of(total),
                "Held": len(seen.held),
                "Review": moment(move.review_at) if move.review_at else "",
            }
        )
    emit(rows, Format.TABLE)


def show_status(move: Move, seen: Situation, connector: Connector | None) -> None:
    """One move in full; `connector` as it is now."""
    found, rules = progress(move, seen.days), move.rules
    total = found.total
    lines = [f"{move.connector_name}: {move.step.value}", f"  mail goes  {_way(move)}"]
    lines.append(f"  domains    {', '.join(move.domains)}")
    lines.append(f"  started    {_mark(replace(move.started, why=''))}")
    lines += [f"  Mandatory  {_mark(move.mandatory)}"] if move.mandatory else []
    lines += [f"  ended      {_mark(move.ended)}"] if move.ended else []
    whole = total.certain + total.unknown
    counts = f"{whole}, {share_of(total)} satisfied, on {plural(found.days, 'day')}" if whole else "none yet"
    lines.append(f"  sessions   {counts}")
    if move.step is MoveStep.OBSERVING:
        observed = f"{span(seen.now - found.counts_from)} of {span(rules.observe)}"
        lines.append(f"  counting   {observed}, {found.satisfied} of {rules.sessions} sessions")
    if total.trouble is not None:
        lines.append(f"  trouble    {moment(total.trouble.at)}: {total.trouble.why}")
    if move.step.active:
        lines += _by_hand(move, connector)
        lines += _active_lines(move, seen)
    sys.stdout.write(printable("\n".join(lines)) + "\n")


def _by_hand(move: Move, connector: Connector | None) -> list[str]:
    """What somebody changed beside the steps."""
    if connector is None:
        return [f"  by hand    {move.connector_name} was removed"]
    changed = differences(move.after, connector) if move.after is not None else ()
    return [f"  by hand    {item.parameter}: {text_of(item.before)} -> {text_of(item.after)}" for item in changed]


def _active_lines(move: Move, seen: Situation) -> list[str]:
    rules = move.rules
    oldest = f", the oldest since {moment(min(item.since for item in seen.held))}" if seen.held else ""
    age = span(rules.max_age)
    by_itself = "rolled back by itself" if move.watched(seen.now) else "no longer rolled back by itself; was"
    lines = [
        f"  kept       {move.kept_name}, disabled",
        f"  held       {plural(len(seen.held), 'message')}{oldest}; {by_itself} at {rules.max_held} or after {age}",
        f"  review     {moment(move.review_at) if move.review_at else f'{span(rules.review)} after Mandatory'}",
    ]
    lacks = missing(move, seen)
    lines += [f"  {'missing' if not number else '':<9}  {text}" for number, text in enumerate(lacks)]
    goal = (
        f"asks for {move.mode} Mandatory" if move.step is MoveStep.OBSERVING else f"ends the move and removes {move.kept_name}"
    )
    lines.append(f"  next       {shlex.join(['sealroute', 'migrate', 'advance', move.connector_name])}  {goal}")
    return lines


def _way(move: Move) -> str:
    mode = "Opportunistic" if move.step is MoveStep.OBSERVING else "Mandatory"
    return "to the fixed smart hosts" if move.step is MoveStep.ROLLED_BACK else f"by MX, {move.mode} {mode}"


def _mark(mark: Mark) -> str:
    return f"{moment(mark.at)} by {mark.by}" + (f": {mark.why}" if mark.why else "")


# ----------------------------------------------------------------------------------------------------- the record to keep


def check_document(path: Path | None) -> None:
    """Raises OperatorError when the record could not be written there; so that nothing is changed then."""
    if path is None:
        return
    if path.suffix.lower() not in _FORMS:
        raise OperatorError.one("--document", f"{path} ends in neither .md nor .html.", "The ending says which it is to be.")
    if not path.parent.is_dir() or path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OperatorError.one("--document", f"{path} cannot be written.")


def write_document(path: Path, move: Move, seen: Situation) -> None:
    """Write the record; raises OperatorError."""
    try:
        path.write_text(_FORMS[path.suffix.lower()](move, seen, missing(move, seen)), encoding="utf-8")
    except OSError as error:
        fix = f"`sealroute migrate status {shlex.quote(move.connector_name)} --document FILE` writes it."
        raise OperatorError.one("--document", f"{path} cannot be written: {error.strerror or error}.", fix) from None
    sys.stderr.write(printable(f"Record written to {path}.") + "\n")
