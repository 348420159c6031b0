"""The record of evidence of a move, to be kept: the same sections as Markdown and as one HTML file.

What is in it: who did what and when, the settings before and after, the partner then and now, what was observed, what is held,
what happens when proof fails, when to look again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sealroute.base.times import span
from sealroute.faces.analysis_html import close_page, escaped, open_page
from sealroute.policy.connector import Connector
from sealroute.policy.move import Mark, Move, MoveStep, PartnerState, Situation, progress
from sealroute.policy.readiness import Mechanism, Tally
from sealroute.services.configure import differences

Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
"""Head and rows."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, and perhaps a table."""

    title: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None


def markdown(move: Move, seen: Situation, lacks: Sequence[str]) -> str:
    """The record as Markdown."""
    return "\n".join(_markdown(_title(move), sections(move, seen, lacks))) + "\n"


def html(move: Move, seen: Situation, lacks: Sequence[str]) -> str:
    """The record as one HTML file; as safe as faces/analysis_html."""
    title = _title(move)
    return "".join(
        [open_page(title), *_html(title, sections(move, seen, lacks)), close_page("Made by Sealroute from its own store.")]
    )


def share_of(tally: Tally) -> str:
    """Satisfied of all sessions, rounded down: 100 % is said of nothing less."""
    whole = tally.certain + tally.unknown
    return f"{int(tally.satisfied * 1000 / whole) / 10:g} %" if whole else "-"


def sections(move: Move, seen: Situation, lacks: Sequence[str]) -> list[Section]:
    """All of the record."""
    return [
        Section("Steps", _standing(move, seen, lacks), (("Step", "When", "Who", "Why"), tuple(_steps(move)))),
        Section("Settings", (), (("Parameter", "Before", "After"), tuple(_settings(move)))),
        Section("The partner", (), _partner(move)),
        Section("What was observed", _observed(move, seen), _days(move, seen)),
        Section("Held mail", (_held(seen),)),
        Section("What happens when proof fails", tuple(_failing(move))),
        Section("When to look again", (_review(move),)),
    ]


def _title(move: Move) -> str:
    return f"Connector {move.connector_name}: from fixed smart hosts to {move.mechanism.value}"


def _standing(move: Move, seen: Situation, lacks: Sequence[str]) -> tuple[str, ...]:
    words = {
        MoveStep.OBSERVING: f"Mail goes by MX; {move.mode} is Opportunistic and the sessions are observed.",
        MoveStep.MANDATORY: f"{move.mode} is Mandatory.",
        MoveStep.DONE: f"{move.mode} is Mandatory, and the move is at its end.",
        MoveStep.ROLLED_BACK: "It was rolled back: mail goes to the fixed smart hosts again.",
    }
    missing = f"Missing for the next step: {' '.join(lacks)}" if lacks else ""
    domains = f"Recipient domains: {', '.join(move.domains)}."
    return (f"As of {_moment(seen.now)}. {words[move.step]}", domains, *([missing] if missing else []))


def _steps(move: Move) -> Iterator[tuple[str, ...]]:
    yield _step("started", move.started)
    if move.mandatory is not None:
        forced = move.mandatory.why and f"forced: {move.mandatory.why}"
        yield _step("Mandatory", Mark(move.mandatory.at, move.mandatory.by, forced))
    if move.ended is not None:
        yield _step(move.step.value, move.ended)


def _step(name: str, mark: Mark) -> tuple[str, ...]:
    return name, _moment(mark.at), mark.by, mark.why


def _settings(move: Move) -> Iterator[tuple[str, ...]]:
    after: Connector = move.after or move.before
    for item in differences(move.before, after):
        yield item.parameter, _value(item.before), _value(item.after)


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _partner(move: Move) -> Table:
    rows = []
    for when, states in (("start", move.partner_before), ("Mandatory", move.partner_mandatory)):
        rows += [(when, *_state(state)) for state in states]
    return ("When", "Domain", "Standing", "Mail hosts", "Without TLSA", "TLS-RPT"), tuple(rows)


def _state(state: PartnerState) -> tuple[str, ...]:
    rpt = "yes" if state.tls_rpt else "no"
    return state.domain, state.standing, ", ".join(state.hosts), ", ".join(state.without_tlsa), rpt


