"""What the page says: whole sentences, with the remedy, and nothing that is not escaped."""

import pytest

from anitalker.models.base import FaceCheck
from anitalker.server.limits import Limits
from app import components


@pytest.fixture
def good_face(fixed_finder, root):
    import numpy as np

    return fixed_finder(1).find(np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8))[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("there is no text; write one", "There is no text; write one."),
        ("hold the lids still with --blink 0", "Hold the lids still with blink 0."),
        ("Done: 26 frames.", "Done: 26 frames."),
        ("40-60 - or less", "40-60 - or less."),
    ],
)
def test_messages_are_sentences_of_the_page(text, shown):
    assert components.sentence(text) == shown


def test_advice_tells_what_the_command_line_warns_about(good_face):
    assert "Good" in components.portrait_advice([good_face])
    covered = components.portrait_advice([good_face], 0, FaceCheck(occlusion_warnings=("something covers the mouth",)))
    assert "Something covers the mouth." in covered and "warn" in covered
    doubtful = components.portrait_advice([good_face], 0, FaceCheck(reason="it is hardly recognised as a face"))
    assert "This face may not move well: it is hardly" in doubtful
    refused = components.portrait_advice([good_face], 0, FaceCheck(True, "it does not look like a photographed face"))
    assert "cannot be animated" in refused and "bad" in refused


def test_a_turned_head_is_not_called_no_face(good_face, monkeypatch):
    monkeypatch.setattr(type(good_face), "yaw", 52.0)
    monkeypatch.setattr(type(good_face), "pitch", 0.0)
    assert "turned too far (52 degrees)" in components.portrait_advice([good_face])
    assert "turned too far" in components.portrait_advice([])


def test_advice_about_a_video(good_face, monkeypatch):
    assert "Good" in components.film_advice([good_face])
    assert "Click the one who speaks" in components.film_advice([good_face, good_face])
    assert "No face is seen at the beginning" in components.film_advice([])
    monkeypatch.setattr(type(good_face), "yaw", 52.0)
    assert "the filmed lips stay" in components.film_advice([good_face])


def test_people_are_boxes_over_a_small_picture(good_face):
    import numpy as np

    shown = components.people(np.zeros((800, 1600, 3), np.uint8), [good_face, good_face], "1")
    assert "data:image/jpeg" in shown and len(shown) < 10_000
    assert "viewBox='0 0 1600 800'" in shown and "class='face speaks' data-face='1'" in shown


def test_limits_are_told_beforehand():
    limits = Limits(upload_bytes=3_000_000, media_seconds=90, megapixels=20)
    assert "20 megapixels and 3 MB" in components.input_limits("portrait", limits)
    kinds = ("recording", "single recording", "video", "film")
    assert all("1 min 30 s and 3 MB" in components.input_limits(kind, limits) for kind in kinds)
    assert "ZIP" in components.input_limits("recording", limits)
    assert "ZIP" not in components.input_limits("single recording", limits)


def test_warnings_stand_below_the_result():
    shown = components.job_end("Done: all.", "done", ["the recording is silent", "<b>"])
    assert "The recording is silent." in shown and "<b>" not in shown


def test_an_estimate_is_rounded_and_tells_who_is_first():
    assert "about 7 s." in components.estimated(6.7, 0)
    assert "about 45 s, after 1 other video." in components.estimated(43.2, 1)
    assert "about 3 min 15 s, after 2 other videos" in components.estimated(197, 2)
    assert "about 1 s." in components.estimated(0.01, 0)


@pytest.mark.parametrize(
    ("ours", "state", "words"),
    [
        (True, "intact", "Made by AniTalker, and as it was made."),
        (True, "altered", "altered since"),
        (True, "unknown", "Nothing tells whether it was altered"),
        (False, "unknown", "No mark of AniTalker was found"),
    ],
)
def test_the_verdict_is_a_sentence_with_what_was_read(ours, state, words):
    shown = components.verdict(ours, state, ["watermark: <none>"])
    assert words in shown and "Watermark: &lt;none&gt;." in shown
