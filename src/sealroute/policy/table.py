"""THE TABLE: every row of the decision table, named, with its source and its consequence per mode.

`decide` looks evidence up here and nowhere else; `docs/reference/decision-table.md` is printed from here; the tests iterate
over it; traces show the row names.  A row is *found* in policy/rows; what it *means* stands in this
file alone.

Read a DANE row as: with this finding, under this mode, the host gets this consequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Reason, TlsRptResult

M = TypeVar("M", SmtpDaneMode, MtaStsMode)


class Then(Enum):
    """What a row demands of one host."""

    NOTHING = "does not apply"
    """The mechanism asks nothing; the connector's other settings decide."""
    OBSERVE = "judged and recorded, never holds"
    """The check is made after the handshake and only recorded."""
    TLS = "TLS required, certificate not checked"
    MUST_HOLD = "TLS required, must hold"
    """The check is made after the handshake; a failure rules the host out."""
    RULED_OUT = "host unusable now"
    """The host is not dialled; the cell's reason is shown."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One consequence, with the reason shown when it rules the host out."""

    then: Then
    reason: Reason | None = None

    @property
    def reported(self) -> TlsRptResult | None:
        """What a TLS report says of the demand itself: absence is a failure only where DANE is required [RFC 8460 §4.3.2.2]."""
        return TlsRptResult.DANE_REQUIRED if self.reason is Reason.DANE_REQUIRED else None

    def __str__(self) -> str:
        if self.reason is None:
            return self.then.value
        code = self.reason.facts.enhanced
        return f"{self.then.value}: {code} {self.reason.value}"


@dataclass(frozen=True, slots=True)
class Row(Generic[M]):
    """One finding and what it means under each mode."""

    name: str
    finding: str
    source: str
    cells: Mapping[M, Cell]
    reported: TlsRptResult | None = None
    """What a TLS report says of it, whatever the mode, when the finding itself is a failure."""


_D, _S = SmtpDaneMode, MtaStsMode
_NOTHING, _OBSERVE = Cell(Then.NOTHING), Cell(Then.OBSERVE)
_TLS, _MUST = Cell(Then.TLS), Cell(Then.MUST_HOLD)


def _out(reason: Reason) -> Cell:
    return Cell(Then.RULED_OUT, reason)


def _dane(
    name: str, finding: str, source: str, opportunistic: Cell, mandatory: Cell, report_only: Cell = _NOTHING,
    reported: TlsRptResult | None = None,
) -> Row[SmtpDaneMode]:  # fmt: skip
    cells = {_D.REPORT_ONLY: report_only, _D.OPPORTUNISTIC: opportunistic, _D.MANDATORY: mandatory}
    return Row(name, finding, source, cells, reported)


def _sts(
    name: str, finding: str, source: str, opportunistic: Cell, mandatory: Cell, report_only: Cell = _NOTHING,
    reported: TlsRptResult | None = None,
) -> Row[MtaStsMode]:  # fmt: skip
    cells = {_S.REPORT_ONLY: report_only, _S.OPPORTUNISTIC: opportunistic, _S.MANDATORY: mandatory}
    return Row(name, finding, source, cells, reported)


_REQUIRED, _UNKNOWN = _out(Reason.DANE_REQUIRED), _out(Reason.DNSSEC_INVALID)

