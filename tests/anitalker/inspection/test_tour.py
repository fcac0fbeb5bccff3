"""The whole report on an untrained model: every section is there, every picture can be opened and is explained."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from anitalker import cli
from anitalker.config import InputError
from anitalker.inspection import many_pictures, maximise, one_picture, report, tour

SECTIONS = ["directions", "groups", "hal", "activations", "saliency", "maximised", "attention"]
PICTURES = {
    "directions-strips.png",
    "directions-movement.png",
    "hal-weights.png",
    "hal-contributions.png",
    "hal-groups.png",
    "activations.png",
    "saliency-groups.png",
    "saliency-occlusion.png",
    "saliency-input-gradient.png",
    "saliency-guided-backpropagation.png",
    "saliency-integrated-gradients.png",
    "maximised.png",
    "attention.png",
}


class Page(HTMLParser):
    """Sections by id, pictures with their captions, links."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.links, self.captions, self.inside = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "h2":
            self.sections.append(attributes["id"])
        elif tag == "a":
            self.links.append(attributes["href"].removeprefix("#"))
        elif tag == "img":
            assert attributes["alt"]
            self.inside = attributes["src"]
            self.captions[self.inside] = ""

    def handle_endtag(self, tag):
        if tag == "figure":
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.captions[self.inside] += data


def checked(folder):
    """The page of a folder, after every picture of it was opened and found explained."""
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert page.sections == page.links and len(set(page.sections)) == len(page.sections)
    assert {path.name for path in folder.iterdir()} == {*page.captions, "index.html"}
    for name, caption in page.captions.items():
        with Image.open(folder / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert min(pixels.shape[:2]) > 80 and pixels.std() > 2, f"{name} is blank"
        assert len(caption.split()) >= 12 and caption.rstrip().endswith("."), f"{name}: no sentence on how to read it"
    return page


@pytest.fixture
def quick(monkeypatch):
    """Coarse attributions and short ascents: what the numbers say is tested elsewhere."""
    coarse = {
        "occlusion": lambda f, x: one_picture.attribution.occlusion(f, x, 128, 128),
        "input gradient": one_picture.attribution.input_gradient,
        "guided backpropagation": one_picture.attribution.guided_backpropagation,
        "integrated gradients": lambda f, x: one_picture.attribution.integrated_gradients(f, x, steps=2),
    }
    monkeypatch.setattr(one_picture.attribution, "METHODS", coarse)
    monkeypatch.setattr(maximise, "STEPS", 1)
    monkeypatch.setattr(report, "DPI", 60)
    monkeypatch.setattr(one_picture.effects, "STRIP_STEPS", (-2.0, 0.0, 2.0))
    monkeypatch.setattr(many_pictures.maps, "MIN_DISTANCE_FRAMES", 2)
    # An untrained model draws nothing that could be measured, so groups are set here.
    measure_effects = one_picture.effects.measure_effects

    def with_groups(finder, frames):
        effects, missing = measure_effects(finder, frames)
        groups = ["pose"] * 6 + ["lips"] * 8 + ["eyes"] * 6
        return [replace(effect, group=group) for effect, group in zip(effects, groups, strict=True)], missing

    monkeypatch.setattr(one_picture.effects, "measure_effects", with_groups)


@pytest.fixture
def portrait_file(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.mark.slow
def test_picture(talker, portrait_file, clicks, tmp_path, quick):
    steps = []
    facts = tour.inspect(talker, portrait_file, tmp_path / "out", clicks, progress=lambda *step: steps.append(step))
    page = checked(tmp_path / "out")
    assert page.sections == facts["sections"] == SECTIONS and set(page.captions) == PICTURES
    assert steps[-1] == ("sections", 7, 7) and facts["kind"] == "picture"
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.slow
def test_folder(talker, tmp_path, clicks, quick, monkeypatch):
    monkeypatch.setattr(one_picture, "SECTIONS", ())
    faces = tmp_path / "faces"
    faces.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(faces / f"{number}.png")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(faces / "nobody.png")
    (faces / "notes.txt").write_text("no picture")
    facts = tour.inspect(talker, faces, tmp_path / "out", clicks, stage=2, channel=3)
    assert checked(tmp_path / "out").sections == facts["sections"] == ["patches", "neighbours"]
    with pytest.raises(InputError, match="stage is 9; allowed is 0 to 5: 64x64"):
        tour.inspect(talker, faces, tmp_path / "out", clicks, stage=9)


@pytest.mark.slow
def test_video(talker, tmp_path, clicks, quick, monkeypatch):
    from anitalker.media.writer import VideoWriter

    monkeypatch.setattr(one_picture, "SECTIONS", ())
    monkeypatch.setattr(tour, "MAX_FRAMES", 24)
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(tmp_path / "clip.mp4", 128, 128, clicks) as writer:
        for number in range(50):
            writer.write(np.roll(still, number // 3, 1))
    facts = tour.inspect(talker, tmp_path / "clip.mp4", tmp_path / "out", clicks)
    page = checked(tmp_path / "out")
    assert facts["kind"] == "video" and page.sections == ["clip-stages", "places", "neighbours"]
    assert {"clip-stages-variation.png", "clip-stages-probes.png", "places.png"} < set(page.captions)


def test_output_is_checked_first(tmp_path, untrained_model, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    command = ["inspect", "face.png", "-o", str(tmp_path / "mine"), "--model", str(untrained_model)]
    assert cli.main(command) == 2
    assert "holds other files; give a new folder, or one with a report" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.slow
def test_a_failure_leaves_nothing(talker, portrait_file, clicks, tmp_path, monkeypatch):
    def fail(inspection, report):
        raise KeyboardInterrupt

    monkeypatch.setattr(one_picture, "SECTIONS", (one_picture.hal, fail))
    with pytest.raises(KeyboardInterrupt):
        tour.inspect(talker, portrait_file, tmp_path / "out", clicks)
    assert {path.name for path in tmp_path.iterdir()} == {"face.png"}


@pytest.mark.slow
def test_shipped_model_on_the_demo(root, tmp_path):
    """Complete, and its groups agree with the names of the numbers: the first three turn the head."""
    from anitalker.pipeline import load

    facts = tour.inspect(load("lite", "cpu"), root / "app/examples/portrait.webp", tmp_path / "out")
    assert checked(tmp_path / "out").sections == SECTIONS
    assert [facts["groups"][name] for name in ("yaw", "pitch", "roll", "x", "y", "size")] == ["pose"] * 6
    assert {"lips", "eyes"} <= set(facts["groups"].values()) and facts["groups"]["e1"] == "lips"
