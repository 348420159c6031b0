"""One message as a particular server can take it: the MAIL and RCPT commands, or why it cannot be sent there.

Rules: nothing is sent that the server did not offer, and nothing that the message needs is left out silently: a message
over the announced SIZE [RFC 1870 §6.1], 8-bit content without 8BITMIME [RFC 6152 §3], internationalized addresses or
headers without SMTPUTF8 [RFC 6531 §3.2] and REQUIRETLS without REQUIRETLS [RFC 8689 §4.2.1] end before MAIL.

    mail = "MAIL FROM:<" sender ">" [" SIZE=" n] [" BODY=8BITMIME"] [" SMTPUTF8"] [" REQUIRETLS"] [" RET=" r] [" ENVID=" xtext]
    rcpt = "RCPT TO:<" address ">" [" NOTIFY=" list] [" ORCPT=" type ";" xtext]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sealroute.base.mail import BodyType, Notify, Recipient, Ret
from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp.capabilities import Capabilities

TOO_LARGE = Enhanced(5, 3, 4)
CONVERSION_REQUIRED = Enhanced(5, 6, 3)
NON_ASCII_NOT_SUPPORTED = Enhanced(5, 6, 7)
BAD_RECIPIENT = Enhanced(5, 1, 3)
BAD_SENDER = Enhanced(5, 1, 7)
_NOT_XCHAR = re.compile(r"[^!-*,-<>-~]")
_NOTIFY_ORDER = (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


class Mail(Protocol):
    """One message for some recipients; ports.Transaction is one."""

    @property
    def sender(self) -> str: ...
    @property
    def recipients(self) -> tuple[Recipient, ...]: ...
    @property
    def content(self) -> bytes: ...
    @property
    def body(self) -> BodyType: ...
    @property
    def smtputf8(self) -> bool: ...
    @property
    def ret(self) -> Ret | None: ...
    @property
    def envid(self) -> str | None: ...
    @property
    def require_tls(self) -> bool: ...
    @property
    def crlf_only(self) -> bool:
        """No CR or LF stands alone in the content; False: not known."""
        ...


class Ending(Enum):
    """How it ended, for one recipient or for the connection."""

    ACCEPTED = "accepted"
    """The server took responsibility: done."""
    REFUSED = "refused"
    """A final no to this message or recipient: return it."""
    POSTPONED = "postponed"
    """Not now: try again later."""
    HOST_REFUSED = "host-refused"
    """A final no in greeting or EHLO: this host is out, another may take it."""
    UNSUPPORTED = "unsupported"
    """The server cannot take such a message: return it."""
    NO_REQUIRETLS = "no-requiretls"
    """REQUIRETLS was asked and is not offered under TLS: the caller must not send here."""
    LOST = "lost"
    """The connection broke: try again later."""
    TIMED_OUT = "timed-out"
    """No reply in time: try again later."""
    VIOLATION = "violation"
    """The server broke the protocol: try again later, never on this connection."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An ending with what led to it."""

    ending: Ending
    reply: Reply | None = None
    detail: str = ""
    """In words, where no reply says it."""
    code: Enhanced | None = None
    """The code that fits, where no reply gives one."""


@dataclass(frozen=True, slots=True)
class MailCommands:
    """The commands for one message; recipients that cannot be named to this server are in `refused` instead."""

    mail: str
    rcpt: dict[int, str]
    """Command by recipient's index."""
    refused: dict[int, Outcome]


