"""Looking at the files that settings name: that they are there, can be read and hold what they should.

Apart from load.py, because commands that only read the store need none of these files and may not be allowed to read them.
`sealroute config check` and `sealroute serve` do both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sealroute.base.errors import Problem
from sealroute.settings.inbound import Listener
from sealroute.settings.models import Settings
from sealroute.settings.outbound import ResolverKind

MAX_BYTES = 16 * 1024 * 1024


def check_files(settings: Settings) -> list[Problem]:
    """Every problem with the files that the settings name; empty when there is none."""
    return [problem for problem in _problems(settings) if problem is not None]


def _problems(settings: Settings) -> Iterator[Problem | None]:
    for index, listener in enumerate(settings.listeners, start=1):
        yield from _certificate(f"listeners[{index}]", listener)
    yield from _authorities("tls.ca_file", settings.tls.ca_file)
    yield from _authorities("mta_sts.ca_file", settings.mta_sts.ca_file)
    yield from _authorities("alerts.webhook_ca_file", settings.alerts.webhook_ca_file)
    if settings.alerts.webhook_secret_file is not None:
        secret = _read("alerts.webhook_secret_file", settings.alerts.webhook_secret_file)
        yield secret if isinstance(secret, Problem) else None
    if settings.resolver.kind is ResolverKind.UNBOUND:
        yield from _anchors("resolver.trust_anchor_file", settings.resolver.trust_anchor_file)
        if settings.resolver.root_hints is not None:
            hints = _read("resolver.root_hints", settings.resolver.root_hints)
            yield hints if isinstance(hints, Problem) else None
    yield _store_folder(settings.store.url)


def _read(key: str, path: Path) -> bytes | Problem:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return Problem(key, f"{path} cannot be read: {error.strerror}.", "Correct the name or the file's permissions.")
    if not content.strip() or len(content) > MAX_BYTES:
        return Problem(key, f"{path} is {'empty' if not content.strip() else 'larger than 16 MiB'}.", "Name the right file.")
    return content


def _authorities(key: str, path: Path | None) -> Iterator[Problem]:
    if path is None:
        return
    content = _read(key, path)
    if isinstance(content, Problem):
        yield content
        return
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(content)
    except ValueError as error:
        yield Problem(key, f"{path} is not a PEM bundle of certificates: {error}.", "It needs BEGIN CERTIFICATE blocks.")


def _certificate(where: str, listener: Listener) -> Iterator[Problem]:
    if listener.tls_certificate is None or listener.tls_key is None:
        return
    chain = _read(f"{where}.tls_certificate", listener.tls_certificate)
    key = _read(f"{where}.tls_key", listener.tls_key)
    yield from (item for item in (chain, key) if isinstance(item, Problem))
    if isinstance(chain, Problem) or isinstance(key, Problem):
        return
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        yield Problem(f"{where}.tls_certificate", f"{listener.tls_certificate} holds no PEM certificate: {error}.")
        return
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        text = f"{listener.tls_key} holds no PEM private key without a passphrase: {error}."
        yield Problem(f"{where}.tls_key", text, "`openssl pkey -in KEY -out NEW` takes a passphrase off.")
        return
    if private.public_key() != leaf.public_key():
        yield Problem(
            f"{where}.tls_key",
            f"the key in {listener.tls_key} does not belong to the first certificate in {listener.tls_certificate}.",
            "Put the server's own certificate first and name its key.",
        )


def _anchors(key: str, path: Path | None) -> Iterator[Problem]:
    if path is None:
        return
    content = _read(key, path)
    if isinstance(content, Problem):
        yield content
        return
    text = content.decode("utf-8", "replace")
    import dns.exception
    import dns.rdatatype
    import dns.zonefile

    try:
        sets = dns.zonefile.read_rrsets(text, name=None, rdclass=None, rdtype=None, default_ttl=3600, origin=".")
    except (dns.exception.DNSException, ValueError) as error:
        yield Problem(
            key, f"{path} is not in zone file format: {error}.", "Write lines such as `. IN DS 20326 8 2 E06D44B8...`."
        )
        return
    kinds = {rrset.rdtype for rrset in sets}
    foreign = kinds - {dns.rdatatype.DS, dns.rdatatype.DNSKEY}
    if foreign:
        names = ", ".join(sorted(dns.rdatatype.to_text(kind) for kind in foreign))
        yield Problem(key, f"{path} holds {names}, which cannot be a trust anchor.", "Keep only DS and DNSKEY records.")
    elif not kinds:
        yield Problem(key, f"{path} holds no DS or DNSKEY record.", "Write lines such as `. IN DS 20326 8 2 E06D44B8...`.")


def _store_folder(url: str) -> Problem | None:
    if not url.startswith("sqlite:///") or url.startswith("sqlite:///:memory:"):
        return None
    folder = Path(url.removeprefix("sqlite:///").partition("?")[0]).parent
    if not folder.is_dir():
        return Problem("store.url", f"the folder {folder} does not exist.", f"Create it: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Problem(
            "store.url", f"the folder {folder} is not writable for this user.", "Change its owner or run as its owner."
        )
    return None
