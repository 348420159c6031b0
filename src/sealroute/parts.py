"""The parts that single commands need, each opened from the settings; the gateway (app.py) opens the same ones.

What a part needs is imported when it is opened, so that `sealroute queue list` pays for the store only, not for the engine.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealroute.net.webhook import Webhook
    from sealroute.ports import Clock, PolicyFetcher, Resolver, ShowingResolver
    from sealroute.services.canary import Canary
    from sealroute.services.compare_resolvers import Witness
    from sealroute.settings import Settings
    from sealroute.store.store import AdminStore


def open_store_for(settings: Settings) -> AdminStore:
    """The store as commands use it."""
    from sealroute.store.store import open_store

    return open_store(settings.store.url).admin


def open_resolver(settings: Settings) -> ShowingResolver:
    """The resolver that the settings ask for; call it inside a running event loop."""
    from sealroute.settings.outbound import ResolverKind

    wanted = settings.resolver
    if wanted.kind is ResolverKind.AD:
        from sealroute.net.resolver_ad import AdBitConfig, AdBitResolver

        return AdBitResolver(AdBitConfig(wanted.servers, trusted=wanted.trusted, timeout_seconds=wanted.timeout_seconds))
    from sealroute.net.anchors import iana_trust_anchors, read_trust_anchors
    from sealroute.net.resolver_unbound import UnboundResolver
    from sealroute.net.unbound_config import UnboundConfig

    anchors = iana_trust_anchors() if wanted.trust_anchor_file is None else read_trust_anchors(wanted.trust_anchor_file)
    return UnboundResolver(
        UnboundConfig(
            forwarders=wanted.forwarders,
            stub_zones=tuple((stub.zone, address) for stub in wanted.stub_zones for address in stub.addresses),
            trust_anchors=anchors,
            root_hints=text_of(wanted.root_hints),
            special_names=wanted.special_names,
            timeout_seconds=wanted.timeout_seconds,
        )
    )


def open_canary(settings: Settings, resolver: Resolver, clock: Clock) -> Canary:
    """The gate that says whether the resolver may be believed."""
    from sealroute.net.resolver_ad import AdBitResolver
    from sealroute.services.canary import Canary, CanaryNames

    wanted = settings.resolver
    names = CanaryNames(*wanted.canaries) if wanted.canaries is not None else None
    interval = timedelta(seconds=wanted.canary_interval_seconds)
    if isinstance(resolver, AdBitResolver):
        # Another one for each round: what it remembers would speak for a server that has stopped validating since.
        config = resolver.config
        return Canary(lambda: AdBitResolver(config), names, clock, interval, resolver.warning, resolver.forget)
    return Canary(lambda: resolver, names, clock, interval)


def describe_resolver(settings: Settings) -> dict[str, Any]:
    """What is configured, as plain values: kind, whom it asks, and what it believes."""
    wanted = settings.resolver
    if wanted.kind.value == "ad":
        return {"kind": "ad", "servers": list(wanted.servers), "trusted": wanted.trusted}
    from sealroute.net.anchors import describe, iana_trust_anchors, read_trust_anchors

    own = wanted.trust_anchor_file
    anchors = iana_trust_anchors() if own is None else read_trust_anchors(own)
    return {
        "kind": "unbound",
        "forwarders": list(wanted.forwarders),
        "stubZones": [f"{stub.zone} at {', '.join(stub.addresses)}" for stub in wanted.stub_zones],
        "rootHints": text_of(wanted.root_hints),
        "trustAnchorFile": text_of(own),
        "trustAnchors": [describe(anchor) for anchor in anchors],
    }


@contextlib.asynccontextmanager
async def open_resolver_tools(settings: Settings) -> AsyncIterator[tuple[Resolver, Canary]]:
    """What `sealroute resolver check` needs."""
    from sealroute.net.clock import SystemClock

    resolver = open_resolver(settings)
    try:
        yield resolver, open_canary(settings, resolver, SystemClock())
    finally:
        await resolver.close()


def open_witness(address: str, step_seconds: float | None) -> Witness:
    """A resolver to compare with, `ip` or `ip@port`; raises OperatorError when that is no such address.

    Its AD bit is read even where it is not believed, so that its claim can be shown as one.
    """
    from sealroute.net.resolver_ad import AdBitConfig, AdBitResolver
    from sealroute.services.compare_resolvers import Witness

    timeout_seconds = step_seconds or 10.0
    judged = AdBitResolver(AdBitConfig((address,), timeout_seconds=timeout_seconds))
    resolver = AdBitResolver(AdBitConfig((address,), trusted=True, timeout_seconds=timeout_seconds))
    why_not = "" if judged.trusted else "not on this machine: its AD bit could have been changed on the way"
    return Witness(address, resolver, judged.trusted, why_not)


def open_fetcher(settings: Settings, resolver: Resolver) -> PolicyFetcher:
    """HTTPS for MTA-STS policies."""
    from sealroute.net.https import FetchRules, HttpsPolicyFetcher
    from sealroute.net.tls import policy_client_context

    wanted = settings.mta_sts
    context = policy_client_context(text_of(wanted.ca_file))
    rules = FetchRules(
        port=wanted.https_port,
        timeout_seconds=wanted.timeout_seconds,
        allow_private=settings.delivery.allow_private_destinations,
    )
    return HttpsPolicyFetcher(resolver, context, rules)


def open_webhook(settings: Settings) -> Webhook | None:
    """Where alerts are posted; None: nowhere.  Raises OperatorError when the secret or the authorities cannot be read."""
    from sealroute.base.errors import OperatorError

    wanted = settings.alerts
    if wanted.webhook_url is None or wanted.webhook_secret_file is None:
        return None
    from sealroute.net.tls import policy_client_context
    from sealroute.net.webhook import Webhook

    path = wanted.webhook_secret_file
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise OperatorError.one("alerts.webhook_secret_file", f"{path} cannot be read: {error.strerror}.") from None
    if not secret:
        raise OperatorError.one("alerts.webhook_secret_file", f"{path} is empty.", "`openssl rand -hex 32` makes a secret.")
    return Webhook(wanted.webhook_url, secret, policy_client_context(text_of(wanted.webhook_ca_file)))


@contextlib.asynccontextmanager
async def open_policy_tools(config: Path | None) -> AsyncIterator[tuple[Resolver, PolicyFetcher]]:
    """What `sealroute mta-sts fetch` needs."""
    from sealroute.settings import load

    settings = load(config)
    resolver = open_resolver(settings)
    fetcher = open_fetcher(settings, resolver)
    try:
        yield resolver, fetcher
    finally:
        await fetcher.close()
        await resolver.close()


def text_of(path: Path | None) -> str | None:
    """A file name as text, for what takes no Path."""
    return None if path is None else str(path)
