"""alert: tell administrators of changes, by mail through our own queue and by webhook.

Alerts are written together with their events (store/alerts); this sends what is due, one after the other, and notes
how it went.  When they may be sent, and again, is in policy/alerts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from sealroute.base.errors import StoreUnavailable
from sealroute.base.mail import Envelope, Message, Notify, Origin, Recipient
from sealroute.base.names import address_domain
from sealroute.policy.alerts import LAST_TRY, Alert, AlertState, Channel, QuietHours, mail_of, wait_after
from sealroute.ports import AlertStore, Clock, Group

log = structlog.get_logger("sealroute.alert")
BATCH = 20
LOOK_SECONDS = 5.0


class Post(Protocol):
    """Sends one alert to the webhook."""

    async def __call__(self, identity: str, body: bytes, at: datetime) -> str:
        """Empty when it was taken, else why not; bounded in time."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told, and when not."""

    hostname: str
    mail_from: str
    mail_to: str | None = None
    post: Post | None = None
    quiet: QuietHours | None = None

    @property
    def channels(self) -> tuple[Channel, ...]:
        mail = (Channel.MAIL,) if self.mail_to is not None else ()
        return (*mail, Channel.WEBHOOK) if self.post is not None else mail


class Alerts:
    """The sender of a running gateway."""

    def __init__(self, store: AlertStore, told: Told, clock: Clock, ids: Callable[[datetime], str]) -> None:
        self._store = store
        self._told = told
        self._clock = clock
        self._ids = ids

    def __repr__(self) -> str:
        return f"<Alerts by {', '.join(channel.value for channel in self._told.channels) or 'nothing'}>"

    async def work(self) -> None:
        """Send what is due, for ever; nothing to do when nobody is told."""
        while self._told.channels:
            try:
                await self.send_due()
            except StoreUnavailable as error:
                log.warning("alerts could not be read or noted", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def send_due(self) -> None:
        """Send what is due now; raises StoreUnavailable."""
        now = self._clock.now()
        quiet = self._told.quiet is not None and self._told.quiet.hold(now)
        for alert in await self._store.due(now, self._told.channels, BATCH, tests_only=quiet):
            now = self._clock.now()
            if await self._store.take(alert, now + wait_after(alert.attempts + 1)):
                if alert.channel is Channel.MAIL:
                    await self._mail(alert, now)
                else:
                    await self._post(alert, now)

    async def _mail(self, alert: Alert, now: datetime) -> None:
        to = self._told.mail_to
        assert to is not None, "only configured channels are asked for"
        identity = self._ids(now)
        message_id = f"{identity}@{self._told.hostname}"
        body = json.loads(alert.body)
        recipient = Recipient(to, notify=Notify.NEVER)
        message = Message(
            id=identity,
            organization=alert.organization,
            envelope=Envelope("", (recipient,), smtputf8=not to.isascii()),
            content=mail_of(body, (self._told.mail_from, to), message_id, now),
            received_at=now,
            origin=Origin.NOTIFICATION,
            header_message_id=f"<{message_id}>",
            subject=f"Sealroute: {alert.kind} {alert.domain}".rstrip(),
        )
        group = Group(self._ids(now), identity, address_domain(to), (recipient,), queued_at=now, next_attempt_at=now)
        await self._store.mail(alert.id, message, group)

    async def _post(self, alert: Alert, now: datetime) -> None:
        post = self._told.post
        assert post is not None, "only configured channels are asked for"
        error = await post(alert.id, alert.body.encode(), now)
        if not error:
            await self._store.note(alert.id, AlertState.SENT, "")
            return
        state = AlertState.WAITING if alert.attempts + 1 < LAST_TRY else AlertState.GIVEN_UP
        log.warning("the webhook did not take an alert", id=alert.id, tries=alert.attempts + 1, state=state.value, error=error)
        await self._store.note(alert.id, state, error)
