"""How both command lines show transport rules, changes to them, and trials; the form of a change is told in changes.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.changes import plan_record, say_plan
from sealroute.faces.cli.output import Format, emit, emit_json
from sealroute.faces.rule_words import then_text, when_text
from sealroute.policy.transport.json import to_record
from sealroute.policy.transport.rule import TransportRule
from sealroute.services.configure_rules import RulePlan
from sealroute.services.try_rules import Trial, Untold

COLUMNS = ("Priority", "Name", "State", "Mode", "When", "Then")


def show_rules(rules: Sequence[TransportRule], names: Mapping[str, str], fmt: Format, *, single: bool = False) -> None:
    """The rules as records; a table says in words when each applies and what it does."""
    records = [to_record(rule, names) for rule in rules]
    if fmt is Format.TABLE:
        for record, rule in zip(records, rules, strict=True):
            record["When"], record["Then"] = when_text(rule), then_text(rule, names)
    emit(records, fmt, columns=COLUMNS, single=single)


def show_plans(plans: Sequence[RulePlan], fmt: Format, *, what_if: bool = False, single: bool = False) -> None:
    """What changes do, or with `what_if` would do."""
    if fmt is Format.JSON:
        records = [plan_record(plan, "rule", what_if=what_if) for plan in plans]
        emit_json(records[0] if single else records)
        return
    for plan in plans:
        say_plan(plan, "rule", what_if=what_if)


# -------------------------------------------------------------------------------------------------------- trials


def trial_record(trial: Trial) -> dict[str, Any]:
    """A trial as plain JSON values."""
    row = trial.row
    return {
        "messageTraceId": row.message_trace_id if row else None,
        "received": rfc3339(row.received) if row else None,
        "sender": trial.sender,
        "recipient": trial.recipient,
        "subject": row.subject if row else None,
        "changes": trial.changes,
        "was": asdict(trial.was),
        "would": asdict(trial.would),
        "rules": [asdict(effect) for effect in trial.effects],
        "cannotBeTold": [asdict(item) for item in trial.untold],
        "wouldIfMet": asdict(trial.would_if_met) if trial.would_if_met else None,
    }


def show_trials(trials: Sequence[Trial], *, everything: bool) -> None:
    """Messages that would have changed, or may have, each in a few lines; then the counts."""
    from rich.padding import Padding

    out = screen.console()
    changed = [trial for trial in trials if trial.changes]
    untold = [trial for trial in trials if trial.untold and not trial.changes]
    for trial in trials if everything else [*changed, *untold]:
        head = f"{screen.moment(trial.row.received)}  {trial.row.message_trace_id}" if trial.row else "The message"
        out.print(screen.text((head, "bold")))
        lines = [f"{screen.mailbox(trial.sender)} → {trial.recipient}"]
        if trial.row and trial.row.subject:
            lines.append(trial.row.subject)
        lines.append(f"{trial.was} → {trial.would}" if trial.changes else f"{trial.was}, as before")
        lines += [_effect_line(trial, number) for number in range(len(trial.effects))]
        lines += [_untold_line(item) for item in trial.untold]
        if trial.would_if_met is not None and not trial.would_if_met.same(trial.would):
            lines.append(f"if met: {trial.would_if_met}")
        for line in lines:
            out.print(Padding(screen.text(line), (0, 0, 0, 2), expand=False))
    same = len(trials) - len(changed) - len(untold)
    said = f"{screen.plural(len(trials), 'message')} tried: {len(changed)} would have changed, {same} not"
    said += f"; of {len(untold)} it cannot be told" if untold else ""
    out.print(f"{said}. Nothing was changed.")


def _effect_line(trial: Trial, number: int) -> str:
    effect = trial.effects[number]
    did = "; ".join(effect.did) or "demands nothing that was not demanded already"
    why = f" (applies because it cannot be told whether the message meets it: {effect.uncertain})" if effect.uncertain else ""
    return f"rule {effect.name!r}: {did}{why}"


def _untold_line(item: Untold) -> str:
    return f"rule {item.rule!r}: cannot be told from the trace ({', '.join(item.conditions)}: {item.why})"
