"""Clips -> what the motion generator trains on: motion codes from the landmark labels, lip and lid openings, sound.

    python -m scripts.training.labels --data DIR --out runs/labels.npz
    python -m scripts.extract_features --data DIR --labels runs/labels.npz --output runs/features

Speech features are not stored: they take 3 ms per clip and the training takes them from sound that it has altered.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from anitalker.landmarks import eye_opening, lip_opening
from scripts.training.data import Clip, decode_speech, load_clips
from scripts.training.labels import MotionLabels


def features_of(clip: Clip, labels: MotionLabels) -> dict[str, torch.Tensor]:
    """One clip's tensors, as scripts.training.motion_data names them."""
    sound = decode_speech(clip.mp4) if clip.row["has_audio"] == "yes" else np.zeros(0, np.float32)
    return {
        "codes": labels.codes(clip.landmarks, clip.row["identity"]).contiguous(),
        "good": torch.from_numpy(clip.good.astype(np.uint8)),
        "lips": torch.from_numpy(lip_opening(clip.landmarks)),
        "eyes": torch.from_numpy(eye_opening(clip.landmarks)),
        "neutral": labels.neutrals[clip.row["identity"]].contiguous(),
        "sound": torch.from_numpy((sound * 32767).clip(-32768, 32767).astype(np.int16)),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write codes and sound of every clip into one folder.")
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--labels", default="runs/labels.npz", help="made by scripts.training.labels")
    parser.add_argument("--output", default="runs/features")
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    options = parser.parse_args(arguments)
    labels, output = MotionLabels.load(options.labels), Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in load_clips(options.data, tuple(options.splits)):
        save_file(features_of(clip, labels), output / f"{clip.row['id']}.safetensors")
        rows.append(clip.row)
        if len(rows) % 100 == 0:
            print(f"{len(rows)} clips", flush=True)
    directions = labels.directions.T.reshape(labels.directions.shape[1], -1, 3).contiguous()
    save_file({"directions": directions}, output / "space.safetensors")
    (output / "clips.json").write_text(json.dumps(rows))
    print(f"{output}: {len(rows)} clips")


if __name__ == "__main__":
    main()
