"""Codes of landmarks, and neutral faces."""

import torch

from anitalker.faces.landmarks import from_canonical, lip_opening
from scripts.training.labels import close_lips


def test_codes_of_made_landmarks_are_the_codes_they_were_made_of(face, labels):
    codes = torch.randn(6, 20) * 0.02 - torch.tensor([0] * 5 + [0.6] + [0] * 14)
    shape = face + (codes[:, 6:] @ labels.directions.T).unflatten(1, (468, 3))
    read = labels.codes(from_canonical(shape, codes[:, :6]).numpy(), "ann")
    assert (read - codes).abs().max() < 0.03  # random directions move the stable points a little


def test_somebody_who_never_shuts_the_mouth_gets_a_shut_neutral(face):
    gap = torch.zeros(468, 3)
    gap[14, 1], gap[13, 1] = 1.0, -1.0
    directions = torch.linalg.qr(torch.cat([gap.flatten()[:, None], torch.randn(468 * 3, 13)], 1)).Q
    opened = face + 0.04 * gap
    assert lip_opening(opened) > 0.08 and lip_opening(close_lips(opened, directions)) < 0.012
