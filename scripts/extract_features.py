"""Clips -> what the motion generator trains on: motion codes from the landmark labels, lip and lid openings, sound.

    python -m scripts.extract_features --data DIR --out runs/features
    python -m scripts.extract_features --data DIR --stage1 FILE   # for train_denoiser

Speech features are not stored: they take 3 ms per clip and the training takes them from sound that it has altered.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from anitalker.config import FPS, LANDMARKS
from anitalker.faces.landmarks import eye_opening, lip_opening
from anitalker.models.original import CHIN, INNER_BROWS, NOSE_TIP, resize_to_network, to_original_units
from anitalker.original.checkpoints import load
from anitalker.original.stage_one import StageOne
from anitalker.runtime.device import choose_device
from anitalker.weights.weight_file import open_weights
from encoders.image import to_tensor
from scripts.training.data import Clip, decode_frames, decode_speech, load_clips
from scripts.training.labels import MotionLabels, motion_labels
from scripts.training.recipe import add_old_names, command


def features_of(clip: Clip, labels: MotionLabels, stage_one: StageOne | None = None) -> dict[str, Tensor]:
    """One clip's tensors, as scripts.training.motion_data and train_denoiser name them."""
    sound = decode_speech(clip.mp4) if clip.row["has_audio"] == "yes" else np.zeros(0, np.float32)
    codes = labels.codes(clip.landmarks, clip.row["identity"]).contiguous()
    return {
        "codes": codes,
        "signals": signals_of(clip.landmarks, codes),
        **(read_codes(stage_one, clip) if stage_one else {}),
        "good": torch.from_numpy(clip.good.astype(np.uint8)),
        "lips": torch.from_numpy(lip_opening(clip.landmarks)),
        "eyes": torch.from_numpy(eye_opening(clip.landmarks)),
        "neutral": labels.neutrals[clip.row["identity"]].contiguous(),
        "sound": torch.from_numpy((sound * 32767).clip(-32768, 32767).astype(np.int16)),
    }


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
    options = parser.parse_args(arguments)
    labels, out, stage_one = motion_labels(options.data, options.labels), Path(options.out), None
    if options.stage1:
        stage_one = load(open_weights(options.stage1), "original_stage1").to(choose_device(options.device))
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in load_clips(options.data, tuple(options.splits)):
        save_file(features_of(clip, labels, stage_one), out / f"{clip.row['id']}.safetensors")
        rows.append(clip.row)
    directions = labels.directions.T.unflatten(1, (LANDMARKS, 3)).contiguous()
    save_file({"directions": directions}, out / "space.safetensors")
    (out / "clips.json").write_text(json.dumps(rows))
    print(f"{out}: {len(rows)} clips")


if __name__ == "__main__":
    sys.exit(main())
