"""Downloads over real HTTP from a server on this machine that answers as the model hub does."""

import hashlib
import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.weights import download, registry

DATA = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(len(DATA))
PATH = "/taocode/anitalker_ckpts/resolve/main/stage1.ckpt"
CHUNK = 1 << 16  # bytes that huggingface_hub writes at once in these tests


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Hub:
    """What the server has and how it behaves: `breaks` are numbers of bytes after which the next connections break."""

    def __init__(self):
        self.files, self.redirects, self.breaks, self.statuses = {PATH: DATA}, {}, [], []
        self.ranges, self.address, self.requests = True, "", []

    @property
    def downloads(self):
        """The Range headers of the GET requests."""
        return [requested for method, requested, _ in self.requests if method == "GET"]

    def answer(self, handler):
        requested = handler.headers.get("Range")
        self.requests.append((handler.command, requested, handler.headers.get("Authorization")))
        data = self.files.get(self.redirects.get(handler.path, handler.path))
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return handler.send_error(status)
        if data is None:
            handler.send_response(404)
            handler.send_header("X-Error-Code", "EntryNotFound")
            return handler.end_headers()
        if handler.path in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[handler.path])
            self.describe(handler, data)
            return handler.end_headers()
        start = 0
        if requested and self.ranges:
            start = int(requested.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                return handler.send_error(416)
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        self.describe(handler, data)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        if handler.command == "GET":
            end = start + self.breaks.pop(0) if self.breaks else len(data)
            handler.wfile.write(data[start:end])
            handler.close_connection = True

    @staticmethod
    def describe(handler, data):
        """The headers of the hub's resolve endpoint."""
        handler.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        handler.send_header("X-Linked-ETag", f'"{digest(data)}"')
        handler.send_header("X-Linked-Size", str(len(data)))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The server, an empty cache, and stage1 registered as what the server has."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients that hang up
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("ANITALKER_HUB", f"{state.address}/")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANITALKER_CHECKPOINTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    register(monkeypatch, DATA)
    yield state
    server.shutdown()
    server.server_close()


def register(monkeypatch, data, **changes):
    entry = replace(registry.REGISTRY["stage1"], sha256=digest(data), size=len(data), **changes)
    monkeypatch.setitem(registry.REGISTRY, "stage1", entry)


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "anitalker").iterdir())


