"""The live page in Chromium, whose microphone is a WAV file: portrait, voice, text, interruption, figures."""

import os
import re
import shutil

import numpy as np
import pytest

from tests.conftest import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = int(os.environ.get("ANITALKER_PATIENCE", "60000"))  # milliseconds; a free machine needs far less
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(server_talker):
    """A running server."""
    from anitalker.server.application import build_application
    from anitalker.server.http_protocol import TimedHeaders
    from anitalker.server.settings import ServerSettings

    with served(build_application(server_talker, ServerSettings()), http=TimedHeaders) as url:
        yield url


@pytest.fixture
def page(request, address, make_wav, tmp_path):
    """The page in a tab with a talking microphone; faults and requests to other places fail the test."""
    if not CHROMIUM and os.environ.get("ANITALKER_CHROMIUM") != "required":
        pytest.skip("no chromium here: install it to test the page (Debian: apt-get install chromium)")
    t = np.arange(4 * 16_000) / 16_000
    voice = 0.3 * np.sin(2 * np.pi * 180 * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    microphone = make_wav(tmp_path / "voice.wav", voice)
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"]
    flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += [f"--use-file-for-fake-audio-capture={microphone}"]
    faults = []
    browser = request.getfixturevalue("playwright").chromium.launch(executable_path=CHROMIUM, args=flags)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda sent: faults.append(sent.url) if not sent.url.startswith((address, "blob:")) else 0)
    page.goto(address)
    yield page
    browser.close()
    assert faults == []


def start(page, portrait, microphone):
    from playwright.sync_api import expect

    page.locator("#portrait").set_input_files(str(portrait))
    page.locator("#state", has_text="ready").wait_for()
    page.locator("#microphone").select_option(microphone)
    page.locator("#start").click()
    expect(page.locator("#face")).to_have_js_property("videoWidth", 256, timeout=PATIENCE)


def test_what_is_said_into_the_microphone_is_spoken(page, example_portrait):
    start(page, example_portrait, "speak")
    page.locator("#state", has_text="It speaks.").wait_for()
    page.locator("#fps", has_text=re.compile("[1-9]")).wait_for()
    assert int(page.locator("#delay").inner_text()) > 100
    page.locator("#network", has_text=re.compile("[0-9]")).wait_for()
    assert float(page.locator("#level").evaluate("meter => meter.value")) >= 0
    assert re.fullmatch("[0-9a-f]{32}", page.locator("#session").inner_text())
    page.locator("#stop").click()
    page.locator("#state", has_text="Ended.").wait_for()


def test_a_text_is_said_and_interrupted(page, example_portrait):
    start(page, example_portrait, "off")
    page.locator("#text").fill("Hello there. " * 10)
    page.locator("#say").click()
    page.locator("#state", has_text="It speaks.").wait_for()
    page.locator("#interrupt").click()
    page.locator("#state", has_text="It waits.").wait_for()


def test_an_example_is_taken_by_a_click(page):
    assert page.locator("#token-field").is_hidden()
    for example in page.locator(".tiles img").all():
        assert example.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 100
    page.locator("[data-example=man]").click()
    page.locator("#state", has_text="ready").wait_for()
    assert page.locator("[data-example=man]").get_attribute("aria-pressed") == "true"
    assert page.locator("#still").is_visible()


def test_a_missing_portrait_is_told(page):
    page.locator("#start").click()
    page.locator("#state[data-kind=error]", has_text="Choose a portrait").wait_for()
