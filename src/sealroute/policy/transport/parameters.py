"""The table of transport rule parameters: Exchange's name, where it stands in a TransportRule, its kind, what it is for.

From this one table come the cmdlets' parameters, the options of `sealroute rule`, the JSON form (policy/transport/json), and
docs/reference/transport-rules.md.  Every condition has an exception of the same kind, named with ExceptIf before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from sealroute.policy import parameter_kinds
from sealroute.policy.parameter_kinds import Kind
from sealroute.policy.parameters import BOTH, SHOWN, Parameter, Table, Verb
from sealroute.policy.transport import kinds
from sealroute.policy.transport.rule import EXCEPT, TransportRule, value_of

_DEFAULTS = {item.name: item.default for item in fields(TransportRule)}


@dataclass(frozen=True)
class RuleParameter(Parameter):
    """One row of the table."""

    condition: bool = False

    @cached_property
    def option(self) -> str:
        if self.name == "Enabled":
            return "enabled"
        return self.field.rstrip("_").replace("_", "-")

    @cached_property
    def default(self) -> Any:
        default = _DEFAULTS.get(self.field, MISSING)
        return None if default is MISSING else default

    def value(self, holder: Any) -> Any:
        assert isinstance(holder, TransportRule)
        return value_of(holder, self.field)


def _condition(name: str, field: str, kind: Kind, text: str) -> tuple[RuleParameter, RuleParameter]:
    """A condition, and the exception of it."""
    return (
        RuleParameter(name, field, kind, BOTH, text, condition=True),
        RuleParameter(f"ExceptIf{name}", EXCEPT + field.rstrip("_"), kind, BOTH, f"Not if: {text}", condition=True),
    )


_CONDITIONS = (
    _condition("RecipientDomainIs", "recipient_domain_is", kinds.DOMAINS,
               "The recipient's domain is one of these. Each recipient domain of a message is judged by itself."),
    _condition("SenderDomainIs", "sender_domain_is", kinds.DOMAINS, "The sender's domain is one of these."),
    _condition("From", "from_", kinds.ADDRESSES, "The sender is one of these addresses."),
    _condition("FromAddressContainsWords", "from_address_contains_words", kinds.WORDS,
               "The sender's address has one of these words."),
    _condition("FromAddressMatchesPatterns", "from_address_matches_patterns", kinds.REGEXES,
               "The sender's address matches one of these patterns."),
    _condition("SubjectContainsWords", "subject_contains_words", kinds.WORDS, "The subject has one of these words."),
    _condition("SubjectMatchesPatterns", "subject_matches_patterns", kinds.REGEXES,
               "The subject matches one of these patterns."),
    _condition("SubjectOrBodyContainsWords", "subject_or_body_contains_words", kinds.WORDS,
               "The subject or the text has one of these words."),
    _condition("SubjectOrBodyMatchesPatterns", "subject_or_body_matches_patterns", kinds.REGEXES,
               "The subject or the text matches one of these patterns."),
    _condition("HeaderContainsMessageHeader", "header_contains_message_header", kinds.FIELD_NAME,
               "The header field that HeaderContainsWords looks at."),
    _condition("HeaderContainsWords", "header_contains_words", kinds.WORDS, "That header field has one of these words."),
    _condition("HeaderMatchesMessageHeader", "header_matches_message_header", kinds.FIELD_NAME,
               "The header field that HeaderMatchesPatterns looks at."),
    _condition("HeaderMatchesPatterns", "header_matches_patterns", kinds.REGEXES,
               "That header field matches one of these patterns."),
    _condition("MessageSizeOver", "message_size_over", kinds.SIZE, "The message, as it is sent, is larger than this."),
    _condition("AttachmentNameMatchesPatterns", "attachment_name_matches_patterns", kinds.REGEXES,
               "The name of an attachment matches one of these patterns."),
    _condition("AttachmentExtensionMatchesWords", "attachment_extension_matches_words", kinds.EXTENSIONS,
               "The name of an attachment ends in one of these extensions."),
)  # fmt: skip

TABLE: tuple[RuleParameter, ...] = (
    RuleParameter("Name", "name", parameter_kinds.NAME, BOTH,
                  "The rule's unique name; for New the first value on the command line."),
    RuleParameter("Priority", "priority", kinds.NUMBER, BOTH,
                  "Its place in the order; 0 is first, and the others move. A new rule comes last."),
    RuleParameter("Enabled", "state", kinds.ENABLED, Verb.NEW,
                  "Whether the rule is evaluated; later: Enable- and Disable-TransportRule."),
    RuleParameter("State", "state", kinds.STATE, SHOWN, "Whether the rule is evaluated."),
    RuleParameter("Mode", "mode", kinds.RULE_MODE, BOTH,
                  "Enforce acts; Audit only writes into the trace what it would do."),
    RuleParameter("Comments", "comments", parameter_kinds.TEXT, BOTH, "A note for administrators; required with AllowWeaker."),
    RuleParameter("SenderAddressLocation", "sender_address_location", kinds.LOCATION, BOTH,
                  "Where conditions about the sender look: the From field, the envelope, or both."),
    *(pair[0] for pair in _CONDITIONS),
    *(pair[1] for pair in _CONDITIONS),
    RuleParameter("RouteMessageOutboundConnector", "route_message_outbound_connector", kinds.CONNECTOR, BOTH,
                  "The connector that the message goes through, instead of the one of the recipient's domain."),
    RuleParameter("StopRuleProcessing", "stop_rule_processing", parameter_kinds.BOOLEAN, BOTH,
                  "Whether rules behind it are left out when its conditions are met."),
    RuleParameter("SmtpDaneMode", "smtp_dane_mode", kinds.DANE_MODE, BOTH,
                  "The mode that is demanded of DANE at least.", ours=True),
    RuleParameter("MtaStsMode", "mta_sts_mode", kinds.STS_MODE, BOTH,
                  "The mode that is demanded of MTA-STS at least.", ours=True),
    RuleParameter("TlsSettings", "tls_settings", kinds.TLS_SETTINGS, BOTH,
                  "What is demanded of TLS at least: EncryptionOnly or CertificateValidation.", ours=True),
    RuleParameter("AllowWeaker", "allow_weaker", parameter_kinds.BOOLEAN, BOTH,
                  "Whether the rule may demand less than the connector and the rules before it; never when it cannot be told "
                  "whether its conditions are met.", ours=True),
    RuleParameter("RuleVersion", "version", kinds.NUMBER, SHOWN, "Grows with every change to the rule."),
    RuleParameter("WhenCreatedUTC", "when_created", parameter_kinds.MOMENT, SHOWN, "When the rule was created."),
    RuleParameter("WhenChangedUTC", "when_changed", parameter_kinds.MOMENT, SHOWN, "When the rule was last changed."),
    RuleParameter("Guid", "guid", parameter_kinds.NAME, SHOWN, "The rule's identity, which survives a new name."),
    RuleParameter("Organization", "organization", parameter_kinds.NAME, SHOWN, "Who owns the rule.", ours=True),
)  # fmt: skip
BY_NAME: Mapping[str, RuleParameter] = {parameter.name.lower(): parameter for parameter in TABLE}
BY_FIELD: Mapping[str, RuleParameter] = {parameter.field: parameter for parameter in TABLE}
RULES = Table("TransportRule", BY_NAME)


def accepted_by(verb: Verb) -> tuple[RuleParameter, ...]:
    """The parameters that New or Set takes, in table order."""
    return tuple(parameter for parameter in TABLE if parameter.verbs & verb)
