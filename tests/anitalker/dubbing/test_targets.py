"""Where lips go: the filmed ones with weight 0, speech's below the nose, and weights that ease."""

import numpy as np
import pytest
import torch

from anitalker.dubbing.references import ROW, ReferenceBank
from anitalker.dubbing.spool import Spool
from anitalker.dubbing.targets import FaceTargets, alike, average, eased, lip_weights
from anitalker.dubbing.tracks import Track, find_tracks
from anitalker.faces.landmarks import CHIN, lip_opening


@pytest.fixture(scope="module")
def track(model, people, film) -> Track:
    return find_tracks(model, people(), film([50 + t for t in range(8)]))[0]


@pytest.fixture(scope="module")
def wide(open_mouth) -> torch.Tensor:
    return open_mouth.repeat(8, 1)


def test_weight_zero_keeps_the_filmed_lips(model, track, wide):
    targets = FaceTargets(model, track, 25.0)
    filmed = targets.filmed(0, 8)
    wanted, motion = targets.wanted(filmed, wide, np.zeros(8))
    torch.testing.assert_close(wanted, filmed.landmarks)
    torch.testing.assert_close(motion, filmed.motion)


def test_speech_moves_what_lies_below_the_nose(model, track, wide):
    targets = FaceTargets(model, track, 25.0)
    filmed = targets.filmed(2, 6)
    wanted, _ = targets.wanted(filmed, wide[:4], np.ones(4))
    moved = (wanted - filmed.landmarks)[..., :2].norm(dim=-1)
    above = targets.canonical[:, 1] <= targets.canonical[2, 1]
    assert moved[:, above].max() == 0
    assert (lip_opening(wanted) > lip_opening(filmed.landmarks) + 0.02).all()
    assert (moved[:, CHIN] > 0.004).all()


def test_lips_scale_how_far_they_leave_the_filmed_ones(model, track, wide):
    openings = []
    for factor in (0.0, 0.5, 1.0):
        targets = FaceTargets(model, track, 25.0, factor)
        filmed = targets.filmed(0, 8)
        openings.append(float(lip_opening(targets.wanted(filmed, wide, np.ones(8))[0]).mean()))
    assert openings[0] < openings[1] < openings[2]


@pytest.mark.parametrize(("follow", "face", "head"), [("lips", 0, 0), ("expression", 1, 0), ("all", 1, 1)])
def test_what_is_followed_moves(model, track, follow, face, head):
    brows = torch.zeros(468, 3)
    brows[[70, 63, 105, 66, 107, 300, 293, 334, 296, 336], 1] = -0.1  # raised, in face heights
    change = torch.zeros(8, 20)
    change[:, 0] = 0.2  # radians of yaw
    change[:, 6:] = model.space.directions.T @ brows.flatten()
    targets = FaceTargets(model, track, 25.0, follow=follow)
    filmed = targets.filmed(0, 8)
    wanted, motion = targets.wanted(filmed, change, np.ones(8))
    turn = (motion - filmed.motion)[:, 0]
    torch.testing.assert_close(turn, torch.full((8,), 0.2 * head))
    moved = (wanted - filmed.landmarks)[..., :2].norm(dim=-1)
    assert (moved[:, 105] > 0.002).all() if face else moved[:, 105].max() == 0


def test_a_frame_is_the_same_in_whatever_stretch_it_is_read(model, track):
    targets = FaceTargets(model, track, 25.0)
    whole, part = targets.filmed(0, 8), targets.filmed(3, 5)
    torch.testing.assert_close(part.landmarks, whole.landmarks[3:5], atol=1e-5, rtol=0)
    torch.testing.assert_close(part.neutral, whole.neutral[3:5], atol=1e-5, rtol=0)
    picked = whole[np.array([4, 3, 3])]
    torch.testing.assert_close(picked.landmarks, whole.landmarks[[4, 3, 3]])


def test_averages_leave_out_what_is_not_seen():
    values = torch.tensor([[0.0], [100.0], [0.0], [0.0]])
    seen = torch.tensor([True, False, True, True])
    assert average(values, seen, 2.0, slice(0, 4)).abs().max() == 0
    assert average(values, torch.ones(4, dtype=torch.bool), 1.0, slice(1, 2))[0, 0] > 30


def test_lips_at_rest_are_calmed_and_fast_ones_kept():
    rng = torch.Generator().manual_seed(0)
    lips = torch.zeros(40, 40, 2)
    lips[20:, :, 1] = 0.05  # they open from one frame to the next
    noisy = lips + 0.002 * torch.randn(40, 1, 2, generator=rng)
    whole = slice(0, 40)
    calm = average(noisy, torch.ones(40, dtype=torch.bool), 1.0, whole, alike(noisy, whole))
    assert (calm - lips)[3:17].std() < 0.75 * (noisy - lips)[3:17].std()
    assert (calm - lips).abs().max() < 0.006


def test_weights_ease_inside_a_gap_s_neighbours_and_not_at_the_ends():
    free = np.ones(40, bool)
    free[20:23] = False
    weights = eased(free, 25.0)
    assert weights[0] == weights[-1] == 1
    assert (weights[20:23] == 0).all()
    assert 0 < weights[19] < weights[17] < weights[15] == 1
    assert (np.diff(weights[23:30]) >= 0).all()
    assert eased(np.ones(3, bool), 25.0).tolist() == [1, 1, 1]
    assert eased(np.zeros(3, bool), 25.0).tolist() == [0, 0, 0]


def flagged(count: int, covered: list[int], turned: list[int] = ()) -> Track:
    track = Track(0, 0, Spool(1), ReferenceBank(Spool(ROW, np.uint8)))
    track.seen = bytearray([1] * count)
    track.covered = bytearray(int(n in covered) for n in range(count))
    track.turned = bytearray(int(n in turned) for n in range(count))
    return track


def test_a_hand_before_the_mouth_leaves_it_alone():
    weights = lip_weights(flagged(60, list(range(20, 40))), 25.0)
    assert (weights[20:40] == 0).all()
    assert weights[0] == weights[59] == 1


def test_a_cover_that_is_noticed_now_and_then_counts_throughout():
    weights = lip_weights(flagged(60, list(range(20, 40, 2))), 25.0)
    assert (weights[24:36] == 0).all()


def test_a_head_turned_away_keeps_its_lips():
    weights = lip_weights(flagged(60, [], [30, 31]), 25.0)
    assert (weights[30:32] == 0).all()
    assert 0 < weights[29] < 1
