"""What must be true of a connector before it is saved, as one table of named rules.

Every rule is judged, so an administrator sees all problems at once; a rule is left out only when a value it reads could
not be read at all.  A *refusal* keeps the connector from being saved; a *warning* is shown and changes nothing.  A rule
refuses what could never work (a Mandatory that no destination can satisfy holds mail until it expires) or what would be
weaker than it reads; it never corrects a value by itself.

Sources: Exchange's parameter rules; [RFC 7672 §2.2] for why an address cannot have TLSA records; RetrySchedule,
MessageExpiration, the limits and the bounds are ours.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta

from sealroute.base.errors import Problem
from sealroute.policy.choose import eligible
from sealroute.policy.connector import DEFAULT_CONNECTOR_NAME, MAX_EXPIRATION, MIN_EXPIRATION, Connector
from sealroute.policy.modes import ConnectorType, MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.parameter_kinds import show_duration
from sealroute.policy.parameters import BY_FIELD

MAX_NAME_CHARACTERS = 64
MAX_TEXT_CHARACTERS = 2048
MAX_BLOCK_ADDRESSES = 256
MAX_ITEMS = {"recipient_domains": 5000, "smart_hosts": 64, "validation_recipients": 64, "retry_schedule": 64}
MAX_CONNECTIONS = 1000
MAX_PER_MINUTE = 1_000_000
MIN_WAIT, MAX_WAIT = timedelta(seconds=1), timedelta(hours=24)
_GUID = re.compile(r"\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `problem` answers None when the connector keeps it."""

    name: str
    fields: tuple[str, ...]
    """What it reads; the first is where the problem is shown."""
    sentence: str
    """The rule as the documentation states it."""
    problem: Callable[[Connector], tuple[str, str] | None]
    """(what is wrong, what to do)."""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """What the rules say about one connector; it may be saved when there are no problems."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check(connector: Connector, others: Iterable[Connector] = (), *, unread: Set[str] = frozenset()) -> Findings:
    """Judge every rule; `others` are the organisation's connectors, `unread` the fields whose value is not known."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for rule in RULES:
        if unread.isdisjoint(rule.fields) and (found := rule.problem(connector)):
            (warnings if rule.warning else problems).append(Problem(BY_FIELD[rule.fields[0]].name, *found))
    rest = [other for other in others if other.guid != connector.guid]
    if "name" not in unread and any(other.name.casefold() == connector.name.casefold() for other in rest):
        problems.append(
            Problem("Name", f"there is already a connector {connector.name!r}.", "Names are compared without case.")
        )
    if "recipient_domains" not in unread and eligible(connector):
        warnings.extend(_shared_domains(connector, rest))
    return Findings(tuple(problems), tuple(warnings))


def _shared_domains(connector: Connector, others: Sequence[Connector]) -> Iterable[Problem]:
    mine = set(connector.recipient_domains)
    for other in others:
        if eligible(other) and (shared := sorted(mine.intersection(other.recipient_domains))):
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            what = f"{shared[0]}{more} is in connector {other.name!r} as well."
            yield Problem("RecipientDomains", what, "Only the older of the two is used for it.")


# ------------------------------------------------------------------------------------------------------- the rules' tests


def _name(connector: Connector) -> tuple[str, str] | None:
    name = connector.name
    if not name.strip():
        return "it is empty.", "Give the connector a name."
    if len(name) > MAX_NAME_CHARACTERS:
        return f"it has {len(name)} characters.", f"At most {MAX_NAME_CHARACTERS} are allowed."
    if not name.isprintable():
        return "it has control characters.", "Use printable characters."
    if name.casefold() == DEFAULT_CONNECTOR_NAME or _GUID.fullmatch(name):
        return f"{name!r} could be taken for something else.", f"A name is neither a GUID nor {DEFAULT_CONNECTOR_NAME}."
    return None


def _sizes(field: str) -> Callable[[Connector], tuple[str, str] | None]:
    limit = MAX_ITEMS[field]

    def problem(connector: Connector) -> tuple[str, str] | None:
        count = len(getattr(connector, field))
        return (f"it has {count} entries.", f"At most {limit} are allowed.") if count > limit else None

    return problem


def _texts(field: str) -> Callable[[Connector], tuple[str, str] | None]:
    def problem(connector: Connector) -> tuple[str, str] | None:
        length = len(getattr(connector, field))
        if length > MAX_TEXT_CHARACTERS:
            return f"it has {length} characters.", f"At most {MAX_TEXT_CHARACTERS} are allowed."
        return None

    return problem


def _scope(connector: Connector) -> tuple[str, str] | None:
    if connector.recipient_domains or connector.all_accepted_domains or connector.is_transport_rule_scoped:
        return None
    return (
        "the connector would never be used.",
        "Give RecipientDomains, or set AllAcceptedDomains or IsTransportRuleScoped to true.",
    )


def _smart_hosts(connector: Connector) -> tuple[str, str] | None:
    if connector.use_mx_record and connector.smart_hosts:
        return "they are not used while UseMXRecord is true.", "Set UseMXRecord to false, or clear SmartHosts."
    if not connector.use_mx_record and not connector.smart_hosts:
        return "UseMXRecord is false, so there must be at least one.", "Give SmartHosts, or set UseMXRecord to true."
    return None


