"""One attempt record (policy/record) as a tree that answers, from top to bottom: what came of it, why, and on what proof.

Reads the record as the trace stores it and judges nothing.  Parts that did not happen are left out; what could not be
found out says so, since "no TLSA" and "TLSA unknown" must never look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sealroute.base.times import parse_rfc3339
from sealroute.faces.cli import screen
from sealroute.services.trace import attempt_text

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

Record = Mapping[str, Any]
_SECURITY_STYLE = {"secure": "green", "insecure": "", "bogus": "bold red", "unknown": "bold red"}
_ABSENCE = {
    ("nodata", "secure"): "none, proven by DNSSEC",
    ("nxdomain", "secure"): "name does not exist, proven by DNSSEC",
    ("nodata", "insecure"): "none (unsigned zone)",
    ("nxdomain", "insecure"): "name does not exist (unsigned zone)",
}
_PROTECTION = {
    "dane": "authenticated by DANE",
    "mta-sts": "authenticated by MTA-STS",
    "tls": "encrypted, not authenticated",
    "plain": "plaintext",
}
_TIMES = (("resolve_ms", "DNS and policy"), ("connect_ms", "connect"), ("tls_ms", "TLS"), ("transaction_ms", "transaction"))


def attempt_tree(record: Record, *, title: str = "") -> Tree:
    """The attempt as a rich tree."""
    from rich.tree import Tree

    tree = Tree(_headline(record, title), guide_style="dim")
    for line in _outcome(record):
        tree.add(line)
    modes = f"SmtpDaneMode {record.get('smtp_dane_mode')}, MtaStsMode {record.get('mta_sts_mode')}"
    tree.add(screen.text("Connector  ", (str(record.get("connector_name", "")), "bold"), f" ({modes})"))
    if record.get("exception"):
        tree.add(screen.text("Exception  ", (str(record["exception"]), "bold"), "  these modes, for this domain only"))
    for rule in record.get("transport_rules", ()):
        tree.add(_rule_line(rule))
    if record.get("rows"):
        tree.add(screen.text("Decided by  ", ", ".join(record["rows"])))
    evidence = record.get("evidence")
    if isinstance(evidence, Mapping):
        _branch(tree, "DNS", _dns_lines(evidence, record.get("host", "")))
        for sts in evidence.get("sts", ()):
            _branch(tree, f"MTA-STS of {sts.get('domain', '')}", _sts_lines(sts))
    _branch(tree, "TLS", _tls_lines(record))
    _branch(tree, "Verdict", _verdict_lines(record))
    _branch(tree, "Dialogue", [screen.text((said, "bold"), f" → {reply}") for said, reply in record.get("replies", ())])
    timings = record.get("timings", {})
    parts = [f"{name} {timings[key]:.0f} ms" for key, name in _TIMES if key in timings]
    if parts:
        tree.add(screen.text("Took  ", ", ".join(parts)))
    return tree


def attempt_line(record: Record) -> Text:
    """The attempt in one line: when, where, what came of it."""
    fates = ", ".join(dict.fromkeys(str(fate["fate"]) for fate in record.get("recipients", ())))
    text = attempt_text(record)
    return screen.text(_headline(record, ""), "  ", (text, "yellow") if text else (fates, "green"))


def _rule_line(rule: Record) -> Text:
    """A transport rule that applied, and what it did."""
    did = "; ".join(rule.get("did", ())) or "demands nothing that was not demanded already"
    would = "Audit, would have: " if rule.get("audit") else ""
    why = f" (cannot be told whether the message meets it: {rule['uncertain']})" if rule.get("uncertain") else ""
    return screen.text("Rule  ", (str(rule.get("name", "")), "bold"), f" (version {rule.get('version')})  {would}{did}{why}")


def _branch(tree: Tree, name: str, lines: Sequence[Text]) -> None:
    if lines:
        branch = tree.add(screen.text((name, "bold")))
        for line in lines:
            branch.add(line)


def _headline(record: Record, title: str) -> Text:
    at = screen.moment(parse_rfc3339(str(record["at"])))
    server = (
        f"{record['host']} [{record.get('ip', '')}]:{record.get('port', 25)}" if record.get("host") else "before any server"
    )
    return screen.text((f"{title or 'Attempt'} {record.get('number', '')}".rstrip(), "bold"), f"  {at}  {server}")


def _outcome(record: Record) -> Iterator[Text]:
    text = attempt_text(record)
    if text:
        yield screen.text("Result  ", (text, "red"))
    for fate in record.get("recipients", ()):
        style = {"delivered": "green", "failed": "red"}.get(str(fate["fate"]), "yellow")
        yield screen.text((f"{fate['fate']}  ", style), f"{fate['address']}  {fate.get('reply', '')}".rstrip())


# ---------------------------------------------------------------------------------------------------------------- DNS


def _dns_lines(evidence: Record, host: str) -> list[Text]:
    lines: list[Text] = []
    if evidence.get("resolver_trusted") is False:
        lines.append(screen.text(("The resolver failed its canaries: no DNSSEC claim was believed.", "bold red")))
        if evidence.get("resolver_detail"):
            lines.append(screen.text(f"  {evidence['resolver_detail']}"))
    for hop in evidence.get("hops", ()):
        lines += _answer_lines(hop.get("mx"))
        for item in hop.get("hosts", ()):
            if host and item.get("name") != host:
                continue
            if item.get("literal_addresses"):
                lines.append(screen.text(f"{item['name']}  ", "address as written in the connector"))
            lines += _answer_lines(item.get("a")) + _answer_lines(item.get("aaaa"))
            for lookup in item.get("tlsa", ()):
                lines += _answer_lines(lookup.get("answer"))
            if not item.get("tlsa") and record_asked(item):
                lines.append(screen.text(f"TLSA {item['name']}  ", ("not asked", "dim")))
    return lines


def record_asked(host: Record) -> bool:
    """True when addresses were looked up, so that a missing TLSA look-up is worth a line."""
    return "a" in host or "aaaa" in host


def _answer_lines(answer: Record | None) -> list[Text]:
    if not answer:
        return []
    security, outcome = str(answer.get("security")), str(answer.get("outcome"))
    records = [str(item) for item in answer.get("records", ())] if outcome == "data" else []
    one_each = answer.get("rtype") == "TLSA"
    if outcome == "data":
        said = "" if one_each else ", ".join(records)
    elif outcome == "failed":
        said = f"could not be found out: {answer.get('detail', '') or 'no reason given'}"
    else:
        said = _ABSENCE.get((outcome, security), outcome)
    lines = [
        screen.text(f"{answer.get('rtype')} {answer.get('name')}  ", (security, _SECURITY_STYLE.get(security, "")), f"  {said}")
    ]
    if one_each:
        lines += [screen.text(f"  {item}") for item in records]
    for step in answer.get("aliases", ()):
        lines.append(screen.text(f"  alias {step['owner']} → {step['target']}  ", (str(step["security"]), "dim")))
    return lines


# ------------------------------------------------------------------------------------------------- policy, TLS, verdict


def _sts_lines(sts: Record) -> list[Text]:
    lines = _answer_lines(sts.get("txt"))
    policy = sts.get("policy")
    if policy:
        lines.append(
            screen.text(
                ("Policy ", ""), (str(policy["mode"]), "bold"), f", id {sts.get('policy_id', '')}, {sts.get('source', '')}",
                f", until {sts['expires_at']}" if sts.get("expires_at") else "",
            )
        )  # fmt: skip
        lines.append(screen.text("mx  ", ", ".join(policy.get("mx", ()))))
    else:
        lines.append(screen.text("No policy in force"))
    if sts.get("failure"):
        lines.append(screen.text((f"{sts['failure']}: {sts.get('failure_detail', '')}", "red")))
    return lines


def _tls_lines(record: Record) -> list[Text]:
    facts = record.get("facts")
    if not facts:
        return []
    lines = []
    if facts.get("tls_version"):
        reused = ", connection used again" if record.get("reused_connection") else ""
        lines.append(screen.text((facts["tls_version"], "bold"), f"  {facts.get('cipher', '')}{reused}"))
    elif facts.get("handshake_error"):
        lines.append(screen.text(("handshake failed: ", "red"), facts["handshake_error"]))
    else:
        lines.append(screen.text("none: STARTTLS " + ("offered, not used" if facts.get("starttls_offered") else "not offered")))
    for depth, fingerprint in enumerate(facts.get("chain_sha256", ())):
        if depth == 0:
            lines.append(screen.text("Certificates as presented, SHA-256"))
        lines.append(screen.text(f"  {'leaf' if depth == 0 else f'+{depth}':<4} {fingerprint}"))
    requirement = record.get("requirement") or {}
    if requirement.get("sni"):
        lines.append(screen.text("SNI  ", requirement["sni"]))
    return lines


def _verdict_lines(record: Record) -> list[Text]:
    verdict = record.get("verdict")
    if not verdict:
        return []
    lines = [screen.text("Protection  ", (_PROTECTION.get(str(verdict["protection"]), str(verdict["protection"])), "bold"))]
    for key, name in (("dane", "DANE"), ("sts", "MTA-STS"), ("tls_settings", "TlsSettings")):
        check = verdict.get(key)
        if not check:
            continue
        if check["satisfied"]:
            lines.append(screen.text(f"{name}  ", ("holds", "green"), f"  {check.get('matched', '')}".rstrip()))
        else:
            why = ": ".join(str(check[part]) for part in ("result", "detail") if check.get(part))
            lines.append(screen.text(f"{name}  ", ("does not hold", "red"), f"  {why}".rstrip()))
    for key, name in (("would_satisfy_dane", "SmtpDaneMode Mandatory"), ("would_satisfy_sts", "MtaStsMode Mandatory")):
        if key in verdict:
            word = ("yes", "green") if verdict[key] else ("no", "yellow")
            lines.append(screen.text(f"Would satisfy {name}  ", word))
    return lines
