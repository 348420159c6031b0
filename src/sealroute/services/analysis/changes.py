"""What changed at a destination since an attempt was recorded: its attempt records against those an analysis makes now.

Both are plain records (policy/record), so that what the trace stored long ago is read as it stands.  Order of records in an
answer is no change; TTLs, times and texts of failures are none either, unless the failure itself came or went.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealroute.services.trace import attempt_text

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was."""

    what: str
    then: str
    now: str


def changes(then: Sequence[Record], now: Sequence[Record]) -> tuple[Change, ...]:
    """The differences between two runs to one domain, each given by its attempt records with evidence; `now` may be longer."""
    before, after = _facts(then), _facts(now)
    found = []
    for what in dict.fromkeys((*before, *after)):
        if before.get(what, "not seen") != after.get(what, "not seen"):
            found.append(Change(what, before.get(what, "not seen"), after.get(what, "not seen")))
    return tuple(found)


def _facts(records: Sequence[Record]) -> dict[str, str]:
    """Everything comparable, by name."""
    found: dict[str, str] = {}
    for record in records:
        evidence = record.get("evidence")
        if isinstance(evidence, Mapping):
            found |= dict(_evidence(evidence))
    for record in records:
        found |= dict(_handshake(record))
    if records:
        last = records[-1]
        found["result"] = attempt_text(last) or f"delivered over {last.get('host', '')}"
    return found


def _evidence(evidence: Record) -> Iterator[tuple[str, str]]:
    if evidence.get("resolver_trusted") is False:
        yield "our resolver", "not trusted"
    for hop in evidence.get("hops", ()):
        yield from _answer(hop.get("mx"))
        for host in hop.get("hosts", ()):
            yield from _answer(host.get("a"))
            yield from _answer(host.get("aaaa"))
            for lookup in host.get("tlsa", ()):
                yield from _answer(lookup.get("answer"))
    for sts in evidence.get("sts", ()):
        domain = sts.get("domain", "")
        policy = sts.get("policy")
        yield f"MTA-STS policy of {domain}", _policy(policy) if policy else "none in force"
        yield f"MTA-STS fetch of {domain}", str(sts.get("failure", "no failure"))


def _policy(policy: Record) -> str:
    return f"{policy.get('mode')}, mx {', '.join(sorted(map(str, policy.get('mx', ()))))}"


def _answer(answer: Record | None) -> Iterator[tuple[str, str]]:
    if not answer:
        return
    records = "; ".join(sorted(map(str, answer.get("records", ())))) or str(answer.get("outcome"))
    yield f"{answer.get('rtype')} {answer.get('name')}", f"{answer.get('security')}: {records}"


def _handshake(record: Record) -> Iterator[tuple[str, str]]:
    facts, where = record.get("facts"), f"{record.get('host', '')} [{record.get('ip', '')}]"
    if not facts:
        return
    tls = facts.get("tls_version") or ("STARTTLS fails" if facts.get("handshake_error") else "no TLS")
    yield f"TLS at {where}", str(tls)
    chain = [str(item) for item in facts.get("chain_sha256", ())]
    if chain:
        yield f"certificate at {where}", f"SHA-256 {chain[0]}"
