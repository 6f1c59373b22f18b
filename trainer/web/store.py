"""The static store over HTTP: releases and rollout documents, read only.

A path is served when each of its parts is a plain name below ``releases/`` or ``rollouts/``: no listing, no
hidden or half-written file, nothing outside the root. Everything is sent as what it is, never sniffed.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from shared.files import read_bounded
from shared.release import MAX_MANIFEST_BYTES

_PART: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,79}")
_SHELVES: Final = frozenset({"releases", "rollouts"})
_MAX_PARTS: Final = 4
_MAX_PATH: Final = 400
_TYPES: Final = {".json": "application/json"}
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}

#: Says what the trainer is up to, and whether it is well.
Health = Callable[[], tuple[bool, dict[str, object]]]


def build_app(root: Path, health: Health) -> FastAPI:
    """Make the application that serves the store below ``root`` and ``/healthz``."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    root = root.resolve()

    @app.middleware("http")
    async def _harden(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await go_on(request)
        response.headers.update(_HEADERS)
        return response

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    def _healthz() -> JSONResponse:
        well, facts = health()
        return JSONResponse({"ok": well, **facts}, status_code=200 if well else 503)

    @app.api_route("/{path:path}", methods=["GET", "HEAD"])
    def _file(path: str) -> Response:
        file = locate(root, path)
        if file is None:
            return JSONResponse({"error": "no such file"}, status_code=404)
        if path.startswith("rollouts/"):
            # Rollout documents are replaced in place: read whole, so that a length and its bytes are of one document.
            return Response(
                read_bounded(file, limit=MAX_MANIFEST_BYTES),
                media_type="application/json",
                headers={"Cache-Control": "no-store"},
            )
        return FileResponse(file, media_type=_TYPES.get(file.suffix, "application/octet-stream"))

    return app


def locate(root: Path, path: str) -> Path | None:
    """Find the file a path names, or None when there is nothing to serve."""
    parts = path.split("/") if len(path) <= _MAX_PATH else []
    if not 2 <= len(parts) <= _MAX_PARTS or parts[0] not in _SHELVES:
        return None
    if not all(_PART.fullmatch(part) for part in parts):
        return None
    file = root.joinpath(*parts)
    try:
        # A link may not lead out of the store.
        return file if file.is_file() and file.resolve().is_relative_to(root) else None
    except OSError:
        return None
