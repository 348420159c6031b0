"""What the servers behind a host's addresses showed, as checks: connection, STARTTLS, TLS, certificates, and each judgement.

Addresses that showed the same are told together.  The judgements are the verdict's own (policy/verdict) under the requirement
that looks at everything; PKIX is asked of base/chain, which the judge asks too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.base.certs import Certificate, known_certificate
from sealroute.base.chain import TrustRoots, verify_pkix
from sealroute.policy.reasons import Finding, Side
from sealroute.policy.requirement import HandshakeFacts
from sealroute.services.analysis.model import AddressSeen, Check, HostSeen, Seen, Status, Whose, few

MAX_CERTIFICATES = 8
EXPIRES_SOON = timedelta(days=14)
OLD_TLS = ("TLSv1", "TLSv1.1", "SSLv3")
_WHOSE = {Side.RECIPIENT: Whose.RECIPIENT, Side.OURS: Whose.OURS, Side.SENDER: Whose.OURS, Side.NETWORK: Whose.NETWORK}


@dataclass(frozen=True, slots=True)
class Server:
    """Addresses of one host that showed the same."""

    host: str
    addresses: tuple[str, ...]
    seen: AddressSeen
    in_policy: bool = True
    """Whether the MTA-STS policy names the host; where it does not, that is what has to be repaired."""


def servers_of(host: HostSeen) -> tuple[Server, ...]:
    """The host's addresses, those that showed the same together, in the order tried."""
    grouped: dict[object, list[AddressSeen]] = {}
    for seen in host.addresses:
        grouped.setdefault(_key(seen), []).append(seen)
    name, need = host.plan.name, host.plan.requirement
    in_policy = need is None or need.sts is None or need.sts.mx_matches
    return tuple(Server(name, tuple(item.probe.target.ip for item in same), same[0], in_policy) for same in grouped.values())


def _key(seen: AddressSeen) -> object:
    probe, facts = seen.probe, seen.probe.facts
    if facts is None:
        return (probe.failed.reason, probe.failed.detail) if probe.failed else None
    refused = probe.refused.reason if probe.refused else None
    return facts.starttls_offered, facts.handshake_error, facts.tls_version, facts.cipher, facts.chain, refused


def server_check(seen: Seen, server: Server, roots: TrustRoots) -> Check:
    """One group of addresses."""
    title = f"Server {', '.join(server.addresses)}, port {seen.plan.evidence.port}"
    probe = server.seen.probe
    if probe.facts is None:
        finding = probe.failed
        assert finding is not None
        return Check("server", Status.ERROR, title, finding.words(), whose_of(finding), finding.reason.facts.fix)
    children = [_starttls(probe.facts)]
    if probe.facts.encrypted:
        children += [_tls(probe.facts), _certificate(probe.facts, brief=seen.brief), *_judged(server)]
        if not seen.brief:
            children.insert(3, _pkix(probe.facts, server.host, roots))
    if probe.refused is not None:
        children.append(_refused(probe.refused))
    took = f"connected in {probe.connect_ms:.0f} ms" if probe.connect_ms is not None else ""
    return Check("server", _worst(children), title, took, children=tuple(children))


def whose_of(finding: Finding) -> Whose:
    """Whose side a reason is on."""
    return _WHOSE[finding.reason.facts.side]


def _refused(finding: Finding) -> Check:
    return Check("ehlo", Status.ERROR, "EHLO under TLS", finding.words(), whose_of(finding), finding.reason.facts.fix)


def _worst(children: Sequence[Check]) -> Status:
    order = (Status.INFO, Status.OK, Status.WARNING, Status.ERROR)
    return max((child.worst for child in children), key=order.index)


def _starttls(facts: HandshakeFacts) -> Check:
    if facts.encrypted:
        return Check("starttls", Status.OK, "STARTTLS", "offered, and the handshake succeeds")
    advice = "Offer STARTTLS with TLS 1.2 or newer and a certificate, on every address of every MX host."
    if facts.handshake_error:
        said = f"offered, but the handshake fails: {facts.handshake_error}"
    elif facts.starttls_reply is not None and not facts.starttls_reply.positive:
        said = f"offered, and then refused: {facts.starttls_reply}"
    else:
        said = "not offered: mail would travel in plaintext"
    return Check("starttls", Status.ERROR, "STARTTLS", said, advice=advice)


def _tls(facts: HandshakeFacts) -> Check:
    said = f"{facts.tls_version}, {facts.cipher}"
    if facts.tls_version in OLD_TLS:
        return Check("tls", Status.WARNING, "TLS", said, advice="Offer TLS 1.2 and 1.3.")
    return Check("tls", Status.OK, "TLS", said)


