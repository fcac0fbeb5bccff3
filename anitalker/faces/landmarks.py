"""The 468 points of the face mesh: groups, rigid fit, openings, temporal smoothing, contour maps.

Letters: B frames, N = 468 points. Landmarks are [B,N,3] in crop widths, x to the right, y down, z in the same unit
(relative, negative towards the camera). A canonical shape has its origin between the eyes' stable points and a face
height (forehead 10 to chin 152 of the mean face) of 1, and it looks straight ahead. A pose is [B,6]: yaw, pitch, roll
in radians, x and y in crop widths from the picture's middle, log of the face height in crop widths: point = exp(log
scale) * Rz(roll) Ry(yaw) Rx(pitch) * shape + (x + 1/2, y + 1/2, 0).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
LIPS = OUTER_LIPS + INNER_LIPS
EYES = RIGHT_EYE + LEFT_EYE
FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
FACE_OVAL += (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE = (1, 2, 4, 5, 6, 19, 45, 48, 64, 94, 97, 98, 115, 168, 195, 197, 220, 275, 278, 294, 326, 327, 344, 440)
# Nose bridge, temples, forehead and eye corners: neither speech nor expression moves them. The jaw is not among them.
STABLE = (168, 6, 197, 195, 33, 133, 362, 263, 127, 356, 162, 389, 21, 251, 54, 284, 103, 332, 10, 234, 454)
# Pairs of an upper and a lower point, which coincide when lips or eyelids close.
LIP_PAIRS = ((13, 14), (82, 87), (81, 178), (80, 88), (191, 95), (312, 317), (311, 402), (310, 318), (415, 324))
RIGHT_LID_PAIRS = ((246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155))
LEFT_LID_PAIRS = ((466, 249), (388, 390), (387, 373), (386, 374), (385, 380), (384, 381), (398, 382))
FOREHEAD, CHIN = 10, 152


def _distance(landmarks, a: int, b: int):
    difference = landmarks[..., a, :2] - landmarks[..., b, :2]
    return (difference**2).sum(-1) ** 0.5


def face_height(landmarks):
    """Distance from forehead to chin in the picture plane; tensor or array [...,N,>=2] -> [...]."""
    return _distance(landmarks, FOREHEAD, CHIN)


def lip_opening(landmarks):
    """Lip opening in face heights, |13-14| / |10-152|, 0 for closed lips; tensor or array [...,N,>=2] -> [...]."""
    return _distance(landmarks, 13, 14) / face_height(landmarks)


def eye_opening(landmarks):
    """Eye aspect ratio, the lids' mean distance over the eye's width, mean of both eyes; [...,N,>=2] -> [...]."""
    right = (_distance(landmarks, 160, 144) + _distance(landmarks, 158, 153)) / (2 * _distance(landmarks, 33, 133))
    left = (_distance(landmarks, 385, 380) + _distance(landmarks, 387, 373)) / (2 * _distance(landmarks, 362, 263))
    return (right + left) / 2


def rotation(angles: Tensor) -> Tensor:
    """Rotation matrices Rz(roll) Ry(yaw) Rx(pitch) [B,3,3] of angles [B,3] = yaw, pitch, roll in radians."""
    (sy, sp, sr), (cy, cp, cr) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    sy_sp, sy_cp = sy * sp, sy * cp
    first = [cr * cy, cr * sy_sp - sr * cp, cr * sy_cp + sr * sp]
    second = [sr * cy, sr * sy_sp + cr * cp, sr * sy_cp - cr * sp]
    return torch.stack([*first, *second, -sy, cy * sp, cy * cp], -1).unflatten(-1, (3, 3))


def from_canonical(shape: Tensor, pose: Tensor) -> Tensor:
    """Shape [B,N,3] in face heights under pose [B,6] -> landmarks [B,N,3] in crop widths."""
    position = torch.cat([pose[..., 3:5] + 0.5, torch.zeros_like(pose[..., :1])], -1)
    rotated = shape @ rotation(pose[..., :3]).transpose(-1, -2)
    return rotated * pose[..., 5].exp()[..., None, None] + position[..., None, :]


def to_canonical(landmarks: Tensor, pose: Tensor) -> Tensor:
    """The inverse of `from_canonical`: landmarks [B,N,3] under pose [B,6] -> shape [B,N,3] in face heights."""
    position = torch.cat([pose[..., 3:5] + 0.5, torch.zeros_like(pose[..., :1])], -1)
    return ((landmarks - position[..., None, :]) / pose[..., 5].exp()[..., None, None]) @ rotation(pose[..., :3])


def fit_pose(landmarks: Tensor, canonical: Tensor) -> Tensor:
    """Least-squares similarity from a canonical shape [N,3] to landmarks [B,N,3] on the STABLE points -> pose [B,6].

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, eq. 39-42.
    """
    stable = list(STABLE)
    target, source = landmarks[..., stable, :].double(), canonical[stable].double()
    target_mean, source_mean = target.mean(-2, keepdim=True), source.mean(-2, keepdim=True)
    covariance = (target - target_mean).transpose(-1, -2) @ (source - source_mean) / len(stable)  # [B,3,3]
    u, s, vh = torch.linalg.svd(covariance)
    sign = torch.ones_like(s)
    sign[..., 2] = torch.det(u @ vh).sign()
    turn = u @ torch.diag_embed(sign) @ vh
    scale = (s * sign).sum(-1) / ((source - source_mean) ** 2).sum(-1).mean()
    position = target_mean.squeeze(-2) - scale[..., None] * (turn @ source_mean.squeeze(-2)[..., None]).squeeze(-1)
    yaw = torch.asin((-turn[..., 2, 0]).clamp(-1, 1))
    pitch = torch.atan2(turn[..., 2, 1], turn[..., 2, 2])
    roll = torch.atan2(turn[..., 1, 0], turn[..., 0, 0])
    return torch.stack([yaw, pitch, roll, position[..., 0] - 0.5, position[..., 1] - 0.5, scale.log()], -1).float()


def level_depth(landmarks: Tensor, pose: Tensor, canonical: Tensor) -> Tensor:
    """Shift z of landmarks [B,N,3] so that the STABLE points have the mean depth of the canonical shape in that pose.

    The depth of a face mesh has an arbitrary origin, which must not affect x and y when the head turns.
    """
    stable = list(STABLE)
    expected = from_canonical(canonical.expand_as(landmarks), pose)[..., stable, 2].mean(-1)
    shift = (landmarks[..., stable, 2].mean(-1) - expected)[..., None]
    return torch.cat([landmarks[..., :2], landmarks[..., 2:] - shift[..., None]], -1)


def resolve_crossed_pairs(landmarks: Tensor) -> Tensor:
    """Move points of lips and eyelids that have crossed to the middle between them; [B,N,3] -> [B,N,3].

    Order is measured along the line from forehead to chin, so a tilted head is no special case.
    """
    indices = _pair_indices(landmarks.device)
    upper, lower = (landmarks[:, index, :2] for index in indices)
    down = torch.nn.functional.normalize(landmarks[:, CHIN, :2] - landmarks[:, FOREHEAD, :2], dim=-1)[:, None]
    gap = ((lower - upper) * down).sum(-1, keepdim=True)
    step = 0.5 * gap.clamp(max=0) * down  # points upwards where the pair has crossed
    moved = landmarks.clone()
    moved[:, indices[0], :2] = upper + step
    moved[:, indices[1], :2] = lower - step
    return moved


@functools.cache
def _pair_indices(device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices of the upper and of the lower points of lips and eyelids."""
    upper, lower = zip(*LIP_PAIRS, *RIGHT_LID_PAIRS, *LEFT_LID_PAIRS, strict=True)
    with torch.inference_mode(False):  # kept for training too
        return torch.tensor(upper, device=device), torch.tensor(lower, device=device)


