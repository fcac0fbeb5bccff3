"""Find faces in pictures, follow one through a video, and select faces.

Pictures are uint8 [H,W,3] RGB; landmarks float32 [468,3] in the picture's pixels, the centre of the first pixel at 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.face import Face, box_of, iou
from anitalker.faces.face_network import MARGIN, Detections, FaceNetwork, crop_frame, from_crop, sample_crops
from anitalker.faces.landmarks import face_height
from anitalker.faces.scales import LARGE, LEAST_SCORE, SURE_SCORE, merge, search_sides
from anitalker.faces.tracking import FaceTracker
from anitalker.runtime.transfer import to_tensors

MIN_FACE_PIXELS = 20  # of the face box's longer side; a smaller face has nothing to animate
BOX_MARGIN = 0.6  # longer sides of a face box that are cut out beyond each of its edges: a rotated crop needs half
MIN_CROP_CHANGE = 0.02  # crop sides: landmarks are estimated once more only if their crop changes by more
MAX_LANDMARK_SHIFT = 0.05  # face heights from first to last estimate, times score squared: faces shift far less
CUT_FROM = 400  # pixels of a picture's longer side from which landmarks are looked for in cuts of it
NEAR = 0.3  # IoU of a box with that of the frame before from which it is the same face


class FaceFinder:
    """Our own detector and landmark regressor; a copy of `network` in evaluation mode runs on `device`."""

    calibrated = True  # the limits of the motion prior were fitted to its scores and landmarks

    def __init__(self, network: FaceNetwork, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.folded().to(self.device)

    @torch.inference_mode()
    def find(self, picture: np.ndarray) -> list[Face]:
        """All faces of a picture, uint8 [H,W,3], the largest first.

        Several scales are searched and merged (`faces.scales`). Where they show nothing, a finer one is tried.
        """
        usual = self.network.detector.config.long_side
        long_side = max(picture.shape[:2])
        sides = search_sides(usual, long_side)
        found = [self._detect(picture, side, LEAST_SCORE) for side in sides]
        faces = self._faces(picture, merge(found, LARGE * long_side))
        if not faces and 2 * usual not in sides:
            faces = self._faces(picture, self._detect(picture, 2 * usual, SURE_SCORE))
        return sorted(faces, key=lambda face: face.size, reverse=True)

    def track(self, frames: Iterable[np.ndarray], which: str | int = "largest", smooth: bool = True) -> Iterator[Face]:
        """One face through the frames of a video, followed from frame to frame and smoothed over time.

        A frame without the face repeats its last position with score 0; it is looked for until it comes back
        (`faces.tracking`). which: as for `select_faces`, one face. InputError if the first frame has no such face.
        """
        tracker = None
        for frame in frames:
            tracker = tracker or FaceTracker(self, select_faces(self.find(frame), which)[0], smooth)
            yield tracker(frame)

    @torch.inference_mode()
    def confirm(self, picture: np.ndarray, box: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
        """Is a face near a box (x0,y0,x1,y1)? The detector's score 0..1 there, and the face's box; score 0 if none.

        Only the box with its surroundings is searched, which takes a tenth of the time of a whole picture.
        """
        if not is_visible(box, picture.shape):
            return 0.0, box
        region, (x, y), shrink = cut_surroundings(picture, list(box))
        found = self._detect(region, self.network.detector.config.long_side // 2)
        best: tuple[float, tuple[float, ...]] = (0.0, box)
        for found_box, score in zip(found.boxes, found.scores, strict=True):
            corner = np.array([x, y, x, y]) + found_box.cpu().numpy() * shrink
            place = tuple(map(float, corner))
            if iou(place, box) > NEAR and float(score) > best[0]:
                best = (float(score), place)
        return best

    @torch.inference_mode()
    def refine(self, pictures: np.ndarray, landmarks: np.ndarray, passes: int = 1) -> np.ndarray:
        """Landmarks [B,468,3] of the faces near `landmarks` [B,468,3] in `pictures` uint8 [B,H,W,3]; all in pixels.

        Of large pictures only the faces with their surroundings are looked at, reduced so that nothing aliases.
        """
        if max(pictures.shape[1:3]) > CUT_FROM:
            faces = zip(pictures, np.asarray(landmarks), strict=True)
            return np.stack([self._refine_large(picture, points, passes) for picture, points in faces])
        points = torch.as_tensor(landmarks, dtype=torch.float32, device=self.device)
        views = self._to_tensors(np.asarray(pictures))
        for _ in range(passes):
            points = self._regress(views, *crop_frame(points))
        return points.cpu().numpy()

    def _refine_large(self, picture: np.ndarray, landmarks: np.ndarray, passes: int) -> np.ndarray:
        """As `refine`, for one picture [H,W,3] and its landmarks [468,3], of which some must lie in the picture."""
        region, corner, factor = cut_surroundings(picture, list(box_of(landmarks)))
        if min(region.shape[:2]) < 1:
            return landmarks
        offset = np.array([*corner, 0], np.float32)
        points = torch.as_tensor((landmarks - offset) / factor, dtype=torch.float32, device=self.device)[None]
        view = self._to_tensors(region[None])
        for _ in range(passes):
            points = self._regress(view, *crop_frame(points))
        return points[0].cpu().numpy() * factor + offset

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


def is_visible(box: tuple[float, ...], shape: tuple[int, ...]) -> bool:
    """Whether a picture of this shape shows as much of a box as a face needs."""
    width, height = min(box[2], shape[1]) - max(box[0], 0), min(box[3], shape[0]) - max(box[1], 0)
    return min(width, height) >= MIN_FACE_PIXELS / 2


def select_faces(faces: list[Face], which: str | int, what: str = "the picture") -> list[Face]:
    """The faces named by `which`: `largest` (one face), `all`, or an index in the order of `find` (one face).

    what: names the input in messages. InputError if there is no such face.
    """
    if not faces:
        raise InputError(
            f"no face was found in {what}; give one that shows a face of at least "
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
        raise InputError(f"face {which} was asked for, but {count} found in {what}; allowed are 0 to {len(faces) - 1}")
    return [faces[int(which)]]
