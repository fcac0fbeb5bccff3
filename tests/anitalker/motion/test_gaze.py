"""A course of gaze: at the camera in speech, aside at pauses, as options and tables say, in pieces as a whole."""

import itertools
import math

import pytest
import torch

from anitalker.config import FPS, InputError, RenderOptions
from anitalker.motion.gaze import GLANCE_DEGREES, GazeCourse, idle_gaze, resting_gaze, with_timeline

MELS = 4


def speech(spans, frames):
    """Features [1,T,5] of speech in spans of frames, silence elsewhere."""
    features = torch.full((1, frames, MELS + 1), -3.0)
    for first, last in spans:
        features[:, first:last] = 0.5
    return features


TALK = speech([(0, 80), (110, 200), (230, 320), (350, 400)], 420)


def angles(course, features):
    return torch.rad2deg(course(features, 0)[0, :, :2])


def test_the_camera_and_a_direction_are_kept():
    for gaze, wanted in (("camera", (0, 0)), ("10,-5", (10, -5)), (" -7.5 , 3 ", (-7.5, 3))):
        options = RenderOptions(gaze=gaze)
        path = angles(GazeCourse(options, MELS, 0), TALK)
        torch.testing.assert_close(path, torch.tensor([wanted], dtype=torch.float32).expand(len(path), -1))
        assert resting_gaze(options)[0, 0] == pytest.approx(math.radians(wanted[0]))
    assert resting_gaze(RenderOptions(gaze="portrait")).shape == (1, 0)


def test_eyes_turn_aside_at_pauses_and_come_back_with_speech():
    glances = 0
    for seed in range(12):
        path = angles(GazeCourse(RenderOptions(), MELS, seed), TALK).norm(dim=1)
        talking = torch.cat([path[:80], path[116:200], path[236:320], path[356:400]])
        assert talking.max() < 3
        glances += sum(float(path[a:b].max()) > GLANCE_DEGREES[0][0] for a, b in ((80, 110), (200, 230), (320, 350)))
        assert path.max() < 12
    assert 12 <= glances <= 30  # of 36 pauses


def test_a_saccade_takes_two_frames():
    path = angles(GazeCourse(RenderOptions(), MELS, 3), TALK)
    moving = path.diff(dim=0).norm(dim=1) > 0
    assert max(len(list(run)) for is_moving, run in itertools.groupby(moving.tolist()) if is_moving) <= 4
    assert moving.float().mean() < 0.2


def test_pieces_give_what_the_whole_gives_and_a_seed_decides():
    whole = GazeCourse(RenderOptions(), MELS, 5)(TALK, 0)
    pieces = GazeCourse(RenderOptions(), MELS, 5)
    bounds = [0, 1, 2, 50, 51, 200, 420]
    parts = [pieces(TALK[:, a:b], a) for a, b in itertools.pairwise(bounds)]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert not torch.equal(GazeCourse(RenderOptions(), MELS, 6)(TALK, 0), whole)


def test_it_begins_with_the_portraits_own_gaze():
    share = GazeCourse(RenderOptions(gaze="20,0"), MELS, 0)(TALK, 0)[0, :, 2]
    assert share[0] == 0 and (share[10:] == 1).all() and (share.diff() >= 0).all()


def test_idle_eyes_move_now_and_then_and_loops_close():
    path = torch.rad2deg(idle_gaze(RenderOptions(), 20 * FPS, 1, False)[:, :2])
    assert 3 < path.norm(dim=1).max() < 12 and path.norm(dim=1).median() < 3
    loop = idle_gaze(RenderOptions(), 100, 1, True)
    assert torch.equal(loop, loop[:1].expand(100, -1)) and loop[0, 2] == 1
    assert idle_gaze(RenderOptions(gaze="portrait"), 100, 1, False).shape == (100, 0)


def test_a_table_decides_where_it_has_a_gaze(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("seconds,smile,gaze_x\n0,0,0\n1,.5,12\n", "utf-8")
    gaze = with_timeline(torch.zeros(50, 0), RenderOptions(timeline=str(file)), 50)
    assert gaze.shape == (50, 3) and float(torch.rad2deg(gaze[40, 0])) == pytest.approx(12) and not gaze[:, 1].any()
    file.write_text("seconds,smile\n0,0\n", "utf-8")
    kept = torch.ones(50, 3)
    assert with_timeline(kept, RenderOptions(timeline=str(file)), 50) is kept
    file.write_text("seconds,gaze_y\n0,25\n", "utf-8")
    with pytest.raises(InputError, match="gaze_y is '25'; allowed is -20 to 20"):
        with_timeline(kept, RenderOptions(timeline=str(file)), 50)


@pytest.mark.parametrize(
    ("gaze", "words"),
    [
        ("away", "gaze is 'away'; allowed are natural, camera, portrait, or X,Y in degrees"),
        ("", "gaze is ''"),
        ("5", "gaze is '5'"),
        ("5,", "gaze has the angle ''; give a number such as 10,-5"),
        ("1,2,3", "gaze has the angle '2,3'"),
        ("31,0", "gaze_x is 31.0; allowed is -30.0 to 30.0 degrees"),
        ("0,-21", "gaze_y is -21.0; allowed is -20.0 to 20.0 degrees"),
        ("nan,0", "gaze_x is nan"),
    ],
)
def test_other_values_are_refused_in_a_line(gaze, words):
    with pytest.raises(InputError) as error:
        RenderOptions(gaze=gaze)
    assert words in str(error.value) and "\n" not in str(error.value)
