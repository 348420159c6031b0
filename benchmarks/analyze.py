"""The bulk analyzer beside checkdmarc with its MX TLS checks, in one run, on the same servers, asking the same resolver.

    python -m benchmarks.analyze [--domains 2000] [--sample 200] [--profile FILE]

A simulated internet with DNSSEC, MTA-STS and mail hosts of mixed kinds (benchmarks/analyze_kinds), each domain with a mail host
and a key of its own.  `sealroute analyze --input` runs over all domains, TLS probes included, and every row is held against the
kind of its domain; then checkdmarc runs over a sample mixed the same way, whose answers the resolver has cached by then.
checkdmarc knows the standard ports only, so all of it runs as root in network and mount name spaces of its own.

The exit code is 1 when a verdict is wrong or the ratio is below 20, 2 when it cannot run here.  `--profile` keeps what cProfile
says of the analyzer, and makes it slower.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

PROGRAMS = ("unshare", "mount", "unbound", "nsd")


def missing() -> str:
    """Why it cannot run here; empty when it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if absent:
        return f"{', '.join(absent)} not found: on Debian, install util-linux, mount, unbound and nsd"
    if find_spec("checkdmarc") is None:
        return "checkdmarc is not installed: pip install -e '.[compare]'"
    if os.geteuid() != 0:
        return "it needs root, for a network name space with ports 25, 53 and 443 of its own"
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        return f"the system refuses new name spaces ({probe.stderr.decode(errors='replace').strip()})"
    return ""


def search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def main() -> int:
    parser = argparse.ArgumentParser(description="The bulk analyzer beside checkdmarc.")
    parser.add_argument("--domains", type=int, default=2000, help="how many the analyzer gets")
    parser.add_argument("--sample", type=int, default=200, help="how many of them checkdmarc gets")
    parser.add_argument("--profile", help="keep the analyzer's profile (cProfile) in this file")
    asked = parser.parse_args()
    if why := missing():
        print(f"not run: {why}")
        return 2
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m", "benchmarks.analyze_inside"]
    command += [str(asked.domains), str(asked.sample), asked.profile or ""]
    return subprocess.run(command, env={**os.environ, "PATH": search_path()}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
