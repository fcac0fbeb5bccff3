"""What the sync judge is worth: how often it prefers matched to shifted speech, and how far off its offsets are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from encoders.speech import SpeechFeatures
from scripts.evaluation.sync_judge import MAX_SHIFT, shifted_cosines, verdict
from scripts.training.sync_data import SyncClip

LEAST_SHIFT = 5  # frames from which speech counts as shifted
TWO_SECONDS = 50  # frames
SHARE = 0.6  # of a window's frames that a shift must leave to be compared


@torch.inference_mode()
def accuracy(network: nn.Module, features: SpeechFeatures, clips: Sequence[SyncClip]) -> dict[str, dict[str, float]]:
    """`scores` of filmed and of generated clips whose offset is known; a kind without clips is left out."""
    cosines: dict[str, list[np.ndarray]] = {"filmed": [], "generated": []}
    for clip in clips:
        if clip.offset is not None:
            lips, speech = network(clip.shapes[None], features.assemble(clip.log_mel[None], clip.pitch[None]))
            # Shifts about the known offset: as if the speech began so much later.
            span = MAX_SHIFT + abs(clip.offset)
            around = shifted_cosines(lips[0], speech[0], span)[:, abs(clip.offset) + clip.offset :]
            cosines["filmed" if clip.filmed else "generated"].append(around[:, : 2 * MAX_SHIFT + 1].numpy())
    return {kind: scores(curves) for kind, curves in cosines.items() if curves}


def scores(curves: Sequence[np.ndarray]) -> dict[str, float]:
    """Cosines [T,2 MAX_SHIFT+1] of clips about their true offset -> shares of correct choices, and errors in frames.

    window: matched against shifted by LEAST_SHIFT frames or more, single embeddings (11 frames); two_seconds: the same
    of means over 2 s; all_shifts: matched speech beats every such shift; within_1: the best shift of 2 s, and of a clip
    (clip_within_1), lies within a frame of the truth; clip_error: its mean distance.
    """
    apart = np.abs(np.arange(-MAX_SHIFT, MAX_SHIFT + 1)) >= LEAST_SHIFT
    windows = [row for curve in curves for row in curve]
    seconds = [window for curve in curves for window in cut(curve, TWO_SECONDS)]
    offsets = np.abs([verdict(torch.from_numpy(curve))["offset_frames"] for curve in curves])
    best = [np.abs(np.nanargmax(window) - MAX_SHIFT) <= 1 for window in seconds]
    return {
        "window": float(np.mean(wins(windows, apart)[0])),
        "two_seconds": float(np.mean(wins(seconds, apart)[0])),
        "all_shifts": float(np.mean(wins(seconds, apart)[1])),
        "within_1": float(np.mean(best)),
        "clip_within_1": float(np.mean(offsets <= 1)),
        "clip_error": float(np.mean(offsets)),
        "windows_of_two_seconds": len(seconds),
        "clips": len(curves),
    }


def cut(curve: np.ndarray, length: int) -> list[np.ndarray]:
    """Means over windows of `length` frames, half of it apart, of [T,shifts] -> list of [shifts], NaN where too few."""
    means = []
    for first in range(0, max(1, len(curve) - length + 1), length // 2):
        window = curve[first : first + length]
        there = ~np.isnan(window)
        mean = np.where(there, window, 0).sum(0) / np.maximum(there.sum(0), 1)
        mean[there.mean(0) < SHARE] = np.nan
        if not np.isnan(mean[MAX_SHIFT]):
            means.append(mean)
    return means


def wins(windows: Sequence[np.ndarray], apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each window [shifts] the share of shifts in `apart` (bool) that the middle beats, and whether it beats all."""
    values = np.stack(windows)
    matched, shifted = values[:, MAX_SHIFT, None], values[:, apart]
    known = ~np.isnan(shifted) & ~np.isnan(matched)
    keep = known.any(1)
    better = (matched > shifted)[keep]
    share = (better & known[keep]).sum(1) / known[keep].sum(1)
    return share, share == 1
