"""The batch: what is skipped, tried again, timed out and told; with workers that need no networks."""

import json
import os

import pytest

from anitalker.batch import runner
from anitalker.batch.local import LocalEngine
from anitalker.batch.table import read
from anitalker.batch.worker import Worker, WorkerSetup
from anitalker.cli import main
from anitalker.config import InputError
from anitalker.models import loading

# What a worker does is said by the seed of its job.
FAKE = """
import os, time
from pathlib import Path
from anitalker.config import InputError

FAULTS = {1: "failed", 2: "dies", 3: "sleeps", 4: "passes"}

class Scripted:
    def __init__(self, setup):
        if setup.load_arguments.get("name") == "none":
            raise InputError("no such model")
        self.folder = Path(setup.folder)

    def run(self, job):
        mark = self.folder.parent / f"tried-{job.id}"
        first, what = not mark.exists(), FAULTS.get(job.options.seed)
        mark.touch()
        if what == "dies":
            os._exit(9)
        if what == "sleeps":
            time.sleep(60)
        if what == "failed" or what == "passes" and first:
            return {"status": "failed", "seconds": 0, "frames": None, "error": "a fault", "transient": what == "passes"}
        (self.folder / f"{job.id}.mp4").write_text("video " + job.id)
        return {"status": "done", "seconds": 0, "frames": 1, "error": None, "transient": False}
"""


