"""The shipped pipeline as the subject of an evaluation: its networks, fed with the crops of the data as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from anitalker.config import POSE_SIZE, InputError, RenderOptions
from scripts.evaluation.subject import Source

BATCH = 8
log = logging.getLogger(__name__)


class FaceReader:
    """What is measured on any frames: the points of the shipped face network, and the rigid fit to them.

    finder: anitalker.faces.detection.FaceFinder; canonical: the canonical face [468,3], a tensor.
    """

    def __init__(self, name: str, finder, canonical) -> None:
        self.name, self.finder, self.canonical = name, finder, canonical
        self.lost = 0  # frames in which the face network saw no face

    def landmarks(self, frames: np.ndarray) -> np.ndarray:
        """The face network's points: three looks at each frame, from where the face of earlier frames stood."""
        found = []
        for start in range(0, len(frames), BATCH):
            near = found[-1][-1] if found else None
            found.append(self._look(np.array(frames[start : start + BATCH]), near))
        return (np.concatenate(found) / frames.shape[2]).astype(np.float32)

    def _look(self, frames: np.ndarray, near: np.ndarray | None) -> np.ndarray:
        from anitalker.faces.detection import box_of, iou

        near = self._search(frames[0]) if near is None else near
        found = self.finder.refine(frames, np.repeat(near[None], len(frames), 0), passes=3)
        for i, points in enumerate(found):
            if iou(box_of(points), box_of(near)) < 0.5:  # it has moved far, or a wrong start led astray
                found[i] = self._search(frames[i], points)
        return found

    def _search(self, frame: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
        """Points [468,3] of the largest face in pixels; where there is none, `otherwise`, or a face in the middle."""
        if faces := self.finder.find(frame):
            return faces[0].landmarks
        self.lost += 1
        log.warning("the face network finds no face in a frame (%d so far)", self.lost)
        if otherwise is not None:
            return otherwise
        middle = self.canonical.cpu().numpy() * 0.55 + np.float32([0.5, 0.5, 0])
        return middle * frame.shape[1]

    def poses(self, landmarks: np.ndarray) -> np.ndarray:
        """Rigid fit to points [T,468,3] -> [T,6]."""
        import torch

        from anitalker.faces.landmarks import fit_pose

        points = torch.as_tensor(landmarks, dtype=torch.float32, device=self.canonical.device)
        return fit_pose(points, self.canonical).cpu().numpy()


def face_reader(name: str, device: str = "auto") -> FaceReader:
    """A reader without a model, for videos that another system made; the canonical face is the shipped model's."""
    from anitalker.models import loading
    from anitalker.models.loading import load_finder
    from anitalker.runtime.device import choose_device

    chosen = choose_device(device)
    canonical = loading.read("lite")[1]["motion_space.canonical"]
    return FaceReader(name, load_finder("own", chosen), canonical.to(chosen))


class TalkerSubject(FaceReader):
    """`Subject` over a model of anitalker.models.loading and the shipped face network.

    model: registry name, file or folder; device: auto, cpu, cuda or mps.
    """

    def __init__(self, model: str, device: str = "auto") -> None:
        import torch

        from anitalker.pipeline import load
        from anitalker.weights.registry import resolve, sha256

        self.torch = torch
        self.talker = load(model, device)
        if not hasattr(self.talker.model, "space"):
            raise InputError(
                f"model {model!r} has no landmark codes to look into; render its videos and give them as --outputs DIR"
            )
        self.device = self.talker.device
        super().__init__(model, self.talker.finder(), self.talker.model.space.canonical)
        self.sha256 = sha256(resolve(model)[0])

    def codes(self, frames: np.ndarray) -> np.ndarray:
        from anitalker.faces.landmarks import OneEuro
        from anitalker.motion.driving_video import DRIVING_FILTER

        one_euro = OneEuro(**DRIVING_FILTER)
        raw = [codes.motion for codes in self._read(frames)]
        return np.stack([one_euro(code) for code in self.torch.cat(raw).cpu().numpy()]).astype(np.float32)

    def looks(self, frames: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        hal = self.talker.model.space.hal
        if weights is not None:
            given = self._tensor(weights)
            hal.weights = lambda: given  # shadows the method for the time of the look
        try:
            found = list(self._read(frames))
        finally:
            hal.__dict__.pop("weights", None)
        return {
            name: self.torch.cat([getattr(codes, name) for codes in found]).float().cpu().numpy()
            for name in ("motion", "identity", "appearance")
        }

    def hal_weights(self) -> np.ndarray:
        return self.talker.model.space.hal.weights().detach().cpu().numpy()

    def _read(self, frames: np.ndarray) -> Iterator:
        with self.torch.inference_mode():
            for start in range(0, len(frames), 4 * BATCH):
                yield self.talker.model.space(self._pictures(frames[start : start + 4 * BATCH]))

    def _pictures(self, frames: np.ndarray):
        pictures = self.torch.tensor(frames, device=self.device).permute(0, 3, 1, 2)
        return pictures.float() / 127.5 - 1

    def _tensor(self, values: np.ndarray):
        return self.torch.as_tensor(values, dtype=self.torch.float32, device=self.device)

    def posed(self, landmarks: np.ndarray, start: np.ndarray, motion: np.ndarray) -> np.ndarray:
        points = self._tensor(landmarks)[None].expand(len(motion), -1, -1)
        codes = self._tensor(start)[None].expand(len(motion), -1)
        with self.torch.inference_mode():
            return self.talker.model.space.landmarks(points, codes, self._tensor(motion)).cpu().numpy()

    def render(self, source: Source, motion: np.ndarray, appearance: np.ndarray | None = None) -> np.ndarray:
        options = RenderOptions(frame="crop", batch_size=BATCH)
        portrait = self._portrait(source, appearance)
        return np.stack(list(self.talker.draw(portrait, [self._tensor(motion)], options)))

    def render_landmarks(self, source: Source, landmarks: np.ndarray, motion: np.ndarray) -> np.ndarray:
        from anitalker.decoder.decoder import compose
        from anitalker.runtime.transfer import to_pictures

        subject, made = self._portrait(source).faces[0], []
        motion = np.concatenate([self.poses(landmarks), motion[:, POSE_SIZE:]], 1)
        with self.torch.inference_mode():
            for points, code in zip(self._tensor(landmarks), self._tensor(motion), strict=True):
                layers = self.talker.model.decoder.frames(subject.prepared, points[None], code[None])
                made.append(to_pictures(compose(subject.compositor.source, layers))[0])
        return np.stack(made)

    def _portrait(self, source: Source, appearance: np.ndarray | None = None):
        """The crop as a portrait, with the landmarks and the code that `source` says it has."""
        from anitalker.decoder.compositor import Compositor
        from anitalker.faces.crop import Crop
        from anitalker.models.lite import LiteFace
        from anitalker.pipeline import Portrait

        with self.torch.inference_mode():
            picture, points = self._pictures(source.image[None]), self._tensor(source.landmarks)[None]
            codes = replace(self.talker.model.space(picture), motion=self._tensor(source.motion)[None])
            if appearance is not None:
                codes = replace(codes, appearance=self._tensor(appearance)[None])
            prepared = self.talker.model.decoder.prepare(picture, points, codes.motion, codes.appearance)
        side = source.image.shape[0]
        crop = Crop(source.image, source.landmarks, (0.0, 0.0), float(side), (side, side))
        return Portrait(source.image, (LiteFace(crop, codes, points, prepared, Compositor(picture, sharpen=False)),))

    def speak(self, source: Source, speech: np.ndarray, seed: int) -> np.ndarray:
        return self.talker.motion(self._portrait(source), speech, RenderOptions(seed=seed))[0].cpu().numpy()

    def seams(self, frames: int) -> list[int]:
        config, found, made = self.talker.model.generator.config, [], 1  # frame 0 is the portrait's own
        while frames - made > config.window:
            made += config.window - config.lookahead
            found.append(made)
        return found
