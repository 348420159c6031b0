"""What must be true of a transport rule before it is saved; every problem is found, not only the first.

A rule that could never do what it reads is refused, so that nobody believes mail to be safer than it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealroute.base.errors import Problem
from sealroute.policy.connector import Connector
from sealroute.policy.connector_rules import check as check_connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.transport.apply import Hit, apply_rules
from sealroute.policy.transport.match import YES
from sealroute.policy.transport.patterns import MAX_ALL_WORDS_CHARACTERS
from sealroute.policy.transport.rule import CONDITION_FIELDS, MAX_RULES, Conditions, RuleMode, TransportRule

MAX_NAME_CHARACTERS = 64
MAX_COMMENTS_CHARACTERS = 1024
MAX_ITEMS = 200
_GUID = re.compile(r"\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?", re.IGNORECASE)

SENTENCES = (
    f"Name: not empty, at most {MAX_NAME_CHARACTERS} printable characters, not a GUID; unique without regard to case.",
    f"Comments: at most {MAX_COMMENTS_CHARACTERS} characters; required with AllowWeaker.",
    f"Lists: at most {MAX_ITEMS} entries; the words of one condition at most {MAX_ALL_WORDS_CHARACTERS} characters together.",
    f"An organisation has at most {MAX_RULES} rules; priorities are 0, 1, 2, ... without gaps.",
    "A header field is named exactly when words or patterns are given for it.",
    "A rule does something: it routes, demands, or stops the processing.",
    "SmtpDaneMode and MtaStsMode None and ReportOnly are refused without AllowWeaker: they can raise nothing.",
    "TlsSettings DomainValidation is refused: the name belongs to a connector. Route through one that has it.",
    "RouteMessageOutboundConnector names a connector that is there, enabled and not in test mode; while a rule routes through "
    "it, it cannot be removed, and while an enabled rule does, not be disabled or put into test mode.",
    "What the rule makes of that connector must be able to hold: no Mandatory for a smart host that is an IP address.",
    "Warned about: no condition and no exception, so that the rule applies to all messages.",
)
"""As the documentation states them."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and what is only to be told."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check(rule: TransportRule, others: Sequence[TransportRule], target: Connector | None) -> Findings:
    """Judge a rule; `others` are the organisation's, `target` the connector it routes through."""
    rest = [other for other in others if other.guid != rule.guid]
    problems = (
        *_own(rule),
        *_pairs(rule.when, ""),
        *_pairs(rule.unless, "ExceptIf"),
        *_among(rule, rest),
        *_route(rule, target),
    )
    return Findings(problems, tuple(_warnings(rule, target)))


def _own(rule: TransportRule) -> Iterator[Problem]:
    name = rule.name
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable() or _GUID.fullmatch(name):
        yield Problem("Name", f"{name[:80]!r} is not a name.", SENTENCES[0].removeprefix("Name: ").capitalize())
    if len(rule.comments) > MAX_COMMENTS_CHARACTERS:
        yield Problem("Comments", f"it has {len(rule.comments)} characters.", f"At most {MAX_COMMENTS_CHARACTERS} are allowed.")
    if rule.allow_weaker and not rule.comments.strip():
        yield Problem("Comments", "AllowWeaker needs a reason.", "Say in Comments why such mail may travel less protected.")
    if not rule.acts and not rule.stop_rule_processing:
        fix = "Give RouteMessageOutboundConnector, SmtpDaneMode, MtaStsMode, TlsSettings or StopRuleProcessing."
        yield Problem("rule", "it does nothing.", fix)
    if rule.allow_weaker and not rule.acts:
        yield Problem("AllowWeaker", "there is nothing that it could allow.", "Leave it out, or say what is demanded.")
    if not rule.allow_weaker:
        yield from _raises_nothing(rule)
    if rule.tls_settings is TlsSettings.DOMAIN_VALIDATION:
        fix = "Route through a connector with TlsSettings DomainValidation and TlsDomain."
        yield Problem("TlsSettings", "DomainValidation needs a name, which a rule does not have.", fix)
    for prefix, conditions in (("", rule.when), ("ExceptIf", rule.unless)):
        for field in CONDITION_FIELDS:
            value = getattr(conditions, field)
            if isinstance(value, tuple) and len(value) > MAX_ITEMS:
                yield Problem(_spoken(prefix, field), f"it has {len(value)} entries.", f"At most {MAX_ITEMS} are allowed.")
            elif field.endswith("contains_words") and (total := sum(map(len, value))) > MAX_ALL_WORDS_CHARACTERS:
                fix = f"At most {MAX_ALL_WORDS_CHARACTERS} are allowed; make two rules of it."
                yield Problem(_spoken(prefix, field), f"its words have {total} characters together.", fix)


