"""Transport rules in words: when one applies, what it does, and what it will do to mail for a domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sealroute.faces.cli.output import text_of
from sealroute.policy.transport.foresee import Foretold
from sealroute.policy.transport.parameters import BY_FIELD, TABLE, RuleParameter
from sealroute.policy.transport.rule import TransportRule

_ACTIONS = ("route_message_outbound_connector", "smtp_dane_mode", "mta_sts_mode", "tls_settings")


def when_text(rule: TransportRule) -> str:
    """The conditions and exceptions, in a line."""
    return _asked(rule, (parameter for parameter in TABLE if parameter.condition)) or "always"


def then_text(rule: TransportRule, names: Mapping[str, str]) -> str:
    """What it does, in a line; `names` gives connectors' names by GUID."""
    parts = []
    for parameter in TABLE:
        value = parameter.value(rule)
        if parameter.field in _ACTIONS and value is not None:
            shown = parameter.kind.to_json(value)
            parts.append(f"{parameter.name} {names.get(shown, shown)}")
    parts += ["AllowWeaker"] * rule.allow_weaker + ["stop"] * rule.stop_rule_processing
    return "; ".join(parts)


def foretold_words(told: Foretold) -> tuple[str, ...]:
    """Whether the rule applies to mail for the domain, and what it does; a sentence each."""
    rule = told.rule
    does = "; ".join(told.effect.did) or "demands nothing that is not demanded already"
    lines = [f"rule {rule.name!r} applies: {does}"]
    if not told.certain:
        lines = [f"rule {rule.name!r} may apply: {does}", f"depends on {_asked(rule, _parameters(told))}"]
    if told.effect.audit:
        lines.append("Mode is Audit: it is only written into the trace, and changes nothing")
    if told.stops:
        lines.append("leaves out the rules behind it")
    if told.left_out_by:
        lines.append(f"is left out where {_rules(told.left_out_by)} applies")
    return tuple(lines)


def foretold_record(told: Foretold) -> dict[str, Any]:
    """The same as plain JSON values."""
    rule, used = told.rule, told.connector
    return {
        "rule": rule.name,
        "guid": rule.guid,
        "version": rule.version,
        "priority": rule.priority,
        "mode": rule.mode.value,
        "applies": "certainly" if told.certain else "depending on the message",
        "dependsOn": {parameter.name: parameter.kind.to_json(parameter.value(rule)) for parameter in _parameters(told)},
        "did": list(told.effect.did),
        "connector": used.name,
        "smtpDaneMode": used.smtp_dane_mode.value,
        "mtaStsMode": used.mta_sts_mode.value,
        "tlsSettings": used.tls_settings.value if used.tls_settings else None,
        "stops": told.stops,
        "leftOutBy": list(told.left_out_by),
    }


def _parameters(told: Foretold) -> tuple[RuleParameter, ...]:
    return tuple(BY_FIELD[name] for name in told.depends_on)


def _asked(rule: TransportRule, parameters: Iterable[RuleParameter]) -> str:
    """Those of the conditions that the rule has, with their values."""
    asked = (parameter for parameter in parameters if parameter.value(rule) not in (None, ()))
    return "; ".join(f"{parameter.name} {text_of(parameter.kind.to_json(parameter.value(rule)))}" for parameter in asked)


def _rules(names: tuple[str, ...]) -> str:
    return f"rule {names[0]!r}" if len(names) == 1 else "one of the rules " + ", ".join(map(repr, names))
