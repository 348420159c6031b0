"""The log: structlog, one line per event, on standard error; a set-up called once by app.py.

Lines say `event` and key-value pairs, never a sentence with values glued in.  Message content and passwords are never logged;
addresses and subjects only in trace.  Other libraries' records (uvicorn, SQLAlchemy) pass through the same formatter.
Values from outside are escaped by both formats, so that no client can forge a line.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

_QUIET = {
    "uvicorn.access": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "asyncio": logging.WARNING,
    "alembic": logging.WARNING,
    "uvicorn.error": logging.WARNING,
}
"""Others' chatter, of no use to an administrator below this level."""


def configure(level: str = "info", style: str = "json", stream: TextIO | None = None) -> None:
    """Send logs to the stream (standard error) at the level (debug, info, warning, error), as `json` or `console`."""
    out = stream or sys.stderr
    threshold = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor
    if style == "json":
        shared.append(structlog.processors.format_exc_info)
        last: list[Processor] = []
        renderer = structlog.processors.JSONRenderer(ensure_ascii=True)
    else:
        last = [_one_line]
        # Rich's tracebacks show local variables, which may be passwords or content.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, threshold))


def _one_line(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show line ends and other control characters as visible signs, as JSON escapes them and the console format would not."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key not in ("exception", "stack"):
            event[key] = "".join(c if c.isprintable() else _sign(c) for c in value)
    return event


def _sign(character: str) -> str:
    """A control character's picture; a backslash would be escaped a second time."""
    return chr(0x2400 + ord(character)) if ord(character) < 32 else "\N{REPLACEMENT CHARACTER}"
