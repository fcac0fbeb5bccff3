"""The page in Chromium: formats, proportions, subtitles, and marks that only the operator may leave out."""

import pytest

from anitalker.media.video import probe
from anitalker.provenance.verify import verify
from anitalker.server.limits import Limits

SRT = "1\n00:00:00,000 --> 00:00:09,000\nHello\n"


def begin(tab, root, clicks, format_name):
    tab.give_portrait(root / "app/examples/man.webp")
    tab.give_recording(clicks)
    tab.set_steps()
    tab.locator("#option-format").get_by_text(format_name, exact=True).click()


def download(tab, folder):
    with tab.expect_download() as expected:
        tab.locator("#shelf a", has_text="Download").first.click()
    path = folder / expected.value.suggested_filename
    expected.value.save_as(path)
    return path


@pytest.mark.slow
def test_an_animated_picture_with_subtitles(open_page, root, clicks, tmp_path):
    """It is shown in place of the video, on its card and after a reload, and has all marks."""
    (tmp_path / "texts.srt").write_text(SRT)
    tab = open_page()
    begin(tab, root, clicks, "gif")
    tab.locator("#option-aspect").get_by_text("9:16", exact=True).click()
    tab.locator("#option-frame").get_by_text("crop", exact=True).click()
    tab.give("#option-subtitles", tmp_path / "texts.srt")
    tab.locator("#option-subtitles", has_text="texts.srt").wait_for()
    tab.locator("#speak").click()
    words = tab.await_status("Done")
    assert "256x456" in words and "aspect 9:16" in words
    assert "GIF has no sound" in tab.locator("#status").inner_text()
    for _ in range(2):
        tab.wait_for_function("(document.querySelector('#player .picture') || {}).naturalWidth === 256")
        assert tab.locator("#player .picture").is_visible() and tab.locator("#shelf .cards img").is_visible()
        assert not tab.locator("#video").is_visible()
        tab.reload()
    file = download(tab, tmp_path)
    assert file.name == "man-clicks.gif" and verify(file)["state"] == "intact"
    tab.get_by_role("button", name="Options").click()
    tab.locator("#reset").click()
    tab.wait_for_function("document.querySelector('#option-format input:checked').value === 'mp4'")


@pytest.mark.slow
def test_a_webm_plays(open_page, root, clicks, tmp_path):
    tab = open_page()
    begin(tab, root, clicks, "webm")
    tab.locator("#speak").click()
    tab.await_status("Done")
    assert tab.plays() == [512, 512]
    assert probe(download(tab, tmp_path)).video_codec == "vp9"


@pytest.mark.slow
def test_marks_stay_unless_the_operator_says_otherwise(open_page, serve, found_talker, root, clicks, tmp_path):
    assert open_page().locator("#option-no-marks").count() == 0
    with serve(found_talker, Limits(allow_no_marks=True)) as lax:
        tab = open_page(lax.url)
        begin(tab, root, clicks, "mp4")
        tab.locator("#option-no-marks input").check()
        tab.locator("#speak").click()
        assert "No marks: the law may ask" in tab.await_status("Done")
        verdict = verify(download(tab, tmp_path))
    assert verdict["credentials"]["status"] == "none" and not verdict["watermark"]["found"]
    assert verdict["comment"].endswith("whose user left out credentials and watermark")
