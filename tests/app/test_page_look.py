"""How the page looks and reads in Chromium: contrast and names (axe), one language, sizes, the sample."""

from __future__ import annotations

import pytest

SMALL = """() =>
  [...document.querySelectorAll("button, a, summary, select, [role=tab], input:not([type=range])")]
  .filter(e => e.checkVisibility({visibilityProperty: true}) && e.type !== "file")
  .filter(e => !e.closest("[aria-hidden=true]"))
  .map(e => [e, (e.closest("label") || e).getBoundingClientRect()])
  .filter(([e, box]) => box.width > 0 && (box.width < 40 || box.height < 40))
  .map(([e, box]) => `${e.tagName} ${e.id || e.ariaLabel || e.innerText} ${box.width}x${box.height}`)"""

# At once: the page may move between two measurements.
BOXES = """() => ["#portrait img", "#boxes svg"].map(which => {
  const box = document.querySelector(which).getBoundingClientRect();
  return [box.x, box.y, box.width, box.height];
})"""


@pytest.fixture(scope="session")
def axe():
    """Returns axe's serious and critical findings in a tab, a line each."""
    package = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe comes with the extra `dev`")

    def findings(tab):
        results = package.Axe().run(tab._page).response["violations"]
        return [
            f"{found['id']}: {node['html'][:200]}"
            for found in results
            if found["impact"] in ("serious", "critical")
            for node in found["nodes"]
        ]

    return findings


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, axe, clicks, root, scheme):
    tab = open_page(color_scheme=scheme)
    assert axe(tab) == [], "on load"
    tab.set_steps()
    tab.get_by_role("button", name="Was it made here?").click()
    for name in ("Text", "Dub", "Drive", "Idle", "Inspect", "Live", "Recording"):
        tab.get_by_role("tab", name=name).click()
        assert axe(tab) == [], f"options open, tab {name}"
    tab.locator("#speak").click()
    tab.await_status("yet")
    assert axe(tab) == [], "after an error"
    tab.give_portrait(root / "app/examples/man.webp")
    tab.give_recording(clicks)
    tab.locator("#speak").click()
    tab.await_status("Done")
    tab.plays()
    assert axe(tab) == [], "after a result"
    tab.locator("#recording [aria-label=Clear]").click()
    tab.give_several(clicks, clicks)
    assert axe(tab) == [], "a list of recordings"
    tab.locator("#batch").click()
    tab.await_status("2 videos")
    tab.locator("#still button").click()
    tab.locator("#saved a").wait_for()
    assert axe(tab) == [], "after several videos"
    tab.locator("[data-delete]").first.click()
    assert axe(tab) == [], "before something is deleted"


@pytest.mark.slow
def test_a_german_browser_reads_one_language(open_page):
    tab = open_page(locale="de-DE")
    words = tab.locator("body").inner_text()
    assert "Drop Image Here" in words and "Click to Upload" in words
    assert not [word for word in ("Bild", "Hier", "Klicken", "Hochladen", "oder") if word in words]


@pytest.mark.slow
def test_a_thumb_hits_everything(open_page, root, clicks, film_of_two):
    tab = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    tab.get_by_role("button", name="Options").click()
    tab.get_by_role("button", name="Was it made here?").click()
    tab.give_portrait(root / "app/examples/pair.webp")
    tab.give_recording(clicks)
    assert tab.evaluate(SMALL) == []
    tab.locator("#recording [aria-label=Clear]").click()
    tab.give_several(clicks, clicks)
    tab.locator("#still button").wait_for()
    assert tab.evaluate(SMALL) == [], "a list of recordings"
    tab.get_by_role("tab", name="Dub").click()
    tab.give_film(film_of_two)
    assert tab.evaluate(SMALL) == [], "a dub"
    people, faces = tab.evaluate(BOXES.replace("#portrait img", "#people img").replace("#boxes svg", "#people svg"))
    assert people == pytest.approx(faces, abs=1), "the boxes do not lie on the people"
    tab.get_by_role("tab", name="Recording").click()
    picture, boxes = tab.evaluate(BOXES)
    assert picture == pytest.approx(boxes, abs=3), "the boxes do not lie on the picture"


@pytest.mark.slow
def test_the_sample_plays_until_there_is_a_video(open_page, root, clicks):
    tab = open_page()
    tab.wait_for_function("document.querySelector('.sample video').currentTime > 0.3")
    assert tab.evaluate("document.querySelector('.sample video').muted")
    assert tab.locator("#bar #speak").is_visible() and not tab.locator("#bar #say").is_visible()
    assert not tab.locator("#status").is_visible()
    tab.locator("#speak").click()
    tab.await_status("yet")
    assert tab.locator(".sample").is_visible(), "an error leaves an empty half"
    assert tab.evaluate("getComputedStyle(document.querySelector('#status .failed')).borderLeftWidth") == "4px"
    tab.give_portrait(root / "app/examples/man.webp")
    tab.give_recording(clicks)
    tab.set_steps()
    tab.locator("#speak").click()
    tab.await_status("Done")
    tab.plays()
    assert not tab.locator(".sample").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1280, 900), (1024, 768), (390, 844)])
def test_the_start_button_is_always_in_sight(open_page, size):
    tab = open_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    for _ in range(2):  # at the top, and where the settings are
        box = tab.locator("#speak").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= size[1]
        tab.locator("#options").scroll_into_view_if_needed()
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
