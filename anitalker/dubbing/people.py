"""Who is who in a video: faces keep their index from shot to shot, by what the identity verifier sees of them."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from anitalker.config import InputError
from anitalker.faces.crop import crop_face
from anitalker.faces.detection import Face, FaceFinder

SAME_PERSON = 0.45  # cosine of embeddings, above which two faces are taken for one person's
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]  # crops [B,256,256,3], landmarks [B,468,3] -> [B,D]


class People:
    """The people of a video. The first frame with faces numbers them, the largest first, as `anitalker faces` does;
    who comes later gets the next number."""

    def __init__(self, finder: FaceFinder, load_verifier: Callable[[], Embed]) -> None:
        self.finder, self._load_verifier = finder, load_verifier
        self._known: list[np.ndarray] = []  # embedding of each person

    def chosen(self, frame: np.ndarray, which: str | int, also: Collection[int] = ()) -> list[tuple[int, Face]]:
        """The faces of a frame uint8 [H,W,3] that shall be dubbed, each with its person's index."""
        faces = self.finder.find(frame)
        people = self._numbers(frame, faces) if faces else []
        wanted = {*also, *([int(which)] if str(which).isdigit() else [])}
        largest = 1 if which == "largest" else len(faces) if which == "all" else 0
        return [(p, face) for n, (p, face) in enumerate(zip(people, faces, strict=True)) if n < largest or p in wanted]

    def fresh(self) -> People:
        """People of the same video of whom nobody is known yet."""
        return People(self.finder, self._load_verifier)

    def join(self, others: People) -> list[int]:
        """Take in the people of another stretch of the video; returns their numbers here."""
        return self._recognise(np.array(others._known))

    def embedding(self, person: int) -> np.ndarray:
        """What the verifier sees of a person, of unit length, [D]."""
        return self._known[person]

    def check_found(self, which: str | int, found: bool) -> None:
        """InputError if no frame of the video had the chosen face."""
        if found:
            return
        if self._known:
            raise InputError(f"face is {which}, but the video shows people 0 to {len(self._known) - 1}; choose one")
        raise InputError("video shows no face; give a video with a face that looks at the camera")

    def _numbers(self, frame: np.ndarray, faces: list[Face]) -> list[int]:
        crops = [crop_face(frame, face) for face in faces]
        pictures, landmarks = (np.stack([getattr(crop, name) for crop in crops]) for name in ("image", "landmarks"))
        return self._recognise(self._load_verifier()(pictures, landmarks))

    def _recognise(self, embeddings: np.ndarray) -> list[int]:
        """The numbers of different people, by their embeddings [n,D]; new ones for those who are not known."""
        numbers: list[int] = []
        for seen in embeddings:
            alike = [-1.0 if n in numbers else float(seen @ known) for n, known in enumerate(self._known)]
            best = int(np.argmax(alike)) if alike else -1
            if best < 0 or alike[best] < SAME_PERSON:
                self._known.append(seen)
                best = len(self._known) - 1
            else:
                mean = self._known[best] + seen  # of all of the person's shots: one frame may look unlike the others
                self._known[best] = mean / np.linalg.norm(mean)
            numbers.append(best)
        return numbers
