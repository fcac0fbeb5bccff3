"""A clearer face before it moves: GFPGAN draws the portrait's faces again, once (extra `enhance`).

Our frames are resampled from the portrait's own pixels, so restoring these once is enough: the video costs nothing more
per frame, and every frame profits alike. Wang et al., "Towards Real-World Blind Face Restoration with Generative Facial
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

SIZE = 512  # pixels of the square that the network sees and draws
# Where it expects the middles of the eyes, the tip of the nose and the corners of the mouth (facexlib's FFHQ template).
PLACES = ((192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15))
LARGEST = 2 * SIZE  # pixels of the square in the picture; beyond, the picture knows more than the network draws
SIGNS = ("toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight")  # what only its state has
SOFT = 0.03  # of the square: width of the seam
log = logging.getLogger(__name__)

Network = Callable[[Tensor], Tensor]  # [1,3,512,512] in [-1,1] -> the same


def load(name: str | os.PathLike = "gfpgan", device: torch.device | str = "cpu") -> Network:
    """The network of a registry name or a weight file (GFPGANv1.3.pth, GFPGANv1.4.pth); InputError if there is none."""
    path = resolve_verified(name)
    _, tensors = read(path)
    if missing := [key for key in SIGNS if key not in tensors]:
        raise InputError(f"weights {str(path)!r} are not GFPGAN's (no {missing[0]!r}); get GFPGANv1.4.pth")
    check_finite(path, tensors)
    try:
        from spandrel import ModelLoader
    except ImportError:
        raise InputError("enhance is gfpgan, but spandrel is missing; pip install 'anitalker[enhance]'") from None
    try:
        with torch.random.fork_rng(devices=[]):  # the network draws its first weights, which are then replaced
            loaded = ModelLoader("cpu").load_from_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"weights {str(path)!r} are not GFPGAN's ({reason}); get GFPGANv1.4.pth") from None
    model = loaded.model.eval().requires_grad_(False).to(device)
    return lambda square: model(square.to(device), return_rgb=False, randomize_noise=False)[0].cpu()


@torch.inference_mode()
def restore(picture: np.ndarray, faces: Iterable[np.ndarray], network: Network) -> np.ndarray:
    """The picture with the faces of landmarks [468,>=2] (pixels) drawn again, inside their oval -> a new picture.

    A face that is larger than what the network draws stays as it is. The picture keeps its size.
    """
    out = picture.copy()
    for points in faces:
        centre, side, axes = square(points)
        if side > LARGEST:
            log.warning("enhance: a face square of %d pixels stays as it is; gfpgan helps up to %d", side, LARGEST)
            continue
        frame = (torch.tensor(centre)[None], torch.tensor([side]), torch.tensor(axes)[None])
        view = to_tensor(out)
        drawn = network(sample_crops(view, *frame, SIZE)).float().clamp(-1, 1)
        paste(out, drawn, points, centre, side, axes)
    return out


def square(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The turned square in which landmarks [468,>=2] come closest to PLACES: centre [2], side, axes [2,2] (rows).

    Least squares over turn, scale and shift.
    """
    rings = [points[list(ring), :2].mean(0) for ring in (RIGHT_EYE, LEFT_EYE)]
    own = np.stack([*rings, points[1, :2], points[61, :2], points[291, :2]]).astype(np.float64)
    there = np.array(PLACES) - SIZE / 2
    x, y = there.T
    one, none = np.ones(len(x)), np.zeros(len(x))
    rows = np.concatenate([np.stack([x, -y, one, none], 1), np.stack([y, x, none, one], 1)])
    a, b, *centre = np.linalg.lstsq(rows, np.concatenate([own[:, 0], own[:, 1]]), rcond=None)[0]
    scale = math.hypot(a, b)  # pixels of the picture per pixel of the square
    axes = np.array([[a, b], [-b, a]]) / scale
    return np.array(centre, np.float32), float(SIZE * scale), axes.astype(np.float32)


def paste(picture: np.ndarray, drawn: Tensor, points: np.ndarray, centre: np.ndarray, side: float, axes) -> None:
    """The square [1,3,512,512] in [-1,1] back into the picture, in place, inside the face's oval with a soft edge."""
    fine = max(min(round(side), SIZE), 1)  # no finer than the picture, so that nothing aliases
    layers = torch.cat([drawn, oval(points, centre, side, axes)[None, None]], 1)
    layers = torch.nn.functional.interpolate(layers, (fine, fine), mode="bilinear", antialias=True)
    reach = side * 0.75  # half of the square's diagonal, and some
    (x0, y0), (x1, y1) = np.floor(centre - reach).astype(int), np.ceil(centre + reach).astype(int)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, picture.shape[1]), min(y1, picture.shape[0])
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    place = (np.stack([x, y], -1) - centre) @ np.asarray(axes).T * (2 / side)
    seen = (
        torch.nn.functional.grid_sample(
            layers, torch.tensor(place[None], dtype=torch.float32), "bilinear", "border", align_corners=False
        )[0]
        .permute(1, 2, 0)
        .numpy()
    )
    weight = np.where((np.abs(place) < 1).all(-1), seen[..., 3], 0)[..., None]
    below = picture[y0:y1, x0:x1].astype(np.float32)
    picture[y0:y1, x0:x1] = np.rint(below + weight * ((seen[..., :3] + 1) * 127.5 - below)).astype(np.uint8)


def oval(points: np.ndarray, centre: np.ndarray, side: float, axes) -> Tensor:
    """Weight [512,512] of the drawn face: 1 inside the face's outline, soft at it, 0 outside."""
    outline = (points[list(FACE_OVAL), :2] - centre) @ np.asarray(axes).T / side * SIZE + SIZE / 2
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).polygon([tuple(p) for p in outline.tolist()], fill=255)
    return torch.tensor(np.asarray(mask.filter(ImageFilter.GaussianBlur(SOFT * SIZE)), np.float32) / 255)
