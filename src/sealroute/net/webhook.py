"""webhook: POSTs one alert to the operator's HTTPS endpoint, signed.

The certificate must hold by PKIX for the host's name; no redirect, no proxy, no environment, no kept connection.  Any 2xx is a
yes; of the answer's body nothing is read.  Time is bounded as a whole.  What is signed is in policy/alerts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from sealroute.policy.alerts import signature

TIMEOUT_SECONDS = 20.0
"""Shorter than the shortest wait between two tries, so that no other node tries meanwhile."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """services/alert.Post over the network."""

    url: str
    secret: bytes = field(repr=False)
    context: Any = field(repr=False)
    """net/tls `policy_client_context`."""
    timeout_seconds: float = TIMEOUT_SECONDS

    async def __call__(self, identity: str, body: bytes, at: datetime) -> str:
        """Empty when it was taken, else why not."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "sealroute",
            "Sealroute-Alert-Id": identity,
            "Sealroute-Signature": signature(self.secret, at, body),
        }
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),
                httpx.AsyncClient(verify=self.context, trust_env=False, timeout=self.timeout_seconds) as client,
                client.stream("POST", self.url, content=body, headers=headers) as response,
            ):
                return "" if response.is_success else f"it answered with HTTP status {response.status_code}"
        except (TimeoutError, httpx.TimeoutException):
            return f"it did not answer within {self.timeout_seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return str(error) or type(error).__name__
