"""The page in Chromium, as people use it: mouse, phone, two visitors at once, cancellation, bad files."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest


@pytest.mark.slow
def test_upload_choose_a_face_render_and_play(open_page, pair, clicks):
    tab = open_page()
    tab.give_portrait(pair)
    assert "2 faces" in tab.locator("#advice").inner_text()
    assert tab.locator("#boxes .face.speaks").get_attribute("data-face") == "0"
    picture, boxes = (tab.locator(which).first.bounding_box() for which in ("#portrait img", "#boxes svg"))
    assert all(abs(picture[side] - boxes[side]) <= 3 for side in picture), "the boxes do not lie on the picture"
    tab.locator("#boxes [data-face='1'] rect").click()
    tab.locator("#boxes .face.speaks[data-face='1']").wait_for()
    assert tab.get_by_role("radio", name="face 2").is_checked()
    tab.give_recording(clicks)
    tab.set_steps()
    tab.locator("#speak").click()
    words = tab.await_status("Done")
    assert "26 frames" in words and "face 2" in words and "seed " in words
    assert tab.plays() == [1024, 512]
    assert tab.locator("#shelf figure").count() == 1
    with tab.expect_download() as download:
        tab.locator("#shelf a", has_text="Download").click()
    assert os.path.getsize(download.value.path()) > 5000


@pytest.mark.slow
def test_bad_files_are_reported_at_once(open_page, tmp_path, make_wav):
    tab = open_page()
    (tmp_path / "not.png").write_text("this is no picture")
    tab.give("#portrait", tmp_path / "not.png")
    tab.locator("#advice", has_text="not a picture").wait_for()
    tab.locator("#speak").click()
    tab.await_status("no recording yet")
    large = make_wav(tmp_path / "large.wav", np.zeros(70 * 16_000))  # 2.2 MB; the limit is 2
    tab.give("#recording", large)
    tab.get_by_text("maximum").first.wait_for()


@pytest.mark.slow
def test_a_phone_sees_one_column(open_page, root):
    tab = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    tab.give_portrait(root / "app/examples/man.webp")
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, f"{width} pixels wide"
    places = [tab.locator(which).bounding_box() for which in (".sample", "#portrait", "#sources", "#options", "#visit")]
    assert all(place["x"] >= 0 and place["x"] + place["width"] <= 391 for place in places)
    tops = [place["y"] for place in places]
    assert tops == sorted(tops), "not in the order of work"
    for _ in range(2):  # at the top, and at the end of the page
        start = tab.locator("#speak").bounding_box()
        assert start["y"] >= 0 and start["y"] + start["height"] <= 844, "the start button is out of sight"
        tab.keyboard.press("End")
        tab.wait_for_timeout(500)


@pytest.mark.slow
def test_dark(open_page):
    tab = open_page(color_scheme="dark")
    red, green, blue = tab.evaluate(
        "getComputedStyle(document.querySelector('.gradio-container')).backgroundColor.match(/\\d+/g).slice(0,3).map(Number)"
    )
    assert max(red, green, blue) < 60


@pytest.fixture
def slow_frames(found_talker, monkeypatch):
    """Frames are drawn slowly; `.drawn` counts them."""
    draw = found_talker.model.render_patches

    def slow(*arguments, **options):
        for frame in draw(*arguments, **options):
            time.sleep(0.05)
            slow.drawn += 1
            yield frame

    slow.drawn = 0
    monkeypatch.setattr(found_talker.model, "render_patches", slow)
    return slow


@pytest.fixture
def speech(make_wav, tmp_path):
    """Eight seconds."""
    return make_wav(tmp_path / "speech.wav", np.random.default_rng(0).normal(0, 0.1, 8 * 16_000))


@pytest.mark.slow
def test_progress_and_cancel(open_page, page, slow_frames, root, speech):
    tab = open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.give_recording(speech)
    tab.set_steps()
    tab.locator("#speak").click()
    tab.await_status("of 200 frames")
    tab.locator("#status progress").wait_for()
    tab.await_status("left")
    tab.locator("#live").wait_for()
    assert tab.locator("#live").bounding_box()["height"] <= 500
    tab.locator("#cancel").click()
    tab.await_status("Cancelled")
    tab.locator("#live").wait_for(state="detached")
    time.sleep(1)
    drawn = slow_frames.drawn
    time.sleep(0.5)
    assert slow_frames.drawn == drawn < 200, "frames are still drawn"
    tab.locator("#cancel").wait_for(state="hidden")
    assert not list(page.sessions.root.glob("sessions/*/work-*"))
    assert tab.locator("#speak").is_enabled()


@pytest.mark.slow
def test_two_visitors_at_once(open_page, slow_frames, root, clicks):
    tabs = [open_page(), open_page()]
    for tab, name in zip(tabs, ("man", "woman"), strict=True):
        tab.give_portrait(root / f"app/examples/{name}.webp")
        tab.give_recording(clicks)
        tab.set_steps()
    for tab in tabs:
        tab.locator("#speak").click()
    tabs[1].await_status("Place 1 in the queue")
    for tab in tabs:
        tab.await_status("Done")
        assert tab.plays() == [512, 512]
        assert tab.locator("#shelf figure").count() == 1, "another's video on the shelf"
    names = [tab.locator("#shelf a").get_attribute("download") for tab in tabs]
    assert names == [f"man-{clicks.stem}.mp4", f"woman-{clicks.stem}.mp4"]
    address = tabs[0].locator("#shelf video").get_attribute("src")
    assert tabs[0].request.get(tabs[0].url + address).status == 200
    assert tabs[1].request.get(tabs[1].url + address).status == 403


@pytest.mark.slow
def test_text_then_the_same_again_and_another_take(open_page, root):
    tab = open_page()
    tab.give_portrait(root / "app/examples/woman.webp")
    tab.get_by_role("tab", name="Text").click()
    tab.get_by_label("Text", exact=True).fill("Hello. I say what you write.")
    tab.set_steps()
    tab.get_by_label("seed").fill("7")
    tab.get_by_label("still").check()
    tab.locator("#say").click()
    assert "seed 7 · still · steps 1" in tab.await_status("Done").replace("frame full · ", "")
    tab.plays()
    tab.locator("#player button", has_text="Another take").click()
    tab.wait_for_function("document.querySelectorAll('#shelf figure').length == 2")
    words = tab.await_status("Done")
    assert "still · steps 1" in words and "seed 7 " not in words
    tab.locator("#reset").click()
    tab.wait_for_function("document.querySelector('#option-seed input').value == ''")
    assert not tab.get_by_label("still").is_checked()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.get_by_label("Text", exact=True).fill("Something else.")
    tab.get_by_role("tab", name="Recording").click()
    tab.locator("#shelf figure", has_text="seed 7 ").get_by_text("Same again").click()
    tab.get_by_role("tab", name="Text", selected=True).wait_for()
    tab.wait_for_function("document.querySelector('#option-seed input').value == '7'")
    assert tab.get_by_label("still").is_checked()
    assert tab.get_by_label("Text", exact=True).input_value() == "Hello. I say what you write."
    tab.wait_for_function("document.querySelector('#portrait img').src.includes('woman')")
    tab.reload()
    tab.locator("#shelf figure").first.wait_for()  # kept for this session
    tab.locator("#forget").click()
    tab.get_by_role("button", name="Delete everything").click()
    tab.locator("#shelf figure").first.wait_for(state="detached")


@pytest.mark.slow
def test_a_driving_video(open_page, found_talker, example_portrait, clicks, root, tmp_path):
    from anitalker.config import RenderOptions

    found_talker.render(example_portrait, clicks, tmp_path / "drive.mp4", RenderOptions(steps=1))
    tab = open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.get_by_role("tab", name="Drive").click()
    tab.give("#driving", tmp_path / "drive.mp4")
    tab.wait_for_selector("#driving video")
    tab.locator("#drive").click()
    assert "26 frames" in tab.await_status("Done")
    assert tab.plays() == [512, 512]
    tab.get_by_label("Source beside it").check()
    source, video = (tab.locator(which).bounding_box() for which in ("#source video", "#video video"))
    assert source["x"] + source["width"] <= video["x"] and source["height"] > 100
    tab.get_by_label("Loop").check()
    tab.wait_for_function("document.querySelector('#video video').loop")
    with tab.expect_download() as download:
        tab.locator("#shelf a", has_text="Download").click()
    assert download.value.suggested_filename == "man-drive.mp4"


@pytest.mark.slow
def test_look_inside(open_page, root, monkeypatch):
    """The report stands on the page with its pictures and can be taken along; another visitor does not reach it."""
    pytest.importorskip("captum")
    from anitalker.inspection import one_picture

    monkeypatch.setattr(one_picture, "SECTIONS", (one_picture.hal,))
    tab = open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.get_by_role("tab", name="Inspect").click()
    tab.locator("button#inspect").click()
    assert "pictures" in tab.await_status("Done")
    tab.locator("#report h2", has_text="Aggregation").wait_for()
    loaded = "[...document.querySelectorAll('#report img')].map(e => e.complete && e.naturalWidth > 80)"
    tab.locator("#report img").last.scroll_into_view_if_needed()
    tab.wait_for_function(f"(all => all.length > 1 && all.every(x => x))({loaded})")
    with tab.expect_download() as download:
        tab.locator("#archive a").first.click()
    assert download.value.suggested_filename == "anitalker-report.zip"
    address = tab.locator("#report img").first.get_attribute("src")
    assert tab.request.get(tab.url + address).status == 200
    other = open_page()
    assert other.request.get(other.url + address).status == 403


@pytest.mark.slow
def test_sliders_are_visible_and_work(open_page, root, clicks):
    tab = open_page()
    for name in ("lips", "head", "blink"):
        assert tab.locator(f"#option-{name} input[type=range]").is_visible()
        assert tab.locator(f"#option-{name}").get_by_text(name, exact=True).first.is_visible()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.give_recording(clicks)
    tab.set_steps()
    tab.locator("#option-lips input[type=range]").focus()
    for _ in range(5):
        tab.keyboard.press("ArrowLeft")
    tab.locator("#option-head input[type=number]").fill("0")
    tab.locator("#option-head input[type=number]").press("Tab")
    tab.locator("#speak").click()
    words = tab.await_status("Done")
    assert "lips 0.5" in words and "head 0" in words and "blink" not in words
    tab.locator("#reset").click()
    tab.wait_for_function("document.querySelector('#option-lips input[type=number]').value == '1'")
