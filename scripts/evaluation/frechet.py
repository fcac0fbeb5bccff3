"""Fréchet distances of made and true pictures (FID) and videos (FVD), by networks that a user gives as TorchScript.

FID: Heusel et al., NeurIPS 2017; FVD: Unterthiner et al., 2018. Both are the distance of two Gaussians fitted to
features: |m - n|^2 + tr(A + B - 2 (A B)^(1/2)). With fewer samples than features the covariances are poor and the
figure is too high: compare only at the same `samples`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError

BATCH = 16
WINDOW = 16  # scored frames of a video


def frechet(made: np.ndarray, true: np.ndarray) -> float:
    """Distance of the Gaussians of two sets of features [N,D], [M,D], N and M at least 2."""
    from scipy.linalg import eigvals

    difference = made.mean(0) - true.mean(0)
    a, b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (made, true))
    # tr (AB)^(1/2) is the sum of the roots of AB's eigenvalues, which are real and not negative.
    roots = np.sqrt(np.maximum(eigvals(a @ b).real, 0))
    return float(difference @ difference + np.trace(a) + np.trace(b) - 2 * roots.sum())


def load_script(path: str, what: str) -> torch.jit.ScriptModule:
    """A TorchScript file, or one line that says that it is none."""
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        line = " ".join(str(error).split())[:100]
        raise InputError(f"{what} is {path!r}, which is no TorchScript file ({line}); see docs/evaluation.md") from None


class Inception:
    """The TorchScript Inception of the StyleGAN metrics: uint8 [B,3,H,W], return_features=True -> [B,2048]."""

    name = "fid"

    def __init__(self, path: str) -> None:
        self.network = load_script(path, "inception")

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [T,H,W,3] -> one row of features per picture."""
        pictures = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
        return torch.cat([self.network(part, return_features=True) for part in pictures.split(BATCH)]).numpy()


class VideoNetwork:
    """The TorchScript I3D of the StyleGAN-V metrics: float [B,3,T,H,W] in 0..255, rescale=True,
    resize=True, return_features=True -> [B,400].
    """

    name = "fvd"

    def __init__(self, path: str) -> None:
        self.network = load_script(path, "i3d")

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [T,H,W,3] -> one row of features per WINDOW frames; a rest is left out."""
        pictures = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float()
        made = [self._features(part) for part in pictures.split(WINDOW) if len(part) == WINDOW]
        return np.concatenate(made) if made else np.zeros((0, 400), np.float32)

    def _features(self, part: Tensor) -> np.ndarray:
        video = part.transpose(0, 1)[None]
        return self.network(video, rescale=True, resize=True, return_features=True).numpy()


class Frechet:
    """Gathers features of made and true frames, clip by clip."""

    def __init__(self, network: Inception | VideoNetwork) -> None:
        self.network = network
        self.made: list[np.ndarray] = []
        self.true: list[np.ndarray] = []

    def add(self, made: np.ndarray, true: np.ndarray) -> None:
        """uint8 [T,H,W,3] twice."""
        self.made.append(self.network(made))
        self.true.append(self.network(true))

    def result(self) -> dict:
        """{"value", "samples"}; the value is None under two samples."""
        made, true = np.concatenate(self.made), np.concatenate(self.true)
        return {"value": frechet(made, true) if len(made) > 1 else None, "samples": len(made)}
