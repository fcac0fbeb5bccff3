"""The video in the making: it is watched before the end, marked, of the file's frames, and nobody else's."""

import os

import numpy as np
import pytest
import torch

from anitalker.config import RenderOptions
from anitalker.media.video import read_audio, read_frames
from app import live_video
from app.live_video import LiveVideo, draw_ahead, motion_windows, small_size
from tests.conftest import run_async

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the sound of fragments goes through a third pipe")
PLAIN = RenderOptions(marks=False)


def grey(value, height=64, width=48):
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("picture", "small"), [((256, 256), (256, 256)), ((4032, 3024), (426, 320)), ((600, 3001), (128, 640))]
)
def test_the_small_size_keeps_the_shape(picture, small):
    assert small_size(picture) == small


def test_frames_drawn_ahead_and_those_of_the_file_make_one_video(tmp_path):
    with LiveVideo(tmp_path / "live.mp4", (64, 48), np.zeros(0, np.float32), PLAIN) as live:
        for value in range(5):
            live.write(grey(20 * value))
        for value in range(12):
            live.watch(grey(20 * value, 128, 96))
    levels = [round(float(frame.mean()) / 20) for frame in read_frames(live.path)]
    assert levels == list(range(12)) and live.written == 12


@pytest.mark.parametrize(("fps", "count", "levels"), [(50, 12, [1, 3, 5, 7, 9, 11]), (12.5, 3, [0, 0, 1, 1, 2, 2])])
def test_frames_at_another_rate(tmp_path, fps, count, levels):
    with LiveVideo(tmp_path / "live.mp4", (64, 48), np.zeros(0, np.float32), PLAIN, fps) as live:
        for value in range(count):
            live.watch(grey(20 * value))
    assert [round(float(frame.mean()) / 20) for frame in read_frames(live.path)] == levels


def test_it_is_read_while_it_is_written(tmp_path):
    sound = np.sin(np.arange(25 * 640) * 0.1).astype(np.float32)

    async def watch():
        seen = b""
        with LiveVideo(tmp_path / "live.mp4", (64, 48), sound, PLAIN) as live:
            for value in range(25):
                live.write(grey(10 * value))
            reading = live.read()
            while b"moof" not in seen:
                seen += await anext(reading)
            assert not live.ended.is_set()
        async for chunk in reading:
            seen += chunk
        return live, seen

    live, seen = run_async(watch())
    assert seen == live.path.read_bytes()
    assert np.abs(read_audio(live.path)[3200:9600]).max() > 0.5


def test_it_is_marked_and_labelled(tmp_path, monkeypatch):
    """A label is black and white letters on a grey frame; the watermark changes a flat one."""
    frames = {}
    for name, options in {
        "plain": PLAIN,
        "marked": RenderOptions(),
        "labelled": RenderOptions(marks=False, label=True),
    }.items():
        with LiveVideo(tmp_path / f"{name}.mp4", (256, 256), np.zeros(0, np.float32), options) as live:
            live.write(grey(128, 256, 256))
        frames[name] = next(iter(read_frames(live.path))).astype(int)
    assert frames["plain"].std() < 0.5 < frames["marked"].std()
    corner = frames["labelled"][-40:, :120]
    assert corner.max() > 220 > corner.min() + 120 and frames["labelled"][:100].std() < 0.5


def test_a_failure_spoils_no_work(tmp_path):
    with LiveVideo(tmp_path / "missing" / "live.mp4", (64, 48), np.zeros(0, np.float32), PLAIN) as live:
        live.watch(grey(1))
        live.watch(grey(2))
    assert live.token == "" and live.ended.is_set()


def test_frames_ahead_are_those_of_the_file(found_talker, example_portrait, make_wav, tmp_path, monkeypatch):
    """Window by window the motion is that of the whole, and as many frames come as are asked for."""
    speech = np.random.default_rng(0).normal(0, 0.1, 6 * 16_000).astype(np.float32)
    options = RenderOptions(steps=1, lips=1.5, seed=3, batch_size=1)
    portrait, model = found_talker.portrait(example_portrait), found_talker.model
    whole = found_talker.motion(portrait, speech, options)[0]
    windows = motion_windows(model, model.speech_features(torch.tensor(speech)), portrait.faces[0], options, 3)
    assert torch.allclose(torch.cat(list(windows)), whole, atol=1e-5)
    frames = list(draw_ahead(found_talker, portrait, speech, options, 3))
    expected = list(found_talker.draw(portrait, [whole[:3]], options))
    assert np.abs(np.array(frames).astype(int) - np.array(expected)).max() <= 1


def test_how_many_are_drawn_ahead(found_talker):
    assert live_video.frames_ahead(found_talker, 256**2, 100, PLAIN) == 0
    assert live_video.frames_ahead(found_talker, 256**2, 1000, PLAIN) == live_video.AHEAD_FRAMES
    assert live_video.frames_ahead(found_talker, 1000**2, 100, PLAIN) == 100
    assert live_video.frames_ahead(found_talker, 1000**2, 100, RenderOptions(frame="crop")) == 0