def _blocks(connector: Connector) -> tuple[str, str] | None:
    for host in connector.smart_hosts:
        if "/" in host and (count := ipaddress.ip_network(host).num_addresses) > MAX_BLOCK_ADDRESSES:
            return f"{host} has {count} addresses.", f"At most {MAX_BLOCK_ADDRESSES} are allowed in one block."
    return None


def _tls_domain(connector: Connector) -> tuple[str, str] | None:
    validates = connector.tls_settings is TlsSettings.DOMAIN_VALIDATION
    if validates and connector.tls_domain is None:
        return "TlsSettings DomainValidation needs a name to compare with.", "Give TlsDomain."
    if not validates and connector.tls_domain is not None:
        return "it is only used with TlsSettings DomainValidation.", "Set TlsSettings to DomainValidation, or clear TlsDomain."
    return None


def _addresses(connector: Connector) -> list[str]:
    """Smart hosts that are no names; only when smart hosts are used."""
    return [] if connector.use_mx_record else [host for host in connector.smart_hosts if _is_address(host)]


def _is_address(host: str) -> bool:
    return ":" in host or "/" in host or host.rpartition(".")[2].isdigit()


def _dane_address(connector: Connector) -> tuple[str, str] | None:
    found = _addresses(connector) if connector.smtp_dane_mode is SmtpDaneMode.MANDATORY else []
    if not found:
        return None
    return (
        f"Mandatory can never hold for the smart host {found[0]}: an address has no TLSA records.",
        "Name the smart host instead.",
    )


def _sts_address(connector: Connector) -> tuple[str, str] | None:
    found = _addresses(connector) if connector.mta_sts_mode is MtaStsMode.MANDATORY else []
    if not found:
        return None
    return f"Mandatory can never hold for the smart host {found[0]}: an address has no policy.", "Name the smart host instead."


def _on_premises(field: str) -> Callable[[Connector], tuple[str, str] | None]:
    def problem(connector: Connector) -> tuple[str, str] | None:
        if getattr(connector, field) and connector.connector_type is not ConnectorType.ON_PREMISES:
            return "true needs ConnectorType OnPremises.", "Set ConnectorType to OnPremises, or this to false."
        return None

    return problem


def _schedule(connector: Connector) -> tuple[str, str] | None:
    allowed = "Give at least one wait, each from 1 second to 24 hours."
    if not connector.retry_schedule:
        return "it is empty.", allowed
    for wait in connector.retry_schedule:
        if not MIN_WAIT <= wait <= MAX_WAIT:
            return f"a wait of {show_duration(wait)} is out of bounds.", allowed
    return None


def _expiration(connector: Connector) -> tuple[str, str] | None:
    if MIN_EXPIRATION <= connector.message_expiration <= MAX_EXPIRATION:
        return None
    return f"{show_duration(connector.message_expiration)} is out of bounds.", "Give a time from 1 hour to 5 days."


def _from_one(field: str, most: int) -> Callable[[Connector], tuple[str, str] | None]:
    def problem(connector: Connector) -> tuple[str, str] | None:
        value = getattr(connector, field)
        if value is None or 1 <= value <= most:
            return None
        return f"{value} is out of bounds.", f"Give a number from 1 to {most}, or clear it with '$null'."

    return problem


def _retries_fit(connector: Connector) -> tuple[str, str] | None:
    if connector.retry_schedule and connector.retry_schedule[0] >= connector.message_expiration:
        return "the first wait is as long as MessageExpiration.", "Held mail is returned without a second attempt."
    return None


def _rule_scoped(connector: Connector) -> tuple[str, str] | None:
    if connector.is_transport_rule_scoped:
        return "the connector is never chosen by domain.", "Only a rule can send mail through it."
    return None


def _scoped_limits(connector: Connector) -> tuple[str, str] | None:
    limits = (connector.max_connections_per_destination, connector.max_messages_per_minute)
    if connector.is_transport_rule_scoped and any(limit is not None for limit in limits):
        return "limits do not count for mail that a rule sends here.", "Those of the recipient domain's own connector do."
    return None


def _may_be_plain(connector: Connector) -> tuple[str, str] | None:
    looks = connector.smtp_dane_mode in (SmtpDaneMode.OPPORTUNISTIC, SmtpDaneMode.MANDATORY)
    looks = looks or connector.mta_sts_mode in (MtaStsMode.OPPORTUNISTIC, MtaStsMode.MANDATORY)
    if looks or connector.tls_settings is not None:
        return None
    return (
        "nothing on this connector demands TLS.",
        "Mail may travel in plaintext; set TlsSettings, SmtpDaneMode or MtaStsMode.",
    )


