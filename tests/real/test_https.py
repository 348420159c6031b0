"""The policy fetcher against real TLS and HTTP servers on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
import pytest

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.net.https import FetchRules, HttpsPolicyFetcher
from sealroute.net.tls import policy_client_context
from sealroute.policy.evidence import FetchFailure
from sealroute.ports import CachedPolicy, Fetched, FetchFailed
from sealroute.services.sts import StsPolicies
from simnet.pki import Ca
from simnet.policyhost import Behaviour, Certificate, PolicyHost, policy_text
from tests.busy import busy_loop

DOMAIN = "contoso.test"
HOST = "mta-sts.contoso.test"
TEXT = policy_text("mx.contoso.test")


@dataclass
class Names:
    """A resolver that knows policy hosts only."""

    a_records: tuple[str, ...] = ("127.0.0.1",)
    aaaa_records: tuple[str, ...] = ()
    failing: dict[str, Security] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def _answer(self, name: str, rtype: str, records: tuple[str, ...]) -> Answer[str]:
        self.asked.append(f"{name} {rtype}")
        if rtype in self.failing:
            return Answer(name, rtype, Outcome.FAILED, self.failing[rtype], detail="signature expired")
        return Answer(name, rtype, Outcome.DATA if records else Outcome.NODATA, Security.INSECURE, records, 60)

    async def a(self, name: str) -> Answer[str]:
        return self._answer(name, "A", self.a_records)

    async def aaaa(self, name: str) -> Answer[str]:
        return self._answer(name, "AAAA", self.aaaa_records)

    async def mx(self, name: str) -> Answer[Mx]:
        raise NotImplementedError

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        raise NotImplementedError

    async def txt(self, name: str) -> Answer[str]:
        raise NotImplementedError

    async def close(self) -> None: ...


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca("Policy hosts")


@pytest.fixture
async def host(ca: Ca) -> AsyncIterator[PolicyHost]:
    async with PolicyHost(ca) as host:
        yield host


@pytest.fixture(scope="module")
def ca_file(ca: Ca, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(ca.pem)
    return path


@dataclass
class Lab:
    """A fetcher that trusts our authority and talks to our host."""

    host: PolicyHost
    ca_file: Path

    def fetcher(self, names: Names | None = None, *, timeout_seconds: float = 10, concurrency: int = 4) -> HttpsPolicyFetcher:
        rules = FetchRules(self.host.port, timeout_seconds, concurrency, allow_private=True)
        return HttpsPolicyFetcher(names or Names(), policy_client_context(str(self.ca_file)), rules)

    async def fetch(self, names: Names | None = None, *, timeout_seconds: float = 10) -> Fetched | FetchFailed:
        return await self.fetcher(names, timeout_seconds=timeout_seconds).fetch(DOMAIN)


@pytest.fixture
def lab(host: PolicyHost, ca_file: Path) -> Lab:
    return Lab(host, ca_file)


def fetch_error(detail: str) -> FetchFailed:
    return FetchFailed(FetchFailure.FETCH_ERROR, detail)


@pytest.mark.parametrize("behaviour", [Behaviour.OK, Behaviour.CHUNKED])
async def test_a_good_policy(lab: Lab, behaviour: Behaviour) -> None:
    site = lab.host.serve(DOMAIN, TEXT, behaviour=behaviour)
    names = Names()
    assert await lab.fetch(names) == Fetched(TEXT.encode())
    assert site.hits == 1
    assert sorted(names.asked) == [f"{HOST} A", f"{HOST} AAAA"]


async def test_sites_are_told_apart_and_policies_may_change(lab: Lab) -> None:
    site = lab.host.serve(DOMAIN, TEXT)
    other = lab.host.serve("fabrikam.test", policy_text("mx.fabrikam.test"))
    fetcher = lab.fetcher()
    assert await fetcher.fetch("fabrikam.test") == Fetched(other.text.encode())
    site.text = policy_text("mx2.contoso.test", mode="testing")
    assert await fetcher.fetch(DOMAIN) == Fetched(site.text.encode())
    assert (site.hits, other.hits) == (1, 1)
    await fetcher.close()


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (Behaviour.NOT_FOUND, "The policy host {} answered with HTTP status 404 instead of 200."),
        (Behaviour.SERVER_ERROR, "The policy host {} answered with HTTP status 503 instead of 200."),
        (Behaviour.REDIRECT, "The policy host {} answered with HTTP status 301; redirects are not followed."),
        (Behaviour.OVERSIZE, "The policy host {} sent more than 65536 octets."),
        (Behaviour.ENDLESS, "The policy host {} sent more than 65536 octets."),
        (Behaviour.HTML, "The policy host {} serves the policy as text/html instead of text/plain."),
        (Behaviour.NO_TYPE, "The policy host {} serves the policy as no media type instead of text/plain."),
        (Behaviour.GZIP, "The policy host {} serves the policy in the content coding gzip, which was not asked for."),
        (
            Behaviour.UNTIL_CLOSE,
            "The policy host {} does not say where the policy ends (neither Content-Length nor chunked).",
        ),
    ],
)
async def test_what_is_no_policy_file(lab: Lab, behaviour: Behaviour, detail: str) -> None:
    site = lab.host.serve(DOMAIN, TEXT, behaviour=behaviour)
    assert await lab.fetch() == fetch_error(detail.format(HOST))
    assert site.hits == 1


@pytest.mark.parametrize("behaviour", [Behaviour.CUT_SHORT, Behaviour.NOT_HTTP])
async def test_what_is_no_whole_response(lab: Lab, behaviour: Behaviour) -> None:
    lab.host.serve(DOMAIN, TEXT, behaviour=behaviour)
    result = await lab.fetch()
    assert isinstance(result, FetchFailed)
    assert result.failure is FetchFailure.FETCH_ERROR
    assert result.detail.startswith(f"The policy could not be fetched from {HOST}: ")


@pytest.mark.parametrize("behaviour", [Behaviour.HANG, Behaviour.DRIP])
async def test_a_host_that_takes_too_long(lab: Lab, behaviour: Behaviour) -> None:
    lab.host.serve(DOMAIN, TEXT, behaviour=behaviour)
    expected = fetch_error(f"The policy host {HOST} did not answer in full within 0.7 s.")
    assert await lab.fetch(timeout_seconds=0.7) == expected


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: TEXT/Plain ;charset=us-ascii\r\n\r\nhi", None),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi and more", None),
        (b"HTTP/1.1 204 No\r\n\r\n", f"The policy host {HOST} answered with HTTP status 204 instead of 200."),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plainer\r\n\r\nhi",
            f"The policy host {HOST} serves the policy as text/plainer instead of text/plain.",
        ),
    ],
)
async def test_odd_responses(lab: Lab, raw: bytes, detail: str | None) -> None:
    lab.host.serve(DOMAIN, TEXT, behaviour=Behaviour.RAW).raw = raw
    assert await lab.fetch() == (Fetched(b"hi") if detail is None else fetch_error(detail))


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (Certificate.SELF_SIGNED, "self"),
        (Certificate.UNKNOWN_CA, "unable to get local issuer certificate"),
        (Certificate.WRONG_NAME, f"Hostname mismatch, certificate is not valid for '{HOST}'"),
        (Certificate.NAME_IN_SUBJECT_ONLY, f"Hostname mismatch, certificate is not valid for '{HOST}'"),
        (Certificate.EXPIRED, "certificate has expired"),
        (Certificate.NOT_YET_VALID, "certificate is not yet valid"),
    ],
)
async def test_a_certificate_that_does_not_hold(lab: Lab, certificate: Certificate, words: str) -> None:
    site = lab.host.serve(DOMAIN, TEXT, certificate)
    result = await lab.fetch()
    assert isinstance(result, FetchFailed)
    assert result.failure is FetchFailure.WEBPKI_INVALID
    assert result.detail.startswith(f"The certificate of the policy host {HOST} does not hold: {words}")
    assert result.detail.endswith(".")
    assert site.hits == 0


async def test_a_handshake_that_fails_for_another_reason_is_no_certificate_failure(lab: Lab) -> None:
    result = await lab.fetch()
    assert isinstance(result, FetchFailed)
    assert result.failure is FetchFailure.FETCH_ERROR
    assert lab.host.handshakes_refused == 1


async def test_a_server_that_does_not_speak_tls(ca_file: Path) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: text/plain\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        rules = FetchRules(server.sockets[0].getsockname()[1], 5, allow_private=True)
        result = await HttpsPolicyFetcher(Names(), policy_client_context(str(ca_file)), rules).fetch(DOMAIN)
    assert isinstance(result, FetchFailed)
    assert result.failure is FetchFailure.FETCH_ERROR
    assert result.detail.startswith(f"The policy could not be fetched from {HOST}: ")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00" * 100,
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\nhello",
        HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: \xff\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
async def test_hostile_responses_are_failures_with_one_bounded_sentence(lab: Lab, raw: bytes) -> None:
    lab.host.serve(DOMAIN, TEXT, behaviour=Behaviour.RAW).raw = raw
    result = await lab.fetch()
    assert isinstance(result, FetchFailed)
    assert result.failure is FetchFailure.FETCH_ERROR
    assert len(result.detail) < 500
    assert "\n" not in result.detail


# ------------------------------------------------------------------------------------------------ names and addresses


async def test_all_addresses_are_tried(lab: Lab) -> None:
    lab.host.serve(DOMAIN, TEXT)
    names = Names(("127.0.0.99", "127.0.0.1"), ("::1",))
    assert await lab.fetch(names) == Fetched(TEXT.encode())


async def test_an_address_that_stays_silent_is_given_up_for_the_next(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.host.serve(DOMAIN, TEXT)
    connect = httpcore.AnyIOBackend.connect_tcp

    async def silent(backend: httpcore.AnyIOBackend, host: str, *rest: Any) -> Any:
        if host == "127.0.0.99":  # no address on loopback swallows packets, so this one is made to
            await asyncio.sleep(3600)
        return await connect(backend, host, *rest)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", silent)
    assert await lab.fetch(Names(("127.0.0.99", "127.0.0.1")), timeout_seconds=2) == Fetched(TEXT.encode())


async def test_no_address_answers(ca_file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        rules = FetchRules(port, 5, allow_private=True)
        fetcher = HttpsPolicyFetcher(Names(("127.0.0.1", "127.0.0.2")), policy_client_context(str(ca_file)), rules)
        result = await fetcher.fetch(DOMAIN)
    refused = "(127.0.0.1: Connection refused; 127.0.0.2: Connection refused)"
    assert result == fetch_error(f"The policy could not be fetched from {HOST}: no connection to port {port} {refused}.")


@pytest.mark.parametrize(
    ("names", "detail"),
    [
        (Names(()), f"The policy host {HOST} has no address."),
        (
            Names((), failing={"A": Security.BOGUS}),
            f"The address of the policy host {HOST} is not known: A is bogus (signature expired).",
        ),
        (
            Names((), failing={"AAAA": Security.UNKNOWN}),
            f"The address of the policy host {HOST} is not known: AAAA is unknown (signature expired).",
        ),
    ],
)
async def test_names_that_lead_nowhere(lab: Lab, names: Names, detail: str) -> None:
    assert await lab.fetch(names) == fetch_error(detail)


async def test_one_known_family_is_enough(lab: Lab) -> None:
    lab.host.serve(DOMAIN, TEXT)
    assert await lab.fetch(Names(failing={"AAAA": Security.BOGUS})) == Fetched(TEXT.encode())


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "ff0e::1"]
)
async def test_addresses_that_are_not_public_are_left_alone(ca_file: Path, address: str) -> None:
    names = Names((), (address,)) if ":" in address else Names((address,))
    fetcher = HttpsPolicyFetcher(names, policy_client_context(str(ca_file)))
    assert await fetcher.fetch(DOMAIN) == fetch_error(f"The policy host {HOST} has no public address, only {address}.")


@pytest.mark.parametrize("domain", ["", "a..b", "a" * 64, "a." * 125 + "test", "b\x00d.test"])
async def test_what_cannot_be_a_host(ca_file: Path, domain: str) -> None:
    result = await HttpsPolicyFetcher(Names(), policy_client_context(str(ca_file))).fetch(domain)
    assert isinstance(result, FetchFailed)
    assert "cannot be a host" in result.detail


# ------------------------------------------------------------------------------------------------------ many at once


async def test_many_fetches_share_the_places(lab: Lab) -> None:
    sites = [lab.host.serve(f"d{number}.test", policy_text(f"mx.d{number}.test")) for number in range(12)]
    fetcher = lab.fetcher(concurrency=3)
    results = await asyncio.gather(*(fetcher.fetch(site.domain) for site in sites))
    assert results == [Fetched(site.text.encode()) for site in sites]
    assert [site.hits for site in sites] == [1] * 12


async def test_a_fetch_does_not_fail_because_our_own_loop_is_late(lab: Lab) -> None:
    """A policy that cannot be fetched does not apply: to be too busy for it would weaken its domain's mail."""
    site = lab.host.serve(DOMAIN, TEXT)
    started = time.monotonic()
    with busy_loop(0.1):
        assert await lab.fetch(timeout_seconds=0.7) == Fetched(TEXT.encode())
    assert site.hits == 1
    assert time.monotonic() - started > 0.7, "by the clock the time was over"


