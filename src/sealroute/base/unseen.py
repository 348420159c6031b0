"""Why something of a message could not be seen: said with every answer about its content that is not certain."""

from __future__ import annotations

from enum import Enum


class Unseen(Enum):
    """One cause.  What is unseen is never taken for absent."""

    STRUCTURE = "its MIME structure is broken or ambiguous"
    ENCODING = "it has text in an unknown or broken encoding"
    CLOSED = "it is encrypted, or in a container that is not opened"
    BOUND = "it is larger than is looked at"
    NO_SENDER = "it has no readable From address"
    NOT_KEPT = "the trace does not keep it"
    NO_MESSAGE = "it depends on the message"
    """Only the recipient's domain is known."""
