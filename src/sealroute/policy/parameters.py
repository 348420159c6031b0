"""The table of connector parameters: Exchange's name, ours, the kind of value, who may set it, and what it is for.

From this one table come the cmdlets' parameters, the options of `sealroute connector`, the JSON form
(policy/connector_json), the order of lists, and docs/reference/connectors.md (policy/connector_docs).  What values must be
to one another is in policy/connector_rules.

    list  = item *( "," item ) / "@(" list ")" / "$null"
    item  = text / DQUOTE text DQUOTE / "'" text "'"
    edit  = "@{" ("Add" / "Remove") "=" list [";" ("Add" / "Remove") "=" list] "}"     ; Set only, any order, each once
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import Flag, auto
from functools import cached_property
from typing import Any

from sealroute.base.errors import InputError, Problem
from sealroute.policy import parameter_kinds as kinds
from sealroute.policy.connector import Connector
from sealroute.policy.parameter_kinds import NOT_CLEARABLE, Kind


class Verb(Flag):
    """The commands that accept a parameter."""

    NEW = auto()
    SET = auto()


BOTH = Verb.NEW | Verb.SET
SHOWN = Verb(0)
"""In the record, but nothing an administrator sets."""
_DEFAULTS = {item.name: item.default for item in fields(Connector)}


@dataclass(frozen=True)
class Parameter:
    """One row of the table."""

    name: str
    """Exchange's spelling."""
    field: str
    """The attribute of Connector."""
    kind: Kind
    verbs: Verb
    help: str
    ours: bool = False
    """Exchange does not have it."""

    @cached_property
    def option(self) -> str:
        """The name after `--`."""
        return self.field.replace("_", "-")

    @cached_property
    def default(self) -> Any:
        """What New sets when nothing is given; None also when there is no default."""
        default = _DEFAULTS[self.field]
        return None if default is MISSING else default

    def value(self, holder: Any) -> Any:
        """The field's value in what the table describes."""
        return getattr(holder, self.field)

    def show(self, holder: Any) -> str:
        return self.kind.show(self.value(holder))


_KEPT = "Kept as given; Sealroute does not act on it."

