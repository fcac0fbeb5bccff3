"""The cached generator gives what the transformer and the lip regressor give."""

import pytest
import torch

from anitalker.motion.generator import CONTROLS, MotionGenerator
from anitalker.network_config import GeneratorConfig
from anitalker.streaming.cached_generator import CachedGenerator, CachedLipRegressor, ConvCache


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MotionGenerator(
        GeneratorConfig(speech_size=7, width=16, layers=2, heads=2, speech_layers=2, lips_width=8)
    )
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def assert_near(actual, expected):
    assert actual.shape == expected.shape and float((actual - expected).abs().max()) < 2e-5
    assert float(expected.std()) > 1e-3


@torch.no_grad()
def test_it_estimates_as_the_network_does(network):
    start, speech = torch.randn(1, 20), torch.randn(1, 14, 7)
    live = CachedGenerator(network, start)
    assert_near(live.encode_speech(speech), network.encode_speech(speech))
    p, n = 5, 9
    noisy, previous = torch.randn(2, n, 20), torch.randn(2, p, 20)
    controls, mask = torch.randn(2, p + n, len(CONTROLS)), (torch.rand(2, p + n, len(CONTROLS)) > 0.5).float()
    encoded, drop_speech = network.encode_speech(speech).expand(2, -1, -1), torch.tensor([False, True])
    for time in (0.0, 0.5, 0.0):
        inputs = noisy, torch.full((2,), time), encoded, start.expand(2, -1), previous, controls, mask, drop_speech
        assert_near(live(*inputs), network(*inputs))
    assert len(live.modulations) == 2  # one set per time


@torch.no_grad()
@pytest.mark.parametrize("rows", [(1, 3), (4, 6), (8, 9), (1, 9)])
def test_lips_are_estimated_for_the_wanted_frames(network, rows):
    start, speech = torch.randn(1, 20), torch.randn(1, 9, 7)
    live, begin = CachedGenerator(network, start), network.normalise(start[:, None], start)
    free, noisy = torch.zeros(1, 9, len(CONTROLS)), torch.zeros(1, 8, 20)
    wanted = slice(rows[0] - 1, rows[1] - 1)
    for drop_speech in (False, True):
        whole = network(
            noisy,
            torch.zeros(1),
            network.encode_speech(speech),
            start,
            begin,
            free,
            free,
            torch.tensor([drop_speech]).expand(1),
        )
        assert_near(
            live.estimate(None if drop_speech else live.encode_speech(speech), begin, 9, rows), whole[:, wanted]
        )
    lips = CachedLipRegressor(network.lips)
    assert_near(lips(speech), network.lips(speech))
    assert_near(lips.decode(lips.encode_speech(speech), rows), network.lips(speech)[:, rows[0] : rows[1]])


@torch.no_grad()
@pytest.mark.parametrize("forgetting", [0, 7])
def test_speech_is_encoded_once(network, forgetting):
    """Frame by frame the result is that of the whole speech, and each call computes few frames."""
    live, speech, computed = CachedGenerator(network, torch.zeros(1, 20)), torch.randn(1, 40, 7), []

    def encode(piece):
        computed.append(piece.shape[1])
        return live.encode_speech(piece)

    cache = ConvCache(encode, live.radius, max_frames=12)
    for end in (3, 4, 4, *range(5, 41)):
        dropped = max(0, end - 12) if forgetting else 0
        assert_near(cache(speech[:, dropped:end], dropped, end), network.encode_speech(speech[:, :end])[:, -12:])
    assert max(computed) == 1 + 2 * live.radius and len(computed) == 38
