"""The work of a job that makes an avatar: what cancelling keeps, what goes on, and what is said in the samples."""

import numpy as np
import pytest

from anitalker.config import SAMPLE_RATE
from anitalker.media.video import probe
from anitalker.person.tune_options import TuneOptions
from anitalker.server.job_queue import Cancelled, Job
from anitalker.server.limits import Limits
from app.avatar.work import TuneRequest, cancellable, make_person, spoken_sample
from app.sessions import SessionStore


@pytest.fixture
def session():
    store = SessionStore(Limits())
    yield store.get("a")
    store.close()


def running(work):
    job = Job(work)
    job.run()
    return job


def test_a_job_becomes_an_avatar_with_samples(session, page, quick_tune, film):
    wanted = TuneRequest((film,), TuneOptions("Ada Lovelace", None, 1), "film")
    job = running(lambda job: make_person(job, session, page.models, Limits(), wanted))
    assert job.error is None and job.result is session.people[0]
    assert job.result.consent == "Ada Lovelace" and job.result.name == "film"
    for sample in (job.result.before, job.result.after):
        media = probe(sample)
        assert (media.width, media.height) == (128, 128) and media.audio_codec == "aac"
    assert job.warnings == [], "what is said of the samples is no concern of the visitor's"
    assert [path.name for path in session.folder.iterdir()] == ["people"], "files of the job are left"
    assert job.stage == "samples" and job.done == job.total == 10


@pytest.mark.slow
def test_cancelling_keeps_the_best_and_the_same_goes_on(session, page, quick_tune, film):
    wanted = TuneRequest((film,), TuneOptions("Ada Lovelace", None, 1), "film")
    quick_tune.hold.set()
    job = Job(lambda job: make_person(job, session, page.models, Limits(), wanted))
    report = job.report

    def cancel_in_training(stage, done=0, total=0):
        if stage == "tuning" and done == 5:
            job.cancel()
        report(stage, done, total)

    job.report = cancel_in_training
    job.run()
    assert job.state == "cancelled" and [person.finished for person in session.people] == [False]
    quick_tune.hold.clear()
    assert running(lambda job: make_person(job, session, page.models, Limits(), wanted)).state == "done"
    assert quick_tune.resumed == [False, True]
    assert [(person.number, person.finished) for person in session.people] == [(2, True)]


def test_cancelling_before_the_training_keeps_nothing(session, page, quick_tune, film):
    wanted = TuneRequest((film,), TuneOptions("Ada", None, 1), "film")

    def work(job):
        job.cancel()
        return make_person(job, session, page.models, Limits(), wanted)

    assert running(work).state == "cancelled" and session.people == [] and quick_tune.calls == []


def test_only_the_training_is_ended_as_by_a_key():
    job = Job(lambda job: None)
    report = cancellable(job)
    report("faces", 1, 2)
    job.cancel()
    with pytest.raises(Cancelled):
        report("faces", 2, 2)
    job = Job(lambda job: None)
    report = cancellable(job)
    report("tuning", 1, 2)
    job.cancel()
    for stage in ("tuning", "speech"):
        with pytest.raises(KeyboardInterrupt):
            report(stage, 2, 2)


def test_the_sample_is_what_is_said_in_the_last_part(make_wav, tmp_path):
    times = np.arange(50 * SAMPLE_RATE) / SAMPLE_RATE
    loud = 0.5 * np.sin(2 * np.pi * 200 * times) * ((times < 30) | ((times > 44) & (times < 47)))
    sample = spoken_sample(make_wav(tmp_path / "a.wav", loud))
    assert len(sample) == 3 * SAMPLE_RATE and np.square(sample).mean() > 0.1
