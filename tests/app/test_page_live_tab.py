"""The tab Live in Chromium, whose microphone is a WAV file: the portrait of step 1 wakes up, speaks and leaves."""

import numpy as np
import pytest

from tests.app.conftest import CHROMIUM, PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(request, make_wav, tmp_path_factory):
    """Chromium with a talking microphone."""
    import os

    if not CHROMIUM and os.environ.get("ANITALKER_CHROMIUM") != "required":
        pytest.skip("no chromium here: install it to test the page (Debian: apt-get install chromium)")
    t = np.arange(4 * 16_000) / 16_000
    voice = 0.3 * np.sin(2 * np.pi * 180 * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    microphone = make_wav(tmp_path_factory.mktemp("voice") / "voice.wav", voice)
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"]
    flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += [f"--use-file-for-fake-audio-capture={microphone}"]
    browser = request.getfixturevalue("playwright").chromium.launch(executable_path=CHROMIUM, args=flags)
    yield browser
    browser.close()


def wake(tab, portrait):
    """Give a portrait and open its live page: its frame."""
    tab.give_portrait(portrait)
    tab.get_by_role("tab", name="Live").click()
    tab.locator("#wake").click()
    return tab.frame_locator("#live-face")


def test_a_portrait_says_what_is_said_and_leaves_with_the_files(page, open_page, root):
    tab = open_page()
    frame = wake(tab, root / "app/examples/man.webp")
    frame.locator("#start").click()
    frame.locator("#state", has_text="It speaks.").wait_for(timeout=PATIENCE)
    assert frame.locator("#portraits").is_hidden()
    tab.wait_for_function("document.querySelector('#live-face').contentDocument.querySelector('video').videoWidth > 0")
    assert page.app.live.app.state.sessions.count == 1
    tab.locator("#forget").click()
    tab.get_by_role("button", name="Delete everything").click()
    tab.locator("#live-face").wait_for(state="detached")
    for _ in range(100):
        if not page.app.live.app.state.sessions.count:
            break
        tab.wait_for_timeout(100)
    assert page.app.live.app.state.sessions.count == 0


def test_a_text_is_said_and_another_portrait_takes_the_place(open_page, root):
    tab = open_page()
    frame = wake(tab, root / "app/examples/man.webp")
    frame.locator("#microphone").select_option("off")
    frame.locator("#start").click()
    frame.locator("#state", has_text="Live.").wait_for()
    frame.locator("#text").fill("Hello there. " * 8)
    frame.locator("#say").click()
    frame.locator("#state", has_text="It speaks.").wait_for()
    frame.locator("#interrupt").click()
    frame.locator("#state", has_text="It waits.").wait_for()
    tab.locator("#portrait [aria-label='Remove Image']").click()
    tab.locator("#live-face").wait_for(state="detached")


def test_without_a_portrait_the_tab_says_so(open_page):
    tab = open_page()
    tab.get_by_role("tab", name="Live").click()
    tab.locator("#wake").wait_for()
    for where in ("#bar", "#motion", ".step:has-text('How far it moves')"):
        assert not tab.locator(where).is_visible(), where
    tab.locator("#wake").click()
    tab.locator("#live-stage .note", has_text="no portrait yet").wait_for()
