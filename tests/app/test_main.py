"""python -m app with the shipped model: usage errors, times, memory, what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio_client import Client, handle_file

from anitalker.config import InputError
from app.__main__ import build_parser, limits_of, main
from app.limits import Limits

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--auth", "ann"], "give USER:PASSWORD"),
        (["--auth", ":x"], "give USER:PASSWORD"),
        (["--port", "99999"], "port 99999"),
        (["--max-upload", "0"], "--max-upload is 0"),
        (["--max-waiting", "-1"], "allowed is 0 to 1000"),
        (["--share"], "--share"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments, words):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "ann" not in error


def test_a_port_in_use_is_told(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["--port", str(other.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_defaults_are_those_of_the_limits_and_this_machine_only():
    arguments = build_parser().parse_args([])
    assert limits_of(arguments) == Limits()
    assert arguments.host == "127.0.0.1" and arguments.auth is None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return trial.getsockname()[1]


@pytest.mark.parametrize(("given", "used"), [(None, "0"), ("1", "1")])
def test_no_cuda_graphs_beside_other_visitors_unless_asked_for(monkeypatch, given, used):
    from anitalker import pipeline

    def load(name, device):
        seen.append(os.environ["ANITALKER_GRAPHS"])
        raise InputError("no model")

    seen = []
    monkeypatch.setenv("ANITALKER_GRAPHS", given or "")
    if given is None:
        monkeypatch.delenv("ANITALKER_GRAPHS")
    monkeypatch.setattr(pipeline, "load", load)
    assert main(["--port", str(free_port())]) == 2 and seen == [used]


@pytest.fixture(scope="module")
def server(root, tmp_path_factory):
    """A server in a process of its own: url, process id, its temporary folder. A page is open when it ends."""
    folder, port = tmp_path_factory.mktemp("temporary"), free_port()
    said = open(tmp_path_factory.mktemp("said") / "errors.txt", "w+", encoding="utf-8")  # noqa: SIM115 (closed below)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", str(port), "--device", "cpu"],
        cwd=root,
        env={**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
    )
    assert "AniTalker: http://127.0.0.1" in process.stdout.readline()
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}", process=process, folder=folder)
    beat = urllib.request.urlopen(f"http://127.0.0.1:{port}/gradio_api/heartbeat/open")
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    beat.close()
    said.seek(0)
    assert "Traceback" not in said.read()
    said.close()
    assert list(folder.glob("anitalker-*")) == [], "files stay when the server ends"


def memory(process) -> float:
    """Resident MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


def worked(process) -> float:
    """Seconds of processor time, of children too."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_proc
def test_preview_and_cancel(server, example_portrait, root):
    """Processor time, not wall time: other work on the machine must not decide. Two cores give two seconds a second."""
    client = Client(server.url, verbose=False)
    given = {"portrait": handle_file(example_portrait), "recording": handle_file(root / "app/examples/speech.flac")}
    began = worked(server.process)
    time.sleep(2)
    idle = worked(server.process) - began
    began, clock = worked(server.process), time.monotonic()
    job = client.submit(**given, api_name="/speak")
    while not any(isinstance(told[0], str) for told in job.outputs()):
        assert not job.done()
        time.sleep(0.05)
    spent = worked(server.process) - began
    print(f"\npreview after {time.monotonic() - clock:.1f} s, {spent:.1f} s of processor time")
    assert spent <= 20
    client.predict(api_name="/cancel")
    time.sleep(1)
    began = worked(server.process)
    time.sleep(2)
    assert worked(server.process) - began < idle + 0.3, "still working a second after cancel"
    assert "Cancelled" in job.result()[2]
    client.close()


@pytest.mark.slow
@needs_proc
def test_twenty_renders_leave_memory_flat_and_no_files(server, example_portrait, clicks):
    client = Client(server.url, verbose=False)
    given = {"portrait": handle_file(example_portrait), "recording": handle_file(clicks), "frame": "crop"}
    sizes = []
    for _ in range(25):
        client.predict(**given, api_name="/speak")
        sizes.append(memory(server.process))
    print("\nMB after each render:", " ".join(f"{size:.0f}" for size in sizes))
    assert sizes[-1] <= 1.05 * sizes[4], "memory grows over twenty renders after the first five"
    files = server.folder.glob("anitalker-*/**/*")
    kept = [path.relative_to(server.folder).parts for path in files if path.is_file()]
    kinds = {parts[3] if len(parts) > 3 and parts[1] == "visits" else "example" for parts in kept}
    assert kinds <= {"uploads", "results", "example"}, kept
    assert sum("results" in parts for parts in kept) == Limits().results, "more are kept than said"
    client.predict(api_name="/forget")
    assert not [path for path in server.folder.rglob("*.mp4")]
    client.close()
