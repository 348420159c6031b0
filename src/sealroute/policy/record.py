"""Attempts and evidence as plain JSON, the form in which trace, API and CLI show them.

One generic walk: dataclasses become objects, enums their value, bytes hex, moments RFC 3339, empty parts are left out.
Evidence is split off and named by its digest, since every message of a plan's lifetime shares it.  Certificates are
recorded by SHA-256 fingerprint, not whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any

from sealroute.base.dnsdata import Mx, Tlsa
from sealroute.base.jsontext import encode
from sealroute.base.status import Enhanced, Reply
from sealroute.base.times import rfc3339
from sealroute.policy.attempt import Attempt
from sealroute.policy.evidence import Evidence
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


def plain(value: Any) -> Any:
    """The value as JSON knows it; raises TypeError for a kind that has no such form."""
    return value if type(value) in _AS_THEY_ARE else _way(value.__class__)(value)


@cache
def _way(kind: type) -> Callable[[Any], Any]:
    """How values of a kind become plain: its own way, or that of what it is derived from."""
    for base, way in _WAYS:
        if issubclass(kind, base):
            return way
    if is_dataclass(kind):
        return _object
    raise TypeError(f"{kind.__name__} has no plain form")


def _object(value: Any) -> dict[str, Any]:
    items = ((name, getattr(value, name)) for name in _field_names(value.__class__))
    return {name: plain(item) for name, item in items if item is not None and item != "" and item != ()}


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding with its sentence, code and whose side it is on."""
    record = {
        "reason": finding.reason.value,
        "code": str(finding.enhanced(finding.reason.facts.enhanced.klass)),
        "sentence": finding.sentence(),
        "detail": finding.detail,
        "host": finding.host,
        "domain": finding.domain,
        "ip": finding.ip,
        "side": finding.reason.facts.side.value,
        "basic": finding.basic,
        "peer_code": str(finding.code) if finding.code else "",
    }
    return {key: value for key, value in record.items() if value not in ("", None)}


def _facts_record(facts: HandshakeFacts) -> dict[str, Any]:
    record: dict[str, Any] = {
        "at": rfc3339(facts.at),
        "starttls_offered": facts.starttls_offered,
        "starttls_reply": str(facts.starttls_reply) if facts.starttls_reply else "",
        "handshake_error": facts.handshake_error,
        "tls_version": facts.tls_version,
        "cipher": facts.cipher,
        "chain_sha256": [hashlib.sha256(der).hexdigest() for der in facts.chain],
    }
    return {key: value for key, value in record.items() if value not in ("", [])}


def attempt_record(attempt: Attempt) -> dict[str, Any]:
    """The attempt without its evidence."""
    record = {
        name: plain(value)
        for name in _field_names(Attempt)
        if name not in ("evidence", "reported") and (value := getattr(attempt, name)) is not None and value not in ("", ())
    }
    if results := attempt.tls_report:
        record["tls_report"] = [result.value for result in results]
    return record


_AS_THEY_ARE = frozenset((type(None), str, int, float, bool))
_WAYS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((tuple, list), lambda items: list(map(plain, items))),
    (Finding, finding_record),
    (HandshakeFacts, _facts_record),
    ((Tlsa, Reply, Enhanced), str),
    (Mx, lambda mx: f"{mx.preference} {mx.host or '.'}"),
    (Enum, lambda member: member.value),
    ((str, int, float), lambda derived: derived),
    (datetime, rfc3339),
    (timedelta, timedelta.total_seconds),
    (bytes, bytes.hex),
    (dict, lambda items: {str(key): plain(item) for key, item in items.items()}),
)
"""The first that fits is taken."""


def evidence_record(evidence: Evidence) -> tuple[str, str]:
    """(digest, JSON text) of the evidence."""
    text = encode(plain(evidence))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), text