def falls_back(connector: Connector) -> str | None:
    """What to warn of when the connector's mail goes another way from now on: it demanded more than the default does."""
    demands = []
    if connector.smtp_dane_mode is SmtpDaneMode.MANDATORY:
        demands.append("SmtpDaneMode Mandatory")
    if connector.mta_sts_mode is MtaStsMode.MANDATORY:
        demands.append("MtaStsMode Mandatory")
    if connector.tls_settings is not None:
        demands.append(f"TlsSettings {connector.tls_settings.value}")
    if not demands:
        return None
    return f"mail for its domains goes by another connector or the default, without its {', '.join(demands)}."


def _out_of_use(connector: Connector) -> tuple[str, str] | None:
    warning = None if connector.enabled and not connector.test_mode else falls_back(connector)
    return (warning, "`sealroute connector match` says what applies.") if warning else None


def _not_acted_upon(field: str) -> Callable[[Connector], tuple[str, str] | None]:
    def problem(connector: Connector) -> tuple[str, str] | None:
        return ("it is kept, but Sealroute does not act on it.", "") if getattr(connector, field) else None

    return problem


_TEXT_FIELDS = ("comment", "connector_source", "link_for_modified_connector")
_ON_PREMISES_FIELDS = ("route_all_messages_via_on_premises", "all_accepted_domains", "sender_rewriting_enabled")
_KEPT_FIELDS = ("route_all_messages_via_on_premises", "cloud_services_mail_enabled", "sender_rewriting_enabled")

RULES: tuple[Rule, ...] = (
    Rule(
        "name", ("name",),
        f"Not empty, at most {MAX_NAME_CHARACTERS} printable characters, not a GUID; unique without regard to case.", _name,
    ),
    *(Rule("text-length", (f,), f"At most {MAX_TEXT_CHARACTERS} characters.", _texts(f)) for f in _TEXT_FIELDS),
    *(Rule("entries", (f,), f"At most {MAX_ITEMS[f]} entries.", _sizes(f)) for f in MAX_ITEMS),
    Rule(
        "scope", ("recipient_domains", "all_accepted_domains", "is_transport_rule_scoped"),
        "A connector has RecipientDomains, AllAcceptedDomains or IsTransportRuleScoped.", _scope,
    ),
    Rule("smart-hosts", ("smart_hosts", "use_mx_record"), "Given exactly when UseMXRecord is false.", _smart_hosts),
    Rule("block-size", ("smart_hosts",), f"A CIDR block has at most {MAX_BLOCK_ADDRESSES} addresses.", _blocks),
    Rule("tls-domain", ("tls_domain", "tls_settings"), "Given exactly when TlsSettings is DomainValidation.", _tls_domain),
    Rule(
        "dane-needs-a-name", ("smtp_dane_mode", "smart_hosts", "use_mx_record"),
        "Mandatory is refused with an IP address or CIDR block as smart host: it could never hold.", _dane_address,
    ),
    Rule(
        "sts-needs-a-name", ("mta_sts_mode", "smart_hosts", "use_mx_record"),
        "Mandatory is refused with an IP address or CIDR block as smart host: it could never hold.", _sts_address,
    ),
    *(
        Rule("on-premises", (f, "connector_type"), "True needs ConnectorType OnPremises.", _on_premises(f))
        for f in _ON_PREMISES_FIELDS
    ),
    Rule("waits", ("retry_schedule",), "At least one wait, each from 1 second to 24 hours.", _schedule),
    Rule("expiration", ("message_expiration",), "From 1 hour to 5 days.", _expiration),
    Rule(
        "connections", ("max_connections_per_destination",), f"From 1 to {MAX_CONNECTIONS}.",
        _from_one("max_connections_per_destination", MAX_CONNECTIONS),
    ),
    Rule(
        "rate", ("max_messages_per_minute",), f"From 1 to {MAX_PER_MINUTE}.",
        _from_one("max_messages_per_minute", MAX_PER_MINUTE),
    ),
    Rule(
        "retries-fit", ("retry_schedule", "message_expiration"),
        "Warned about when the first wait is not shorter than MessageExpiration.", _retries_fit, warning=True,
    ),
    Rule("rule-scoped", ("is_transport_rule_scoped",), "Warned about: never chosen by domain.", _rule_scoped, warning=True),
    Rule(
        "scoped-limits", ("max_messages_per_minute", "max_connections_per_destination", "is_transport_rule_scoped"),
        "Warned about with IsTransportRuleScoped: mail that a rule sends counts for its domain's own connector.",
        _scoped_limits, warning=True,
    ),
    Rule(
        "may-be-plain", ("tls_settings", "smtp_dane_mode", "mta_sts_mode"),
        "Warned about when it is null and neither mode can demand anything.", _may_be_plain, warning=True,
    ),
    Rule(
        "out-of-use", ("enabled", "test_mode", "smtp_dane_mode", "mta_sts_mode", "tls_settings"),
        "Warned about when a connector that is disabled or in test mode demands something: its mail goes without.",
        _out_of_use, warning=True,
    ),
    *(Rule("kept", (f,), "True is warned about: kept, not acted on.", _not_acted_upon(f), warning=True) for f in _KEPT_FIELDS),
)  # fmt: skip


def rules_of(field: str) -> list[Rule]:
    """The rules shown at the field."""
    return [rule for rule in RULES if rule.fields[0] == field]
