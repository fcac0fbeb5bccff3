"""The page offers what RenderOptions say: names, defaults, ranges; and sends back checked options."""

import pytest

from anitalker.config import InputError, RenderOptions
from app import controls


def test_untouched_controls_are_the_defaults():
    values = {name: widget.value for name in controls.NAMES for widget in [controls.widget(name)]}
    assert controls.options(values) == RenderOptions()
    assert controls.settings(RenderOptions()) == controls.DEFAULTS


@pytest.mark.parametrize("name", controls.NAMES)
def test_each_says_what_it_does_in_a_sentence(name):
    shown = controls.widget(name)
    assert shown.label == name and len(shown.info) > 10
    if name in controls.NUMBERS:
        low = controls.FIELDS[name].metadata["low"]
        assert getattr(controls.options({name: str(low)}), name) == low
        with pytest.raises(InputError, match=name):
            controls.options({name: low - 1})


def test_how_far_things_move_is_set_by_sliders():
    assert controls.SLIDERS == ("lips", "head", "blink")
    for name in controls.SLIDERS:
        shown = controls.widget(name)
        assert (shown.minimum, shown.maximum, shown.value, shown.label) == (0, 2, 1, name)


def test_values_become_options():
    sent = {"seed": 3.0, "steps": "", "yaw": 10, "still": True, "frame": "crop", "face": "1", "scale": None}
    assert controls.options(sent) == RenderOptions(seed=3, yaw=10, still=True, frame="crop", face="1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1.5),
        ("seed", "x"),
        ("steps", [3]),
        ("yaw", float("nan")),
        ("scale", 9),
        ("frame", "wide"),
        ("face", "-1"),
    ],
)
def test_wrong_values(name, value):
    with pytest.raises(InputError, match=name):
        controls.options({name: value})


def test_settings_in_words():
    words = controls.in_words(controls.settings(RenderOptions(seed=4, still=True, yaw=-12.5, face="1")))
    assert words == "frame full · seed 4 · still · yaw -12.5 · face 2"
