"""What stands between the network and Gradio: who a visitor is, whose a file is, how much may come, and nothing else.

Gradio serves every file of its cache to whoever knows the path, reads uploads before it refuses them, and fetches
addresses that it is given. Here a signed cookie names the visitor, uploads move into the visitor's own folder, and a
request that names another's file, an address, or too many bytes does not reach Gradio.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from app.limits import Limits
from app.visits import Visits

COOKIE = "anitalker-visitor"
HEADER = b"x-anitalker-visit"  # set here for the handlers; what a client sends under this name is dropped
API = "/gradio_api/"
OPEN = ("info", "app_id", "login_check", "user", "token", "startup-events", "theme.css", "upload_progress", "reset")
JSON_CALLS = ("queue/join", "cancel", "run/", "api/", "call/")
SESSIONS = 10_000  # sessions whose owner is remembered
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; form-action 'self'; "
    "base-uri 'self'; object-src 'none'"
)
DRESS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
]


class Refused(Exception):
    """status, and one line for the visitor."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line


class Guard:
    """ASGI middleware over Gradio's application."""

    def __init__(self, app, visits: Visits, limits: Limits) -> None:
        self.app, self.visits, self.limits = app, visits, limits
        self._sessions: OrderedDict[str, str] = OrderedDict()  # session -> visitor

    async def __call__(self, scope, receive, send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers = dict(scope["headers"])
        token = _cookie(headers.get(b"cookie", b""))
        fresh = not self.visits.known(token)
        token = self.visits.new_token() if fresh else token
        name = self.visits.name(token)
        own = [pair for pair in scope["headers"] if pair[0].lower() != HEADER]
        scope = {**scope, "headers": [*own, (HEADER, name.encode())]}
        send = _dressed(send, token if fresh else None, secure=scope.get("scheme") == "https")
        try:
            await self._pass(scope, receive, send, name, headers)
        except Refused as refused:
            await _answer(send, refused.status, json.dumps({"detail": refused.line}))

    async def _pass(self, scope, receive, send, name: str, headers: dict) -> None:
        path, method = scope["path"], scope["method"]
        if not path.startswith(API):
            if method not in ("GET", "HEAD") and path.rstrip("/") not in ("/login", "/logout"):
                raise Refused(405, "this page is read with GET")
            return await self.app(scope, _limited(receive, self.limits.request), send)
        call = path[len(API) :]
        if call.startswith("file="):
            file = self.visits.may_read(name, call[len("file=") :])
            if file is None:
                raise Refused(403, "this file is not yours, or not here any more")
            path = f"{API}file={file}"
            return await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, send)
        if call == "upload" and method == "POST":
            return await self._upload(scope, receive, send, name, headers)
        if call.startswith(JSON_CALLS) and method == "POST":
            body = await _read(receive, headers, self.limits.request)
            self._check(name, body)
            return await self.app(scope, _replay(body, receive), send)
        if call == "queue/data":
            self._session(name, parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0])
        elif call.startswith("heartbeat/"):
            self._session(name, call[len("heartbeat/") :])
        elif not call.startswith((*OPEN, "call/")):
            raise Refused(404, "there is nothing here")
        return await self.app(scope, _limited(receive, self.limits.request), send)

    def _check(self, name: str, body: bytes) -> None:
        """Refused unless every file that a call names is the visitor's, and the session too."""
        try:
            call = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise Refused(400, "this call is no JSON") from None
        if isinstance(call, dict) and isinstance(call.get("session_hash"), str):
            self._session(name, call["session_hash"])
        for path in _paths(call):
            if not isinstance(path, str) or self.visits.may_read(name, path) is None:
                raise Refused(403, "give a file that you uploaded in this visit; addresses and other files are refused")

    def _session(self, name: str, session: str) -> None:
        """The first visitor who uses a session owns it."""
        if self._sessions.setdefault(session, name) != name:
            raise Refused(403, "this session is another visitor's")
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)

    async def _upload(self, scope, receive, send, name: str, headers: dict) -> None:
        most = self.limits.upload
        line = f"the upload is too large; allowed are {most / 1e6:g} MB"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most + self.limits.request:
            raise Refused(413, line)
        self.visits.sweep()
        counted, answer = _Counted(receive, most + self.limits.request), _Kept()
        try:
            await self.app(scope, counted, answer)
        except Exception:
            if not counted.over:
                raise
        if counted.over or answer.status == 413:
            raise Refused(413, line)
        body = answer.body
        if answer.status == 200:
            try:
                body = json.dumps([str(self.visits.adopt(name, path)) for path in json.loads(body)]).encode()
            except FileNotFoundError:  # the same file came twice at the same moment
                raise Refused(409, "the upload was disturbed; try again") from None
        await _answer(send, answer.status, body, answer.kind)


class _Counted:
    """receive that ends the request when more than `most` bytes have come."""

    def __init__(self, receive, most: int) -> None:
        self.receive, self.most, self.over = receive, most, False

    async def __call__(self) -> dict:
        message = await self.receive()
        self.most -= len(message.get("body", b""))
        self.over = self.most < 0
        return {"type": "http.disconnect"} if self.over else message


class _Kept:
    """send that keeps the whole answer."""

    def __init__(self) -> None:
        self.status, self.body, self.kind = 500, b"", "application/json"

    async def __call__(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.kind = dict(message.get("headers", [])).get(b"content-type", b"text/plain").decode("latin-1")
        self.body += message.get("body", b"")


def _paths(value):
    """Every `path` in a call, and every `url` that is no address of a file here."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "path" and inner is not None:
                yield inner
            elif key == "url" and inner is not None and f"{API}file=" not in str(inner):
                yield None
            else:
                yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


def _cookie(header: bytes) -> str | None:
    try:
        found = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _dressed(send, token: str | None, secure: bool):
    """send with our headers, and the cookie for a new visitor."""

    async def dressed(message: dict) -> None:
        if message["type"] == "http.response.start":
            extra = list(DRESS)
            if token:
                cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
                extra.append((b"set-cookie", cookie.encode()))
            names = {key for key, _ in DRESS}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in names]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return dressed


async def _answer(send, status: int, body: str | bytes, kind: str = "application/json") -> None:
    data = body.encode() if isinstance(body, str) else body
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def _read(receive, headers: dict, most: int) -> bytes:
    """The whole body; Refused when it is larger than `most`, before it is read if it says so."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > most:
        raise Refused(413, f"this call is too large; allowed are {most:,} bytes; send files as uploads")
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the call broke off")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise Refused(413, f"this call is too large; allowed are {most:,} bytes; send files as uploads")
    return body


def _replay(body: bytes, receive):
    """receive that gives `body` first, then what comes after (the disconnect)."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict:
        return waiting.pop() if waiting else await receive()

    return replay


def _limited(receive, most: int):
    return _Counted(receive, most)
