"""Scores that the studies share, on codes whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scripts.ablations import scoring


def clips(count, noise, rng):
    """Codes of ten numbers from which `pose` follows, but for noise, and `chance` does not."""
    made = []
    for _ in range(count):
        code = rng.normal(size=(30, 10))
        pose = code[:, :2] * [2.0, -1.0] + 3 + noise * rng.normal(size=(30, 2))
        made.append((code.astype(np.float32), {"pose": pose, "chance": rng.normal(size=(30, 1))}))
    return made


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.999, 1.0), (1.0, 0.55, 0.8)])
def test_a_ridge_probe_reads_what_is_there(noise, low, high):
    rng = np.random.default_rng(0)
    scores = scoring.ridge_probe(clips(8, noise, rng), clips(6, noise, rng), 1e-3)
    assert low < scores["pose"]["mean"] <= high
    assert scores["pose"]["interval"][0] <= scores["pose"]["mean"] <= scores["pose"]["interval"][1]
    assert scores["chance"]["mean"] < 0.1


def test_frames_of_clips_are_spread_and_people_bounded():
    clip = np.repeat([0, 1, 2, -1], 10)
    good = np.ones(40, bool)
    good[3] = False
    rows = [{"identity": "a"}, {"identity": "a"}, {"identity": "b"}]
    frames = np.zeros((40, 8, 8, 3), np.uint8)
    cache = SimpleNamespace(rows=rows, clip=clip, good=good, frame=np.arange(40), landmarks=np.arange(40))
    cache.pictures = torch.from_numpy(frames).__getitem__
    labels = SimpleNamespace(codes=lambda landmarks, person: torch.zeros(len(landmarks), 20))
    look = lambda pictures: {"mean": pictures.mean((1, 2, 3))}  # noqa: E731
    clips = scoring.read_clips(cache, labels, look, 4, 1)
    assert [(reading.clip, reading.person) for reading in clips] == [(0, "a"), (2, "b")]
    assert clips[0].frames.tolist() == [0, 2, 6, 9] and clips[1].landmarks.tolist() == [20, 23, 26, 29]
    assert clips[0].codes["mean"].tolist() == [-1.0] * 4 and clips[0].labels.shape == (4, 20)
    assert len(scoring.read_clips(cache, labels, look, 4)) == 3
