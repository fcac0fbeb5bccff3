"""Several recordings in one job: a video each, a ZIP of all, what is left out, one progress, what a cancel leaves."""

import time
import zipfile

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from anitalker.config import InputError
from anitalker.server.job_queue import Cancelled, Job
from app.batch import Entry, video_names
from app.recordings import Recording


@pytest.fixture
def client(page):
    client = Client(page.url, verbose=False)
    yield client
    client.close()


@pytest.fixture
def archive(tmp_path, make_wav):
    """A ZIP of two recordings, one of them twice, and a text."""
    sound = make_wav(tmp_path / "sound.wav", np.random.default_rng(0).normal(0, 0.1, 6400))
    with zipfile.ZipFile(tmp_path / "talk.zip", "w") as packed:
        for name in ("day 1/hello.wav", "day 2/hello.wav"):
            packed.write(sound, name)
        packed.writestr("notes.txt", "no recording")
    return tmp_path / "talk.zip"


@pytest.mark.slow
def test_a_video_of_each_and_a_zip_of_all(page, client, archive, clicks, example_portrait):
    inputs = {"portrait": handle_file(example_portrait), "recordings": [handle_file(archive), handle_file(clicks)]}
    packed, facts, status, gallery = client.predict(**inputs, seed=3, steps=1, frame="crop", api_name="/batch")
    stem = example_portrait.stem
    names = [f"{stem}-hello.mp4", f"{stem}-hello-2.mp4", f"{stem}-{clicks.stem}.mp4"]
    with zipfile.ZipFile(packed) as file:
        assert file.namelist() == names and all(file.read(name)[4:8] == b"ftyp" for name in names)
    assert [video["file"] for video in facts["videos"]] == names and {video["seed"] for video in facts["videos"]} == {3}
    assert [video["frames"] for video in facts["videos"]] == [10, 10, 26]
    assert [entry["recording"] for entry in facts["left_out"]] == ["notes.txt"]
    assert "3 videos" in status and "Left out: notes.txt: recording is not audio or video" in status
    assert str(page.sessions.root) not in status + str(facts)
    assert gallery.count("<figure>") == 3 and not list(page.sessions.root.glob("sessions/*/work-*"))


@pytest.mark.slow
def test_nothing_that_can_be_used_is_an_error_with_the_reasons(client, example_portrait, tmp_path):
    (tmp_path / "notes.txt").write_text("no recording")
    inputs = {"portrait": handle_file(example_portrait), "recordings": [handle_file(tmp_path / "notes.txt")]}
    with pytest.raises(AppError, match=r"No recording can be used; give others. Left out: notes.txt: .*give e.g. WAV"):
        client.predict(**inputs, api_name="/batch")
    with pytest.raises(AppError, match="no recordings yet"):
        client.predict(**{**inputs, "recordings": []}, api_name="/batch")
    with pytest.raises(AppError, match="damaged ZIP"):
        (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + bytes(100))
        client.predict(**{**inputs, "recordings": [handle_file(tmp_path / "x.zip")]}, api_name="/batch")


@pytest.mark.slow
def test_a_video_that_fails_does_not_end_the_others(
    client, archive, clicks, example_portrait, found_talker, monkeypatch
):
    render, count = found_talker.render, iter(range(9))

    def fail_first(*arguments, **options):
        if next(count) == 0:
            raise InputError("the recording is damaged; save it again")
        return render(*arguments, **options)

    monkeypatch.setattr(found_talker, "render", fail_first)
    inputs = {"portrait": handle_file(example_portrait), "recordings": [handle_file(archive)]}
    _, facts, status, gallery = client.predict(**inputs, steps=1, frame="crop", api_name="/batch")
    assert [entry["reason"][:24] for entry in facts["left_out"]] == [
        "recording is not audio o",
        "the recording is damaged",
    ]
    assert len(facts["videos"]) == 1 and gallery.count("<figure>") == 1 and "2 of 3 recordings are left out" in status


@pytest.mark.slow
def test_a_cancel_keeps_what_is_finished(page, client, archive, clicks, example_portrait, found_talker, monkeypatch):
    draw, gate = found_talker.model.render_frames, []

    def slowly(*arguments, **options):
        for frame in draw(*arguments, **options):
            gate.append(time.sleep(0.05))
            yield frame

    monkeypatch.setattr(found_talker.model, "render_frames", slowly)
    inputs = {"portrait": handle_file(example_portrait), "recordings": [handle_file(clicks), handle_file(archive)]}
    job = client.submit(**inputs, steps=1, frame="crop", api_name="/batch")
    deadline = time.monotonic() + 60
    while len(gate) < 29 and time.monotonic() < deadline:  # the second of three
        time.sleep(0.02)
    client.predict(api_name="/cancel")
    _, _, status, gallery = job.result(timeout=20)
    assert "Cancelled; finished videos are below." in status and gallery.count("<figure>") == 1
    assert not list(page.sessions.root.glob("sessions/*/work-*"))
    shown = [view[2] for view in job.outputs()]
    assert any("Recording 2 of 3: hello.wav" in words for words in shown)


def test_one_progress_over_all_recordings():
    batch = Job(lambda job: None)
    entry = Entry(batch, {"kind": "speak"}, 50, 90)
    entry.report("motion", 3, 4)
    assert (batch.done, batch.total) == (50, 90)
    entry.report("frames", 10, 40)
    assert (batch.stage, batch.done, batch.total) == ("batch", 60, 90)
    entry.live = "video"
    assert batch.live == "video"
    batch.cancel()
    with pytest.raises(Cancelled):
        entry.report("frames", 11, 40)


def test_names_of_the_videos_differ(tmp_path):
    recordings = [Recording(name, tmp_path) for name in ("a.wav", "a.mp3", "a-2.wav", "?.wav")]
    names = video_names({"portrait": {"orig_name": "me.png"}}, recordings)
    assert names == ["me-a", "me-a-2", "me-a-2-2", "me"]


@pytest.mark.slow
def test_the_panels_sample_runs_as_printed(page, capsys):
    sample = httpx.get(f"{page.url}/gradio_api/info").json()["named_endpoints"]["/batch"]["code_snippets"]["python"]
    assert "recordings=[" in sample
    exec(sample, {})
    assert "2 videos" in capsys.readouterr().out
