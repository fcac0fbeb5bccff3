"""The page in Chromium after a reload, a closed tab or a lost connection: the video arrives, the inputs are there."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest


@pytest.fixture
def speech(make_wav, tmp_path):
    """48 frames, and so short that there is no preview."""
    return make_wav(tmp_path / "speech.wav", np.random.default_rng(0).normal(0, 0.1, round(1.9 * 16_000)))


class HalfTime(threading.Event):
    """Holds a video after 20 frames until it is set; cleared, it holds the next one."""

    def __init__(self):
        super().__init__()
        self.drawn = itertools.count()

    def clear(self):
        super().clear()
        self.drawn = itertools.count()

    def hold(self, draw):
        """`draw`, which is called for every few frames."""

        def draw_and_wait(*arguments, **options):
            for frame in draw(*arguments, **options):
                if next(self.drawn) >= 20:
                    self.wait()
                yield frame

        return draw_and_wait


@pytest.fixture
def half_time(found_talker, monkeypatch):
    """Videos stop at half time, so that visitors come back before the end."""
    event = HalfTime()
    monkeypatch.setattr(found_talker.model, "render_patches", event.hold(found_talker.model.render_patches))
    yield event
    event.set()


def frames_done(tab):
    """The number of frames in the status, which a reload must not set back."""
    return int(tab.await_status("of 48 frames").split(" of ")[0].split()[-1])


def begin(tab, root, speech):
    """Start a video of 48 frames with settings that are not the defaults; returns when some are drawn."""
    tab.give_portrait(root / "app/examples/pair.webp")
    tab.locator("#boxes [data-face='1'] rect").click()
    tab.locator("#boxes .face.speaks[data-face='1']").wait_for()
    tab.give_recording(speech)
    tab.set_steps()
    tab.get_by_label("seed").fill("7")
    tab.get_by_label("seed").press("Tab")
    tab.locator("#speak").click()
    return frames_done(tab)


@pytest.mark.slow
def test_a_reload_at_half_time_loses_nothing(open_page, half_time, root, speech):
    tab, other = open_page(), open_page()
    before = begin(tab, root, speech)
    tab.reload()
    assert frames_done(tab) >= before, "the work began anew"
    assert not tab.locator("#speak").is_enabled() and tab.locator("#cancel").is_visible()
    tab.wait_for_selector("#boxes .face.speaks[data-face='1']", state="attached")
    tab.locator("#recording", has_text="1x").wait_for()
    half_time.set()
    assert "seed 7" in tab.await_status("Done") and tab.plays() == [1024, 512]
    assert tab.locator("#speak").is_enabled() and tab.locator("#shelf figure").count() == 1
    other.reload()  # another visitor
    other.locator("#shelf", has_text="will be kept here").wait_for()
    assert other.locator(".sample").is_visible()
    assert other.locator("#boxes rect").count() == 0
    tab.reload()  # after the end
    assert "seed 7" in tab.await_status("Done") and tab.plays() == [1024, 512]
    tab.get_by_role("button", name="Options").click()
    assert tab.get_by_label("seed").input_value() == "7" and tab.get_by_label("steps").input_value() == "1"
    half_time.clear()
    tab.locator("#speak").click()
    tab.await_status("of 48 frames")
    tab.locator("#cancel").click()
    half_time.set()
    tab.await_status("Cancelled")


@pytest.mark.slow
def test_a_closed_tab_does_not_end_the_work(open_page, page, half_time, root, speech):
    tab = open_page()
    tab.get_by_role("tab", name="Text").click()
    tab.get_by_label("Text", exact=True).fill("For later.")
    tab.get_by_role("tab", name="Recording").click()
    begin(tab, root, speech)
    tab.close()
    again = tab.open_beside(page.url)
    again.await_status("of 48 frames")
    again.locator("#cancel").click()
    half_time.set()
    again.await_status("Cancelled")
    again.get_by_role("tab", name="Text").click()
    assert again.get_by_label("Text", exact=True).input_value() == "For later."
    again.locator("#forget").click()
    again.get_by_role("button", name="Delete everything").click()
    again.wait_for_function("document.querySelector('#text textarea').value == ''")
    again.reload()
    again.locator("#shelf", has_text="will be kept here").wait_for()
    assert again.locator(".sample").is_visible()
    assert again.locator("#boxes rect").count() == 0
