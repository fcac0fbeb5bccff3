"""The page, the bars and the folder of another system's videos."""

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.evaluation import report
from scripts.evaluation.bars import BARS, bars
from scripts.evaluation.outputs import FolderOutputs

REPORT = {
    "model": "<lite>",
    "split": "val",
    "gain": {"psnr": {"mean": 2.5, "interval": [2.0, 3.1]}, "psnr_face": {"mean": 8.0, "interval": [7.0, 9.0]}},
    "self_reenactment": {"psnr": 21.0, "landmark": 0.0155, "interval": {"psnr": [20.0, 22.0]}},
    "audio_driven": {"lip_correlation": 0.6, "interval": [0.5, 0.7], "spread_ratio": 1.3, "per_clip": [1.0, 2.0]},
}


def test_bars_say_what_is_reached():
    rows = {(what, limit): (value, reached) for what, value, limit, reached in bars(REPORT)}
    assert rows["gain on copying, whole crop (dB)", ">= 3"] == (2.5, False)
    assert rows["gain on copying, face (dB)", ">= 7.5"] == (8.0, True)
    assert rows["spread of the opening", ">= 0.8"][1] and not rows["spread of the opening", "<= 1.25"][1]
    assert len(rows) == 6 and bars({}) == []
    assert all(side in ("<=", ">=") for _, _, side, _ in BARS)


def test_page_has_bars_figures_intervals_and_sheets(tmp_path):
    (tmp_path / "clip.png").touch()
    (tmp_path / "held-worst-1-s1.png").touch()
    text = report.write(REPORT, tmp_path).read_text(encoding="utf-8")
    assert "<h1>&lt;lite&gt; on val</h1>" in text and "<lite>" not in text
    assert "[20, 22]" in text and "[0.5, 0.7]" in text and "missed" in text and "reached" in text
    assert text.index('src="held-worst-1-s1.png"') < text.index('src="clip.png"') and text.count("<img") == 2


def test_intervals_stand_beside_their_figure():
    rows = {name: interval for name, _, interval in report.flat(REPORT["audio_driven"])}
    assert rows == {"lip_correlation": "[0.5, 0.7]", "spread_ratio": ""}
    both = {"blinks": 7.0, "blinks_interval": [1.0, 9.0], "jitter": 0.5, "jitter_interval": [0.1, 0.9]}
    assert dict((n, i) for n, _, i in report.flat(both)) == {"blinks": "[1, 9]", "jitter": "[0.1, 0.9]"}


@pytest.fixture
def outputs(tmp_path):
    (tmp_path / "0.mp4").touch()
    return FolderOutputs(str(tmp_path))


def test_videos_are_read_as_the_clip_needs_them(outputs, fakes, monkeypatch):
    known = fakes.clip()
    monkeypatch.setattr("anitalker.media.video.read_frames", lambda _: iter(known.frames[:-2]))
    frames = outputs(known)
    assert frames.shape == known.frames.shape and (frames[:-2] == known.frames[:-2]).all()
    assert (frames[-1] == known.frames[-3]).all()
    large = np.repeat(np.repeat(known.frames[:, ::4, ::4], 8, 1), 8, 2)
    monkeypatch.setattr("anitalker.media.video.read_frames", lambda _: iter(large))
    assert outputs(known).shape == known.frames.shape


def test_videos_that_do_not_fit_are_usage_errors(outputs, fakes, monkeypatch, tmp_path):
    known = fakes.clip()
    monkeypatch.setattr("anitalker.media.video.read_frames", lambda _: iter(known.frames[:30]))
    with pytest.raises(InputError, match="30 frames"):
        outputs(known)
    monkeypatch.setattr("anitalker.media.video.read_frames", lambda _: iter(known.frames[:, :100]))
    with pytest.raises(InputError, match="square"):
        outputs(known)
    with pytest.raises(InputError, match="no folder"):
        FolderOutputs(str(tmp_path / "nowhere"))
    assert outputs.has({"id": "0"}) and not outputs.has({"id": "1"}) and outputs.missing == ["1"]
