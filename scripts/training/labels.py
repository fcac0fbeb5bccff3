"""Motion labels from landmarks: the canonical face, each person's neutral face, the directions, codes of every frame.

These are targets and scores. At inference codes come from pixels (`motion.motion_space`); only training looks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anitalker.config import LANDMARKS, InputError
from anitalker.faces.landmarks import (
    EYES,
    FACE_OVAL,
    LIPS,
    STABLE,
    eye_opening,
    face_height,
    fit_pose,
    level_depth,
    lip_opening,
    to_canonical,
)
from anitalker.motion.motion_space import lid_scale
from anitalker.network_config import MotionSpaceConfig
from scripts.training.data import build_cache, load_clips, load_stills

DEPTH_WEIGHT = 0.3  # the mesh's z is noisier than x and y


@dataclass(frozen=True)
class MotionLabels:
    """canonical float32 [468,3]; directions float32 [1404,K], orthonormal columns; neutrals: person -> [468,3]."""

    canonical: torch.Tensor
    directions: torch.Tensor
    neutrals: dict[str, torch.Tensor]

    def codes(self, landmarks: np.ndarray, identity: str) -> torch.Tensor:
        """Landmarks [T,468,3] in crop widths of a person whose neutral is known -> motion codes float32 [T,6+K]."""
        shape, pose = align(torch.as_tensor(landmarks), self.canonical)
        neutral = self.neutrals[identity]
        displacement = (shape - neutral) / lid_scale(neutral, self.canonical)
        return torch.cat([pose, displacement.flatten(1) @ self.directions], 1)

    def to(self, device: torch.device | str) -> MotionLabels:
        """The same labels on a device."""
        neutrals = {name: neutral.to(device) for name, neutral in self.neutrals.items()}
        return MotionLabels(self.canonical.to(device), self.directions.to(device), neutrals)

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        names = np.array(list(self.neutrals))
        neutrals = torch.stack(list(self.neutrals.values())).numpy()
        np.savez(path, canonical=self.canonical, directions=self.directions, names=names, neutrals=neutrals)

    @staticmethod
    def load(path: str | Path) -> MotionLabels:
        """Read what `save` wrote."""
        stored = np.load(path)
        neutrals = dict(zip(stored["names"].tolist(), torch.tensor(stored["neutrals"]), strict=True))
        return MotionLabels(torch.tensor(stored["canonical"]), torch.tensor(stored["directions"]), neutrals)


def align(landmarks: torch.Tensor, canonical: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Landmarks [T,468,3] -> canonical shapes [T,468,3] and poses [T,6] by the rigid fit."""
    pose = fit_pose(landmarks, canonical)
    return to_canonical(level_depth(landmarks, pose, canonical), pose), pose


def canonical_face(landmarks: torch.Tensor, start: torch.Tensor, iterations: int = 6) -> torch.Tensor:
    """Generalized Procrustes mean of [B,468,3], beginning from one frontal face; origin and size as in
    anitalker.faces.landmarks.
    """
    canonical = _centred(start)
    for _ in range(iterations):
        pose = fit_pose(landmarks, canonical)
        mean = to_canonical(landmarks, pose).mean(0)  # keeps the mesh's own mean depth
        canonical = _centred(mean)
        canonical[:, 2] = mean[:, 2] / face_height(mean)
    return canonical


def _centred(shape: torch.Tensor) -> torch.Tensor:
    centre = shape[list(STABLE)].mean(0) * torch.tensor([1.0, 1.0, 0.0])
    return (shape - centre) / face_height(shape)


def neutral_face(shapes: torch.Tensor) -> torch.Tensor:
    """A person's neutral from canonical shapes [T,468,3]: closed, relaxed frames; their median.

    Closed: lip opening in the lowest fifth (or under 1.5%); of those, eyes at least as open as the median, and the
    third that lies nearest to their common median, which leaves out smiles and pressed lips.
    """
    lips, eyes = lip_opening(shapes), eye_opening(shapes)
    keep = (lips <= max(lips.quantile(0.2).item(), 0.015)) & (eyes >= eyes.median())
    chosen = shapes[keep] if keep.sum() >= 5 else shapes[lips <= lips.quantile(0.3)]
    distance = (chosen - chosen.median(0).values).square().mean((1, 2))
    return chosen[distance <= distance.quantile(0.34)].median(0).values