class OneEuro:
    """One-Euro filter over time for codes or landmarks of a video: strong smoothing at rest, little lag in fast motion.

    Casiez, Roussel, Vogel, "1 euro filter", CHI 2012, eq. 1-5. cutoff: in Hz at rest; beta: its growth with speed (Hz
    per unit and second).
    """

    def __init__(self, fps: float = 25, cutoff: float = 3.0, beta: float = 8.0) -> None:
        self.fps, self.cutoff, self.beta = fps, cutoff, beta
        self.value: np.ndarray | None = None
        self.speed: np.ndarray | float = 0.0

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """The next frame's value -> its filtered value; any shape, the same for all frames."""
        if self.value is None:
            self.value = value
            return value
        weight = self._weight(1.0)
        self.speed = self.speed + weight * ((value - self.value) * self.fps - self.speed)
        self.value = self.value + self._weight(self.cutoff + self.beta * np.abs(self.speed)) * (value - self.value)
        return self.value

    def _weight(self, cutoff):
        """Weight of the new value in an exponential average with this cutoff in Hz."""
        return 1 / (1 + self.fps / (2 * np.pi * cutoff))


def rasterise(landmarks: Tensor, rings: tuple[tuple[int, ...], ...], size: int) -> Tensor:
    """Contour maps of landmarks [B,N,>=2] in crop widths: coverage [B,len(rings),size,size] in 0..1 inside each ring.

    rings: closed polygons as indices of landmarks. Winding number by rays along each pixel column, with exact coverage
    in y, because lips and eyelids are thin in y. All edges E of all rings are scan-converted at once: where an edge
    crosses a column, the number changes by its sign, shared between two rows; sums down the column give the coverage.
    """
    starts, ends, ring = _edges(rings, landmarks.device)
    points = landmarks[..., :2] * size
    (x0, y0), (x1, y1) = (points[:, index, :, None].unbind(2) for index in (starts, ends))  # [B,E,1]
    column = torch.arange(size, device=landmarks.device)
    centre, run = column + 0.5, x1 - x0
    sign = (x0 <= centre).to(points.dtype) - (x1 <= centre).to(points.dtype)  # [B,E,size], 0 where not crossed
    crossing = (y0 + (centre - x0) * ((y1 - y0) / torch.where(run == 0, 1, run))).clamp(0, size)
    row = crossing.detach().floor()
    below = sign * (crossing - row)  # the share of the change that falls to the next row
    width = (size + 2) * size  # a crossing at the lower border changes two rows that are not seen
    place = (ring[:, None] * width + column + size * row.long()).flatten(1)
    changes = below.new_zeros(len(points), len(rings) * width)
    changes.scatter_add_(1, place, (sign - below).flatten(1)).scatter_add_(1, place + size, below.flatten(1))
    return changes.view(-1, len(rings), size + 2, size)[:, :, :size].cumsum(2).abs().clamp(max=1)


@functools.cache
def _edges(rings: tuple[tuple[int, ...], ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends of each edge of the rings, as indices of landmarks, and the number of its ring: [E] each."""
    starts = [index for ring in rings for index in ring]
    ends = [index for ring in rings for index in (*ring[1:], ring[0])]
    numbers = [number for number, ring in enumerate(rings) for _ in ring]
    with torch.inference_mode(False):  # kept for training too
        return tuple(torch.tensor(indices, device=device) for indices in (starts, ends, numbers))
