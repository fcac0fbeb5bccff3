"""How wide, how fine, which flow? `lite` in several widths and resolutions, with an encoder that learns along and with
numbers of motion beside the 20, and the original's learned pyramid of flows."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.decoder.composition import compose
from anitalker.decoder.decoder import Decoder
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.motion.motion_space import MotionSpace
from anitalker.network_config import DecoderConfig, MotionSpaceConfig, StageOneConfig
from anitalker.original.stage_one import StageOne
from scripts.ablations.scoring import load_network, milliseconds
from scripts.ablations.study import Column, Study, clip_scores
from scripts.evaluation.perception import PARTS, Perception, features_file
from scripts.training.data import FrameCache
from scripts.training.pictures import score_frames
from scripts.training.pixels import reenact

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints/lite.safetensors"
LITE = ("--preset", "lite-256", "--stage", "decoder", "--codes", str(SHIPPED))
FROZEN = (*LITE, "--frozen")
# The original's terms and rates as the ablation has them; at 128 pixels, a quarter of the work.
PYRAMID = ("--preset", "full-256", "--size", "128", "--lr", "2e-3", "--flow", "0.1", "--half-life", "2000")

INTRODUCTION = """\
Every arm was trained from nothing for {steps} steps of {batch} pairs from the same seed; encoder and HAL begin as
shipped and stay so unless said otherwise; scores on `val`: unseen people, the first frame of a clip driven to later
ones by codes read from pixels. Brackets: 95% bootstrap interval over clips. Distance: perceptual, on mouth or eyes
alone, as a share of copying's distance (the loss uses the same network; below 1 is better than copying). The original's
decoder learns its flow from pixels at 128 pixels, motion codes and all; its gain is over copying at that size.
Milliseconds: processor time of one frame's networks and flow in float32. Short trainings: they say what learns quickly,
not what a long training would end with."""
ARMS = {
    "shipped": ("lite of version 0.1: 24 to 128 channels, 128x128 places", FROZEN),
    "narrow": ("16 to 96 channels", (*FROZEN, "--channels", "16,32,64,96")),
    "wide": ("32 to 192 channels", (*FROZEN, "--channels", "32,64,128,192")),
    "coarse": ("synthesis at 64x64 places", (*FROZEN, "--block", "4", "--channels", "48,96,128")),
    "learning": ("the same, the encoder learns along", LITE),
    "pyramid-quarter": ("the original's learned flow, a quarter of its width", (*PYRAMID, "--width", "0.25")),
    "fine": ("synthesis at 256x256 places", (*FROZEN, "--block", "1", "--channels", "16,24,48,96,128")),
    "pyramid-half": ("the original's learned flow, half its width", (*PYRAMID, "--width", "0.5")),
}
COLUMNS = {
    "whole": Column("gain over copying, dB", 2, True),
    "face": Column("in the face, dB", 2, True),
    "mouth": Column("mouth, distance", 3, False),
    "eyes": Column("eyes, distance", 3, False),
    "milliseconds": Column("ms a frame", 0, False),
    "parameters": Column("million parameters", 2, False),
}


def settings(options: Namespace, steps: int) -> dict:
    """Flags of scripts.train_motion_space that all arms share."""
    features = features_file(options.data, options.features)
    return {"features": features, "warm": max(1, steps // 10), "decay": 0.98}


class TrainedDecoder(NamedTuple):
    """A decoder for pictures of s pixels.

    draw: pictures [n,3,s,s] and landmarks [n,468,3] -> by name [n,3,s,s], the first picture under the motion of each;
    draw_frame: a single frame, to be timed; network: what a single frame runs through.
    """

    size: int
    draw: Callable[[Tensor, Tensor], dict[str, Tensor]]
    draw_frame: Callable[[], object]
    network: nn.Module


def score(folder: Path, options: Namespace) -> dict:
    """Of the model and of the landmark warp alone: gain over copying (PSNR, dB, whole and face), perceptual distance of
    mouth and eyes as a share of copying's (none without a perceptual network); processor time of a frame, parameters.
    """
    decoder = read_decoder(folder)
    features = features_file(options.data, options.features)
    perception = None if features == "none" else Perception(features)
    shares: dict[str, list[float]] = {}

    def draw(_: np.ndarray, pictures: Tensor, marks: Tensor) -> dict[str, Tensor]:
        drawn = decoder.draw(pictures, marks)
        if perception is not None:
            later = slice(1, None)
            copied = perception.parts(pictures[:1].expand_as(pictures)[later], pictures[later], marks[later])
            for who, frames in drawn.items():
                distances = perception.parts(frames[later].float().clamp(-1, 1), pictures[later], marks[later])
                for name, values in distances.items():
                    shares.setdefault(f"{who}_{name}", []).append(float(values.mean() / copied[name].mean()))
        return drawn

    rows = score_frames(FrameCache(options.cache, "val", decoder.size), torch.device("cpu"), draw)
    scores = {}
    for who in ("model", "warp"):
        if f"{who}_whole" in rows:
            gains = {key: np.subtract(rows[f"{who}_{key}"], rows[f"copy_{key}"]).tolist() for key in ("whole", "face")}
            gains |= {name: shares[f"{who}_{name}"] for name in PARTS if f"{who}_{name}" in shares}
            scores[who] = {key: clip_scores(values) for key, values in gains.items()}
    return {
        **scores,
        "size": decoder.size,
        "milliseconds": milliseconds(decoder.draw_frame),
        "parameters": sum(parameter.numel() for parameter in decoder.network.parameters()) / 1e6,
    }


def references(report: dict) -> dict[str, dict]:
    """The landmark warp that every `lite` begins with."""
    warps = [stored["scores"]["warp"] for stored in report["arms"].values() if "warp" in stored["scores"]]
    return {"the landmark warp alone": warps[0]} if warps else {}


def read_decoder(folder: Path) -> TrainedDecoder:
    """The networks of a run of stage `decoder` or `pixels`."""
    if "stage1" in json.loads((folder / "config.json").read_text()):
        network = load_network(folder, "stage1", StageOne, StageOneConfig)
        size = network.config.size
        look, motion = network.encode(torch.zeros(1, 3, size, size)), torch.zeros(1, 20)
        return TrainedDecoder(
            size,
            lambda pictures, _: {"model": reenact(network, pictures)},
            lambda: network.render(look, motion),
            network.dec,
        )
    space = load_network(folder, "motion_space", MotionSpace, MotionSpaceConfig)
    decoder = load_network(folder, "decoder", Decoder, DecoderConfig)
    marks = space.canonical[None] * 0.5 + torch.tensor([0.5, 0.5, 0.0])
    motion, appearance = torch.zeros(1, space.config.motion_size), torch.zeros(1, decoder.config.code_size)
    prepared = decoder.prepare(torch.zeros(1, 3, 256, 256), marks, motion, appearance)
    return TrainedDecoder(
        256,
        lambda pictures, landmarks: draw_lite(space, decoder, pictures, landmarks),
        lambda: decoder.layers(prepared, marks, motion),
        decoder,
    )


@torch.no_grad()
def draw_lite(space: MotionSpace, decoder: Decoder, pictures: Tensor, marks: Tensor) -> dict[str, Tensor]:
    """Frames of `lite` and of the landmark warp alone, both by the codes that `space` reads."""
    codes = space(pictures)
    start, config = codes.motion[:1].expand_as(codes.motion), decoder.config
    source = marks[:1].expand_as(marks)
    target = space.landmarks(source, start, codes.motion)
    prepared = decoder.prepare(pictures[:1], marks[:1], codes.motion[:1], codes.appearance[:1])
    flow = resize(landmark_flow(source, target, config.grid, config.smoothing), tuple(pictures.shape[-2:]))
    return {
        "model": compose(pictures[:1], decoder.layers(prepared, target, codes.motion)),
        "warp": warp(pictures[:1].expand_as(pictures), flow),
    }


STUDY = Study(
    file="decoders",
    title="Decoders compared",
    introduction=INTRODUCTION,
    arms=ARMS,
    columns=COLUMNS,
    plan=("batch", "seed"),
    steps=200,
    batch=8,
    settings=settings,
    score=score,
    references=references,
)
