"""The shipped pipeline as the model under test: its networks, fed with the crops of the data as they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE, InputError, RenderOptions
from anitalker.decoder.composition import compose
from anitalker.decoder.compositor import Compositor
from anitalker.decoder.mouth_layer import PreparedMouth, encode_references
from anitalker.faces.crop import Crop
from anitalker.faces.detection import FaceFinder, box_of, iou
from anitalker.faces.landmarks import OneEuro, fit_pose
from anitalker.models import loading
from anitalker.models.lite import LiteFace
from anitalker.models.loading import load_finder
from anitalker.motion.driving_video import DRIVING_FILTER
from anitalker.pipeline import Portrait, load
from anitalker.runtime.device import choose_device
from anitalker.runtime.transfer import to_pictures
from anitalker.streaming import StreamingTalker
from anitalker.streaming.pacing import PIECE_SAMPLES
from anitalker.weights.registry import resolve, sha256
from encoders.image import to_tensor
from scripts.evaluation.clips import Source
from scripts.evaluation.dubber import Dubber

BATCH = 8
log = logging.getLogger(__name__)


class FaceReader:
    """What is measured on any frames: the points of the shipped face network, and the rigid fit to the canonical face
    [468,3]."""

    def __init__(self, name: str, finder: FaceFinder, canonical: Tensor) -> None:
        self.name, self.finder, self.canonical = name, finder, canonical
        self.lost = 0  # frames in which the face network saw no face

    def landmarks(self, frames: np.ndarray) -> np.ndarray:
        """The face network's points [T,468,3]: three looks at each frame, from where earlier frames had the face."""
        batches: list[np.ndarray] = []
        for start in range(0, len(frames), BATCH):
            batch = np.array(frames[start : start + BATCH])
            near = batches[-1][-1] if batches else self._search(batch[0])
            points = self.finder.refine(batch, np.repeat(near[None], len(batch), 0), passes=3)
            for i, face in enumerate(points):
                if iou(box_of(face), box_of(near)) < 0.5:  # it has moved far, or a wrong start led astray
                    points[i] = self._search(batch[i], face)
            batches.append(points)
        return (np.concatenate(batches) / frames.shape[2]).astype(np.float32)

    def _search(self, frame: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
        """Points [468,3] of the largest face in pixels; where there is none, `otherwise`, or a face in the middle."""
        if faces := self.finder.find(frame):
            return faces[0].landmarks
        self.lost += 1
        log.warning("the face network finds no face in a frame (%d so far)", self.lost)
        if otherwise is not None:
            return otherwise
        return (self.canonical.cpu().numpy() * 0.55 + np.float32([0.5, 0.5, 0])) * frame.shape[1]

    def poses(self, landmarks: np.ndarray) -> np.ndarray:
        """Rigid fit to points [T,468,3] -> [T,6]."""
        points = torch.as_tensor(landmarks, dtype=torch.float32, device=self.canonical.device)
        return fit_pose(points, self.canonical).cpu().numpy()


def face_reader(name: str, device: str = "auto") -> FaceReader:
    """A reader without a model, for videos that another system made; the canonical face is the shipped model's."""
    chosen = choose_device(device)
    canonical = loading.read("lite")[1]["motion_space.canonical"]
    return FaceReader(name, load_finder("own", chosen), canonical.to(chosen))


class ModelUnderTest(FaceReader):
    """What the suites ask of a model (registry name, file or folder). Pictures are 256x256 crops as they stand in the
    data: nothing is cropped again."""

    def __init__(self, model: str, device: str = "auto") -> None:
        self.talker = load(model, device)
        if not hasattr(self.talker.model, "space"):
            raise InputError(
                f"model {model!r} has no landmark codes to look into; render its videos and give them as --outputs DIR"
            )
        self.space, self.device = self.talker.model.space, self.talker.device
        super().__init__(model, self.talker.finder(), self.space.canonical)
        self.sha256 = sha256(resolve(model)[0])

    def codes(self, frames: np.ndarray) -> np.ndarray:
        """Motion codes [T,20] read from the pixels of consecutive frames, filtered as for a driving video."""
        one_euro = OneEuro(**DRIVING_FILTER)
        return np.stack([one_euro(code) for code in self.looks(frames)["motion"]]).astype(np.float32)

    def looks(self, frames: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Each frame by itself -> motion [T,20], identity [T,64], appearance [T,D]; weights [stages]: HAL's instead."""
        hal = self.space.hal
        if weights is not None:
            replaced = self._tensor(weights)
            hal.weights = lambda: replaced  # shadows the method for the time of the look
        try:
            with torch.inference_mode():
                batches = [self.space(self._pictures(batch)) for batch in np.split(frames, range(32, len(frames), 32))]
        finally:
            hal.__dict__.pop("weights", None)
        return {
            name: torch.cat([getattr(codes, name) for codes in batches]).float().cpu().numpy()
            for name in ("motion", "identity", "appearance")
        }

    def hal_weights(self) -> np.ndarray:
        """HAL's weights [stages], which add up to one."""
        return self.space.hal.weights().detach().cpu().numpy()

    @torch.inference_mode()
    def posed(self, landmarks: np.ndarray, start: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """Points [468,3] whose motion code is `start` [20], under motion [T,20] -> [T,468,3]; no picture is made."""
        points = self._tensor(landmarks)[None].expand(len(motion), -1, -1)
        codes = self._tensor(start)[None].expand(len(motion), -1)
        return self.space.landmarks(points, codes, self._tensor(motion)).cpu().numpy()

    def render(
        self,
        source: Source,
        motion: np.ndarray,
        appearance: np.ndarray | None = None,
        references: Sequence[Source] | None = None,
    ) -> np.ndarray:
        """`source` under the codes [T,20] -> uint8 [T,256,256,3]; appearance [D]: in place of its HAL code.

        references: of the mouth; empty: none, the decoder's own mouth; None: the source.
        """
        options, portrait = (
            RenderOptions(frame="crop", batch_size=BATCH),
            self._portrait(source, appearance, references),
        )
        return np.stack(list(self.talker.draw(portrait, [self._tensor(motion)], options)))

    @torch.inference_mode()
    def render_landmarks(
        self, source: Source, landmarks: np.ndarray, motion: np.ndarray, references: Sequence[Source] | None = None
    ) -> np.ndarray:
        """`source` with its points brought to landmarks [T,468,3], under codes [T,20] -> uint8 [T,256,256,3].

        references: as for `render`.
        """
        subject, frames = self._portrait(source, None, references).faces[0], []
        motion = np.concatenate([self.poses(landmarks), motion[:, POSE_SIZE:]], 1)
        for points, code in zip(self._tensor(landmarks), self._tensor(motion), strict=True):
            layers = self.talker.model.layers_to(subject, points[None], code[None])
            frames.append(to_pictures(compose(subject.prepared.picture, layers))[0])
        return np.stack(frames)

    def speak(self, source: Source, speech: np.ndarray, seed: int) -> np.ndarray:
        """Motion [ceil(25 N / 16000),20] for speech [N]; one single sample, without gaze."""
        options = RenderOptions(seed=seed, gaze="portrait")
        return self.talker.motion(self._portrait(source), speech, options)[0].cpu().numpy()

    def stream(self, source: Source, speech: np.ndarray, seed: int) -> np.ndarray:
        """As `speak`, from speech that arrives in pieces of 20 ms."""
        stream = StreamingTalker(self.talker, self._portrait(source), RenderOptions(seed=seed, gaze="portrait"))
        pieces = np.split(speech, range(PIECE_SAMPLES, len(speech), PIECE_SAMPLES))
        motions = [stream.motion(piece, last=n == len(pieces) - 1)[0] for n, piece in enumerate(pieces)]
        return torch.cat(motions).cpu().numpy()

    @cached_property
    def dubber(self) -> Dubber | None:
        """Dubs videos; None where the model cannot."""
        model = self.talker.model.dubbing
        return None if model is None else Dubber(model, self.finder, lambda: self.talker.verifier)

    def seams(self, frames: int) -> list[int]:
        """First frame of each window but the first in a motion of so many frames; empty where there are no windows."""
        config = self.talker.model.generator.config
        step = config.window - config.lookahead  # frame 0 is the portrait's own
        return [first + step for first in range(1, frames - config.window, step)]

    @torch.inference_mode()
    def _portrait(
        self, source: Source, appearance: np.ndarray | None = None, references: Sequence[Source] | None = None
    ) -> Portrait:
        """The crop as a portrait, with the landmarks and the code that `source` says it has."""
        picture, points = self._pictures(source.image[None]), self._tensor(source.landmarks)[None]
        codes = replace(self.space(picture), motion=self._tensor(source.motion)[None])
        if appearance is not None:
            codes = replace(codes, appearance=self._tensor(appearance)[None])
        own_teeth = self.talker.model.mouth is None or references == []
        prepared = self.talker.model.decoder.prepare(picture, points, codes.motion, codes.appearance, own_teeth)
        side = source.image.shape[0]
        crop = Crop(source.image, source.landmarks, (0.0, 0.0), float(side), (side, side))
        resting = self.space.rest(points, codes.motion)
        face = LiteFace(crop, codes, points, prepared, Compositor(source.image), resting)
        if references is None:
            face = replace(face, mouth=self.talker.model.prepare_mouth(picture, points, codes.motion))
        elif references and self.talker.model.mouth is not None:
            pictures = self._pictures(np.stack([other.image for other in references]))
            values = (
                self._tensor(np.stack([getattr(other, n) for other in references])) for n in ("landmarks", "motion")
            )
            encoded = encode_references(self.talker.model.mouth, pictures, *values)
            face = replace(face, mouth=PreparedMouth(picture, points, encoded))
        return Portrait(source.image, (face,))

    def _pictures(self, frames: np.ndarray) -> Tensor:
        return to_tensor(torch.tensor(frames, device=self.device))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)
