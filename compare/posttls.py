"""Our way through the mail domains of compare/destinations beside Postfix's `posttls-finger`, and our resolver beside
`delv` and `drill`.

Postfix and drill ask the system's resolver, and DNS has one port: 53.  So the comparison runs as root in network and mount
name spaces of its own (`unshare`), where a validating Unbound listens on 127.0.0.1 and a private resolv.conf names it.
Nothing outside sees any of it.  Without root, or without the programs, `run` says what is missing.

`posttls-finger` stops at the first host that lets it connect and sends no mail, so it is compared by what it says of that
first host.  MTA-STS plays no part here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PROGRAMS = ("unshare", "mount", "posttls-finger", "unbound", "nsd", "delv", "drill")
_PACKAGES = "util-linux, mount, postfix, unbound, nsd, bind9-dnsutils and ldnsutils"
_TIMEOUT_SECONDS = 300


def missing() -> str:
    """Why the comparison cannot run here, in one sentence; empty when it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} not found: on Debian, install {_PACKAGES}"
    if os.geteuid() != 0:
        return "needs root, for a network name space with a port 53 of its own: run `sudo make compare`"
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        return f"the system refuses new name spaces ({probe.stderr.decode(errors='replace').strip()})"
    return ""


def run() -> bool | None:
    """Print the tables; None when it could not run, else whether every difference is documented."""
    if why := missing():
        print(f"DANE, beside Postfix; DNSSEC, beside delv and drill: NOT COMPARED, {why}")
        return None
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m", "compare.posttls_inside"]
    done = subprocess.run(command, env={**os.environ, "PATH": _path()}, timeout=_TIMEOUT_SECONDS, check=False)
    return done.returncode == 0


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