def refused(words, name="stage1"):
    with pytest.raises(InputError, match=words) as error:
        download.download(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_arrives_whole_and_is_resolved(hub, tmp_path):
    progress = []
    facts = download.download("stage1", lambda *step: progress.append(step))
    path = tmp_path / "anitalker/stage1.ckpt"
    assert facts == {
        "name": "stage1", "file": str(path), "bytes": len(DATA), "sha256": digest(DATA), "fetched": True
    }  # fmt: skip
    assert path.read_bytes() == DATA and files(tmp_path) == ["stage1.ckpt"]
    assert registry.resolve("stage1")[0] == path
    assert {(stage, total) for stage, _, total in progress} == {("stage1.ckpt [MB]", 3)}
    counts = [done for _, done, _ in progress]
    assert counts == sorted(counts) and set(counts) == {0, 1, 2, 3}
    sent = len(hub.requests)
    assert download.download("stage1") == {**facts, "fetched": False} and len(hub.requests) == sent


def test_the_user_s_hub_token_is_not_sent(hub):
    download.download("stage1")
    assert {authorization for _, _, authorization in hub.requests} == {None}


def test_broken_connections_continue_where_they_broke(hub, tmp_path):
    hub.breaks = [16 * CHUNK, 8 * CHUNK, 7]
    download.download("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA
    assert hub.downloads == [None, *[f"bytes={16 * CHUNK}-"], *[f"bytes={24 * CHUNK}-"] * 2]


def test_a_later_run_continues(hub, tmp_path):
    hub.breaks = [16 * CHUNK, *[0] * 5]
    message = refused("cannot get http")
    assert f"{16 * CHUNK} bytes are kept" in message and PATH in message
    assert files(tmp_path) == [f"stage1.ckpt.{digest(DATA)[:8]}.partial"]
    hub.requests.clear()
    progress = []
    download.download("stage1", lambda *step: progress.append(step))
    assert hub.downloads == [f"bytes={16 * CHUNK}-"]
    assert progress[0][1] == 17 * CHUNK // 10**6 and progress[-1][1:] == (3, 3)
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA
    assert files(tmp_path) == ["stage1.ckpt"]


def test_an_interrupted_run_continues(hub, tmp_path):
    def interrupt(_, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.download("stage1", interrupt)
    hub.requests.clear()
    download.download("stage1")
    start = int(re.fullmatch(r"bytes=(\d+)-", hub.downloads[0])[1])
    assert 900_000 < start < 1_100_000 and (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA


def test_a_complete_partial_file_is_not_downloaded_again(hub, tmp_path):
    (tmp_path / "anitalker").mkdir()
    (tmp_path / f"anitalker/stage1.ckpt.{digest(DATA)[:8]}.partial").write_bytes(DATA)
    assert download.download("stage1")["fetched"] and not hub.downloads


def test_another_version_is_not_appended(hub, monkeypatch, tmp_path):
    """The registered file changed, at the same size, while half of the former one had arrived."""
    hub.breaks = [16 * CHUNK, *[0] * 5]
    refused("cannot get http")
    hub.files[PATH] = OTHER
    register(monkeypatch, OTHER)
    download.download("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == OTHER


def test_a_server_without_ranges_starts_over(hub, tmp_path):
    hub.ranges, hub.breaks = False, [2_000_000]
    download.download("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA


def test_a_wrong_hash_leaves_nothing(hub, tmp_path):
    hub.files[PATH] = OTHER
    refused("not the registered file")
    assert files(tmp_path) == []


def test_a_wrong_size_is_refused_before_the_download(hub, tmp_path):
    hub.files[PATH] = b"<html>please log in</html>"
    refused("26 bytes instead of 3000000")
    assert files(tmp_path) == [] and not hub.downloads


def test_a_downloaded_file_is_checked_when_it_is_used(hub, tmp_path):
    download.download("stage1")
    (tmp_path / "anitalker/stage1.ckpt").write_bytes(OTHER)
    assert "models fetch stage1" in refused("SHA-256 differs")
    with pytest.raises(InputError, match="SHA-256 differs"):
        registry.resolve_verified("stage1")


def test_redirects_are_followed(hub, tmp_path):
    """The hub redirects large files to its storage."""
    hub.files, hub.redirects = {"/elsewhere": DATA}, {PATH: "/elsewhere"}
    hub.breaks = [16 * CHUNK]
    download.download("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA


def test_a_file_outside_the_hub(hub, monkeypatch, tmp_path):
    hub.files = {"/releases/stage1.ckpt": DATA}
    register(monkeypatch, DATA, repository="", url=f"{hub.address}/releases/stage1.ckpt")
    download.download("stage1")
    assert (tmp_path / "anitalker/stage1.ckpt").read_bytes() == DATA


def test_a_missing_file_says_what_to_do(hub, tmp_path):
    hub.files.clear()
    message = refused("status 404")
    assert PATH in message and str(tmp_path / "anitalker/stage1.ckpt") in message and "ANITALKER_HUB" in message
    assert len(hub.requests) == 1 and files(tmp_path) == []


def test_a_busy_server(hub, tmp_path):
    hub.statuses = [200, 429, 200]  # HEAD, then a GET that is repeated
    assert download.download("stage1")["fetched"] and len(hub.downloads) == 2
    (tmp_path / "anitalker/stage1.ckpt").unlink()
    hub.statuses = [503]
    refused("status 503")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_an_unreachable_host(hub, monkeypatch, tmp_path, address):
    monkeypatch.setenv("ANITALKER_HUB", address)
    message = refused("cannot get http")
    assert address in message and str(tmp_path / "anitalker/stage1.ckpt") in message and "ANITALKER_HUB" in message
    assert files(tmp_path) == []


def test_the_hub_s_offline_mode(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused("cannot get http")


@pytest.mark.parametrize("address", ["file:///etc", "ftp://host", "host", "http://"])
def test_only_http(hub, monkeypatch, address):
    monkeypatch.setenv("ANITALKER_HUB", address)
    refused("allowed is an address")


@pytest.mark.parametrize("name", ["lite", "nonsense"])
def test_what_is_not_published(hub, name):
    assert "stage1" in refused("nothing to fetch", name)
    assert not hub.requests


def test_a_folder_that_cannot_be_written(hub, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    refused("XDG_CACHE_HOME")


def test_by_the_command_line(hub, tmp_path, capsys):
    assert main(["models", "fetch", "stage1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["fetched"][0]["file"] == str(tmp_path / "anitalker/stage1.ckpt")
    assert "stage1.ckpt [MB] 3/3" in err
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "anitalker/stage1.ckpt") in out and "not here: anitalker models fetch mfcc_pose_only" in out
    hub.files.clear()
    assert main(["models", "fetch", "mfcc_full_control"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["fetch"], ["convert", "a"], ["list", "a"], ["convert", "a", "b", "c"]])
def test_wrong_numbers_of_arguments(arguments, capsys):
    assert main(["models", *arguments]) == 2
    assert "see `anitalker models --help`" in capsys.readouterr().err


def test_an_interruption_says_how_to_continue(hub, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "http_get", interrupt)
    assert main(["models", "fetch", "stage1"]) == 130
    assert "run the same command to continue" in capsys.readouterr().err
