"""/metrics and /healthz over HTTP: read only, without authentication, meant for the inside (settings section `[http]`).

/healthz answers 200 when every part is well and 503 otherwise, with the parts and what ails them as JSON, so that a load
balancer and a person can both use it.  What "well" means for a part is known to app.py, which hands a callable in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sealroute import __version__
from sealroute.services.metrics import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the gateway and how it is: store, resolver, listeners, queue."""

    name: str
    ok: bool
    detail: str = ""
    """What is wrong and what to do, when it is not ok; a short fact otherwise."""


class Rendered(Protocol):
    """Where the text of /metrics comes from: one process's metrics, or those of all workers together."""

    def render(self) -> bytes: ...


Health = Callable[[], Awaitable[Sequence[Part]]]
Refresh = Callable[[], Awaitable[None]]


def create_app(metrics: Rendered, health: Health, refresh: Refresh | None = None) -> Starlette:
    """The application; `refresh` is awaited before metrics are shown (queue depth needs a look into the store).

    Starlette alone: FastAPI on top of it is 13 MiB in every worker, and two paths without parameters need none of it.
    """

    async def show_metrics(_: Request) -> Response:
        if refresh is not None:
            await refresh()
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    async def show_health(_: Request) -> Response:
        try:
            parts = await health()
        except Exception as error:
            # Whatever broke, the answer to "are you well?" is no, not a stack trace.
            parts = [Part("health", ok=False, detail=f"the check itself failed: {type(error).__name__}: {error}")]
        return JSONResponse(report(parts), status_code=200 if all(part.ok for part in parts) else 503)

    return Starlette(routes=[Route("/metrics", show_metrics), Route("/healthz", show_health)])


def report(parts: Sequence[Part]) -> dict[str, Any]:
    """The JSON of /healthz."""
    return {
        "status": "ok" if all(part.ok for part in parts) else "failing",
        "version": __version__,
        "parts": {part.name: {"ok": part.ok, "detail": part.detail} for part in parts},
    }
