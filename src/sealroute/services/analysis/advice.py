"""The exact records that the other side's administrator can publish: TLSA, MTA-STS policy and TXT, TLS-RPT.

Lines ready for a zone file or a policy file; nothing here says whether they are needed.
Sources: [RFC 7671 §5.1, §8.1], [RFC 8461 §3], [RFC 8460 §3].
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sealroute.base.certs import known_certificate
from sealroute.proto.dane.records import Matching, Selector, Usage
from sealroute.proto.mtasts.policy import StsMode
from sealroute.services.analysis.model import Publish

ZONE_FILE = "zone file"
FIRST_MAX_AGE_SECONDS = 86_400
USUAL_MAX_AGE_SECONDS = 604_800

NEXT_KEY = (
    "Before the key changes, publish a second 3 1 1 record for the next key and wait until the TTL of the old set has passed; "
    "remove the old record only after the new key is in use. The next key's value: "
    "openssl pkey -in next.key -pubout -outform DER | sha256sum. Keep the key when the certificate is renewed and nothing has "
    "to change."
)


def tlsa(base: str, port: int, chain: Sequence[bytes]) -> Publish:
    """The `3 1 1` record for the key presented; `3 0 1` where the key cannot be cut out of the certificate."""
    leaf = known_certificate(chain[0])
    if leaf.spki is None:
        return _tlsa(base, port, (Usage.DANE_EE, Selector.CERT, Matching.SHA2_256), hashlib.sha256(leaf.der).hexdigest())
    return _tlsa(base, port, (Usage.DANE_EE, Selector.SPKI, Matching.SHA2_256), hashlib.sha256(leaf.spki).hexdigest())


def _tlsa(base: str, port: int, numbers: tuple[int, int, int], digits: str) -> Publish:
    usage, selector, matching = map(int, numbers)
    return Publish(ZONE_FILE, (f"_{port}._tcp.{base}. IN TLSA {usage} {selector} {matching} {digits}",))


def sts_policy(domain: str, mode: StsMode, hosts: Sequence[str], max_age_seconds: int = USUAL_MAX_AGE_SECONDS) -> Publish:
    """The policy file."""
    lines = (
        "version: STSv1",
        f"mode: {mode.value}",
        *(f"mx: {host}" for host in dict.fromkeys(hosts)),
        f"max_age: {max_age_seconds}",
    )
    return Publish(f"https://mta-sts.{domain}/.well-known/mta-sts.txt", lines)


def sts_txt(domain: str, at: datetime) -> Publish:
    """The TXT record with an id that no earlier one had: the moment, to the second."""
    return Publish(ZONE_FILE, (f'_mta-sts.{domain}. IN TXT "v=STSv1; id={at:%Y%m%d%H%M%S};"',))


def rpt_txt(domain: str) -> Publish:
    return Publish(ZONE_FILE, (f'_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:tls-reports@{domain}"',))
