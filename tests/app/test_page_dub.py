"""The page in Chromium dubs videos: recording or text, who speaks, reload, cancel, the inputs again, the keyboard."""

from __future__ import annotations

import threading

import pytest


@pytest.fixture
def half_time(monkeypatch):
    """Holds a dub after ten frames until it is set."""
    from anitalker.dubbing import job

    event, draw = threading.Event(), job.dubbed_frames

    def dubbed_frames(*arguments, **options):
        for number, frame in enumerate(draw(*arguments, **options)):
            if number == 10:
                event.wait(60)
            yield frame

    monkeypatch.setattr(job, "dubbed_frames", dubbed_frames)
    yield event
    event.set()


def open_dub(open_page, film, **options):
    tab = open_page(**options)
    tab.get_by_role("tab", name="Dub").click()
    tab.locator("#film").wait_for()
    tab.give_film(film)
    return tab


def set_option(tab, name, value):
    """Gradio mounts the fields as they unfold, and what is typed before that is done is lost."""
    field = tab.locator(f"#option-{name} input")
    for _ in range(20):
        field.fill(value)
        field.press("Tab")
        tab.wait_for_timeout(100)
        if field.input_value() == value:
            return
    raise AssertionError(f"{name} does not take {value}")


@pytest.mark.slow
def test_a_recording_then_the_same_again(open_page, film, film_with_sound, clicks):
    tab = open_dub(open_page, film)
    assert "One face" in tab.locator("#film-advice").inner_text()
    assert not tab.locator("#portrait").is_visible() and not tab.locator("#option-yaw").is_visible()
    assert tab.locator("#bar #dub").is_visible() and not tab.locator("#bar #speak").is_visible()
    tab.give_dub_recording(clicks)
    tab.locator("#estimate-dub", has_text="Takes about").wait_for()
    tab.get_by_role("button", name="Options").click()
    assert not tab.get_by_label("steps").is_visible() and not tab.get_by_label("head", exact=True).is_visible()
    set_option(tab, "stop", "0.5")
    set_option(tab, "seed", "7")
    tab.get_by_role("radio", name="hold").check()
    tab.locator("#dub").click()
    words = tab.await_status("Done")
    assert "31 frames" in words and "seed 7 · fit hold · to 0.5" in words
    assert "holds its last frame" in tab.locator("#status").inner_text()
    assert tab.plays() == [256, 224]
    tab.get_by_label("Source beside it").check()
    source, video = (tab.locator(which).bounding_box() for which in ("#source video", "#video video"))
    assert source["x"] + source["width"] <= video["x"]
    with tab.expect_download() as download:
        tab.locator("#shelf a", has_text="Download").click()
    assert download.value.suggested_filename == f"film-{clicks.stem}.mp4"
    tab.locator("#film [aria-label=Clear]").click()
    tab.locator("#reset").click()
    tab.wait_for_function("document.querySelector('#option-stop input').value == ''")
    assert tab.get_by_role("radio", name="trim").is_checked()
    tab.get_by_role("tab", name="Text").click()
    assert tab.locator("#portrait").is_visible() and not tab.locator("#film").is_visible()
    tab.locator("#shelf figure").get_by_text("Same again").click()
    tab.get_by_role("tab", name="Dub", selected=True).wait_for()
    tab.wait_for_function("document.querySelector('#option-stop input').value == '0.5'")
    assert tab.get_by_role("radio", name="hold").is_checked()
    tab.locator("#film video").wait_for()
    tab.locator("#player button", has_text="Another take").click()
    tab.wait_for_function("document.querySelectorAll('#shelf figure').length == 2")
    words = tab.await_status("Done")
    assert "fit hold · to 0.5" in words and "seed 7 " not in words


@pytest.mark.slow
def test_a_reload_and_a_cancel(open_page, half_time, film, clicks):
    tab = open_dub(open_page, film)
    tab.give_dub_recording(clicks)
    tab.locator("#dub").click()
    tab.await_status("of 30 frames")
    tab.locator("#live").wait_for()
    tab.reload()
    tab.await_status("of 30 frames")
    tab.get_by_role("tab", name="Dub", selected=True).wait_for()
    tab.locator("#film video").wait_for()
    tab.locator("#dub-recording", has_text="1x").wait_for()
    assert not tab.locator("#dub").is_enabled() and tab.locator("#cancel").is_visible()
    half_time.set()
    tab.await_status("Done")
    assert tab.plays() == [256, 224] and tab.locator("#dub").is_enabled()
    half_time.clear()
    tab.locator("#dub").click()
    tab.await_status("of 30 frames")
    tab.locator("#cancel").click()
    half_time.set()
    tab.await_status("Cancelled")
    tab.locator("#cancel").wait_for(state="hidden")
    assert tab.locator("#dub").is_enabled() and tab.locator("#shelf figure").count() == 1


