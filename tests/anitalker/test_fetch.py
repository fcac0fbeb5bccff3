"""Fetching over real HTTP from a server on this machine: resumed, checked, never glued together, clear when offline."""

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from anitalker import fetch, registry
from anitalker.cli import main
from anitalker.config import InputError

DATA = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(len(DATA))
PATH = "/taocode/anitalker_ckpts/resolve/main/stage1.ckpt"


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Remote:
    """What the server has and how it behaves: `ends` are numbers of bytes after which the next connections break."""

    def __init__(self):
        self.files, self.ends, self.statuses, self.requests = {PATH: DATA}, [], [], []
        self.tags, self.ranges, self.moved = True, True, {}

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        data = self.files.get(handler.path)
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return handler.send_error(status)
        if handler.path in self.moved:
            handler.send_response(302)
            handler.send_header("Location", self.moved[handler.path])
            return handler.end_headers()
        if data is None:
            return handler.send_error(404)
        tag, start = f'"{digest(data)[:16]}"', 0
        if asked and self.ranges and (not self.tags or handler.headers.get("If-Range") in (None, tag)):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                return handler.send_error(416)
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) - start))
        if self.tags:
            handler.send_header("ETag", tag)
        handler.end_headers()
        handler.wfile.write(data[start : start + self.ends.pop(0)] if self.ends else data[start:])
        handler.close_connection = True


@pytest.fixture
def remote(monkeypatch, tmp_path):
    """The server, as the model hub; an empty cache; and stage1 registered as what the server has."""
    state = Remote()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients that hang up
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("ANITALKER_HUB", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANITALKER_CHECKPOINTS", raising=False)
    monkeypatch.setattr(fetch, "PAUSES", (0, 0, 0))
    register(monkeypatch, DATA)
    yield state
    server.shutdown()
    server.server_close()


def register(monkeypatch, data):
    entry = replace(registry.REGISTRY["stage1"], sha256=digest(data), size=len(data))
    monkeypatch.setitem(registry.REGISTRY, "stage1", entry)


def forget(monkeypatch):
    """The hash is not known before the first fetch."""
    monkeypatch.setitem(registry.REGISTRY, "stage1", replace(registry.REGISTRY["stage1"], sha256="", size=0))


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "anitalker").iterdir())


