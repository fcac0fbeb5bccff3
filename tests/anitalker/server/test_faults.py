"""Load and faults over a real socket: slow headers, and requests that schemathesis makes up from the description."""

import socket
import threading
import time
from dataclasses import replace

import pytest

# Examples of each operation, in each mode.
FEW, MANY = pytest.param(20, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.soak)


@pytest.fixture
def served(server_talker, settings):
    """The port of a running server."""
    import uvicorn

    from anitalker.server.application import build_application
    from anitalker.server.http_protocol import TimedHeaders

    config = uvicorn.Config(
        build_application(server_talker, settings), port=0, http=TimedHeaders, log_level="error", ws_max_size=200_000
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def test_headers_that_never_end_are_cut_off(served, monkeypatch):
    monkeypatch.setattr("anitalker.server.http_protocol.HEADER_SECONDS", 0.2)
    with connect(served) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert slow.recv(1000) == b""


def test_the_next_request_of_a_connection_has_its_time_too(served, monkeypatch):
    monkeypatch.setattr("anitalker.server.http_protocol.HEADER_SECONDS", 0.2)
    with connect(served) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.recv(10_000).startswith(b"HTTP/1.1 200")
        kept.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
        left = b""
        while piece := kept.recv(10_000):  # the rest of the first answer, then the end
            left += piece
        assert b"HTTP/1.1" not in left


def test_a_body_that_never_comes_is_cut_off(served, monkeypatch):
    monkeypatch.setattr("anitalker.server.guard.BODY_SECONDS", 0.2)
    with connect(served) as slow:
        head = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        slow.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_hundred_megabytes_are_refused_unread(served):
    with connect(served) as large:
        head = b"POST /v1/avatars HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        large.sendall(head + b"Content-Length: 100000000\r\n\r\n")
        assert large.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(
    "examples", [pytest.param(20, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.soak)]
)
def test_made_up_requests_are_never_our_fault(server_talker, settings, example_portrait, mode, examples):
    """Examples of every operation, allowed and not, some with a portrait that is there: no answer of 500 or more."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given
    from hypothesis import settings as hypothesis_settings
    from hypothesis.errors import Unsatisfiable

    from anitalker.server.application import build_application

    schemathesis.serializer.alias("application/trickle-ice-sdpfrag", "text/plain")
    token = "0123456789abcdef"
    app, headers = (
        build_application(server_talker, replace(settings, token=token)),
        {"authorization": f"Bearer {token}"},
    )
    with example_portrait.open("rb") as file:
        avatar = app.state.avatars.add(file, "face.webp", "largest").id
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    quick = hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    operations = [result.ok() for result in schema.get_all_operations()]
    tried = 0
    for operation in operations:

        @quick
        @given(operation.as_strategy(schemathesis.GenerationMode(mode)))
        def send(case):
            if isinstance(case.body, dict) and len(case.body) % 2:
                case.body["avatar"] = avatar
            answer = case.call(headers=headers)
            assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text[:300])

        try:
            send()
            tried += 1
        except Unsatisfiable:  # a request of free texts only cannot be wrong
            assert mode == "negative"
    assert tried >= (4 if mode == "negative" else len(operations))
