"""Writes every page of the documentation that is printed from the code: `make docs`.

    python tools/print_docs.py              write what has changed, and the output shown in `console` blocks
    python tools/print_docs.py --check      change nothing; exit code 1 and the names of pages that are stale

`PAGES` is the list; tests/unit/test_docs.py compares each with its file.  The pages of settings, commands, metrics and
connectors are printed by their own parts of the package; the rest is put together here.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [entry for entry in (str(ROOT), str(ROOT / "src")) if entry not in sys.path]

from sealroute.base.dnsdata import AliasStep, Answer, Mx, Tlsa  # noqa: E402
from sealroute.base.status import Enhanced, Reply  # noqa: E402
from sealroute.faces.cli.document import cli_markdown  # noqa: E402
from sealroute.policy.attempt import Attempt, RecipientFate, Timings  # noqa: E402
from sealroute.policy.connector_docs import connectors_markdown  # noqa: E402
from sealroute.policy.evidence import Evidence, Hop, HostEvidence, StsEvidence, TlsaLookup  # noqa: E402
from sealroute.policy.reasons import Finding, Reason  # noqa: E402
from sealroute.policy.requirement import (  # noqa: E402
    CheckResult,
    DaneCheck,
    HandshakeFacts,
    Requirement,
    StsCheck,
    Verdict,
)
from sealroute.policy.table import markdown as table_markdown  # noqa: E402
from sealroute.policy.transport.apply import RuleEffect  # noqa: E402
from sealroute.policy.transport.docs import rules_markdown  # noqa: E402
from sealroute.proto.mtasts.policy import StsPolicy  # noqa: E402
from sealroute.proto.mtasts.txt import StsTxt  # noqa: E402
from sealroute.services.analysis.reference import reference_markdown as analysis_markdown  # noqa: E402
from sealroute.services.metrics import reference_markdown as metrics_markdown  # noqa: E402
from sealroute.settings.document import example_toml  # noqa: E402
from sealroute.settings.document import reference_markdown as settings_markdown  # noqa: E402
from tools.mutate import page as mutation_page  # noqa: E402

# ------------------------------------------------------------------------------------------------------ decision table

TABLE_HEAD = """\
# The decision table

What Sealroute does for each thing that DNS, HTTPS and a handshake can say. The gateway looks its decisions up in this table
and nowhere else, and every attempt in a trace names the rows that decided it. How the two mechanisms fit together is told in
[how DANE and MTA-STS combine](../explain/how-dane-and-mta-sts-combine.md); the codes are listed in [reasons](reasons.md).

* *does not apply*: the mechanism asks nothing; the connector's other settings decide.
* *judged and recorded, never holds*: the check is made and shown in trace and metrics, and mail goes whatever it says.
* *TLS required, must hold*: the check is made after the TLS handshake; a host that fails it gets no mail.
* *host unusable now*: the host is not dialled. When no host is left, the mail waits with the reason shown.

SECURE, INSECURE, BOGUS and UNKNOWN are told in [unknown is not absent](../explain/why-unknown-is-not-absent.md). "–" means that
the row cannot occur under that mode. `[Exchange Online]` stands for its documented behaviour, `[ADR …]` for
a decision of this project; the decisions with their reasons are in [docs/adr](../adr/).

This page is printed from the code (`src/sealroute/policy/table.py`) by `make docs`.

"""


def decision_table_page() -> str:
    return TABLE_HEAD + table_markdown()


# ------------------------------------------------------------------------------------------------------------- reasons

REASONS_HEAD = """\
# Reasons

Why mail was held or returned: every reason there is. Queue, trace, NDR, log and metrics all use the same keyword. While mail
waits the code begins with 4.x; when it is returned, the same number with 5.x. Reasons marked *at once* are never waited for.

Codes 321 to 325 and their sentences are Exchange's; 326 to 328 are ours and fill gaps that Exchange leaves. `<cause>` is the
precise cause, in one clause. Where the other server gave a code of its own, that is shown instead of 0.0. How to get from a
code to a remedy: [read a held message](../how-to/read-a-held-message.md).

