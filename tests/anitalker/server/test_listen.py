"""Serving with uvicorn: the address is printed when a client can connect, and not when the port is taken."""

import inspect
import signal
import socket
import subprocess
import sys

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
def test_a_client_can_connect_once_the_address_is_printed(host, root):
    """In a process of its own: an interruption of uvicorn ends the event streams of every server in the process."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as trial:
        port = trial.getsockname()[1]
    lines = ("from anitalker.server.listen import listen", inspect.getsource(application))
    code = "\n".join([*lines, f"listen(application, {host!r}, {port})"])
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    socket.create_connection((host, port), timeout=10).close()
    address = f"[{host}]" if ":" in host else host
    assert line == f"AniTalker: http://{address}:{port}  (press Ctrl-C to stop)\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "" and process.returncode == 0


def test_a_port_that_was_taken_meanwhile_ends_with_a_status(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit) as stop:
        listen(application, "127.0.0.1", other.getsockname()[1])
    assert stop.value.code != 0 and "AniTalker:" not in capsys.readouterr().out