def _raises_nothing(rule: TransportRule) -> Iterator[Problem]:
    fix = "Give Opportunistic or Mandatory; or AllowWeaker, when less is meant."
    if rule.smtp_dane_mode in (SmtpDaneMode.NONE, SmtpDaneMode.REPORT_ONLY):
        yield Problem("SmtpDaneMode", f"{rule.smtp_dane_mode.value} can raise nothing.", fix)
    if rule.mta_sts_mode in (MtaStsMode.NONE, MtaStsMode.REPORT_ONLY):
        yield Problem("MtaStsMode", f"{rule.mta_sts_mode.value} can raise nothing.", fix)


def _pairs(conditions: Conditions, prefix: str) -> Iterator[Problem]:
    pairs = (
        ("HeaderContainsMessageHeader", conditions.header_contains_message_header,
         "HeaderContainsWords", conditions.header_contains_words),
        ("HeaderMatchesMessageHeader", conditions.header_matches_message_header,
         "HeaderMatchesPatterns", conditions.header_matches_patterns),
    )  # fmt: skip
    for name, field, other, wanted in pairs:
        if field is not None and not wanted:
            yield Problem(prefix + other, f"{prefix}{name} is given without it.", "Give both, or neither.")
        if wanted and field is None:
            yield Problem(prefix + name, f"{prefix}{other} is given without it.", "Name the header field to look at.")


def _spoken(prefix: str, field: str) -> str:
    return prefix + "".join(word.capitalize() for word in field.split("_"))


def _among(rule: TransportRule, others: Sequence[TransportRule]) -> Iterator[Problem]:
    if any(other.name.casefold() == rule.name.casefold() for other in others):
        yield Problem("Name", f"there is already a rule {rule.name!r}.", "Names are compared without case.")
    if len(others) >= MAX_RULES:
        yield Problem("rule", f"there are {len(others)} rules already.", f"At most {MAX_RULES} are allowed.")
    if rule.priority > len(others):
        yield Problem("Priority", f"{rule.priority} is beyond the last rule.", f"Give a number from 0 to {len(others)}.")


def _route(rule: TransportRule, target: Connector | None) -> Iterator[Problem]:
    if rule.route_message_outbound_connector is None:
        return
    where = "RouteMessageOutboundConnector"
    if target is None:
        yield Problem(where, f"there is no connector {rule.route_message_outbound_connector!r}.", "Name one that there is.")
        return
    if rule.enabled and not usable(target):
        fix = "Enable it and take it out of test mode, or disable the rule."
        yield Problem(where, f"connector {target.name!r} is disabled or in test mode.", fix)
    acting = [Hit(rule, YES)] if rule.mode is RuleMode.ENFORCE else []
    known = check_connector(target).problems
    ruled = apply_rules(target, acting, {target.guid: target})
    yield from (problem for problem in check_connector(ruled).problems if problem not in known)


def usable(connector: Connector) -> bool:
    """Whether a rule may send mail through it."""
    return connector.enabled and not connector.test_mode


def _warnings(rule: TransportRule, target: Connector | None) -> Iterator[Problem]:
    if not rule.when.any and not rule.unless.any:
        yield Problem("rule", "it has no condition and no exception.", "It applies to all messages.")
    if rule.allow_weaker and rule.mode is RuleMode.ENFORCE:
        yield Problem("AllowWeaker", "messages that meet the rule may travel less protected than their connector demands.")
    if target is not None and not target.is_transport_rule_scoped:
        text = f"connector {target.name!r} is also chosen by domain."
        yield Problem("RouteMessageOutboundConnector", text, "With IsTransportRuleScoped only rules choose it.")
