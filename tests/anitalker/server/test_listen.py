"""Serving with uvicorn: the address is printed when a client can connect, and not when the port is taken."""

import os
import re
import signal
import socket

import pytest

from anitalker.server.listen import listen


async def application(scope, receive, send):
    """Answers nothing but the start and the end of the server."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_client_can_connect_once_the_address_is_printed(host, monkeypatch):
    lines = []

    def connect(line, flush):
        address = re.fullmatch(r"AniTalker: http://(.+):(\d+)  \(press Ctrl-C to stop\)", line)
        socket.create_connection((address[1].strip("[]"), int(address[2])), timeout=10).close()
        lines.append(line)
        os.kill(os.getpid(), signal.SIGINT)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as trial:
        port = trial.getsockname()[1]
    monkeypatch.setattr("builtins.print", connect)
    listen(application, host, port)
    assert len(lines) == 1


def test_a_port_that_was_taken_meanwhile_ends_with_a_status(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit) as stop:
        listen(application, "127.0.0.1", other.getsockname()[1])
    assert stop.value.code != 0 and "AniTalker:" not in capsys.readouterr().out
