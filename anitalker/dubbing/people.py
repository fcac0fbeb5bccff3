"""Who is who in a video: faces keep their index from shot to shot, by their identity codes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from anitalker.config import InputError
from anitalker.faces.crop import crop_face
from anitalker.faces.detection import Face, FaceFinder
from anitalker.models.base import DubbingModel

SAME_PERSON = 0.4  # cosine of identity codes, above which two faces are taken for one person's


class People:
    """The people of a video. The first frame with faces numbers them, the largest first, as `anitalker faces` does;
    who comes later gets the next number."""

    def __init__(self, model: DubbingModel, finder: FaceFinder) -> None:
        self.model, self.finder = model, finder
        self._codes: list[np.ndarray] = []  # identity code of each person

    def chosen(self, frame: np.ndarray, which: str | int, also: Collection[int] = ()) -> list[tuple[int, Face]]:
        """The faces of a frame uint8 [H,W,3] that shall be dubbed, each with its person's index."""
        faces = self.finder.find(frame)
        people = self._numbers(frame, faces) if faces else []
        wanted = {*also, *([int(which)] if str(which).isdigit() else [])}
        largest = 1 if which == "largest" else len(faces) if which == "all" else 0
        return [(p, face) for n, (p, face) in enumerate(zip(people, faces, strict=True)) if n < largest or p in wanted]

    def check_found(self, which: str | int, found: bool) -> None:
        """InputError if no frame of the video had the chosen face."""
        if found:
            return
        if self._codes:
            raise InputError(f"face is {which}, but the video shows people 0 to {len(self._codes) - 1}; choose one")
        raise InputError("video shows no face; give a video with a face that looks at the camera")

    def _numbers(self, frame: np.ndarray, faces: list[Face]) -> list[int]:
        crops = np.stack([crop_face(frame, face).image for face in faces])
        codes = self.model.read_codes(torch.from_numpy(crops))[1].cpu().numpy()
        numbers: list[int] = []
        for code in codes:
            alike = [-1.0 if n in numbers else float(code @ known) for n, known in enumerate(self._codes)]
            best = int(np.argmax(alike)) if alike else -1
            if best < 0 or alike[best] < SAME_PERSON:
                self._codes.append(code)
                best = len(self._codes) - 1
            else:
                mean = self._codes[best] + code  # of all of the person's shots: one frame may look unlike the others
                self._codes[best] = mean / np.linalg.norm(mean)
            numbers.append(best)
        return numbers