@pytest.mark.slow
def test_a_text_and_who_says_it(open_page, film_of_two, make_wav, tmp_path):
    pytest.importorskip("espeakng_loader")
    tab = open_dub(open_page, film_of_two)
    assert "2 faces" in tab.locator("#film-advice").inner_text()
    tab.locator("#people [data-face='1'] rect").click()
    tab.locator("#people .face.speaks[data-face='1']").wait_for()
    assert tab.get_by_role("radio", name="face 2").is_checked()
    tab.locator("#dub-text textarea").fill("Yes.")
    tab.locator("#dub-listen").click()
    tab.locator("#dub-named", has_text="espeak-ng").wait_for()
    tab.locator("#dub").click()
    words = tab.await_status("Done")
    assert "face 2" in words and tab.plays() == [448, 224]
    tab.reload()
    tab.locator("#people .face.speaks[data-face='1']").wait_for()
    assert tab.locator("#dub-text textarea").input_value() == "Yes."


@pytest.mark.slow
def test_an_example_and_a_video_as_recording(open_page, film_with_sound):
    pytest.importorskip("espeakng_loader")
    tab = open_page()
    tab.get_by_role("button", name="A dub").click()
    tab.locator("#film video").wait_for()
    assert "Ahora" in tab.locator("#dub-text textarea").input_value()
    assert "(es)" in tab.locator("#dub-voice input").input_value()
    tab.give("#dub-recording", film_with_sound)  # its sound is taken
    tab.locator("#dub-heard", has_text="1.0 s of sound").wait_for()
    tab.locator("#film [aria-label=Clear]").click()
    tab.give("#film", film_with_sound.parent / "tone.wav")
    tab.locator("#film-advice", has_text="tone.wav is no video that this page takes").wait_for()
    assert tab.locator(".toast-body").count() == 0


@pytest.mark.slow
def test_a_performance(open_page, film, film_with_sound, clicks):
    tab = open_dub(open_page, film)
    tab.give("#performance", clicks)
    tab.locator("#performance-seen", has_text="is no video that this page takes").wait_for()
    tab.give("#performance", film_with_sound)
    tab.locator("#performance video").wait_for()
    tab.locator("#estimate-dub", has_text="Takes about").wait_for()
    tab.get_by_role("radio", name="all (the head, too)").check()
    tab.locator("#dub").click()
    assert "follow all" in tab.await_status("Done")
    assert tab.plays() == [256, 224]
    tab.reload()
    tab.locator("#performance video").wait_for()
    assert tab.get_by_role("radio", name="all (the head, too)").is_checked()
    tab.give_dub_recording(clicks)
    tab.locator("#dub").click()
    assert "give one of them" in tab.await_status("came")


@pytest.mark.slow
def test_the_keyboard_alone(open_page, film, clicks):
    tab = open_page()

    def press_until(selector, key="Tab"):
        for _ in range(90):
            tab.keyboard.press(key)
            if tab.evaluate("which => document.activeElement.matches(which)", selector):
                return
        raise AssertionError(f"{key} does not reach {selector}")

    def choose(file):
        from playwright.sync_api import TimeoutError as NoChooser

        # On a busy machine the page draws a button some seconds before it heeds it: the key is pressed again.
        for _ in range(20):
            try:
                with tab.expect_file_chooser(timeout=6000) as chooser:
                    tab.keyboard.press("Enter")
            except NoChooser:
                continue
            chooser.value.set_files(str(file))
            return
        raise AssertionError("Enter opens no file chooser")

    press_until("#tab-dub-button")
    tab.keyboard.press("Enter")
    press_until("#film button", "Shift+Tab")
    press_until("#film .upload-container, #film button[aria-label*=Drop]", "Shift+Tab")
    choose(film)
    tab.locator("#film video").wait_for()
    press_until("#dub-recording button")
    choose(clicks)
    tab.locator("#dub-recording", has_text="1x").wait_for()
    press_until("#option-lips input[type=range]")
    tab.keyboard.press("ArrowLeft")
    press_until("#dub")
    tab.keyboard.press("Enter")
    assert "lips 0.9" in tab.await_status("Done")
