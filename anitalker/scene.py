"""A portrait before its background: frames as they are, or with another background, or with alpha."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from anitalker import rendering
from anitalker.config import InputError, RenderOptions
from anitalker.matte.alpha import find_matte
from anitalker.matte.foreground import estimate_foreground
from anitalker.matte.network import MatteNetwork
from anitalker.media.backdrop import Backdrop, lay_over, parse_background
from anitalker.models.base import Model
from anitalker.models.loading import load_matte
from anitalker.portrait import Portrait

COARSE_SIDE = 192  # pixels of the shorter side of a background while it is blurred
BLUR_SHARES = (0.02, 0.06, 0.2)  # standard deviations, of the shorter side: the first where there is background nearby


def draw(
    model: Model, portrait: Portrait, motions: Sequence[Tensor], options: RenderOptions = RenderOptions()
) -> Iterator[np.ndarray]:
    """Draw motion [T,M] of each face: frames, uint8 [H,W,3], or with straight alpha, [H,W,4], if the background is
    transparent."""
    if options.frame == "crop" and len(motions) > 1:
        raise InputError(f"frame is crop, but {len(motions)} faces speak; choose one face, or --frame full")
    backdrop = parse_background(options.background)
    if backdrop.kind == "keep":
        picture = portrait.picture if options.frame == "full" else None
        return rendering.render(model, portrait.faces, motions, options.batch_size, picture)
    if options.frame == "crop":
        raise InputError(f"frame is crop, but background is {options.background}; take --frame full")
    cut = cut_out(model, portrait)
    frames = rendering.render(model, cut.faces, motions, options.batch_size, cut.picture)
    if backdrop.kind == "transparent":
        return frames
    return map(lay_over, frames, _backgrounds(backdrop, portrait, cut))


def cut_out(model: Model, portrait: Portrait) -> Portrait:
    """Return a portrait whose picture, uint8 [H,W,4], has alpha and no colour of its background, and whose faces are
    drawn in that; made once."""
    known = portrait.derived.get(model.fingerprint)
    if known is None:
        alpha = find_matte(_network(model.device), portrait.picture)
        colours = estimate_foreground(portrait.picture, alpha)
        picture = np.dstack([colours, np.rint(255 * alpha).astype(np.uint8)])
        faces = tuple(model.cut_out(face, picture) for face in portrait.faces)
        known = portrait.derived[model.fingerprint] = replace(portrait, picture=picture, faces=faces)
    return known


@functools.lru_cache(maxsize=2)
def _network(device: torch.device) -> MatteNetwork:
    return load_matte().to(device)


def _backgrounds(backdrop: Backdrop, portrait: Portrait, cut: Portrait) -> Iterator[np.ndarray]:
    """Backgrounds of the portrait's size, uint8 [H,W,3], without end. One that rests is kept: a stream asks often."""
    key = f"background {backdrop}"
    if key in portrait.derived:
        return itertools.repeat(portrait.derived[key])
    height, width = portrait.picture.shape[:2]
    if backdrop.kind == "blur":
        backgrounds = itertools.repeat(blur_background(portrait.picture, cut.picture[..., 3]))
    else:
        backgrounds = backdrop.frames(width, height)
        first, second = itertools.islice(backgrounds, 2)
        if first is not second:
            return itertools.chain((first, second), backgrounds)
        backgrounds = itertools.repeat(first)
    portrait.derived[key] = next(backgrounds)
    return backgrounds


def blur_background(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the background of a picture, uint8 [H,W,3], out of focus, continued where alpha, uint8 [H,W], hides it."""
    height, width = alpha.shape
    scale = min(1.0, COARSE_SIDE / min(height, width))
    size = max(2, round(scale * width)), max(2, round(scale * height))
    shares = 1 - cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    colours = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) * shares
    result = np.full_like(colours, colours.sum() / max(3 * float(shares.sum()), 1.0))
    for spread in reversed(BLUR_SHARES):  # the widest fills what the narrower ones do not reach
        sigma = spread * min(size)
        weight = cv2.GaussianBlur(shares, (0, 0), sigma)[..., None]
        near = cv2.GaussianBlur(colours, (0, 0), sigma) / np.maximum(weight, 1e-4)
        result += np.clip(weight * 4, 0, 1) * (near - result)
    return np.clip(cv2.resize(result, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
