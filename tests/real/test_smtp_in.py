"""Listeners over real sockets, on asyncio and on uvloop: smtplib, raw sockets, TLS, time-outs, limits, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import inspect
import smtplib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealroute.base.mail import Envelope, Origin
from sealroute.base.status import Enhanced, Reply
from sealroute.net.smtp_in import ListenerConfig, ReceiveConfig, ReceiveLimits, SmtpIn
from sealroute.net.tls import server_context
from sealroute.proto.smtp.session import AuthAccepted, AuthOutcome, AuthRefused, ServerLimits, SessionFacts

pytestmark = pytest.mark.real
T = TypeVar("T")
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
WAIT = 10.0
"""Seconds after which a test gives up; none waits that long when things work."""


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test once on asyncio's own loop and once on uvloop."""

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def run(loop: str, **arguments: Any) -> None:
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test(**arguments), 3 * WAIT))

    asked = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.Signature([*asked, loop])
    vars(run).update(__signature__=signature)
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return cast("Callable[..., None]", run)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "gw.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@dataclass
class Gateway:
    """A listener whose queue is a list."""

    limits: ReceiveLimits = field(default_factory=ReceiveLimits)
    session_limits: ServerLimits = field(default_factory=ServerLimits)
    stored: list[tuple[Envelope, bytes, SessionFacts]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Storing waits for it."""

    def __post_init__(self) -> None:
        self.open.set()
        config = ReceiveConfig("gw.example.com", limits=self.limits, session_limits=self.session_limits)
        self.smtp = SmtpIn(config, self.accept, self.check)

    async def accept(self, envelope: Envelope, content: bytes, facts: SessionFacts) -> Reply:
        await self.open.wait()
        self.stored.append((envelope, content, facts))
        return Reply(250, ("queued",), Enhanced(2, 6, 0))

    async def check(self, user: str, password: str, client_ip: str) -> AuthOutcome:
        await asyncio.sleep(0)
        return AuthAccepted(user, "fabrikam") if password == "secret" else AuthRefused()

    async def listen(self, **options: Any) -> int:
        options.setdefault("networks", LOOPBACK)
        bound = await self.smtp.listen(ListenerConfig("127.0.0.1", 0, **options))
        return bound[0][1]


@contextlib.asynccontextmanager
async def gateway(limits: ReceiveLimits | None = None, session_limits: ServerLimits | None = None) -> AsyncIterator[Gateway]:
    made = Gateway(limits or ReceiveLimits(), session_limits or ServerLimits())
    try:
        yield made
    finally:
        made.open.set()
        await made.smtp.close(1)
        assert made.smtp.counters.held_bytes == 0
        assert made.smtp.counters.connections_open == 0


async def in_thread(work: Callable[[], T]) -> T:
    return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work), WAIT)


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def raw(port: int, greeting: bool = True, receive_bytes: int = 0) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(WAIT)
        connection.connect(("127.0.0.1", port))
        if greeting:
            assert connection.recv(1000).startswith(b"220 ")
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            out += part
    return out


def until(connection: socket.socket, end: bytes) -> bytes:
    out = b""
    while not out.endswith(end):
        part = connection.recv(65536)
        assert part, f"closed after {out!r}"
        out += part
    return out


ENVELOPE = b"EHLO c.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"


@both_loops
async def test_smtplib_relay() -> None:
    body = "Subject: x\r\n\r\n.dot\r\n..\r\n" + "x" * 200_000 + "\r\n"
    async with gateway() as gw:
        port = await gw.listen()

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=WAIT) as client:
                for _ in range(3):
                    assert client.sendmail("a@example.com", ["b@example.net", "c@example.org"], body) == {}

        await in_thread(send)
        assert [content for _, content, _ in gw.stored] == [body.encode()] * 3
        facts = gw.stored[0][2]
        assert (facts.client_ip, facts.helo, facts.tls_version) == ("127.0.0.1", "client.example.com", "")
        assert (gw.smtp.counters.messages_accepted, gw.smtp.counters.connections) == (3, 1)


@both_loops
async def test_a_client_that_speaks_tls_before_the_loop_gets_to_it(certificate: Path) -> None:
    """The ClientHello lies in the socket before the connection is accepted, as on a busy machine; it must not pass for SMTP."""
    async with gateway() as gw:
        port = await gw.listen(tls_context=server_context(str(certificate)), implicit_tls=True)

        def greeting() -> int:
            with smtplib.SMTP_SSL("127.0.0.1", port, timeout=WAIT, context=client_tls()) as client:
                return client.noop()[0]

        asking = asyncio.get_running_loop().run_in_executor(None, greeting)
        time.sleep(0.3)
        assert await asking == 250


@pytest.mark.parametrize("implicit", [False, True])
@both_loops
async def test_smtplib_submission(certificate: Path, implicit: bool) -> None:
    async with gateway() as gw:
        context = server_context(str(certificate))
        port = await gw.listen(kind=Origin.SUBMISSION, tls_context=context, implicit_tls=implicit)

        def send() -> None:
            client: smtplib.SMTP
            if implicit:
                client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=WAIT, context=client_tls())
            else:
                client = smtplib.SMTP("127.0.0.1", port, timeout=WAIT)
                client.ehlo()
                assert not client.has_extn("auth")
                client.starttls(context=client_tls())
            with client:
                client.ehlo()
                assert client.has_extn("requiretls")
                assert not client.has_extn("starttls")
                with pytest.raises(smtplib.SMTPSenderRefused, match=r"5\.7\.0 Authentication required"):
                    client.sendmail("a@example.com", ["b@example.net"], "x\r\n")
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.login("joe", "wrong")
                client.login("joe", "secret")
                assert client.sendmail("a@example.com", ["b@example.net"], "x" * 100_000 + "\r\n") == {}

        await in_thread(send)
        (stored,) = gw.stored
        assert stored[1] == b"x" * 100_000 + b"\r\n"
        assert (stored[2].user, stored[2].organization, stored[2].tls_version) == ("joe", "fabrikam", "TLSv1.3")
        assert stored[2].tls_cipher


@both_loops
async def test_a_client_outside_the_networks() -> None:
    async with gateway() as gw:
        port = await gw.listen(networks=(ip_network("192.0.2.0/24"),))

        def send() -> None:
            with (
                smtplib.SMTP("127.0.0.1", port, timeout=WAIT) as client,
                pytest.raises(smtplib.SMTPSenderRefused, match=r"5\.7\.1 Relay access denied: 127\.0\.0\.1"),
            ):
                client.sendmail("a@example.com", ["b@example.net"], "x\r\n")

        await in_thread(send)
        assert gw.stored == []


@both_loops
async def test_all_addresses() -> None:
    async with gateway() as gw:
        bound = await gw.smtp.listen(ListenerConfig("::", 0, networks=LOOPBACK))
        for address, port in bound:

            def greet(host: str = "::1" if ":" in address else "127.0.0.1", port: int = port) -> bytes:
                with socket.create_connection((host, port), timeout=WAIT) as connection:
                    return connection.recv(100)

            assert (await in_thread(greet)).startswith(b"220 ")
        assert "0.0.0.0" in [address for address, _ in bound]


@both_loops
async def test_bytes_behind_starttls_are_not_executed(certificate: Path) -> None:
    async with gateway() as gw:
        port = await gw.listen(tls_context=server_context(str(certificate)))

        def attack() -> bytes:
            with raw(port) as connection:
                connection.sendall(b"EHLO x\r\n")
                until(connection, b"STARTTLS\r\n")
                connection.sendall(b"STARTTLS\r\n" + ENVELOPE + b"DATA\r\n.\r\n")
                return until_closed(connection)

        assert (await in_thread(attack)).startswith(b"503 5.5.1 ")
        assert gw.stored == []


@both_loops
async def test_plaintext_instead_of_a_handshake(certificate: Path) -> None:
    async with gateway() as gw:
        port = await gw.listen(tls_context=server_context(str(certificate)))

        def attack() -> bytes:
            with raw(port) as connection:
                connection.sendall(b"EHLO x\r\nSTARTTLS\r\n")
                until(connection, b"220 2.0.0 Ready to start TLS\r\n")
                connection.sendall(ENVELOPE + b"DATA\r\n.\r\nQUIT\r\n")
                return until_closed(connection)

        answer = await in_thread(attack)
        assert b"250" not in answer
        assert gw.stored == []
        assert gw.smtp.counters.handshakes_failed == 1


@both_loops
async def test_a_client_that_speaks_at_once_after_the_handshake(certificate: Path) -> None:
    """TLS 1.3 lets EHLO travel with the client's last handshake bytes; it must wait for us, not be taken for plaintext."""
    async with gateway() as gw:
        port = await gw.listen(tls_context=server_context(str(certificate)))

        def talk() -> bytes:
            with raw(port) as connection:
                connection.sendall(b"EHLO x\r\nSTARTTLS\r\n")
                until(connection, b"220 2.0.0 Ready to start TLS\r\n")
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = client_tls().wrap_bio(incoming, outgoing)
                for _ in range(10):
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        connection.sendall(outgoing.read())
                        incoming.write(connection.recv(65536))
                tls.write(ENVELOPE + b"DATA\r\n")
                connection.sendall(outgoing.read())
                out = b""
                while not out.endswith(b"354 End with <CR><LF>.<CR><LF>\r\n"):
                    try:
                        out += tls.read()
                    except ssl.SSLWantReadError:
                        incoming.write(connection.recv(65536))
                return out

        for _ in range(5):
            assert (await in_thread(talk)).startswith(b"250-")


@both_loops
async def test_pipelining_over_many_messages_keeps_order_and_stores_each() -> None:
    async with gateway(session_limits=ServerLimits(messages_per_session=100_000)) as gw:
        port = await gw.listen()
        count = 300

        def send() -> bytes:
            with raw(port) as connection:
                one = ENVELOPE.partition(b"\r\n")[2] + b"DATA\r\nN: %d\r\n\r\n" + b"x" * 5000 + b"\r\n.\r\n"
                connection.sendall(b"EHLO x\r\n" + b"".join(one % number for number in range(count)) + b"QUIT\r\n")
                return until_closed(connection)

        answer = await in_thread(send)
        assert answer.count(b"250 2.6.0 queued\r\n") == count
        assert answer.endswith(b"221 2.0.0 Bye\r\n")
        assert [content[:10].split()[1] for _, content, _ in gw.stored] == [b"%d" % number for number in range(count)]


@both_loops
async def test_a_client_that_leaves_before_the_answer_is_stored_all_the_same() -> None:
    async with gateway() as gw:
        port = await gw.listen()
        gw.open.clear()

        def send() -> None:
            with raw(port) as connection:
                connection.sendall(ENVELOPE + b"DATA\r\n.\r\n")
                until(connection, b"354 End with <CR><LF>.<CR><LF>\r\n")

        await in_thread(send)
        gw.open.set()
        await gw.smtp.close(WAIT)
        assert len(gw.stored) == 1


@both_loops
async def test_a_client_that_leaves_keeps_its_place_until_its_message_is_stored() -> None:
    async with gateway(ReceiveLimits(connections=1)) as gw:
        port = await gw.listen()
        gw.open.clear()

        def send() -> bytes:
            with raw(port) as connection:
                connection.sendall(ENVELOPE + b"DATA\r\n" + b"x" * 5000 + b"\r\n.\r\n")
                until(connection, b"354 End with <CR><LF>.<CR><LF>\r\n")
                time.sleep(0.1)
                # Reset instead of a polite end: the connection is lost at once.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.1)
            with raw(port, greeting=False) as second:
                return until_closed(second)

        assert (await in_thread(send)).startswith(b"421 4.7.0 ")
        assert gw.smtp.counters.held_bytes >= 5000
        gw.open.set()
        for _ in range(100):
            if not gw.smtp.counters.connections_open:
                break
            await asyncio.sleep(0.02)
        assert (gw.smtp.counters.held_bytes, gw.smtp.counters.connections_open, len(gw.stored)) == (0, 0, 1)


@both_loops
async def test_a_client_that_closes_its_side_still_gets_its_answers() -> None:
    async with gateway() as gw:
        port = await gw.listen()

        def send() -> bytes:
            with raw(port) as connection:
                connection.sendall(ENVELOPE + b"DATA\r\n.\r\n" + ENVELOPE.partition(b"\r\n")[2] + b"DATA\r\n.\r\n")
                connection.shutdown(socket.SHUT_WR)
                return until_closed(connection)

        assert (await in_thread(send)).count(b"250 2.6.0 queued\r\n") == 2
        assert len(gw.stored) == 2


@both_loops
async def test_shutdown_in_mid_handshake_says_nothing_in_plaintext(certificate: Path) -> None:
    async with gateway() as gw:
        port = await gw.listen(tls_context=server_context(str(certificate)), implicit_tls=True)
        connection = await in_thread(lambda: socket.create_connection(("127.0.0.1", port), timeout=WAIT))
        with connection:
            while not gw.smtp.counters.connections_open:
                await asyncio.sleep(0.01)
            await gw.smtp.close(WAIT)
            assert await in_thread(lambda: until_closed(connection)) == b""


@both_loops
async def test_shutdown_finishes_the_message_in_progress_and_ends_the_rest() -> None:
    async with gateway() as gw:
        port = await gw.listen()
        half = asyncio.Event()
        loop = asyncio.get_running_loop()

        def send() -> tuple[bytes, bytes]:
            with raw(port) as idle, raw(port) as busy:
                busy.sendall(ENVELOPE + b"DATA\r\nA: 1\r\n")
                until(busy, b"354 End with <CR><LF>.<CR><LF>\r\n")
                loop.call_soon_threadsafe(half.set)
                gone = until_closed(idle)
                busy.sendall(b"\r\n.\r\n")
                return gone, until_closed(busy)

        sender = asyncio.ensure_future(in_thread(send))
        await asyncio.wait_for(half.wait(), WAIT)
        await gw.smtp.close(WAIT)
        gone, answer = await sender
        assert gone == b"421 4.3.2 Shutting down; connect again later\r\n"
        assert answer == b"250 2.6.0 queued\r\n421 4.3.2 Shutting down; connect again later\r\n"
        assert len(gw.stored) == 1
        with pytest.raises(OSError):
            await in_thread(lambda: socket.create_connection(("127.0.0.1", port), timeout=1))


@both_loops
async def test_connections_per_client_and_in_all() -> None:
    async with gateway(ReceiveLimits(connections=2, connections_per_client=1)) as gw:
        port = await gw.listen()

        def connect() -> None:
            with raw(port):
                with raw(port, greeting=False) as second:
                    assert until_closed(second) == b"421 4.7.0 Too many connections; try again later\r\n"
                with socket.create_connection(("127.0.0.1", port), WAIT, ("127.0.0.2", 0)) as other:
                    assert other.recv(100).startswith(b"220 ")
                    with socket.create_connection(("127.0.0.1", port), WAIT, ("127.0.0.3", 0)) as third:
                        assert until_closed(third).startswith(b"421 4.7.0 ")

        await in_thread(connect)
        assert gw.smtp.counters.connections_refused == 2
        with contextlib.ExitStack() as stack:
            await in_thread(lambda: stack.enter_context(raw(port)))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"NOO", b""),
        (ENVELOPE + b"DATA\r\nhalf a mess", b"354 End with <CR><LF>.<CR><LF>\r\n"),
    ],
)
@both_loops
async def test_silence(said: bytes, answer: bytes) -> None:
    async with gateway(ReceiveLimits(command_seconds=0.2, data_seconds=0.1)) as gw:
        port = await gw.listen()

        def wait() -> bytes:
            with raw(port) as connection:
                connection.sendall(said)
                return until_closed(connection)

        assert (await in_thread(wait)).endswith(answer + b"421 4.4.2 Timed out; closing the connection\r\n")
        assert gw.stored == []


