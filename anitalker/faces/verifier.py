"""Who is it? A small identity verifier: never a loss, since it judges in the evaluation, and never a part of a model.

Letters: B pictures, N = 468 landmarks, D width of an embedding. A face is brought upright into a 64x64 crop by points
that speech does not move, cut out along its oval, and freed of its mean colour and contrast: neither hair, background,
clothes nor light tell who it is. What the network is worth, its equal-error rate, stands in its file (`config`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import LANDMARKS
from anitalker.faces.landmarks import FACE_OVAL, STABLE, rasterise
from anitalker.runtime.transfer import to_tensors

SIDE = 64  # of the aligned crop, pixels
WIDTHS = (56, 112, 144)  # of the network at 16, 8 and 4 pixels
FACE = 0.92  # face height of the canonical face in it
SHRINK = 0.97  # of the oval about its middle: no rim of hair or background
BATCH = 64


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation; the shortcut averages where the size is halved."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
        kept = x if self.stride == 1 else F.avg_pool2d(x, 2)
        return F.relu(inner + self.shortcut(kept))


class VerifierNetwork(nn.Module):
    """Masked aligned crops -> embeddings of unit length. widths: at 16, 8 and 4 pixels."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, size: int = 128) -> None:
        super().__init__()
        a, b, c = widths
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, a, 3, padding=1, bias=False), nn.BatchNorm2d(a), nn.ReLU()
        )
        self.blocks = nn.Sequential(_Residual(a, a), _Residual(a, b, 2), _Residual(b, b), _Residual(b, c, 2))
        # One weight per place and channel instead of an average, which would forget where things are.
        self.place = nn.Conv2d(c, c, SIDE // 16, groups=c, bias=False)
        self.out = nn.Linear(c, size)
        self.register_buffer("template", torch.zeros(LANDMARKS, 2))  # where a face's points lie in the crop, 0..1

    def set_template(self, canonical: Tensor) -> None:
        """From the canonical face [N,3] in face heights: upright, FACE high, in the middle."""
        flat = canonical[:, :2] * FACE
        middle = (flat.amax(0) + flat.amin(0)) / 2
        self.template.copy_(flat - middle + 0.5)

    def forward(self, crops: Tensor) -> Tensor:
        """[B,4,SIDE,SIDE], colours in [-1,1] and the mask of the face in 0..1 -> [B,D] float32."""
        x = plain(crops).contiguous(memory_format=torch.channels_last)
        x = self.place(self.blocks(self.stem(x))).flatten(1)
        return F.normalize(self.out(x).float(), dim=1)


def plain(crops: Tensor) -> Tensor:
    """Take colour cast and contrast away: [B,4,H,W] -> [B,3,H,W], mean 0 per colour and deviation 1 in the mask."""
    mask = crops[:, 3:]
    area = mask.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (crops[:, :3] * mask).sum((2, 3), keepdim=True) / area
    centred = (crops[:, :3] - mean) * mask
    spread = (centred.square().sum((1, 2, 3), keepdim=True) / (3 * area)).sqrt()
    return centred / spread.clamp(min=0.02)


def similarity(points: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares turn, scale and shift of points [B,P,2] to places [P,2]: z -> a z + b with complex a, b [B].

    x + iy as one complex number makes it one division.
    """
    z = torch.view_as_complex(points.double().contiguous())
    w = torch.view_as_complex(places.double().contiguous()).expand(len(z), -1)
    z_mean, w_mean = z.mean(1, keepdim=True), w.mean(1, keepdim=True)
    a = ((z - z_mean).conj() * (w - w_mean)).sum(1) / (z - z_mean).abs().square().sum(1).clamp(min=1e-12)
    return a, (w_mean - a[:, None] * z_mean).squeeze(1)


def straighten(pictures: Tensor, landmarks: Tensor, places: Tensor, keep: tuple, side: int) -> tuple[Tensor, Tensor]:
    """Pictures [B,3,H,W] and landmarks [B,N,>=2] so that the points `keep` come to `places` [len(keep),2], crop units.

    -> crops [B,3,side,side], sampled twice as finely and averaged, and landmarks [B,N,2] in the crops.
    """
    flat = landmarks[..., :2].float()
    a, b = similarity(flat[:, list(keep)], places)
    axis = (torch.arange(2 * side) + 0.5) / (2 * side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    z = (torch.complex(x, y)[None] - b[:, None, None]) / a[:, None, None]
    grid = 2 * torch.view_as_real(z).to(pictures.dtype) - 1
    crops = F.avg_pool2d(F.grid_sample(pictures, grid, padding_mode="border", align_corners=False), 2)
    moved = a[:, None] * torch.view_as_complex(flat.double().contiguous()) + b[:, None]
    return crops, torch.view_as_real(moved).float()


def face_crops(pictures: Tensor, landmarks: Tensor, template: Tensor) -> Tensor:
    """Pictures [B,3,H,W] in [-1,1], landmarks [B,N,3] in crop units -> [B,4,SIDE,SIDE], the last the face's oval."""
    crops, moved = straighten(pictures, landmarks, template[list(STABLE)], STABLE, SIDE)
    ring = moved[:, list(FACE_OVAL)]
    middle = ring.mean(1, keepdim=True)
    moved = moved.clone()
    moved[:, list(FACE_OVAL)] = middle + SHRINK * (ring - middle)
    return torch.cat([crops, rasterise(moved, (FACE_OVAL,), SIDE)], 1)


class Verifier:
    """Embeddings of faces: `verifier(pictures, landmarks)`; `network` is in evaluation mode, on the CPU."""

    def __init__(self, network: VerifierNetwork) -> None:
        self.network = network

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """uint8 [T,H,W,3], landmarks [T,468,3] in crop units -> unit embeddings float32 [T,D]."""
        batches = zip(*(torch.from_numpy(np.array(x)).split(BATCH) for x in (pictures, landmarks)), strict=True)
        template = self.network.template
        crops = (face_crops(to_tensors(images), points, template) for images, points in batches)
        return np.concatenate([self.network(batch).numpy() for batch in crops])
