"""The regression from speech alone, and its weight in the lips."""

import torch

from anitalker.config import POSE_SIZE
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.lip_policy import LIP_GAIN
from anitalker.motion.lip_regressor import LipRegressor
from anitalker.motion.windows import SamplingParams, generate_motion
from anitalker.network_config import GeneratorConfig


def test_speech_alone_moves_no_head():
    motion = LipRegressor(11, 20, 32).eval()(torch.randn(2, 9, 11))
    assert motion.shape == (2, 9, 20)
    assert not motion[..., :POSE_SIZE].any()
    assert motion[..., POSE_SIZE:].std() > 0


def test_any_length_and_each_clip_by_itself():
    torch.manual_seed(0)
    network = LipRegressor(11, 20, 32).eval()
    speech = torch.randn(2, 40, 11)
    both = network(speech)
    torch.testing.assert_close(both[1:], network(speech[1:]))
    assert network(speech[:, :1]).shape == (1 + 1, 1, 20)


def test_lips_follow_the_regression():
    """With temperature 0 the spoken part is the regressor's estimate, widened about the neutral face."""
    torch.manual_seed(0)
    config = GeneratorConfig(
        speech_size=11, width=32, layers=1, heads=2, speech_layers=1, lips_width=16,
        motion_mean=(0.0,) * 20, motion_std=(1.0,) * 20,
    )  # fmt: skip
    network = MotionGenerator(config).eval()
    network.spoken[POSE_SIZE:, POSE_SIZE:] = torch.eye(20 - POSE_SIZE)
    speech, start = torch.randn(1, 30, 11), torch.zeros(1, 20)
    params = SamplingParams(steps=2, guidance=1.0, temperature=0.0)
    before = generate_motion(network, speech, start, torch.Generator().manual_seed(0), params)
    with torch.no_grad():
        network.lips.out.bias += 2.0
    after = generate_motion(network, speech, start, torch.Generator().manual_seed(0), params)
    moved = (after - before)[15:]  # after easing out of the portrait's own code
    torch.testing.assert_close(moved[:, POSE_SIZE:], torch.full((15, 20 - POSE_SIZE), 2 * LIP_GAIN), atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[:, :POSE_SIZE], torch.zeros(15, POSE_SIZE), atol=1e-4, rtol=0)
