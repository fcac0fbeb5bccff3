"""A transparent WebM in Chromium: what is behind the video on the page shows through it."""

import base64
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from anitalker.media.writer import VideoWriter

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = """<body style="margin:0;background:%s"><video muted autoplay src="data:video/webm;base64,%s"></video>"""


@pytest.fixture
def tab(request):
    if not CHROMIUM and os.environ.get("ANITALKER_CHROMIUM") != "required":
        pytest.skip("no chromium here: install it to test the page (Debian: apt-get install chromium)")
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"]
    browser = request.getfixturevalue("playwright").chromium.launch(executable_path=CHROMIUM, args=flags)
    yield browser.new_page(viewport={"width": 160, "height": 120})
    browser.close()


@pytest.mark.slow
def test_two_colours_show_through(tab, tmp_path):
    """A red square in the middle of nothing, over green and over blue."""
    frame = np.zeros((120, 160, 4), np.uint8)
    frame[30:90, 40:120] = (220, 30, 30, 255)
    with VideoWriter(tmp_path / "out.webm", 160, 120, alpha=True) as writer:
        for _ in range(5):
            writer.write(frame)
    video = base64.b64encode((tmp_path / "out.webm").read_bytes()).decode()
    for name, colour in (("#00c000", (0, 192, 0)), ("#0000c0", (0, 0, 192))):
        tab.set_content(PAGE % (name, video))
        tab.wait_for_function("document.querySelector('video').ended")
        shown = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB")).astype(int)
        assert np.abs(shown[5:25, 5:35] - colour).max() <= 3
        assert np.abs(shown[40:80, 50:110] - (220, 30, 30)).mean() < 8