@pytest.fixture
def place(tmp_path, monkeypatch, example_portrait, clicks):
    """A table of five jobs, their seeds 0 to 4, and the scripted worker."""
    (tmp_path / "scripted_worker.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    rows = "".join(f"job{n},{example_portrait},{clicks},{n}\n" for n in range(5))
    (tmp_path / "jobs.csv").write_text("id,portrait,speech,seed\n" + rows)
    (tmp_path / "out").mkdir()
    yield tmp_path
    __import__("sys").modules.pop("scripted_worker", None)


def go(place, jobs, timeout=60.0, retries=1, model="x"):
    """Run what is to be done -> records of this run."""
    from scripted_worker import Scripted

    results, seen = runner.Results(place / "out"), []
    try:
        prints, todo = runner.plan(jobs, "model", place / "out", results.last())
        engine = LocalEngine(WorkerSetup({"name": model}, str(place / "out")), 2, timeout, Scripted)
        runner.run(todo, prints, engine, results, retries, lambda record, *_: seen.append(record))
    finally:
        results.close()
    return {record["id"]: record for record in seen}


@pytest.mark.slow
def test_every_end_is_told(place):
    """Done; refused by the model; its worker died, twice; took too long; failed once, then not."""
    jobs = read(place / "jobs.csv")[0]
    ends = go(place, jobs, timeout=2)
    assert {name: (end["status"], end["tries"]) for name, end in ends.items()} == {
        "job0": ("done", 1),
        "job1": ("failed", 1),
        "job2": ("failed", 2),
        "job3": ("failed", 1),
        "job4": ("done", 2),
    }
    assert "exit status 9" in ends["job2"]["error"] and "longer than 2 s" in ends["job3"]["error"]
    assert sorted(path.name for path in (place / "out").iterdir()) == ["job0.mp4", "job4.mp4", "results.jsonl"]


@pytest.mark.slow
def test_what_is_done_is_skipped_and_what_changed_is_not(place):
    jobs = [job for job in read(place / "jobs.csv")[0] if job.options.seed in (0, 4)]
    assert set(go(place, jobs)) == {"job0", "job4"}
    assert go(place, jobs) == {}
    (place / "out" / "job0.mp4").write_text("another")  # not what was recorded
    assert set(go(place, jobs)) == {"job0"}
    (place / "out" / "job4.mp4").unlink()
    assert set(go(place, jobs)) == {"job4"}
    table = (place / "jobs.csv").read_text().replace(",0\n", ",9\n")
    (place / "jobs.csv").write_text(table)
    assert set(go(place, [read(place / "jobs.csv")[0][0]])) == {"job0"}


def test_a_cut_line_and_parts_are_cleared(place):
    """As a killed program leaves them; files of the user stay."""
    out = place / "out"
    jobs = read(place / "jobs.csv")[0][:1]
    go(place, jobs)
    with open(out / "results.jsonl", "a") as file:
        file.write('{"id": "job0", "sta')
    for name in (
        ".job9.0123abcd.part.mp4",
        ".job9.0123abcd.part.wav",
        ".job9.0123abcd.part.mkv",
        ".mine.mp4",
        "part.mp4",
    ):
        (out / name).touch()
    results = runner.Results(out)
    results.clear_parts()
    results.close()
    assert [json.loads(line)["id"] for line in (out / "results.jsonl").read_text().splitlines()] == ["job0"]
    assert sorted(path.name for path in out.iterdir()) == [".mine.mp4", "job0.mp4", "part.mp4", "results.jsonl"]


def test_a_model_that_cannot_be_loaded_ends_the_batch(place):
    with pytest.raises(InputError, match="no such model"):
        go(place, read(place / "jobs.csv")[0], model="none")


@pytest.mark.skipif(os.name == "nt", reason="locks of the results are for POSIX")
def test_two_batches_at_once(place):
    first = runner.Results(place / "out")
    with pytest.raises(InputError, match="another batch"):
        runner.Results(place / "out")
    first.close()
    runner.Results(place / "out").close()


@pytest.mark.slow
def test_the_worker_renders(talker, untrained_model, place, monkeypatch):
    """A real worker in this process: speech and video, the portrait prepared once; wrong input is not transient."""
    monkeypatch.setattr("anitalker.pipeline.load", lambda **_: talker)
    calls, portrait = [], type(talker).portrait
    monkeypatch.setattr(type(talker), "portrait", lambda *it: (calls.append(it), portrait(*it))[1])
    worker = Worker(WorkerSetup({}, str(place / "out"), 1))
    rows = (place / "jobs.csv").read_text().splitlines()
    header = "id,portrait,speech,video,frame,steps\n"
    speech, face = rows[1].split(",")[2], rows[1].split(",")[1]
    lines = [f"a,{face},{speech},,crop,1", f"b,{face},,{place / 'out' / 'a.mp4'},crop,"]
    (place / "one.csv").write_text(header + lines[0])
    assert worker.run(read(place / "one.csv")[0][0])["frames"] == 26
    (place / "two.csv").write_text(header + lines[1])
    job = read(place / "two.csv")[0][0]
    assert worker.run(job)["frames"] == 26 and len(calls) == 1
    (place / "out" / "a.mp4").write_bytes(b"damaged")
    said = worker.run(job)
    assert said["status"] == "failed" and not said["transient"]
    (place / "three.csv").write_text(f"id,portrait,speech,frame,steps,format\nc,{face},{speech},crop,1,webp\n")
    job = read(place / "three.csv")[0][0]
    outcome = worker.run(job)
    record = runner.make_record(job, "hash", outcome, 1, place / "out")
    assert record["output"] == "c.webp" and (place / "out" / "c.webp").read_bytes()[8:12] == b"WEBP"
    assert runner.is_done(job, "hash", record, place / "out")


def test_the_command_without_rendering(place, capsys, monkeypatch, untrained_model):
    """--dry-run, bad lines with their numbers, exit statuses."""
    command = ["batch", str(place / "jobs.csv"), "-o", str(place / "new"), "--model", str(untrained_model)]
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out == "5 jobs to do, 0 done before, 0 bad lines\n"
    with open(place / "jobs.csv", "a") as file:
        file.write("../x,none.png,none.wav,0\n")
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "line 7 ('../x'): " in err and "1 of 6 lines are no jobs, nothing was rendered" in err
    assert not (place / "new").exists()
    for flags in (["--workers", "0"], ["--retries", "-1"], ["--timeout", "nan"], ["--ray-address", "auto"]):
        assert main([*command, *flags]) == 2
    assert loading.fingerprint(untrained_model)


@pytest.mark.slow
def test_the_command(place, capsys, example_portrait, make_wav):
    """Good lines of a table with a bad one, with the shipped model, once and again."""
    import numpy as np

    speech = make_wav(place / "s.wav", 0.2 * np.random.default_rng(0).standard_normal(6400))
    rows = f"one,{example_portrait},{speech},crop\ntwo,{example_portrait},{speech},full\nbad,{speech},{speech},crop\n"
    (place / "jobs.csv").write_text("id,portrait,speech,frame\n" + rows)
    command = ["batch", str(place / "jobs.csv"), "-o", str(place / "new"), "--keep-going", "--json", "--device", "cpu"]
    assert main(command) == 3
    facts = json.loads(capsys.readouterr().out)
    assert (facts["done"], facts["refused"], facts["failures"][0]["line"]) == (2, 1, 4)
    assert main(command) == 3
    facts = json.loads(capsys.readouterr().out)
    assert (facts["done"], facts["skipped"]) == (0, 2)
