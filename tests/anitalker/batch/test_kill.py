"""A batch that is killed at any moment: nothing lost, nothing twice, nothing half."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from anitalker.media.video import probe, read_frames

# A worker that needs no networks: notes each start and each end, and writes as a real one does, by rename.
FAKE = """
import os, time
from pathlib import Path

class Fake:
    def __init__(self, setup):
        self.folder = Path(setup.folder)

    def run(self, job):
        with open(self.folder.parent / "starts", "a") as file:
            file.write(job.id + "\\n")
        part = self.folder / f".{job.id}.{os.urandom(4).hex()}.part.mp4"
        part.write_text("half")
        time.sleep(0.01)
        part.write_text(job.source)
        part.rename(self.folder / f"{job.id}.mp4")
        return {"status": "done", "seconds": 0.01, "frames": 1, "error": None, "transient": False}
"""
DRIVER = """
import sys
from pathlib import Path
from fake_worker import Fake
from anitalker.batch import runner
from anitalker.batch.table import read
from anitalker.batch.local import LocalEngine
from anitalker.batch.worker import WorkerSetup

if __name__ == "__main__":
    folder = runner.check_folder(sys.argv[2])
    results = runner.Results(folder)
    results.clear_parts()
    prints, todo = runner.plan(read(sys.argv[1])[0], "model", folder, results.last())
    engine = LocalEngine(WorkerSetup({}, str(folder)), 2, 60, Fake)
    runner.run(todo, prints, engine, results, 2, lambda *_: None)
"""


def records(folder):
    """Lines of the results that are whole."""
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def kill_while(command, folder, kills, rng, every, environment=None, grace=120):
    """Start, and SIGKILL the whole program after some more results, `kills` times; then let it end."""
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        before, wanted = len(records(folder)), rng.randint(0, every)
        end = time.monotonic() + grace
        while process.poll() is None and len(records(folder)) - before < wanted and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def table(path, count, portrait, speeches):
    lines = [f"job-{n:03d},{portrait},{speeches[n % len(speeches)]},{n},crop" for n in range(count)]
    path.write_text("\n".join(["id,portrait,speech,seed,frame", *lines]) + "\n")
    return path


def check(folder, count, kills, workers):
    """Exactly `count` outputs and records; what was begun more than once is what the kills interrupted."""
    done = Counter(record["id"] for record in records(folder) if record["status"] == "done")
    assert len(done) == count and set(done.values()) == {1}
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"job-{n:03d}.mp4" for n in range(count)), "results.jsonl"]
    begun = (folder.parent / "starts").read_text().split() if (folder.parent / "starts").exists() else []
    assert len(begun) <= count + kills * workers


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_and_continued(tmp_path, example_portrait, clicks, root):
    """40 jobs, the program killed 4 times."""
    (tmp_path / "fake_worker.py").write_text(FAKE)
    (tmp_path / "driver.py").write_text(DRIVER)
    jobs = table(tmp_path / "jobs.csv", 40, example_portrait, [clicks])
    folder = tmp_path / "out"
    command = [sys.executable, str(tmp_path / "driver.py"), str(jobs), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(tmp_path)])}
    kill_while(command, folder, 4, random.Random(3), 8, environment)
    check(folder, 40, 4, 2)
    assert {path.read_text() for path in folder.glob("*.mp4")} == {str(clicks)}


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_200_jobs_killed_10_times(tmp_path, example_portrait, make_wav):
    """The real thing, with the shipped model: at the end every output is decoded whole."""
    import numpy as np

    rng = np.random.default_rng(0)
    speeches = [make_wav(tmp_path / f"s{n}.wav", 0.2 * rng.standard_normal(6400)) for n in range(5)]
    count = int(os.environ.get("ANITALKER_TEST_JOBS", 200))
    jobs, folder = table(tmp_path / "jobs.csv", count, example_portrait, speeches), tmp_path / "out"
    command = [sys.executable, "-m", "anitalker", "batch", str(jobs), "-o", str(folder), "--device", "cpu"]
    kill_while([*command, "--workers", "2"], folder, 10, random.Random(1), max(1, count // 8), grace=600)
    check(folder, count, 10, 2)
    for path in folder.glob("*.mp4"):
        assert len(list(read_frames(path))) == 10 and probe(path).audio_codec == "aac"
