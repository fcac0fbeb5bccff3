"""Stills follow the sliders and the pose; a portrait is prepared once, and forgotten with its visitor."""

import base64
import io
import shutil

import numpy as np
import pytest
import torch

from anitalker.config import InputError, RenderOptions
from app.models import Models
from app.stills import STRENGTHS, Stills, final_size, moments_of, posed, spoken_seconds


@pytest.fixture
def stills(found_talker):
    stills = Stills(Models(found_talker, "lite", "cpu"))
    yield stills
    stills.close()


def pixels(address):
    from PIL import Image

    head, _, data = address.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def draw(stills, file, moment="rest", owner="a", **options):
    return pixels(stills.draw(owner, file, RenderOptions(**options), moment, None).result())


@pytest.mark.slow
def test_each_slider_and_angle_changes_the_still(stills, example_portrait):
    rest = draw(stills, example_portrait)
    assert rest.shape == (256, 256, 3)
    for option, value in {"yaw": 25, "pitch": -20, "roll": 15, "scale": 1.15, "location": 0.1}.items():
        assert np.abs(draw(stills, example_portrait, **{option: value}) - rest).mean() > 0.5, option
    for moment in ("lips", "head"):
        moved = draw(stills, example_portrait, moment)
        assert np.abs(moved - rest).mean() > 0.02, moment
        assert np.array_equal(draw(stills, example_portrait, moment, **{moment: 0.0}), rest), moment


