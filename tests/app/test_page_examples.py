"""The page in Chromium: examples on one click, listening, idling, deleting a video, verifying one."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_an_example_fills_everything_in(open_page):
    pytest.importorskip("espeakng_loader")
    tab = open_page()
    tab.get_by_role("button", name="A text German").click()
    tab.wait_for_selector("#boxes rect", state="attached")
    assert "ich" in tab.get_by_label("Text", exact=True).input_value()
    assert "(de)" in tab.locator("#voice input").input_value()
    tab.locator("#listen").click()
    tab.locator("#named", has_text="Voice: German (de), espeak-ng").wait_for()
    tab.locator("#heard-text", has_text="1x").wait_for()
    tab.get_by_label("Text", exact=True).fill("Ja.")
    tab.set_steps()
    tab.locator("#say").click()
    tab.await_status("Done")
    tab.get_by_role("button", name="A driving video").click()
    tab.wait_for_selector("#driving video")
    assert tab.locator("#drive").is_visible()
    tab.get_by_role("button", name="A recording English").click()
    tab.locator("#heard", has_text="5.1 s of sound").wait_for()
    tab.reload()  # the example is kept, as files of the visitor are
    tab.locator("#heard", has_text="5.1 s of sound").wait_for()
    tab.locator("[data-take='portrait:elder']").click()
    tab.wait_for_selector("#boxes rect", state="attached")


@pytest.mark.slow
def test_idling_then_deleting_one_of_two_videos(open_page, page, monkeypatch):
    def still(talker, portrait, wanted, options):  # the untrained model has no prior to draw from
        return [face.motion.repeat(round(25 * wanted.seconds), 1) for face in portrait.faces]

    monkeypatch.setattr("app.work._idle_motion", still)
    tab = open_page()
    tab.locator("[data-take='portrait:man']").click()
    tab.wait_for_selector("#boxes rect", state="attached")
    tab.get_by_role("tab", name="Idle").click()
    seconds = tab.get_by_role("spinbutton", name="seconds")
    for length in ("1", "2"):
        seconds.fill(length)
        seconds.press("Tab")
        tab.locator("#idle").click()
        assert f"{int(length) * 25} frames" in tab.await_status(f"Done: {length}.0 s")
    assert tab.locator("#shelf figure").count() == 2
    file = tab.locator("#shelf video").last.get_attribute("src").partition("file=")[2]
    tab.locator("[data-delete='1']").click()
    tab.get_by_role("button", name="Keep", exact=True).click()
    tab.locator("[data-delete='1']").click()
    tab.get_by_role("button", name="Delete", exact=True).last.click()
    tab.locator("[data-delete='1']").wait_for(state="detached")
    assert tab.locator("#shelf figure").count() == 1 and tab.plays()
    assert not page.sessions.resolve_readable(page.sessions.sessions()[-1].id, file)
    tab.locator("[data-delete='2']").click()
    tab.get_by_role("button", name="Delete", exact=True).last.click()
    tab.locator("#shelf", has_text="will be kept here").wait_for()
    assert tab.locator(".sample").is_visible(), "the deleted video is still shown"


@pytest.mark.slow
def test_a_video_tells_whether_it_was_made_here(open_page, root):
    tab = open_page()
    tab.get_by_role("button", name="Was it made here?").click()
    tab.give("#suspect", root / "app/examples/sample.mp4")
    tab.locator("#verdict", has_text="Made by AniTalker, and as it was made.").wait_for()
    tab.get_by_text("What was read").click()
    assert "Watermark: found" in tab.locator("#verdict").inner_text()
