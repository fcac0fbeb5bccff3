"""Clips whose sound is late; the folder of another system's videos: what fits, what is missing, what is refused."""

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.evaluation import clips
from scripts.evaluation.clips import ExternalVideos
from scripts.training.data import Clip


@pytest.mark.parametrize(("stated", "first", "samples"), [("3", 3, 37), ("", 0, 40), ("-2", 0, 40)])
def test_late_sound_is_brought_back(fakes, monkeypatch, stated, first, samples):
    known = fakes.clip()
    sound = np.arange(1, fakes.FRAMES * 640 + 1, dtype=np.float32)
    stored = Clip(known.row | {"av_offset_frames": stated}, known.landmarks, b"")
    monkeypatch.setattr(clips, "load_clips", lambda *_: [stored])
    monkeypatch.setattr(clips, "decode_frames", lambda _: known.frames)
    monkeypatch.setattr(clips, "decode_speech", lambda _: np.pad(sound, (0, 500)))
    (clip,) = clips.read_clips("data", "val", None, speech=True)
    assert len(clip.speech) == samples * 640 and len(clip.frames) == fakes.FRAMES
    early = 2 * 640 if stated == "-2" else 0
    assert not clip.speech[:early].any() and clip.speech[early] == sound[first * 640]
    (clip,) = clips.read_clips("data", "val", None, speech=False)
    assert len(clip.speech) == 0


READ_FRAMES = "scripts.evaluation.clips.read_frames"


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "0.mp4").touch()
    return ExternalVideos(str(tmp_path))


def test_videos_are_read_as_the_clip_needs_them(videos, fakes, monkeypatch):
    known = fakes.clip()
    monkeypatch.setattr(READ_FRAMES, lambda _: iter(known.frames[:-2]))
    frames = videos(known)
    assert frames.shape == known.frames.shape and (frames[:-2] == known.frames[:-2]).all()
    assert (frames[-1] == known.frames[-3]).all()
    large = np.repeat(np.repeat(known.frames[:, ::4, ::4], 8, 1), 8, 2)
    monkeypatch.setattr(READ_FRAMES, lambda _: iter(large))
    assert videos(known).shape == known.frames.shape


def test_videos_that_do_not_fit_are_usage_errors(videos, fakes, monkeypatch, tmp_path):
    known = fakes.clip()
    monkeypatch.setattr(READ_FRAMES, lambda _: iter(known.frames[:30]))
    with pytest.raises(InputError, match="30 frames"):
        videos(known)
    monkeypatch.setattr(READ_FRAMES, lambda _: iter(known.frames[:, :100]))
    with pytest.raises(InputError, match="square"):
        videos(known)
    with pytest.raises(InputError, match="no folder"):
        ExternalVideos(str(tmp_path / "nowhere"))
    assert videos.has({"id": "0"}) and not videos.has({"id": "1"}) and videos.missing == ["1"]
