"""Another background: alpha moves with the head, nothing else changes, and what cannot be done is refused."""

import numpy as np
import pytest
import torch

from anitalker import scene
from anitalker.config import InputError, RenderOptions
from anitalker.media.video import probe
from anitalker.provenance.verify import verify


@pytest.fixture
def cut(monkeypatch):
    """Mattes are an ellipse, and are counted."""
    made = []

    def ellipse(network, picture):
        height, width = picture.shape[:2]
        rows, columns = np.mgrid[:height, :width]
        made.append(picture.shape)
        distance = np.hypot((rows / height - 0.5) / 0.4, (columns / width - 0.5) / 0.3)
        return np.clip((1 - distance) * 20, 0, 1).astype(np.float32)

    monkeypatch.setattr(scene, "find_matte", ellipse)
    monkeypatch.setattr(scene, "_network", lambda device: None)
    return made


@pytest.fixture
def portrait(talker, example_portrait):
    return talker.portrait(example_portrait)


def moving(portrait, frames=3):
    """The portrait's own code, then the head shifted to the right."""
    code = portrait.faces[0].motion.repeat(frames, 1)
    code[1:, 3] += 0.06
    return [code]


def test_alpha_moves_with_the_head(talker, portrait, cut):
    frames = list(talker.draw(portrait, moving(portrait), RenderOptions(background="transparent")))
    assert all(frame.shape == (256, 256, 4) for frame in frames)
    first, moved = (frame[..., 3].astype(float) for frame in frames[:2])

    def centre(alpha):
        """Of the columns at the height of the face."""
        band = alpha[96:160]
        return (band.sum(0) * np.arange(256)).sum() / band.sum()

    assert 4 < centre(moved) - centre(first) < 20
    assert len(cut) == 1, "the matte is made once per portrait"


def test_a_colour_is_behind_and_the_face_is_the_same(talker, portrait, cut):
    plain = list(talker.draw(portrait, moving(portrait)))
    green = list(talker.draw(portrait, moving(portrait), RenderOptions(background="#00ff00")))
    alpha = [f[..., 3] for f in talker.draw(portrait, moving(portrait), RenderOptions(background="transparent"))]
    for frame, changed, share in zip(plain, green, alpha, strict=True):
        assert np.all(changed[share == 0] == (0, 255, 0))
        inner = np.zeros((256, 256), bool)
        inner[100:150, 100:150] = True
        assert np.abs(frame[inner].astype(int) - changed[inner]).mean() < 1


def test_blur_takes_no_colour_of_the_person():
    picture = np.full((120, 120, 3), (20, 160, 240), np.uint8)
    alpha = np.zeros((120, 120), np.uint8)
    alpha[30:, 40:80] = 255
    picture[alpha == 255] = (250, 20, 20)
    blurred = scene.blur_background(picture, alpha)
    assert blurred.shape == picture.shape and np.abs(blurred.astype(int) - (20, 160, 240)).max() < 12


def test_a_video_is_behind(talker, portrait, cut, tmp_path):
    from anitalker.media.writer import VideoWriter

    with VideoWriter(tmp_path / "behind.mp4", 64, 64, quality=0) as writer:
        for level in (60, 180):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    options = RenderOptions(background=str(tmp_path / "behind.mp4"))
    corners = [frame[0, 0].mean() for frame in talker.draw(portrait, moving(portrait), options)]
    np.testing.assert_allclose(corners, (60, 180, 60), atol=3)


def test_a_smaller_portrait_gets_a_matte_of_its_own(talker, portrait, cut):
    options = RenderOptions(background="white")
    small = talker.resized(portrait, 128)
    sizes = [next(iter(talker.draw(p, [p.faces[0].motion], options))).shape for p in (portrait, small)]
    assert sizes == [(256, 256, 3), (128, 128, 3)] and cut == sizes


@pytest.mark.slow
def test_a_marked_transparent_video(talker, portrait, cut, clicks, tmp_path):
    options = RenderOptions(background="transparent", label=True)
    facts = talker.render(portrait, clicks, tmp_path / "out.webm", options)
    assert facts["codec"] == "vp9" and probe(tmp_path / "out.webm").has_alpha
    verdict = verify(tmp_path / "out.webm")
    assert verdict["watermark"]["found"] and verdict["watermark"]["identifier"] == facts["identifier"]


def test_what_is_refused(talker, portrait, cut, clicks, tmp_path):
    motions = moving(portrait)
    with pytest.raises(InputError, match="frame is crop, but background is blur; take --frame full"):
        talker.draw(portrait, motions, RenderOptions(background="blur", frame="crop"))
    with pytest.raises(InputError, match="MP4 has no transparency"):
        talker.render(portrait, clicks, tmp_path / "out.mp4", RenderOptions(background="transparent"))
    assert list(tmp_path.iterdir()) == []


def test_other_devices_draw_the_same(talker, portrait, cut):
    from anitalker.decoder.compositor import Compositor

    face = scene.cut_out(talker.model, portrait).faces[0]
    layers = talker.model.layers(face, moving(portrait)[0][1:2])
    picture = scene.cut_out(talker.model, portrait).picture
    made = [next(Compositor(picture, fused=fused).frames(layers)) for fused in (True, False)]
    whole = picture.copy()
    whole[made[0].place] = made[0].pixels
    difference = np.abs(whole.astype(int) - made[1].pixels)[..., 3]
    assert difference.mean() < 1 and made[1].pixels.shape == picture.shape


@pytest.mark.slow
def test_the_original_has_none(original_files):
    from anitalker.models import loading

    first, second = original_files
    model = loading.load("original", torch.device("cpu"), first, second)
    with pytest.raises(InputError, match="--background needs a face that is warped"):
        model.check(RenderOptions(background="blur"))
