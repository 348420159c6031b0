"""SMTP replies and enhanced status codes, as values [RFC 5321 §4.2, RFC 3463, RFC 2034]."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Enhanced:
    """An enhanced status code such as 4.7.324 [RFC 3463 §2]: class 2, 4 or 5, then subject and detail of up to 3 digits."""

    klass: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.klass}.{self.subject}.{self.detail}"

    def as_class(self, klass: int) -> Enhanced:
        """The same cause seen as temporary (4) or final (5)."""
        return Enhanced(klass, self.subject, self.detail)

    @classmethod
    def parse(cls, text: str) -> Enhanced | None:
        """The code that text is, or None when it is not one."""
        parts = text.split(".")
        if len(parts) != 3 or parts[0] not in ("2", "4", "5"):
            return None
        if not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts[1:]):
            return None
        return cls(int(parts[0]), int(parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply: code, enhanced code if one was given, and the text lines without either."""

    code: int
    lines: tuple[str, ...] = ()
    enhanced: Enhanced | None = None

    @property
    def text(self) -> str:
        """The reply's text in one line."""
        return self.lines[0] if len(self.lines) == 1 else " ".join(line for line in self.lines if line)

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600

    def __str__(self) -> str:
        code = str(self.code) if self.enhanced is None else f"{self.code} {self.enhanced}"
        text = self.text
        return f"{code} {text}" if text else code
