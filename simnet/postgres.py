"""A PostgreSQL server of our own, from Debian's package: in a folder of its own, on loopback, gone afterwards.

    server = Postgres({"fsync": "off"})
    server.start()
    server.url(server.empty())                             # what a gateway's [store] wants
    server.remove()

PostgreSQL refuses to run as root, so when we are root it runs as the user `postgres` that the package makes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import psycopg

from simnet.nameserver import free_port

START_SECONDS = 30.0
BASE = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "100", "log_min_messages": "fatal"}


def programs() -> Path | None:
    """Where Debian keeps the server's programs, those of the newest version; None when it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """The server; `start` it first."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """`settings` are added to BASE."""
        found = programs()
        if found is None:
            raise RuntimeError("PostgreSQL is not installed (`tools/setup test` installs it)")
        self._programs = found
        self.settings = BASE | dict(settings)
        self.folder = Path(tempfile.mkdtemp(prefix="simnet-postgres-"))
        self.port = free_port("127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)

    def __repr__(self) -> str:
        return f"<Postgres on port {self.port} {'running' if self._process else 'stopped'}>"

    @property
    def pid(self) -> int:
        """The process id of its first process; RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError("PostgreSQL does not run")
        return self._process.pid

    def _command(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), "-D", str(self.folder / "data"), *arguments],
                stdout=log, stderr=log, cwd=self.folder, user=self._user, group=self._user,
                extra_groups=[] if self._user else None,
            )  # fmt: skip

    def start(self) -> None:
        """Return once it answers; RuntimeError with its log when it does not."""
        if not (self.folder / "data").exists():
            made = self._command("initdb", "--no-sync", "-U", "sealroute", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8")
            if made.wait(60) != 0:
                raise RuntimeError(f"initdb failed:\n{self._log()}")
        options = [option for name, value in self.settings.items() for option in ("-c", f"{name}={value}")]
        self._process = self._command("postgres", "-p", str(self.port), *options)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                time.sleep(0.05)
                continue
            return
        raise RuntimeError(f"PostgreSQL does not answer:\n{self._log()}")

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """As in a failover: sessions are ended, nothing committed is lost."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Without a goodbye; it recovers from its log at the next start."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def remove(self) -> None:
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that is ours and not a gateway's; each statement is a transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="sealroute", dbname=database, autocommit=True, connect_timeout=5
        )

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://sealroute@127.0.0.1:{self.port}/{database}"

    def next_name(self, stem: str) -> str:
        """A name that no database has yet."""
        return f"{stem}{next(self._numbers)}"

    def empty(self) -> str:
        """The name of a new database without tables."""
        name = self.next_name("empty")
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name
