"""What one of several workers may use of what the settings allow the whole gateway.

Divided: what protects others (connections out, messages a minute) and this machine's memory.  Not divided: incoming
connections, since the kernel does not spread a client's connections evenly, and one that keeps to its limit must not be
refused.  A connector's limits are not settings; services/lanes divides them.
"""

from __future__ import annotations

from sealroute.settings.models import Settings


def share(settings: Settings, workers: int) -> Settings:
    """The settings of each of so many workers; never more in all than was allowed, except that each may have one."""
    if workers == 1:
        return settings
    delivery, limits, auth = settings.delivery, settings.limits, settings.auth

    def part(whole: int) -> int:
        return max(1, whole // workers)

    per_destination = part(delivery.max_connections_per_destination)
    rate = delivery.max_messages_per_minute_per_destination
    out = {
        "max_connections": part(delivery.max_connections),
        "max_connections_per_destination": per_destination,
        "max_messages_per_minute_per_destination": part(rate) if rate else 0,
    }
    budget = max(limits.message_bytes, part(limits.content_budget_bytes))  # the largest message must fit
    return settings.model_copy(
        update={
            "delivery": delivery.model_copy(update=out),
            "limits": limits.model_copy(update={"content_budget_bytes": budget}),
            "auth": auth.model_copy(update={"concurrency": part(auth.concurrency), "waiting": auth.waiting // workers}),
        }
    )
