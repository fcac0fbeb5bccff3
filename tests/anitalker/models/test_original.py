"""The original's family with narrow random networks: crop, controls in its units, windows, seeds, what it refuses."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from anitalker.config import InputError, RenderOptions
from anitalker.faces.crop import seen_part
from anitalker.faces.detection import Face
from anitalker.faces.landmarks import CHIN, FOREHEAD
from anitalker.faces.paste import feathered
from anitalker.models import original
from anitalker.models.original import (
    Original,
    control_signals,
    crossfade,
    portrait_signals,
    split_windows,
    to_original_units,
)
from anitalker.motion.samplers import ddim_sample
from anitalker.runtime.transfer import to_pictures

QUICK = RenderOptions(steps=2)


@pytest.fixture
def model(original_networks, monkeypatch):
    monkeypatch.setattr(original, "bfloat16_is_faster", lambda: False)
    return Original(*original_networks())


@pytest.fixture
def picture():
    """Noise with large patches."""
    small = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    return small.repeat(20, 0).repeat(20, 1)


@pytest.fixture
def subject(model, picture, fixed_finder):
    return model.prepare(picture, model.crop(picture, fixed_finder().find(picture)[0]))


@pytest.fixture
def sound(model):
    return model.speech_features(torch.randn(16_000, generator=torch.Generator().manual_seed(0)) * 0.1)


def test_the_crop_is_placed_as_in_the_original_s_portraits(model, picture, subject):
    points = subject.crop.landmarks
    assert np.linalg.norm(points[CHIN, :2] - points[FOREHEAD, :2]) == pytest.approx(0.587, abs=0.01)
    np.testing.assert_allclose(points[[CHIN, FOREHEAD], :2].mean(0), (0.5, 0.62), atol=0.01)
    assert subject.crop.image.shape == (256, 256, 3)


def test_a_portrait_is_read_once(model, subject):
    look = model.stage_one.encode(original.resize_to_network(original.to_tensor(subject.crop.image), model.size))
    torch.testing.assert_close(look.motion_code, subject.motion)
    codes, people = model.read_codes(torch.tensor(subject.crop.image)[None].repeat(5, 1, 1, 1))
    assert codes.shape == (5, 20) and people.shape == (5, 24)
    torch.testing.assert_close(codes, subject.motion.expand(5, -1), atol=1e-4, rtol=1e-4)


def test_frames_are_those_of_the_decoder(model, subject):
    motion = torch.randn(3, 20) * 0.3
    wanted = model.stage_one.render(
        model.stage_one.encode(original.resize_to_network(original.to_tensor(subject.crop.image), model.size)), motion
    )
    small = np.stack(list(model.render_frames(subject, motion)))
    assert small.shape == (3, 32, 32, 3) and small.std() > 1
    assert np.abs(small.astype(int) - to_pictures(wanted.pictures)).mean() < 2
    patch, *_ = model.render_patches(subject, motion)
    rows, columns = seen_part(subject.crop)
    assert patch.pixels.shape == (rows.stop - rows.start, columns.stop - columns.start, 3)
    side = int(subject.crop.side)
    whole = original.enlarge(small[0], side, slice(0, side), slice(0, side))[rows, columns]
    expected = feathered(subject.picture, whole, subject.crop)
    assert patch.place == expected.place and np.abs(patch.pixels.astype(int) - expected.pixels).max() <= 1


def test_a_short_clip_is_made_whole(model, subject, sound):
    """Below the window nothing of ours is in the way: the sampler over the whole clip, from the seed's noise."""
    motion = model.generate_motion(sound, subject, QUICK, seed=7)
    noise = torch.randn(1, 25, 20, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        condition = model.denoiser.condition(sound, subject.image_code, subject.motion, {}, use_controls=False)
        wanted = ddim_sample(lambda x, time: model.denoiser(condition, x, time), noise, 2)
    torch.testing.assert_close(motion, wanted[0])
    assert torch.equal(motion, model.generate_motion(sound, subject, QUICK, seed=7))
    assert (motion - model.generate_motion(sound, subject, QUICK, seed=8)).abs().max() > 0.01


def test_motion_in_bfloat16_stays_near(model, subject, sound, monkeypatch):
    exact = model.generate_motion(sound, subject, RenderOptions(steps=10), seed=7)
    assert torch.equal(exact, model.generate_motion(sound, subject, seed=7)), "the usual number of steps is 10"
    monkeypatch.setattr(original, "bfloat16_is_faster", lambda: True)
    motion = model.generate_motion(sound, subject, seed=7)
    assert motion.dtype == torch.float32 and 0 < (motion - exact).abs().mean() < 0.02 < exact.std()


def test_a_long_clip_is_made_in_windows(model, subject, monkeypatch):
    monkeypatch.setattr(original, "WINDOW_FRAMES", 20)
    monkeypatch.setattr(original, "OVERLAP_FRAMES", 5)
    sound, progress = torch.randn(1, 4 * 47, 39, generator=torch.Generator().manual_seed(0)), []
    motion = model.generate_motion(sound, subject, QUICK, 0, lambda *step: progress.append(step))
    assert motion.shape == (47, 20) and motion.isfinite().all() and motion.abs().max() <= 1
    windows = split_windows(47)
    assert progress == [("motion", end, 47) for _, end in windows] and len(windows) == 3 and windows[-1][1] == 47
    noise = torch.randn(1, 47, 20, generator=torch.Generator().manual_seed(0))[:, : windows[0][1]]
    condition = model.denoiser.condition(sound[:, : 4 * windows[0][1]], subject.image_code, subject.motion)
    alone = ddim_sample(lambda x, time: model.denoiser(condition, x, time), noise, 2)[0]
    torch.testing.assert_close(motion[: windows[1][0]], alone[: windows[1][0]])  # before the second window begins


@pytest.mark.parametrize("frames", [1, 30, 750, 751, 900, 1450, 1451, 90_000])
def test_windows_cover_everything(frames):
    windows = split_windows(frames)
    assert windows[0][0] == 0 and windows[-1][1] == frames
    assert max(end - begin for begin, end in windows) <= original.WINDOW_FRAMES
    assert sum(end - begin for begin, end in windows) < 1.08 * frames + 1  # regression: 36 s once cost as much as 60
    for (_, end), (begin, _) in pairwise(windows):
        assert end - begin == original.OVERLAP_FRAMES


@pytest.mark.slow
def test_time_is_linear(model, subject, monkeypatch):
    """Counted, not clocked: products of a clip of ten windows, per frame, against those of two."""
    monkeypatch.setattr(original, "WINDOW_FRAMES", 40)
    monkeypatch.setattr(original, "OVERLAP_FRAMES", 4)
    per_frame = []
    for frames in (75, 365):
        sound = torch.randn(1, 4 * frames, 39, generator=torch.Generator().manual_seed(0))
        with FlopCounterMode(display=False) as counter:
            model.generate_motion(sound, subject, QUICK)
        per_frame.append(counter.get_total_flops() / frames)
    assert 0.9 < per_frame[1] / per_frame[0] < 1.1
    with FlopCounterMode(display=False) as counter:
        monkeypatch.setattr(original, "WINDOW_FRAMES", 10_000)
        model.generate_motion(sound, subject, QUICK)
    assert counter.get_total_flops() / 365 > 1.5 * per_frame[1]  # a whole clip's attention is quadratic


def test_seams_do_not_jump(model, subject, monkeypatch):
    """Steps from frame to frame where windows meet are no larger than the largest elsewhere."""
    monkeypatch.setattr(original, "WINDOW_FRAMES", 60)
    monkeypatch.setattr(original, "OVERLAP_FRAMES", 12)
    sound = torch.randn(1, 4 * 400, 39, generator=torch.Generator().manual_seed(0))
    steps = model.generate_motion(sound, subject, QUICK).diff(dim=0).square().mean(1).sqrt()
    seams = torch.zeros(399, dtype=torch.bool)
    for begin, _ in split_windows(400)[1:]:
        seams[begin - 1 : begin + 12] = True
    assert seams.sum() > 50 and steps[seams].max() <= 1.1 * steps[~seams].max()


def test_windows_fade_into_each_other():
    motion, piece = torch.zeros(1, 10, 2), torch.ones(1, 8, 2)
    both = crossfade(motion, piece, 6)[0, :, 0]
    assert len(both) == 14 and not both[:6].any() and (both[10:] == 1).all()
    assert (both[6:10].diff() > 0).all() and 0 < both[6] < 0.2 and 0.8 < both[9] < 1
    assert torch.equal(crossfade(motion[:, :0], piece, 0), piece)


def test_units():
    """Pitch has another zero, roll another sense, and 90 degrees are one."""
    torch.testing.assert_close(to_original_units(torch.tensor([45.0, 10.0, -9.0])), torch.tensor([0.5, 0.2, 0.1]))
    assert to_original_units(torch.tensor([200.0, 0, 0]))[0] == 1


def test_own_signals(subject):
    signals = portrait_signals(subject.crop)
    points = subject.crop.landmarks
    assert signals["location"] == pytest.approx(points[4, 0])
    assert 0 < signals["scale"] < np.linalg.norm(points[CHIN, :2] - points[FOREHEAD, :2])
    seen = Face((0, 0, 0, 0), 1.0, points)
    assert float(signals["pose"][0]) == pytest.approx(seen.yaw / 90, abs=1e-5)
    assert float(signals["pose"][2]) == pytest.approx(-seen.roll / 90, abs=1e-5)


OWN = {"location": torch.tensor([0.5]), "scale": torch.tensor([0.4]), "pose": torch.tensor([0.1, 0.2, 0.3])}


def test_nothing_asked_nothing_controlled():
    assert control_signals(OWN, RenderOptions(), 5) == {}


def test_what_is_not_asked_for_stays_the_portrait_s():
    signals = control_signals(OWN, RenderOptions(yaw=45, scale=1.2), 60)
    assert {name: tuple(signal.shape) for name, signal in signals.items()} == {
        "location": (1, 60, 1),
        "scale": (1, 60, 1),
        "pose": (1, 60, 3),
    }
    torch.testing.assert_close(signals["pose"][0, 0], OWN["pose"])  # it begins where the portrait is
    torch.testing.assert_close(signals["pose"][0, -1], torch.tensor([0.5, 0.2, 0.3]))
    torch.testing.assert_close(signals["scale"][0, -1], torch.tensor([0.48]))
    assert (signals["location"] == 0.5).all()


def test_still_keeps_the_head():
    signals = control_signals(OWN, RenderOptions(still=True), 30)
    for name, signal in signals.items():
        torch.testing.assert_close(signal[0], OWN[name].expand(30, -1))


def test_a_pose_file_is_followed(tmp_path):
    np.save(tmp_path / "pose.npy", np.array([[9.0, -8, 0], [18, -8, 9]]))
    pose = control_signals(OWN, RenderOptions(pose=str(tmp_path / "pose.npy")), 4)["pose"][0]
    torch.testing.assert_close(pose[:2], torch.tensor([[0.1, 0, 0], [0.2, 0, -0.1]]))
    assert torch.equal(pose[1:], pose[1:2].expand(3, -1))  # the last row stays


def test_controls_reach_the_networks(model, subject, sound, monkeypatch):
    """Only when one is given; and then the network uses them all."""
    used = []
    condition = model.denoiser.condition
    monkeypatch.setattr(model.denoiser, "condition", lambda *a, **k: used.append(condition(*a, **k)) or used[-1])
    free = model.generate_motion(sound, subject, QUICK, 0)
    turned = model.generate_motion(sound, subject, replace(QUICK, yaw=40), 0)
    wanted = control_signals(subject.signals, replace(QUICK, yaw=40), 25)
    for name, signal in wanted.items():
        assert torch.equal(used[1].signals[name], signal) and not torch.equal(used[0].signals[name], signal)
    assert (free - turned).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("variant", "options", "words"),
    [
        ("mfcc_full_control", {"steps": 60}, "near it are 56, 59, 63, 67"),
        ("mfcc_full_control", {"guidance": 2.0}, "leave --guidance away"),
        ("mfcc_pose_only", {"scale": 1.1}, "--scale needs the signal scale, but mfcc_pose_only obeys pose"),
        ("hubert_audio_only", {"yaw": 5.0}, "obeys nothing but speech"),
        ("hubert_audio_only", {"still": True}, "--still needs the signal pose"),
    ],
)
def test_what_it_cannot_do(original_networks, variant, options, words):
    model = Original(*original_networks(variant))
    model.check(RenderOptions())
    with pytest.raises(InputError, match=words):
        model.check(RenderOptions(**options))


def test_stages_that_do_not_belong_together(original_networks):
    from anitalker.network_config import DenoiserConfig
    from anitalker.original.denoiser import Denoiser

    narrow = {"width": 16, "decoder_hidden": 16, "decoder_layers": 1, "side": 8, "control": 8, "mfcc_hidden": 8}
    with pytest.raises(InputError, match="do not belong together"):
        Original(original_networks()[0], Denoiser(DenoiserConfig("mfcc_pose_only", start=16, **narrow)))


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(card, original_networks, picture, fixed_finder, sound):
    results = []
    for device in ("cpu", card):
        model = Original(*original_networks(), device)
        subject = model.prepare(picture, model.crop(picture, fixed_finder().find(picture)[0]))
        motion = model.generate_motion(sound, subject, QUICK)
        results.append(
            (motion.cpu(), np.stack([patch.pixels for patch in model.render_patches(subject, motion)]).astype(int))
        )
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-2, rtol=1e-2)
    assert np.abs(results[0][1] - results[1][1]).mean() < 1
