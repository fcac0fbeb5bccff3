"""Groups of directions: found again when they were mixed on purpose, and scaled without touching the others."""

import pytest
import torch

from anitalker.config import LANDMARKS, POSE_SIZE, InputError, RenderOptions
from anitalker.faces.landmarks import LIPS
from anitalker.motion.subspaces import LID_POINTS, fit_subspaces, scale_motion

PURE = {"lips": sorted(set(LIPS)), "eyes": list(LID_POINTS)}


@pytest.fixture
def mixed():
    """Two directions of lips and two of lids, mixed by a turn, of different spread: directions [3N,4], std [10]."""
    torch.manual_seed(0)
    shape = torch.zeros(LANDMARKS, 3, 4)
    shape[PURE["lips"], :2, :2] = torch.randn(len(PURE["lips"]), 2, 2)
    shape[PURE["eyes"], :2, 2:] = torch.randn(len(PURE["eyes"]), 2, 2)
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    return shape.flatten(0, 1) @ turn, torch.tensor([1.0] * POSE_SIZE + [0.2, 0.1, 0.05, 0.3])


@pytest.fixture
def motion():
    torch.manual_seed(1)
    return torch.randn(12, POSE_SIZE + 4) * 0.1


def moved(directions, motion, points):
    shape = (motion[:, POSE_SIZE:] @ directions.T).unflatten(-1, (LANDMARKS, 3))
    return shape[:, points, :2]


def test_mixed_directions_are_told_apart(mixed):
    subspaces = fit_subspaces(*mixed)
    assert subspaces.purity.tolist() == pytest.approx([0, 0, 1, 1], abs=1e-6)
    assert torch.allclose(subspaces.pose + subspaces.lips + subspaces.eyes, torch.eye(POSE_SIZE + 4), atol=1e-5)


@pytest.mark.parametrize(("option", "still", "alive"), [("lips", "lips", "eyes"), ("blink", "eyes", "lips")])
def test_a_group_at_zero_holds_its_points_and_leaves_the_others(mixed, motion, option, still, alive):
    directions, _ = mixed
    scaled = scale_motion(motion, motion[:1], fit_subspaces(*mixed), RenderOptions(**{option: 0.0}))
    before, after = (moved(directions, codes, PURE[still]) for codes in (motion, scaled))
    assert (after - after[:1]).abs().max() < 1e-5 < 1e-2 < (before - before[:1]).abs().max()
    assert torch.allclose(*(moved(directions, codes, PURE[alive]) for codes in (motion, scaled)), atol=1e-5)
    assert torch.equal(scaled[:, :POSE_SIZE], motion[:, :POSE_SIZE])


def test_factors_scale_the_way_from_the_portrait(mixed, motion):
    subspaces = fit_subspaces(*mixed)
    scaled = scale_motion(motion, motion[:1], subspaces, RenderOptions(lips=1.5, head=0.5, blink=1.5))
    assert torch.allclose(scaled[:, :POSE_SIZE] - motion[:1, :POSE_SIZE], 0.5 * (motion - motion[:1])[:, :POSE_SIZE])
    assert torch.allclose(scaled - motion[:1], (motion - motion[:1]) * torch.tensor([0.5] * 6 + [1.5] * 4), atol=1e-5)
    assert torch.equal(scale_motion(motion, motion[:1], subspaces, RenderOptions()), motion)


def test_what_is_asked_for_by_name_stays(mixed, motion):
    scaled = scale_motion(motion, motion[:1], fit_subspaces(*mixed), RenderOptions(head=0.0, yaw=5.0, scale=1.1))
    assert torch.equal(scaled[:, [0, 5]], motion[:, [0, 5]])
    assert torch.allclose(scaled[:, 1:5], motion[:1, 1:5].expand(12, -1))


@pytest.mark.parametrize("name", ["lips", "head", "blink"])
def test_range_is_told(name):
    with pytest.raises(InputError, match=f"{name} is 2.5; allowed is 0 to 2"):
        RenderOptions(**{name: 2.5})


def test_the_pipeline_obeys(talker, picture, clicks):
    portrait = talker.portrait(picture)
    (free,) = talker.motion(portrait, clicks, RenderOptions(gaze="portrait"))
    (held,) = talker.motion(portrait, clicks, RenderOptions(gaze="portrait", lips=0, head=0, blink=0))
    start = portrait.faces[0].motion
    assert (free - start).abs().max() > 1e-3
    assert torch.allclose(held, start.expand_as(held), atol=1e-5)


@pytest.mark.slow
def test_shipped_model_holds_lips_and_head_still(root):
    """On drawn codes of the demo: what remains of the movement of the mouth's opening and of the head."""
    from anitalker.faces.landmarks import eye_opening, lip_opening
    from anitalker.pipeline import load

    talker = load("lite", "cpu")
    portrait = talker.portrait(root / "app/examples/portrait.webp")
    (face,), space = portrait.faces, talker.model.space

    def spread(options):
        (motion,) = talker.motion(portrait, root / "app/examples/speech.flac", options)
        count = len(motion)
        points = space.landmarks(face.landmarks.expand(count, -1, -1), face.motion.expand(count, -1), motion)
        return lip_opening(points).std(), eye_opening(points).std(), motion[:, :POSE_SIZE].std(0)

    lips, eyes, head = spread(RenderOptions())
    still_lips, same_eyes, same_head = spread(RenderOptions(lips=0))
    assert still_lips < 0.1 * lips and 0.7 * eyes < same_eyes < 1.3 * eyes and torch.allclose(same_head, head)
    assert spread(RenderOptions(head=0))[2].max() < 1e-6
    wide_awake = spread(RenderOptions(blink=0))
    assert wide_awake[1] < 0.25 * eyes and 0.8 * lips < wide_awake[0] < 1.2 * lips
