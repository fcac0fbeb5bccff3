"""A person's manner: limits, the head with the user's own option, more frequent blinks."""

import pytest
import torch

from anitalker.config import InputError, RenderOptions
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.manner import MAX_REST, Manner, with_lip_layer
from anitalker.motion.windows import SamplingParams, generate_motion
from anitalker.network_config import GeneratorConfig


def test_numbers_are_kept_within_their_ranges():
    manner = Manner(9.0, 0.0, 0.1, torch.full((20,), 3.0)).limited()
    assert (manner.lips, manner.head, manner.blink_seconds) == (2.0, 0.25, 1.5)
    assert (manner.rest[:6] == 0).all() and torch.allclose(manner.rest[6:], torch.tensor(MAX_REST))
    assert Manner(1.2, 0.7, None).limited() == Manner(1.2, 0.7, None)


@pytest.mark.parametrize("manner", [Manner(float("nan")), Manner(rest=torch.full((20,), float("inf")))])
def test_what_is_no_number_is_one_line(manner):
    with pytest.raises(InputError, match="a manner that is no number"):
        manner.limited()


def test_the_head_multiplies_with_the_user_s_option():
    assert Manner(head=0.5).options(RenderOptions(head=1.5)).head == 0.75
    assert Manner(head=2.0).options(RenderOptions(head=1.5)).head == 2.0
    options = RenderOptions(head=0.0)
    assert Manner(head=2.0).options(options).head == 0 and Manner().options(options) is options


def test_blinks_come_as_often_as_the_person_s():
    blink = tuple((0.0,) * 19 + (1.0,) for _ in range(3))
    config = GeneratorConfig(speech_size=3, width=8, layers=1, heads=2, speech_layers=1, blink=blink, blink_every=20.0)
    network = MotionGenerator(config).eval()  # without motion of its own

    def count(manner):
        params = SamplingParams(steps=1, guidance=1.0, temperature=0.0, manner=manner)
        rng = torch.Generator().manual_seed(1)
        return float(generate_motion(network, torch.zeros(1, 500, 3), torch.zeros(1, 20), rng, params)[:, 19].sum())

    assert count(Manner(blink_seconds=2.0)) > count(Manner()) + 6


def test_a_layer_of_another_size_is_one_line():
    network = MotionGenerator(GeneratorConfig(speech_size=3, width=8, layers=1, heads=2, speech_layers=1, lips_width=8))
    with pytest.raises(InputError, match="does not fit its model"):
        with_lip_layer(network, torch.zeros(3, 3), torch.zeros(3))
