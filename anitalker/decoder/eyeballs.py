"""Gaze: where a frame's irises belong, from the direction of sight, the head's pose and the portrait's own irises.

Letters: B frames, E = 2 eyes in the order of `eyelids.EYES`, N = 468 landmarks, M motion numbers. Directions of sight
are radians towards the right edge and the top of the picture, as the camera sees them; (0, 0) looks into the camera.

An eye turns about the centre of its ball, which is fixed to the skull. Seen from far away, the iris lies before that
centre where the eye looks into the camera, and ORBIT sin(angle) beside it else, whatever the head does: so a head that
turns about its gaze moves the iris within the lids (the vestibulo-ocular reflex). The balls' centres follow from the
portrait: half of the place is anatomy (BALL, fitted on train), half is what the portrait's own irises say.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import CROP
from anitalker.decoder.eyelids import EYES, eye_axes
from anitalker.decoder.flow import resize
from anitalker.decoder.iris import IrisPlaces
from anitalker.decoder.iris_shift import MAX_SHIFT, Irises, bounded
from anitalker.faces.landmarks import rotation
from anitalker.runtime.smoothstep import smoothstep

# In iris radii (5.85 mm in adults): from the centre of the ball to the plane of the iris; the ball's centre less the
# middle of its corners, inward, downward and backward.
ORBIT = 1.76
BALL = (-0.065, -0.35, 0.83)
# Of the head's pitch, by which the eyeballs seem to turn: in stills the iris follows it by .1 to .3 of its radius a
# radian, yaw by .8. Noise of the pitch explains a part of that; lids and corners go along with the rest.
PITCH_SHARE = 0.4
UP = (1.0, -1.0)  # signs of directions to the right and up, in a picture
# Radians: a portrait that looks so near to the camera is taken to look into it, and beyond not. In stills, where most
# do, the reading spreads by 3.3 degrees across and 2.8 up.
OWN_GAZE = (0.1, 0.22)
LID_SHARES = (0.75, 0.3)  # of an iris' way up or down that the upper and the lower lid go with it
SHUT = (0.25, 0.6)  # of the portrait's opening: lids that shut do not follow the iris
SEEN_PIXELS = (0.15, 0.6)  # of 256, that an iris or a lid has moved: below, the portrait's own eyes stay


@dataclass(frozen=True)
class EyeGeometry:
    """A portrait's eyes. centre [1,E,2], radius [1,E]: see Irises; balls [1,E,3]: centres of the eyeballs less the
    middles of the corners, in face heights, in the head's frame; orbit [1]: of the irises, in face heights; own [1,2]:
    where the portrait looks."""

    centre: Tensor
    radius: Tensor
    balls: Tensor
    orbit: Tensor
    own: Tensor


def eye_geometry(places: IrisPlaces, landmarks: Tensor, pose: Tensor) -> EyeGeometry:
    """Irises of a portrait, its landmarks [1,N,3] in crop widths and pose [1,6] -> its eyes' geometry."""
    seen, usual, orbit = _seen(places, landmarks, pose)
    own = read_gaze(places, landmarks, pose)
    own = own * smoothstep(own.norm(dim=-1, keepdim=True), *OWN_GAZE)
    turn, centre = head_turn(pose), seen - orbit[:, None, None] * own.sin()[:, None] * own.new_tensor(UP)
    # Its depth is known, and its place in the picture: the third number before the turn follows.
    depth = (usual[..., 2] - (centre @ turn[:, :2, 2:]).squeeze(-1)) / turn[:, 2, 2:]
    balls = torch.cat([centre, depth[..., None]], -1) @ turn
    return EyeGeometry(places.centre, places.radius, balls, orbit, own)


def read_gaze(places: IrisPlaces, landmarks: Tensor, pose: Tensor) -> Tensor:
    """Where B faces look, by usual eyeballs: irises, landmarks [B,N,3] in crop widths, pose [B,6] -> [B,2]."""
    seen, usual, orbit = _seen(places, landmarks, pose)
    balls = (usual @ head_turn(pose).mT)[..., :2]
    return ((seen - balls) / orbit[:, None, None]).mean(1).clamp(-0.8, 0.8).asin() * seen.new_tensor(UP)


def head_turn(pose: Tensor) -> Tensor:
    """How eyeballs turn with a head of pose [B,6]: rotation matrices [B,3,3]."""
    return rotation(pose[:, :3] * pose.new_tensor([1.0, PITCH_SHARE, 1.0]))


