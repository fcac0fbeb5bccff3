"""Mouths of val: fixed references of a clip's start, targets of its end."""

import numpy as np
import torch
from torch import nn

from anitalker.decoder.mouth import MouthSynthesizer
from anitalker.network_config import MouthConfig
from scripts.training.data import FrameCache
from scripts.training.mouth_score import score_mouths, seam, validation_batches


class Distance(nn.Module):
    """Mean absolute difference, where a perceptual distance is asked for."""

    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def test_references_are_of_the_first_third_and_targets_of_the_last_half(cache, labels):
    frames = FrameCache(cache, "val")
    assert validation_batches(frames, labels) == []  # 30 frames are no 4 s
    frames.frame = np.tile([0, 40, 80, 120], 3)[: len(frames)]
    batches = validation_batches(frames, labels)
    assert len(batches) == 2  # one for each of the two clips
    assert batches[0].patches.shape == (1, 4, 3, 128, 128) and batches[0].target.shape == (2, 3, 128, 128)
    shown = torch.tensor(frames.landmarks)
    assert torch.equal(batches[0].landmarks, shown[[2, 3]])  # frames 80 and 120
    assert torch.equal(batches[0].patch_landmarks[0], shown[[0, 0, 1, 1]])  # frames 0 and 40


def test_a_network_that_draws_nothing_scores_as_the_warp(cache, labels):
    frames = FrameCache(cache, "val")
    frames.frame = np.tile([0, 40, 80, 120], 3)[: len(frames)]
    batches, network = validation_batches(frames, labels), MouthSynthesizer(MouthConfig()).eval()
    nn.init.constant_(network.exit.bias, -30.0)  # alpha 0
    scores = score_mouths(network, batches, Distance())
    assert abs(scores["one"] - 1) < 1e-3 and abs(scores["four"] - 1) < 1e-3 and scores["warp"] > 0
    assert scores["seam"] >= 0


def test_a_seam_is_the_colour_step_at_alphas_edge():
    warped, output = torch.zeros(1, 3, 8, 8), torch.zeros(1, 4, 8, 8)
    output[:, 3, :, 4:] = 1
    everywhere = torch.ones(1, 1, 8, 8)
    assert seam(warped, output, everywhere) == 0
    output[:, :3] = 0.1
    assert abs(seam(warped, output, everywhere) - 12.75) < 1e-3
    output[:, :3, :, 6:] = 0.5  # beyond the edge
    assert abs(seam(warped, output, everywhere) - 12.75) < 1e-3 and seam(warped, output, 0 * everywhere) == 0
