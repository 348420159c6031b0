"""A sighting as plain JSON values and back, for the store and `--json`: `from_record(to_record(s)) == s`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sealroute.base.times import parse_rfc3339, rfc3339
from sealroute.policy.sighting import CertificateSeen, HostSighting, PolicySeen, Sighting, SignatureSeen


def to_record(sighting: Sighting) -> dict[str, Any]:
    """The sighting in plain values; None where something was not found out."""
    policy, signature = sighting.policy, sighting.signature
    return {
        "at": rfc3339(sighting.at),
        "mx": None if sighting.mx is None else list(sighting.mx),
        "hosts": [_host_record(host) for host in sighting.hosts],
        "policy": {"mode": policy.mode, "id": policy.id, "mx": list(policy.mx)} if policy else None,
        "signature": {
            "what": signature.what, "begins": rfc3339(signature.begins), "expires": rfc3339(signature.expires),
        } if signature else None,
        "signaturesComplete": sighting.signatures_complete,
        "told": _text(sighting.told),
    }  # fmt: skip


def _host_record(host: HostSighting) -> dict[str, Any]:
    return {
        "name": host.name,
        "tlsa": None if host.tlsa is None else list(host.tlsa),
        "certificates": [
            {
                "fingerprint": item.fingerprint,
                "key": item.key,
                "notBefore": _text(item.not_before),
                "notAfter": _text(item.not_after),
            }
            for item in host.certificates
        ],
        "matches": host.matches,
        "mismatch": host.mismatch,
        "earlier": list(host.earlier),
        "told": host.told,
        "seenAt": _text(host.seen_at),
    }


def from_record(record: Mapping[str, Any]) -> Sighting:
    """What `to_record` made; KeyError, TypeError or ValueError for anything else."""
    policy, signature = record["policy"], record["signature"]
    return Sighting(
        at=parse_rfc3339(record["at"]),
        mx=None if record["mx"] is None else tuple(record["mx"]),
        hosts=tuple(_host(host) for host in record["hosts"]),
        policy=PolicySeen(policy["mode"], policy["id"], tuple(policy["mx"])) if policy else None,
        signature=SignatureSeen(
            signature["what"], parse_rfc3339(signature["begins"]), parse_rfc3339(signature["expires"])
        ) if signature else None,
        signatures_complete=record["signaturesComplete"],
        told=_moment(record["told"]),
    )  # fmt: skip


def _host(record: Mapping[str, Any]) -> HostSighting:
    certificates = (
        CertificateSeen(item["fingerprint"], item["key"], _moment(item["notBefore"]), _moment(item["notAfter"]))
        for item in record["certificates"]
    )
    return HostSighting(
        name=record["name"],
        tlsa=None if record["tlsa"] is None else tuple(record["tlsa"]),
        certificates=tuple(certificates),
        matches=record["matches"],
        mismatch=record["mismatch"],
        earlier=tuple(record["earlier"]),
        told=record["told"],
        seen_at=_moment(record["seenAt"]),
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)
