"""A video is followed in several stretches at the same time, one per core; tracks that were parted are joined again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from anitalker.dubbing.people import People
from anitalker.dubbing.tracks import Track, find_tracks
from anitalker.faces.face import box_of, iou
from anitalker.models.base import DubbingModel, ProgressCallback

LEAST_SECONDS = 2.0  # of a stretch: shorter ones do not pay
SAME_PLACE = 0.6  # IoU of a face's boxes in neighbouring frames
Read = Callable[[int, int], Generator[np.ndarray, None, None]]  # first frame, the one after the last -> frames


class _Stopped(Exception):
    """Another stretch has failed, or the user has cancelled."""


def follow(
    model: DubbingModel,
    people: People,
    read: Read,
    needed: np.ndarray,
    fps: float,
    which: str | int = "largest",
    also: Collection[int] = (),
    progress: ProgressCallback | None = None,
) -> list[Track]:
    """As `tracks.find_tracks`, of frames 0 ... len(needed) - 1. Whoever is chosen by an index is followed from the
    beginning: who is who is known only then. InputError if no frame has such a face."""
    count = len(needed)
    parts = (
        1 if also or str(which).isdigit() else max(1, min(torch.get_num_threads(), int(count / (LEAST_SECONDS * fps))))
    )
    starts = [round(count * part / parts) for part in range(parts + 1)]
    done, lock, stop = [0] * parts, threading.Lock(), threading.Event()

    def told(part: int) -> ProgressCallback:
        def tell(stage: str, frames: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped
            with lock:
                done[part] = frames
                if progress:
                    progress(stage, min(sum(done), count), count)

        return tell

    def run(part: int) -> tuple[People, list[Track], int]:
        # The frame before the first one tells whether a shot begins there.
        start, stop_at, ahead = starts[part], starts[part + 1], int(part > 0)
        seen = people if parts == 1 else people.fresh()
        wanted = np.concatenate([np.zeros(ahead, bool), needed[start:stop_at]])
        try:
            with contextlib.closing(read(start - ahead, stop_at)) as frames:
                return seen, find_tracks(model, seen, frames, which, also, wanted, fps, told(part)), start - ahead
        except BaseException:
            stop.set()
            raise

    tracks = run(0)[1] if parts == 1 else _join(people, _all(run, parts))
    people.check_found(which, bool(tracks))
    return tracks


def _all(run: Callable[[int], tuple[People, list[Track], int]], parts: int) -> list[tuple[People, list[Track], int]]:
    """The results of all parts; what made one of them fail is raised, not that the others were stopped."""
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(parts, "faces", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            futures = [pool.submit(run, part) for part in range(parts)]
            errors = [error for future in futures if (error := future.exception()) is not None]
        finally:
            torch.set_num_threads(threads)  # a worker's number is also the default of later threads
    if errors:
        raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])
    return [future.result() for future in futures]


def _join(people: People, results: list[tuple[People, list[Track], int]]) -> list[Track]:
    """The tracks of all stretches, in the order of the video, with the numbers of `people`."""
    tracks: list[Track] = []
    for seen, found, offset in results:
        numbers = people.join(seen)
        for track in found:
            track.person, track.first = numbers[track.person], track.first + offset
            ended = [other for other in tracks if other.first + len(other) == track.first and goes_on(other, track)]
            if ended:
                ended[0].append(track)
            else:
                tracks.append(track)
    return tracks


def goes_on(track: Track, following: Track) -> bool:
    """Whether a track that begins where another ends shows the same face in the same shot."""
    if following.begins_shot or track.person != following.person or not (track.seen[-1] and following.seen[0]):
        return False
    boxes = []
    for side, row in ((track, len(track) - 1), (following, 0)):
        place, landmarks, _ = side.read(row, row + 1)
        boxes.append(box_of(landmarks[0] * place[0, 2] + np.append(place[0, :2], 0)))
    return iou(*boxes) > SAME_PLACE
