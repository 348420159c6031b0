"""docs/reference/analysis.md, printed: every check there is, and the keys of `sealroute analyze --json`."""

from __future__ import annotations

from collections.abc import Iterator

from sealroute.services.analysis.model import Status, Whose, Would

CHECKS: dict[str, str] = {
    "dnssec": "Whether the domain's zone is signed and the chain of trust from the root holds. Below it, zones and answers.",
    "zone": "One zone from the root down: its DNSKEY and its parent's DS, key tags, algorithms, how long signatures hold.",
    "signature": "One answer that mail depends on (MX, A, AAAA, TLSA): secure, unsigned, bogus or unknown, and who signed it.",
    "mx": "Where the domain's mail goes, and how that is known.",
    "host": "One mail host; below it, its addresses, TLSA records and servers.",
    "addresses": "A and AAAA of a host, each with its security, and the aliases on the way.",
    "tlsa": "The TLSA records of a host, by base name, against the certificates that its servers present.",
    "tlsa-record": "One TLSA record: what it matches, or why not.",
    "server": "One address of a host, or several that showed the same.",
    "starttls": "Whether STARTTLS is offered and the handshake succeeds.",
    "tls": "TLS version and cipher.",
    "certificate": "The chain as presented: names, issuers, dates, fingerprints.",
    "pkix": "Whether the web PKI would authenticate the host; MTA-STS and TlsSettings need it, DANE does not.",
    "dane": "DANE as delivery's judge sees it.",
    "sts-certificate": "MTA-STS as delivery's judge sees it: the host is in the policy, and its certificate holds.",
    "tls-settings": "The connector's own TlsSettings.",
    "ehlo": "The server's no to EHLO under TLS.",
    "mta-sts": "MTA-STS of the domain: the policy in force here. Below it, the TXT record, the policy file, each host.",
    "sts-txt": "The `_mta-sts` TXT record.",
    "sts-policy": "The policy file as it can be fetched now.",
    "sts-host": "One MX host against the patterns of the policy.",
    "tls-rpt": "The `_smtp._tls` TXT record: whether anybody is told of failures.",
}
_STATUS = {
    Status.OK: "as it should be",
    Status.WARNING: "mail goes, but something should be done about it",
    Status.ERROR: "wrong: it holds mail under some mode, or protects against nobody",
    Status.INFO: "a fact, neither good nor bad",
}
_KEYS: tuple[tuple[str, str], ...] = (
    ("domain", "The recipient domain."),
    ("at", "When it was looked at."),
    ("connector, exception", "Through which connector, and the id of the timed exception in force or null."),
    ("port", "The destination port, part of TLSA names."),
    ("wouldDeliver", "Whether mail would be delivered under the modes in question; the exit code is 0 then."),
    ("resolverTrusted, resolverDetail", "Whether our resolver tells valid DNSSEC from invalid, and why not."),
    ("modes[]", "One object per pair of modes, all sixteen."),
    ("modes[].smtpDaneMode, mtaStsMode, inForce", "The pair, and whether it is in question."),
    ("modes[].would", "What delivery does: " + ", ".join(f"`{item.value}`" for item in Would) + "."),
    ("modes[].protection", "With `deliver`: `dane`, `mta-sts`, `tls` or `plain`."),
    (
        "modes[].reason, code, sentence, side",
        "With `hold` and `return`: [keyword](reasons.md), code, sentence, who can fix it.",
    ),
    ("modes[].host, ip", "The server that would get the mail, or the one that the reason is about."),
    ("checks[]", "The tree of checks, see above."),
    ("checks[].id, status, title, said, whose, facts", "Which check, how it came out, what was found, on whose side, details."),
    ("checks[].advice, publish[].where, publish[].lines", "What can be done, and the exact lines of a zone or policy file."),
    ("checks[].children", "The checks below it, in the same form."),
    ("hosts[].name, preference, rows", "Each mail host, and the rows of [the decision table](decision-table.md) it falls in."),
    (
        "hosts[].addresses[].ip, sni, facts, verdict",
        "What each address showed, and how it is judged with nothing enforced; as in the trace.",
    ),
    ("hosts[].addresses[].failed, refused", "Why there was no session; what the server had against us in answer to EHLO."),
    ("hosts[].skipped[]", "Addresses that our settings do not let us dial."),
    ("evidence, attempts", "In the form of [the trace record](trace-record.md); attempts of the modes in question only."),
    ("tookSeconds", "How long it took."),
    ("compared", "With `--resolver`: `resolvers` with `believed`, and per question the answers in their order and `differs`."),
    ("changes", "With `--from-trace`: `since`, and in `found` what was `then` and is `now`."),
)
_ROWS = """
## Many domains

`--input` reads domains or mail addresses, one per line, or the column `domain` of a CSV file; `-` is standard input. At most
20 000. Each is analysed through the connector that its mail goes through, or through that of `--connector`.

So many are analysed at a time as `--at-once` says, at most 10 below one parent domain and two connections per address; a
server that many domains share is dialled once. Servers that do not answer are waited for side by side; `--timeout` bounds
each look-up, connection and reply. With `--resolver` the questions that decided are asked of those resolvers, too. With
`--state FILE` every finished domain is kept, and the same command does what is left when it is run again; what is kept is as
old as its `at`.

Each domain has a standing, the first that fits:

| standing | means |
|---|---|
| `unknown` | the analysis did not come to its end within 180 seconds, or failed on our side; done again next time |
| `broken` | mail would be held or returned under Opportunistic |
| `dane` | SmtpDaneMode Mandatory would deliver |
| `sts-enforce` | MtaStsMode Mandatory would deliver |
| `sts-testing` | an MTA-STS policy in testing mode |
| `neither` | none of these |

`--csv` has a column per field, and `--json` gives `summary` (`total`, `standings`, `tlsRpt`, `causes`, `resolversDiffer`) and
`domains`, a list of objects with the same fields:

| field | meaning |
|---|---|
| `domain`, `at`, `standing` | which, when, where it stands |
| `would_deliver` | under the modes in question |
| `protection` | how mail would travel under Opportunistic: `dane`, `mta-sts`, `tls`, `plain`; empty when it would not |
| `dane_mandatory`, `sts_mandatory` | whether SmtpDaneMode or MtaStsMode Mandatory would deliver |
| `sts_mode`, `tls_rpt`, `hosts` | the policy in force, whether TLS reports are wanted, how many mail hosts there are |
| `reason`, `code`, `sentence`, `side` | what holds mail under Opportunistic, else what stands against Mandatory DANE |
| `todo` | the first advice |
| `took_seconds` | how long it took |
| `connector`, `dane_mode_asked`, `sts_mode_asked` | through which connector, and the modes in question |
| `resolvers_differ` | with `--resolver`: the questions that the resolvers do not answer alike |
"""
_HEAD = """\
# The analysis

What `sealroute analyze` looks at. The verdicts are delivery's own: gathering, decision, handshake and judgement are run as for
a message, up to EHLO after STARTTLS; then comes QUIT. So the analysis knows everything but what a server would answer to MAIL,
RCPT and the content. Each address is dialled once, and what it showed is judged under every pair of modes; only where a mode
asks for another server name in the handshake (an alias with TLSA records at its end), or plaintext after a failed handshake, is
there a second connection.

An MTA-STS policy that delivery has kept counts as it does for delivery, and nothing is kept by an analysis.

Exit codes: 0 mail would be delivered under the modes in question, at every domain named; 1 it would be held or returned at one
of them; 2 input that cannot be used. The modes in question are those of `--dane-mode` and `--sts-mode`; what is not given is
those of the connector that the domain's mail goes through, unless `--connector` names one (`(default)` is what applies where no
connector matches). [Transport rules](transport-rules.md) that ask for nothing but the recipient's domain are carried out, as in
delivery; those that may apply to a message are named with what they depend on (`transportRules` in JSON), not in the HTML file,
which is for the partner. A connector that is named is taken as it is, without rules.

This page is printed from the code (`src/sealroute/services/analysis/reference.py`) by `make docs`.
"""


def reference_markdown() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Checks\n"
    yield "Each check has a status and a side, and where something can be done, says what, with the exact lines to publish.\n"
    yield "| status | means |\n|---|---|"
    yield from (f"| {status.value} | {meaning} |" for status, meaning in _STATUS.items())
    yield f"\nWhose side: {', '.join(item.value for item in Whose)}.\n"
    yield "| check | what it looks at |\n|---|---|"
    yield from (f"| `{name}` | {meaning} |" for name, meaning in CHECKS.items())
    yield "\n## JSON\n"
    yield "`--json` gives a list with one object per domain. Keys stay; new ones may be added.\n"
    yield "| key | meaning |\n|---|---|"
    yield from (f"| {', '.join(f'`{part}`' for part in keys.split(', '))} | {meaning} |" for keys, meaning in _KEYS)
    yield _ROWS
