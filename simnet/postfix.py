"""A real Postfix of its own beside the simulated internet: its configuration, queue and log in one folder, on a high port.

    postfix = Postfix("127.66.9.1", 26025, {"relayhost": "[127.0.0.1]:26026"})
    postfix.start()
    ...
    postfix.stop()

Postfix starts as root only: where we are somebody else it is started by `sudo -n`, as tools/setup installed it.  The machine's
own Postfix, its configuration and its queue are not touched.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

START_SECONDS = 30.0
NOBODY = 65534

BASE: dict[str, str] = {
    "compatibility_level": "3.6",
    "command_directory": "/usr/sbin",
    "daemon_directory": "/usr/lib/postfix/sbin",
    "shlib_directory": "/usr/lib/postfix",
    "meta_directory": "/etc/postfix",
    "inet_protocols": "ipv4",
    # Must name interfaces of this machine; where it listens stands in master.cf.
    "inet_interfaces": "127.0.0.1",
    "myhostname": "postfix.test",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "local_recipient_maps": "",
    "local_transport": "error:there are no local mailboxes",
    "alias_maps": "",
    "alias_database": "",
    "smtpd_peername_lookup": "no",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_recipient_restrictions": "",
}
"""What makes an instance self-contained; nothing here changes how it speaks SMTP or keeps mail."""

SERVICES = """pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
tlsproxy  unix  - - n - 0 tlsproxy
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One instance."""

    def __init__(self, address: str, port: int, settings: Mapping[str, str], *, inside: Sequence[str] = ()) -> None:
        """`settings` are added to BASE; `inside` is a command that the instance is started through."""
        # Not below a folder that only we may enter: Postfix's daemons run as a user of their own.
        self.folder = Path(tempfile.mkdtemp(prefix="simnet-postfix-"))
        self.folder.chmod(0o755)
        self.address = address
        self.port = port
        self.log = self.folder / "mail.log"
        self.mailboxes = self.folder / "mail"
        self._inside = tuple(inside)
        folders = {
            "queue_directory": "spool",
            "data_directory": "data",
            "maillog_file_prefixes": "",
            "maillog_file": "mail.log",
        }
        own = {name: str(self.folder / where) for name, where in folders.items()}
        self.settings: dict[str, str] = BASE | own | dict(settings)

    def receive_into_maildirs(self, domain: str, unknown: str = "") -> None:
        """Take mail of a domain into `mail/<domain>/`, in Maildir format, except for the local part `unknown`.

        Call it before `start`.
        """
        self.mailboxes.mkdir(mode=0o777)
        self.mailboxes.chmod(0o777)
        table = f"/@{re.escape(domain)}$/ {domain}/\n"
        (self.folder / "mailboxes").write_text(f"if !/^{unknown}@/\n{table}endif\n" if unknown else table)
        owner = os.getuid() or NOBODY
        self.settings |= {
            "virtual_mailbox_domains": domain,
            "virtual_mailbox_maps": f"regexp:{self.folder}/mailboxes",
            "virtual_mailbox_base": str(self.mailboxes),
            "virtual_mailbox_limit": "0",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{owner}",
            "virtual_gid_maps": f"static:{os.getgid() or NOBODY}",
        }

    def read_maildir(self, domain: str) -> list[bytes]:
        """Every message taken in so far, with CRLF, as Postfix stored it: its own header fields on top."""
        files = sorted((self.mailboxes / domain / "new").glob("*"))
        return [file.read_bytes().replace(b"\n", b"\r\n") for file in files]

    def start(self) -> None:
        """Return once it answers on its port; RuntimeError with its log when it does not."""
        for name in ("etc", "spool", "data"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "etc/main.cf").write_text("".join(f"{name} = {value}\n" for name, value in self.settings.items()))
        (self.folder / "etc/master.cf").write_text(f"{self.address}:{self.port} inet n - n - 200 smtpd\n{SERVICES}")
        self._as_root("chown", "-R", "root:root", str(self.folder / "etc"), str(self.folder / "spool"))
        self._as_root("chown", "postfix", str(self.folder / "data"))
        done = self._as_root(*self._inside, "postfix", "-c", str(self.folder / "etc"), "start")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and done.returncode == 0:
            try:
                with socket.create_connection((self.address, self.port), timeout=5) as connection:
                    if connection.recv(3) == b"220":
                        return
            except OSError:
                pass
            time.sleep(0.1)
        text = done.stdout + (self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "")
        self.stop()
        raise RuntimeError(f"Postfix does not answer at {self.address} port {self.port}:\n{text}")

    @property
    def pid(self) -> int:
        """The process id of its master."""
        done = self._as_root("cat", str(self.folder / "spool/pid/master.pid"))
        return int(done.stdout.strip())

    def command(self, *words: str) -> str:
        """Run one of Postfix's commands on this instance, such as `postqueue -j`; returns what it printed."""
        return self._as_root(words[0], "-c", str(self.folder / "etc"), *words[1:]).stdout

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if (self.folder / "etc/main.cf").exists():
            self._as_root("postfix", "-c", str(self.folder / "etc"), "stop")
        self._as_root("rm", "-rf", str(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _as_root(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"/usr/sbin:/sbin:{os.environ.get('PATH', '/usr/bin:/bin')}"}
        words = [*root_prefix(), *command]
        return subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False, env=environment
        )


def root_prefix() -> tuple[str, ...]:
    """What goes before a command that only root may run; RuntimeError when we cannot be root."""
    if os.geteuid() == 0:
        return ()
    try:
        subprocess.run(["sudo", "-n", "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        raise RuntimeError(
            "Only root may start a Postfix: run this as root, or let `sudo` work without a password for the moment (`sudo -v`)."
        ) from None
    return ("sudo", "-n")
