"""The log: structlog, one line per event, on standard error; a set-up called once by app.py.

Lines say `event` and key-value pairs, never a sentence with values glued in.  Message content and passwords are never logged;
addresses and subjects only in trace.  Other libraries' records (uvicorn, SQLAlchemy) go the same way through `logging`; our own
do not, as every delivery is a line.
Values from outside are escaped by both formats, so that no client can forge a line.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from sealroute.base.jsontext import encode

_QUIET = {
    "uvicorn.access": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "asyncio": logging.WARNING,
    "alembic": logging.WARNING,
    "uvicorn.error": logging.WARNING,
}
"""Others' chatter, of no use to an administrator below this level."""


FLUSH_SECONDS = 0.05
"""How long a line below `warning` may wait for company: a system call per line costs more than making the line."""


class Lines:
    """Lines on their way to a stream; those that can wait are written together at the next turn of the clock.

    Without a running event loop nothing waits.  What a killed process had not written yet is lost; the trace has all of it.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._waiting: list[str] = []
        self._due = False

    def write(self, line: str, *, urgent: bool = True) -> None:
        """Add a line, its end included."""
        self._waiting.append(line)
        if urgent:
            self.flush()
        elif not self._due:
            try:
                asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
                self._due = True
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        self._due = False
        lines, self._waiting = self._waiting, []
        if lines:
            self._out.write("".join(lines))
            self._out.flush()


class _Logger:
    """What structlog hands finished lines to; its methods are named by level."""

    def __init__(self, lines: Lines, name: str) -> None:
        self.name = name
        self._lines = lines

    def info(self, line: str) -> None:
        self._lines.write(line + "\n", urgent=False)

    debug = info

    def warning(self, line: str) -> None:
        self._lines.write(line + "\n")

    warn = error = err = exception = critical = fatal = warning


_lines = Lines(sys.stderr)


def flush() -> None:
    """Write what still waits: before the process forks or ends."""
    _lines.flush()


os.register_at_fork(before=flush)
atexit.register(flush)


def configure(level: str = "info", style: str = "json", stream: TextIO | None = None) -> None:
    """Send logs to the stream (standard error) at the level (debug, info, warning, error), as `json` or `console`."""
    global _lines
    out = stream or sys.stderr
    _lines = lines = Lines(out)
    threshold = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor]
    if style == "json":
        last = [structlog.processors.format_exc_info, _json]
    else:
        # Rich's tracebacks show local variables, which may be passwords or content.
        plain = structlog.dev.plain_traceback
        last = [_one_line, structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, *shared, *last],
        logger_factory=lambda *names: _Logger(lines, names[0] if names else ""),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.terminator = ""
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, _with_end],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, threshold))


def _with_end(_logger: object, _method: str, line: Any) -> str:
    return f"{line}\n"


_any_json = structlog.processors.JSONRenderer(ensure_ascii=True)


def _json(logger: object, method: str, event: structlog.typing.EventDict) -> str | bytes:
    """The line as JSON; values that have no form there are shown as Python shows them."""
    try:
        return encode(event)
    except TypeError:
        return _any_json(logger, method, event)


def _one_line(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show line ends and other control characters as visible signs, as JSON escapes them and the console format would not."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key not in ("exception", "stack"):
            event[key] = "".join(c if c.isprintable() else _sign(c) for c in value)
    return event


def _sign(character: str) -> str:
    """A control character's picture; a backslash would be escaped a second time."""
    return chr(0x2400 + ord(character)) if ord(character) < 32 else "\N{REPLACEMENT CHARACTER}"
