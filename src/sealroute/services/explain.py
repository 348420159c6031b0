"""explain: what a code or keyword means - when it comes up, on whose side it lies, how it is repaired.

Sentences, sides and remedies are those of policy/reasons, as NDR and trace show them; here is only what leads to each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from sealroute.base.errors import OperatorError
from sealroute.policy.reasons import Finding, Reason, ReasonFacts

CAUSES: dict[Reason, str] = {
    Reason.STARTTLS_NOT_SUPPORTED: "DANE, MTA-STS or REQUIRETLS demands TLS, and STARTTLS is missing or the handshake fails.",
    Reason.CERTIFICATE_EXPIRED: "A TLSA record of usage 2 names the authority, and a certificate on the way to it has expired.",
    Reason.TLSA_INVALID: "TLSA records are published and none matches what is presented, usually after a new certificate.",
    Reason.DNSSEC_INVALID: "A signature does not hold, or a name server fails on TLSA: whether there are records is not known.",
    Reason.CERTIFICATE_HOST_MISMATCH: "A TLSA record of usage 2 names the authority, and the certificate is for another name.",
    Reason.DANE_REQUIRED: "SmtpDaneMode is Mandatory and the host has no usable TLSA record in a signed zone.",
    Reason.RESOLVER_CANNOT_VALIDATE: "Our resolver failed its canaries: it cannot tell a valid signature from a broken one.",
    Reason.STS_POLICY_FETCH_ERROR: "MtaStsMode is Mandatory (or the message asks REQUIRETLS) and the policy cannot be had.",
    Reason.STS_REQUIRED: "MtaStsMode is Mandatory and the destination has no policy in enforce mode.",
    Reason.STS_MX_MISMATCH: "The MTA-STS policy is in enforce mode and does not name the MX host.",
    Reason.STS_CERTIFICATE: "The MTA-STS policy is in enforce mode, and the certificate does not hold by the web PKI.",
    Reason.TLS_REQUIRED: "The connector's TlsSettings ask for TLS, and the server offers none or the handshake fails.",
    Reason.TLS_CERTIFICATE: "The connector's TlsSettings ask for a chain to a public authority, and this one does not hold.",
    Reason.TLS_DOMAIN_MISMATCH: "The connector's TlsSettings are DomainValidation, and the certificate is not for TlsDomain.",
    Reason.REQUIRETLS_UNSUPPORTED: "The message asks REQUIRETLS, and no host of the destination can promise it.",
    Reason.DNS_FAILED: "The name servers gave no usable answer for the MX record or the addresses.",
    Reason.NULL_MX: "The domain publishes a null MX record: it takes no mail.",
    Reason.NO_SUCH_DOMAIN: "DNS says that the domain does not exist.",
    Reason.NO_ADDRESS: "The MX hosts have neither A nor AAAA records.",
    Reason.ADDRESS_NOT_ALLOWED: "The MX host's address is private, or of a family that our settings leave out.",
    Reason.CONNECT_TIMEOUT: "The server did not answer in time.",
    Reason.CONNECT_REFUSED: "Nobody listens at the server's port, or a firewall says no.",
    Reason.CONNECTION_LOST: "The connection ended in the middle of the dialogue.",
    Reason.PROTOCOL_ERROR: "The server said something that SMTP does not allow, such as octets injected after STARTTLS.",
    Reason.ROUTING_LOOP: "The message has passed more servers than are allowed.",
    Reason.MESSAGE_EXPIRED: "The connector's MessageExpiration passed without a more precise reason.",
    Reason.HOST_REJECTED: "The server refused us in its greeting or in answer to EHLO.",
    Reason.REJECTED: "The server refused the message or the recipient for good.",
    Reason.TRY_LATER: "The server refused for now: greylisting, a full mailbox, a limit.",
    Reason.FEATURE_UNSUPPORTED: "The message needs something that the server does not offer, such as SMTPUTF8.",
    Reason.SUSPENDED: "An administrator put the message on hold.",
}
_OTHER_CODES = {"4.4.7": Reason.MESSAGE_EXPIRED, "5.4.7": Reason.MESSAGE_EXPIRED}
"""Codes that Exchange shows for a reason that has another one here."""
_CODE = re.compile(r"(?:[245]\d\d[ -]+)?([245])\.(\d{1,3})\.(\d{1,3})\b")
_NUMBER = re.compile(r"\d{1,3}")


@dataclass(frozen=True, slots=True)
class Explained:
    """One reason, explained."""

    reason: Reason
    cause: str

    @property
    def facts(self) -> ReasonFacts:
        return self.reason.facts

    @property
    def queued(self) -> str:
        """As queue and trace show it; empty for a reason that is never waited for."""
        finding = Finding(self.reason, "<cause>", domain="<domain>")
        return "" if finding.final else finding.queued()

    @property
    def returned(self) -> str:
        """As the NDR shows it."""
        return Finding(self.reason, "<cause>", domain="<domain>").returned()


def explain(asked: str) -> tuple[Explained, ...]:
    """Every reason of a keyword (`tlsa-invalid`), code (`4.7.323`, `550 5.7.323 ...`) or number (`323`).

    Raises OperatorError when there is none.
    """
    found = _find(asked.strip().lower())
    if not found:
        near = get_close_matches(asked.strip().lower(), [reason.value for reason in Reason], n=1)
        hint = f"Did you mean {near[0]}?" if near else "`docs/reference/reasons.md` lists all codes and keywords."
        raise OperatorError.one("--explain", f"no reason has the code or keyword {asked!r}.", hint)
    return tuple(Explained(reason, CAUSES[reason]) for reason in found)


def _find(asked: str) -> list[Reason]:
    by_keyword = [reason for reason in Reason if reason.value == asked]
    if by_keyword:
        return by_keyword
    code = _CODE.match(asked)
    if code is not None:
        dotted = ".".join(code.groups())
        if dotted in _OTHER_CODES:
            return [_OTHER_CODES[dotted]]
        wanted = int(code[2]), int(code[3])
        found = [reason for reason in Reason if (reason.facts.enhanced.subject, reason.facts.enhanced.detail) == wanted]
        # The sentence that follows a code may name the reason among several with this code.
        return [reason for reason in found if f"{reason.value}:" in asked] or found
    if _NUMBER.fullmatch(asked):
        return [reason for reason in Reason if reason.facts.enhanced.detail == int(asked) and int(asked)]
    return []
