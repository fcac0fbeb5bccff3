"""Face restoration: GFPGAN restores the portrait's faces once, before they move (extra `enhance`).

Our frames are resampled from the portrait's own pixels, so restoring these once improves every frame, at no cost per
frame. Wang et al., "Towards Real-World Blind Face Restoration with Generative Facial
Prior", 2021. The network comes from the package spandrel, its weights as tensors only. Pictures are uint8 [H,W,3].
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.face_network import sample_crops
from anitalker.faces.landmarks import FACE_OVAL, LEFT_EYE, RIGHT_EYE
from anitalker.runtime.transfer import to_tensor
from anitalker.weights.registry import resolve_verified
from anitalker.weights.tensor_io import check_finite, read

SIZE = 512  # pixels a side of the network's input and output
# Where the network expects the centres of the eyes, the tip of the nose and the corners of the mouth, in pixels of its
# input (facexlib's FFHQ template).
TEMPLATE_POINTS = ((192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15))
MAX_FACE_PIXELS = 2 * SIZE  # a side of the square in the picture; larger faces have more detail than the network gives
GFPGAN_KEYS = ("toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight")  # that only its state dict has
EDGE_BLUR = 0.03  # of the square's side: standard deviation of the mask's soft edge
log = logging.getLogger(__name__)

Network = Callable[[Tensor], Tensor]  # [1,3,512,512] in [-1,1] -> the same


def load(name: str | os.PathLike = "gfpgan", device: torch.device | str = "cpu") -> Network:
    """The network of a registry name or a weight file (GFPGANv1.3.pth, GFPGANv1.4.pth); InputError if there is none."""
    path = resolve_verified(name)
    _, tensors = read(path)
    if missing := [key for key in GFPGAN_KEYS if key not in tensors]:
        raise InputError(f"weights {str(path)!r} are not GFPGAN's (no {missing[0]!r}); get GFPGANv1.4.pth")
    check_finite(path, tensors)
    try:
        from spandrel import ModelLoader
    except ImportError:
        raise InputError("enhance is gfpgan, but spandrel is missing; pip install 'anitalker[enhance]'") from None
    try:
        with torch.random.fork_rng(
            devices=[]
        ):  # keeps the random initialisation, which is then overwritten, from the global generator
            loaded = ModelLoader("cpu").load_from_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"weights {str(path)!r} are not GFPGAN's ({reason}); get GFPGANv1.4.pth") from None
    model = loaded.model.eval().requires_grad_(False).to(device)
    return lambda face: model(face.to(device), return_rgb=False, randomize_noise=False)[0].cpu()


@torch.inference_mode()
def restore(picture: np.ndarray, faces: Iterable[np.ndarray], network: Network) -> np.ndarray:
    """A new picture of the same size in which faces, given by landmarks [468,>=2] in pixels, are restored.

    A face whose square is larger than MAX_FACE_PIXELS stays as it is.
    """
    restored = picture.copy()
    for points in faces:
        centre, side, axes = aligned_square(points)
        if side > MAX_FACE_PIXELS:
            log.warning(
                "enhance: a face square of %d pixels stays as it is; gfpgan helps up to %d", side, MAX_FACE_PIXELS
            )
            continue
        frame = (torch.tensor(centre)[None], torch.tensor([side]), torch.tensor(axes)[None])
        face = network(sample_crops(to_tensor(restored), *frame, SIZE)).float().clamp(-1, 1)
        paste_square(restored, face, points, centre, side, axes)
    return restored


def aligned_square(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The rotated square in which landmarks [468,>=2] come closest to TEMPLATE_POINTS.

    Returns its centre [2] and side in pixels and its axes [2,2] (rows). Least squares over rotation, scale and shift.
    """
    eyes = [points[list(contour), :2].mean(0) for contour in (RIGHT_EYE, LEFT_EYE)]
    target = np.stack([*eyes, points[1, :2], points[61, :2], points[291, :2]]).astype(np.float64)
    x, y = (np.array(TEMPLATE_POINTS) - SIZE / 2).T
    ones, zeros = np.ones(len(x)), np.zeros(len(x))
    rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    a, b, *centre = np.linalg.lstsq(rows, np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    scale = math.hypot(a, b)  # pixels of the picture per pixel of the square
    axes = np.array([[a, b], [-b, a]]) / scale
    return np.array(centre, np.float32), float(SIZE * scale), axes.astype(np.float32)


def paste_square(
    picture: np.ndarray, face: Tensor, points: np.ndarray, centre: np.ndarray, side: float, axes: np.ndarray
) -> None:
    """Blend a restored square [1,3,512,512] in [-1,1] into the picture, in place, inside the face's outline.

    points: landmarks [468,>=2] in pixels; centre, side and axes: of `aligned_square`.
    """
    size = max(min(round(side), SIZE), 1)  # no finer than the picture, so that nothing aliases
    layers = torch.cat([face, face_mask(points, centre, side, axes)[None, None]], 1)
    layers = torch.nn.functional.interpolate(layers, (size, size), mode="bilinear", antialias=True)
    radius = side * 0.75  # more than half of the square's diagonal
    (x0, y0), (x1, y1) = np.floor(centre - radius).astype(int), np.ceil(centre + radius).astype(int)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, picture.shape[1]), min(y1, picture.shape[0])
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    grid = (np.stack([x, y], -1) - centre) @ axes.T * (2 / side)  # -1..1 in the square
    sampled = (
        torch.nn.functional.grid_sample(
            layers, torch.tensor(grid[None], dtype=torch.float32), "bilinear", "border", align_corners=False
        )[0]
        .permute(1, 2, 0)
        .numpy()
    )
    weight = np.where((np.abs(grid) < 1).all(-1), sampled[..., 3], 0)[..., None]
    below = picture[y0:y1, x0:x1].astype(np.float32)
    picture[y0:y1, x0:x1] = np.rint(below + weight * ((sampled[..., :3] + 1) * 127.5 - below)).astype(np.uint8)


def face_mask(points: np.ndarray, centre: np.ndarray, side: float, axes: np.ndarray) -> Tensor:
    """Weight [512,512] of the restored face in its square: 1 inside the face's outline, soft at it, 0 outside."""
    outline = (points[list(FACE_OVAL), :2] - centre) @ axes.T / side * SIZE + SIZE / 2
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).polygon([tuple(p) for p in outline.tolist()], fill=255)
    return torch.tensor(np.asarray(mask.filter(ImageFilter.GaussianBlur(EDGE_BLUR * SIZE)), np.float32) / 255)
