"""An analysis as plain JSON values, the form that `--json`, API and bulk output share; keys are documented and stay.

Evidence and attempts are in the form of the trace record (policy/record).
"""

from __future__ import annotations

from typing import Any

from sealroute.base.times import rfc3339
from sealroute.policy.reasons import Finding
from sealroute.policy.record import attempt_record, plain
from sealroute.services.analysis.changes import Change
from sealroute.services.analysis.model import Analysis, Check, HostSeen, Outcome
from sealroute.services.compare_resolvers import Compared, Witness


def analysis_record(analysis: Analysis) -> dict[str, Any]:
    """The whole analysis."""
    seen = analysis.seen
    evidence = seen.plan.evidence
    return {
        "domain": analysis.domain,
        "at": rfc3339(seen.at),
        "connector": seen.connector.name,
        "exception": seen.connector.exception_id or None,
        "port": evidence.port,
        "wouldDeliver": analysis.would_deliver,
        "resolverTrusted": evidence.resolver_trusted,
        "resolverDetail": evidence.resolver_detail or None,
        "modes": [outcome_record(outcome) for outcome in analysis.outcomes],
        "checks": [check_record(check) for check in analysis.checks],
        "hosts": [_host(host) for host in seen.hosts],
        "evidence": plain(evidence),
        "attempts": [attempt_record(attempt) for outcome in analysis.in_force for attempt in outcome.attempts],
        "tookSeconds": round(analysis.took_seconds, 3),
    }


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """What delivery would do under one pair of modes."""
    finding = outcome.finding
    return {
        "smtpDaneMode": outcome.dane_mode.value,
        "mtaStsMode": outcome.sts_mode.value,
        "inForce": outcome.in_force,
        "would": outcome.would.value,
        "protection": outcome.protection.value if outcome.protection else None,
        "reason": finding.reason.value if finding else None,
        "code": outcome.code or None,
        "sentence": outcome.sentence,
        "side": finding.reason.facts.side.value if finding else None,
        "host": outcome.host or None,
        "ip": outcome.ip or None,
    }


def check_record(check: Check) -> dict[str, Any]:
    """One check with those below it."""
    return {
        "id": check.id,
        "status": check.status.value,
        "title": check.title,
        "said": check.said,
        "whose": check.whose.value,
        "advice": check.advice or None,
        "publish": [{"where": item.where, "lines": list(item.lines)} for item in check.publish],
        "facts": list(check.facts),
        "children": [check_record(child) for child in check.children],
    }


def _host(host: HostSeen) -> dict[str, Any]:
    """What each address showed, and how the judge sees it with nothing enforced."""
    return {
        "name": host.plan.name,
        "preference": host.plan.preference,
        "rows": list(host.plan.rows),
        "addresses": [
            {
                "ip": item.probe.target.ip,
                "sni": item.probe.target.sni,
                "failed": _finding(item.probe.failed),
                "refused": _finding(item.probe.refused),
                "facts": plain(item.probe.facts) if item.probe.facts else None,
                "verdict": plain(item.verdict) if item.verdict else None,
            }
            for item in host.addresses
        ],
        "skipped": [{"ip": ip, "finding": _finding(why)} for ip, why in host.skipped],
    }


def _finding(finding: Finding | None) -> dict[str, Any] | None:
    return None if finding is None else plain(finding)


def compared_record(witnesses: tuple[Witness, ...], compared: tuple[Compared, ...]) -> dict[str, Any]:
    """Several resolvers side by side."""
    return {
        "resolvers": [
            {"name": item.name, "believed": item.believed, "whyNot": item.why_not or None} for item in witnesses
        ],
        "questions": [
            {
                "type": item.question[0],
                "name": item.question[1],
                "differs": item.differs,
                "answers": [plain(answer) for answer in item.answers],
            }
            for item in compared
        ],
    }  # fmt: skip


def changes_record(changes: tuple[Change, ...]) -> list[dict[str, str]]:
    """What is not as it was."""
    return [{"what": item.what, "then": item.then, "now": item.now} for item in changes]
