"""Errors, split by whose fault they are.

An *expected* outcome (no match, held, refused) is a value, never an exception.  What is raised here is a broken rule:
the operator's (configuration, command line, connector parameters), a peer's (protocol), or ours (a bug).
"""

from __future__ import annotations

from dataclasses import dataclass


class SealrouteError(Exception):
    """Root of everything Sealroute raises on purpose."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what an operator gave us: where it is, what is wrong, what to do."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} {self.fix}" if self.fix else text


class OperatorError(SealrouteError):
    """The operator's input cannot be used; nothing of it was applied.  Carries every problem found, not only the first."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    @classmethod
    def one(cls, where: str, what: str, fix: str = "") -> OperatorError:
        return cls(Problem(where, what, fix))


class PeerError(SealrouteError):
    """The other side broke its protocol; the message says how, in words fit for a trace."""


class InputError(SealrouteError):
    """Bytes or text that should follow a published grammar do not; the message says where and what."""


class StoreUnavailable(SealrouteError):
    """The store could not make something durable, or could not be read; nothing of it was applied.  Trying again may help."""
