"""The page in Chromium tells what is wrong with inputs before and after the work, and takes the sound of a video."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_what_is_wrong_is_told_at_once(open_page, found_talker, example_portrait, clicks, make_wav, root, tmp_path):
    from anitalker.config import RenderOptions

    tab = open_page()
    assert "up to 20 s and 2 MB" in tab.locator("#sources .limits").first.inner_text().replace("Up", "up")
    (tmp_path / "notes.txt").write_text("no picture")
    tab.give("#portrait", tmp_path / "notes.txt")
    tab.locator("#advice", has_text="notes.txt is no picture that this page takes. Give a JPEG").wait_for()
    tab.give("#recording", tmp_path / "notes.txt")
    tab.locator("#heard", has_text="Give a WAV").wait_for()
    assert tab.locator(".toast-body").count() == 0
    found_talker.render(example_portrait, clicks, tmp_path / "talk.mp4", RenderOptions(steps=1, frame="crop"))
    tab.give("#recording", tmp_path / "talk.mp4")
    tab.locator("#recording", has_text="1x").wait_for()  # the player has the sound of the video
    tab.locator("#heard", has_text="1.0 s of sound").wait_for()
    tab.locator("#recording [aria-label=Clear]").click()
    tab.give_recording(make_wav(tmp_path / "silence.wav", np.zeros(3200)))
    tab.locator("#heard", has_text="The recording is silent: the lips will stay shut.").wait_for()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.set_steps()
    tab.locator("#speak").click()
    assert "silent" in tab.await_status("Done")
