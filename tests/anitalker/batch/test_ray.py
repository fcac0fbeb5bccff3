"""The Ray engine: the same results as the local one, workers killed under it."""

import json
import os
import signal
import threading
import time

import pytest

from anitalker.batch import runner
from anitalker.batch.table import read
from anitalker.batch.worker import WorkerSetup
from anitalker.config import InputError

FAKE = """
import os, time
from pathlib import Path

class Slow:
    def __init__(self, setup):
        self.folder = Path(setup.folder)

    def run(self, job):
        (self.folder.parent / "worker").write_text(str(os.getpid()))
        time.sleep(0.05)
        (self.folder / f"{job.id}.mp4").write_text(job.source)
        return {"status": "done", "seconds": 0.05, "frames": 1, "error": None, "transient": False}
"""


def table(path, count, portrait, speech):
    lines = [f"job-{n:03d},{portrait},{speech},{n},crop" for n in range(count)]
    path.write_text("\n".join(["id,portrait,speech,seed,frame", *lines]) + "\n")
    return read(path)[0]


def assassin(file, times):
    """Kill the process that `file` names, `times` times, each time another one."""
    killed = set()
    while len(killed) < times:
        time.sleep(0.3)
        if file.exists() and (text := file.read_text()) and int(text) not in killed:
            os.kill(int(text), signal.SIGKILL)
            killed.add(int(text))


@pytest.mark.slow
def test_workers_killed_twice(tmp_path, example_portrait, clicks, monkeypatch):
    """200 jobs on two actors, of which two are killed: every job done once, tries tell of the kills."""
    (tmp_path / "slow_worker.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from slow_worker import Slow

    from anitalker.batch.ray import RayEngine

    jobs, folder = table(tmp_path / "jobs.csv", 200, example_portrait, clicks), tmp_path / "out"
    folder.mkdir()
    results = runner.Results(folder)
    prints, todo = runner.plan(jobs, "model", folder, {})
    engine = RayEngine(WorkerSetup({"device": "cpu"}, str(folder)), None, 2, len(todo), 60, Slow)
    killer = threading.Thread(target=assassin, args=(tmp_path / "worker", 2), daemon=True)
    killer.start()
    runner.run(todo, prints, engine, results, 2, lambda *_: None)
    killer.join(1)
    results.close()
    assert not killer.is_alive()
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(record["id"] for record in lines) == sorted(job.id for job in jobs)
    assert all(record["status"] == "done" for record in lines)
    assert 1 <= sum(record["tries"] - 1 for record in lines) <= 2
    assert sorted(path.name for path in folder.iterdir()) == [*(f"{job.id}.mp4" for job in jobs), "results.jsonl"]


@pytest.mark.slow
def test_the_same_as_on_one_machine(tmp_path, example_portrait, make_wav):
    """Real renders through the command: what Ray has done, the local engine takes as done."""
    import numpy as np

    from anitalker.cli import main
    from anitalker.media.video import read_frames

    speech = make_wav(tmp_path / "s.wav", 0.2 * np.random.default_rng(0).standard_normal(6400))
    table(tmp_path / "jobs.csv", 3, example_portrait, speech)
    command = ["batch", str(tmp_path / "jobs.csv"), "-o", str(tmp_path / "out"), "--device", "cpu", "--workers", "1"]
    assert main([*command, "--engine", "ray"]) == 0
    for path in (tmp_path / "out").glob("*.mp4"):
        assert len(list(read_frames(path))) == 10
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    assert main(command) == 0
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_without_ray(tmp_path, monkeypatch):
    from anitalker.batch.ray import RayEngine

    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'anitalker\[ray\]'"):
        RayEngine(WorkerSetup({}, str(tmp_path)), None, 1, 1, 1)