# In the order of Exchange's own record; then what Exchange keeps elsewhere; then ours.
TABLE: tuple[Parameter, ...] = (
    Parameter("Enabled", "enabled", kinds.BOOLEAN, BOTH, "Whether the connector is chosen at all."),
    Parameter(
        "UseMXRecord", "use_mx_record", kinds.BOOLEAN, BOTH,
        "Route by the recipient domain's MX records, not to SmartHosts.",
    ),
    Parameter("Comment", "comment", kinds.TEXT, BOTH, "A note for administrators."),
    Parameter("ConnectorType", "connector_type", kinds.CONNECTOR_TYPE, BOTH, "Whom the connector leads to."),
    Parameter("ConnectorSource", "connector_source", kinds.TEXT, BOTH, f"How the connector came to be. {_KEPT}"),
    Parameter(
        "RecipientDomains", "recipient_domains", kinds.PATTERNS, BOTH,
        "The domains whose mail goes through the connector.",
    ),
    Parameter("SmartHosts", "smart_hosts", kinds.SMART_HOSTS, BOTH, "Where mail goes when UseMXRecord is false."),
    Parameter("TlsDomain", "tls_domain", kinds.TLS_DOMAIN, BOTH, "The name the certificate must carry under DomainValidation."),
    Parameter(
        "TlsSettings", "tls_settings", kinds.TLS_SETTINGS, BOTH,
        "What the connector itself demands of TLS, besides DANE and MTA-STS.",
    ),
    Parameter(
        "IsTransportRuleScoped", "is_transport_rule_scoped", kinds.BOOLEAN, BOTH,
        "Used only through a rule, never chosen by domain.",
    ),
    Parameter(
        "RouteAllMessagesViaOnPremises", "route_all_messages_via_on_premises", kinds.BOOLEAN, BOTH,
        f"Send everything through your own servers first. {_KEPT}",
    ),
    Parameter("CloudServicesMailEnabled", "cloud_services_mail_enabled", kinds.BOOLEAN, BOTH, f"Hybrid mail headers. {_KEPT}"),
    Parameter(
        "AllAcceptedDomains", "all_accepted_domains", kinds.BOOLEAN, BOTH,
        "Used for all of the organisation's accepted domains.",
    ),
    Parameter(
        "SenderRewritingEnabled", "sender_rewriting_enabled", kinds.BOOLEAN, BOTH,
        f"Rewrite forwarded mail's sender. {_KEPT}",
    ),
    Parameter(
        "MtaStsMode", "mta_sts_mode", kinds.STS_MODE, BOTH,
        "How strictly MTA-STS is demanded; Mandatory and ReportOnly are ours.",
    ),
    Parameter("SmtpDaneMode", "smtp_dane_mode", kinds.DANE_MODE, BOTH, "How strictly DANE is demanded; ReportOnly is ours."),
    Parameter("TestMode", "test_mode", kinds.BOOLEAN, BOTH, "Kept apart for testing: never chosen for mail, hidden from Get."),
    Parameter(
        "ValidationRecipients", "validation_recipients", kinds.MAILBOXES, BOTH,
        "Who gets the test mail when the connector is validated.",
    ),
    Parameter("IsValidated", "is_validated", kinds.BOOLEAN, Verb.SET, "Whether the last validation succeeded."),
    Parameter(
        "LastValidationTimestamp", "last_validation_timestamp", kinds.MOMENT, Verb.SET,
        "When the connector was last validated.",
    ),
    Parameter("AdminDisplayName", "admin_display_name", kinds.TEXT, SHOWN, f"From Exchange. {_KEPT}"),
    Parameter("Name", "name", kinds.NAME, BOTH, "The connector's unique name; for New the first value on the command line."),
    Parameter("WhenChangedUTC", "when_changed", kinds.MOMENT, SHOWN, "When the connector was last changed."),
    Parameter("WhenCreatedUTC", "when_created", kinds.MOMENT, SHOWN, "When the connector was created; the oldest wins a tie."),
    Parameter("Guid", "guid", kinds.NAME, SHOWN, "The connector's identity, which survives a new name."),
    Parameter("IsValid", "is_valid", kinds.BOOLEAN, SHOWN, "From Exchange: whether the record can be read in full."),
    Parameter(
        "LinkForModifiedConnector", "link_for_modified_connector", kinds.TEXT, Verb.NEW,
        f"The connector this one was made from. {_KEPT}",
    ),
    Parameter("Organization", "organization", kinds.NAME, SHOWN, "Who owns the connector.", ours=True),
    Parameter(
        "RetrySchedule", "retry_schedule", kinds.DURATIONS, BOTH,
        "The waits after each failed attempt; the last one repeats. A new connector takes the configured default.", ours=True,
    ),
    Parameter(
        "MessageExpiration", "message_expiration", kinds.DURATION, BOTH,
        "How long a message waits before it is returned. A new connector takes the configured default.", ours=True,
    ),
    Parameter(
        "MaxConnectionsPerDestination", "max_connections_per_destination", kinds.WHOLE, BOTH,
        "How many connections at once to one recipient domain, at most; null: as delivery.max_connections_per_destination "
        "says. Workers of a gateway share it, nodes do not.", ours=True,
    ),
    Parameter(
        "MaxMessagesPerMinute", "max_messages_per_minute", kinds.WHOLE, BOTH,
        "How many messages a minute go through the connector to all its destinations together, at most; attempts that fail "
        "count as well. Null: no limit. Workers of a gateway share it, nodes do not.", ours=True,
    ),
)  # fmt: skip
BY_FIELD: Mapping[str, Parameter] = {parameter.field: parameter for parameter in TABLE}
BY_NAME: Mapping[str, Parameter] = {parameter.name.lower(): parameter for parameter in TABLE}
"""By Exchange's name in lower case."""


def accepted_by(verb: Verb) -> tuple[Parameter, ...]:
    """The parameters that New or Set takes, in table order."""
    return tuple(parameter for parameter in TABLE if parameter.verbs & verb)


@dataclass(frozen=True, slots=True)
class ListEdit:
    """A change to a list that leaves the rest of it alone: Exchange's `@{Add=...;Remove=...}`."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


Given = str | Sequence[str] | ListEdit
"""What a command line gave for one parameter: text in the grammar above, items already split, or an edit."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the given texts mean; `problems` names every one that means nothing."""

    values: Mapping[str, Any]
    """By field."""
    problems: tuple[Problem, ...] = ()
    failed: frozenset[str] = frozenset()
    """The fields whose text could not be read; rules about them cannot be judged."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a family of cmdlets takes."""

    noun: str
    by_name: Mapping[str, Parameter]
    """In lower case."""


