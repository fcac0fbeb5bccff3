"""Clips -> what the motion generator trains on: motion codes from the landmark labels, lip and lid openings, sound.

    python -m scripts.extract_features --data DIR --out runs/features
    python -m scripts.extract_features --data DIR --lips DIR   # and clips of lip motion without pictures
    python -m scripts.extract_features --data DIR --stage1 FILE   # for train_denoiser

Codes are on the directions of the shipped model, so that weights, motion files and person files go on fitting each
other. Sound that the manifest calls late is stored in step with the lips. Rows whose licence forbids commercial use are
left out of the train split.

Speech features are not stored: they take 3 ms per clip and the training takes them from sound that it has altered.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from anitalker.config import FPS, LANDMARKS, InputError
from anitalker.faces.landmarks import eye_opening, lip_opening
from anitalker.files import write_whole
from anitalker.models.loading import read
from anitalker.models.original import CHIN, INNER_BROWS, NOSE_TIP, resize_to_network, to_original_units
from anitalker.original.checkpoints import load
from anitalker.original.stage_one import StageOne
from anitalker.runtime.device import choose_device
from anitalker.weights.weight_file import open_weights
from encoders.audio import SAMPLES_PER_FRAME
from encoders.image import to_tensor
from scripts.evaluation.av_offsets import align_speech, av_offset
from scripts.training.data import Clip, decode_frames, decode_speech, load_clips
from scripts.training.labels import MotionLabels, align, motion_labels
from scripts.training.lip_loss import LEFT, LOWER, RIGHT, UPPER
from scripts.training.lips_folder import LipMotion, read_lip_motion
from scripts.training.loop import weights_of
from scripts.training.recipe import add_old_names, command

MOUTH = (UPPER, LOWER, RIGHT, LEFT)


def features_of(clip: Clip, labels: MotionLabels, stage_one: StageOne | None = None) -> dict[str, Tensor]:
    """One clip's tensors, as scripts.training.motion_data and train_denoiser name them."""
    sound = decode_speech(clip.mp4) if clip.row["has_audio"] == "yes" else np.zeros(0, np.float32)
    sound = in_step(sound, clip.row, len(clip.landmarks))
    shapes = align(torch.from_numpy(clip.landmarks), labels.canonical)[0].numpy()
    codes = labels.codes(clip.landmarks, clip.row["identity"]).contiguous()
    return {
        "codes": codes,
        "signals": signals_of(clip.landmarks, codes),
        **(read_codes(stage_one, clip) if stage_one else {}),
        "good": torch.from_numpy(clip.good.astype(np.uint8)),
        "lips": torch.from_numpy(lip_opening(clip.landmarks)),
        "mouth": mouth_of(*(shapes[:, [number]] for number in MOUTH)),
        "eyes": torch.from_numpy(eye_opening(clip.landmarks)),
        "neutral": labels.neutrals[clip.row["identity"]].contiguous(),
        "sound": to_int16(sound),
    }


def features_of_lips(clip: LipMotion) -> dict[str, Tensor]:
    """The same tensors of a clip without pictures, whose neutral face is not known."""
    mouth = mouth_of(*(clip.at(number) for number in MOUTH))
    return {
        "codes": torch.from_numpy(clip.motion.astype(np.float32)).contiguous(),
        "good": torch.ones(len(clip.motion), dtype=torch.uint8),
        "lips": mouth[:, 0].contiguous(),
        "eyes": torch.from_numpy(clip.eyes.mean(1).astype(np.float32)),
        "mouth": mouth,
        "neutral": torch.zeros(LANDMARKS, 3),
        "sound": to_int16(in_step(clip.sound, clip.row, len(clip.motion))),
    }


def mouth_of(upper: np.ndarray, lower: np.ndarray, right: np.ndarray, left: np.ndarray) -> Tensor:
    """Inner lip middles and corners [T,1,3] of aligned shapes -> opening, width, protrusion [T,3], in face heights."""
    opening, corners = (lower - upper)[:, 0, 1], (left - right)[:, 0, 0]
    protrusion = ((right + left) / 2 - (upper + lower) / 2)[:, 0, 2]  # depth grows away from the viewer
    return torch.from_numpy(np.stack([opening, corners, protrusion], 1).astype(np.float32))


def in_step(sound: np.ndarray, row: dict, frames: int) -> np.ndarray:
    """Sound [N] of a clip, late as its row says -> sound in step with the lips, with silence where none is left."""
    if not len(sound):
        return sound
    size = frames * SAMPLES_PER_FRAME
    sound = np.pad(sound[:size], (0, max(0, size - len(sound))))
    aligned = align_speech(sound, frames, av_offset(row))
    return np.pad(aligned, (0, size - len(aligned)))


