"""Files of landmarks, and what a cache knows of its frames."""

import numpy as np
import torch

from anitalker.faces.landmarks import from_canonical
from scripts.training.data import FrameCache, decode_landmarks, encode_landmarks


def test_landmark_files_are_an_inverse_pair(face):
    track = from_canonical(face.expand(5, -1, -1), torch.randn(5, 6) * 0.05).numpy()
    assert np.abs(decode_landmarks(encode_landmarks(track), 5) - track).max() <= 0.5 / 2048 + 1e-6


def test_frames_of_a_clip_are_the_good_ones(cache):
    frames = FrameCache(cache, "train")
    frames.good[5] = False
    assert frames.frames_of(1).tolist() == [4, 6, 7] and frames.people == 4
    pictures, landmarks = frames.draw(np.array([1, 3]))
    assert pictures.shape == (2, 256, 256, 3) and landmarks.shape == (2, 468, 3)
    assert torch.equal(pictures[0], torch.from_numpy(np.array(frames.frames[1])))


def test_smaller_frames_are_averages(cache):
    full, small = FrameCache(cache, "train"), FrameCache(cache, "train", 64)
    pictures = small.pictures(np.array([2]))
    assert pictures.shape == (1, 64, 64, 3) and len(small) == len(full)
    assert abs(float(pictures[0, 0, 0, 0]) - full.frames[2, :4, :4, 0].mean()) <= 0.5
