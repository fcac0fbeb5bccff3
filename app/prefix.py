"""ASGI middleware for a page that a proxy serves below a path: https://example.org/talk/ in place of the root.

The path comes from the option --root-path, or from the proxy's header X-Forwarded-Prefix. The proxy may pass it on in
front of each address, or remove it.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from anitalker.config import InputError

HEADER, FORWARDED_HOST = "x-forwarded-prefix", "x-forwarded-host"
PATH = re.compile(r"(?:/[\w.~-]+)+")
MAX_LENGTH = 200  # characters


class Prefix:
    """ASGI middleware: removes the path from requests, and tells it to Gradio, which writes it into the page."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on below its path; the path alone is sent on to the page."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        prefix = self.root_path or _checked(headers.get(HEADER, "")) or ""
        if not prefix:
            return await self.app(scope, receive, send)
        path = scope["path"]
        if path == prefix:
            return await RedirectResponse(f"{prefix}/")(scope, receive, send)
        scope = dict(scope)
        if path.startswith(f"{prefix}/"):
            scope["path"] = path.removeprefix(prefix)
            scope["raw_path"] = scope.get("raw_path", path.encode()).removeprefix(prefix.encode())
        # Gradio makes the page's address of this header, as it is; of its document, of the root path.
        scope["root_path"] = prefix
        host = headers.get(FORWARDED_HOST) or headers.get("host", "")
        MutableHeaders(scope=scope)[FORWARDED_HOST] = host.split(",")[0].strip() + prefix
        await self.app(scope, receive, send)


def check_root_path(root_path: str) -> str:
    """Return a path without a slash at its end; empty for the root. Raises InputError for what is no path."""
    if not root_path.strip("/"):
        return ""
    checked = _checked(root_path)
    if checked is None:
        raise InputError(f"--root-path is {root_path[:50]!r}; give the path of the page behind the proxy, like /talk")
    return checked


def _checked(path: str) -> str | None:
    path = path.rstrip("/")
    return path if PATH.fullmatch(path) and len(path) <= MAX_LENGTH and ".." not in path else None
