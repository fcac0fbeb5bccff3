"""Who else can find faces: the package face-alignment, behind the interface of our own finder."""

from __future__ import annotations

import inspect
import pickle
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.detection import SMALLEST, Face, FaceFinder, box_of
from anitalker.faces.landmarks68 import widen

FAN_FILES = "s3fd-619a316812.pth and 2DFAN4-11f355bf06.pth.tar from www.adrianbulat.com/downloads/python-fan"


class FaceAlignmentFinder(FaceFinder):
    """The same interface over the package face-alignment (Bulat and Tzimiropoulos, 2017), which downloads its weights.

    fit: tensors `mean` [68,2], `weight` [1404,136], `bias` [1404] of the shipped ridge fit from its 68 points to the
    468; device. InputError, with what to do, where the package or its weights cannot be had.
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
        plain = {"compile": False} if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters else {}
        try:
            self.aligner = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, device=str(self.device), flip_input=False, **plain
            )
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:  # no network, or half a file
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"face-alignment has no usable weights ({reason}); connect to the internet once, or put {FAN_FILES} "
                f"into {folder}, or use --face-backend own"
            ) from error

    def find(self, picture: np.ndarray) -> list[Face]:
        """Every face of a picture, the largest first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where it finds nothing; we say so ourselves
            points, _, boxes = self.aligner.get_landmarks_from_image(picture, return_bboxes=True)
        faces = []
        for sixty_eight, box in zip(points or [], boxes if points else [], strict=True):
            landmarks = widen(self.fit, torch.from_numpy(np.asarray(sixty_eight, np.float32)[None, :, :2]))[0].numpy()
            face = Face(box_of(landmarks), float(box[4]), landmarks)
            if face.size >= SMALLEST:
                faces.append(face)
        return sorted(faces, key=lambda face: face.size, reverse=True)

    def refine(self, pictures: np.ndarray, landmarks: np.ndarray, passes: int = 1) -> np.ndarray:
        """Landmarks [B,468,3] of faces that stand near `landmarks`; one look from their boxes, whatever `passes` is."""
        out = []
        for picture, points in zip(pictures, landmarks, strict=True):
            box = np.array([*box_of(points), 1.0], np.float32)
            sixty_eight = self.aligner.get_landmarks_from_image(picture, detected_faces=[box])[0]
            out.append(widen(self.fit, torch.from_numpy(np.asarray(sixty_eight, np.float32)[None, :, :2]))[0].numpy())
        return np.stack(out)
