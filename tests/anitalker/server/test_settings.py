"""What the server is started with: refused in one line where it cannot work or would not be safe."""

import json
import socket

import pytest

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.server.address import is_loopback
from anitalker.server.settings import IceServer, ServerSettings, read_ice_servers

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("a.org", False)],
)
def test_loopback_is_known(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"host": "0.0.0.0"}, "there is no token"),
        ({"host": "0.0.0.0", "token": "short"}, "too short"),
        ({"max_sessions": 0}, "--max-sessions is 0"),
        ({"idle_seconds": float("nan")}, "--idle-timeout"),
        ({"origins": ("example.org",)}, "--cors"),
        ({"origins": ("https://example.org/path",)}, "without a path"),
        ({"certificate": "x.pem"}, "both"),
    ],
)
def test_settings_that_cannot_work(values, words):
    with pytest.raises(InputError, match=words):
        ServerSettings(**values)


def test_other_machines_need_the_token():
    assert ServerSettings(host="0.0.0.0", token=TOKEN).token == TOKEN


def test_another_host_without_a_token_is_refused_at_the_start(monkeypatch, capsys):
    monkeypatch.delenv("ANITALKER_TOKEN", raising=False)
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --host is '0.0.0.0'") and "ANITALKER_TOKEN" in error and error.count("\n") == 1


def test_a_missing_extra_is_told(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["serve"]) == 2
    assert 'pip install "anitalker[serve]"' in capsys.readouterr().err


def test_a_port_in_use_is_told(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be used" in capsys.readouterr().err


def test_ice_servers_are_read(tmp_path):
    file = tmp_path / "ice.json"
    turn = {"urls": ["turn:turn.example.org"], "username": "me", "credential": "secret"}
    file.write_text(json.dumps([{"urls": "stun:stun.example.org"}, turn]))
    assert read_ice_servers(file) == (
        IceServer(("stun:stun.example.org",)),
        IceServer(("turn:turn.example.org",), "me", "secret"),
    )
    assert read_ice_servers(None) == ()


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"urls": []}]', '[{"urls": "http://a"}]', '[{"urls": "stun:"}]'])
def test_wrong_ice_files_are_told(tmp_path, text):
    file = tmp_path / "ice.json"
    file.write_text(text)
    with pytest.raises(InputError, match="give a JSON list"):
        read_ice_servers(file)
