"""A driving video: find its face, read its motion, and turn that into the motion of portraits.

Letters: T frames, M motion numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, InputError
from anitalker.faces.detection import FaceFinder, select_faces
from anitalker.media.portrait_file import search_video
from anitalker.media.video import probe, read_frames
from anitalker.models.base import Model, PathLike, PreparedFace, ProgressCallback
from anitalker.motion.driving_video import DrivingMotion, lost_frames_warning, read_codes
from anitalker.motion.following_crop import follow_face
from anitalker.motion.prior import MotionPrior

WHAT = "driving video"
MAX_DEVIATION = 6.0  # of a frame's motion, in the prior's spreads; 99% of the frames of val's clips are within 5
MORE_THAN_PORTRAIT = 3.0  # spreads that motion may be less usual than the portrait's own code, if that is unusual
EASING = np.hanning(13)[1:-1] / np.hanning(13).sum()  # weights of the frames over which motion is eased
log = logging.getLogger(__name__)


def read_motion(
    model: Model,
    finder: FaceFinder,
    clip: PathLike,
    which: str | int = "largest",
    progress: ProgressCallback | None = None,
) -> DrivingMotion:
    """Read the motion of one face of a video. The crop follows it; frames that do not show it are marked.

    which: largest, or an index in the order of `anitalker faces VIDEO`. InputError if no frame shows such a face.
    """
    if which == "all":
        raise InputError("driver-face is all; allowed are largest, or an index from `anitalker faces VIDEO`")
    total = round((probe(clip, WHAT).seconds or 0) * FPS)
    enough = int(which) + 1 if str(which).isdigit() else 1
    faces = search_video(clip, finder, WHAT, enough)[2]
    face = select_faces(faces, which, f"the {WHAT} {str(clip)!r}")[0]
    frames = follow_face(read_frames(clip, what=WHAT), finder, face, model.crop)
    return read_codes(model.read_codes, frames, total, progress, model.driving_filter)


def motions_of(
    model: Model, drive: DrivingMotion, faces: Iterable[PreparedFace], relative: bool = True
) -> list[Tensor]:
    """The motion [T,M] of each face of a portrait, as a driving video shows it.

    relative: the head's pose relative to the portrait's own, the expression as it is; else both as they are. Motion
    that the model's prior takes for no face's is eased towards the portrait's own code. Frames without a trustworthy
    face are counted in one warning.
    """
    motions, lost = [], ~drive.seen
    for face in faces:
        motion, eased = _motion_from(model, drive, face.motion[0].cpu().numpy(), relative)
        lost = lost | eased
        motions.append(torch.tensor(motion, device=face.motion.device))
    warn_of_lost_frames(lost)
    return motions


def changes_of(model: Model, drive: DrivingMotion) -> np.ndarray:
    """What a driving video changes in a face that is filmed already, [T,M]: the pose as it differs from the first face
    of its shot, and the expression as it is. Motion that the model's prior takes for no face's is eased towards rest.
    """
    size = len(model.usual_pose[0])
    rest = drive.motion[drive.seen][0].copy()
    rest[size:] = 0
    motion, eased = _motion_from(model, drive, rest)
    warn_of_lost_frames(~drive.seen | eased)
    motion[:, :size] -= rest[:size]
    return motion


def _motion_from(
    model: Model, drive: DrivingMotion, start: np.ndarray, relative: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The motion [T,M] of a face with the code `start` [M], and which frames, bool [T], the prior has eased."""
    motion = drive.relative(start, model.usual_pose) if relative else drive.absolute(start)
    if model.prior is None:
        return motion, np.zeros(len(motion), bool)
    return within_prior(model.prior, motion, start)


def warn_of_lost_frames(lost: np.ndarray) -> None:
    """Log how many frames, bool [T], have no trustworthy face, and when."""
    if sentence := lost_frames_warning(lost):
        log.warning("%s", sentence)


@torch.no_grad()
def within_prior(prior: MotionPrior, motion: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Motion [T,M] drawn towards the code `start` [M] where the prior finds it less usual than MAX_DEVIATION.

    Returns the motion and bool [T]: where less than half of the motion is left.
    """
    own, offset = torch.tensor(start)[None], torch.tensor(motion - start)

    def deviation(share: Tensor) -> Tensor:
        return (prior.middle[0] - prior.log_prob(own + share[:, None] * offset)) / prior.spread[0]

    limit = max(MAX_DEVIATION, float(deviation(torch.zeros(1))[0]) + MORE_THAN_PORTRAIT)
    share = torch.ones(len(offset))
    for step in range(9, -1, -1):
        too_far = deviation(share) > limit
        if not too_far.any():
            break
        share = torch.where(too_far, step / 10, share)
    width = len(EASING) // 2
    padded = np.pad(share.numpy(), 2 * width, "edge")
    lowest = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1).min(1)  # the least share near each frame
    smooth = np.convolve(lowest, EASING, "valid")
    eased = (start + smooth[:, None] * (motion - start)).astype(np.float32)
    return eased, smooth < 0.5
