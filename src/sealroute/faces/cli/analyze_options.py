"""The options of `sealroute analyze`, as Typer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode

Domains = Annotated[list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="Recipient domains.", show_default=False)]
ConnectorOption = Annotated[
    str | None,
    typer.Option(
        help="As mail through this connector (name or GUID) meets it: its modes, routing, TlsSettings. Else, for each "
        "domain, the connector that its mail goes through."
    ),
]
DaneMode = Annotated[
    SmtpDaneMode | None, typer.Option(case_sensitive=False, help="The SmtpDaneMode in question.", show_default=False)
]
StsMode = Annotated[
    MtaStsMode | None, typer.Option(case_sensitive=False, help="The MtaStsMode in question.", show_default=False)
]
FromTrace = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="A message's trace id: its domains, its connector, and what changed since its last attempt."
    ),
]
ResolverOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ADDRESS", help="Ask this resolver (ip or ip@port) as well, and show where they differ. Repeatable."),
]
Explain = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Explain a code (4.7.323, 323) or keyword (tlsa-invalid), and do nothing else."),
]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report that can be sent to the partner.")]
Timeout = Annotated[
    float | None, typer.Option(min=0.1, max=300, help="The longest that one look-up, connection or reply may take, in seconds.")
]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="FILE|-", help="Many domains: one per line, or the column `domain` of a CSV file."),
]
StateFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --input: keep finished domains here, and do only what is left.")
]
Csv = Annotated[str, typer.Option(metavar="FILE|-", help="With --input: write a row per domain as CSV.", show_default=False)]
AtOnce = Annotated[int, typer.Option(min=1, max=500, help="With --input: domains at a time.")]
