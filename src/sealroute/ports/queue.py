"""The durable queue: what waits, who works on it, and what a run leaves behind.  store/ implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from sealroute.base.mail import Message, Recipient
from sealroute.policy.attempt import Attempt, RecipientFate
from sealroute.policy.reasons import Finding


class GroupState(Enum):
    """Where a recipient group stands; transitions are written in store/schema."""

    QUEUED = "queued"
    """Waits for `next_attempt_at`; nobody works on it."""
    ACTIVE = "active"
    """A node works on it, as long as the node's lease runs."""
    SUSPENDED = "suspended"
    """Held by an administrator; released or removed by one."""


class Changed(Enum):
    """What another node or an administrator changed in a store that nodes share."""

    QUEUE = "queue"
    """Something became due now."""
    CONNECTORS = "connectors"
    """Connectors or exceptions."""


@dataclass(frozen=True, slots=True)
class Group:
    """All still undelivered recipients of one message in one domain: the unit of delivery, retry and hold."""

    id: str
    message_id: str
    domain: str
    recipients: tuple[Recipient, ...]
    queued_at: datetime
    next_attempt_at: datetime
    attempts: int = 0
    """Runs through the hosts so far."""
    delay_notified: bool = False
    last_finding: Finding | None = None
    last_route: tuple[str, str] = ("", "")
    """(host, address) that greylisted us last: tried first next time [ADR 7.10]."""
    organization: str = field(default="", compare=False)
    """Whose mail it is; known of what was taken from the queue, elsewhere the message at hand says it."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One step in a message's life, per recipient or (address "") for all."""

    message_id: str
    at: datetime
    event: str
    """RECEIVE, SEND, DEFER, FAIL, TRANSFER, EXPAND, ... (Exchange's names)."""
    recipient: str
    description: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """A group's run is over: everything to be made durable in one transaction."""

    group: Group
    """As it was before the run."""
    fates: tuple[RecipientFate, ...]
    attempts: tuple[Attempt, ...]
    events: tuple[TraceEvent, ...]
    next_attempt_at: datetime | None
    """When the DEFERRED recipients are tried again; None when none is left."""
    finding: Finding | None = None
    """The reason shown for those still waiting."""
    delay_notified: bool = False
    last_route: tuple[str, str] = ("", "")
    notices: tuple[tuple[Message, tuple[Group, ...]], ...] = ()
    """NDRs, delay and success notices that enter the queue together with this."""


class Queue(Protocol):
    """The durable queue.  Every method returns only after commit; StoreUnavailable when it could not."""

    async def add(self, message: Message, groups: Sequence[Group], events: Sequence[TraceEvent], *, active: bool) -> None:
        """Take a message in.  `active`: this node works on the groups at once (no second read from the database)."""
        ...

    async def settle(self, settled: Settled) -> None:
        """Record a run; drop the group when nobody is left, and the message with its last group."""
        ...

    async def release(self, group_ids: Sequence[str], *, not_before: datetime | None = None) -> None:
        """Give ACTIVE groups back unworked (shutdown, no room): QUEUED at their old time, or at `not_before` if later."""
        ...

    async def take_due(self, now: datetime, limit: int, *, room: Mapping[str, int] = ...) -> list[Group]:
        """Lease up to `limit` due groups, oldest due first: QUEUED → ACTIVE; of a domain in `room` no more than it says.

        Once what there is no room for has filled the front of the line, the others come by domain instead of by time.
        """
        ...

    async def next_due(self) -> datetime | None:
        """When the next QUEUED group is due."""
        ...

    async def message(self, message_id: str) -> Message | None:
        """The message with its content."""
        ...

    async def start_node(self, now: datetime) -> int:
        """Register this node and take back what dead nodes held; returns how many groups came back."""
        ...

    async def renew_node(self, now: datetime) -> int:
        """Extend this node's lease; take back what nodes with expired leases held; returns how many."""
        ...

    async def depth(self) -> Mapping[GroupState, int]:
        """Counted: the longer the queue the longer it takes."""
        ...

    async def oldest(self) -> datetime | None:
        """When the oldest waiting message was queued."""
        ...
