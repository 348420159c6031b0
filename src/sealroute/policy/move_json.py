"""A move as JSON text and back: what the store keeps of it beside its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sealroute.base.errors import OperatorError
from sealroute.base.times import parse_rfc3339, rfc3339
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import connector_from_json, connector_to_json
from sealroute.policy.move import Mark, Move, MoveRules, MoveStep, PartnerState
from sealroute.policy.readiness import Mechanism


def move_to_json(move: Move) -> str:
    """All of it but id, organisation, connector and step, which are columns of their own."""
    rules = move.rules
    record = {
        "mechanism": move.mechanism.value,
        "rules": {
            "observe_seconds": rules.observe.total_seconds(),
            "sessions": rules.sessions,
            "max_held": rules.max_held,
            "max_age_seconds": rules.max_age.total_seconds(),
            "review_seconds": rules.review.total_seconds(),
        },
        "before": json.loads(connector_to_json(move.before)),
        "after": None if move.after is None else json.loads(connector_to_json(move.after)),
        "kept_guid": move.kept_guid,
        "kept_name": move.kept_name,
        "started": mark_record(move.started),
        "mandatory": mark_record(move.mandatory),
        "ended": mark_record(move.ended),
        "partner_before": [partner_state_record(item) for item in move.partner_before],
        "partner_mandatory": [partner_state_record(item) for item in move.partner_mandatory],
    }
    return json.dumps(record, separators=(",", ":"))


def move_from_json(keys: Mapping[str, Any], text: str) -> Move:
    """The move; `keys` are the columns id, organization, connector_guid, connector_name, step.  Raises OperatorError."""
    try:
        record = json.loads(text)
        rules, started = record["rules"], _mark(record["started"])
        assert started is not None
        return Move(
            id=keys["id"],
            organization=keys["organization"],
            connector_guid=keys["connector_guid"],
            connector_name=keys["connector_name"],
            step=MoveStep(keys["step"]),
            mechanism=Mechanism(record["mechanism"]),
            rules=MoveRules(
                timedelta(seconds=rules["observe_seconds"]),
                rules["sessions"],
                rules["max_held"],
                timedelta(seconds=rules["max_age_seconds"]),
                timedelta(seconds=rules["review_seconds"]),
            ),
            before=_connector(record["before"]),
            after=None if record["after"] is None else _connector(record["after"]),
            kept_guid=record["kept_guid"],
            kept_name=record["kept_name"],
            started=started,
            mandatory=_mark(record["mandatory"]),
            ended=_mark(record["ended"]),
            partner_before=_partners(record["partner_before"]),
            partner_mandatory=_partners(record["partner_mandatory"]),
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise OperatorError.one(f"move {keys['id']}", f"it cannot be read: {type(error).__name__} {error}.") from None


def mark_record(mark: Mark | None) -> dict[str, str] | None:
    """A step as plain JSON values."""
    return None if mark is None else {"at": rfc3339(mark.at), "by": mark.by, "why": mark.why}


def partner_state_record(item: PartnerState) -> dict[str, Any]:
    """A partner's state as plain JSON values."""
    return {
        "domain": item.domain,
        "standing": item.standing,
        "tlsRpt": item.tls_rpt,
        "hosts": list(item.hosts),
        "withoutTlsa": list(item.without_tlsa),
        "addresses": list(item.addresses),
    }


def _connector(record: Any) -> Connector:
    return connector_from_json(json.dumps(record))


def _mark(record: Any) -> Mark | None:
    return None if record is None else Mark(parse_rfc3339(record["at"]), record["by"], record["why"])


def _partners(records: Any) -> tuple[PartnerState, ...]:
    return tuple(
        PartnerState(
            item["domain"],
            item["standing"],
            item["tlsRpt"],
            tuple(item["hosts"]),
            tuple(item["withoutTlsa"]),
            tuple(item["addresses"]),
        )
        for item in records
    )
