"""validate: can mail go through a connector right now?  Delivery's own steps, told as a list of tasks, and a test mail.

Each test mail is a run of services/deliver with this connector chosen, whatever its domains, its Enabled and its TestMode say.
What the mail did not come to (further hosts and addresses) services/reach opens the same way.  The tasks
(services/validation) only read the plan and the Attempts of both, so a validation can never disagree with delivery
[Exchange Online].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sealroute.base.mail import Envelope, Message, Notify, Origin, Recipient
from sealroute.base.names import address_domain
from sealroute.base.times import rfc3339, rfc5322
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan
from sealroute.ports import Group, Settled
from sealroute.services.reach import is_of
from sealroute.services.validation.hops import hop_tasks, host_step, host_tasks, lost_hop, without_plan
from sealroute.services.validation.model import Mail, Task, TaskName, TaskStatus, Validation
from sealroute.services.validation.servers import Judge, address_tasks, mail_tasks, step_of

SUBJECT = "Test email for connector validation"
MAX_RECIPIENTS = 50


class Runner(Protocol):
    """services/deliver, bound to the connector under test."""

    async def run(self, group: Group, message: Message) -> Settled: ...


class Reacher(Protocol):
    """services/reach."""

    async def rest(self, plan: Plan, connector: Connector, group: Group, made: Sequence[Attempt]) -> tuple[Attempt, ...]: ...


class NoNotices:
    """Nobody gets a notice about a test mail; the tasks tell."""

    def after_run(self, message: Message, run: object) -> tuple[()]:
        return ()


@dataclass(frozen=True, slots=True)
class Bench:
    """Delivery's parts, ready for one connector."""

    runner: Runner
    reach: Reacher
    judge: Judge
    planned: Callable[[str], Plan | None]
    """The plan that the last run for a domain went by; None when none could be made."""
    connector_for: Callable[[str], Connector]
    """The connector as it applies to a domain: a timed exception may be in force."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the test mail is from."""

    hostname: str
    address: str


async def validate(
    bench: Bench, recipients: Sequence[str], sender: Sender, ids: Callable[[datetime], str], now: datetime
) -> Validation:
    """Send the test mail to each recipient, one after the other, and open every other next hop of their domains once.

    Raises InputError for an address that is none, before anything is sent.
    """
    wanted = {recipient: address_domain(recipient) for recipient in recipients}
    tasks: list[Task] = []
    mails: list[Mail] = []
    without_way: list[str] = []
    for domain in dict.fromkeys(wanted.values()):
        seen = _Domain(bench, domain)
        for recipient in (item for item, its_domain in wanted.items() if its_domain == domain):
            message = _message(recipient, sender, ids(now), now)
            group = Group(ids(now), message.id, domain, message.envelope.recipients, queued_at=now, next_attempt_at=now)
            mails.append(await seen.send(group, message))
        tasks += seen.tasks()
        without_way += seen.without_way
    name = bench.connector_for(next(iter(wanted.values()))).name
    return Validation(name, now, tuple(tasks), tuple(mails), tuple(dict.fromkeys(without_way)))


