"""Just enough DER to cut a certificate into its parts, however strange the parts are [X.690 §8, §10].

The full parsers (cryptography, OpenSSL) refuse a certificate as a whole when one part is odd; DANE only has to compare
octets.  So this reads the framing: identifier and length of each element, never its meaning.  Definite lengths in their
shortest form and single-octet identifiers only, which is all that certificates use.  An element never reaches beyond the
one it lies in.

Elsewhere: what the parts of a certificate mean is in base/certs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SEQUENCE = 0x30
SET = 0x31
BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
MAX_LENGTH_OCTETS = 4


class DerError(ValueError):
    """The octets are not DER; the message says what is wrong at which offset."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element inside `data`: identifier octet, where it starts, where its content starts, where it ends."""

    data: bytes
    tag: int
    start: int
    content: int
    end: int

    @property
    def octets(self) -> bytes:
        """The whole element, identifier and length included."""
        return self.data[self.start : self.end]

    @property
    def value(self) -> bytes:
        """The content octets."""
        return self.data[self.content : self.end]

    def children(self) -> Iterator[Element]:
        """The elements inside this one, in order; raises DerError where the framing breaks."""
        offset = self.content
        while offset < self.end:
            element = read(self.data, offset, self.end)
            yield element
            offset = element.end


def read(data: bytes, offset: int = 0, end: int | None = None) -> Element:
    """The element that begins at offset and must end by `end` (default: the end of data); raises DerError."""
    limit = len(data) if end is None else end
    if offset + 2 > limit:
        raise DerError(f"the data ends at octet {limit}, inside the head of an element")
    tag, first, content = data[offset], data[offset + 1], offset + 2
    if tag & 0x1F == 0x1F:
        raise DerError(f"octet {offset}: an identifier of several octets, which certificates do not use")
    length = first
    if first & 0x80:
        count = first & 0x7F
        if not 1 <= count <= MAX_LENGTH_OCTETS or content + count > limit:
            raise DerError(f"octet {offset + 1}: the length is indefinite, too long or cut off")
        length = int.from_bytes(data[content : content + count])
        if length < 0x80 or data[content] == 0:
            raise DerError(f"octet {offset + 1}: the length is not in its shortest form")
        content += count
    if content + length > limit:
        raise DerError(f"octet {offset}: the element should have {length} octets, but only {limit - content} are there")
    return Element(data, tag, offset, content, content + length)


def whole(data: bytes, tag: int) -> Element:
    """The one element that data is, with this identifier and nothing after it; raises DerError."""
    element = read(data)
    if element.tag != tag:
        raise DerError(f"octet 0: the identifier is {element.tag:#04x}, not {tag:#04x}")
    if element.end != len(data):
        raise DerError(f"{len(data) - element.end} octets follow the end of the element")
    return element
