"""The page in Chromium plays a video while it is made; the finished one goes on from the same place."""

from __future__ import annotations

import threading

import numpy as np
import pytest

PLACE = "(v => v && v.videoWidth ? v.currentTime : 0)(document.querySelector('{}'))"


@pytest.fixture
def gate(found_talker, monkeypatch):
    """Holds the drawing after 60 frames until it is set."""
    event, draw, drawn = threading.Event(), found_talker.model.render_patches, []

    def render_patches(*arguments, **options):
        for frame in draw(*arguments, **options):
            drawn.append(1)
            if len(drawn) > 60:
                event.wait(60)
            yield frame

    monkeypatch.setattr(found_talker.model, "render_patches", render_patches)
    yield event
    event.set()


@pytest.mark.slow
def test_it_plays_before_it_is_made_and_goes_on_from_there(open_page, gate, root, make_wav, tmp_path):
    tab, other = open_page(), open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    speech = make_wav(tmp_path / "speech.wav", np.random.default_rng(0).normal(0, 0.1, 5 * 16_000))
    tab.give_recording(speech)
    tab.set_steps()
    with tab.expect_request("**/gradio_api/live/*") as asked:
        tab.locator("#speak").click()
    tab.wait_for_function(f"{PLACE.format('#live')} > 0.5 && (document.querySelector('#live').pause(), true)")
    assert "of 125 frames" in tab.locator("#status").inner_text()
    assert other.request.get(asked.value.url).status == 404, "another visitor watches"
    place = tab.evaluate(PLACE.format("#live"))
    gate.set()
    tab.await_status("Done")
    tab.locator("#live").wait_for(state="detached")
    assert abs(tab.evaluate(PLACE.format("#video video")) - place) < 0.1, "the finished video begins elsewhere"
    assert tab.evaluate("document.querySelector('#video video').paused")
    assert tab.locator("#video video").is_visible()
    assert tab.locator("#video a[download]").first.get_attribute("download") == "man-speech.mp4"


@pytest.mark.slow
def test_a_reload_watches_it_again(open_page, gate, root, make_wav, tmp_path):
    tab = open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.give_recording(make_wav(tmp_path / "speech.wav", np.random.default_rng(0).normal(0, 0.1, 5 * 16_000)))
    tab.set_steps()
    tab.locator("#speak").click()
    tab.locator("#live").wait_for()
    tab.reload()
    tab.wait_for_function(f"{PLACE.format('#live')} > 0.3")
    gate.set()
    tab.await_status("Done")
    tab.locator("#live").wait_for(state="detached")
    tab.wait_for_function(f"{PLACE.format('#video video')} > 0.3")


@pytest.mark.slow
def test_a_recording_of_a_batch_is_watched_to_its_end(open_page, root, make_wav, tmp_path):
    tab, noise = open_page(), np.random.default_rng(0).normal(0, 0.1, 4 * 16_000)
    tab.give_portrait(root / "app/examples/man.webp")
    tab.set_steps()
    tab.give_several(*(make_wav(tmp_path / f"{name}.wav", noise) for name in ("first", "second")))
    tab.evaluate("""() => {
      window.shown = [];
      for (const kind of ["playing", "ended"]) document.addEventListener(kind, event => {
        if (event.target.id === "live") window.shown.push([kind, event.target.src]);
      }, true);
    }""")
    tab.locator("#batch").click()
    tab.wait_for_function("window.shown.some(([kind]) => kind === 'playing')")
    tab.await_status("Done: 2 videos")
    tab.locator("#live").wait_for(state="detached")
    (_, first), *later = tab.evaluate("window.shown")
    assert ["ended", first] in later, "it jumped away from the recording that was watched"
    assert later[0][1] == first
    tab.locator("#video video").wait_for()