def _certificate(facts: HandshakeFacts, *, brief: bool) -> Check:
    """The chain as presented, `brief` without its lines.

    Dates are worth a warning only, since they count for usage 2, MTA-STS and TlsSettings alone.
    """
    if not facts.chain:
        return Check("certificate", Status.ERROR, "Certificate", "none presented", advice="Install a certificate.")
    if brief:
        dates = _dates(known_certificate(facts.chain[0]), facts.at)
        return Check("certificate", dates[0], "Certificate", dates[1], advice=_RENEW if dates[0] is not Status.OK else "")
    chain = [known_certificate(der) for der in facts.chain]
    lines: list[str] = []
    for depth, certificate in enumerate(chain[:MAX_CERTIFICATES]):
        lines += _certificate_lines(depth, certificate)
    if len(chain) > MAX_CERTIFICATES:
        lines.append(f"… and {len(chain) - MAX_CERTIFICATES} more")
    leaf = chain[0]
    names = ", ".join(few(leaf.dns_names or leaf.common_names)) or leaf.subject or "nobody"
    dates = _dates(leaf, facts.at)
    said = f"for {names}; {dates[1]}" if dates[1] else f"for {names}"
    advice = _RENEW if dates[0] is not Status.OK else ""
    return Check("certificate", dates[0], "Certificate", said, advice=advice, facts=tuple(lines))


_RENEW = "Renew the certificate with the same key: a 3 1 1 record then stays right."


def _certificate_lines(depth: int, certificate: Certificate) -> list[str]:
    until = f"{certificate.not_after:%Y-%m-%d}" if certificate.not_after else "unknown"
    begins = f"{certificate.not_before:%Y-%m-%d}" if certificate.not_before else "unknown"
    subject = certificate.subject or "(no subject)"
    issuer = "itself" if certificate.subject_key == certificate.issuer_key else certificate.issuer or "nobody named"
    place = "the server's own" if depth == 0 else f"+{depth}"
    return [f"{place}: {subject}, issued by {issuer}, {begins} to {until}", f"  SHA-256 {certificate.fingerprint}"]


def _dates(leaf: Certificate, at: datetime) -> tuple[Status, str]:
    if leaf.not_after is None or leaf.not_before is None:
        return Status.WARNING, "its dates cannot be read"
    if at < leaf.not_before:
        return Status.WARNING, f"not valid before {leaf.not_before:%Y-%m-%d %H:%M}Z"
    left = leaf.not_after - at
    if left < timedelta(0):
        return Status.WARNING, f"expired on {leaf.not_after:%Y-%m-%d}"
    if left < EXPIRES_SOON:
        return Status.WARNING, f"expires in {left.days} days"
    return Status.OK, f"valid for {left.days} days"


def _judged(server: Server) -> list[Check]:
    """DANE, MTA-STS and TlsSettings, as delivery's judge sees them."""
    verdict = server.seen.verdict
    if verdict is None:
        return []
    checks = []
    for id_, title, result in (
        ("dane", "DANE", verdict.dane), ("sts-certificate", "MTA-STS", verdict.sts),
        ("tls-settings", "TlsSettings", verdict.tls_settings),
    ):  # fmt: skip
        if result is None:
            continue
        if result.satisfied:
            checks.append(Check(id_, Status.OK, title, f"holds: {result.matched or result.detail}".rstrip(": ")))
        else:
            kind = f"{result.result.value}: " if result.result else ""
            whose = Whose.OURS if id_ == "tls-settings" else Whose.RECIPIENT
            checks.append(
                Check(
                    id_,
                    Status.ERROR,
                    title,
                    f"does not hold: {kind}{result.detail}",
                    whose,
                    "" if id_ == "sts-certificate" and not server.in_policy else _ADVICE.get(id_, ""),
                )
            )
    return checks


_ADVICE = {
    "sts-certificate": "Install a certificate of a public authority that names the MX host, and list the host in the policy.",
    "tls-settings": "Our own connector asks this: correct its TlsSettings and TlsDomain, or ask for another certificate.",
}


def _pkix(facts: HandshakeFacts, host: str, roots: TrustRoots) -> Check:
    """Whether the web PKI would authenticate the host: what MTA-STS `enforce` needs."""
    result = verify_pkix(facts.chain, roots, facts.at, (host,))
    if result.ok:
        return Check("pkix", Status.OK, "Public authority", f"the chain and the name {host} hold")
    said = f"does not hold by the web PKI: {result.detail}"
    return Check("pkix", Status.INFO, "Public authority", f"{said}; DANE does not need it")
