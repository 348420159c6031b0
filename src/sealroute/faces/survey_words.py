"""What a bulk analysis says of each standing, on screen and in the report alike."""

from __future__ import annotations

from typing import Any

from sealroute.services.survey import Standing, Summary

STANDINGS = {
    Standing.UNKNOWN: "the analysis did not come to its end",
    Standing.BROKEN: "mail would be held or returned under Opportunistic",
    Standing.DANE: "DANE on every host that mail needs: SmtpDaneMode Mandatory would deliver",
    Standing.STS_ENFORCE: "MTA-STS enforce: MtaStsMode Mandatory would deliver",
    Standing.STS_TESTING: "MTA-STS testing",
    Standing.NEITHER: "neither DANE nor an MTA-STS policy",
}


def summary_record(summary: Summary) -> dict[str, Any]:
    """The summary as plain JSON values."""
    return {
        "total": summary.total,
        "standings": {standing.value: count for standing, count in summary.standings},
        "tlsRpt": summary.tls_rpt,
        "resolversDiffer": summary.differ,
        "causes": [{"reason": reason, "side": side, "count": count} for reason, side, count in summary.causes],
    }