def _seen(places: IrisPlaces, landmarks: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Irises less the middles of their corners [B,E,2], usual eyeballs [B,E,3] and orbits [B], in face heights."""
    scale, (_, axes) = pose[:, 5].exp(), eye_axes(landmarks[..., :2])
    iris = (places.centre[:, :, None] @ axes).squeeze(2) - axes[:, :, 0] / 2
    radius = (places.radius * axes[:, :, 0].norm(dim=-1)).mean(1) / scale
    usual = radius[:, None, None] * _usual_balls(landmarks)
    return iris / scale[:, None, None], usual, ORBIT * radius


def _usual_balls(like: Tensor) -> Tensor:
    """BALL of both eyes, to the right, down and back: [E,3]."""
    inward, down, back = BALL
    return like.new_tensor([(inward, down, back), (-inward, down, back)])


def look(eyes: EyeGeometry, portrait: Tensor, landmarks: Tensor, pose: Tensor, gaze: Tensor) -> tuple[Tensor, Irises]:
    """Let B frames look somewhere.

    portrait [1,N,3] and landmarks [B,N,3] in crop widths, pose [B,6], gaze [B,3]: to the right and up in radians, and
    the share of the way there from the portrait's own -> landmarks whose lids go with the irises, and irises.
    """
    _, axes = eye_axes(landmarks[..., :2])
    square = axes[:, :, 0].square().sum(-1)
    scale, seen = pose[:, 5].exp()[:, None, None], (eyes.balls @ head_turn(pose).mT)[..., :2]
    beside = eyes.orbit[:, None] * gaze[:, :2].sin() * gaze.new_tensor(UP)
    iris = axes[:, :, 0] / 2 + scale * (seen + beside[:, None])
    place = (axes @ iris[..., None]).squeeze(-1) / square[..., None]
    share, count = gaze[:, 2], len(landmarks)
    descent = bounded(place[..., 1] - eyes.centre[..., 1], MAX_SHIFT[1]) * share[:, None]  # in eye widths
    lids, profile = _lid_points(landmarks.device)
    opening = _opening(landmarks) / _opening(portrait).clamp(min=1e-4)
    descent = descent * smoothstep(opening, *SHUT)
    shares = descent.new_tensor(LID_SHARES)
    moved = descent[..., None, None] * shares[:, None] * profile  # [B,E,2,K]
    landmarks = landmarks.clone()
    landmarks[:, lids.flatten(), :2] += (moved[..., None] * axes[:, :, 1, None, None]).flatten(1, 3)
    widening = descent * (shares[1] - shares[0])
    centre, radius = eyes.centre.expand(count, -1, -1), eyes.radius.expand(count, -1)
    return landmarks, Irises(centre, radius, place, share, widening)


def moved_eyes(irises: Irises, portrait: Tensor, contours: Tensor) -> Tensor:
    """Where irises of B frames are seen to have moved: portrait landmarks [B,N,>=2], contour maps of the frames' eyes
    [B,E,n,n] -> [B,1,256,256] in 0..1."""
    width = eye_axes(portrait[..., :2])[1][:, :, 0].norm(dim=-1)
    shift = (irises.place - irises.centre).norm(dim=-1) * irises.share[:, None]
    seen = smoothstep(shift * width * CROP, *SEEN_PIXELS)
    shown = (contours * seen[..., None, None]).amax(1, keepdim=True)
    # Narrow eyes do not fill the cells of a coarse grid.
    return resize((2 * F.max_pool2d(shown, 3, 1, 1)).clamp(max=1), (CROP, CROP))


def _opening(landmarks: Tensor) -> Tensor:
    """Mean distance of the lids [...,N,3] -> [...,E], in crop widths."""
    lids, _ = _lid_points(landmarks.device)
    upper, lower = (landmarks[..., lids[:, side], :2] for side in (0, 1))
    return (lower - upper).norm(dim=-1).mean(-1)


@functools.cache
def _lid_points(device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices of the lids between the corners [E,2,K], and how far each goes with the middle of its lid [K]."""
    with torch.inference_mode(False):  # kept for training too
        lids = torch.tensor([eye[2:] for eye in EYES], device=device)
        along = (torch.arange(lids.shape[-1], device=device) + 1) / (lids.shape[-1] + 1)
        return lids, (4 * along * (1 - along)) ** 0.7
