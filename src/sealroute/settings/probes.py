"""Which destinations are looked at without mail, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from sealroute.settings.values import DomainName, Duration, Section


class ProbeSettings(Section):
    """Looking at destinations from time to time without mail (`sealroute readiness`, `sealroute drift list`)."""

    enabled: bool = Field(default=True, description="Whether to do so at all.")
    interval: Annotated[Duration, Field(ge=timedelta(hours=1), le=timedelta(days=30))] = Field(
        default=timedelta(hours=24), description="Each destination is looked at once in that time, give or take a tenth."
    )
    domains: tuple[DomainName, ...] = Field(
        default=(),
        max_length=10_000,
        strict=False,
        description="Recipient domains of `organization` to look at, beside those that partner connectors name and those with "
        "mail.",
    )
    traffic_days: int = Field(
        default=30,
        ge=0,
        le=365,
        description="Recipient domains that mail was tried to in the last so many days are looked at, too; 0: they are not.",
    )
    max_domains: int = Field(
        default=2000,
        ge=1,
        le=100_000,
        description="So many are looked at and no more: first those that are named, then those with the most mail.",
    )
    at_once: int = Field(
        default=4, ge=1, le=64, description="So many at a time. Of one server's addresses each gets one connection at a time."
    )
