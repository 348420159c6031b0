"""docs/reference/connectors.md, written from the table and the rules so that it cannot say anything else.

`python -m sealroute.policy.connector_docs` writes it to stdout; a test compares the file with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sealroute.policy.connector_rules import rules_of
from sealroute.policy.parameters import TABLE, Parameter, Verb

_HEAD = """\
# Connectors

<!-- Made by `python -m sealroute.policy.connector_docs`; change src/sealroute/policy/parameters.py, not this file. -->

A connector says for which recipient domains it is used, which way their mail goes, and how strictly the destination must
prove itself. There are two ways to say the same thing:

    sealroute connector set "Contoso Bank" --smtp-dane-mode mandatory
    sealroute Set-OutboundConnector "Contoso Bank" -SmtpDaneMode Mandatory

Names and words are taken in any case. Everything is checked before anything is saved, and every problem is named at once;
`--what-if` or `-WhatIf` shows what would change. Exit codes: 0 done, 2 unusable input (the reason is on stderr).

* Lists take commas: `--recipient-domains contoso.com,fabrikam.com`. To change a list and leave the rest of it alone:
  `--add-recipient-domains tailspin.example`, or `-RecipientDomains "@{Add='tailspin.example';Remove='fabrikam.com'}"`.
* Booleans: `--enabled`, `--no-enabled` or `--enabled false`; `-Enabled false` or `-Enabled '$false'`. Outside PowerShell put
  what begins with `$` in single quotes: to a POSIX shell an unquoted `$false` is an empty variable, and the value is gone.
* An empty text or `'$null'` clears what can be empty.
* Parameters of a cmdlet may be cut short while they stay unambiguous: `-SmtpDane`. A value that begins with a hyphen is
  written `-Comment:-text`, or `--comment=-text`.

## Which connector is used

The connector with the recipient's exact domain; else one with AllAcceptedDomains, when the domain is one of your own; else
the one with the most specific wildcard. `*.contoso.com` covers names below contoso.com but not contoso.com itself; `*` covers
everything. Connectors that are disabled, in test mode or scoped to a rule are never used by domain;
[transport rules](transport-rules.md) may choose another one for a message, or demand more. Of two that match
alike the older wins. Where none matches, the default applies: MX routing, both modes Opportunistic.

`sealroute connector match user@contoso.com` says which and why. With `--json`: `recipient`, `domain`, `connector`, `guid`,
`why`, `considered` (all that match, best first), `byDomain` (the one chosen of them), `smtpDaneMode`, `mtaStsMode`,
`tlsSettings`, `transportRules`. Rules that ask for nothing but the recipient's domain are carried out in this; those that may
apply to a message are listed with what they depend on.

## Parameters

＊ ours; everything else is Exchange's.

| Parameter | Option | Type | Default | Given to |
|---|---|---|---|---|
"""


def connectors_markdown() -> str:
    """The whole page."""
    rows = "".join(_row(parameter) for parameter in TABLE)
    return _HEAD + rows + "\n" + "\n".join(line for parameter in TABLE for line in _section(parameter))


def _row(parameter: Parameter) -> str:
    option = f"`--{parameter.option}`" if parameter.verbs else ""
    verbs = ", ".join(verb.name.capitalize() for verb in (Verb.NEW, Verb.SET) if verb & parameter.verbs and verb.name)
    default = "" if parameter.default in (None, ()) else parameter.kind.show(parameter.default)
    name = f"{parameter.name} ＊" if parameter.ours else parameter.name
    return f"| {name} | {option} | {parameter.kind.name} | {default} | {verbs or 'shown only'} |\n"


def _section(parameter: Parameter) -> Iterator[str]:
    if not parameter.verbs:
        return
    yield f"### {parameter.name}\n"
    yield parameter.help + (" Exchange does not have it." if parameter.ours else "")
    yield f"\nAllowed: `{parameter.kind.allowed}`\n"
    for rule in rules_of(parameter.field):
        yield f"* {rule.sentence}"
    if rules_of(parameter.field):
        yield ""


if __name__ == "__main__":  # pragma: no cover
    sys.stdout.write(connectors_markdown())
