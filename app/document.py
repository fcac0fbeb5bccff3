"""ASGI middleware that completes Gradio's HTML document and API description before they are sent.

Gradio offers no place in the head of the document that is read before its own script, and it prints addresses in the
samples of its API panel that its own server refuses.
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .prefix import FORWARDED_HOST

SCRIPT = Path(__file__).parent / "page.js"
EXAMPLE_ORIGIN = "http://this-server.invalid"  # in the API's samples; replaced by the server's address
DESCRIPTION = "Let a portrait speak a recording or a text, or move like the face in a video; dub a video."
# Gradio's own description of the page is removed: it shows Gradio's picture and name where a link is shared.
GRADIO_META = re.compile(rb"<meta\s+(?:property|name)=\"(?:og|twitter):[^>]*>\s*")
LOGIN_STYLE = "<style>.auth, .wrap h2 { font-family: ui-sans-serif, system-ui, sans-serif; }</style>"


class Document:
    """ASGI middleware: a response of HTML at `/` gets our head; the API's samples get the address of this server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        meta = (
            f"<meta name='description' content='{DESCRIPTION}'><meta property='og:title' content='AniTalker'>"
            f"<meta property='og:description' content='{DESCRIPTION}'>"
            "<meta name='theme-color' media='(prefers-color-scheme: light)' content='#faf8f4'>"
            "<meta name='theme-color' media='(prefers-color-scheme: dark)' content='#131210'>"
        )
        self.head = f"<head>{meta}{LOGIN_STYLE}<script>{SCRIPT.read_text(encoding='utf-8')}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; complete the answer where it is the document or the description of the API."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path.rstrip("/") not in ("", "/gradio_api/info"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        host = headers.get(FORWARDED_HOST) or headers.get("host", "")  # with the path behind a proxy: `Prefix`
        origin = f"{scope.get('scheme', 'http')}://{host}" if re.fullmatch(r"[\w.:\[\]/~-]+", host) else ""
        scope = {**scope, "headers": [(key, value) for key, value in scope["headers"] if key != b"accept-encoding"]}
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            answer_headers = MutableHeaders(raw=list(start["headers"]))
            if answer_headers.get("content-type", "").startswith(("text/html", "application/json")) and body:
                body = self.complete(body, origin)
                answer_headers["content-length"] = str(len(body))
            await send({**start, "headers": answer_headers.raw})
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, collect)

    def complete(self, body: bytes, origin: str) -> bytes:
        """Return the document, or the API's description, with our head and the server's own address."""
        body = GRADIO_META.sub(b"", body).replace(b"<head>", self.head, 1)
        return body.replace(EXAMPLE_ORIGIN.encode(), origin.encode()) if origin else body
