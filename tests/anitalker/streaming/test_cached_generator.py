"""The live network: the transformer and the lip regression as trained, only with less work."""

import pytest
import torch

from anitalker.config import GeneratorConfig
from anitalker.motion.generator import CONTROLS, MotionGenerator
from anitalker.streaming import cached_generator
from anitalker.streaming.cached_generator import CachedGenerator, CachedLipRegressor, ConvCache, PackedLinear


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = MotionGenerator(GeneratorConfig(speech_size=7, width=16, layers=2, heads=2, speech_layers=2, lips_width=8))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


@pytest.fixture(params=[True, False])
def ordered(request, monkeypatch):
    """Whether weights are put in oneDNN's order."""
    monkeypatch.setattr(cached_generator, "onednn_is_faster", lambda: request.param)


def near(one, other):
    assert one.shape == other.shape and float((one - other).abs().max()) < 2e-5
    assert float(other.std()) > 1e-3


@torch.no_grad()
def test_it_estimates_as_the_network_does(network, ordered):
    start, speech = torch.randn(1, 20), torch.randn(1, 14, 7)
    live = CachedGenerator(network, start)
    near(live.encode_speech(speech), network.encode_speech(speech))
    p, n = 5, 9
    noisy, previous = torch.randn(2, n, 20), torch.randn(2, p, 20)
    controls, given = torch.randn(2, p + n, len(CONTROLS)), (torch.rand(2, p + n, len(CONTROLS)) > 0.5).float()
    heard, deaf = network.encode_speech(speech).expand(2, -1, -1), torch.tensor([False, True])
    for time in (0.0, 0.5, 0.0):
        asked = noisy, torch.full((2,), time), heard, start.expand(2, -1), previous, controls, given, deaf
        near(live(*asked), network(*asked))
    assert len(live.norms) == 2  # one set per time


@torch.no_grad()
@pytest.mark.parametrize("rows", [(1, 3), (4, 6), (8, 9), (1, 9)])
def test_lips_are_estimated_for_the_wanted_frames(network, ordered, rows):
    start, speech = torch.randn(1, 20), torch.randn(1, 9, 7)
    live, begin = CachedGenerator(network, start), network.normalise(start[:, None], start)
    free, noisy = torch.zeros(1, 9, len(CONTROLS)), torch.zeros(1, 8, 20)
    wanted = slice(rows[0] - 1, rows[1] - 1)
    for deaf in (False, True):
        whole = network(
            noisy,
            torch.zeros(1),
            network.encode_speech(speech),
            start,
            begin,
            free,
            free,
            torch.tensor([deaf]).expand(1),
        )
        near(live.estimate(None if deaf else live.encode_speech(speech), begin, 9, rows), whole[:, wanted])
    lips = CachedLipRegressor(network.lips)
    near(lips(speech), network.lips(speech))
    near(lips.decode(lips.encode_speech(speech), rows), network.lips(speech)[:, rows[0] : rows[1]])


@torch.no_grad()
@pytest.mark.parametrize("forgetting", [0, 7])
def test_what_was_heard_is_heard_once(network, forgetting):
    """Frame by frame as from the whole, in windows whose past is true, with fewer and fewer frames in the work."""
    live, speech, worked = CachedGenerator(network, torch.zeros(1, 20)), torch.randn(1, 40, 7), []

    def hear(piece):
        worked.append(piece.shape[1])
        return live.encode_speech(piece)

    recent = ConvCache(hear, live.reach, most=12)
    for end in (3, 4, 4, *range(5, 41)):
        dropped = max(0, end - 12) if forgetting else 0
        near(recent(speech[:, dropped:end], dropped, end), network.encode_speech(speech[:, :end])[:, -12:])
    assert max(worked) == 1 + 2 * live.reach and len(worked) == 38


def test_a_product_takes_any_number_of_frames(ordered):
    weight, bias = torch.randn(6, 4), torch.randn(6)
    product = PackedLinear(weight, bias)
    assert (product.ordered is not None) == cached_generator.onednn_is_faster()
    for count in (1, 2, 64, 100):
        x = torch.randn(2, count, 4)
        near(product(x), torch.nn.functional.linear(x, weight, bias))
