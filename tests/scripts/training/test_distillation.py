"""A decoder is judged by what another one draws."""

from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import nn

from anitalker.decoder.decoder import Layers
from scripts.training.distillation import WEIGHTS, DecoderDistillation


def test_every_term_sees_its_own_difference():
    objective = DecoderDistillation(nn.Identity(), nn.Identity(), nn.Identity(), SimpleNamespace(mouth=0.1))
    blank = torch.zeros(1, 3, 256, 256)
    wanted = Layers(blank[:, :2], blank + 1 / 3, blank)
    frames, landmarks = blank, torch.rand(1, 468, 3, generator=torch.Generator().manual_seed(0))
    same = objective._terms(wanted, wanted, frames, frames, landmarks)
    assert set(same) == set(WEIGHTS) and all(float(term) == 0 for term in same.values())
    moved = objective._terms(replace(wanted, flow=wanted.flow + 1 / 256), wanted, frames, frames, landmarks)
    assert moved["flow"] >= 1 - 1e-5 and moved["frame"] == moved["masks"] == moved["synthesised"] == 0  # a pixel
    brighter = objective._terms(replace(wanted, synthesised=blank + 0.3), wanted, frames + 0.1, frames, landmarks)
    assert brighter["frame"] >= 0.1 - 1e-5 and brighter["synthesised"] > 0 and brighter["edges"] == 0
    striped = frames.clone()
    striped[..., ::2] = 0.1
    assert objective._terms(wanted, wanted, striped, frames, landmarks)["edges"] > 0.05
