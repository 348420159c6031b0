"""Check a user name and password, and slow down whoever guesses.

Rules that hold here:
- The same work is done for a user who does not exist as for a wrong password: one argon2 check.
- Checks run in their own threads, so many at once and no more; beyond a bounded queue nothing is checked at all.
- After `free_failures` failures a client (an IPv4 address, an IPv6 /64) waits, twice as long each time; while it waits
  not even a right password is looked at.  One success clears it; so does `forget_seconds` without a failure.

A password is never logged nor kept.  Source of the parameters: [RFC 9106 §4], second recommended option.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sealroute.ports import Users
from sealroute.proto.smtp.session import AuthAccepted, AuthOutcome, AuthRefused, AuthThrottled, AuthUnavailable, client_key

log = structlog.get_logger(__name__)

_MAX_CLIENTS = 10_000
"""Clients whose failures are remembered; the longest silent is forgotten first."""


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """How much checking goes on at once, and how guessing is slowed."""

    concurrency: int = 2
    waiting: int = 64
    free_failures: int = 3
    max_delay_seconds: float = 300.0
    forget_seconds: float = 3600.0


def hash_password(password: str) -> str:
    """The argon2id hash to keep for a user."""
    return PasswordHasher().hash(password)


class Authenticator:
    """The driver of SMTP sessions calls it once per AUTH."""

    def __init__(
        self,
        users: Users,
        config: AuthConfig | None = None,
        hasher: PasswordHasher | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = users
        self._config = config or AuthConfig()
        self._hasher = hasher or PasswordHasher()
        self._failures = Failures(self._config, now)
        self._pool = ThreadPoolExecutor(self._config.concurrency, thread_name_prefix="argon2")
        self._under_way = 0
        self._decoy = ""

    async def __call__(self, user: str, password: str, client_ip: str) -> AuthOutcome:
        """One check; never raises for a user store that fails."""
        client = client_key(client_ip)
        wait = self._failures.wait_seconds(client)
        if wait > 0:
            return AuthThrottled(int(wait) + 1)
        if self._under_way >= self._config.concurrency + self._config.waiting:
            return AuthUnavailable()
        self._under_way += 1
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(self._pool, self._check, user, password)
        except Exception as error:
            # No traceback: some renderers print its local variables, and the password is one.
            log.error("password not checked", user=user, client_ip=client_ip, kind=type(error).__name__, error=str(error))
            return AuthUnavailable()
        finally:
            self._under_way -= 1
        if isinstance(outcome, AuthAccepted):
            self._failures.clear(client)
        else:
            self._failures.add(client)
            log.warning("authentication failed", user=user, client_ip=client_ip)
        return outcome

    def close(self) -> None:
        """Let go of the threads; a check under way is finished."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, user: str, password: str) -> AuthAccepted | AuthRefused:
        known = self._users.hash_of(user)
        organization = self._users.organization_of(user)
        if not self._decoy:
            self._decoy = self._hasher.hash("nobody's password")
        right = self._verify(known or self._decoy, password)
        if known is None or organization is None or not right:
            return AuthRefused()
        return AuthAccepted(user, organization)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


class Failures:
    """Failed logins per client, bounded in number and in time."""

    def __init__(self, config: AuthConfig, now: Callable[[], float]) -> None:
        self._config = config
        self._now = now
        self._clients: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_seconds(self, client: str) -> float:
        """How long the client has yet to wait; 0 when it need not."""
        count, last = self._clients.get(client, (0, 0.0))
        beyond = count - self._config.free_failures
        if beyond < 0:
            return 0.0
        delay = min(self._config.max_delay_seconds, 2.0 ** min(beyond, 30))
        return max(0.0, last + delay - self._now())

    def add(self, client: str) -> None:
        count, last = self._clients.pop(client, (0, 0.0))
        now = self._now()
        if now - last > self._config.forget_seconds:
            count = 0
        self._clients[client] = (count + 1, now)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)

    def clear(self, client: str) -> None:
        self._clients.pop(client, None)