DANE_ROWS: tuple[Row[SmtpDaneMode], ...] = (
    Row("dane-off", "mode None: DANE is not looked at", "[Exchange Online]", {_D.NONE: _NOTHING}),
    _dane(
        "dane-literal", "the host is an IP address or CIDR block and has no name", "[RFC 7672 §2.2]", _NOTHING, _REQUIRED
    ),
    _dane(
        "dane-insecure", "the MX answer or the host's addresses are INSECURE", "[RFC 7672 §2.2.1]", _NOTHING, _REQUIRED
    ),
    _dane(
        "dane-address-unknown", "the addresses of all families are BOGUS or UNKNOWN", "[RFC 7672 §2.1.1]", _UNKNOWN, _UNKNOWN,
        _UNKNOWN, TlsRptResult.DNSSEC_INVALID,
    ),
    _dane(
        "dane-usable", "TLSA SECURE, at least one record usable", "[RFC 7672 §2.2]", _MUST, _MUST, _OBSERVE
    ),
    _dane(
        "dane-unusable", "TLSA SECURE, no record usable", "[RFC 7672 §2.2]", _TLS, _REQUIRED, _OBSERVE
    ),
    _dane(
        "dane-absent", "TLSA proven absent (SECURE denial), or INSECURE", "[RFC 7672 §2.2]", _NOTHING, _REQUIRED
    ),
    _dane(
        "dane-tlsa-unknown", "the TLSA look-up is BOGUS or UNKNOWN (SERVFAIL, time-out)", "[RFC 7672 §2.1.1]",
        _UNKNOWN, _UNKNOWN, _NOTHING, TlsRptResult.DNSSEC_INVALID,
    ),
    _dane(
        "resolver-cannot-validate",
        "our resolver cannot tell valid DNSSEC from invalid; where this rules nothing out, the row that stands beside it "
        "decides, and proves nothing for REQUIRETLS", "[ADR 7.11]", _NOTHING, _out(Reason.RESOLVER_CANNOT_VALIDATE),
    ),
)  # fmt: skip

_STS_REQUIRED, _STS_FETCH = _out(Reason.STS_REQUIRED), _out(Reason.STS_POLICY_FETCH_ERROR)

