"""Who is told when a destination's protection changes, and when."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from sealroute.policy.alerts import QuietHours
from sealroute.settings.values import Duration, FilePath, MailAddress, Section

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


class AlertSettings(Section):
    """Who is told when a destination's protection changes (`sealroute drift list`)."""

    mail_to: MailAddress | None = Field(
        default=None, description="Address that gets a mail for each change, through our own queue. Default: none is sent."
    )
    webhook_url: str | None = Field(
        default=None,
        max_length=2000,
        description="HTTPS address that gets a POST with JSON for each change, tried for a day. Default: none is sent.",
    )
    webhook_secret_file: FilePath | None = Field(
        default=None, description="File with the secret that signs what the webhook gets; needed with `webhook_url`."
    )
    webhook_ca_file: FilePath | None = Field(
        default=None, description="PEM bundle of authorities for the webhook's certificate instead of the system's."
    )
    quiet_hours: str = Field(
        default="",
        max_length=11,
        description="Span of each day such as `22:00-07:00` in which nothing is sent; what comes up is sent at its end.",
    )
    time_zone: str = Field(default="UTC", max_length=64, description="Time zone of the quiet hours, such as `Europe/Berlin`.")
    repeat_after: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=365))] = Field(
        default=timedelta(hours=24), description="The same change at the same destination is told again only after so long."
    )

    @field_validator("quiet_hours")
    @classmethod
    def _hours(cls, text: str) -> str:
        found = _HOURS.fullmatch(text)
        if text and (found is None or found.group(1, 2) == found.group(3, 4)):
            raise ValueError(f"{text!r} is not a span of a day; write it as 22:00-07:00")
        return text

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, text: str) -> str:
        try:
            ZoneInfo(text)
        except (ValueError, OSError, LookupError):
            raise ValueError(f"{text!r} is not a time zone; write it as Europe/Berlin or UTC") from None
        return text

    @field_validator("webhook_url")
    @classmethod
    def _url(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"https://[^\s/@]+(/\S*)?", text):
            raise ValueError(f"{text!r} is not an HTTPS address without a password; write it as https://hooks.contoso.com/mail")
        return text

    @model_validator(mode="after")
    def _signed(self) -> AlertSettings:
        if self.webhook_url is not None and self.webhook_secret_file is None:
            raise ValueError("webhook_url needs webhook_secret_file: without a signature anybody could send alerts")
        return self

    @property
    def quiet(self) -> QuietHours | None:
        """The quiet hours as policy/alerts knows them."""
        found = _HOURS.fullmatch(self.quiet_hours)
        if found is None:
            return None
        first, second, third, fourth = map(int, found.groups())
        return QuietHours(time(first, second), time(third, fourth), ZoneInfo(self.time_zone))