@both_loops
async def test_a_handshake_that_never_comes(certificate: Path) -> None:
    async with gateway(ReceiveLimits(handshake_seconds=0.2)) as gw:
        port = await gw.listen(tls_context=server_context(str(certificate)), implicit_tls=True)

        def wait() -> bytes:
            with raw(port, greeting=False) as connection:
                return until_closed(connection)

        assert await in_thread(wait) == b""
        assert gw.smtp.counters.handshakes_failed == 1


@both_loops
async def test_a_session_that_lasts_too_long_ends_after_its_message() -> None:
    async with gateway(ReceiveLimits(session_seconds=0.3, data_seconds=5)) as gw:
        port = await gw.listen()

        def talk() -> bytes:
            with raw(port) as connection:
                connection.sendall(ENVELOPE + b"DATA\r\n")
                until(connection, b"354 End with <CR><LF>.<CR><LF>\r\n")
                for _ in range(5):
                    connection.sendall(b"x\r\n")
                    time.sleep(0.1)
                connection.sendall(b".\r\n")
                return until_closed(connection)

        answer = await in_thread(talk)
        assert answer == b"250 2.6.0 queued\r\n421 4.3.2 The session has lasted long enough; connect again\r\n"


@both_loops
async def test_a_client_that_reads_no_replies_is_not_read_from_either() -> None:
    limits = ServerLimits(idle_commands=10_000_000, output_bytes=100_000_000)
    async with gateway(ReceiveLimits(command_seconds=0.3, data_seconds=0.3), limits) as gw:
        port = await gw.listen()

        def flood() -> int:
            with raw(port, receive_bytes=8192) as connection:
                connection.settimeout(0.5)
                sent = 0
                with contextlib.suppress(OSError):
                    while sent < 100_000_000:
                        sent += connection.send(b"HELP\r\n" * 10_000)
                return sent

        # Socket buffers of both sides hold some megabytes; the engine must not take the rest of a hundred.
        assert await in_thread(flood) < 30_000_000


