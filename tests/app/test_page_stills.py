"""The page in Chromium: a still follows sliders and pose and can be saved, and the time is told before the start."""

from __future__ import annotations

import pytest

from anitalker.provenance.verify import verify


@pytest.mark.slow
def test_the_still_follows_can_be_saved_and_the_time_is_told(open_page, root, clicks, tmp_path):
    tab = open_page()
    assert "a still here" in tab.locator("#still").inner_text()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.locator("#still img").wait_for()
    tab.give_recording(clicks)
    tab.locator(".estimate", has_text="Takes about").wait_for()

    def changes_by(action, words):
        before = tab.locator("#still img").get_attribute("src")
        action()
        tab.wait_for_function("before => document.querySelector('#still img').src != before", arg=before)
        tab.locator("#still", has_text=words).wait_for()

    slider = tab.locator("#option-lips input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()

    def drag():
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.mouse.down()
        for share in (0.6, 0.7, 0.8, 0.9):  # still held: it must follow while the slider is dragged
            tab.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)

    changes_by(drag, "Mouth at its widest")
    tab.mouse.up()
    changes_by(lambda: tab.locator("#option-yaw input").fill("25"), "At rest")
    still, shown = tab.locator("#still img").bounding_box(), tab.locator("#option-yaw").bounding_box()
    assert still["y"] >= 0 and shown["y"] > still["y"], "the still is out of sight"
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save the still").click()
    assert download.value.suggested_filename == "man-still.png"
    assert verify(download.value.path().rename(tmp_path / "man-still.png"))["state"] == "intact"
    tab.locator("#saved a", has_text="man-still.png").wait_for()
    tab.locator("#option-yaw input").fill("20")
    tab.locator("#saved a").wait_for(state="hidden")  # it is another one now
    tab.locator("#option-yaw input").fill("25")
    tab.locator("#option-size").get_by_text("360", exact=True).click()
    tab.set_steps()
    tab.locator("#speak").click()
    assert "lips 1.9" in tab.await_status("Done") or "lips 1.8" in tab.locator("#status").inner_text()
    assert "yaw 25" in tab.locator("#status").inner_text() and "size 360" in tab.locator("#status").inner_text()