class _Domain:
    """One recipient domain: its test mails, and what was seen on their way."""

    def __init__(self, bench: Bench, domain: str) -> None:
        self._bench = bench
        self._domain = domain
        self._plan: Plan | None = None
        self._attempts: tuple[Attempt, ...] = ()
        self._mail_tasks: list[Task] = []
        self.without_way: list[str] = []

    async def send(self, group: Group, message: Message) -> Mail:
        """The first mail's way is the one that is looked at, together with all it did not come to."""
        bench, recipient = self._bench, group.recipients[0].address
        settled = await bench.runner.run(group, message)
        if not self._attempts:
            self._plan = bench.planned(self._domain)
            rest: tuple[Attempt, ...] = ()
            if self._plan is not None and self._plan.finding is None:
                rest = await bench.reach.rest(self._plan, bench.connector_for(self._domain), group, settled.attempts)
            self._attempts = (*settled.attempts, *rest)
        tasks = mail_tasks(recipient, settled.attempts)
        fate = settled.fates[-1]
        delivered = fate.fate is Fate.DELIVERED
        if not tasks:
            said = fate.finding.words() if fate.finding else ""
            tasks = [Task(TaskName.MAIL, self._domain, self._domain, TaskStatus.FAILED, said, fate.finding, recipient)]
        self._mail_tasks += tasks
        return Mail(recipient, delivered, _sentence(fate))

    def tasks(self) -> list[Task]:
        """Next hops, hosts, addresses, test mails."""
        plan = self._plan
        if plan is None:
            self.without_way.append(self._domain)
            held = next((item.finding for item in self._attempts if item.finding is not None), None)
            return [*([without_plan(self._domain, held)] if held else []), *self._mail_tasks]
        tasks: list[Task] = []
        for number, hop in enumerate(plan.evidence.hops):
            tasks += hop_tasks(plan, number)
            if lost_hop(plan, number) is not None:
                self.without_way.append(hop.name)
                continue
            for host in plan.hosts:
                if host.hop == number:
                    tasks += host_tasks(plan, host)
                    at_host = [item for item in self._attempts if is_of(host, item)]
                    tasks += self._addresses(host, at_host) if host_step(host) is None else []
                    if at_host and all(step_of(item) not in (None, TaskName.MAIL) for item in at_host):
                        self.without_way.append(host.name)
        return [*tasks, *self._mail_tasks]

    def _addresses(self, host: HostPlan, at_host: Sequence[Attempt]) -> list[Task]:
        tasks = []
        for ip in dict.fromkeys(item.ip for item in at_host):
            tasks += address_tasks([item for item in at_host if item.ip == ip], self._bench.judge)
        left = len(set(host.addresses) - {item.ip for item in at_host})
        if left:
            said = f"{left} more not dialled: beyond the bound, or of a family that delivery.address_families leaves out"
            tasks.append(Task(TaskName.CONNECT, self._domain, host.name, TaskStatus.NOT_APPLICABLE, said))
        return tasks


def _sentence(fate: RecipientFate) -> str:
    """As queue, trace and NDR have it."""
    if fate.fate is Fate.DELIVERED or fate.finding is None:
        return str(fate.reply or "")
    return fate.finding.queued() if fate.fate is Fate.DEFERRED else fate.finding.returned()


def _message(recipient: str, sender: Sender, message_id: str, now: datetime) -> Message:
    header_id = f"<{message_id}@{sender.hostname}>"
    lines = [
        f"From: <{sender.address}>",
        f"To: <{recipient}>",
        f"Subject: {SUBJECT}",
        f"Date: {rfc5322(now)}",
        f"Message-ID: {header_id}",
        "Auto-Submitted: auto-generated",
        "",
        f"This message was sent by {sender.hostname} to find out whether mail gets through a connector.",
        "Nothing needs to be done with it.",
    ]
    content = "".join(f"{line}\r\n" for line in lines).encode()
    envelope = Envelope("", (Recipient(recipient, notify=Notify.NEVER),))
    return Message(
        message_id, "default", envelope, content, now, Origin.NOTIFICATION, header_message_id=header_id, subject=SUBJECT
    )


# ------------------------------------------------------------------------------------------------------- what is kept


def validation_record(validation: Validation) -> dict[str, Any]:
    """The validation as plain JSON: what the store keeps and `--json` shows."""
    return {
        "Connector": validation.connector,
        "At": rfc3339(validation.at),
        "IsValidated": validation.succeeded,
        "Recipients": [
            {"Recipient": mail.recipient, "IsDelivered": mail.delivered, "Sentence": mail.sentence} for mail in validation.mails
        ],
        "WithoutWay": list(validation.without_way),
        "Tasks": [_task_record(task) for task in validation.tasks],
    }


def _task_record(task: Task) -> dict[str, Any]:
    facts = task.finding.reason.facts if task.finding else None
    return {
        "TaskName": task.name.value,
        "Status": task.status.value,
        "IsTaskSuccessful": task.status is not TaskStatus.FAILED,
        "Domain": task.domain,
        "Recipient": task.recipient or None,
        "Target": task.target,
        "Detail": task.detail,
        "Code": task.code or None,
        "Reason": task.finding.reason.value if task.finding else None,
        "Sentence": task.sentence or None,
        "Side": facts.side.value if facts else None,
        "Fix": facts.fix if facts else None,
    }
