"""Face detection by the package face-alignment, behind the interface of our own finder."""

from __future__ import annotations

import inspect
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.detection import MIN_FACE_PIXELS, NEAR, Face, FaceFinder, box_of, cut_surroundings, iou, is_visible
from anitalker.faces.landmarks68 import expand_to_mesh

FAN_FILES = "s3fd-619a316812.pth and 2DFAN4-11f355bf06.pth.tar from www.adrianbulat.com/downloads/python-fan"


class FaceAlignmentFinder(FaceFinder):
    """A face finder over the package face-alignment (Bulat and Tzimiropoulos, 2017), which downloads its weights.

    fit: tensors `mean` [68,2], `weight` [1404,136], `bias` [1404] of the shipped ridge fit from its 68 points to the
    468. InputError, with what to do, where the package or its weights are not available.
    """

    calibrated = False

    def __init__(self, fit: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        self.fit, self.device = {name: tensor.float().cpu() for name, tensor in fit.items()}, torch.device(device)
        try:
            import face_alignment
        except ImportError as error:
            raise InputError(
                "the package face-alignment is not installed; pip install face-alignment, or use --face-backend own"
            ) from error
        options: dict[str, Any] = (
            {"compile": False} if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters else {}
        )
        try:
            self.aligner = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, device=str(self.device), flip_input=False, **options
            )
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:  # no network, or a truncated file
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"face-alignment has no usable weights ({reason}); connect to the internet once, or put {FAN_FILES} "
                f"into {folder}, or use --face-backend own"
            ) from error

    def find(self, picture: np.ndarray) -> list[Face]:
        """Every face of a picture, the largest first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns if it finds nothing; our caller reports that
            output: Any = self.aligner.get_landmarks_from_image(picture, return_bboxes=True)
        points, _, boxes = output
        faces = []
        for points_68, box in zip(points or [], boxes if points else [], strict=True):
            landmarks = expand_to_mesh(self.fit, torch.from_numpy(np.asarray(points_68, np.float32)[None, :, :2]))[
                0
            ].numpy()
            face = Face(box_of(landmarks), float(box[4]), landmarks)
            if face.size >= MIN_FACE_PIXELS:
                faces.append(face)
        return sorted(faces, key=lambda face: face.size, reverse=True)

    def confirm(self, picture: np.ndarray, box: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
        """Is a face near a box (x0,y0,x1,y1)? The score 0..1 of the best one there, and its box; score 0 if none."""
        if not is_visible(box, picture.shape):
            return 0.0, box
        region, corner, shrink = cut_surroundings(picture, list(box))
        best: tuple[float, tuple[float, ...]] = (0.0, box)
        for face in self.find(region):
            place = tuple(float(v * shrink + offset) for v, offset in zip(face.box, corner * 2, strict=True))
            if iou(place, box) > NEAR and face.score > best[0]:
                best = (face.score, place)
        return best

    def refine(self, pictures: np.ndarray, landmarks: np.ndarray, passes: int = 1) -> np.ndarray:
        """Landmarks [B,468,3] of faces near `landmarks`, in pixels: always one pass, from their boxes."""
        refined = []
        for picture, points in zip(pictures, landmarks, strict=True):
            box = np.array([*box_of(points), 1.0], np.float32)
            output: Any = self.aligner.get_landmarks_from_image(picture, detected_faces=[box])
            points_68 = output[0]
            refined.append(
                expand_to_mesh(self.fit, torch.from_numpy(np.asarray(points_68, np.float32)[None, :, :2]))[0].numpy()
            )
        return np.stack(refined)
