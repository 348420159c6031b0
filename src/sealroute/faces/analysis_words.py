"""What terminal and HTML report say of an analysis alike: the headline, the matrix of modes, and what is to be done by whom.

Nothing is decided here; `Report` puts together what one command looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.transport.foresee import Foretold
from sealroute.services.analysis.changes import Change
from sealroute.services.analysis.model import Analysis, Check, Outcome, Publish, Status, Would
from sealroute.services.compare_resolvers import Compared, Witness

MARKS = {Status.OK: "✓", Status.WARNING: "!", Status.ERROR: "✗", Status.INFO: "·"}
WOULD = {Would.DELIVER: "would be delivered", Would.HOLD: "would be held", Would.RETURN: "would be returned"}


@dataclass(frozen=True, slots=True)
class Report:
    """One domain's analysis, and what was asked besides."""

    analysis: Analysis
    witnesses: tuple[Witness, ...] = ()
    compared: tuple[Compared, ...] = ()
    changes: tuple[Change, ...] | None = None
    """Against a recorded attempt; None when none was asked for."""
    recorded_at: str = ""
    rules: tuple[Foretold, ...] = ()
    """Transport rules that apply to the domain's mail, carried out in the analysis, and those that may apply to a message.

    They are not for the partner, so not in the HTML file: what our rules look for is our own business.
    """


@dataclass(frozen=True, slots=True)
class Todo:
    """One thing that somebody can do."""

    number: int
    check: Check
    about: str
    """The check's place, from the outermost inwards."""


def headline(outcome: Outcome) -> str:
    """What becomes of mail under one pair of modes, in a few words."""
    return f"mail {WOULD[outcome.would]}"


def modes_of(outcome: Outcome) -> str:
    return f"SmtpDaneMode {outcome.dane_mode.value}, MtaStsMode {outcome.sts_mode.value}"


def cell(outcome: Outcome | None) -> str:
    """One cell of the matrix: `deliver dane`, `hold 4.7.326`, `return 5.1.10`."""
    if outcome is None:
        return "–"
    if outcome.would is Would.DELIVER:
        return f"deliver {outcome.protection.value}" if outcome.protection else "deliver"
    return f"{outcome.would.value} {outcome.code}"


def matrix(analysis: Analysis) -> Iterator[tuple[SmtpDaneMode, tuple[Outcome | None, ...]]]:
    """The rows: each SmtpDaneMode with its outcomes by MtaStsMode."""
    for dane in SmtpDaneMode:
        yield dane, tuple(analysis.outcome(dane, sts) for sts in MtaStsMode)


def reasons(analysis: Analysis) -> list[tuple[str, int]]:
    """Each sentence of a hold or return once, with under how many pairs of modes, the most frequent first."""
    counted: dict[str, int] = {}
    for outcome in analysis.outcomes:
        if outcome.finding is not None:
            counted[outcome.sentence] = counted.get(outcome.sentence, 0) + 1
    return sorted(counted.items(), key=lambda item: -item[1])


def todos(analysis: Analysis) -> list[Todo]:
    """Everything with advice, errors first, then warnings, then what could be better; the same advice once."""
    found: dict[tuple[str, tuple[Publish, ...]], tuple[Check, str]] = {}
    for check, about in _walk(analysis.checks, ""):
        if check.advice:
            found.setdefault((check.advice, check.publish), (check, about))
    order = (Status.ERROR, Status.WARNING, Status.INFO, Status.OK)
    ranked = sorted(found.values(), key=lambda item: order.index(item[0].status))
    return [Todo(number, check, about) for number, (check, about) in enumerate(ranked, 1)]


def _walk(checks: tuple[Check, ...], above: str) -> Iterator[tuple[Check, str]]:
    for check in checks:
        about = f"{above} › {check.title}" if above else check.title
        yield check, about
        yield from _walk(check.children, about)


def whose_words(check: Check) -> str:
    """Whose side, where something is wrong and the check is not only the sum of those below it."""
    wrong = check.status in (Status.WARNING, Status.ERROR)
    return check.whose.value if wrong and (not check.children or check.advice) else ""
