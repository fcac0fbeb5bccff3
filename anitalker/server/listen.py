"""Serve an ASGI application with uvicorn; the address is printed once it answers."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

STARTUP_FAILURE = 3  # uvicorn's own exit status when it cannot start


def listen(app: ASGIApp, host: str, port: int, **settings: Any) -> None:
    """Serve until Ctrl-C or SIGTERM; `settings` are uvicorn's. Prints one line when connections are accepted."""
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                scheme = "https" if self.config.is_ssl else "http"
                name = f"[{host}]" if ":" in host else host
                print(f"AniTalker: {scheme}://{name}:{port}  (press Ctrl-C to stop)", flush=True)

    server = Announced(uvicorn.Config(app, host, port, log_level="warning", server_header=False, **settings))
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
