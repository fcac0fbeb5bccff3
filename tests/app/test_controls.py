"""The page offers what RenderOptions say: names, defaults, ranges; and sends back checked options."""

import pytest

from anitalker.config import DubOptions, InputError, RenderOptions
from app import controls


def test_untouched_controls_are_the_defaults():
    names = (*controls.NAMES, *controls.DUB_NAMES)
    values = {name: widget.value for name in names for widget in [controls.build_widget(name)]}
    assert controls.parse_options({name: values[name] for name in controls.NAMES}) == RenderOptions()
    assert controls.parse_dub_options({name: values[name] for name in controls.DUB_NAMES}) == DubOptions()
    assert controls.settings_of(RenderOptions()) == controls.DEFAULTS
    assert controls.dub_settings(RenderOptions(), DubOptions()) == controls.DUB_DEFAULTS
    assert controls.widget_values(controls.UNTOUCHED) == values


def test_an_empty_seed_is_a_random_one():
    widget = controls.build_widget("seed")
    assert widget.value == "" and widget.placeholder == "random"


@pytest.mark.parametrize("name", controls.NAMES)
def test_each_widget_explains_its_option(name):
    widget = controls.build_widget(name)
    assert widget.label == controls.label_of(name) and len(widget.info) > 8
    if name in controls.NUMBERS:
        low = controls.FIELDS[name].metadata["low"]
        assert getattr(controls.parse_options({name: str(low)}), name) == low
        with pytest.raises(InputError, match=name):
            controls.parse_options({name: low - 1})


@pytest.mark.parametrize("name", controls.DUB_NAMES)
def test_widgets_of_a_dub_explain_their_option(name):
    widget = controls.build_widget(name)
    assert widget.label == controls.LABELS.get(name, name) and len(widget.info) > 10
    assert controls.FOR_DUBS in widget.elem_classes
    assert controls.FOR_DUBS not in (controls.build_widget("lips").elem_classes or [])
    if name != "fit":
        assert getattr(controls.parse_dub_options({name: "0.5"}), name) == 0.5
        with pytest.raises(InputError, match=f"{widget.label} is 'x'; give a number"):
            controls.parse_dub_options({name: "x"})


def test_a_dub_has_only_what_it_heeds():
    assert set(controls.DUBBED) >= {"seed", "lips", "size", "label"}
    assert not set(controls.DUBBED) & {"yaw", "still", "frame", "head", "blink", "steps"}
    settings = controls.dub_settings(RenderOptions(seed=3, lips=0.5), DubOptions(fit="hold", start=1.5, stop=2))
    assert controls.describe(settings) == "seed 3 · lips 0.5 · fit hold · from 1.5 · to 2"


def test_the_strength_of_motion_is_set_by_sliders():
    assert controls.SLIDERS == ("lips", "head", "blink")
    for name in controls.SLIDERS:
        widget = controls.build_widget(name)
        assert (widget.minimum, widget.maximum, widget.value, widget.label) == (0, 2, 1, name)


def test_values_become_options():
    sent = {"seed": 3.0, "steps": "", "yaw": 10, "still": True, "frame": "crop", "face": "1", "scale": None}
    assert controls.parse_options(sent) == RenderOptions(seed=3, yaw=10, still=True, frame="crop", face="1")


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
        controls.parse_options({name: value})


def test_the_size_is_a_choice():
    widget = controls.build_widget("size")
    assert [value for _, value in widget.choices] == [360, 720, 1080, "original"] and widget.value == 1080
    for value in controls.SIZES:
        assert controls.parse_options({"size": value}).size == value
    with pytest.raises(InputError, match="size"):
        controls.parse_options({"size": "huge"})


def test_settings_in_words():
    words = controls.describe(controls.settings_of(RenderOptions(seed=4, still=True, yaw=-12.5, face="1")))
    assert words == "frame full · seed 4 · still · yaw -12.5 · face 2"
