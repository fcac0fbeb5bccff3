"""ASGI middleware before the server's routes: tokens, foreign web sites, large and slow bodies, security headers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from anitalker.server.address import is_loopback
from anitalker.server.limits import MB
from anitalker.server.settings import ServerSettings

PROTECTED = ("/v1/", "/metrics")
UPLOADS = ("/v1/avatars", "/v1/videos")  # and what ends with UPLOAD_ENDING; other bodies are small
UPLOAD_ENDING = "/say"
# A body that is slower than this on the whole is cut off: seconds to begin with, then a second per so many bytes.
BODY_SECONDS, BODY_BYTES_PER_SECOND = 20.0, 20_000
# WebSockets in browsers cannot send an Authorization header: the token comes as a subprotocol, base64url without
# padding, as Kubernetes has it.
SPEECH_PROTOCOL, TOKEN_PROTOCOL = "anitalker.speech", "anitalker.bearer."
POLICY_VIOLATION = 1008
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'; object-src 'none'",
}


class Guard:
    """ASGI middleware. A refusal is JSON: {"detail": one line}."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        try:
            self._check_caller(scope)
            if scope["type"] == "http":
                limit = self._body_limit(scope["path"])
                check_announced(Headers(scope=scope), limit)
                receive, send = SteadyReceive(receive, limit), add_security_headers(send)
        except HTTPException as refusal:
            if scope["type"] == "websocket":
                return await WebSocketClose(POLICY_VIOLATION)(scope, receive, send)
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            return await answer(scope, receive, add_security_headers(send))
        await self.app(scope, receive, send)

    def _check_caller(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.settings.token is None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            # A foreign site whose name was pointed at this machine (DNS rebinding) would be of the same origin.
            raise HTTPException(403, "without a token this server answers to localhost only")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host and origin not in self.settings.origins:
            raise HTTPException(403, f"web site {origin[:100]!r} may not use this server; start it with --cors")
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if self.settings.token is None or preflight or not scope["path"].startswith(PROTECTED):
            return
        token = _presented_token(headers)
        if token is None or not hmac.compare_digest(token.encode(), self.settings.token.encode()):
            raise HTTPException(
                401, "the token is missing or wrong; send Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )

    def _body_limit(self, path: str) -> int:
        limits = self.settings.limits
        is_upload = path in UPLOADS or path.endswith(UPLOAD_ENDING)
        return limits.request_bytes + (limits.upload_bytes if is_upload else 0)


def _presented_token(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        encoded = protocol.strip()
        if encoded.startswith(TOKEN_PROTOCOL):
            encoded = encoded.removeprefix(TOKEN_PROTOCOL)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, ValueError):
                return None
    return None


def check_announced(headers: Headers, limit: int) -> None:
    """Raise HTTPException for a body that its header says is larger than `limit` bytes."""
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise HTTPException(400, "content-length is no number")
    if int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the request is too large; allowed are {limit / MB:g} MB")


class SteadyReceive:
    """An ASGI receive that raises HTTPException for a body of more than `limit` bytes, or one that comes too slowly."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._bytes, self._ended = receive, limit, 0, False
        self._start = time.monotonic()

    async def __call__(self) -> Message:
        """Receive a message; after the body's end wait for the disconnection as long as it takes."""
        if self._ended:
            return await self._receive()
        left = BODY_SECONDS + self._bytes / BODY_BYTES_PER_SECOND - (time.monotonic() - self._start)
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except asyncio.TimeoutError:
            raise HTTPException(408, "the request came too slowly; try again", {"connection": "close"}) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limit:
            raise _too_large(self._limit)
        self._ended = not message.get("more_body", False)
        return message


def add_security_headers(send: Send) -> Send:
    """Return an ASGI send that puts SECURITY_HEADERS on every response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {"headers": [], **message}
            headers = MutableHeaders(scope=message)
            headers.update(SECURITY_HEADERS)
        await send(message)

    return send_with_headers