def _observed(move: Move, seen: Situation) -> tuple[str, ...]:
    found, rules = progress(move, seen.days), move.rules
    whole = found.total.certain + found.total.unknown
    return (
        f"{whole} sessions since the start; {found.total.satisfied} would have satisfied Mandatory: {share_of(found.total)}.",
        f"Wanted: {rules.sessions} satisfied sessions within at least {span(rules.observe)} without any other.",
        f"What counts: {found.satisfied} satisfied sessions since {_moment(found.counts_from)}.",
    )


def _days(move: Move, seen: Situation) -> Table:
    head = ("Day", "Domain", "Satisfied", "Failed", "Not offered", "Unknown", "Last trouble")
    every = sorted((day.day, domain, day.tally(move.mechanism)) for domain, days in seen.days.items() for day in days)
    rows = [
        (
            str(day), domain, str(tally.satisfied), str(tally.failed), str(tally.not_offered), str(tally.unknown),
            tally.trouble.why if tally.trouble else "",
        )
        for day, domain, tally in every
    ]  # fmt: skip
    return head, tuple(rows)


def _held(seen: Situation) -> str:
    if not seen.held:
        return "No mail is held by the connector."
    oldest = min(item.since for item in seen.held)
    return f"Messages held by the connector: {len(seen.held)}, the oldest since {_moment(oldest)}."


def _failing(move: Move) -> Iterator[str]:
    if move.step is MoveStep.ROLLED_BACK:
        yield "Mail goes to the fixed smart hosts again, and the connector's own TlsSettings and TlsDomain decide."
        return
    code = "4.7.321 to 4.7.326" if move.mechanism is Mechanism.DANE else "4.7.5, 4.4.8 or 4.7.327"
    expiry = span((move.after or move.before).message_expiration)
    yield (
        f"When {move.mechanism.value} does not hold, mail is held with {code} and tried again; after {expiry} it is returned "
        "to its sender, who is told why."
    )
    if move.step is MoveStep.OBSERVING:
        yield f"Until {move.mode} is Mandatory, mail also goes when the partner is proven to publish nothing."
    else:
        yield "Mail is never sent without the proof."
    if move.step.active:
        until = "" if move.review_at is None else f" until {_moment(move.review_at)}"
        yield (
            f"When {move.rules.max_held} messages are held, or one for {span(move.rules.max_age)}, the gateway goes back to "
            f"the fixed smart hosts by itself{until}, and tells administrators. They are kept as connector {move.kept_name}."
        )
        yield f'By hand: sealroute migrate rollback "{move.connector_name}".'


def _review(move: Move) -> str:
    if not move.step.active:
        return "The move has ended; nothing more is to be done."
    if move.review_at is None:
        return f"The review date is set with Mandatory: {span(move.rules.review)} later."
    return (
        f"On {_moment(move.review_at)}: look at the sessions and at the partner, and end the move with "
        f'sealroute migrate advance "{move.connector_name}", which removes connector {move.kept_name}.'
    )


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


# ------------------------------------------------------------------------------------------------------------ the forms


def _markdown(title: str, parts: Sequence[Section]) -> Iterator[str]:
    yield f"# {_cell(title)}"
    for part in parts:
        yield f"\n## {part.title}\n"
        if part.sentences:
            yield "\n\n".join(map(_cell, part.sentences))
        if part.table is not None and part.table[1]:
            head, rows = part.table
            yield ("\n" if part.sentences else "") + f"| {' | '.join(head)} |"
            yield "|" + "---|" * len(head)
            yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    """Foreign text on one line, with what Markdown would take for its own written out."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(f"\\{c}" if c in "\\|<>[]*_`" else c for c in plain)


def _html(title: str, parts: Sequence[Section]) -> Iterator[str]:
    yield f"<main><h1>{escaped(title)}</h1>"
    for part in parts:
        yield f"<h2>{escaped(part.title)}</h2>"
        yield from (f"<p>{escaped(sentence)}</p>" for sentence in part.sentences)
        if part.table is not None and part.table[1]:
            head, rows = part.table
            yield "<table><thead><tr>" + "".join(f"<th>{escaped(word)}</th>" for word in head) + "</tr></thead><tbody>"
            yield from ("<tr>" + "".join(f"<td>{escaped(word)}</td>" for word in row) + "</tr>" for row in rows)
            yield "</tbody></table>"
    yield "</main>"
