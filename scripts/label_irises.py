"""Label the irises and lids of decoded frames, by MediaPipe's face mesh of 478 points; in data preparation only.

    python -m scripts.label_irises --cache runs/cache

Writes `eyes.npz` beside the frames of each split. The package is no dependency of the project: run this where
mediapipe 0.10.14 is installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from anitalker.decoder.eyelids import EYES, LID_INDICES
from scripts.training.data import FrameCache
from scripts.training.recipe import command

FILE = "eyes.npz"
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))  # centre and rim, in the order of `eyelids.EYES`
OPEN = 0.09  # mean opening in eye widths from which an iris can be labelled
MAX_AWAY = 0.35  # eye widths from the middle of an eye's corners to its iris
Mesh = Callable[[np.ndarray], "np.ndarray | None"]  # uint8 [256,256,3] -> points [478,2] in crop widths, None: no face


@dataclass(frozen=True)
class EyeLabels:
    """Labels of N frames, in crop widths: lids [N,E,2 (upper, lower),K,2] from the outer to the inner corner; iris
    [N,E,2], its centre; radius [N,E]; found bool [N]."""

    lids: np.ndarray
    iris: np.ndarray
    radius: np.ndarray
    found: np.ndarray

    @property
    def width(self) -> np.ndarray:
        """Distance between the corners of each eye, [N,E]."""
        return np.linalg.norm(self.lids[:, :, 0, -1] - self.lids[:, :, 0, 0], axis=-1)

    @property
    def opening(self) -> np.ndarray:
        """The lids' mean distance in eye widths, [N,E]."""
        gap = np.linalg.norm(self.lids[:, :, 1] - self.lids[:, :, 0], axis=-1).mean(-1)
        return gap / np.maximum(self.width, 1e-6)

    def usable(self, landmarks: np.ndarray) -> np.ndarray:
        """Frames whose eyes are open, and whose irises lie in the eyes of landmarks [N,468,3], bool [N]: elsewhere the
        mesh has looked at something other, or guessed."""
        outer, inner = (landmarks[:, [eye[k] for eye in EYES], :2] for k in (0, 1))
        width = np.linalg.norm(inner - outer, axis=-1)
        away = np.linalg.norm(self.iris - (outer + inner) / 2, axis=-1) / np.maximum(width, 1e-6)
        return self.found & (self.opening.min(1) > OPEN) & (away.max(1) < MAX_AWAY)

    @classmethod
    def of_points(cls, points: np.ndarray, found: np.ndarray) -> EyeLabels:
        """From points [N,478,2] of the mesh."""
        lids = points[:, LID_INDICES].reshape(len(points), 2, 2, -1, 2)
        rings = points[:, np.array(IRISES)]
        radius = np.linalg.norm(rings[:, :, 1:] - rings[:, :, :1], axis=-1).mean(-1)
        return cls(lids, rings[:, :, 0], radius, found)


def read_labels(cache_dir: str | Path, split: str) -> EyeLabels:
    """The labels of a split; InputError where there are none yet."""
    file = Path(cache_dir) / split / FILE
    if not file.is_file():
        raise InputError(f"no {file}; run python -m scripts.label_irises --cache {cache_dir}")
    with np.load(file) as stored:
        return EyeLabels(*(stored[name] for name in ("lids", "iris", "radius", "found")))


def label(frames: np.ndarray, mesh: Mesh, numbers: Iterable[int] | None = None) -> EyeLabels:
    """Frames uint8 [N,256,256,3] -> their labels; zeros where no face is found. numbers: of frames that are looked at;
    None: all."""
    points, found = np.zeros((len(frames), 478, 2), np.float32), np.zeros(len(frames), bool)
    for n in range(len(frames)) if numbers is None else numbers:
        shown = mesh(np.ascontiguousarray(frames[n]))
        if shown is not None:
            points[n], found[n] = shown, True
    return EyeLabels.of_points(points, found)


def face_mesh() -> Mesh:
    """The package's mesh of 478 points, each frame on its own; InputError where the package is missing."""
    try:
        from mediapipe.python.solutions.face_mesh import FaceMesh
    except ImportError as error:
        raise InputError(f"no face mesh to import ({error}); run pip install mediapipe==0.10.14") from None
    network = FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)

    def mesh(frame: np.ndarray) -> np.ndarray | None:
        faces = network.process(frame).multi_face_landmarks
        return np.float32([(p.x, p.y) for p in faces[0].landmark]) if faces else None

    return mesh


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", default="runs/cache", help="decoded frames, of scripts.training.data")
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    parser.add_argument("--every", type=int, default=1, help="label so many-th frames of clips only (default: all)")
    arguments = parser.parse_args(argv)
    mesh = face_mesh()
    for split in arguments.splits:
        cache = FrameCache(arguments.cache, split)
        chosen = np.flatnonzero((cache.clip < 0) | (np.arange(len(cache)) % arguments.every == 0))
        labels = label(cache.frames, mesh, chosen)
        fields = {name: getattr(labels, name) for name in ("lids", "iris", "radius", "found")}
        np.savez(Path(arguments.cache) / split / FILE, **fields)
        print(f"{split}: {labels.found.sum()} of {len(chosen)} frames with a face")


if __name__ == "__main__":
    sys.exit(main())
