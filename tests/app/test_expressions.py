"""The widgets of emotions and expressions: options and back, and the still in Chromium."""

import pytest

from anitalker.config import InputError, RenderOptions
from app import controls


@pytest.mark.parametrize(
    "options",
    [
        RenderOptions(),
        RenderOptions(emotion="happy"),
        RenderOptions(emotion="sad:0.4", expression="brow_raise=0.3,smile=-0.5"),
        RenderOptions(expression="jaw_open=1"),
    ],
)
def test_options_and_widgets(options):
    values = controls.settings_of(options)
    assert controls.parse_options({name: values[name] for name in controls.DEFAULTS}).expressions == options.expressions


def test_what_a_program_sends():
    given = {"emotion": "angry", "emotion_strength": 0.5, "smile": "0.25", "brow_raise": None}
    assert controls.parse_options(given).expressions == {"angry": 0.5, "smile": 0.25}
    for wrong, words in (({"emotion": "merry"}, "allowed are neutral"), ({"smile": 2}, "expression smile is 2")):
        with pytest.raises(InputError, match=words):
            controls.parse_options(wrong)


def test_words_of_a_result():
    words = controls.describe(controls.settings_of(RenderOptions(emotion="happy:0.5", expression="brow_raise=0.3")))
    assert words == "frame full · seed 0 · emotion happy · emotion strength 0.5 · brow raise 0.3"


@pytest.mark.slow
def test_the_still_follows_and_the_video_says_so(open_page, example_portrait, clicks):
    tab = open_page()
    tab.give_portrait(example_portrait)
    tab.locator("#still img").wait_for()
    before = tab.locator("#still img").get_attribute("src")
    tab.get_by_role("radio", name="surprised").check()
    tab.wait_for_function("old => document.querySelector('#still img').getAttribute('src') != old", arg=before)
    tab.give_recording(clicks)
    tab.locator("#speak").click()
    assert "emotion surprised" in tab.await_status("Done")
    tab.reload()
    tab.get_by_role("radio", name="surprised", checked=True).wait_for()
    tab.get_by_role("button", name="Options").click()
    tab.locator("#reset").click()
    tab.get_by_role("radio", name="neutral", checked=True).wait_for()