def refused(words, name="stage1"):
    with pytest.raises(InputError, match=words) as error:
        fetch.fetch(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_arrives_whole_and_is_found(remote, tmp_path):
    told = []
    facts = fetch.fetch("stage1", lambda *what: told.append(what))
    path = tmp_path / "anitalker/stage1.ckpt"
    assert facts == {
        "name": "stage1", "file": str(path), "bytes": len(DATA), "sha256": digest(DATA), "fetched": True
    }  # fmt: skip
    assert path.read_bytes() == DATA and files(tmp_path) == ["fetched.json", "stage1.ckpt"]
    assert registry.find("stage1")[0] == path
    assert told[-1] == ("stage1.ckpt [MB]", 3, 3) and [done for _, done, _ in told] == sorted(d for _, d, _ in told)
    assert fetch.fetch("stage1") == {**facts, "fetched": False} and len(remote.requests) == 1


def test_broken_connections_continue_where_they_broke(remote, tmp_path):
    remote.ends = [1_000_000, 500_000, 7]
    fetch.fetch("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA
    assert remote.requests == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500007-"]


def test_a_later_run_continues(remote, tmp_path):
    remote.ends = [1_000_000, 0, 0, 0, 0]
    message = refused("connection ended")
    assert "1000000 bytes are kept" in message and PATH in message
    assert files(tmp_path) == ["stage1.ckpt.partial", "stage1.ckpt.partial.json"]
    remote.requests.clear()
    fetch.fetch("stage1")
    assert remote.requests == ["bytes=1000000-"]
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA
    assert files(tmp_path) == ["fetched.json", "stage1.ckpt"]


def test_a_stopped_run_continues(remote, tmp_path):
    def stop(_, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("stage1", stop)
    fetch.fetch("stage1")
    assert remote.requests[1].startswith("bytes=1") and (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA


@pytest.mark.parametrize("tags", [True, False])
def test_a_changed_file_is_not_glued_together(remote, monkeypatch, tmp_path, tags):
    """Same size, other content, while half of the former one is here; also where the server tells them not apart."""
    remote.ends, remote.tags = [1_000_000, 0, 0, 0, 0], tags
    refused("connection ended")
    remote.files[PATH] = OTHER
    register(monkeypatch, OTHER)
    fetch.fetch("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == OTHER


def test_a_server_without_ranges_starts_over(remote, tmp_path):
    remote.ranges, remote.ends = False, [2_000_000]
    fetch.fetch("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA


def test_a_shorter_file_is_not_asked_beyond_its_end(remote, monkeypatch, tmp_path):
    remote.ends = [2_000_000, 0, 0, 0, 0]
    refused("connection ended")
    remote.files[PATH], remote.tags = OTHER[:1_000_000], False
    register(monkeypatch, OTHER[:1_000_000])
    fetch.fetch("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == OTHER[:1_000_000]


def test_a_wrong_hash_leaves_nothing(remote, tmp_path):
    remote.files[PATH] = OTHER
    refused("not the registered file")
    assert files(tmp_path) == []


def test_a_wrong_size_is_refused_at_once(remote, tmp_path):
    remote.files[PATH] = b"<html>please log in</html>"
    refused("26 bytes instead of 3000000")
    assert files(tmp_path) == []


def test_what_was_fetched_is_checked_when_it_is_used(remote, tmp_path):
    fetch.fetch("stage1")
    (tmp_path / "anitalker/stage1.ckpt").write_bytes(OTHER)
    assert "models fetch stage1" in refused("SHA-256 differs")
    with pytest.raises(InputError, match="SHA-256 differs"):
        registry.verified("stage1")


def test_an_unknown_hash_is_recorded_and_then_holds(remote, monkeypatch, tmp_path):
    forget(monkeypatch)
    assert fetch.fetch("stage1")["sha256"] == digest(DATA)
    path, notes = tmp_path / "anitalker/stage1.ckpt", tmp_path / "anitalker/fetched.json"
    assert json.loads(notes.read_text())["stage1.ckpt"]["sha256"] == digest(DATA)
    path.write_bytes(OTHER)
    with pytest.raises(InputError, match="SHA-256 differs"):
        registry.verified("stage1")
    path.unlink()
    remote.files[PATH] = OTHER  # another file under the same name: not what was recorded
    refused("not the registered file")


def test_redirections_are_followed(remote, tmp_path):
    remote.files = {"/elsewhere": DATA}
    remote.moved, remote.ends = {PATH: "/elsewhere"}, [1_000_000]
    fetch.fetch("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA
    assert remote.requests == [None, None, "bytes=1000000-", "bytes=1000000-"]


def test_a_missing_file_says_what_to_do(remote, tmp_path):
    remote.files.clear()
    message = refused("status 404")
    assert PATH in message and str(tmp_path / "anitalker/stage1.ckpt") in message
    assert len(remote.requests) == 1 and files(tmp_path) == []


def test_a_busy_server_is_asked_again(remote):
    remote.statuses = [503, 429, 500]
    assert fetch.fetch("stage1")["fetched"]
    assert len(remote.requests) == 4


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_offline(remote, monkeypatch, tmp_path, address):
    monkeypatch.setenv("ANITALKER_HUB", address)
    message = refused("cannot get stage1.ckpt")
    assert address[7:] in message and str(tmp_path / "anitalker/stage1.ckpt") in message and "ANITALKER_HUB" in message
    assert files(tmp_path) == []


@pytest.mark.parametrize("address", ["file:///etc", "ftp://host", "host"])
def test_only_http(remote, monkeypatch, address):
    monkeypatch.setenv("ANITALKER_HUB", address)
    refused("allowed is an address")


@pytest.mark.parametrize("name", ["lite", "nonsense"])
def test_what_cannot_be_fetched(remote, name):
    assert "stage1" in refused("nothing to fetch", name)
    assert not remote.requests


def test_a_full_disk_is_noticed_before(remote, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    refused("1000 bytes free; 3000000 are needed")


def test_by_the_command_line(remote, tmp_path, capsys):
    assert main(["models", "fetch", "stage1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["fetched"][0]["file"] == str(tmp_path / "anitalker/stage1.ckpt")
    assert "stage1.ckpt [MB] 3/3" in err
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "anitalker/stage1.ckpt") in out and "not here: anitalker models fetch mfcc_pose_only" in out
    remote.files.clear()
    assert main(["models", "fetch", "mfcc_full_control"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["fetch"], ["convert", "a"], ["list", "a"], ["convert", "a", "b", "c"]])
def test_wrong_numbers_of_arguments(arguments, capsys):
    assert main(["models", *arguments]) == 2
    assert "see `anitalker models --help`" in capsys.readouterr().err


def test_an_interruption_says_that_it_continues(remote, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "download", stop)
    assert main(["models", "fetch", "stage1"]) == 130
    assert "the same command continues" in capsys.readouterr().err