def build_labels(
    data_dir: str | Path, size: int, space: tuple[torch.Tensor, torch.Tensor] | None = None
) -> MotionLabels:
    """Canonical face and directions from the train split; neutrals of the train and val people.

    space: canonical [468,3] and directions [1404,size] of a motion space that is there; they are kept.
    """
    by_person: dict[tuple[str, str], list] = {}
    for clip in load_clips(data_dir, ("train", "val")):
        by_person.setdefault((clip.row["split"], clip.row["identity"]), []).append(clip.landmarks[clip.good][::2])
    rng = np.random.default_rng(0)
    people = {key: torch.tensor(np.concatenate(clips)) for key, clips in by_person.items()}
    if space is None:
        faces = [frames[rng.permutation(len(frames))[:40]] for (split, _), frames in people.items() if split == "train"]
        stills = [torch.tensor(landmarks)[None] for *_, landmarks in load_stills(data_dir, ("train",))]
        faces = torch.cat(faces + stills)
        canonical = canonical_face(faces, _most_frontal(faces))
    else:
        canonical = space[0]
    neutrals, displaced, weight = {}, [], _weights()
    for (split, name), frames in people.items():
        shapes, _ = align(frames, canonical)
        neutrals[name] = neutral_face(shapes)
        if split == "train":  # as many frames from everybody: 20 minutes of one man must not decide the directions
            pick = shapes[rng.permutation(len(shapes))[:150]]
            displaced.append((pick - neutrals[name]) / lid_scale(neutrals[name], canonical))
    if space is None:
        rows = (torch.cat(displaced) * weight).flatten(1)
        _, _, vh = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
        directions, _ = torch.linalg.qr((vh[:size].reshape(size, LANDMARKS, 3) / weight).flatten(1).T)
    else:
        directions = space[1]
    neutrals = {name: close_lips(shape, directions) for name, shape in neutrals.items()}
    return MotionLabels(canonical, directions.contiguous(), neutrals)


def close_lips(neutral: torch.Tensor, directions: torch.Tensor, allowed: float = 0.01) -> torch.Tensor:
    """Close the lips of somebody who never closes them: the smallest motion that brings the opening to `allowed`."""
    excess = (neutral[14, 1] - neutral[13, 1]) - allowed * face_height(neutral)
    if excess <= 0:
        return neutral
    gap = torch.zeros(LANDMARKS, 3)
    gap[14, 1], gap[13, 1] = 1.0, -1.0
    along = directions @ (directions.T @ gap.flatten())
    return neutral - (excess * along / (gap.flatten() @ along)).reshape(LANDMARKS, 3)


def _most_frontal(faces: torch.Tensor) -> torch.Tensor:
    """The face whose left and right halves look most alike (cheeks equally far from the nose) and upright eyes."""
    turn = (faces[:, 234, 0] + faces[:, 454, 0] - 2 * faces[:, 168, 0]).abs()
    roll = (faces[:, 33, 1] - faces[:, 263, 1]).abs()
    return faces[((turn + roll) / face_height(faces)).argmin()]


def _weights() -> torch.Tensor:
    """Importance of points in the search for directions [468,3]: lips and lids more, the outline and depth less."""
    weight = torch.ones(LANDMARKS, 3)
    weight[[*LIPS, *EYES]] = 2
    weight[list(FACE_OVAL)] = 0.7
    weight[:, 2] *= DEPTH_WEIGHT
    return weight


def motion_labels(
    data_dir: str | Path, path: str | Path, space: tuple[torch.Tensor, torch.Tensor] | None = None
) -> MotionLabels:
    """The labels of a file, which are made from a data folder if it is not there; space: as for `build_labels`.

    InputError where the file's directions are not those of `space`.
    """
    if not Path(path).is_file():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        build_labels(data_dir, MotionSpaceConfig().expression_size, space).save(Path(path))
    labels = MotionLabels.load(path)
    if space is not None and not torch.allclose(labels.directions, space[1], atol=1e-5):
        raise InputError(
            f"labels {path} are of other directions than the model's; name another file, or take --space none"
        )
    return labels


def prepare_labels(data_dir: str | Path, cache_dir: str | Path) -> MotionLabels:
    """Decode train and val into the cache and make its `labels.npz`, each if it is not there; the labels."""
    for split in ("train", "val"):
        build_cache(data_dir, cache_dir, split)
    return motion_labels(data_dir, Path(cache_dir) / "labels.npz")
