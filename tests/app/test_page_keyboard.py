"""The page in Chromium with the keyboard alone, from the files to the saved video; what has the focus has a ring."""

from __future__ import annotations

import zipfile

import pytest

FOCUS = """([which, text]) => {
  const focus = document.activeElement;
  const ringed = e => getComputedStyle(e).outlineStyle === "solid" && parseFloat(getComputedStyle(e).outlineWidth) >= 3;
  const browsers = ["BODY", "VIDEO", "AUDIO"].includes(focus.tagName);  // whose rings the browser draws
  const box = focus.getBoundingClientRect();
  return {
    there: focus.matches(which) && (focus.innerText || focus.ariaLabel || "").includes(text),
    name: `${focus.tagName} ${focus.id || focus.ariaLabel || focus.outerHTML.slice(0, 90)}`,
    ringed: browsers || ringed(focus),
    seen: browsers || box.top < innerHeight && box.bottom > 0,
  };
}"""


@pytest.fixture
def keys(open_page):
    """A tab of the page; `tab_to` goes on with the Tab key, and checks that each stop has a visible ring."""
    tab = open_page()
    tab.on("filechooser", lambda chooser: None)  # from now on no real one opens

    def tab_to(selector, text="", most=90):
        for _ in range(most):
            tab.keyboard.press("Tab")
            focus = tab.evaluate(FOCUS, [selector, text])
            assert focus["ringed"] and focus["seen"], f"no ring in sight: {focus['name']}"
            if focus["there"]:
                return
        raise AssertionError(f"the Tab key does not reach {selector} {text}")

    tab.tab_to = tab_to
    return tab


@pytest.mark.slow
def test_an_example_a_text_and_the_download(keys):
    keys.tab_to("[data-take='portrait:man']")
    keys.keyboard.press("Enter")
    keys.wait_for_selector("#boxes rect", state="attached")
    keys.tab_to("[role=tab]", "Text")
    keys.keyboard.press("Enter")
    keys.get_by_label("Text", exact=True).wait_for()
    keys.tab_to("#text textarea")
    keys.keyboard.type("Yes.")
    keys.tab_to("#option-lips input[type=range]")
    keys.keyboard.press("ArrowRight")
    keys.tab_to("#say")
    keys.keyboard.press("Enter")
    assert "lips 1.1" in keys.await_status("Done")
    keys.tab_to("#shelf a", "Download")
    with keys.expect_download() as download:
        keys.keyboard.press("Enter")
    assert download.value.suggested_filename == "man-Yes.mp4"


@pytest.mark.slow
def test_files_from_the_chooser_and_the_zip(keys, root, clicks, make_wav, tmp_path):
    import numpy as np

    other = make_wav(tmp_path / "other.wav", np.random.default_rng(3).normal(0, 0.1, 4800))

    def choose(*files):
        with keys.expect_file_chooser() as chooser:
            keys.keyboard.press("Enter")
        chooser.value.set_files([str(file) for file in files])

    keys.tab_to("#portrait button", "Drop Image")
    choose(root / "app/examples/man.webp")
    keys.wait_for_selector("#boxes rect", state="attached")
    keys.tab_to("#recording button", "Drop Audio")
    choose(clicks, other)
    keys.locator("#listed", has_text="2 recordings").wait_for()
    keys.tab_to("#batch")
    keys.keyboard.press("Space")
    keys.await_status("Done: 2 videos")
    keys.tab_to("#archive a")
    with keys.expect_download() as download:
        keys.keyboard.press("Enter")
    with zipfile.ZipFile(download.value.path()) as packed:
        assert packed.namelist() == [f"man-{clicks.stem}.mp4", "man-other.mp4"]