STS_ROWS: tuple[Row[MtaStsMode], ...] = (
    Row("sts-off", "mode None: MTA-STS is not looked at", "[Exchange Online]", {_S.NONE: _NOTHING}),
    _sts("sts-literal", "the next hop is an IP address: there is no policy domain", "[RFC 8461 §3.4]",
         _NOTHING, _STS_REQUIRED),
    _sts("sts-absent", "no TXT record, no cached policy", "[RFC 8461 §3.1]", _NOTHING, _STS_REQUIRED),
    _sts("sts-txt-invalid", "TXT malformed or several, nothing cached", "[RFC 8461 §3.1]",
         _NOTHING, _STS_REQUIRED),
    _sts("sts-policy-invalid", "policy fetched but malformed, nothing cached", "[RFC 8461 §3.2]",
         _NOTHING, _STS_REQUIRED, _NOTHING, TlsRptResult.STS_POLICY_INVALID),
    _sts("sts-fetch-error", "the policy could not be fetched, nothing cached", "[RFC 8461 §3.3]",
         _NOTHING, _STS_FETCH, _NOTHING, TlsRptResult.STS_POLICY_FETCH_ERROR),
    _sts("sts-webpki-invalid", "the policy host's certificate does not hold, nothing cached", "[RFC 8461 §3.3]",
         _NOTHING, _STS_FETCH, _NOTHING, TlsRptResult.STS_WEBPKI_INVALID),
    _sts("sts-dns-unknown", "the look-up of `_mta-sts` is BOGUS or UNKNOWN, nothing cached", "[RFC 8461 §3.1]",
         _NOTHING, _STS_FETCH, _NOTHING, TlsRptResult.STS_POLICY_FETCH_ERROR),
    _sts("sts-enforce", "policy in `enforce` mode names the host", "[RFC 8461 §5]", _MUST, _MUST, _OBSERVE),
    _sts("sts-enforce-mismatch", "policy in `enforce` mode does not name the host", "[RFC 8461 §4.1]",
         _out(Reason.STS_MX_MISMATCH), _out(Reason.STS_MX_MISMATCH), _OBSERVE, TlsRptResult.VALIDATION_FAILURE),
    _sts("sts-testing", "policy in `testing` mode", "[RFC 8461 §5]", _OBSERVE, _STS_REQUIRED, _OBSERVE),
    _sts("sts-none", "policy in `none` mode", "[RFC 8461 §5]", _NOTHING, _STS_REQUIRED),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Note:
    """A row that is not a choice by mode: what a next hop's DNS means, or how the mechanisms combine."""

    name: str
    finding: str
    consequence: str
    source: str


HOP_ROWS: tuple[Note, ...] = (
    Note("mx-found", "the MX answer has hosts", "ascending preference, equal ones shuffled", "[RFC 5321 §5.1]"),
    Note("mx-bogus", "the MX answer is BOGUS", "hold: 4.7.324 dnssec-invalid; never fall back to addresses",
         "[RFC 7672 §2.2.1]"),
    Note("mx-unknown", "the MX answer is UNKNOWN", "hold: 4.4.312; never fall back to addresses", "[RFC 5321 §5.1]"),
    Note("mx-null", "null MX", "return: 5.1.10", "[RFC 7505 §3]"),
    Note("mx-nxdomain", "the domain does not exist", "return: 5.4.310", "[RFC 5321 §5.1]"),
    Note("mx-implicit", "no MX record", "the domain itself is the host, with the security of the denial", "[RFC 5321 §5.1]"),
    Note("smart-host", "UseMXRecord is false", "the connector's smart hosts, in the order given", "[Exchange Online]"),
    Note("host-no-address", "the host has no address", "host unusable: 4.4.312", "[RFC 5321 §5.1]"),
    Note("host-address-unknown", "SmtpDaneMode None, and the addresses of all families are BOGUS or UNKNOWN",
         "host unusable: 4.7.324 (bogus), 4.4.312 (unknown)", "[RFC 5321 §5.1]"),
    Note("dane-address-partial", "one address family is BOGUS or UNKNOWN, the other is not",
         "the good family is used; the other is unknown, not absent", "[RFC 7672 §2.1.1]"),
    Note("sts-cached", "the policy in force came from the cache because TXT or fetch failed",
         "the cached policy stays in force until it ends", "[RFC 8461 §5.1]"),
)  # fmt: skip

TOGETHER_ROWS: tuple[Note, ...] = (
    Note("dane-over-sts", "DANE authenticates the host and MtaStsMode is not Mandatory",
         "MTA-STS is judged and reported but holds nothing; it may not overrule a DANE failure", "[RFC 8461 §2]"),
    Note("exception", "a timed exception is in force for the recipient domain in this connector",
         "its modes instead of the connector's, until its date; everything else stays", "[ours]"),
    Note("transport-rule", "transport rules apply to the message",
         "what they demand is added to the connector's own; less only when the rule says AllowWeaker", "[ours]"),
    Note("tls-settings", "the connector has TlsSettings", "added to the rest: the strictest of each property wins",
         "[Exchange Online]"),
    Note("opportunistic-tls", "nothing demands TLS",
         "TLS if offered; a failed handshake is followed by one try without TLS", "[RFC 7435]"),
    Note("requiretls", "the message asks REQUIRETLS",
         "TLS authenticated by DANE or MTA-STS and REQUIRETLS offered, else 5.7.30", "[RFC 8689 §4.2.1]"),
    Note("tls-required-no", "the message says `TLS-Required: No`",
         "Opportunistic becomes ReportOnly; Mandatory and TlsSettings stay", "[RFC 8689 §4.2.2]"),
)  # fmt: skip

DANE: Mapping[str, Row[SmtpDaneMode]] = {row.name: row for row in DANE_ROWS}
STS: Mapping[str, Row[MtaStsMode]] = {row.name: row for row in STS_ROWS}


def row_names() -> tuple[str, ...]:
    """Every row's name, in the order of the printed table."""
    return tuple(row.name for rows in (HOP_ROWS, DANE_ROWS, STS_ROWS, TOGETHER_ROWS) for row in rows)


def markdown() -> str:
    """The table as the reference page prints it."""
    lines = ["## Next hops", "", "| row | finding | consequence | source |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.finding} | {row.consequence} | {row.source} |" for row in HOP_ROWS]
    lines += _moded("DANE for one host (SmtpDaneMode)", DANE_ROWS, tuple(SmtpDaneMode))
    lines += _moded("MTA-STS for one host (MtaStsMode)", STS_ROWS, tuple(MtaStsMode))
    lines += ["", "## Together", "", "| row | when | consequence | source |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.finding} | {row.consequence} | {row.source} |" for row in TOGETHER_ROWS]
    return "\n".join(lines) + "\n"


def _moded(title: str, rows: tuple[Row[M], ...], modes: tuple[M, ...]) -> list[str]:
    heads = " | ".join(mode.value for mode in modes)
    lines = ["", f"## {title}", "", f"| row | finding | {heads} | TLS report | source |", "|---" * (len(modes) + 4) + "|"]
    for row in rows:
        cells = " | ".join(str(row.cells[mode]) if mode in row.cells else "–" for mode in modes)
        reported = f"`{row.reported.value}`" if row.reported else "–"
        lines.append(f"| `{row.name}` | {row.finding} | {cells} | {reported} | {row.source} |")
    return lines