def mail_commands(mail: Mail, server: Capabilities, *, encrypted: bool) -> MailCommands | Outcome:
    """The message's commands for this server, or the outcome for all its recipients."""
    size = len(mail.content)
    if server.size_limit_bytes is not None and size > server.size_limit_bytes:
        detail = f"the message has {size} octets and the server announces a limit of {server.size_limit_bytes}"
        return Outcome(Ending.REFUSED, detail=detail, code=TOO_LARGE)
    if mail.require_tls and not (server.require_tls and encrypted):
        return Outcome(Ending.NO_REQUIRETLS, detail="the server does not offer REQUIRETLS")
    if not mail.sender.isascii() and not server.smtputf8:
        return _no_smtputf8("the sender's address is internationalized")
    if not mail.sender.isprintable():
        return Outcome(Ending.UNSUPPORTED, detail="the sender's address has control characters", code=BAD_SENDER)
    ascii_content = mail.content.isascii()
    if not ascii_content:
        if not server.eight_bit:
            detail = "the message has 8-bit content and the server does not offer 8BITMIME"
            return Outcome(Ending.UNSUPPORTED, detail=detail, code=CONVERSION_REQUIRED)
        if mail.smtputf8 and not server.smtputf8 and not _header(mail.content).isascii():
            return _no_smtputf8("the message has internationalized headers")
    rcpt: dict[int, str] = {}
    refused: dict[int, Outcome] = {}
    utf8 = mail.smtputf8 or not mail.sender.isascii()
    for index, recipient in enumerate(mail.recipients):
        problem = _address_problem(recipient.address, server)
        if problem is not None:
            refused[index] = problem
            continue
        utf8 = utf8 or not recipient.address.isascii()
        rcpt[index] = f"RCPT TO:<{recipient.address}>{_rcpt_parameters(recipient) if server.dsn else ''}"
    return MailCommands(_mail_command(mail, server, ascii_content, utf8), rcpt, refused)


def _mail_command(mail: Mail, server: Capabilities, ascii_content: bool, utf8: bool) -> str:
    command = f"MAIL FROM:<{mail.sender}>"
    if server.size:
        command += f" SIZE={len(mail.content)}"
    if server.eight_bit and (not ascii_content or mail.body is BodyType.EIGHT_BIT):
        command += " BODY=8BITMIME"
    if utf8 and server.smtputf8:
        command += " SMTPUTF8"
    if mail.require_tls:
        command += " REQUIRETLS"
    if server.dsn and mail.ret is not None:
        command += f" RET={mail.ret.value}"
    if server.dsn and mail.envid is not None:
        command += f" ENVID={xtext(mail.envid)}"
    return command


def _rcpt_parameters(recipient: Recipient) -> str:
    parameters = ""
    if recipient.notify is not None:
        wishes = [str(wish.name) for wish in _NOTIFY_ORDER if wish in recipient.notify]
        parameters = f" NOTIFY={','.join(wishes)}" if wishes else ""
    if recipient.orcpt is not None:
        kind, _, address = recipient.orcpt.partition(";")
        encoded = utf8_xtext(address) if kind.lower() == "utf-8" else xtext(address)
        parameters += f" ORCPT={xtext(kind)};{encoded}"
    return parameters


def _address_problem(address: str, server: Capabilities) -> Outcome | None:
    # Printable means: no CR, LF or other control character can end the command early, whoever let it into the queue.
    if not address.isprintable():
        return Outcome(Ending.UNSUPPORTED, detail="the recipient's address has control characters", code=BAD_RECIPIENT)
    if not address.isascii() and not server.smtputf8:
        return _no_smtputf8("the recipient's address is internationalized")
    return None


def _no_smtputf8(what: str) -> Outcome:
    return Outcome(Ending.UNSUPPORTED, detail=f"{what} and the server does not offer SMTPUTF8", code=NON_ASCII_NOT_SUPPORTED)


def _header(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[:end]


def xtext(text: str) -> str:
    """The text with `+`, `=`, spaces and all that is not printable ASCII as `+HH` [RFC 3461 §4]."""
    return _NOT_XCHAR.sub(lambda match: "".join(f"+{octet:02X}" for octet in match[0].encode()), text)


def utf8_xtext(address: str) -> str:
    """An address of type `utf-8` in ASCII: all outside xtext as `\\x{HEX}` [RFC 6533 §3]; escapes already there stay."""
    return _NOT_XCHAR.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", address)
