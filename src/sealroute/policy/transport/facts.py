"""What conditions look at: the facts of a message, what the trace kept of one, or of none; each with what could not be seen.

A fact is worked out when it is first asked for, so that a rule about the sender costs no look at the body.
"""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from functools import cached_property

from sealroute.base.mail import Message
from sealroute.base.unseen import Unseen
from sealroute.proto.mime import content as mime
from sealroute.proto.mime.head import Value, end_of_head, values

MAX_SENDERS, MAX_FROM_CHARACTERS = 20, 8192
KEPT_SUBJECT_CHARACTERS = 256
"""As much of a subject as the trace keeps (proto/smtp/headers)."""
_NO_FILES = mimetypes.MimeTypes()
_ADDRESS = re.compile(r"<([^<>\s]{1,998})>|(?<![^\s,;:<])([^\s<>,;:\"()]{1,512}@[^\s<>,;:\"()]{1,512})")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|\([^()]*\)', re.DOTALL)
"""A quoted string that does not end hides all that follows: then there is no address that everybody reads."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Texts, any of which may hold what is looked for, and what could not be seen of them."""

    texts: tuple[str, ...] = ()
    lost: frozenset[Unseen] = frozenset()
    again: tuple[str, ...] = ()
    """A second reading of each text, when there are any that differ: what only one of the two has is uncertain."""


_NOT_KEPT = frozenset({Unseen.NOT_KEPT})
_NO_MESSAGE = Seen((), frozenset({Unseen.NO_MESSAGE}))


class MessageFacts:
    """The facts of a message at hand."""

    size_bytes: int | None
    """None: not known."""

    def __init__(self, sender: str, size_bytes: int, content: bytes) -> None:
        # The null sender of a notice is known: it is nobody's address.
        self.envelope_senders = Seen((sender,) if sender else ())
        self.size_bytes = size_bytes
        self._content = content
        self._headers: dict[str, Seen] = {}

    @classmethod
    def of(cls, message: Message) -> MessageFacts:
        return cls(message.envelope.sender, message.size_bytes, message.content)

    def let_go(self, *, look_inside: bool) -> None:
        """Look at what may be asked and let go of the content, to be kept for the message's other destinations."""
        _ = self._head, self._inside if look_inside else None
        self._content = b""

    @cached_property
    def _head(self) -> bytes:
        return self._content[: end_of_head(self._content)[0]]

    def header(self, name: str) -> Seen:
        """All fields of that name; a long value that was folded is read with and without the blanks of its folds."""
        seen = self._headers.get(name)
        if seen is None:
            seen = self._headers[name] = self._read_header(name)
        return seen

    def _read_header(self, name: str) -> Seen:
        found = values(self._head, name)
        lost = frozenset() if all(value.whole for value in found) else frozenset({Unseen.ENCODING})
        differ = any(value.text != value.joined for value in found)
        again = tuple(value.joined for value in found) if differ else ()
        return Seen(tuple(value.text for value in found), lost, again)

    @cached_property
    def subject(self) -> Seen:
        found = values(self._head, "subject")
        lost = frozenset() if all(value.whole for value in found) else frozenset({Unseen.ENCODING})
        return Seen(tuple(" ".join(value.text.split()) for value in found), lost)

    @cached_property
    def header_senders(self) -> Seen:
        """Addresses of the From field."""
        found = values(self._head, "from")
        addresses = tuple(dict.fromkeys(address for value in found for address in _addresses(value)))
        lost = set() if all(value.whole for value in found) else {Unseen.ENCODING}
        if not addresses:
            lost.add(Unseen.NO_SENDER)
        if len(addresses) > MAX_SENDERS or any(len(value.text) > MAX_FROM_CHARACTERS for value in found):
            lost.add(Unseen.BOUND)
        return Seen(addresses[:MAX_SENDERS], frozenset(lost))

    @cached_property
    def _inside(self) -> mime.Content:
        return mime.read(self._content)

    @cached_property
    def body(self) -> Seen:
        return Seen((self._inside.text,), frozenset(self._inside.text_lost))

    @cached_property
    def attachment_names(self) -> Seen:
        names = tuple(item.name for item in self._inside.attachments if item.name)
        return Seen(names, frozenset(self._inside.attachments_lost))

    @cached_property
    def attachment_extensions(self) -> Seen:
        """Without the dot, in lower case; of an attachment without a name, those that its type may have."""
        lost, found = set(self._inside.attachments_lost), list[str]()
        for item in self._inside.attachments:
            if item.name:
                found.append(item.name.rstrip(" .").rpartition(".")[2].lower())
            else:
                said = item.type != "application/octet-stream"  # which says nothing
                guessed = _NO_FILES.guess_all_extensions(item.type, strict=False) if said else []
                found += (extension.removeprefix(".") for extension in guessed)
                if not guessed:
                    lost.add(Unseen.STRUCTURE)
        return Seen(tuple(dict.fromkeys(found)), frozenset(lost))


class TracedFacts(MessageFacts):
    """What the trace kept of a message: envelope, size, and the beginning of the subject."""

    def __init__(self, sender: str, size_bytes: int, subject: str) -> None:
        super().__init__(sender, size_bytes, b"")
        self._kept = subject

    def header(self, name: str) -> Seen:
        return self.subject if name.lower() == "subject" else Seen((), _NOT_KEPT)

    @cached_property
    def subject(self) -> Seen:
        cut = len(self._kept) >= KEPT_SUBJECT_CHARACTERS
        return Seen((self._kept,), _NOT_KEPT if cut else frozenset())

    @cached_property
    def header_senders(self) -> Seen:
        return Seen((), _NOT_KEPT)

    @cached_property
    def body(self) -> Seen:
        return Seen((), _NOT_KEPT)

    @cached_property
    def attachment_names(self) -> Seen:
        return Seen((), _NOT_KEPT)

    @cached_property
    def attachment_extensions(self) -> Seen:
        return Seen((), _NOT_KEPT)


class NoMessage(MessageFacts):
    """No message: whatever is asked of it depends on which one it will be."""

    def __init__(self) -> None:
        # Nothing else of a message is there to be set: every question about it is answered below.
        self.envelope_senders = _NO_MESSAGE
        self.size_bytes = None

    def header(self, name: str) -> Seen:
        return _NO_MESSAGE

    @cached_property
    def subject(self) -> Seen:
        return _NO_MESSAGE

    @cached_property
    def header_senders(self) -> Seen:
        return _NO_MESSAGE

    @cached_property
    def body(self) -> Seen:
        return _NO_MESSAGE

    @cached_property
    def attachment_names(self) -> Seen:
        return _NO_MESSAGE

    @cached_property
    def attachment_extensions(self) -> Seen:
        return _NO_MESSAGE


def _addresses(value: Value) -> tuple[str, ...]:
    """The addresses of a From field, display names and comments set aside [RFC 5322 §3.4]."""
    bare = _QUOTED.sub(" ", value.text[:MAX_FROM_CHARACTERS])
    return tuple(angle or plain for angle, plain in _ADDRESS.findall(bare))
