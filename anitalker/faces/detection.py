"""Find faces in pictures, follow one through a video, and select faces.

Pictures are uint8 [H,W,3] RGB; landmarks float32 [468,3] in the picture's pixels, the centre of the first pixel at 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.face_network import MARGIN, Detections, FaceNetwork, crop_frame, from_crop, sample_crops
from anitalker.faces.landmarks import FOREHEAD, OneEuro, face_height
from anitalker.runtime.transfer import to_tensors

MIN_FACE_PIXELS = 20  # of the face box's longer side; a smaller face has nothing to animate
BOX_MARGIN = 0.6  # longer sides of a face box that are cut out beyond each of its edges: a rotated crop needs half
MIN_CROP_CHANGE = 0.02  # crop sides: landmarks are estimated once more only if their crop changes by more
MAX_LANDMARK_SHIFT = 0.05  # face heights from first to last estimate, times score squared: faces shift far less
DETECTION_INTERVAL = 12  # frames of a video between runs of the detector


@dataclass(frozen=True)
class Face:
    """One face of a picture: box (x0,y0,x1,y1) and landmarks [468,3] in pixels, score 0..1."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def size(self) -> float:
        """The longer side of the box in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def yaw(self) -> float:
        """Yaw in degrees; positive turns the nose to the picture's left."""
        return self._angles()[0]

    @property
    def pitch(self) -> float:
        """Pitch in degrees; positive looks down."""
        return self._angles()[1]

    @property
    def roll(self) -> float:
        """Roll in degrees; positive turns clockwise in the picture."""
        return self._angles()[2]

    @property
    def quality(self) -> dict[str, float]:
        """What the result depends on: the size in pixels, and the angle in degrees by which the face looks away."""
        return {"size": self.size, "away": math.hypot(self.yaw, self.pitch)}

    def scaled(self, x: float, y: float) -> Face:
        """The same face in a copy of its picture that is `x` times as wide and `y` times as high."""
        x0, y0, x1, y1 = self.box
        factors = np.array([x, y, (x + y) / 2], np.float32)  # depth is in pixels, too
        return Face((x0 * x, y0 * y, x1 * x, y1 * y), self.score, self.landmarks * factors)

    def _angles(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll in degrees, as in `landmarks.rotation`, from the eye corners, temples and forehead."""
        points = self.landmarks.astype(np.float64)
        across = (points[[263, 356, 454]] - points[[33, 127, 234]]).sum(0)
        across /= np.linalg.norm(across)
        down = points[[168, 6, 197]].mean(0) - points[FOREHEAD]
        down -= across * (down @ across)
        down /= np.linalg.norm(down)
        forward = np.cross(across, down)
        yaw, roll = math.asin(np.clip(-across[2], -1, 1)), math.atan2(across[1], across[0])
        pitch = math.atan2(down[2], forward[2])
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


class FaceFinder:
    """Our own detector and landmark regressor; a copy of `network` in evaluation mode runs on `device`."""

    calibrated = True  # the limits of the motion prior were fitted to its scores and landmarks

    def __init__(self, network: FaceNetwork, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.folded().to(self.device)

    @torch.inference_mode()
    def find(self, picture: np.ndarray) -> list[Face]:
        """All faces of a picture, uint8 [H,W,3], the largest first.

        The detector runs at its own scale. If it finds nothing, it runs at a finer scale, and then at a coarser one
        (for a face that fills the picture).
        """
        usual = self.network.detector.config.long_side
        for long_side, threshold in ((usual, 0.5), (2 * usual, 0.8), (usual // 2, 0.8)):  # retries need a higher score
            if faces := self._faces(picture, self._detect(picture, long_side, threshold)):
                return sorted(faces, key=lambda face: face.size, reverse=True)
        return []

    def track(self, frames: Iterable[np.ndarray], which: str | int = "largest", smooth: bool = True) -> Iterator[Face]:
        """One face through the frames of a video, followed from frame to frame and smoothed over time.

        The detector runs every DETECTION_INTERVAL frames and when the face jumps. A frame without the face repeats its
        last position with score 0. which: as for `select_faces`, one face. InputError if the first frame has no such
        face.
        """
        face, smoother, scale = None, OneEuro(), 1.0
        for number, frame in enumerate(frames):
            if face is None:
                face = select_faces(self.find(frame), which)[0]
                scale = face_height(face.landmarks)
            else:
                face = self._follow(frame, face, number % DETECTION_INTERVAL == 0)
            points = smoother(face.landmarks / scale) * scale if smooth else face.landmarks
            yield Face(box_of(points), face.score, points.astype(np.float32))

    @torch.inference_mode()
    def refine(self, pictures: np.ndarray, landmarks: np.ndarray, passes: int = 1) -> np.ndarray:
        """Landmarks [B,468,3] of the faces near `landmarks` [B,468,3] in `pictures` uint8 [B,H,W,3]; all in pixels."""
        points = torch.as_tensor(landmarks, dtype=torch.float32, device=self.device)
        views = self._to_tensors(np.asarray(pictures))
        for _ in range(passes):
            points = self._regress(views, *crop_frame(points))
        return points.cpu().numpy()

    def _follow(self, frame: np.ndarray, face: Face, check: bool) -> Face:
        points = self.refine(frame[None], face.landmarks[None])[0]
        if iou(box_of(points), face.box) > 0.6 and not check:
            return Face(box_of(points), face.score, points)
        faces = self.find(frame)
        overlaps = [iou(candidate.box, face.box) for candidate in faces]
        if max(overlaps, default=0.0) > 0.2:
            return faces[overlaps.index(max(overlaps))]
        return Face(face.box, 0.0, face.landmarks)

    def _detect(self, picture: np.ndarray, long_side: int, threshold: float = 0.5) -> Detections:
        """Detections at one scale, in pixels of the picture; the border is replicated to sides of multiples of 32."""
        height, width = picture.shape[:2]
        scale = long_side / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        resized = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0))
        pad_y, pad_x = -size[1] % 32, -size[0] % 32
        resized = np.pad(resized, ((0, pad_y), (0, pad_x), (0, 0)), "edge")
        detections = self.network.detector.detect(self._to_tensors(resized[None]), threshold)[0]
        factor = torch.tensor([width / size[0], height / size[1]], device=self.device)
        return Detections(detections.boxes * factor.repeat(2), detections.scores, detections.points * factor)

    def _faces(self, picture: np.ndarray, detections: Detections) -> list[Face]:
        """The detections with landmarks, without those that are too small or whose landmarks do not converge."""
        faces = []
        for box, score, points in zip(detections.boxes, detections.scores, detections.points, strict=True):
            if float((box[2:] - box[:2]).max()) < MIN_FACE_PIXELS:
                continue
            landmarks, shift = self._landmarks(picture, box, points)
            if shift < MAX_LANDMARK_SHIFT * float(score) ** 2 and iou(box_of(landmarks), tuple(box.tolist())) > 0.4:
                faces.append(Face(box_of(landmarks), float(score), landmarks))
        return faces

    def _landmarks(self, picture: np.ndarray, box: Tensor, points: Tensor) -> tuple[np.ndarray, float]:
        """Landmarks [468,3] in pixels, and how far they moved from the first estimate to the last, in face heights.

        A coarse estimate on the crop of the detector's box and eye-to-mouth line, then a full one on the crop of these
        landmarks. If its crop differs by more than MIN_CROP_CHANGE, there is a third estimate.
        """
        region, (x, y), shrink = cut_surroundings(picture, box.tolist())
        views = self._to_tensors(region[None])
        offset = torch.tensor((x, y), device=self.device)
        box, points = (box - offset.repeat(2)) / shrink, (points - offset) / shrink
        down = torch.nn.functional.normalize(points[3] - points[:2].mean(0), dim=0)
        axes = torch.stack([torch.stack([down[1], -down[0]]), down])[None]
        side = (box[2:] - box[:2]).max() / (down[1].abs() + 0.8 * down[0].abs())  # a rotated face fills a larger box
        frame = ((box[:2] + box[2:])[None] / 2, side[None] * MARGIN, axes)
        first = self._regress(views, *frame, self.network.landmarks.coarse)
        frame = crop_frame(first)
        landmarks = self._regress(views, *frame)
        next_frame = crop_frame(landmarks)
        if crop_change(frame, next_frame) > MIN_CROP_CHANGE:
            landmarks = self._regress(views, *next_frame)
        shift = (landmarks - first)[0, :, :2].norm(dim=-1).mean() / face_height(landmarks)[0]
        landmarks = landmarks[0] * shrink
        landmarks[:, :2] += offset
        return landmarks.cpu().numpy(), float(shift)

    def _to_tensors(self, pictures: np.ndarray) -> Tensor:
        """uint8 [B,H,W,3] -> float [B,3,H,W] in [-1,1] on the device."""
        return to_tensors(torch.tensor(pictures, device=self.device))

    def _regress(
        self,
        views: Tensor,
        centre: Tensor,
        side: Tensor,
        axes: Tensor,
        network: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Landmarks [B,468,3] in the views' pixels, from square crops of views [B,3,H,W]."""
        crops = sample_crops(views, centre, side, axes, self.network.landmarks.config.size)
        return from_crop((network or self.network.landmarks)(crops), centre, side, axes)


def crop_change(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    """The sum of shift, log scale and rotation between two squares (centre [1,2], side [1], axes [1,2,2]), in sides."""
    shift, size = (b[0] - a[0]).norm() / a[1], (b[1] / a[1]).log().abs()
    return float(shift + size + (b[2] - a[2])[0, 0].norm())


def cut_surroundings(picture: np.ndarray, box: list[float]) -> tuple[np.ndarray, tuple[float, float], int]:
    """A box with its surroundings, reduced by a whole factor so that a face crop does not alias.

    Returns the pixels uint8 [h,w,3], the position (x,y) of their corner in the picture, and the factor.
    """
    side = max(box[2] - box[0], box[3] - box[1])
    x0, y0 = (max(int(v - BOX_MARGIN * side), 0) for v in box[:2])
    x1, y1 = (math.ceil(v + BOX_MARGIN * side) for v in box[2:])
    region = Image.fromarray(np.ascontiguousarray(picture[y0:y1, x0:x1]))
    factor = max(int(side * MARGIN / 200), 1)
    return np.array(region.reduce(factor)), (float(x0), float(y0)), factor


def box_of(landmarks: np.ndarray) -> tuple[float, float, float, float]:
    """The box (x0,y0,x1,y1) around landmarks [N,>=2]."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (x0,y0,x1,y1)."""
    intersection = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union if union > 0 else 0.0


def select_faces(faces: list[Face], which: str | int) -> list[Face]:
    """The faces named by `which`: `largest` (one face), `all`, or an index in the order of `find` (one face).

    InputError if there is no such face.
    """
    if not faces:
        raise InputError(
            "no face was found in the picture; give one that shows a face of at least "
            f"{MIN_FACE_PIXELS} pixels from the front"
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
