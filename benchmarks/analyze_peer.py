"""checkdmarc over a list of domains, one after the other as its own command does, in a process of its own.

    python -m benchmarks.analyze_peer domains.txt ADDRESS mail|whole

`mail` asks only what the analyzer answers, too: DNSSEC, MTA-STS, MX with the TLS checks, TLS-RPT.  `whole` is its full check of
a domain, which adds SOA, NS, SPF, DMARC and BIMI.  The last line of output is JSON: seconds, cpu_seconds, starttls (how many
domains have a host whose STARTTLS it found good).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def mail(domain: str, servers: list[str]) -> Any:
    """What concerns the transport of mail."""
    dnssec, mta_sts, smtp, reporting = (
        import_module(f"checkdmarc.{name}") for name in ("dnssec", "mta_sts", "smtp", "smtp_tls_reporting")
    )
    dnssec.check_dnssec(domain, nameservers=servers)
    policy = mta_sts.check_mta_sts(domain, nameservers=servers)
    patterns = policy["policy"]["mx"] if policy["valid"] else None
    found = smtp.check_mx(domain, check_mx_tls=True, mta_sts_mx_patterns=patterns, nameservers=servers)
    reporting.check_smtp_tls_reporting(domain, nameservers=servers)
    return found


def whole(domain: str, servers: list[str]) -> Any:
    """All that it checks of a domain."""
    return import_module("checkdmarc").check_domains([domain], check_mx_tls=True, nameservers=servers)["mx"]


def main() -> None:
    logging.disable(logging.CRITICAL)
    listing, address, what = sys.argv[1:]
    check = {"mail": mail, "whole": whole}[what]
    names = Path(listing).read_text().split()
    import_module("checkdmarc")
    started, used, good = time.perf_counter(), time.process_time(), 0
    for name in names:
        found = check(name, [address])
        good += any(host.get("starttls") for host in found.get("hosts", ()))
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - used, "starttls": good}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
