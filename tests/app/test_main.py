"""python -m app: usage errors; with the shipped model: time to the first frames, cancellation, memory, leftovers."""

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

from anitalker.server.limits import Limits
from app.__main__ import build_parser, main
from app.options import limits_from

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--auth", "ann"], "give USER:PASSWORD"),
        (["--auth", ":x"], "give USER:PASSWORD"),
        (["--port", "99999"], "--port is 99999; allowed is 1 to 65535"),
        (["--max-upload", "0"], "--max-upload is 0"),
        (["--max-waiting", "-1"], "allowed is 0 to 1000"),
        (["--share"], "--share"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments, words):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "ann" not in error


def test_a_port_in_use_is_reported(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["--port", str(other.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_defaults_are_those_of_the_limits_and_this_machine_only():
    arguments = build_parser().parse_args([])
    assert limits_from(arguments) == Limits()
    assert limits_from(build_parser().parse_args(["--allow-no-marks"])) == Limits(allow_no_marks=True)
    assert arguments.host == "127.0.0.1" and arguments.auth is None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return trial.getsockname()[1]


@pytest.fixture(scope="module")
def server(root, tmp_path_factory):
    """A server in a process of its own: url, process, temporary folder. A page is still open when it ends."""
    folder, port = tmp_path_factory.mktemp("temporary"), free_port()
    errors = open(tmp_path_factory.mktemp("log") / "errors.txt", "w+", encoding="utf-8")  # noqa: SIM115 (closed below)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", str(port), "--device", "cpu"],
        cwd=root,
        env={**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    assert "AniTalker: http://127.0.0.1" in process.stdout.readline()
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}", process=process, folder=folder)
    heartbeat = urllib.request.urlopen(f"http://127.0.0.1:{port}/gradio_api/heartbeat/open")
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    heartbeat.close()
    errors.seek(0)
    assert "Traceback" not in errors.read()
    errors.close()
    assert list(folder.glob("anitalker-*")) == [], "files stay when the server ends"


def resident_mb(process) -> float:
    """Resident memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


def cpu_seconds(process) -> float:
    """Processor time, with that of its children."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_proc
def test_first_frames_and_cancel(server, example_portrait, root):
    """In processor time, which other work on the machine does not change. Two cores give two seconds a second."""
    client = Client(server.url, verbose=False)
    inputs = {"portrait": handle_file(example_portrait), "recording": handle_file(root / "app/examples/speech.flac")}
    start = cpu_seconds(server.process)
    time.sleep(2)
    idle = cpu_seconds(server.process) - start
    start, clock = cpu_seconds(server.process), time.monotonic()
    job = client.submit(**inputs, api_name="/speak")
    while not any("of 127 frames" in str(outputs[2]) for outputs in job.outputs()):
        assert not job.done()
        time.sleep(0.05)
    spent = cpu_seconds(server.process) - start
    print(f"\nfirst frames after {time.monotonic() - clock:.1f} s, {spent:.1f} s of processor time")
    assert spent <= 20
    client.predict(api_name="/cancel")
    time.sleep(1)
    start = cpu_seconds(server.process)
    time.sleep(2)
    assert cpu_seconds(server.process) - start < idle + 0.3, "still working a second after the cancellation"
    assert "Cancelled" in job.result()[2]
    client.close()


@pytest.mark.slow
@needs_proc
def test_thirty_renders_leave_memory_flat_and_no_files(server, example_portrait, clicks):
    client = Client(server.url, verbose=False)
    inputs = {"portrait": handle_file(example_portrait), "recording": handle_file(clicks), "frame": "crop"}
    sizes = []
    for _ in range(30):
        client.predict(**inputs, api_name="/speak")
        sizes.append(resident_mb(server.process))
    print("\nMB after each render:", " ".join(f"{size:.0f}" for size in sizes))
    assert sizes[-1] <= 1.05 * sizes[4], "memory grows over the renders after the first five"
    files = server.folder.glob("anitalker-*/**/*")
    kept = [path.relative_to(server.folder).parts for path in files if path.is_file()]
    kinds = {parts[3] if len(parts) > 3 and parts[1] == "sessions" else "example" for parts in kept}
    assert kinds <= {"uploads", "results", "example"}, kept
    assert sum("results" in parts for parts in kept) == Limits().results, "more are kept than the limit"
    client.predict(api_name="/forget")
    assert not [path for path in server.folder.rglob("*.mp4") if path.parent.name != "examples"]
    client.close()