async def test_a_fetch_that_is_cancelled_gives_its_place_back(lab: Lab) -> None:
    lab.host.serve("hang.test", TEXT, behaviour=Behaviour.HANG)
    lab.host.serve(DOMAIN, TEXT)
    fetcher = lab.fetcher(concurrency=1)
    hanging = asyncio.create_task(fetcher.fetch("hang.test"))
    waiting = asyncio.create_task(fetcher.fetch(DOMAIN))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    hanging.cancel()
    assert await asyncio.wait_for(waiting, 10) == Fetched(TEXT.encode())


async def test_the_fetcher_says_what_it_is(lab: Lab) -> None:
    assert repr(lab.fetcher()) == (
        f"<HttpsPolicyFetcher FetchRules(port={lab.host.port}, timeout_seconds=10, concurrency=4, allow_private=True)>"
    )


async def test_proxies_of_the_environment_are_not_used(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    lab.host.serve(DOMAIN, TEXT)
    assert await lab.fetch() == Fetched(TEXT.encode())


# ------------------------------------------------------------------------------------- together with the policy's life


@dataclass
class Store:
    """A policy cache in a dictionary, and a clock that stands where it is put."""

    rows: dict[str, CachedPolicy] = field(default_factory=dict)
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def get(self, domain: str) -> CachedPolicy | None:
        return self.rows.get(domain)

    async def put(self, policy: CachedPolicy) -> None:
        self.rows[policy.domain] = policy

    async def remove(self, domain: str) -> None:
        self.rows.pop(domain, None)

    async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
        return [row for row in self.rows.values() if row.expires_at < before][:limit]

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        await asyncio.sleep(0)


class Published(Names):
    """A resolver whose `_mta-sts` record can be changed."""

    record = "v=STSv1; id=1"

    async def txt(self, name: str) -> Answer[str]:
        return Answer(name, "TXT", Outcome.DATA, Security.INSECURE, (self.record,), 300)


async def test_a_policy_lives_through_trouble_and_changes_with_its_id(lab: Lab) -> None:
    site = lab.host.serve(DOMAIN, TEXT)
    names, store = Published(), Store()
    policies = StsPolicies(names, lab.fetcher(names), store, store)

    async def told(*, after_seconds: float = 0) -> tuple[str, str, str]:
        store.moment += timedelta(seconds=after_seconds)
        evidence = await policies.evidence(DOMAIN)
        failure = evidence.failure.value if evidence.failure else ""
        return evidence.source.value, evidence.policy_id, failure

    assert await told() == ("fetched", "1", "")
    names.record = "v=STSv1; id=2"
    site.behaviour = Behaviour.NOT_FOUND
    assert await told(after_seconds=300) == ("cached", "1", "sts-policy-fetch-error")
    lab.host.serve(DOMAIN, policy_text("mx2.contoso.test"), Certificate.EXPIRED)
    assert await told(after_seconds=300) == ("cached", "1", "sts-webpki-invalid")
    lab.host.serve(DOMAIN, "mode: enforce")
    assert await told(after_seconds=300) == ("cached", "1", "sts-policy-invalid")
    site = lab.host.serve(DOMAIN, policy_text("mx2.contoso.test"))
    assert await told(after_seconds=299) == ("cached", "1", "sts-policy-invalid")
    assert await told(after_seconds=1) == ("fetched", "2", "")
    store.moment += timedelta(days=6)
    assert await policies.refresh_due(lambda: 0.5) == 1
    assert site.hits == 2
    assert store.rows[DOMAIN].expires_at == store.moment + timedelta(days=7)
    await policies.close()