@both_loops
async def test_a_client_that_reads_late_gets_every_reply() -> None:
    async with gateway(session_limits=ServerLimits(idle_commands=10_000_000, output_bytes=100_000_000)) as gw:
        port = await gw.listen()
        count = 120_000

        def flood() -> bytes:
            with raw(port, receive_bytes=65536) as connection, ThreadPoolExecutor(1) as pool:
                sender = pool.submit(connection.sendall, b"HELP\r\n" * count + b"QUIT\r\n")
                time.sleep(0.5)
                answer = until_closed(connection)
                sender.result(WAIT)
                return answer

        answer = await in_thread(flood)
        assert answer.count(b"214 2.0.0 This is Sealroute") == count
        assert answer.endswith(b"221 2.0.0 Bye\r\n")


@both_loops
async def test_shutdown_does_not_wait_for_ever() -> None:
    async with gateway() as gw:
        port = await gw.listen()
        connection = await in_thread(lambda: socket.create_connection(("127.0.0.1", port), timeout=WAIT))
        with connection:
            connection.sendall(ENVELOPE + b"DATA\r\nnever ended")
            await in_thread(lambda: until(connection, b"354 End with <CR><LF>.<CR><LF>\r\n"))
            await asyncio.wait_for(gw.smtp.close(0.1), WAIT)
            await in_thread(lambda: until_closed(connection))
        assert gw.stored == []