@pytest.mark.slow
def test_a_still_shows_the_background(stills, example_portrait, tmp_path, monkeypatch):
    """A colour behind the head, a checkerboard where it is transparent; a saved one keeps alpha and its marks."""
    from PIL import Image

    from anitalker import scene
    from anitalker.provenance.verify import verify

    def left_half(network, picture):
        alpha = np.zeros(picture.shape[:2], np.float32)
        alpha[:, : picture.shape[1] // 2] = 1
        return alpha

    monkeypatch.setattr(scene, "find_matte", left_half)
    monkeypatch.setattr(scene, "_network", lambda device: None)
    plain = draw(stills, example_portrait)
    blue = draw(stills, example_portrait, background="#0000ff")
    assert blue.shape == plain.shape == (256, 256, 3)
    assert np.abs(blue[60:200, 220:] - (0, 0, 255)).mean() < 12
    assert np.abs(blue[60:200, :60] - plain[60:200, :60]).mean() < 12
    checks = draw(stills, example_portrait, background="transparent")[60:200, 220:]
    assert checks.min() + 20 > 200 and checks.std() > 15
    output = tmp_path / "still.png"
    size = stills.save(example_portrait, RenderOptions(background="transparent"), "rest", None, output).result()
    with Image.open(output) as picture:
        assert picture.mode == "RGBA" and picture.size == size[::-1]
    assert verify(output)["state"] == "intact"


@pytest.mark.slow
def test_a_saved_still_has_the_size_of_the_video_and_its_marks(stills, example_portrait, pair, tmp_path):
    from PIL import Image

    from anitalker.provenance.verify import verify

    large = tmp_path / "large.png"
    Image.open(example_portrait).resize((900, 600)).save(large)

    def save(file, name, moment="lips", **options):
        output = tmp_path / f"{name}.png"
        size = stills.save(file, RenderOptions(**options), moment, None, output).result()
        picture = np.asarray(Image.open(output)).astype(int)
        assert picture.shape == (*size, 3)
        return picture

    shut, wide = save(large, "shut", lips=0.0), save(large, "wide", lips=2.0)
    assert shut.shape == (600, 900, 3) and np.abs(wide - shut).max() > 20
    assert save(large, "small", size=360).shape == (360, 540, 3)
    assert save(large, "crop", frame="crop").shape == (256, 256, 3)
    verdict = verify(tmp_path / "wide.png")
    assert verdict["state"] == "intact" and verdict["watermark"]["found"]
    assert verdict["credentials"]["origin"]["model"] == "untrained"
    both, single = save(pair, "both", "rest", face="all", yaw=25), save(pair, "single", "rest", yaw=25)
    assert np.abs(both - single).mean() > 0.3, "the second face does not turn"
    corner = (slice(-40, None), slice(0, 80))
    assert np.abs(save(large, "label", lips=0.0, label=True) - shut)[corner].mean() > 10
    with pytest.raises(InputError, match="2 faces speak; choose one face"):
        save(pair, "never", face="all", frame="crop")
    assert sorted(path.name for path in tmp_path.glob("never*")) == []


def test_moments_differ_from_the_portrait_in_one_thing(found_talker, example_portrait):
    portrait = found_talker.portrait(example_portrait)
    start, model = portrait.faces[0].motion, found_talker.model
    for name, code in moments_of(found_talker, portrait.faces[0]).items():
        assert (code - start).norm() > 1e-4 or name == "blink"  # the untrained model has no blink
        for other in STRENGTHS:
            scaled = model.scale_motion(code, start, RenderOptions(**{other: 0.0}))
            assert torch.allclose(scaled, start if other == name else code, atol=1e-3), (name, other)


def test_the_pose_is_that_of_the_options():
    start = torch.zeros(1, 20)
    start[0, :6] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    code = posed(start + 1, start, RenderOptions(yaw=90 / 3, location=0.1, scale=1.2))
    assert torch.allclose(code[0, :6], torch.tensor([0.5236, 1.2, 1.3, 0.5, 1.5, 0.6 + 0.1823]), atol=1e-3)
    assert torch.equal(posed(start + 1, start, RenderOptions(still=True))[0, :6], start[0, :6])
    assert torch.equal(posed(start + 1, start, RenderOptions()), start + 1)


@pytest.mark.slow
def test_a_portrait_is_prepared_once_and_forgotten(stills, example_portrait, tmp_path, monkeypatch):
    prepared = []
    talker = stills._models.get()
    prepare = talker.portrait
    monkeypatch.setattr(talker, "portrait", lambda *a, **k: prepared.append(a) or prepare(*a, **k))
    copy = shutil.copy(example_portrait, tmp_path / "copy.webp")
    file = tmp_path / copy.name
    for lips in (0.5, 1.0, 1.5):
        draw(stills, file, "lips", lips=lips)
    assert len(prepared) == 1
    draw(stills, file, owner="b")
    assert len(prepared) == 2, "another visitor's portrait was used"
    stills.forget("b")
    assert stills._pool.submit(lambda: {key[0] for key in stills._prepared}).result() == {"a"}
    file.unlink()
    draw(stills, example_portrait)
    assert stills._pool.submit(lambda: {key[1] for key in stills._prepared}).result() == {example_portrait}


def test_no_still_of_a_model_that_is_not_loaded(stills, example_portrait):
    with pytest.raises(InputError, match="loaded model"):
        stills.draw("a", example_portrait, RenderOptions(), "rest", "original").result()


@pytest.mark.slow
def test_the_estimate_grows_with_the_work(stills, example_portrait, tmp_path, monkeypatch):
    from PIL import Image

    from anitalker import estimate

    # A machine whose speed is known: measured ones tremble where others use the processor, too.
    monkeypatch.setattr(estimate, "measure_speed", lambda *_: estimate.DrawingSpeed(0.02, 1e-7, 0.01))
    large = tmp_path / "large.png"
    Image.open(example_portrait).resize((1400, 1400)).save(large)

    def seconds(file, length, **options):
        return stills.estimate("a", file, length, RenderOptions(**options), False, None).result()

    short = seconds(example_portrait, 2)
    assert 0 < short < seconds(example_portrait, 8)
    sizes = [seconds(large, 2, size=size) for size in (360, 720, 1080, "original")]
    assert sizes == sorted(set(sizes))
    assert seconds(large, 2, frame="crop") < sizes[0]


def test_lengths_and_sizes():
    assert spoken_seconds("x" * 28) == 2
    assert final_size((3000, 4000), RenderOptions()) == (1080, 1440)
    assert final_size((300, 400), RenderOptions()) == (300, 400)
    assert final_size((3000, 4000), RenderOptions(size="original")) == (3000, 4000)
    assert final_size((3000, 9000), RenderOptions(size="original")) == (1365, 4096)
