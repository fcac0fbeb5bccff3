"""After every kind of error the page in Chromium is ready again: error, correction, good video, no reload."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.media.writer import VideoWriter

TABS = {"speak": "Recording", "say": "Text", "dub": "Dub", "drive": "Drive", "inspect": "Inspect"}


def write_video(path, picture):
    """Three frames of one picture, without sound."""
    height, width = picture.shape[:2]
    with VideoWriter(path, width, height) as writer:
        for _ in range(3):
            writer.write(picture)
    return path


@pytest.fixture
def files(tmp_path, root, make_wav):
    """Good and bad inputs by name."""
    from PIL import Image

    man = root / "app/examples/man.webp"
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "noise.png").read_bytes()[:20_000])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "text.mp4").write_text("no video")
    Image.new("RGB", (128, 128), "gray").save(tmp_path / "grey.png")
    return SimpleNamespace(
        portrait=man,
        faceless=tmp_path / "grey.png",
        no_picture=tmp_path / "text.png",
        cut_picture=tmp_path / "cut.png",
        recording=make_wav(tmp_path / "short.wav", np.random.default_rng(1).normal(0, 0.1, 2000)),
        no_recording=tmp_path / "text.wav",
        no_video=tmp_path / "text.mp4",
        long_recording=make_wav(tmp_path / "long.wav", np.full(22 * 16_000, 0.1)),
        driving=write_video(tmp_path / "driving.mp4", noise),
        faceless_driving=write_video(tmp_path / "grey.mp4", np.full((128, 128, 3), 90, np.uint8)),
    )


GOOD = {"portrait": "portrait", "recording": "recording"}
# The kind of work, wrong inputs, words of the error, inputs that put it right.
ERRORS = {
    "nothing": ("speak", {}, "yet", GOOD),
    "no portrait": ("speak", {"portrait": None}, "no portrait yet", {"portrait": "portrait"}),
    "no recording": ("speak", {"recording": None}, "no recording yet", {"recording": "recording"}),
    "a long recording": ("speak", {"recording": "long_recording"}, "22 s long; allowed are 20 s", GOOD),
    "a text as recording": ("speak", {"recording": "no_recording"}, "not audio or video", GOOD),
    "a text as picture": ("speak", {"portrait": "no_picture"}, "not a picture", GOOD),
    "half a picture": ("speak", {"portrait": "cut_picture"}, "damaged", GOOD),
    "no face": ("speak", {"portrait": "faceless"}, "no face", GOOD),
    "no text": ("say", {"text": " "}, "no text", {"text": "Yes."}),
    "a long text": ("say", {"text": "x " * 1001}, "2,002 characters; allowed are 2,000", {"text": "Yes."}),
    "no driving video": ("drive", {}, "no driving video yet", {"driving": "driving"}),
    "no face to drive": ("drive", {"driving": "faceless_driving"}, "no face", {"driving": "driving"}),
    "nothing to dub": ("dub", {}, "no video yet", {"film": "driving", "dub-recording": "recording"}),
    "nothing to say": ("dub", {"dub-recording": None}, "no recording, text or performance yet", {"dub-text": "Yes."}),
    "two things to say": ("dub", {"dub-recording": "recording"}, "give one of them", {"dub-text": ""}),
    "no face to dub": ("dub", {"film": "faceless_driving"}, "no face", {"film": "driving"}),
    "a text as video": ("dub", {"film": "no_video"}, "not audio or video", {"film": "driving"}),
    "nothing to inspect": ("inspect", {"portrait": None}, "no portrait yet", {"portrait": "portrait"}),
}


@pytest.mark.slow
def test_after_each_error_the_next_video_is_good(open_page, page, files, monkeypatch):
    """One tab that is never loaded again: an error, its correction, a good video, and the next error."""
    pytest.importorskip("captum")
    from anitalker.inspection import one_picture

    monkeypatch.setattr(one_picture, "SECTIONS", (one_picture.hal,))
    tab = open_page()
    tab.set_steps()
    for error, (kind, wrong, words, right) in ERRORS.items():
        tab.get_by_role("tab", name=TABS[kind]).click()
        tab.give_inputs(wrong, files)
        start = tab.locator(f"button#{kind}")
        start.click()
        tab.await_status(words)
        tab.locator("#cancel").wait_for(state="hidden")
        assert start.is_enabled(), error
        assert tab.locator(".toast-body").count() == 0, f"{error}: told twice"
        tab.give_inputs(right, files)
        start.click()
        tab.await_status("Done")
        tab.locator("#cancel").wait_for(state="hidden")
        assert start.is_enabled(), error
        if kind != "inspect":
            tab.wait_for_function("(document.querySelector('#video video') || {}).videoWidth > 0")
    assert not list(page.sessions.root.glob("sessions/*/work-*"))