@both_loops
async def test_content_beyond_the_budget_finds_no_room_and_the_budget_comes_back() -> None:
    async with gateway(ReceiveLimits(content_budget_bytes=100_000)) as gw:
        port = await gw.listen()

        def send(octets: int) -> bytes:
            with raw(port) as connection:
                connection.sendall(ENVELOPE + b"DATA\r\n")
                until(connection, b"354 End with <CR><LF>.<CR><LF>\r\n")
                for _ in range(octets // 10_000):
                    connection.sendall(b"x" * 9_998 + b"\r\n")
                connection.sendall(b".\r\nQUIT\r\n")
                return until_closed(connection).partition(b"\r\n")[0]

        assert await in_thread(lambda: send(1_000_000)) == b"452 4.3.1 No room for this message now; try again later"
        assert await in_thread(lambda: send(50_000)) == b"250 2.6.0 queued"
        assert len(gw.stored) == 1


@both_loops
async def test_an_acceptance_that_raises_is_a_temporary_failure() -> None:
    async with gateway() as gw:
        port = await gw.listen()

        async def broken(envelope: Envelope, content: bytes, facts: SessionFacts) -> Reply:
            raise RuntimeError("a bug")

        gw.smtp.accept = broken

        def send() -> None:
            with (
                smtplib.SMTP("127.0.0.1", port, timeout=WAIT) as client,
                pytest.raises(smtplib.SMTPDataError, match=r"4\.3\.0"),
            ):
                client.sendmail("a@example.com", ["b@example.net"], "x\r\n")

        await in_thread(send)
