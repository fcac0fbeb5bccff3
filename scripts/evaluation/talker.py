"""The shipped pipeline as the subject of an evaluation: its networks, fed with the crops of the data as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from anitalker.config import RenderOptions
from scripts.evaluation.subject import Source

BATCH = 8
log = logging.getLogger(__name__)


class TalkerSubject:
    """`Subject` over a model of anitalker.weights and the shipped face network.

    model: registry name, file or folder; device: auto, cpu, cuda or mps.
    """

    def __init__(self, model: str, device: str = "auto") -> None:
        import torch

        from anitalker import weights
        from anitalker.face import FaceFinder

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.torch, self.device, self.name = torch, device, model
        networks = weights.load_model(model)
        self.motion_space, self.decoder = networks.motion_space.to(device), networks.decoder.to(device)
        self.generator, self.speech = networks.generator.to(device), networks.speech.to(device)
        self.finder = FaceFinder(weights.load_face(), device)
        self.lost = 0  # frames in which the face network saw no face

    def landmarks(self, frames: np.ndarray) -> np.ndarray:
        """The face network frame by frame; where it sees no face, the nearest earlier frame's points count."""
        found: list[np.ndarray | None] = []
        for frame in frames:
            faces = self.finder.find(np.ascontiguousarray(frame))
            found.append(faces[0].landmarks / frame.shape[1] if faces else None)
        missing = [i for i, points in enumerate(found) if points is None]
        self.lost += len(missing)
        seen = [points for points in found if points is not None]
        if missing:
            log.warning("no face in %d of %d frames", len(missing), len(frames))
        last = seen[0] if seen else np.full((468, 3), 0.5, np.float32)
        for i, points in enumerate(found):
            last = points if points is not None else last
            found[i] = last
        return np.stack(found).astype(np.float32)

    def codes(self, frames: np.ndarray) -> np.ndarray:
        from anitalker.landmarks import OneEuro

        one_euro = OneEuro()
        raw = [codes.motion for codes in self._read(frames)]
        return np.stack([one_euro(code) for code in self.torch.cat(raw).cpu().numpy()]).astype(np.float32)

    def _read(self, frames: np.ndarray) -> Iterator:
        with self.torch.inference_mode():
            for start in range(0, len(frames), 4 * BATCH):
                yield self.motion_space(self._pictures(frames[start : start + 4 * BATCH]))

    def _pictures(self, frames: np.ndarray):
        pictures = self.torch.tensor(frames, device=self.device).permute(0, 3, 1, 2)
        return pictures.float() / 127.5 - 1

    def _tensor(self, values: np.ndarray):
        return self.torch.as_tensor(values, dtype=self.torch.float32, device=self.device)

    def posed(self, landmarks: np.ndarray, start: np.ndarray, motion: np.ndarray) -> np.ndarray:
        points = self._tensor(landmarks)[None].expand(len(motion), -1, -1)
        codes = self._tensor(start)[None].expand(len(motion), -1)
        with self.torch.inference_mode():
            return self.motion_space.landmarks(points, codes, self._tensor(motion)).cpu().numpy()

    def poses(self, landmarks: np.ndarray) -> np.ndarray:
        from anitalker.landmarks import fit_pose

        return fit_pose(self._tensor(landmarks), self.motion_space.canonical).cpu().numpy()

    def render(self, source: Source, motion: np.ndarray) -> np.ndarray:
        return self._frames(source, self.posed(source.landmarks, source.motion, motion), motion)

    def render_landmarks(self, source: Source, landmarks: np.ndarray) -> np.ndarray:
        motion = np.repeat(source.motion[None], len(landmarks), 0)
        motion[:, :6] = self.poses(landmarks)
        return self._frames(source, landmarks, motion)

    def _frames(self, source: Source, landmarks: np.ndarray, motion: np.ndarray) -> np.ndarray:
        from anitalker.decoder import compose

        torch, made = self.torch, []
        with torch.inference_mode():
            picture = self._pictures(source.image[None])
            appearance = self.motion_space(picture).appearance
            start = self._tensor(source.motion)[None]
            prepared = self.decoder.prepare(picture, self._tensor(source.landmarks)[None], start, appearance)
            for at in range(0, len(motion), BATCH):
                pick = slice(at, at + BATCH)
                layers = self.decoder.frames(prepared, self._tensor(landmarks[pick]), self._tensor(motion[pick]))
                pixels = ((compose(picture, layers) + 1) * 127.5).round().clamp(0, 255).byte()
                made.append(pixels.permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(made)

    def speak(self, source: Source, speech: np.ndarray, seed: int) -> np.ndarray:
        from anitalker.generator import Wishes, generate

        torch, options = self.torch, RenderOptions(seed=seed)
        wishes = Wishes(steps=options.steps, guidance=options.guidance)
        rng = torch.Generator("cpu").manual_seed(seed)
        with torch.inference_mode():
            heard = self.speech(self._tensor(speech))[None]
            return generate(self.generator, heard, self._tensor(source.motion)[None], rng, wishes).cpu().numpy()
