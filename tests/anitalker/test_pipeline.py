"""The whole path with an untrained model and a face that is always found."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from anitalker import pipeline
from anitalker.config import GAZE_SIZE, InputError, RenderOptions
from anitalker.media.video import probe, read_frames

QUICK = RenderOptions(steps=2)


@pytest.mark.slow
def test_render(talker, example_portrait, clicks, tmp_path):
    seen = []
    facts = talker.render(example_portrait, clicks, tmp_path / "out.mp4", QUICK, lambda *step: seen.append(step))
    assert facts["frames"] == math.ceil(25 * 1.03) == 26
    assert seen[-1] == ("frames", 26, 26)
    keys = "output frames fps seconds width height size codec quality timings real_time_factor peak_rss_mb model seed"
    assert set(facts) == {*keys.split(), "identifier"}
    media = probe(tmp_path / "out.mp4")
    assert (media.width, media.height) == (facts["width"], facts["height"]) == (256, 256)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 26
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.slow
def test_frames_are_shown_before_they_are_marked(talker, example_portrait, clicks, tmp_path):
    shown = []
    talker.render(example_portrait, clicks, tmp_path / "out.mp4", QUICK, on_frame=shown.append)
    assert np.array_equal(shown, list(talker.frames(example_portrait, clicks, QUICK)))
    clip, files = [], [tmp_path / "out.mp4", tmp_path / "two.mp4"]
    facts = talker.reenact(example_portrait, *files, QUICK, on_frame=clip.append)
    assert len(clip) == facts["frames"]


def test_motion_starts_at_the_portrait(talker, example_portrait, clicks):
    portrait = talker.portrait(example_portrait)
    motion = talker.motion(portrait, clicks, QUICK)[0]
    assert motion.shape == (26, 20 + GAZE_SIZE) and motion.isfinite().all()
    torch.testing.assert_close(motion[:1, :20], portrait.faces[0].codes.motion)
    assert motion[0, -1] == 0 and motion[-1, -1] == 1  # the eyes, too, leave the portrait's own gaze
    codes = talker.motion(portrait, clicks, replace(QUICK, gaze="portrait"))[0]
    torch.testing.assert_close(codes, motion[:, :20])


def test_seeds(talker, example_portrait, clicks):
    portrait = talker.portrait(example_portrait)
    first, again, other = (talker.motion(portrait, clicks, replace(QUICK, seed=seed))[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["full", "crop"])
def test_batch_size_does_not_matter(talker, example_portrait, clicks, frame):
    options = replace(QUICK, frame=frame)
    single, batches = (
        np.stack(list(talker.frames(example_portrait, clicks, replace(options, batch_size=size)))) for size in (1, 16)
    )
    assert single.shape == batches.shape == (26, 256, 256, 3)
    assert np.abs(single.astype(int) - batches).max() <= 1


@pytest.mark.slow
def test_the_picture_outside_the_crop_is_untouched(talker, clicks, fixed_finder):
    """Every pixel outside the crop, and on its border, is the picture's own, to the bit; inside it moves."""
    picture = np.random.default_rng(0).integers(0, 255, (300, 500, 3), np.uint8)
    portrait = talker.portrait(picture)
    crop = portrait.faces[0].crop
    x, y, side = int(crop.origin[0]), int(crop.origin[1]), int(crop.side)
    outside = np.ones((300, 500), bool)
    outside[max(y + 1, 0) : y + side - 1, max(x + 1, 0) : x + side - 1] = False
    assert outside.any()
    frame = list(talker.frames(portrait, clicks, QUICK))[-1]
    np.testing.assert_array_equal(frame[outside], picture[outside])
    assert (frame[~outside] != picture[~outside]).any()


@pytest.mark.slow
def test_all_faces_speak(talker, clicks, fixed_finder):
    talker._finders["own"] = fixed_finder(2)
    picture = np.random.default_rng(0).integers(0, 255, (200, 400, 3), np.uint8)
    both = talker.portrait(picture, "all")
    assert len(both.faces) == 2
    frame = list(talker.frames(both, clicks, QUICK))[-1]
    for half in (slice(0, 200), slice(200, 400)):
        assert (frame[:, half] != picture[:, half]).any()
    assert len(talker.portrait(picture, "1").faces) == 1
    with pytest.raises(InputError, match="2 faces speak"):
        talker.draw(both, talker.motion(both, clicks, QUICK), replace(QUICK, frame="crop"))
    with pytest.raises(InputError, match="2 faces"):
        talker.portrait(picture, "2")


@pytest.mark.slow
def test_encode_and_reenact(talker, example_portrait, clicks, tmp_path):
    talker.render(example_portrait, clicks, tmp_path / "drive.mp4", QUICK)
    motion, identity = talker.encode(tmp_path / "drive.mp4")
    assert motion.shape == (26, 20) and identity.shape == (64,)
    assert abs(np.linalg.norm(identity) - 1) < 1e-5
    facts = talker.reenact(example_portrait, tmp_path / "drive.mp4", tmp_path / "again.mp4")
    assert facts["frames"] == 26
    assert probe(tmp_path / "again.mp4").audio_codec == "aac"


def test_an_input_is_never_overwritten(talker, example_portrait, clicks, tmp_path):
    out = tmp_path / "speech.mp4"
    out.write_bytes(clicks.read_bytes())
    with pytest.raises(InputError, match="one of the inputs"):
        talker.render(example_portrait, out, out, QUICK)
    assert out.read_bytes() == clicks.read_bytes()


def test_frames_are_made_when_they_are_asked_for(talker, example_portrait, make_wav, tmp_path, monkeypatch):
    """A long recording: the first frame comes before the second batch is drawn."""
    drawn = []
    layers = talker.model.layers
    monkeypatch.setattr(talker.model, "layers", lambda *a: drawn.append(1) or layers(*a))
    speech = make_wav(tmp_path / "long.wav", np.zeros(16_000 * 4))
    frames = talker.frames(example_portrait, speech, replace(QUICK, batch_size=4))
    next(frames)
    assert len(drawn) == 1


def test_the_first_frame_is_the_portrait(talker, example_portrait, clicks):
    """The first frame shows the portrait's own pose: no landmark has moved."""
    portrait = talker.portrait(example_portrait)
    subject = portrait.faces[0]
    motion = talker.motion(portrait, clicks, QUICK)[0][:1]
    moved = talker.model.space.landmarks(subject.landmarks, subject.codes.motion, motion)
    torch.testing.assert_close(moved[..., :2], subject.landmarks[..., :2], atol=1e-5, rtol=0)


def test_devices_that_are_not_there(untrained_model):
    with pytest.raises(InputError, match="allowed are auto"):
        pipeline.load(untrained_model, "tpu")


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(card, untrained_model, example_portrait, clicks, monkeypatch, fixed_finder):
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    results = []
    for device in ("cpu", card):
        talker = pipeline.load(untrained_model, device)
        portrait = talker.portrait(example_portrait)
        motion = talker.motion(portrait, clicks, QUICK)
        results.append((motion[0].cpu(), np.stack(list(talker.draw(portrait, motion, QUICK))).astype(int)))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-3, rtol=1e-3)
    assert np.abs(results[0][1] - results[1][1]).mean() < 0.5
