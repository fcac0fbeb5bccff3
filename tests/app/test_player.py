"""The names of videos, and what the player is told; nothing that a visitor writes becomes HTML."""

from types import SimpleNamespace

import pytest

from anitalker.server.job_queue import Job
from app import player
from app.inputs import video_name


def file(name, path="/x/stored.bin"):
    return {"path": path, "orig_name": name}


@pytest.mark.parametrize(
    ("kind", "values", "name"),
    [
        ("speak", {"portrait": file("Me & You.JPG"), "recording": file("speech.flac")}, "Me-You-speech"),
        ("speak", {"portrait": {"path": "/x/man.webp"}, "recording": file("clip.mov")}, "man-clip"),
        ("idle", {"portrait": {"path": "/x/man.webp"}, "seconds": 8}, "man-idle"),
        ("say", {"portrait": file("größe.png"), "text": "Hello, you there!\n"}, "größe-Hello-you-there"),
        ("say", {"portrait": file("a.png"), "text": "x" * 90}, "a-" + "x" * 40),
        ("drive", {"portrait": file("../a.png"), "driving": file("d.mp4")}, "a-d"),
        ("dub", {"film": file("clip.mov"), "dub_recording": file("s.wav"), "dub_text": ""}, "clip-s"),
        ("dub", {"film": file("clip.mov"), "dub_recording": None, "dub_text": "¡Hola! ¿Qué tal?"}, "clip-Hola-Qué-tal"),
        ("speak", {"portrait": file("???.png"), "recording": file("!.wav")}, "anitalker"),
    ],
)
def test_a_video_is_named_after_its_inputs(kind, values, name):
    assert video_name(kind, values) == name


def test_the_live_video_is_told_once_it_has_frames():
    job = Job(lambda job: None)
    assert "data-live=''" in player.in_the_making(job)
    job.live = SimpleNamespace(token="abc", written=0)
    assert "data-live=''" in player.in_the_making(job)
    job.live.written = 3
    assert "data-live='gradio_api/live/abc'" in player.in_the_making(job)
    job.live.token = ""  # where nothing can be streamed
    assert "data-live=''" in player.in_the_making(job)


def test_the_source_is_the_driving_video_or_the_portrait(tmp_path):
    picture, clip = tmp_path / "a'b.png", tmp_path / "c.mp4"
    for path in (picture, clip):
        path.write_bytes(b"x")
    portrait, driving = file("a.png", str(picture)), file("c.mp4", str(clip))
    assert player.source_view({"portrait": portrait}).startswith("<img") and "a'b" not in player.source_view(
        {"portrait": portrait}
    )
    assert player.source_view({"portrait": portrait, "driving": driving}).startswith("<video")
    begin = player.source_view({"film": driving, "start": 2.5})
    assert begin.startswith("<video") and "data-start='2.5'" in begin
    assert "data-start='0'" in player.source_view({"film": driving, "start": "'><b>"})
    picture.unlink()
    assert player.source_view({"portrait": portrait, "recording": None}) == ""
