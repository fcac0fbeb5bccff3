"""The judge's own accuracy: planted networks that know the truth, that are late, and that know nothing."""

import numpy as np
import pytest
import torch

from encoders.speech import SpeechFeatures
from scripts.evaluation.sync_accuracy import MAX_SHIFT, accuracy, cut, scores
from scripts.training.sync_data import SyncClip

SHIFTS = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)


def curve(best, frames=100):
    """Cosines of a judge that likes one shift best, alike at every frame."""
    return np.tile(np.exp(-(((SHIFTS - best) / 2) ** 2)), (frames, 1))


def test_a_perfect_judge():
    assert scores([curve(0), curve(1)]) == {
        "window": 1.0,
        "two_seconds": 1.0,
        "all_shifts": 1.0,
        "within_1": 1.0,
        "clip_within_1": 1.0,
        "clip_error": 0.5,
        "windows_of_two_seconds": 6,
        "clips": 2,
    }


def test_a_judge_that_likes_a_wrong_shift():
    found = scores([curve(6)])
    assert found["two_seconds"] == pytest.approx(14 / 22)  # -15 to -5, and 13 to 15, lie further from 6 than 0
    assert found["all_shifts"] == found["within_1"] == 0 and found["clip_error"] == 6


def test_means_leave_out_what_is_not_there():
    values = curve(0)
    values[:60, 0] = np.nan
    windows = cut(values, 50)
    assert len(windows) == 3
    assert np.isnan(windows[0][0]) and np.isnan(windows[1][0]) and not np.isnan(windows[2][0])


def test_offsets_of_the_manifest_count_as_zero():
    """A network that knows which frame of lips belongs to which of speech: sound that is 3 frames late."""
    code = torch.nn.functional.normalize(torch.randn(200, 32, generator=torch.manual_seed(0)), dim=-1)

    def network(shapes, features):
        return code[shapes[..., 0, 0].long()], code[features[..., -1].long()]

    class Features(SpeechFeatures):
        def assemble(self, log_mel, pitch, stats=None):
            return pitch

    def clip(offset, generated="no"):
        frames = torch.arange(100.0)
        row = {"av_offset_frames": offset, "generated": generated, "shard": "x"}
        heard = torch.stack([frames, frames + 50 - 3], -1)  # at frame t one hears what was seen at t - 3
        return SyncClip(row, (frames + 50)[:, None, None].expand(-1, 57, 2), torch.zeros(400, 80), heard)

    known = accuracy(network, Features(), [clip("3"), clip("", "yes")])
    assert set(known) == {"filmed"} and known["filmed"]["clips"] == 1
    assert known["filmed"]["within_1"] == 1 and known["filmed"]["clip_error"] == 0
    assert accuracy(network, Features(), [clip("0")])["filmed"]["clip_error"] == 3
    assert accuracy(network, Features(), [clip("-2")])["filmed"]["clip_error"] == 5