This page is printed from the code (`src/sealroute/policy/reasons.py`) by `make docs`.

| keyword | while queued | when returned | who can fix it |
|---|---|---|---|
"""


def reasons_page() -> str:
    return REASONS_HEAD + "\n".join([*map(_reason_row, Reason), "", *(line for r in Reason for line in _reason_section(r))])


def _reason_row(reason: Reason) -> str:
    facts = reason.facts
    queued = "at once" if facts.enhanced.klass == 5 else f"{facts.basic} {facts.enhanced}"
    returned = f"{facts.basic if facts.basic // 100 == 5 else 550} {facts.enhanced.as_class(5)}"
    return f"| [`{reason.value}`](#{reason.value}) | {queued} | {returned} | {facts.side.value} |"


def _reason_section(reason: Reason) -> Iterator[str]:
    facts = reason.facts
    finding = Finding(reason, detail="<cause>", domain="<domain>")
    shown = finding.returned() if finding.final else finding.queued()
    yield f"## {reason.value}\n"
    yield f"`{shown}`\n"
    yield f"Who can fix it: {facts.side.value}. {facts.fix}\n"


# -------------------------------------------------------------------------------------------------------- trace record

RECORD_HEAD = """\
# The trace record

One attempt, as `sealroute trace ID --json` and `sealroute queue show ID --json` show it: one address tried, or one hold before
any address could be tried. An attempt is written once and never changed; everything that tells you about it reads this record.

What has nothing to say is left out: where the text says None or empty, the key is missing, and a missing key never means "no".
Moments are RFC 3339 in UTC. Certificates are given by SHA-256, not whole. Evidence is stored once per plan and put into every
attempt that used it.

