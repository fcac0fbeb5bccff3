"""Dubs of the page: the work, the sound that is heard meanwhile, the estimate, and who is found in a video."""

import numpy as np
import pytest

from anitalker.config import DubOptions, InputError, RenderOptions
from anitalker.media.clip import open_clip
from anitalker.media.video import probe, read_audio
from anitalker.media.writer import VideoWriter
from anitalker.server.job_queue import Cancelled, Job
from anitalker.server.limits import Limits
from app import dub_estimate, dubbing
from app.models import Models
from app.sessions import SessionStore
from app.stills import Stills


@pytest.fixture
def session():
    store = SessionStore(Limits())
    yield store.get("0" * 32)
    store.close()


def request(film, speech, **dub):
    return dubbing.DubRequest(
        None, film, lambda folder, job: speech, RenderOptions(steps=1, seed=4), DubOptions(**dub), "film-speech"
    )


@pytest.mark.slow
def test_a_dub_becomes_a_result_and_is_watched_meanwhile(session, found_talker, film, clicks, monkeypatch):
    watched, watch = [], dubbing.LiveVideo.watch
    monkeypatch.setattr(
        dubbing.LiveVideo, "watch", lambda live, frame: (watched.append(frame.shape), watch(live, frame))
    )
    job = Job(lambda job: None, {"film": {"path": str(film)}, "kind": "dub"})
    result = dubbing.make_dub(job, session, Models(found_talker, "lite", "cpu"), Limits(), request(film, clicks))
    assert watched == [(224, 256, 3)] * 30 and job.live.written == 25, "30 frames per second become 25"
    media = probe(result.file)
    assert (media.width, media.height, media.fps, media.audio_codec) == (256, 224, 30, "aac")
    assert (result.kind, result.facts["frames"], result.facts["kind"]) == ("dub", 30, "dub")
    assert result.settings["fit"] == "trim" and "yaw" not in result.settings
    assert not list(session.folder.glob("work-*"))


@pytest.mark.slow
def test_a_cancelled_dub_leaves_nothing(session, found_talker, film, clicks):
    job = Job(lambda job: None)
    report, job.report = job.report, lambda *stage: (job.cancel() if stage[0] == "frames" else None, report(*stage))[1]
    with pytest.raises(Cancelled):
        dubbing.make_dub(job, session, Models(found_talker, "lite", "cpu"), Limits(), request(film, clicks))
    assert session.results == [] and not list(session.folder.glob("work-*"))


@pytest.mark.slow
def test_the_sound_is_that_of_the_dub(film_with_sound, clicks):
    clip = open_clip(film_with_sound)
    alone = dubbing._sound(clip, clicks, DubOptions(), Limits())
    assert np.array_equal(alone, read_audio(clicks))
    mixed = dubbing._sound(clip, clicks, DubOptions(original_sound=0.5), Limits())
    assert len(mixed) == pytest.approx(16_000, abs=700)
    assert np.abs(mixed[8000:9000]).mean() > np.abs(alone[8000:9000]).mean() + 0.01, "the original is not heard"
    with pytest.raises(InputError, match="recording is 1 s long"):
        dubbing._sound(clip, clicks, DubOptions(), Limits(media_seconds=0.5))


def test_people_are_numbered_by_the_first_frame_with_faces(tmp_path, found_talker):
    """As a dub numbers them: every twelfth frame is searched."""
    grey, noise = np.full((96, 192, 3), 90, np.uint8), np.random.default_rng(0).integers(0, 255, (96, 192, 3), np.uint8)
    with VideoWriter(tmp_path / "late.mp4", 192, 96) as writer:
        for frame in [grey] * 11 + [noise] * 5:
            writer.write(frame)
    clip, finder = open_clip(tmp_path / "late.mp4"), found_talker.finder()
    frame, faces = dubbing.first_faces(clip, finder)
    assert len(faces) == 2 and frame.std() > 20
    frame, faces = dubbing.first_faces(open_clip(tmp_path / "late.mp4", 0, 0.3), finder)
    assert faces == [] and frame.std() < 5


def test_a_video_is_tried_once(found_talker, monkeypatch, film):
    tries = []

    def refuse(talker, video, options, dubbing):
        tries.append(video)
        raise InputError("video shows no face")

    monkeypatch.setattr("app.stills.measure_pace", refuse)
    stills = Stills(Models(found_talker, "lite", "cpu"))
    for seconds in (1, 2):
        with pytest.raises(InputError, match="no face"):
            stills.estimate_dub("a", film, seconds, RenderOptions(), DubOptions(), None).result()
    assert tries == [film]
    stills.forget("a")
    with pytest.raises(InputError, match="no face"):
        stills.estimate_dub("a", film, 1, RenderOptions(), DubOptions(), None).result()
    assert len(tries) == 2
    stills.close()


@pytest.mark.slow
def test_the_estimate_follows_lengths_and_fit(film, found_talker):
    pace = dub_estimate.measure_pace(found_talker, film, RenderOptions(steps=1), DubOptions())
    assert pace.look > 0 and pace.draw > 0 and pace.clip.frames == 30

    def seconds(length, fit, follow="speech"):
        return pace.seconds(length, DubOptions(fit=fit, follow=follow))

    assert seconds(0.5, "trim") < seconds(1, "trim") == seconds(4, "trim") < seconds(4, "hold")
    assert seconds(0.2, "hold") == seconds(1, "hold")
    assert seconds(1, "trim", "lips") > seconds(1, "trim")  # another face is followed, too
    with pytest.raises(InputError, match="fit speed"):
        seconds(9, "speed")
