"""move: the steps of a pinned connector to MX routing under DANE or MTA-STS, each planned first and then carried out whole.

What a step may be stands in policy/move, what it makes of the connector in policy/move_steps; looking at the partner is
services/propose_moves.  A plan that is complete and allowed is a MoveChange; every problem is in the one OperatorError.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from sealroute.base.errors import OperatorError, Problem
from sealroute.base.times import span
from sealroute.policy.choose import choose, eligible
from sealroute.policy.connector import Connector
from sealroute.policy.connector_rules import check
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.move import MAX_HELD, Mark, Move, MoveRules, MoveStep, Situation, counted, missing
from sealroute.policy.move_steps import back, demanding, kept, routed_by_mx
from sealroute.policy.readiness import Mechanism
from sealroute.ports import ConnectorStore, MoveChange, MoveStore
from sealroute.services.configure import find
from sealroute.services.propose_moves import Partner, Proposal, Target, not_ready, pinned, state_of

MAX_REASON_CHARACTERS = 500
KNOWN_AFTER = timedelta(seconds=2)
"""By then every node has seen that connectors changed (gateway.CONNECTOR_POLL_SECONDS)."""
_MECHANISMS = {Target.DANE: Mechanism.DANE, Target.STS: Mechanism.MTA_STS}


@dataclass(frozen=True, slots=True)
class Around:
    """Where moves happen."""

    connectors: ConnectorStore
    moves: MoveStore
    organization: str
    accepted_domains: Sequence[str] = ()


# --------------------------------------------------------------------------------------------------------------- start


def startable(around: Around, identity: str) -> Connector:
    """The connector, if nothing that is known without looking at the partner is against it; raises OperatorError."""
    connector = find(around.connectors, around.organization, identity)
    name, found = connector.name, list[Problem]()
    for move in around.moves.all(around.organization):
        if move.step.active and move.connector_guid == connector.guid:
            said = f"connector {name!r} is being moved already; it is at {move.step.value}."
            raise OperatorError.one("NAME", said, "`sealroute migrate status` tells more; `migrate rollback` ends it.")
        if move.step.active and move.kept_guid == connector.guid:
            raise OperatorError.one("NAME", f"connector {name!r} is what is kept of {move.connector_name!r}.")
    if connector not in pinned([connector]):
        said = f"connector {name!r} is not pinned: it does not send single domains to fixed smart hosts."
        found.append(Problem("NAME", said, "There is nothing to move."))
    if not eligible(connector):
        said = f"no mail goes through connector {name!r}: it is disabled, in test mode or for a rule only."
        found.append(Problem("NAME", said, "Nothing could be observed; change that first."))
    elif not found:
        found += _elsewhere(around, connector)
    if found:
        raise OperatorError(*found)
    return connector


def _elsewhere(around: Around, connector: Connector) -> list[Problem]:
    every = around.connectors.all(around.organization)
    found = []
    for domain in connector.recipient_domains:
        choice = choose(every, domain.removeprefix("*."), accepted_domains=around.accepted_domains)
        if not domain.startswith("*.") and choice.connector is not None and choice.connector.guid != connector.guid:
            said = f"mail to {domain} does not go through connector {connector.name!r}: {choice.why}."
            found.append(Problem("NAME", said, f"Move {choice.connector.name!r}, or take the domain out of one of them."))
    return found


def plan_start(around: Around, proposal: Proposal, rules: MoveRules, by: str, now: datetime) -> MoveChange:
    """From the proposal for a startable connector; raises OperatorError, also when the partner is not ready."""
    before = proposal.connector
    mechanism = _MECHANISMS.get(proposal.target)
    if mechanism is None:
        fix = "`sealroute migrate plan` shows what it looks at, `sealroute analyze` what the partner has to do."
        raise OperatorError.one("NAME", f"the partner of {before.name!r} is not ready: {proposal.why}.", fix)
    found = list(_kept_demands(before, proposal.partners))
    if rules.max_age >= before.message_expiration:
        said = f"mail is returned after {span(before.message_expiration)}, before it would count as held for too long."
        found.append(Problem("--max-age", said, "Give less."))
    after = routed_by_mx(before, mechanism)
    fallback = kept(before, str(uuid4()))
    others = [item for item in around.connectors.all(around.organization) if item.guid != before.guid]
    found += [problem for item in (after, fallback) for problem in check(item, others).problems]
    if found:
        raise OperatorError(*found)
    move = Move(
        id=f"m{secrets.token_hex(4)}",
        organization=around.organization,
        connector_guid=before.guid,
        connector_name=before.name,
        mechanism=mechanism,
        step=MoveStep.OBSERVING,
        rules=rules,
        before=before,
        after=after,
        kept_guid=fallback.guid,
        kept_name=fallback.name,
        started=Mark(now, by, proposal.why),
        partner_before=tuple(map(state_of, proposal.partners)),
    )
    return MoveChange(None, move, ((before, after),), (fallback,))


def _kept_demands(connector: Connector, partners: Sequence[Partner]) -> Sequence[Problem]:
    """What is Mandatory stays so, and must hold by MX, too."""
    demands = (
        ("SmtpDaneMode", connector.smtp_dane_mode is SmtpDaneMode.MANDATORY, Mechanism.DANE),
        ("MtaStsMode", connector.mta_sts_mode is MtaStsMode.MANDATORY, Mechanism.MTA_STS),
    )
    return [
        Problem(name, f"it is Mandatory, and would not hold by MX: {why}.", "Change it first, if that is meant.")
        for name, demanded, mechanism in demands
        if demanded and (why := not_ready(mechanism, partners))
    ]


# ------------------------------------------------------------------------------------------------------- look and advance


def find_move(around: Around, identity: str) -> Move:
    """The latest move of the connector of that name (now or at its start), GUID, or of that id; raises OperatorError."""
    wanted = identity.casefold()
    named = around.connectors.get(around.organization, identity)
    for move in around.moves.all(around.organization):
        guids = (move.connector_guid, move.id, named.guid if named else "")
        if wanted in (move.connector_name.casefold(), *guids) or (named and named.guid == move.connector_guid):
            return move
    fix = "`sealroute migrate status` lists moves, `sealroute migrate start` begins one."
    raise OperatorError.one("NAME", f"no connector {identity!r} was ever moved.", fix)


def situation(moves: MoveStore, move: Move, now: datetime, partners: Sequence[Partner] | None = None) -> Situation:
    """What is known of the move; of the partner only when it was looked at."""
    held = counted(moves.held(move, MAX_HELD)) if move.step.active else ()
    not_now = "" if partners is None else not_ready(move.mechanism, partners)
    return Situation(now, moves.days(move), held, not_now)


def plan_advance(
    around: Around, move: Move, seen: Situation, partners: Sequence[Partner], done: Mark
) -> MoveChange:  # fmt: skip
    """The next step; `done.why` forces it where something is missing.  Raises OperatorError with all that is missing."""
    if not move.step.active:
        raise OperatorError.one("NAME", f"the move of {move.connector_name!r} has ended: it is {move.step.value}.")
    _check_reason(done.why)
    lacks = missing(move, seen)
    if lacks and not done.why:
        goal = "Mandatory" if move.step is MoveStep.OBSERVING else "its end"
        problems = [Problem(f"not yet {goal}", text) for text in lacks]
        raise OperatorError(*problems, Problem("", "--force --reason TEXT goes on all the same."))
    connector = moved(around, move)
    if not connector.use_mx_record:
        fix = "`sealroute migrate rollback` ends the move."
        raise OperatorError.one("NAME", f"connector {connector.name!r} was pinned again by hand meanwhile.", fix)
    if move.step is MoveStep.MANDATORY:
        kept_one = around.connectors.get(around.organization, move.kept_guid)
        after = replace(move, step=MoveStep.DONE, ended=done)
        return MoveChange(move, after, removed=(kept_one,) if kept_one is not None else ())
    strict = demanding(connector, move.mechanism)
    if problems := list(check(strict, around.connectors.all(around.organization)).problems):
        raise OperatorError(*problems)
    states = tuple(map(state_of, partners))
    after = replace(move, step=MoveStep.MANDATORY, mandatory=done, partner_mandatory=states, after=strict)
    return MoveChange(move, after, ((connector, strict),))


def _check_reason(reason: str) -> None:
    if len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
        raise OperatorError.one("--reason", f"it is not one line of at most {MAX_REASON_CHARACTERS} printable characters.")


def moved(around: Around, move: Move) -> Connector:
    """The connector as it is now; raises OperatorError when it is gone."""
    connector = around.connectors.get(around.organization, move.connector_guid)
    if connector is None:
        fix = f"What it was is kept as {move.kept_name!r}; `sealroute connector set` can enable that."
        raise OperatorError.one("NAME", f"connector {move.connector_name!r} was removed.", fix)
    return connector


# ---------------------------------------------------------------------------------------------------------- roll back


def plan_roll_back(around: Around, move: Move, done: Mark) -> MoveChange:
    """Back to the smart hosts, as the kept connector has them now; raises OperatorError when the move has ended."""
    if not move.step.active:
        raise OperatorError.one("NAME", f"the move of {move.connector_name!r} has ended: it is {move.step.value}.")
    _check_reason(done.why)
    connector = moved(around, move)
    fallback = around.connectors.get(around.organization, move.kept_guid)
    restored = back(connector, fallback or move.before, move.before)
    after = replace(move, step=MoveStep.ROLLED_BACK, ended=done)
    return MoveChange(move, after, ((connector, restored),), removed=(fallback,) if fallback is not None else ())


def carry_out(around: Around, change: MoveChange, now: datetime, by: str) -> None:
    """All of the step; raises OperatorError when something has changed since it was planned."""
    if not around.moves.carry_out(change, now, by):
        said = f"connector {change.after.connector_name!r} or its move was changed meanwhile; nothing was done."
        raise OperatorError.one("NAME", said, "Look at it and try again.")
