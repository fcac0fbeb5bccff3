"""Scores of a decoder, from a run folder of `train_motion_space --stage decoder` or `--stage pixels`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anitalker.config import DecoderConfig, MotionSpaceConfig, StageOneConfig, from_dict
from anitalker.decoder.decoder import Decoder, compose
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.motion.motion_space import MotionSpace
from scripts.evaluation.metrics import interval
from scripts.evaluation.perception import PARTS, Perception, patch
from scripts.training.data import FrameCache
from scripts.training.pictures import score_frames
from scripts.training.pixels import read_stage_one, reenact

TIMED = 7  # frames, one by one, of which the quickest counts, in processor time


@dataclass(frozen=True)
class Variant:
    """A trained decoder. draw: pictures [n,3,s,s] and landmarks [n,468,3] -> by name [n,3,s,s], the first picture under
    the motion of each; one: draws a single frame, to be timed; network: what one frame runs through."""

    size: int
    draw: Callable[[Tensor, Tensor], dict[str, Tensor]]
    one: Callable[[], object]
    network: nn.Module


def score_variant(folder: Path, cache_dir: str, features: str) -> dict:
    """Gain over copying (PSNR, dB, whole and face), perceptual distance of mouth and eyes as a share of copying's (none
    without `features`), processor time of a frame, parameters; intervals over clips of `val`."""
    variant = read_variant(folder)
    perception = None if features == "none" else Perception(features)
    shares: dict[str, list[float]] = {}

    def make(numbers: np.ndarray, pictures: Tensor, marks: Tensor) -> dict[str, Tensor]:
        made = variant.draw(pictures, marks)
        if perception is not None:
            copied = _parts(perception, pictures[:1].expand_as(pictures), pictures, marks)
            for who, frames in made.items():
                own = _parts(perception, frames.float().clamp(-1, 1), pictures, marks)
                for part in PARTS:
                    shares.setdefault(f"{who}_{part}", []).append(own[part] / copied[part])
        return made

    rows = score_frames(FrameCache(cache_dir, "val", variant.size), torch.device("cpu"), make)
    scores = {}
    for who in ("model", "warp"):
        if f"{who}_whole" in rows:
            gains = {k: np.subtract(rows[f"{who}_{k}"], rows[f"copy_{k}"]).tolist() for k in ("whole", "face")}
            own = gains | {part: shares[f"{who}_{part}"] for part in PARTS if f"{who}_{part}" in shares}
            scores[who] = {k: {"mean": float(np.mean(v)), "interval": interval(v), "clips": v} for k, v in own.items()}
    return {
        **scores,
        "size": variant.size,
        "milliseconds": milliseconds(variant.one),
        "parameters": sum(p.numel() for p in variant.network.parameters()) / 1e6,
    }


def read_variant(folder: Path) -> Variant:
    """A run folder's networks."""
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "weights.safetensors")
    if "stage1" in config:
        sizes = from_dict(StageOneConfig, config["stage1"])
        network = read_stage_one(sizes, {k.removeprefix("stage1."): v for k, v in tensors.items()})
        look = network.encode(torch.zeros(1, 3, sizes.size, sizes.size))
        still = torch.zeros(1, 20)
        return Variant(
            sizes.size, lambda p, _: {"model": reenact(network, p)}, lambda: network.render(look, still), network.dec
        )
    space = MotionSpace(from_dict(MotionSpaceConfig, config["motion_space"]))
    decoder = Decoder(from_dict(DecoderConfig, config["decoder"]))
    for name, module in (("motion_space", space), ("decoder", decoder)):
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        module.load_state_dict(own)
        module.eval().requires_grad_(False)
    shape = space.canonical[None] * 0.5 + torch.tensor([0.5, 0.5, 0.0])
    still, empty = torch.zeros(1, space.config.motion_size), torch.zeros(1, decoder.config.code_size)
    ready = decoder.prepare(torch.zeros(1, 3, 256, 256), shape, still, empty)
    return Variant(
        256, lambda p, m: draw_lite(space, decoder, p, m), lambda: decoder.frames(ready, shape, still), decoder
    )


@torch.no_grad()
def draw_lite(space: MotionSpace, decoder: Decoder, pictures: Tensor, marks: Tensor) -> dict[str, Tensor]:
    """Frames of `lite` and of the landmark warp alone, both by the codes that `space` reads."""
    codes = space(pictures)
    first, config = codes.motion[:1].expand_as(codes.motion), decoder.config
    source = marks[:1].expand_as(marks)
    target = space.landmarks(source, first, codes.motion)
    ready = decoder.prepare(pictures[:1], marks[:1], codes.motion[:1], codes.appearance[:1])
    flow = resize(landmark_flow(source, target, config.grid, config.smoothing), tuple(pictures.shape[-2:]))
    return {
        "model": compose(pictures[:1], decoder.frames(ready, target, codes.motion)),
        "warp": warp(pictures[:1].expand_as(pictures), flow),
    }


def _parts(perception: Perception, made: Tensor, true: Tensor, marks: Tensor) -> dict[str, float]:
    """Mean distance of later frames on mouth and eyes by themselves."""
    found = {}
    for name, groups in PARTS.items():
        cuts = [(patch(made, marks, *group), patch(true, marks, *group)) for group in groups]
        found[name] = float(np.mean([perception.distance(a[1:], b[1:]).mean() for a, b in cuts]))
    return found


@torch.no_grad()
def milliseconds(one: Callable[[], object]) -> float:
    """Processor time of one call in float32, the least of TIMED."""
    times = []
    for _ in range(TIMED):
        started = time.process_time()
        one()
        times.append(time.process_time() - started)
    return 1000 * min(times)
