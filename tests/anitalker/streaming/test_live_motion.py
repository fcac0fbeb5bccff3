"""Low-latency motion: complete, begins at the portrait, the same for any pieces, and in bounded memory."""

import pytest
import torch

from anitalker.motion.generator import MotionGenerator
from anitalker.motion.manner import Manner, with_lip_layer
from anitalker.motion.windows import SamplingParams
from anitalker.network_config import GeneratorConfig
from anitalker.streaming import live_motion
from anitalker.streaming.live_motion import LiveMotion


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MotionGenerator(
        GeneratorConfig(speech_size=7, width=16, layers=1, heads=2, speech_layers=1, lips_width=8)
    )
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    network.spoken[10:, 10:] = torch.eye(10)
    return network.eval()


def run(network, speech, size, params=SamplingParams(steps=2), lookahead=2):
    live = LiveMotion(network, torch.zeros(1, 20), torch.Generator().manual_seed(3), params, lookahead)
    pieces = [
        live.push(speech[:, at : at + size], at + size >= speech.shape[1]) for at in range(0, speech.shape[1], size)
    ]
    return torch.cat(pieces, 1)[0], live


def test_pieces_do_not_matter(network):
    speech = torch.randn(1, 90, 7)
    motion, _ = run(network, speech, 1)
    other, _ = run(network, speech, 13)
    assert motion.shape == (90, 20) and torch.allclose(motion, other, atol=1e-4)
    assert torch.equal(motion[0], torch.zeros(20))  # the portrait's own code
    assert float(motion[1:].diff(dim=0).abs().sum(1).min()) > 0


def test_nothing_behind_the_lookahead_is_heard(network):
    speech = torch.randn(1, 40, 7)
    changed = speech.clone()
    changed[:, 23:] = 9.0
    motion, other = run(network, speech, 1)[0], run(network, changed, 1)[0]
    assert torch.equal(motion[:21], other[:21]) and not torch.equal(motion[21:], other[21:])


def test_a_frame_waits_for_its_lookahead_only(network):
    live = LiveMotion(network, torch.zeros(1, 20), torch.Generator(), SamplingParams(steps=1), 3)
    left = [live.push(torch.randn(1, 1, 7)).shape[1] for _ in range(20)]
    assert left == [1, 0, 0, 0] + [1] * 16


def test_memory_does_not_grow(network):
    _, live = run(network, torch.randn(1, 3 * live_motion.CONTEXT_FRAMES, 7), 1)
    assert live.speech.shape[1] <= live_motion.CONTEXT_FRAMES and live.waiting.shape[1] <= 3
    assert live.windowed.speech.shape[1] <= live.network.config.previous


def test_the_head_is_held_where_it_is_asked_to(network):
    motion, _ = run(network, torch.randn(1, 30, 7), 1, SamplingParams(steps=1, still=True))
    assert motion[:, :6].abs().max() < 1e-5 and motion[5:, 6:].std() > 0


def test_a_single_frame(network):
    assert torch.equal(run(network, torch.randn(1, 1, 7), 1)[0], torch.zeros(1, 20))


def test_frames_at_the_end_cost_what_others_do_without_a_lip_regressor(network):
    """A second estimate, of no speech, is kept for every window that comes up."""
    network.lips = None
    live = LiveMotion(network, torch.zeros(1, 20), torch.Generator(), SamplingParams(steps=1), 2)
    asked, estimate = [], live.network.estimate
    live.network.estimate = lambda speech, *rest: asked.append(speech is None) or estimate(speech, *rest)
    speech = torch.randn(1, live_motion.CONTEXT_FRAMES + 9, 7)
    for frame in speech.split(1, 1):
        live.push(frame)
    assert not any(asked) and len(asked) == live_motion.CONTEXT_FRAMES + 6
    live.push(speech[:, :0], last=True)
    assert len(asked) - sum(asked) == speech.shape[1] - 1 and sum(asked) <= 2


def test_a_lip_regressor_is_asked_instead_of_the_transformer(network):
    live = LiveMotion(network, torch.zeros(1, 20), torch.Generator(), SamplingParams(steps=1), 2)
    asked = []
    live.network.estimate = lambda *values: asked.append(values)
    live.push(torch.randn(1, 12, 7), last=True)
    assert not asked and not live.unconditional_means


@pytest.mark.slow
def test_a_person_s_manner_counts_in_a_stream(network):
    """Lips move farther about the neutral face, and rest where the person's do; the first frame stays."""
    speech, rest = torch.randn(1, 40, 7), torch.zeros(20)
    rest[10:] = 0.1
    usual, _ = run(network, speech, 1)
    wide, _ = run(network, speech, 1, SamplingParams(steps=2, manner=Manner(lips=1.5)))
    resting, _ = run(network, speech, 1, SamplingParams(steps=2, manner=Manner(rest=rest)))
    assert torch.equal(wide[0], usual[0]) and torch.equal(resting[0], usual[0])
    assert torch.allclose(wide[8:, 10:], 1.5 * usual[8:, 10:], atol=1e-4)
    assert torch.allclose(resting[8:, 10:], usual[8:, 10:] + 0.1, atol=1e-4)


def test_a_person_s_lip_layer_counts_in_a_stream(network):
    lips = network.lips.out
    adapted = with_lip_layer(network, 2 * lips.weight, 2 * lips.bias)
    speech = torch.randn(1, 20, 7)
    assert not torch.allclose(run(adapted, speech, 1)[0][8:], run(network, speech, 1)[0][8:])
    assert torch.equal(adapted.lips.out.weight, 2 * lips.weight) and network.lips.out is lips
