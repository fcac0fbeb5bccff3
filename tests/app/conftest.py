"""Serves the page on a free port, over the untrained model and a finder that always finds a face."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = int(os.environ.get("ANITALKER_PATIENCE", "20000"))  # milliseconds; an idle machine needs far less


@contextlib.contextmanager
def run_page(talker, limits, credentials=None):
    """Serve the page over `talker` until the end of the block; yields url, port, app, sessions and models."""
    import uvicorn

    from app.models import Models
    from app.server import application

    models = Models(talker, "lite", "cpu")
    with application(models, limits, credentials) as guard:
        config = uvicorn.Config(guard, port=0, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield SimpleNamespace(
            url=f"http://127.0.0.1:{port}", port=port, app=guard, sessions=guard.sessions, models=models
        )
        server.should_exit = True
        thread.join(3)  # after hundreds of other tests its loop may not end; the thread is a daemon


@pytest.fixture(scope="session")
def serve():
    return run_page


@pytest.fixture(scope="session")
def found_talker(untrained_model, fixed_finder):
    """The untrained model; every picture shows two faces if it is twice as wide as high, else one."""
    from anitalker import pipeline

    class Finder(fixed_finder):
        def find(self, picture):
            self.count = 2 if picture.shape[1] >= 2 * picture.shape[0] else 1
            return super().find(picture)

    talker = pipeline.load(untrained_model, "cpu")
    talker._finders["own"] = Finder()
    return talker


@pytest.fixture(scope="session")
def page(found_talker):
    """A page with small limits that the tests share."""
    from anitalker.server.limits import MB, Limits

    with run_page(found_talker, Limits(upload_bytes=2 * MB, media_seconds=20, waiting_jobs=3)) as served:
        yield served


@pytest.fixture(scope="session")
def pair(root):
    """A picture with two faces."""
    return root / "app/examples/pair.webp"


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """A second of noise at 30 frames per second, in which a face is always found."""
    return _noise(tmp_path_factory.mktemp("film") / "film.mp4", None)


@pytest.fixture(scope="session")
def film_of_two(tmp_path_factory):
    """The same with two faces."""
    return _noise(tmp_path_factory.mktemp("film") / "two.mp4", None, (224, 448))


@pytest.fixture(scope="session")
def film_with_sound(tmp_path_factory, make_wav):
    """The same with a tone."""
    folder = tmp_path_factory.mktemp("film")
    tone = make_wav(folder / "tone.wav", 0.5 * np.sin(np.arange(16_000) * 0.2))
    return _noise(folder / "sounding.mp4", tone)


def _noise(path, sound, size=(224, 256)):
    from fractions import Fraction

    from anitalker.media.writer import VideoWriter

    picture = np.random.default_rng(5).integers(0, 255, (*size, 3), np.uint8)
    with VideoWriter(path, size[1], size[0], sound, fps=Fraction(30)) as writer:
        for _ in range(30):
            writer.write(picture)
    return path


class Tab:
    """A tab of Chromium with the page in it: everything that Playwright's page has, and what visitors do here."""

    def __init__(self, page):
        self._page = page

    def __getattr__(self, name):
        return getattr(self._page, name)

    def open_beside(self, url):
        """Open another tab of the same visitor."""
        tab = self.context.new_page()
        tab.goto(url)
        tab.wait_for_selector("#speak")
        return Tab(tab)

    def give(self, where, file):
        """Upload a file to a widget."""
        self.locator(f"{where} input[type=file]").first.set_input_files(str(file))

    def give_portrait(self, file):
        self.give("#portrait", file)
        self.wait_for_selector("#boxes rect", state="attached")

    def give_recording(self, file):
        self.give("#recording", file)
        self.locator("#recording", has_text="1x").wait_for()  # the player's speed

    def give_film(self, file):
        self.give("#film", file)
        self.wait_for_selector("#film video")
        self.locator("#film-advice .note").wait_for()

    def give_dub_recording(self, file):
        self.give("#dub-recording", file)
        self.locator("#dub-recording", has_text="1x").wait_for()

    def give_several(self, *files):
        """Give several recordings to the input of one."""
        chooser = self.locator("#recording input[type=file]").first
        chooser.evaluate("input => { input.multiple = true }")  # as a click does
        chooser.set_input_files([str(file) for file in files])
        self.locator("#listed .note").first.wait_for()

    def give_inputs(self, names, files):
        """Give files by the name of the widget and of the file, or a text; None removes what is there."""
        for widget, name in names.items():
            if widget.endswith("text"):
                self.locator(f"#{widget} textarea").fill(name)
                continue
            remove = self.locator(f"#{widget}").locator("[aria-label=Clear], [aria-label='Remove Image']").first
            if remove.is_visible():
                remove.click()
                remove.wait_for(state="detached")
            if name:
                with self.expect_response("**/gradio_api/upload?*"):
                    self.give(f"#{widget}", getattr(files, name))
                remove.wait_for()
                self.wait_for_timeout(300)  # until the widget has the file's place on the server

    def set_steps(self):
        """One step: quick. Gradio mounts the fields as they unfold, and what is typed before that is done is lost."""
        self.get_by_role("button", name="Options").click()
        steps = self.get_by_label("steps")
        for _ in range(20):
            steps.fill("1")
            steps.press("Tab")
            self.wait_for_timeout(100)
            if steps.input_value() == "1":
                return
        raise AssertionError(f"steps does not take 1; it shows {steps.input_value()!r}")

    def await_status(self, words):
        try:
            self.locator("#status", has_text=words).wait_for()
        except Exception:
            shown = [self.locator(where).all_inner_texts() for where in ("#status", ".toast-body")]
            raise AssertionError(f"waited for {words!r}; there is {shown}") from None
        return self.locator("#status").inner_text()

    def plays(self):
        """The video's time advances; its size in pixels."""
        self.wait_for_function("(document.querySelector('#video video') || {}).videoWidth > 0")
        self.wait_for_function("(document.querySelector('#video video') || {}).currentTime > 0.3")
        return self.evaluate("(v => [v.videoWidth, v.videoHeight])(document.querySelector('#video video'))")


@pytest.fixture(scope="session")
def browser(request):
    """Chromium without a window. Where it is missing these tests are skipped, but not in CI, which asks for it."""
    if not CHROMIUM and os.environ.get("ANITALKER_CHROMIUM") != "required":
        pytest.skip("no chromium here: install it to test the page (Debian: apt-get install chromium)")
    browser = request.getfixturevalue("playwright").chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"],
    )
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser, page):
    """Opens the page as a new visitor; what goes wrong in the browser fails the test."""
    contexts, faults = [], []

    def open_tab(url=page.url, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on(
            "request", lambda sent: faults.append(sent.url) if not sent.url.startswith((url, "data:", "blob:")) else 0
        )
        tab.goto(url)
        tab.wait_for_selector("#speak")
        return Tab(tab)

    yield open_tab
    for context in contexts:
        context.close()
    assert faults == []
