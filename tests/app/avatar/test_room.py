"""The room "My avatar" in Chromium: consent, progress, cancel and go on, reload, before and after, use, delete."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.slow
NAME = "Ada Lovelace"


@pytest.fixture
def enter(open_page):
    """Opens the room as a new visitor."""

    def open_room(**options):
        tab = open_page(**options)
        tab.get_by_role("tab", name="My avatar").click()
        tab.locator("#tune").wait_for()
        return tab

    return open_room


def give(tab, *files):
    tab.locator("#tune-files input[type=file]").first.set_input_files([str(file) for file in files])
    tab.locator("#tune-note .note").first.wait_for()


def agree(tab):
    tab.get_by_label("I am this person").check()
    tab.get_by_label("Who agreed").fill(NAME)
    tab.get_by_label("Who agreed").press("Tab")


def await_status(tab, words):
    tab.locator("#tune-status", has_text=words).wait_for()
    return tab.locator("#tune-status").inner_text()


def test_from_errors_to_an_avatar_that_speaks(enter, quick_tune, film, clicks):
    tab = enter()
    assert not tab.locator("#portrait").is_visible() and not tab.locator("#speak").is_visible()
    tab.locator("#tune").click()
    await_status(tab, "There is no video yet; give one of a person who talks to the camera, or photos.")
    give(tab, film)
    assert "1 s of video" in tab.locator("#tune-note").inner_text()
    assert "It has no sound" in tab.locator("#tune-note").inner_text()
    tab.locator("#tune").click()
    await_status(tab, "Nobody is named who agreed")
    tab.get_by_label("Who agreed").fill(NAME)
    tab.get_by_label("Who agreed").press("Tab")
    tab.locator("#tune").click()
    await_status(tab, "The box is not ticked")
    agree(tab)
    tab.locator("#tune").click()
    words = await_status(tab, "Done")
    assert "the mouth is 25% closer" in words and quick_tune.calls[0].consent == NAME
    for number in (0, 1):
        tab.wait_for_function(f"document.querySelectorAll('.avatar video')[{number}]?.videoWidth > 0")
    left, right = (tab.locator(".avatar figure").nth(number).bounding_box() for number in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    tab.locator(".avatar video").first.evaluate("video => video.play()")
    tab.wait_for_function("document.querySelectorAll('.avatar video')[1].currentTime > 0")
    with tab.expect_download() as download:
        tab.locator(".avatar a", has_text="Download").click()
    assert download.value.suggested_filename == "film.safetensors"
    tab.get_by_role("button", name="Use as portrait").click()
    tab.locator("#advice", has_text="Your avatar film speaks").wait_for()
    assert tab.locator("#speak").is_visible() and tab.locator("#people-row button").count() == 1
    tab.give_recording(clicks)
    tab.set_steps()
    tab.locator("#speak").click()
    tab.await_status("Done")
    assert tab.plays() == [128, 128]
    assert "'film.safetensors' was made for other weights" in tab.locator("#result").inner_text()


def test_cancel_keeps_the_best_a_reload_shows_it_and_the_button_goes_on(enter, quick_tune, film):
    tab = enter()
    give(tab, film)
    agree(tab)
    quick_tune.hold.set()
    tab.locator("#tune").click()
    assert "left" in await_status(tab, "Learning the mouth")
    assert not tab.locator("#tune").is_enabled()
    tab.reload()
    tab.get_by_role("tab", name="My avatar", selected=True).wait_for()
    await_status(tab, "Learning the mouth")
    assert tab.get_by_label("Who agreed").input_value() == NAME
    tab.locator("#tune-cancel").click()
    await_status(tab, "Cancelled. The best so far is kept below")
    tab.locator(".avatar", has_text="Unfinished").wait_for()
    tab.locator("#tune-cancel").wait_for(state="hidden")
    quick_tune.hold.clear()
    tab.locator("#tune").click()
    await_status(tab, "Done")
    assert quick_tune.resumed == [False, True]
    tab.wait_for_function("document.querySelectorAll('.avatar').length == 1")
    assert "Unfinished" not in tab.locator("#avatars").inner_text()


def test_a_person_file_is_an_avatar_at_once_wherever_it_is_given(enter, make_person_file, tmp_path):
    tab = enter()
    file = tmp_path / "grace.safetensors"
    shutil.copyfile(make_person_file(consent="Grace Hopper", photos=4), file)
    give(tab, file)
    assert "among the avatars" in tab.locator("#tune-note").inner_text()
    assert "Agreed: Grace Hopper" in tab.locator(".avatar").inner_text()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"import os")
    give(tab, bad)
    tab.locator("#tune-note .bad").wait_for()
    assert "is no safetensors file" in tab.locator("#tune-note").inner_text()
    tab.get_by_role("tab", name="Make a video").click()
    tab.locator("#portrait input[type=file]").first.set_input_files(str(file))
    tab.locator("#advice", has_text="Your avatar grace speaks").wait_for()
    tab.wait_for_function("document.querySelectorAll('#people-row button').length == 2")
    tab.locator("#portrait [aria-label='Remove Image'], #portrait [aria-label=Clear]").first.click()
    tab.locator("#portrait input[type=file]").first.set_input_files(str(bad))
    tab.locator("#advice .bad", has_text="is no safetensors file").wait_for()
    tab.locator("#people-row button").first.click()
    tab.locator("#advice", has_text="Your avatar grace speaks").wait_for()
    tab.get_by_role("tab", name="My avatar").click()
    tab.locator("[data-drop]").first.click()
    tab.locator("dialog .lose").click()
    tab.wait_for_function("document.querySelectorAll('.avatar').length == 1")
    tab.get_by_role("tab", name="Make a video").click()
    tab.locator("#forget").click()
    tab.locator("dialog .lose").click()
    tab.wait_for_function("document.querySelectorAll('.avatar').length == 0")
    assert tab.locator("#people-row button").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_and_a_thumb_find_nothing(enter, make_person_file, quick_tune, film, scheme):
    package = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe comes with the extra `dev`")
    from tests.app.test_page_look import SMALL

    tab = enter(color_scheme=scheme, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)

    def findings():
        violations = package.Axe().run(tab._page).response["violations"]
        return [found["id"] for found in violations if found["impact"] in ("serious", "critical")]

    assert findings() == [] and tab.evaluate(SMALL) == []
    give(tab, film)
    agree(tab)
    tab.locator("#tune").click()
    await_status(tab, "Done")
    assert findings() == []
    assert tab.evaluate(SMALL) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
