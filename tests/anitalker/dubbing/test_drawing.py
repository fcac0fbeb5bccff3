"""A frame with other lips: its own pixels elsewhere, the flow inside the region, a mouth laid over it."""

import numpy as np
import pytest
import torch

from anitalker.config import POSE_SIZE
from anitalker.dubbing.drawing import GRID, MovedFace, compose, draw_face, region
from anitalker.dubbing.dubbed_frames import encode
from anitalker.dubbing.tracks import find_tracks
from anitalker.faces.landmarks import CHIN, LIPS


@pytest.fixture(scope="module")
def scene(model, people, film):
    """A frame, its face as it is and with a mouth that opens by a tenth of the face height, and its references."""
    frame = film([70])[0]
    track = find_tracks(model, people(), [frame])[0]
    place, landmarks, expression = track.read(0, 1)
    filmed = torch.from_numpy(landmarks.copy())
    wanted = filmed.clone()
    below = [i for i in range(468) if filmed[0, i, 1] > filmed[0, 13, 1] + 1e-3]
    wanted[0, below, 1] += 0.05
    motion = torch.cat([torch.zeros(1, POSE_SIZE), torch.from_numpy(expression.copy())], 1)
    x, y, side = (int(v) for v in place[0])
    return frame, MovedFace(filmed, wanted, motion, (x, y, side), encode(model, track.bank.references()))


def test_regions_grow_with_what_is_followed(scene):
    _, face = scene
    lips, expression, everything = (region(face.filmed[0], face.wanted[0], f) for f in ("lips", "expression", "all"))
    torch.testing.assert_close(lips, region(face.filmed[0], face.wanted[0]))

    def at(share, landmark):
        x, y = (face.filmed[0, landmark, :2] * GRID).long().tolist()
        return float(share[y, x])

    brow = 105
    assert at(lips, brow) == 0 < at(expression, brow) == at(everything, brow) == 1
    assert at(expression, CHIN) > 0.9
    above = int(float(face.filmed[0, 10, 1]) * GRID) - 2  # of the forehead: hair
    assert expression[:above].max() == 0 < everything[above, GRID // 2]
    border = torch.cat([everything[0], everything[-1], everything[:, 0], everything[:, -1]])
    assert border.max() < 0.05


def test_pixels_above_the_nose_are_the_frame_s_own(model, scene):
    frame, face = scene
    out = draw_face(model, frame, face)
    x, y, side = face.place
    nose = int(y + float(face.filmed[0, 2, 1]) * side)
    np.testing.assert_array_equal(out[: nose - 1], frame[: nose - 1])
    lips = (face.filmed[0, list(LIPS), :2] * side).numpy() + np.array([x, y])
    (left, top), (right, bottom) = lips.min(0).astype(int), lips.max(0).astype(int)
    assert np.abs(out[top:bottom, left:right].astype(int) - frame[top:bottom, left:right]).mean() > 3
    assert out.dtype == np.uint8
    assert out is not frame


def test_what_is_far_to_the_side_or_below_stays(model, scene):
    frame, face = scene
    x, y, side = face.place
    share = region(face.filmed[0], face.wanted[0]).numpy()
    assert share[0].max() == share[:, 0].max() == share[:, -1].max() == 0
    changed = (draw_face(model, frame, face) != frame).any(-1)
    rows, columns = np.nonzero(changed)
    reach = share > 0
    inside = reach[
        np.clip(((rows + 0.5 - y) * GRID / side).astype(int)[:, None] + np.array([-1, 0, 1]), 0, GRID - 1)[:, :, None],
        np.clip(((columns + 0.5 - x) * GRID / side).astype(int)[:, None] + np.array([-1, 0, 1]), 0, GRID - 1)[:, None],
    ].any((1, 2))
    assert inside.all()


def test_the_region_follows_the_chin(scene):
    _, face = scene
    still, open_mouth = region(face.filmed[0], face.filmed[0]), region(face.filmed[0], face.wanted[0])
    rows = (torch.arange(GRID) + 0.5) / GRID
    column = int(float(face.filmed[0, CHIN, 0]) * GRID)
    chin = float(face.wanted[0, CHIN, 1])
    assert open_mouth[rows < chin, column][-1] > 0.99
    assert open_mouth[-1, column] > still[-1, column] + 0.2


def test_lips_that_stay_change_nothing(model, scene):
    frame, face = scene
    still = MovedFace(face.filmed, face.filmed, face.motion, face.place, face.references)
    np.testing.assert_array_equal(draw_face(model, frame, still), frame)


def test_without_references_the_flow_alone_moves(model, scene):
    frame, face = scene
    bare = draw_face(model, frame, MovedFace(face.filmed, face.wanted, face.motion, face.place, None))
    drawn = draw_face(model, frame, face)
    assert (bare != frame).any()
    assert (bare != drawn).any()


def test_a_constant_field_shifts_by_whole_pixels():
    frame = np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)
    field = np.zeros((GRID, GRID, 2), np.float32)
    field[..., 0] = 4 / 64
    out = compose(frame, field, np.ones((GRID, GRID), np.float32), None, (10, 8, 64))
    np.testing.assert_array_equal(out[8:72, 10:74], frame[8:72, 14:78])
    np.testing.assert_array_equal(out[:8], frame[:8])


@pytest.mark.parametrize("place", [(-60, 10, 128), (300, 150, 128), (40, -100, 128), (400, 400, 64)])
def test_a_face_at_the_frame_s_edge(model, scene, place):
    frame, face = scene
    out = draw_face(model, frame, MovedFace(face.filmed, face.wanted, face.motion, place, face.references))
    assert out.shape == frame.shape
