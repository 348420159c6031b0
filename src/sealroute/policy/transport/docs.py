"""docs/reference/transport-rules.md, written from the table and the checks so that it cannot say anything else."""

from __future__ import annotations

from collections.abc import Iterator

from sealroute.base.unseen import Unseen
from sealroute.policy.parameters import Verb
from sealroute.policy.transport.checks import SENTENCES
from sealroute.policy.transport.parameters import TABLE, RuleParameter
from sealroute.policy.transport.patterns import MAX_PATTERN_CHARACTERS, MAX_WORD_CHARACTERS
from sealroute.proto.mime import content, head

_ASKED_BEFOREHAND = (Unseen.NOT_KEPT, Unseen.NO_MESSAGE)
"""No causes for a message that is about to be sent."""
_HEAD = f"""\
# Transport rules

A transport rule says when a message goes through another connector, or under stricter demands, than its recipient's domain
alone would have it. How to begin: [protect some messages more](../how-to/protect-some-messages-more.md); why it works this
way: [ADR 9](../adr/0009-rules-by-message.md). There are two ways to say the same thing:

    sealroute rule new "Label" --subject-contains-words secret --smtp-dane-mode mandatory
    sealroute New-TransportRule "Label" -SubjectContainsWords secret -SmtpDaneMode Mandatory

Lists, booleans, clearing and cutting names short are as for [connectors](connectors.md). A list item with a comma in it
stands in quotes: `-SubjectMatchesPatterns "'\\d{{1,3}}','^a'"`. Every change is in `sealroute rule history`.

## Which rules apply

* Rules are taken by Priority, 0 first. Conditions must all be met; of one condition's values any; one exception that is met
  is enough. A rule without conditions and exceptions applies to all messages, notices of ours as well.
* Rules are taken whenever the message is about to be sent, at every try: held mail takes the rules as they stand.
* Each recipient domain of a message is judged by itself, all its recipients together: there is no condition about single
  recipients. All other conditions are about the message and alike for all its recipients.
* StopRuleProcessing leaves out the rules behind it when the rule is certainly met. Audit rules stop nothing.

## What they do

* A demand (SmtpDaneMode, MtaStsMode, TlsSettings) is added to what the connector, a [timed
  exception](../how-to/except-one-domain.md) in it, and the rules before it demand: the stricter of each wins. None,
  ReportOnly, Opportunistic, Mandatory is the order.
* RouteMessageOutboundConnector sends the message through that connector; the first rule that routes decides. Its demands are
  added as well, those of the recipient's own connector stay. Under DomainValidation the name is that of the connector which
  is used, if it has one. Its RetrySchedule and MessageExpiration apply; limits in connections and messages per minute remain
  those of the domain's own connector.
* AllowWeaker makes the rule replace instead of add: what it names, or with a route everything, is then exactly as it says. It
  needs Comments. Warned about, audited like every change, and shown in every attempt.
* A connector with IsTransportRuleScoped is never chosen by domain, only here.

`sealroute connector match` and `sealroute analyze` know the recipient's domain and no message: rules that ask for nothing else
they carry out, all others that may apply to mail for the domain they list with what these depend on and would do.

Every attempt names the rules that applied, their version, and what each changed; so do the requirement, the trace's events
and the notices. Plans and connections under rules are not shared with other mail.

## What cannot be told

A condition that cannot be evaluated is neither met nor unmet. Then a rule adds its demands, and routes, as if it were met; it
replaces nothing, even with AllowWeaker, and stops nothing; behind one that may have been meant to stop, nothing is replaced.
An unknown exception makes the rule unknown. So mail never becomes weaker by what is broken, encrypted or too large. The
causes:

{"".join(f"* {cause.value}" + chr(10) for cause in Unseen if cause not in _ASKED_BEFOREHAND)}
## What is looked at

* Words, in any case, as whole words: neither a letter nor a digit right before or after; {MAX_WORD_CHARACTERS} characters at
  most. Blanks in a text count as one, whatever they are. There are no wildcards.
* Patterns are RE2's, in any case, anywhere in the text unless `^` or `$` says otherwise; {MAX_PATTERN_CHARACTERS} characters
  at most. There are neither look-around nor back references, so that no text can take long. `\\d` and `\\w` are ASCII's;
  `\\pL` is any letter.
* Sender: the addresses of the From field, or the envelope's, as SenderAddressLocation says. The empty sender of a notice is
  nobody's address; a message without a readable From address has an unknown one.
* Domains are exact; `*.contoso.com` is every name below contoso.com.
* A header field that was folded is read with and without the blanks of its folds; what only one of the two has is unknown.
  Encoded words are decoded. At most {head.MAX_FIELDS} fields of one name, {head.MAX_VALUE_OCTETS // 1024} KiB of each.
* Text: every part of type `text/` that is not an attachment, decoded, of HTML what is shown; {
    content.MAX_TEXT_OCTETS // 1024
} KiB of decoded text in all. Text in attachments and in attached messages is not looked at.
* Attachments: by the names their parts give them, those inside attached messages included; an archive is not opened. One
  without a name has the extensions of its type. At most {content.MAX_PARTS} parts, {content.MAX_DEPTH} levels deep.
* Closed, so unknown in text and attachments: S/MIME enveloped or opaque-signed, PGP, TNEF (winmail.dat), rpmsg,
  message/partial.
* MessageSizeOver counts what is sent, our Received field included.
* All rules together may spend a bounded amount on one message, about a quarter of a second if pattern and text are made for
  it; what would come after is unknown.

## What is refused

"""
_TABLE = """
## Parameters

＊ ours; everything else is Exchange's. Each condition has an exception of the same kind, with ExceptIf before its name.

| Parameter | Option | Type | Default | Given to |
|---|---|---|---|---|
"""


def rules_markdown() -> str:
    """The whole page."""
    refused = "".join(f"* {sentence}\n" for sentence in SENTENCES)
    shown = [parameter for parameter in TABLE if not parameter.name.startswith("ExceptIf")]
    rows = "".join(map(_row, shown))
    return _HEAD + refused + _TABLE + rows + "\n" + "\n".join(line for parameter in shown for line in _section(parameter))


def _row(parameter: RuleParameter) -> str:
    option = f"`--{parameter.option}`" if parameter.verbs else ""
    verbs = ", ".join(verb.name.capitalize() for verb in (Verb.NEW, Verb.SET) if verb & parameter.verbs and verb.name)
    default = "" if parameter.default in (None, ()) or not parameter.verbs else parameter.kind.show(parameter.default)
    name = f"{parameter.name} ＊" if parameter.ours else parameter.name
    return f"| {name} | {option} | {parameter.kind.name} | {default} | {verbs or 'shown only'} |\n"


def _section(parameter: RuleParameter) -> Iterator[str]:
    if parameter.verbs:
        yield f"### {parameter.name}\n"
        yield parameter.help + (" Exchange does not have it." if parameter.ours else "")
        yield f"\nAllowed: `{parameter.kind.allowed}`\n"
