"""Find faces, choose one, and cut it out; anitalker/faces/paste.py is the way back.

Pictures are uint8 [H,W,3] RGB; landmarks float32 [468,3] in the picture's pixels, the centre of the first pixel at 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.face_network import MARGIN, Detections, FaceNetwork, crop_frame, from_crop, sample_crops
from anitalker.faces.landmarks import FOREHEAD, OneEuro, face_height
from anitalker.runtime.transfer import to_tensors

SMALLEST = 20  # pixels of the face box's longer side; below, there is nothing to animate
ASIDE = 0.6  # what is looked at beside a face box, in its longer sides: a turned crop reaches half as far
STILL = 0.02  # crop sides: if the third look's crop would differ by less from the second's, there is no third
SETTLED = 0.05  # face heights between the first and the last look, times score squared: faces move far less
RECHECK = 12  # frames of a video between searches with the detector


@dataclass(frozen=True)
class Face:
    """One face: box (x0,y0,x1,y1) and landmarks [468,3] in pixels, score 0..1."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def size(self) -> float:
        """The longer side of the box in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def yaw(self) -> float:
        """Degrees; positive turns the nose to the picture's left."""
        return self._angles()[0]

    @property
    def pitch(self) -> float:
        """Degrees; positive looks down."""
        return self._angles()[1]

    @property
    def roll(self) -> float:
        """Degrees; positive turns clockwise in the picture."""
        return self._angles()[2]

    @property
    def quality(self) -> dict[str, float]:
        """Size in pixels, and how far the face looks away from the camera in degrees: what decides on a good result."""
        return {"size": self.size, "away": math.hypot(self.yaw, self.pitch)}

    def _angles(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll as in `anitalker.faces.landmarks.rotation`, from the eye corners, temples and forehead."""
        points = self.landmarks.astype(np.float64)
        across = sum(points[b] - points[a] for a, b in ((33, 263), (127, 356), (234, 454)))
        across /= np.linalg.norm(across)
        down = points[[168, 6, 197]].mean(0) - points[FOREHEAD]
        down -= across * (down @ across)
        down /= np.linalg.norm(down)
        ahead = np.cross(across, down)
        yaw, roll = math.asin(np.clip(-across[2], -1, 1)), math.atan2(across[1], across[0])
        pitch = math.atan2(down[2], ahead[2])
        return tuple(math.degrees(angle) for angle in (yaw, pitch, roll))


class FaceFinder:
    """Our own detector and landmark regressor: `network` in evaluation mode, moved to `device`."""

    calibrated = True  # the motion prior knows its scores and how its landmarks settle

    def __init__(self, network: FaceNetwork, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.folded().to(self.device)

    @torch.inference_mode()
    def find(self, picture: np.ndarray) -> list[Face]:
        """Every face of a picture, the largest first.

        The picture is searched at the detector's scale; only if nothing was found finer, and then coarser (for a face
        that fills the picture).
        """
        usual = self.network.detector.config.long_side
        for long_side, threshold in ((usual, 0.5), (2 * usual, 0.8), (usual // 2, 0.8)):  # more looks, surer looks
            if faces := self._faces(picture, self._detect(picture, long_side, threshold)):
                return sorted(faces, key=lambda face: face.size, reverse=True)
        return []

    def track(self, frames: Iterable[np.ndarray], which: str | int = "largest", smooth: bool = True) -> Iterator[Face]:
        """One face through the frames of a video, followed from frame to frame and smoothed over time.

        The detector looks again every RECHECK frames and when the face jumps; a frame without it repeats the last face
        with score 0. InputError if the first frame has no such face.
        """
        face, soften, scale = None, OneEuro(), 1.0
        for number, frame in enumerate(frames):
            if face is None:
                face = choose(self.find(frame), which)[0]
                scale = face_height(face.landmarks)
            else:
                face = self._follow(frame, face, number % RECHECK == 0)
            points = soften(face.landmarks / scale) * scale if smooth else face.landmarks
            yield Face(box_of(points), face.score, points.astype(np.float32))

    @torch.inference_mode()
    def refine(self, pictures: np.ndarray, landmarks: np.ndarray, passes: int = 1) -> np.ndarray:
        """Landmarks [B,468,3] of faces that stand near `landmarks` in `pictures` uint8 [B,H,W,3]; pixels."""
        points = torch.as_tensor(landmarks, dtype=torch.float32, device=self.device)
        views = self._unit(np.asarray(pictures))
        for _ in range(passes):
            points = self._regress(views, *crop_frame(points))
        return points.cpu().numpy()

    def _follow(self, frame: np.ndarray, face: Face, check: bool) -> Face:
        points = self.refine(frame[None], face.landmarks[None])[0]
        if iou(box_of(points), face.box) > 0.6 and not check:
            return Face(box_of(points), face.score, points)
        found = [(iou(other.box, face.box), other) for other in self.find(frame)]
        best, other = max(found, key=lambda pair: pair[0], default=(0.0, None))
        if best > 0.2:
            return other
        return Face(face.box, 0.0, face.landmarks)

    def _detect(self, picture: np.ndarray, long_side: int, threshold: float = 0.5) -> Detections:
        """Faces at one scale, in pixels of the picture; the sides are filled up to multiples of 32 with the border."""
        height, width = picture.shape[:2]
        scale = long_side / max(height, width)
        new = (max(round(width * scale), 1), max(round(height * scale), 1))
        small = np.asarray(Image.fromarray(picture).resize(new, Image.Resampling.BILINEAR, reducing_gap=1.0))
        pad_y, pad_x = -new[1] % 32, -new[0] % 32
        small = np.pad(small, ((0, pad_y), (0, pad_x), (0, 0)), "edge")
        found = self.network.detector.detect(self._unit(small[None]), threshold)[0]
        back = torch.tensor([width / new[0], height / new[1]], device=self.device)
        return Detections(found.boxes * back.repeat(2), found.scores, found.points * back)

    def _faces(self, picture: np.ndarray, found: Detections) -> list[Face]:
        """Landmarks of the faces found; what is too small is dropped, and where they do not settle there is no face."""
        faces = []
        for box, score, points in zip(found.boxes, found.scores, found.points, strict=True):
            if float((box[2:] - box[:2]).max()) < SMALLEST:
                continue
            landmarks, moved = self._landmarks(picture, box, points)
            if moved < SETTLED * float(score) ** 2 and iou(box_of(landmarks), tuple(box.tolist())) > 0.4:
                faces.append(Face(box_of(landmarks), float(score), landmarks))
        return faces

    def _landmarks(self, picture: np.ndarray, box: Tensor, points: Tensor) -> tuple[np.ndarray, float]:
        """A coarse look from the detector's box and eye-to-mouth line, then a full one from the landmarks themselves;
        where that moved the crop by more than STILL, a third.

        Also how far the points moved from the first look to the last, in face heights.
        """
        view, shift, shrink = near(picture, box.tolist())
        view = self._unit(view[None])
        shift = torch.tensor(shift, device=self.device)
        box, points = (box - shift.repeat(2)) / shrink, (points - shift) / shrink
        down = torch.nn.functional.normalize(points[3] - points[:2].mean(0), dim=0)
        axes = torch.stack([torch.stack([down[1], -down[0]]), down])[None]
        upright = (box[2:] - box[:2]).max() / (down[1].abs() + 0.8 * down[0].abs())  # a turned face fills a larger box
        frame = ((box[:2] + box[2:])[None] / 2, upright[None] * MARGIN, axes)
        first = self._regress(view, *frame, self.network.landmarks.coarse)
        frame = crop_frame(first)
        landmarks = self._regress(view, *frame)
        again = crop_frame(landmarks)
        if apart(frame, again) > STILL:
            landmarks = self._regress(view, *again)
        moved = (landmarks - first)[0, :, :2].norm(dim=-1).mean() / face_height(landmarks)[0]
        landmarks = landmarks[0] * shrink
        landmarks[:, :2] += shift
        return landmarks.cpu().numpy(), float(moved)

    def _unit(self, pictures: np.ndarray) -> Tensor:
        """uint8 [B,H,W,3] -> float [B,3,H,W] in [-1,1] on the device."""
        return to_tensors(torch.tensor(pictures, device=self.device))

    def _regress(self, views: Tensor, centre: Tensor, side: Tensor, axes: Tensor, network=None) -> Tensor:
        crops = sample_crops(views, centre, side, axes, self.network.landmarks.config.size)
        return from_crop((network or self.network.landmarks)(crops), centre, side, axes)


def apart(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    """How much two squares (centre [1,2], side [1], axes [1,2,2]) differ in place, size and turn together, in sides."""
    shift, size = (b[0] - a[0]).norm() / a[1], (b[1] / a[1]).log().abs()
    return float(shift + size + (b[2] - a[2])[0, 0].norm())


def near(picture: np.ndarray, box: list[float]) -> tuple[np.ndarray, tuple[float, float], int]:
    """The surroundings of a box, shrunk by a whole factor so that a face crop does not alias: view, (x,y), factor."""
    side = max(box[2] - box[0], box[3] - box[1])
    x0, y0 = (max(int(v - ASIDE * side), 0) for v in box[:2])
    x1, y1 = (math.ceil(v + ASIDE * side) for v in box[2:])
    view = Image.fromarray(np.ascontiguousarray(picture[y0:y1, x0:x1]))
    factor = max(int(side * MARGIN / 200), 1)
    return np.array(view.reduce(factor)), (float(x0), float(y0)), factor


def box_of(landmarks: np.ndarray) -> tuple[float, float, float, float]:
    """x0,y0,x1,y1 around landmarks [N,>=2]."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total > 0 else 0.0


def choose(faces: list[Face], which: str | int) -> list[Face]:
    """`largest` (one), `all`, or an index in the order of `find` (one); InputError if there is no such face."""
    if not faces:
        raise InputError(
            f"no face was found in the picture; give one that shows a face of at least {SMALLEST} pixels from the front"
        )
    if which == "all":
        return list(faces)
    if which == "largest":
        return [max(faces, key=lambda face: face.size)]
    if not str(which).isdigit():
        raise InputError(f"face is {which!r}; allowed are largest, all, or an index from `anitalker faces`")
    if int(which) >= len(faces):
        count = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise InputError(f"face {which} was asked for, but {count} found; allowed are 0 to {len(faces) - 1}")
    return [faces[int(which)]]
