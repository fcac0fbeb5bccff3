"""The faces of a video, shot by shot: where each is, what it shows, and whether its lips can be changed.

Letters: n frames of a track, N = 468 landmarks, M = 20 motion numbers, K = M - 6 of expression.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from anitalker.config import FPS, LANDMARKS, POSE_SIZE
from anitalker.dubbing.people import People
from anitalker.dubbing.references import ROW, ReferenceBank
from anitalker.dubbing.spool import Spool
from anitalker.faces.crop import Crop, crop_face, crop_square
from anitalker.faces.detection import Face
from anitalker.faces.tracking import SCENE_CUT, FaceTracker, thumbnail
from anitalker.models.base import DubbingModel, ProgressCallback

BATCH_SIZE, MAX_WAITING = 8, 64  # crops read at once; frames kept until then
SEARCH_INTERVAL = 12  # frames between two searches of a picture in which nobody is followed
MAX_YAW, MAX_PITCH = 45.0, 35.0  # degrees: of a head that is turned farther, the filmed lips stay
CONFIRM_SECONDS = 0.12  # from one confirmation of a face by the detector to the next
CODE_SECONDS = 0.08  # from one reading of motion codes to the next: lips, which change quickly, are speech's
COPIED_ROWS = 256  # at once, where tracks are joined
PLACE = 3  # numbers of a row before the landmarks


@dataclass
class Track:
    """One face through one shot: n frames from frame number `first` of the video on.

    person: its index in the video; rows: what `read` returns; bank: frames that show its mouth; begins_shot: whether
    a cut is before it; seen, turned, covered, coded (one byte a frame): whether the face is seen, looks too far away,
    has something before its mouth, and whether its motion code was read, in which case the row has its expression.
    """

    person: int
    first: int
    rows: Spool
    bank: ReferenceBank
    begins_shot: bool = True
    seen: bytearray = field(default_factory=bytearray)
    turned: bytearray = field(default_factory=bytearray)
    covered: bytearray = field(default_factory=bytearray)
    coded: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Its frames start ... stop - 1, counted from its first one: place [n,3] of the crop (x, y, side in pixels),
        landmarks [n,N,3] in crop widths, expression [n,K]; zeros where the face is not seen, or not coded."""
        place, landmarks, expression = np.split(self.rows[start:stop], [PLACE, PLACE + 3 * LANDMARKS], 1)
        return place, landmarks.reshape(-1, LANDMARKS, 3), expression

    def append(self, following: Track) -> None:
        """Take in the track that goes on where this one ends."""
        for start in range(0, len(following), COPIED_ROWS):
            for row in following.rows[start : start + COPIED_ROWS]:
                self.rows.append(row)
        for name in ("seen", "turned", "covered", "coded"):
            getattr(self, name).extend(getattr(following, name))
        self.bank.take(following.bank)

    def free(self) -> np.ndarray:
        """Whether the lips of each frame can be changed: bool [n]."""
        seen, turned, covered = (np.frombuffer(bytes(flags), bool) for flags in (self.seen, self.turned, self.covered))
        return seen & ~turned & ~covered


def find_tracks(
    model: DubbingModel,
    people: People,
    frames: Iterable[np.ndarray],
    which: str | int = "largest",
    also: Collection[int] = (),
    needed: np.ndarray | None = None,
    fps: float = FPS,
    progress: ProgressCallback | None = None,
) -> list[Track]:
    """Follow the chosen faces through frames uint8 [H,W,3].

    which: `largest` or `all` of each shot, or the index of a person (see `People`); also: further persons. needed: bool
    [total], frames that matter; others are not looked at. fps: of the video. No tracks where no frame has such a face.
    """
    tracks: list[Track] = []
    patches = Spool(ROW, np.uint8)
    confirm_every = max(1, round(CONFIRM_SECONDS * fps))
    with _Reader(model, max(1, round(CODE_SECONDS * fps))) as reader:
        before: np.ndarray | None = None
        followed: list[tuple[Track, FaceTracker]] = []
        waited, cut = 0, True
        for number, frame in enumerate(frames):
            now = thumbnail(frame)
            changed = before is None or bool(np.abs(now - before).mean() > SCENE_CUT)
            if changed:
                followed, waited = [], 0
            before, cut = now, changed
            if needed is not None and not needed[number]:
                followed, waited = [], 0
                continue
            if not followed:
                if waited % SEARCH_INTERVAL == 0:
                    width = PLACE + 3 * LANDMARKS + model.space.config.expression_size
                    for person, face in people.chosen(frame, which, also):
                        track = Track(person, number, Spool(width), ReferenceBank(patches), cut)
                        tracks.append(track)
                        followed.append((track, FaceTracker(people.finder, face, False, confirm_every)))
                waited += 1
            for track, tracker in followed:
                reader.add(track, tracker(frame), frame)
            if progress:
                total = number + 1 if needed is None else len(needed)
                progress("faces", number + 1, max(total, number + 1))
    return tracks


class _Reader:
    """Reads codes of crops, batch by batch, on a thread of its own, and appends the rows of the tracks in order.

    every: frames from one code to the next.
    """

    def __init__(self, model: DubbingModel, every: int) -> None:
        self.model, self.every = model, every
        self._waiting: list[tuple[Track, np.ndarray, Crop | None]] = []
        self._pool = ThreadPoolExecutor(1, "codes")
        self._running: Future | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._start()
                self._join()
        finally:
            self._pool.shutdown()

    def add(self, track: Track, face: Face, frame: np.ndarray) -> None:
        """One more frame of a track; face: of score 0 where it is not seen."""
        seen = face.score > 0
        track.seen.append(seen)
        track.turned.append(seen and (abs(face.yaw) > MAX_YAW or abs(face.pitch) > MAX_PITCH))
        coded = seen and (self.every == 1 or not any(track.coded[1 - self.every :]))
        track.coded.append(coded)
        row = np.zeros(track.rows.width, np.float32)
        crop = None
        if seen:
            place, landmarks = crop_square(face)
            row[:PLACE], row[PLACE : PLACE + 3 * LANDMARKS] = place, landmarks.reshape(-1)
            crop = crop_face(frame, face) if coded else None
        self._waiting.append((track, row, crop))
        if sum(crop is not None for _, _, crop in self._waiting) >= BATCH_SIZE or len(self._waiting) >= MAX_WAITING:
            self._start()

    def _start(self) -> None:
        self._join()
        self._running, self._waiting = self._pool.submit(self._read, self._waiting), []

    def _join(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None

    def _read(self, batch: list[tuple[Track, np.ndarray, Crop | None]]) -> None:
        crops = [crop for _, _, crop in batch if crop is not None]
        codes: Iterator[tuple[np.ndarray, bool]] = iter(())
        if crops:
            motions, covers = self.model.read_mouths(torch.from_numpy(np.stack([crop.image for crop in crops])))
            codes = zip(motions.cpu().numpy(), covers.tolist(), strict=True)
        for track, row, crop in batch:
            covered = bool(track.covered and track.covered[-1] and row.any())  # until the next code tells
            if crop is not None:
                motion, covered = next(codes)
                row[PLACE + 3 * LANDMARKS :] = motion[POSE_SIZE:]
                if not covered:
                    track.bank.add(crop.image, crop.landmarks, motion)
            track.covered.append(covered)
            track.rows.append(row)
