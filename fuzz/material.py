"""What fuzzing starts from: good input for each kind of parser, made fresh."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import dns.flags
import dns.message
import dns.rrset

from sealroute.base.certs import Certificate
from sealroute.base.chain import TrustRoots
from sealroute.base.dnsdata import Tlsa
from simnet.pki import Ca, Entity, Wish

HOST = "mx.example.com"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
STS_TXT = b"v=STSv1; id=20260115T120000;"
RPT_TXT = b"v=TLSRPTv1; rua=mailto:tls@example.com,https://example.com/report"
REPLIES = (
    b"220 mx.example.com ESMTP\r\n250-mx.example.com\r\n250-SIZE 1000\r\n250-LIMITS RCPTMAX=20\r\n250 STARTTLS\r\n"
    b"550-5.1.1 No such\r\n550 5.1.1 user\r\n354 go on\r\n"
)
SESSION = (
    b"EHLO client.example\r\nMAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=+20x\r\n"
    b"RCPT TO:<b@example.org> NOTIFY=NEVER ORCPT=rfc822;b@example.org\r\nDATA\r\nSubject: x\r\n\r\n..y\r\n.\r\n"
    b"RSET\r\nSTARTTLS\r\nAUTH PLAIN AGEAYg==\r\nBDAT 5 LAST\r\nhelloQUIT\r\n"
)
HEAD = (
    b"Received: from a\r\n\tby b\r\nMessage-ID: <1@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= und\r\n mehr\r\n"
    b"TLS-Required: No\r\nDate: Thu, 15 Jan 2026 12:00:00 +0000\r\n\r\nbody\r\n"
)
DSN = (
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\nMIME-Version: 1.0\r\n\r\n--b\r\n"
    b"Content-Type: text/plain\r\n\r\nIt failed.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    b"Reporting-MTA: dns; gw.example.com\r\n\r\nFinal-Recipient: rfc822; b@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"\r\n--b--\r\n"
)


def packet() -> bytes:
    """An answer with two alias steps, compressed."""
    message = dns.message.make_query(HOST, "A")
    message.flags |= dns.flags.QR
    for owner, rtype, data in ((HOST, "CNAME", "a.example.com."), ("a.example.com", "CNAME", "b.example.net."),
                               ("b.example.net", "A", "192.0.2.1")):  # fmt: skip
        message.answer.append(dns.rrset.from_text(owner + ".", 60, "IN", rtype, data))
    return message.to_wire()


@cache
def server() -> Entity:
    """A server certificate below an intermediate below a root, valid at NOW."""
    wish = Wish(now=NOW)
    return Ca("Fuzzed Root", wish=wish).ca("Fuzzed Issuing", wish).leaf(HOST, wish=wish)


@cache
def roots() -> TrustRoots:
    return TrustRoots([Certificate(server().issuers(root=True)[-1].der)])


@cache
def records() -> tuple[Tlsa, ...]:
    """Records of which any intact presentation of the server's chain meets one."""
    issuing = server().issuers()[0]
    return (Tlsa(3, 0, 1, server().tlsa_data(0, 1)), Tlsa(2, 0, 1, issuing.tlsa_data(0, 1)), Tlsa(2, 1, 0, issuing.spki))


EXCHANGE_EXPORTS = (
    b'{"Name":"Bank","UseMXRecord":false,"RecipientDomains":["fabrikam.com","*.fabrikam.com"],"SmartHosts":["192.0.2.1"],'
    b'"TlsDomain":"mx.fabrikam.com","TlsSettings":"DomainValidation","WhenCreatedUTC":"/Date(1700000000000)/","ObjectState":0}',
    b'<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><Props>'
    b'<S N="Name">To_x0020_Fabrikam</S><B N="UseMXRecord">true</B><Obj N="RecipientDomains" RefId="1"><LST><S>fabrikam.com</S>'
    b'</LST></Obj><Ref N="SmartHosts" RefId="1" /><Nil N="Comment" /></Props></Obj></Objs>',
    b'"Name","Enabled","RecipientDomains","SmartHosts"\r\n"Bank","True","{fabrikam.com, *.fabrikam.com}","192.0.2.1"\r\n',
)
POSTFIX_TABLES = (
    b"# partners\ncontoso.com secure match=mx.contoso.com\n.fabrikam.com dane-only\n[mx.example.net] verify match=hostname\n",
    b"contoso.com smtp:[mx.contoso.com]\n.fabrikam.com  relay:[192.0.2.1]:25\nexample.net :\n",
    b"contoso.com encrypt\n   protocols=TLSv1.3\nfabrikam.com secure match=nexthop:dot-nexthop\n",
)
