"""A bulk analysis as one HTML file: summary, causes, every domain; as safe as faces/analysis_html."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealroute.faces.analysis_html import close_page, escaped, open_page
from sealroute.faces.survey_words import STANDINGS
from sealroute.services.survey import Row, Standing, summary_of

_CLASS = {Standing.BROKEN: "error", Standing.UNKNOWN: "error", Standing.DANE: "ok", Standing.STS_ENFORCE: "ok"}


def page(rows: Sequence[Row]) -> str:
    """The whole file."""
    return "".join([open_page("Mail security of many domains"), *_body(rows), close_page()])


def _body(rows: Sequence[Row]) -> Iterator[str]:
    summary = summary_of(rows)
    yield f"<main><h1>{summary.total} domains</h1><p>{summary.tls_rpt} with TLS-RPT. No mail was sent.</p><table><tbody>"
    for standing, count in summary.standings:
        kind = _CLASS.get(standing, "info")
        yield f'<tr><td>{count}</td><td><span class="{kind}">{standing.value}</span></td><td>{STANDINGS[standing]}</td></tr>'
    yield "</tbody></table>"
    if summary.causes:
        yield "<h2>Why mail would be held or returned</h2><table><tbody>"
        for reason, side, count in summary.causes:
            yield f"<tr><td>{count}</td><td>{escaped(reason)}</td><td>{escaped(side)}</td></tr>"
        yield "</tbody></table>"
    yield "<h2>Domains</h2><table class='domains'><thead><tr><th>domain</th><th>standing</th><th>MTA-STS</th><th>TLS-RPT</th>"
    yield "<th>why not better</th></tr></thead><tbody>"
    for row in sorted(rows, key=lambda item: (list(Standing).index(item.standing), item.domain)):
        yield _row(row)
    yield "</tbody></table></main>"


def _row(row: Row) -> str:
    kind = _CLASS.get(row.standing, "info")
    rpt = "yes" if row.tls_rpt else "no"
    differ = f"; the resolvers differ: {row.resolvers_differ}" if row.resolvers_differ else ""
    return (
        f'<tr><th>{escaped(row.domain)}</th><td class="short"><span class="{kind}">{row.standing.value}</span></td>'
        f'<td class="short">{escaped(row.sts_mode)}</td><td>{rpt}</td><td>{escaped(row.sentence + differ)}</td></tr>'
    )