This page is printed from the code (`src/sealroute/policy/record.py` and what it writes down) by `make docs`.
"""

Meanings = Mapping[str, str]
MEANINGS: dict[type, Meanings] = {
    Attempt: {
        "at": "When the attempt ended.",
        "connector_guid": "The connector used; all zeros for the default.",
        "connector_name": "Its name at that time.",
        "smtp_dane_mode": "Its SmtpDaneMode at that time.",
        "mta_sts_mode": "Its MtaStsMode at that time.",
        "domain": "The recipient domain.",
        "host": "The mail host tried, or ruled out.",
        "ip": "The address tried.",
        "port": "The port tried.",
        "requirement": "What had to hold for this host.",
        "facts": "What the connection showed, nothing judged.",
        "verdict": "The facts held against the requirement.",
        "evidence": "What DNS and HTTPS had said.",
        "reused_connection": "Whether a connection of an earlier message was used.",
        "timings": "How long the parts took.",
    },
    RuleEffect: {
        "guid": "The rule's identity.",
        "name": "Its name at that time.",
        "version": "How often it had been changed, from 1.",
    },
    RecipientFate: {
        "address": "The recipient.",
        "fate": "What became of it.",
        "reply": "The server's reply for it.",
    },
    Timings: {
        "resolve_ms": "DNS and MTA-STS policy.",
        "connect_ms": "TCP connection and greeting.",
        "tls_ms": "STARTTLS and handshake.",
        "transaction_ms": "MAIL to the last reply.",
    },
    Requirement: {
        "rows": "The table rows that made it.",
        "tls_required": "Whether TLS is demanded at all.",
        "sni": "The server name sent in the handshake.",
        "dane": "TLSA records to match.",
        "sts": "The MTA-STS policy to hold to.",
    },
    StsCheck: {
        "domain": "The policy domain.",
        "mode": "The policy's mode.",
        "policy_id": "The id of the TXT record.",
        "mx_matches": "Whether the policy names the host.",
    },
    Verdict: {
        "protection": "How the message travels, if it does.",
        "sts": "MTA-STS; missing when it does not apply or was not looked at.",
        "tls_settings": "The connector's TlsSettings; missing when there are none.",
        "would_satisfy_sts": "The same for MtaStsMode Mandatory.",
    },
    CheckResult: {
        "satisfied": "Whether it holds.",
        "detail": "Why not, in one clause.",
    },
    Evidence: {
        "gathered_at": "When it was gathered; a plan is used again until its TTL ends.",
        "port": "The destination port, part of TLSA names.",
    },
    Hop: {
        "name": "The domain or smart host looked up.",
        "kind": "Why its hosts are the next hop.",
        "hosts": "The hosts found.",
    },
    HostEvidence: {
        "preference": "The MX preference.",
        "literal_addresses": "The addresses, when `is_literal`.",
        "a": "IPv4 addresses.",
        "aaaa": "IPv6 addresses.",
    },
    TlsaLookup: {
        "base": "The base name asked, without `_25._tcp.`.",
        "answer": "What came back.",
    },
    Answer: {
        "name": "The name asked.",
        "rtype": "The record type asked.",
        "outcome": "What came back.",
        "security": "How far it is proven.",
        "records": "The records, as text.",
        "ttl_seconds": "How long it may be used.",
        "aliases": "The aliases followed.",
    },
    AliasStep: {
        "owner": "The alias.",
        "target": "What it points at.",
        "security": "How far this step is proven.",
    },
    StsEvidence: {
        "domain": "The policy domain.",
        "source": "Where the policy in force came from.",
        "policy_id": "The id it was fetched under.",
        "fetched_at": "When it was fetched.",
        "expires_at": "When it ends.",
        "failure_detail": "The same in words.",
    },
    StsTxt: {
        "status": "The record set's state.",
        "id": "The policy id.",
        "reason": "Why it is invalid.",
    },
    StsPolicy: {
        "mode": "The policy's mode.",
        "max_age_seconds": "How long it may be kept.",
    },
}
"""For fields whose name needs no docstring in the code."""

FINDING: Meanings = {
    "reason": "Keyword, see [reasons](reasons.md).",
    "code": "Enhanced status code.",
    "sentence": "The sentence an administrator reads.",
    "detail": "The precise cause, in one clause; the server's reply where it refused.",
    "host": "The host concerned.",
    "domain": "The domain concerned.",
    "ip": "The address concerned.",
    "side": "Who can fix it.",
    "basic": "The server's own basic code.",
    "peer_code": "The server's own enhanced code.",
}
FACTS: Meanings = {
    "at": "When the handshake ended.",
    "starttls_offered": "Whether EHLO named STARTTLS.",
    "starttls_reply": "The reply to STARTTLS.",
    "handshake_error": "Why the handshake failed, in the TLS library's words.",
    "tls_version": "The TLS version.",
    "cipher": "The cipher suite.",
    "chain_sha256": "SHA-256 of each certificate as presented, the server's own first.",
}
_SECTIONS: tuple[tuple[type, str], ...] = (
    (Attempt, "The attempt"),
    (RecipientFate, "A recipient"),
    (RuleEffect, "A transport rule"),
    (Finding, "A finding"),
    (Requirement, "The requirement"),
    (DaneCheck, "A DANE check"),
    (StsCheck, "An MTA-STS check"),
    (HandshakeFacts, "The handshake's facts"),
    (Verdict, "The verdict"),
    (CheckResult, "One mechanism's result"),
    (Timings, "Timings"),
    (Evidence, "The evidence"),
    (Hop, "A next hop"),
    (HostEvidence, "A host"),
    (TlsaLookup, "A TLSA look-up"),
    (Answer, "A DNS answer"),
    (AliasStep, "An alias step"),
    (StsEvidence, "MTA-STS evidence"),
    (StsTxt, "The TXT record"),
    (StsPolicy, "A policy"),
)
_TITLES = dict(_SECTIONS)
_TEXT = (str, Tlsa, Reply, Enhanced, Mx, bytes)
_SPECIAL = {Finding: FINDING, HandshakeFacts: FACTS}
_SPECIAL_TYPES = {"at": "moment", "basic": "number", "starttls_offered": "true or false", "chain_sha256": "list of text"}
_TLS_REPORT = ("tls_report", "list of text", "TLS report result types (RFC 8460) that this attempt contributes.")


def trace_record_page() -> str:
    return RECORD_HEAD + "".join(_record_section(kind, title) for kind, title in _SECTIONS)


def _record_section(kind: type, title: str) -> str:
    rows = "".join(f"| `{key}` | {type_} | {meaning} |\n" for key, type_, meaning in record_keys(kind))
    return f"\n## {title}\n\n{_sentence(kind)}\n\n| key | type | meaning |\n|---|---|---|\n{rows}"


def record_keys(kind: Any) -> Iterator[tuple[str, str, str]]:
    """(key, type, meaning) of everything the JSON object of this class may hold."""
    if kind in _SPECIAL:
        for key, meaning in _SPECIAL[kind].items():
            yield key, _SPECIAL_TYPES.get(key, "text"), meaning
        return
    hints = get_type_hints(kind)
    docs = _field_docs(kind) | dict(MEANINGS.get(kind, {}))
    for item in fields(kind):
        if kind is Attempt and item.name == "reported":
            yield _TLS_REPORT
            continue
        if item.name not in docs:
            where = f"{kind.__name__}.{item.name}"
            raise ValueError(f"say what {where} means: in a string below the field, or in MEANINGS of tools/print_docs.py")
        yield item.name, _type(hints[item.name]), " ".join(docs[item.name].split())


def _sentence(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _field_docs(kind: type) -> dict[str, str]:
    """The strings that stand below the fields of a dataclass in its source."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for item, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(after, ast.Expr):
            found[item.target.id] = str(ast.literal_eval(after.value))
    return found


