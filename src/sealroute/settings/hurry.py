"""Settings for somebody who waits at a terminal: the same, with no single step longer than they ask."""

from __future__ import annotations

from sealroute.settings.models import Settings

_STEPS = ("connect_timeout_seconds", "greeting_timeout_seconds", "tls_timeout_seconds", "command_timeout_seconds")


def hurried(settings: Settings, seconds: float | None) -> Settings:
    """Every look-up, fetch, connection and reply within `seconds`; None leaves the settings as they are."""
    if seconds is None:
        return settings
    delivery, resolver, sts = settings.delivery, settings.resolver, settings.mta_sts
    steps = {name: min(seconds, getattr(delivery, name)) for name in _STEPS}
    return settings.model_copy(
        update={
            "delivery": delivery.model_copy(update=steps),
            "resolver": resolver.model_copy(update={"timeout_seconds": min(seconds, resolver.timeout_seconds)}),
            "mta_sts": sts.model_copy(update={"timeout_seconds": min(seconds, sts.timeout_seconds)}),
        }
    )
