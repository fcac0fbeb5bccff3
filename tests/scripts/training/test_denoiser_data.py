"""Windows for the original's motion generator."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anitalker.config import InputError
from scripts.training.denoiser_data import REACH, Scale, Windows, load_denoiser_clips
from scripts.training.motion_data import load_motion


def test_windows_hold_what_belongs_together(read_folder):
    clips = load_motion(read_folder, "train")
    windows = Windows(load_denoiser_clips(read_folder, clips), None, 24)
    batch = windows.batch(3, 0)
    n = batch["motion"].shape[1]
    assert 50 <= n <= 125 and batch["sound"].shape == (3, 4 * n, 39) and batch["signals"].shape == (3, n, 5)
    assert batch["motion"].abs().max() == 1 and batch["appearance"].shape == (3, 24)
    assert torch.equal(batch["portrait"], batch["motion"][:, 0])
    again = windows.batch(3, 0)
    assert all(torch.equal(again[name], value) for name, value in batch.items())
    # Motion is noise here, but signals and sound come from the same frames: the loudness of a frame is known.
    signals = torch.from_numpy(load_denoiser_clips(read_folder, clips)[0].signals)
    for window, sound in zip(batch["signals"], batch["sound"], strict=True):
        first = int((signals[:, 0] - window[0, 0]).abs().argmin())
        loud = torch.from_numpy(clips[0].lips[first : first + n])
        assert torch.corrcoef(torch.stack([loud, sound[:, 0].unflatten(0, (n, 4)).mean(1)]))[0, 1] > 0.8


def test_label_codes_become_motion_beside_a_portrait():
    rng = np.random.default_rng(0)
    codes, scale = rng.normal(size=(9, 20)).astype(np.float32) * 0.5, Scale(rng.normal(size=20), np.ones(20))
    motion = scale(codes, codes[3])
    assert np.abs(motion).max() <= 1 and np.abs(motion[3, :6]).max() == 0
    assert np.allclose(motion[:, 6:] * REACH + scale.mean[6:], codes[:, 6:], atol=1e-5)


def test_features_of_before_are_refused(read_folder):
    clips = load_motion(read_folder, "train")
    with pytest.raises(InputError, match="extract_features once more"):
        load_denoiser_clips(without(read_folder, "signals"), clips)
    with pytest.raises(InputError, match="only some clips have codes"):
        load_denoiser_clips(without(read_folder, "motion"), clips)


def without(folder, name):
    """A copy of the folder whose first clip lacks a tensor."""
    copy = folder.parent / f"without-{name}"
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "one.safetensors")
    del tensors[name]
    save_file(tensors, copy / "one.safetensors")
    return copy