def _type(annotation: Any) -> str:
    """A field's type as JSON has it."""
    inner = [part for part in get_args(annotation) if part is not type(None) and part is not Ellipsis]
    origin = get_origin(annotation)
    if origin is tuple and len(inner) == 1:
        return f"list of {_type(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_type, inner))}]"
    if origin is not None and not (isinstance(origin, type) and is_dataclass(origin)):
        return _type(inner[0])
    kind: Any = origin or annotation
    if isinstance(kind, TypeVar) or kind in _TEXT:
        return "text"
    if kind in _TITLES:
        title = _TITLES[kind]
        return f"[{title[0].lower() if title[:2] != 'MT' else title[0]}{title[1:]}](#{_anchor(title)})"
    if issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    return {bool: "true or false", int: "number", float: "number", datetime: "moment", timedelta: "seconds"}[kind]


def _anchor(title: str) -> str:
    return title.lower().replace("'", "").replace(" ", "-")


# ------------------------------------------------------------------------------------------------------------- writing

PAGES: dict[str, Callable[[], str]] = {
    "sealroute.example.toml": example_toml,
    "docs/reference/decision-table.md": decision_table_page,
    "docs/reference/reasons.md": reasons_page,
    "docs/reference/trace-record.md": trace_record_page,
    "docs/reference/connectors.md": connectors_markdown,
    "docs/reference/transport-rules.md": rules_markdown,
    "docs/reference/settings.md": settings_markdown,
    "docs/reference/cli.md": cli_markdown,
    "docs/reference/metrics.md": metrics_markdown,
    "docs/explain/mutation.md": mutation_page,
    "docs/reference/analysis.md": analysis_markdown,
}


def with_examples() -> list[Path]:
    """Hand-written pages whose `console` blocks are run."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if "```console" in page.read_text()]


def current() -> Iterator[tuple[Path, str]]:
    """Every page that is printed, with what it should say."""
    for name, page in PAGES.items():
        yield ROOT / name, page()
    from tools.doc_examples import rewrite

    for path in with_examples():
        yield path, rewrite(path.read_text())


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    stale = []
    for path, text in current():
        if not path.exists() or path.read_text() != text:
            stale.append(path.relative_to(ROOT))
            if "--check" not in arguments:
                path.write_text(text)
    for name in stale:
        sys.stdout.write(f"{name} {'is stale' if '--check' in arguments else 'written'}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
