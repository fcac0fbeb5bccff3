"""The page in Chromium with several recordings: one input takes them, one job makes them, a reload loses nothing."""

from __future__ import annotations

import threading
import zipfile

import numpy as np
import pytest


@pytest.fixture
def files(tmp_path, make_wav):
    """Two recordings of half a second, a ZIP of one more and of a text, and a file larger than an upload may be."""
    for number, name in enumerate(("one", "two", "three")):
        make_wav(tmp_path / f"{name}.wav", np.random.default_rng(number).normal(0, 0.1, 8000))
    with zipfile.ZipFile(tmp_path / "talk.zip", "w") as packed:
        packed.write(tmp_path / "three.wav", "a/three.wav")
        packed.writestr("notes.txt", "no recording")
        packed.writestr("__MACOSX/._three.wav", "no recording")
    (tmp_path / "large.wav").write_bytes(bytes(2_300_000))
    return {name: tmp_path / name for name in ("one.wav", "two.wav", "talk.zip", "large.wav")}


@pytest.fixture
def gate(found_talker, monkeypatch):
    """Holds each video after the first one until it is set."""
    event, render, videos = threading.Event(), found_talker.render, []

    def held(*arguments, **options):
        videos.append(1)
        if len(videos) > 1:
            event.wait()
        return render(*arguments, **options)

    monkeypatch.setattr(found_talker, "render", held)
    yield event
    event.set()


@pytest.mark.slow
def test_a_batch_through_a_reload_to_its_zip(open_page, gate, files, root):
    tab = open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.set_steps()
    tab.give_several(files["one.wav"], files["talk.zip"], files["two.wav"])
    assert "3 recordings, 2 s in all" in tab.locator("#listed").inner_text()
    assert "Left out: notes.txt" in tab.locator("#listed").inner_text()
    assert not tab.locator("#recording").is_visible() and not tab.locator("#speak").is_visible()
    tab.locator("#estimate-batch .estimate", has_text="Takes about").wait_for()
    tab.locator("#batch").click()
    tab.await_status("Recording 2 of 3: three.wav")
    tab.locator("#shelf figure").wait_for()  # the first one is there before the end
    tab.reload()
    tab.await_status("Recording 2 of 3: three.wav")
    tab.locator("#recordings .file-preview tr:nth-child(2)", has_text="talk").wait_for()
    assert "Left out: notes.txt" in tab.locator("#result").inner_text()
    gate.set()
    assert "Done: 3 videos" in tab.await_status("1 of 4 recordings is left out")
    assert tab.plays() == [512, 512] and tab.locator("#shelf figure").count() == 3
    with tab.expect_download() as download:
        tab.locator("#archive a").first.click()
    assert download.value.suggested_filename == "man-videos.zip"
    with zipfile.ZipFile(download.value.path()) as packed:
        assert packed.namelist() == ["man-one.mp4", "man-three.mp4", "man-two.mp4"]
    tab.locator("#shelf figure", has_text="Video 2").get_by_text("Same again").click()
    tab.locator("#recording", has_text="1x").wait_for()  # the recording of this video alone
    tab.locator("#recordings .file-preview").wait_for(state="detached")
    assert tab.locator("#speak").is_visible()
    tab.locator("[data-delete='2']").click()
    tab.get_by_role("button", name="Delete", exact=True).last.click()
    tab.locator("#archive a").first.wait_for(state="hidden")
    assert tab.locator("#shelf figure").count() == 2 and tab.locator("#video video").count() == 1


@pytest.mark.slow
def test_cancel_keeps_the_finished_and_the_list_can_be_emptied(open_page, page, gate, files, root):
    tab = open_page()
    tab.give_portrait(root / "app/examples/man.webp")
    tab.set_steps()
    tab.give_several(files["one.wav"], files["two.wav"])
    tab.locator("#batch").click()
    tab.await_status("Recording 2 of 2: two.wav")
    tab.locator("#cancel").click()
    gate.set()
    tab.await_status("Cancelled; finished videos are below.")
    assert tab.locator("#shelf a", has_text="Download").get_attribute("download") == "man-one.mp4"
    assert tab.locator("#shelf figure").count() == 1 and not tab.locator("#archive").is_visible()
    assert not list(page.sessions.root.glob("sessions/*/work-*"))
    tab.locator("#recordings [aria-label=Clear]").click()
    tab.locator("#recording").wait_for()
    assert tab.locator("#speak").is_visible()
    tab.locator("#listed .note").wait_for(state="hidden")


@pytest.mark.slow
def test_files_that_are_dropped_and_one_that_is_too_large(open_page, files):
    tab = open_page()
    tab.give_several(files["one.wav"], files["large.wav"], files["two.wav"])
    tab.locator("#checker", has_text="Not uploaded, perhaps too large: large.wav").wait_for()
    assert tab.locator("#recordings .file-preview tr").count() == 2
    tab.locator("#recordings [aria-label=Clear]").click()
    tab.locator("#recording button.upload-container").wait_for()
    tab.evaluate(
        """data => {
      const moved = new DataTransfer();
      for (const name of ["a.zip", "b.zip"]) moved.items.add(new File([Uint8Array.from(data)], name));
      const drop = new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true});
      document.querySelector("#recording button.upload-container").dispatchEvent(drop);
    }""",
        list(files["talk.zip"].read_bytes()),
    )
    tab.locator("#listed", has_text="2 recordings, 1 s in all").wait_for()
    assert tab.locator("#listed").inner_text().count("notes.txt") == 2
    tab.locator("#speak, #batch").locator("visible=true").click()
    tab.await_status("no portrait yet")