def to_int16(sound: np.ndarray) -> Tensor:
    """float32 in -1..1 -> int16."""
    return torch.from_numpy((sound * 32767).clip(-32768, 32767).astype(np.int16))


def signals_of(landmarks: np.ndarray, codes: Tensor) -> Tensor:
    """The original's control signals [T,5] of landmarks [T,468,3] and label codes [T,20]: location, scale, pose."""
    points = torch.from_numpy(landmarks)[..., :2]
    scale = (points[:, CHIN] - points[:, list(INNER_BROWS)].mean(1)).norm(dim=-1)
    return torch.cat(
        [points[:, NOSE_TIP, :1], scale[:, None], to_original_units(torch.rad2deg(codes[:, :3]))], 1
    ).contiguous()


@torch.inference_mode()
def read_codes(stage_one: StageOne, clip: Clip, batch: int = 16) -> dict[str, Tensor]:
    """What a stage one reads from every frame: motion [T,M], and one appearance code [512] a second."""
    frames, device = torch.from_numpy(decode_frames(clip.mp4).copy()), next(stage_one.parameters()).device
    # A frame fewer may be decoded than is labelled: the last one again.
    frames = frames[torch.arange(len(clip.landmarks)).clamp(max=len(frames) - 1)]
    motion, appearance = [], []
    for pictures in frames.split(batch):
        look = stage_one.encode(resize_to_network(to_tensor(pictures.to(device)), stage_one.config.size))
        motion.append(look.motion_code.cpu())
        appearance.append(look.image_code.cpu())
    return {"motion": torch.cat(motion), "appearance": torch.cat(appearance)[::FPS].half().contiguous()}


def motion_space_of(source: str) -> tuple[Tensor, Tensor]:
    """Canonical face [468,3] and directions [1404,14] of a model: registry name, file or run folder."""
    tensors = read(weights_of(source))[1]
    if "motion_space.directions" not in tensors:
        raise InputError(f"--space {source} has no motion space; name a model, or none for new directions")
    return tensors["motion_space.canonical"], tensors["motion_space.directions"]


def is_usable(row: dict) -> bool:
    """Whether a row may be used: in training only where its licence allows what weights are used for."""
    return row["split"] != "train" or "NC" not in row.get("licence", "")


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write codes and sound of every clip into one folder.")
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--labels", default="runs/cache/labels.npz", help="motion labels; made if they are not there")
    parser.add_argument("--out", default="runs/features")
    add_old_names(parser, {"output": "out"})
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    parser.add_argument("--stage1", help="weights of a stage one: store the codes that it reads, for train_denoiser")
    parser.add_argument("--device", default="auto", help="where stage one runs: auto, cpu, cuda or mps")
    parser.add_argument("--lips", help="folder of speech beside lip motion; its clips come into the same folder")
    parser.add_argument(
        "--space",
        default="lite",
        help="model whose directions the codes are on; none: the labels' own, for a new model",
    )
    options = parser.parse_args(arguments)
    space = None if options.space == "none" else motion_space_of(options.space)
    labels, out, stage_one = motion_labels(options.data, options.labels, space), Path(options.out), None
    if options.stage1:
        stage_one = load(open_weights(options.stage1), "original_stage1").to(choose_device(options.device))
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    splits = tuple(options.splits)
    for clip in load_clips(options.data, splits):
        if not is_usable(clip.row):
            continue
        features = features_of(clip, labels, stage_one)
        write_whole(out / f"{clip.row['id']}.safetensors", functools.partial(save_file, features))
        rows.append(clip.row)
    for clip in read_lip_motion(options.lips, splits) if options.lips else ():
        if is_usable(clip.row) and clip.row["id"] not in {row["id"] for row in rows}:  # some stand in both folders
            features = features_of_lips(clip)
            write_whole(out / f"{clip.row['id']}.safetensors", functools.partial(save_file, features))
            rows.append(clip.row | {"shard": "lips", "speaking_visible": "yes", "has_audio": "yes"})
    directions = labels.directions.T.unflatten(1, (LANDMARKS, 3)).contiguous()
    write_whole(out / "space.safetensors", functools.partial(save_file, {"directions": directions}))
    (out / "clips.json").write_text(json.dumps(rows))
    print(f"{out}: {len(rows)} clips")


if __name__ == "__main__":
    sys.exit(main())
