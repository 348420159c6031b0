"""What transport rules make of the connector that a message would go through.

Rules are taken in order of priority.  One that is met, or of which it cannot be told whether it is met:

* adds its demands to what is demanded already, by the connector and the rules before it: the stricter of each wins;
* with RouteMessageOutboundConnector makes the message go through that connector, if no rule before it did, and adds that
  connector's demands: where mail goes changes, what is demanded of it does not fall.

Only a rule that is certainly met and says AllowWeaker replaces what is demanded by what it says.  Only a rule that is certainly
met stops the processing; behind one that may have been meant to stop it, nothing is replaced any more.  So whatever the unknown
conditions are in truth, the outcome is at least as strict as the rules would have it then.

What comes out is a connector value of its own that names the rules, so nothing that is kept by connector (plans, sessions) is
shared between messages under a rule and others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.transport.facts import MessageFacts
from sealroute.policy.transport.match import Judged, Truth, Work, judge
from sealroute.policy.transport.rule import RuleMode, TransportRule
from sealroute.policy.transport.strictness import stricter_mode, tls_rank


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """One rule that applied to a message, and what it did."""

    guid: str
    name: str
    version: int
    did: tuple[str, ...]
    """Each change in words; empty: everything it asks for was demanded already."""
    uncertain: str
    """Why it applied although it cannot be told whether its conditions are met; empty: they are met."""
    audit: bool
    """Its mode is Audit: it says what it would have done, and nothing was changed."""

    @property
    def identity(self) -> str:
        """Name and version, as requirements name it."""
        return f"{self.name} (version {self.version}, {self.guid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledConnector(Connector):
    """A connector as transport rules make it."""

    effects: tuple[RuleEffect, ...]
    excepted_by: str = ""

    @property
    def exception_id(self) -> str:
        return self.excepted_by

    @property
    def rule_effects(self) -> tuple[RuleEffect, ...]:
        return self.effects

    @property
    def rule_key(self) -> str:
        """Equal only for values that demand the same on account of the same rules; empty when none changed anything."""
        rules = [f"{effect.guid}:{effect.version}" for effect in self.effects if not effect.audit]
        if not rules:
            return ""
        tls = self.tls_settings.value if self.tls_settings else ""
        return "|".join((self.smtp_dane_mode.value, self.mta_sts_mode.value, tls, self.tls_domain or "", *rules))


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that is met, or may be."""

    rule: TransportRule
    judged: Judged

    @property
    def certain(self) -> bool:
        return self.judged.truth is Truth.YES


def hits(rules: Sequence[TransportRule], facts: MessageFacts, domain: str, work: Work) -> tuple[Hit, ...]:
    """The rules that are met or may be, in order, up to one that certainly stops the processing."""
    found: list[Hit] = []
    for rule in rules:
        judged = judge(rule, facts, work, domain)
        if judged.truth is Truth.NO:
            continue
        found.append(Hit(rule, judged))
        if rule.stop_rule_processing and judged.truth is Truth.YES and rule.mode is RuleMode.ENFORCE:
            break
    return tuple(found)


def apply_rules(own: Connector, found: Sequence[Hit], connectors: Mapping[str, Connector]) -> Connector:
    """`own` as the rules make it, `own` itself when there are none; raises OperatorError when a connector is not there.

    `connectors` are those that rules may route through, by GUID, as they are in use.
    """
    if not found:
        return own
    state = _State(own, own.smtp_dane_mode, own.mta_sts_mode, own.tls_settings, own.tls_domain)
    effects: list[RuleEffect] = []
    maybe_stopped = False
    for hit in found:
        rule = hit.rule
        weaker = rule.allow_weaker and hit.certain and not maybe_stopped
        after = _step(state, rule, connectors, weaker=weaker)
        audit = rule.mode is RuleMode.AUDIT
        why = "" if hit.certain else "; ".join(sorted(item.value for item in hit.judged.unseen))
        effects.append(RuleEffect(rule.guid, rule.name, rule.version, _changes(state, after), why, audit))
        if not audit:
            state = after
            maybe_stopped = maybe_stopped or (rule.stop_rule_processing and not hit.certain)
    values = {name: getattr(state.base, name) for name in _CONNECTOR_FIELDS} | {
        "smtp_dane_mode": state.dane, "mta_sts_mode": state.sts, "tls_settings": state.tls, "tls_domain": state.tls_domain,
    }  # fmt: skip
    return RuledConnector(effects=tuple(effects), excepted_by=state.base.exception_id or own.exception_id, **values)


_CONNECTOR_FIELDS = tuple(item.name for item in fields(Connector))


@dataclass(frozen=True, slots=True)
class _State:
    """What is demanded so far, and through which connector."""

    base: Connector
    dane: SmtpDaneMode
    sts: MtaStsMode
    tls: TlsSettings | None
    tls_domain: str | None
    routed: bool = False


def _step(state: _State, rule: TransportRule, connectors: Mapping[str, Connector], *, weaker: bool) -> _State:
    """What is demanded with this rule."""
    if rule.route_message_outbound_connector is not None:
        target = connectors.get(rule.route_message_outbound_connector)
        if target is None:
            text = f"it routes through connector {rule.route_message_outbound_connector}, which cannot be used."
            raise OperatorError.one(f"transport rule {rule.name!r}", text, "Enable or name another connector.")
        state = _route(state, target, weaker=weaker)
    dane, sts, tls = rule.smtp_dane_mode, rule.mta_sts_mode, rule.tls_settings
    if weaker:
        own_name = state.tls_domain if tls in (None, TlsSettings.DOMAIN_VALIDATION) else None
        return replace(state, dane=dane or state.dane, sts=sts or state.sts, tls=tls or state.tls, tls_domain=own_name)
    return replace(
        state,
        dane=state.dane if dane is None else stricter_mode(state.dane, dane),
        sts=state.sts if sts is None else stricter_mode(state.sts, sts),
        tls=max(state.tls, tls, key=tls_rank),
    )


def _route(state: _State, target: Connector, *, weaker: bool) -> _State:
    """Through the target, if no rule routed before; its demands count in any case.

    Under DomainValidation the name is that of the connector which is used, else of the one that demanded it first.
    """
    routes = not state.routed
    if weaker and routes:
        return _State(target, target.smtp_dane_mode, target.mta_sts_mode, target.tls_settings, target.tls_domain, routed=True)
    tls, name = state.tls, state.tls_domain
    if tls_rank(target.tls_settings) >= tls_rank(tls) and (routes or tls_rank(target.tls_settings) > tls_rank(tls)):
        tls, name = target.tls_settings, target.tls_domain
    return _State(
        target if routes else state.base,
        stricter_mode(state.dane, target.smtp_dane_mode),
        stricter_mode(state.sts, target.mta_sts_mode),
        tls, name, routed=True,
    )  # fmt: skip


def _changes(before: _State, after: _State) -> tuple[str, ...]:
    """Each difference in words."""
    pairs = (
        ("connector", before.base.name, after.base.name),
        ("SmtpDaneMode", before.dane.value, after.dane.value),
        ("MtaStsMode", before.sts.value, after.sts.value),
        ("TlsSettings", before.tls.value if before.tls else "$null", after.tls.value if after.tls else "$null"),
        ("TlsDomain", before.tls_domain or "$null", after.tls_domain or "$null"),
    )
    return tuple(f"{what} {old} -> {new}" for what, old, new in pairs if old != new)