CONNECTORS = Table("OutboundConnector", BY_NAME)


def parse_given(given: Mapping[str, Given], verb: Verb, current: Any = None, table: Table = CONNECTORS) -> Parsed:
    """Read what was given, by Exchange name in any case; `current` is what list edits start from."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    failed: set[str] = set()
    for name, value in given.items():
        parameter = table.by_name.get(name.lower())
        if parameter is None:
            problems.append(Problem(name, "there is no such parameter."))
        elif not parameter.verbs & verb:
            problems.append(Problem(parameter.name, f"{_spoken(verb)}-{table.noun} does not take it."))
        elif parameter.field in values or parameter.field in failed:
            problems.append(Problem(parameter.name, "it is given more than once."))
        else:
            try:
                values[parameter.field] = _value(parameter, value, current)
            except InputError as error:
                failed.add(parameter.field)
                problems.append(Problem(parameter.name, f"{error}.", f"Allowed: {parameter.kind.allowed}."))
    return Parsed(values, tuple(problems), frozenset(failed))


def _spoken(verb: Verb) -> str:
    return "New" if verb is Verb.NEW else "Set"


def _value(parameter: Parameter, given: Given, current: Any) -> Any:
    kind = parameter.kind
    if isinstance(given, str) and given.strip().lower() in ("", "$null"):
        if kind.cleared is NOT_CLEARABLE:
            raise InputError("it cannot be empty")
        return kind.cleared
    if not kind.many:
        if not isinstance(given, str):
            raise InputError("it takes one value, not a list")
        return kind.parse(given)
    if isinstance(given, str):
        given = parse_edit(given) or split_list(given)
    if isinstance(given, ListEdit):
        if current is None:
            raise InputError("there is no list yet to add to or remove from")
        return _edited(kind, parameter.value(current), given)
    return _without_repeats(kind, tuple(kind.parse(item) for item in given))


def _edited(kind: Kind, before: tuple[Any, ...], edit: ListEdit) -> tuple[Any, ...]:
    removed = {kind.parse(item) for item in edit.remove}
    if missing := removed.difference(before):
        raise InputError(f"{', '.join(sorted(map(kind.plain, missing)))} is not in it and cannot be removed")
    kept = tuple(item for item in before if item not in removed)
    return _without_repeats(kind, kept + tuple(kind.parse(item) for item in edit.add))


def _without_repeats(kind: Kind, items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items if kind is kinds.DURATIONS else tuple(dict.fromkeys(items))


_EDIT = re.compile(r"@\{(.*)\}", re.DOTALL)


def parse_edit(text: str) -> ListEdit | None:
    """The edit that the text is, or None when it is a plain list; raises InputError for a broken `@{`."""
    if not text.strip().startswith("@{"):
        return None
    match = _EDIT.fullmatch(text.strip())
    parts: dict[str, tuple[str, ...]] = {}
    for part in match[1].split(";") if match else ():
        key, equals, items = part.partition("=")
        word = key.strip().lower()
        if part.strip() and (not equals or word not in ("add", "remove") or word in parts):
            raise InputError(f"{part.strip()!r} is not Add=... or Remove=..., each once")
        if part.strip():
            parts[word] = split_list(items)
    if not parts:
        raise InputError(f"{text!r} is not an edit of the form @{{Add='a','b';Remove='c'}}")
    return ListEdit(parts.get("add", ()), parts.get("remove", ()))


def split_list(text: str) -> tuple[str, ...]:
    """The items of a list, unquoted; raises InputError for an empty one between commas."""
    bare = text.strip()
    if bare.startswith("@(") and bare.endswith(")"):
        bare = bare[2:-1].strip()
    items = tuple(_unquoted(item.strip()) for item in _split(bare))
    if not all(items):
        raise InputError(f"{text!r} has an empty item")
    return items


_ITEM = re.compile(r"""(\s*(?:"[^"]*"\s*(?=,|\Z)|'[^']*'\s*(?=,|\Z)|[^,]*))(,?)""")
"""A quoted item may hold commas; a quotation mark within an item is a character like any other."""


def _split(text: str) -> list[str]:
    items, at = list[str](), 0
    while (match := _ITEM.match(text, at)) is not None and match[2]:
        items.append(match[1])
        at = match.end()
    return [*items, text[at:]]


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
