"""Any videos before the sync judge: their largest face beside their sound, without labels."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import numpy as np

from anitalker.config import InputError
from anitalker.faces.detection import FaceFinder
from anitalker.media.portrait_file import FRAME_STEP
from anitalker.media.video import read_audio, read_frames
from anitalker.models.loading import load_finder
from anitalker.runtime.device import choose_device
from scripts.evaluation.sync_judge import SyncJudge


def judge_videos(files: Sequence[str], device: str = "auto", judge: SyncJudge | None = None) -> dict:
    """Videos of any size and rate -> the report's `sync`: confidence (mean), offset_frames (median), every video's own.

    judge: the shipped one if None. InputError names the file that has no face, no sound, or less than a second of both.
    """
    judge = judge or SyncJudge()
    finder = load_finder("own", choose_device(device))
    videos = {}
    for number, file in enumerate(files, 1):
        videos[file] = judge_video(file, finder, judge)
        print(f"sync {number} of {len(files)}: {file}", file=sys.stderr, flush=True)
    return {
        "confidence": float(np.mean([video["confidence"] for video in videos.values()])),
        "offset_frames": float(np.median([video["offset_frames"] for video in videos.values()])),
        "videos": videos,
        "judge_accuracy": judge.config.get("accuracy", {}),
    }


def judge_video(file: str, finder: FaceFinder, judge: SyncJudge) -> dict[str, float]:
    """One video -> confidence and offset_frames (`sync_judge.verdict`), frames at 25 per second, faces_lost of them."""
    sound = read_audio(file, what="video")
    landmarks, seen = follow_face(file, finder)
    try:
        result = judge(landmarks, sound, seen)
    except InputError as error:
        raise InputError(f"video {file!r} is too short: {error}") from None
    return result | {"frames": len(seen), "faces_lost": int((~seen).sum())}


def follow_face(file: str, finder: FaceFinder) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks [T,468,3] in pixels of the face that is largest when the first appears, at 25 frames per second, and
    bool [T], whether the frame shows it. They are not smoothed: a filter would delay the lips.

    InputError where there is none.
    """
    frames = read_frames(file)
    waiting = 0
    for waiting, frame in enumerate(frames):  # a title may come first
        if waiting % FRAME_STEP == 0 and finder.find(frame):
            break
    else:
        raise InputError(f"video {file!r} shows no face; give one with a face of 20 pixels or more seen from the front")
    faces = list(finder.track(itertools.chain([frame], frames), smooth=False))
    landmarks = np.stack([faces[0].landmarks] * waiting + [face.landmarks for face in faces])
    return landmarks, np.array([False] * waiting + [face.score > 0 for face in faces])
