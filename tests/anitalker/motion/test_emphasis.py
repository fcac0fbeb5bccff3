"""Heads nod and brows rise where the voice sets in; what an option holds stays."""

import itertools

import pytest
import torch

from anitalker import pipeline
from anitalker.config import RenderOptions
from anitalker.motion.emphasis import HEAD_RANGE, NOD_RADIANS, Emphasis

FRAMES, MELS, HOPS = 60, 8, 2


def speech(onsets):
    """Features [1,T,9]: bands that jump at some frames and fall slowly."""
    level, rows = torch.tensor(0.0), []
    for frame in range(FRAMES):
        level = torch.tensor(2.0) if frame in onsets else 0.8 * level
        rows.append(torch.cat([level.expand(MELS), torch.zeros(1)]))
    return torch.stack(rows)[None]


def emphasis(free=(True, True, True)):
    brows = torch.zeros(1, 20)
    brows[0, 10] = 1.0
    return Emphasis(torch.zeros(1, 20), free, brows, MELS, HOPS)


def test_a_nod_and_raised_brows_follow_an_onset():
    made = emphasis()(torch.zeros(1, FRAMES, 20), speech({30}), 100)[0]
    assert made[:30].abs().max() < 1e-6
    deepest = int(made[:, 1].argmax())
    assert 31 <= deepest <= 42 and 0.1 * NOD_RADIANS < made[deepest, 1] < 3 * NOD_RADIANS
    assert made[deepest, 10] > 0 and made[:, 10].min() >= 0
    assert not made[:, [0, *range(2, 10), *range(11, 20)]].any()


def test_pieces_give_what_the_whole_gives():
    features, motion = speech({10, 25, 41}), torch.randn(1, FRAMES, 20, generator=torch.Generator().manual_seed(1))
    whole, piecewise = emphasis(), emphasis()
    bounds = [0, 1, 8, 9, 30, FRAMES]
    pieces = [piecewise(motion[:, a:b], features[:, a:b], a) for a, b in itertools.pairwise(bounds)]
    assert torch.allclose(torch.cat(pieces, 1), whole(motion, features, 0), atol=1e-6)


def test_angles_range_further_unless_an_option_holds_them():
    motion = torch.zeros(1, FRAMES, 20)
    motion[..., :3] = 0.1
    made = emphasis((True, False, False))(motion, speech({5}), 100)[0]
    assert made[:, 0] == pytest.approx(0.1 * HEAD_RANGE[0]) and made[:, 1:3] == pytest.approx(0.1)


@pytest.mark.slow
def test_shipped_heads_nod_with_speech_and_not_when_they_are_held(root):
    talker = pipeline.load("lite", "cpu")
    face = talker.portrait(root / "app/examples/portrait.webp", size=256)
    paths = [
        talker.motion(face, root / "app/examples/speech.flac", RenderOptions(still=still))[0][:100, :3].std(0)
        for still in (True, False)
    ]
    assert paths[0].max() < 1e-6 and paths[1].min() > 0.005
