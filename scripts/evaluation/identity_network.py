"""The identity network of the evaluation: the shipped verifier, another file of its kind, or a public network."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.faces.verifier import BATCH, Verifier, straighten
from anitalker.models.loading import load_verifier
from encoders.image import to_tensor
from scripts.evaluation.perception import load_torchscript

# Eyes, nose tip and mouth corners in the 112x112 crop that public recognition networks expect (ArcFace's alignment).
FIVE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


class IdentityNetwork:
    """Embeddings of faces: `network(frames, landmarks)`. name: registry name, file, or a TorchScript network's path.

    A `.pt` or `.ts` file is taken as a TorchScript recognition network: [B,3,112,112] in [-1,1], RGB, aligned by the
    usual five points -> [B,D].
    """

    def __init__(self, name: str | os.PathLike = "verifier") -> None:
        self.name, self.config = str(name), {}
        self.foreign, self.verifier = None, None
        if self.name.endswith((".pt", ".ts")):
            self.foreign = load_torchscript(self.name, "identity network")
        else:
            self.config, network = load_verifier(name)
            self.verifier = Verifier(network)

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """uint8 [T,H,W,3], landmarks [T,468,3] in crop units -> unit embeddings float32 [T,D]."""
        if self.verifier is not None:
            return self.verifier(frames, landmarks)
        batches = zip(*(torch.from_numpy(np.array(x)).split(BATCH) for x in (frames, landmarks)), strict=True)
        return np.concatenate([self._embed(to_tensor(pictures), points) for pictures, points in batches])

    def _embed(self, pictures: Tensor, landmarks: Tensor) -> np.ndarray:
        eyes = [landmarks[:, list(corners)].mean(1, keepdim=True) for corners in ((33, 133), (263, 362))]
        five = torch.cat([*eyes, landmarks[:, [1, 61, 291]]], 1)
        crops, _ = straighten(pictures, five, torch.tensor(FIVE) / 112, tuple(range(5)), 112)
        assert self.foreign is not None
        return F.normalize(self.foreign(crops).float(), dim=1).numpy()
