"""The page builds over a model, renders, and shows errors as messages."""

from pathlib import Path

import gradio as gr
import pytest

from anitalker.video import probe
from app.ui import EXAMPLES, build_ui


def speak(page):
    """The function behind the button."""
    return next(block.fn for block in page.fns.values() if block.api_name == "speak")


def test_the_page_renders(talker, example_portrait, clicks):
    made, report = speak(build_ui(talker))(
        str(example_portrait), str(clicks), 1, 1, True, "crop", "largest", True, 5, 0, 0, progress=lambda *_, **__: None
    )
    assert probe(made).video_codec == "h264" and "26 frames" in report
    Path(made).unlink()


@pytest.mark.parametrize(("portrait", "words"), [(None, "Give a portrait"), ("none.png", "portrait is missing")])
def test_errors_are_messages(talker, clicks, portrait, words):
    with pytest.raises(gr.Error, match=words):
        speak(build_ui(talker))(portrait, str(clicks), 0, 1, False, "crop", "largest", False, 0, 0, 0)


def test_examples_are_there():
    assert (EXAMPLES / "portrait.webp").is_file() and (EXAMPLES / "speech.flac").is_file()
