"""Presets, flags that override them, files of them, and sizes that cannot be."""

import pytest

from anitalker.config import InputError
from anitalker.network_config import MotionSpaceConfig
from scripts import train_motion_space
from scripts.training.presets import PRESETS, SETTINGS, decoder_config, resolve


def test_presets_are_whole_and_flags_override_them():
    for name, recipes in PRESETS.items():
        for recipe in recipes:
            assert set(vars(recipe)) <= set(SETTINGS), name
    recipe = resolve("lite-256", "decoder", {"adversarial": 0.2, "steps": 7})
    assert recipe.adversarial == 0.2 and recipe.steps == 7 and PRESETS["lite-256"][1].adversarial == 0


@pytest.mark.parametrize("channels", ["", "24,x", "24", "24,20", "8,8,8,8,8,8,8,8,8"])
def test_widths_of_the_decoder_that_cannot_be(channels):
    recipe = resolve("lite-256", "decoder", {"channels": channels})
    with pytest.raises(InputError, match=r"channels are|widths are too many"):
        decoder_config(recipe, MotionSpaceConfig())


def test_old_names_of_weights_mean_the_new_ones():
    old = ["--rough", "0.5", "--invented", "0.1", "--drawn", "0.2", "--features", "none"]
    options, recipe = train_motion_space.parse(["--data", "x", "--out", "y", "--stage", "decoder", *old])
    assert (recipe.flow_smoothness, recipe.synthesis_area, recipe.synthesis_l1) == (0.5, 0.1, 0.2)
    assert options.perceptual_network == "none"
