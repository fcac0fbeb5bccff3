"""Fréchet distances of generated and real pictures (FID) and videos (FVD), by TorchScript networks of the user.

FID: Heusel et al., NeurIPS 2017; FVD: Unterthiner et al., 2018. With fewer samples than features the covariances are
poor and the figure is too high: compare only at the same `samples`.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import InputError
from scripts.evaluation.perception import load_torchscript

WINDOW = 16  # scored frames of a video, and pictures at once


class FrechetDistance:
    """Gathers features of generated and real frames, clip by clip. name: `fid` or `fvd`; path: the TorchScript network.

    fid: the Inception of the StyleGAN metrics, uint8 [B,3,H,W], return_features=True -> [B,2048], a row per picture.
    fvd: the I3D of the StyleGAN-V metrics, float [B,3,T,H,W] in 0..255, rescale=True, resize=True,
    return_features=True -> [B,400], a row per WINDOW frames; a rest is left out.
    """

    def __init__(self, name: str, path: str) -> None:
        if find_spec("torchmetrics") is None:
            raise InputError('--inception and --i3d need torchmetrics; pip install -e ".[train]"')
        self.name, self.network = name, load_torchscript(path, "inception" if name == "fid" else "i3d")
        self.generated: list[Tensor] = []
        self.real: list[Tensor] = []

    @torch.inference_mode()
    def add(self, generated: np.ndarray, real: np.ndarray) -> None:
        """uint8 [T,H,W,3] twice."""
        for features, frames in ((self.generated, generated), (self.real, real)):
            for pictures in torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).split(WINDOW):
                if self.name == "fid":
                    features.append(self.network(pictures, return_features=True))
                elif len(pictures) == WINDOW:
                    video = pictures.float().transpose(0, 1)[None]
                    features.append(self.network(video, rescale=True, resize=True, return_features=True))

    def result(self) -> dict:
        """{"value", "samples"}; the value is None under two samples."""
        samples = sum(map(len, self.generated))
        value = frechet(torch.cat(self.generated), torch.cat(self.real)) if samples > 1 else None
        return {"value": value, "samples": samples}


def frechet(generated: Tensor, real: Tensor) -> float:
    """Distance of the Gaussians fitted to two sets of features [N,D], [M,D], N and M at least 2."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    features = nn.Identity()
    features.num_features = generated.shape[1]
    metric = FrechetInceptionDistance(feature=features)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return float(metric.compute())
