"""An analysis as one HTML file to be sent to the partner: nothing is loaded, nothing runs, everything foreign is escaped.

Light, printable, readable without colour: the marks and words are those of the terminal (faces/analysis_words).  The page
forbids everything but its own style by a Content-Security-Policy, so that nothing a peer said can become active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from sealroute.faces.analysis_style import STYLE
from sealroute.faces.analysis_words import MARKS, Report, Todo, cell, headline, matrix, modes_of, reasons, todos, whose_words
from sealroute.policy.modes import MtaStsMode
from sealroute.services.analysis.model import Check, Outcome, Status

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""
_FOOT = """<footer>{words}</footer>
</body>
</html>
"""
_ANALYZER = (
    "Made with Sealroute's analyzer, which runs the steps of mail delivery up to, and without, sending mail.\n"
    "A zone, policy or certificate may have changed since."
)


def page(reports: Sequence[Report]) -> str:
    """The whole file."""
    names = ", ".join(report.analysis.domain for report in reports[:3]) + (", …" if len(reports) > 3 else "")
    parts = (part for report in reports for part in _report(report))
    return "".join([open_page(f"Mail security of {names}"), *parts, close_page()])


def open_page(title: str) -> str:
    """Everything before the content."""
    return _HEAD.format(title=escaped(title), style=STYLE)


def close_page(words: str = _ANALYZER) -> str:
    """Everything after the content; our own `words` stand at the foot."""
    return _FOOT.format(words=words)


def escaped(words: str) -> str:
    """Foreign text: escaped, control characters spelled out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return escape(shown, quote=True)


def _report(report: Report) -> Iterator[str]:
    analysis = report.analysis
    yield "<main>"
    yield f"<h1>{escaped(analysis.domain)}</h1>"
    yield f'<p class="when">Looked at on {f"{analysis.seen.at:%Y-%m-%d %H:%M:%S}Z"}; no mail was sent.</p>'
    for outcome in analysis.in_force:
        yield from _headline(outcome)
    if report.changes is not None:
        yield from _changes(report)
    found = todos(analysis)
    if found:
        yield "<h2>What to do</h2><ol>"
        yield from (part for todo in found for part in _todo(todo))
        yield "</ol>"
    yield from _matrix(report)
    numbers = {id(todo.check): todo.number for todo in found}
    yield f'<h2>Checks</h2><p class="legend">{_legend()}</p><ul class="checks">'
    yield from (part for check in analysis.checks for part in _check(check, numbers))
    yield "</ul></main>"


def _headline(outcome: Outcome) -> Iterator[str]:
    yield f'<section class="verdict {outcome.would.value}"><p><strong>{escaped(headline(outcome).capitalize())}</strong> '
    yield f"under {escaped(modes_of(outcome))}</p><p>{escaped(outcome.sentence)}</p>"
    if outcome.finding is not None:
        yield f"<p>Who can fix it: {escaped(outcome.finding.reason.facts.side.value)}</p>"
    yield "</section>"


def _changes(report: Report) -> Iterator[str]:
    yield f"<h2>What changed since {escaped(report.recorded_at)}</h2>"
    if not report.changes:
        yield "<p>Nothing: DNS, policy and certificates are as they were.</p>"
        return
    yield "<table><thead><tr><th></th><th>then</th><th>now</th></tr></thead><tbody>"
    for change in report.changes:
        yield f"<tr><th>{escaped(change.what)}</th><td>{escaped(change.then)}</td><td>{escaped(change.now)}</td></tr>"
    yield "</tbody></table>"


def _todo(todo: Todo) -> Iterator[str]:
    check = todo.check
    yield f'<li id="todo-{todo.number}" class="{check.status.value}"><p><strong>{escaped(todo.about)}</strong> '
    yield f'<span class="whose">{escaped(check.whose.value)}</span></p>'
    if check.said:
        yield f"<p>{MARKS[check.status]} {escaped(check.said)}</p>"
    yield f"<p>{escaped(check.advice)}</p>"
    for item in check.publish:
        lines = "\n".join(map(escaped, item.lines))
        yield f'<p class="where">{escaped(item.where)}</p><pre>{lines}</pre>'
    yield "</li>"


def _matrix(report: Report) -> Iterator[str]:
    """Which mode of ours does what: of interest to the partner, since senders choose differently."""
    heads = "".join(f"<th>{sts.value}</th>" for sts in MtaStsMode)
    yield "<h2>What a sender does, by how strict it is</h2>"
    yield f'<table class="matrix"><thead><tr><th>DANE ↓ · MTA-STS →</th>{heads}</tr></thead><tbody>'
    for dane, outcomes in matrix(report.analysis):
        cells = "".join(_cell(outcome) for outcome in outcomes)
        yield f"<tr><th>{dane.value}</th>{cells}</tr>"
    yield "</tbody></table>"
    found = reasons(report.analysis)
    if found:
        total = len(report.analysis.outcomes)
        items = "".join(
            f"<li>{escaped(sentence)} <small>({count} of {total} pairs of modes)</small></li>" for sentence, count in found
        )
        yield f'<ul class="reasons">{items}</ul>'


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "<td>–</td>"
    asked = " asked" if outcome.in_force else ""
    return f'<td class="{outcome.would.value}{asked}">{escaped(cell(outcome))}</td>'


def _legend() -> str:
    return " &nbsp; ".join(f'<span class="{status.value}">{MARKS[status]}</span> {status.value}' for status in Status)


def _check(check: Check, numbers: dict[int, int]) -> Iterator[str]:
    whose, number = whose_words(check), numbers.get(id(check))
    yield f'<li><span class="mark {check.status.value}">{MARKS[check.status]}</span> <strong>{escaped(check.title)}</strong>'
    yield f" {escaped(check.said)}" if check.said else ""
    yield f' <span class="whose">{escaped(whose)}</span>' if whose else ""
    yield f' <a class="to" href="#todo-{number}">→ {number}</a>' if number else ""
    if check.facts or check.children:
        yield "<ul>"
        yield from (f'<li class="fact">{escaped(fact)}</li>' for fact in check.facts)
        for child in check.children:
            yield from _check(child, numbers)
        yield "</ul>"
    yield "</li>"
