"""What is told of an avatar in the making, and of those that are there; nothing of a file is trusted."""

from pathlib import Path

import pytest

from anitalker.server import job_queue
from anitalker.server.job_queue import Job
from app.avatar import views
from app.sessions import Person


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(job_queue.time, "monotonic", lambda: now[0])
    return now


def person(**facts):
    return Person(3, Path("/x/ada <b>.safetensors"), Path("/x/ada.png"), "Ada & co", facts)


def running(stage, done, total, clock, elapsed=10.0, training=180):
    job = Job(lambda job: None, {"training_seconds": training})
    job.state = "running"
    job.report(stage, 0, total)
    clock[0] += elapsed
    job.report(stage, done, total)
    return job


@pytest.mark.parametrize(
    ("stage", "done", "total", "seconds"),
    [
        ("faces", 100, 400, 30 + 180 + 35),
        ("speech", 50, 100, 10 + 180 + 10),
        ("tuning", 60, 180, 120 + 10),
        ("samples", 50, 100, 10),
        ("pictures", 1, 2, None),
    ],
)
def test_the_time_left_is_that_of_all_stages(clock, stage, done, total, seconds):
    job = running(stage, done, total, clock)
    assert views.time_left(job) == (None if seconds is None else pytest.approx(seconds))
    assert views.STAGES[stage] in views.progress(job, 0)


def test_progress_in_words(clock):
    job = running("tuning", 60, 180, clock)
    assert "about 2 min left" in views.progress(job, 0) and "<progress max='180' value='60'>" in views.progress(job, 0)
    job.cancel()
    shown = views.progress(job, 0)
    assert "Keeping the best so far" in shown and "left" not in shown
    job = running("samples", 50, 100, clock)
    assert "about 10 s left" in views.progress(job, 0)
    waiting = Job(lambda job: None)
    assert "Place 2 in the queue" in views.progress(waiting, 2)


def test_what_was_learned_is_told():
    told = views.learned({"seconds": 61.6, "speech_seconds": 50, "mouth_tail": [0.5, 0.4], "lips_tail": [0.3, 0.3]})
    assert told == "learned from 62 s of video. On video it has not learned from, the mouth is 20% closer."
    assert "No speech was heard" in views.learned({"seconds": 61.6, "speech_seconds": 0})
    assert views.learned({"photos": 4}) == "made of 4 photos; nothing was trained."


@pytest.mark.parametrize("facts", [{"seconds": "x", "mouth_tail": [1]}, {"photos": -1}, {"mouth_tail": ["a", "b"]}])
def test_a_forged_file_is_told_as_it_can_be(facts):
    assert views.learned(facts).startswith("learned from 0 s of video.")


def test_cards_are_escaped_and_newest_first():
    html = views.gallery([person(), person(finished=False)])
    assert "ada &lt;b&gt;" in html and "Ada &amp; co" in html and "<b>.safetensors" not in html
    assert html.index("Unfinished") < html.rindex("data-use") and html.count("Download") == 2
    assert "data-use='3'" in views.row([person()]) and views.row([]) == ""
    assert "kept here" in views.gallery([])


def test_the_end_of_a_cancelled_job():
    assert "Nothing was learned yet" in views.cancelled(None)
    assert "The best so far is kept below; “Make my avatar” goes on from there" in views.cancelled(person())
