"""The evaluation's numbers against known answers; its protocols with an oracle and a copier as the model."""

import argparse
import json

import numpy as np
import pytest

from anitalker.landmarks import face_height, lip_opening
from scripts import contact_sheet, evaluate
from scripts.evaluation import metrics
from scripts.evaluation.reenactment import CodeAccuracy, SelfReenactment
from scripts.evaluation.speaking import AudioDriven, OpenMouthStills, is_spoken, widest
from scripts.evaluation.subject import EvalClip

FRAMES = 40


def face(opening=0.05, shift=0.0):
    """468 points on an ellipse around the middle of the crop; the lips `opening` face heights apart."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.05, (468, 3)).astype(np.float32) + np.float32([0.5 + shift, 0.5, 0])
    points[10, :2], points[152, :2] = (0.5 + shift, 0.2), (0.5 + shift, 0.8)
    points[13, :2], points[14, :2] = (0.5 + shift, 0.6), (0.5 + shift, 0.6 + opening * 0.6)
    return points


def clip(seed=0, identity="a"):
    """Frames whose first pixel is their number, so that a fake can know what it is shown."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (FRAMES, 256, 256, 3), dtype=np.uint8)
    frames[:, 0, 0, 0] = np.arange(FRAMES)
    openings = 0.05 + 0.04 * rng.random(FRAMES)
    labels = np.stack([face(o, 0.02 * np.sin(i)) for i, o in enumerate(openings)])
    speech = rng.normal(0, 0.1, FRAMES * 640).astype(np.float32)
    row = {"id": str(seed), "identity": identity, "speaking_visible": "yes", "generated": "no", "has_audio": "yes"}
    return EvalClip(row, frames, labels, speech)


class Oracle:
    """Knows the clip: a code is the number of the frame that it was read from, a rendered frame is the true one."""

    name = "oracle"
    lost = 0

    def __init__(self, known):
        self.known = known

    def landmarks(self, frames):
        return self.known.landmarks[frames[:, 0, 0, 0]]

    def codes(self, frames):
        codes = np.zeros((len(frames), 20), np.float32)
        codes[:, 0] = frames[:, 0, 0, 0]
        codes[:, 6] = lip_opening(self.landmarks(frames))
        return codes

    def render(self, source, motion):
        return self.known.frames[motion[:, 0].round().astype(int)]

    def render_landmarks(self, source, landmarks, motion):
        return np.repeat(source.image[None], len(landmarks), 0)

    def posed(self, landmarks, start, motion):
        return np.stack([face(m[6]) for m in motion])

    def poses(self, landmarks):
        poses = np.zeros((len(landmarks), 6), np.float32)
        poses[:, 0] = np.arange(len(landmarks))
        return poses

    def speak(self, source, speech, seed):
        count = -(-len(speech) // 640)
        motion = self.codes(self.known.frames)[np.arange(count) % FRAMES]
        return motion if np.any(speech) else np.repeat(motion[:1], count, 0)


class Copier(Oracle):
    name = "copier"

    def render(self, source, motion):
        return np.repeat(source.image[None], len(motion), 0)


def test_psnr_of_known_errors():
    assert metrics.psnr(255**2) == pytest.approx(0)
    assert metrics.psnr(65.025) == pytest.approx(30)
    assert metrics.psnr(0) == metrics.CEILING


def test_squared_error_does_not_wrap_around_in_8_bit():
    assert metrics.squared_error(np.uint8([[[0, 0, 0]]]), np.uint8([[[255, 255, 255]]])).item() == 255**2


def test_hull_mask_is_the_square_that_was_asked_for():
    corners = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75], [0.5, 0.5]])
    mask = metrics.hull_mask(corners, 64)
    expected = np.zeros((64, 64), bool)
    expected[16:48, 16:48] = True
    assert (mask == expected).all()
    beyond = metrics.hull_mask(corners * 4 - 1.5, 64)  # leaves the picture on every side
    assert beyond.all()


def test_ssim_agrees_with_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (2, 40, 48, 3), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = [structural_similarity(x, y, channel_axis=2, **options) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(metrics.ssim(a, b), expected, atol=1e-4)
    np.testing.assert_allclose(metrics.ssim(a, a), 1, atol=1e-6)


def test_landmark_distance_is_in_face_heights_and_in_the_plane():
    label = np.stack([face(), face()])
    moved = label.copy()
    moved[0, :, 0] += 0.1 * face_height(label[0])
    moved[..., 2] += 5  # depth is no part of it
    np.testing.assert_allclose(metrics.landmark_distance(moved, label), [0.1, 0], atol=1e-6)


def test_best_lag_of_a_late_curve_is_positive():
    truth = np.random.default_rng(0).normal(size=100)
    late = np.roll(truth, 3)
    frames = np.arange(0, 100, 2)
    curve = metrics.lagged(late[frames], frames, truth)
    assert curve.argmax() - metrics.MAX_LAG == 3
    assert curve.max() == pytest.approx(1, abs=0.01)


def test_correlation_of_a_still_curve_is_zero_not_nan():
    assert metrics.pearson(np.ones(10), np.arange(10)) == 0


def test_r2_of_truth_mean_and_worse():
    true = np.random.default_rng(0).normal(size=(200, 1))
    assert metrics.r2(true, true) == pytest.approx(1)
    assert metrics.r2(np.full_like(true, true.mean()), true) == pytest.approx(0, abs=1e-9)
    assert metrics.r2(-true, true) < -1


def test_loudness_rises_where_the_sound_is():
    speech = np.zeros(16_000, np.float32)
    speech[8_000:12_000] = 0.3 * np.sin(np.arange(4_000))
    curve = metrics.loudness(speech, 25, 16_000, 25)
    assert curve.shape == (25,) and curve[13:18].min() > curve[:9].max() + 20
    assert np.ptp(metrics.loudness(np.zeros(0, np.float32), 25, 16_000, 25)) == 0


def test_oracle_is_perfect_and_beats_copying():
    known = clip()
    subject = Oracle(known)
    part = SelfReenactment(subject, np.zeros(20, np.float32), stride=13)
    part.add(known, subject.codes(known.frames))
    result = part.result()
    assert result["self_reenactment"]["psnr"] == metrics.CEILING
    assert result["self_reenactment"]["landmark"] == 0
    assert result["self_reenactment"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert result["copy"]["psnr"] < 10 and result["copy"]["landmark"] > 0.005
    # With code 0 for everything the oracle shows frame 0: what the codes were worth.
    assert result["mean_code"]["cost_psnr_face"] > 80


def test_copier_scores_exactly_what_the_copy_baseline_scores():
    known = clip()
    subject = Copier(known)
    part = SelfReenactment(subject, np.zeros(20, np.float32), stride=13)
    part.add(known, subject.codes(known.frames))
    result = part.result()
    for key in ("psnr", "psnr_face", "ssim", "landmark"):
        assert result["self_reenactment"][key] == pytest.approx(result["copy"][key])
    assert result["gain"]["psnr"]["mean"] == pytest.approx(0)


def test_face_psnr_counts_only_the_face():
    known = clip()
    target, labels = known.frames[:1], known.landmarks[:1]
    outside = ~metrics.hull_mask(labels[0], 256)
    output = target.copy()
    output[0][outside] = 255 - output[0][outside]
    from scripts.evaluation.reenactment import score

    values = score(output, labels, target, labels)
    assert values["psnr_face"] == metrics.CEILING and values["psnr"] < 20


def test_codes_of_the_oracle_agree_with_the_labels():
    known = clip()
    part = CodeAccuracy(Oracle(known))
    part.add(known, Oracle(known).codes(known.frames))
    result = part.result()
    assert result["pose_r2"]["yaw"] == pytest.approx(1)
    assert result["lip_r"] == pytest.approx(1, abs=1e-5)


def test_audio_driven_oracle_shuffled_and_silent():
    clips = [clip(0, "a"), clip(1, "b"), clip(2, "c")]
    part = AudioDriven(None, samples=2, stride=1)
    for known in clips:
        part.subject = Oracle(known)
        part.add(known, part.subject.codes(known.frames))
    result = part.result()
    assert result["lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert result["lip_lag_frames"] == 0
    assert result["scorer_lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert abs(result["shuffled"]) < 0.3
    assert result["silence_ratio"] < 1e-5
    assert result["spread_ratio"] == pytest.approx(1, abs=1e-5)


def test_only_real_visible_speakers_count():
    row = clip().row
    assert is_spoken(row)
    for key, value in (("speaking_visible", "unknown"), ("generated", "yes"), ("has_audio", "no")):
        assert not is_spoken(row | {key: value})


def test_open_mouths_report_what_the_lips_do_in_silence():
    known = clip()
    part = OpenMouthStills(Oracle(known))
    part.add(known.frames[0], known.landmarks[0])
    result = part.result()
    expected = float(lip_opening(known.landmarks[0]))  # the oracle's silence repeats the first frame
    assert result["opening_after_1s"] == pytest.approx(expected, abs=1e-6)
    assert result["share_closed"] == 0.0


def test_widest_mouths_come_first():
    stills = [(None, face(opening)) for opening in (0.02, 0.09, 0.05)]
    assert [round(float(lip_opening(points)), 2) for _, points in widest(stills, 2)] == [0.09, 0.05]


def report_of(monkeypatch, tmp_path):
    """The whole report of the oracle over one made-up clip, as main() would print it."""
    known = clip()
    monkeypatch.setattr(evaluate, "eval_clips", lambda *_, **__: iter([known]))
    monkeypatch.setattr(evaluate, "silence", lambda *_: {})
    arguments = evaluate.parse(["--data", "none", "--stride", "13", "--samples", "1", "--out", str(tmp_path)])
    return evaluate.evaluate(Oracle(known), arguments)


def test_report_has_the_contracts_keys_and_is_json(monkeypatch, tmp_path):
    report = json.loads(json.dumps(report_of(monkeypatch, tmp_path), allow_nan=False))
    assert {"model", "split", "clips", "self_reenactment", "copy", "audio_driven"} <= set(report)
    for part in ("self_reenactment", "copy"):
        assert {"psnr", "psnr_face", "ssim", "landmark"} <= set(report[part])
    wanted = {"lip_correlation", "lip_lag_frames", "loudness_baseline", "shuffled", "silence_ratio"}
    assert wanted <= set(report["audio_driven"])
    assert (tmp_path / "0.png").is_file()
    assert all(reached for what, _, _, reached in evaluate.bars(report) if what.startswith(("gain", "landmark")))


def test_a_split_without_clips_is_a_usage_error(monkeypatch):
    monkeypatch.setattr(evaluate, "eval_clips", lambda *_, **__: iter([]))
    with pytest.raises(ValueError, match="no clips"):
        evaluate.evaluate(Oracle(clip()), argparse.Namespace(**vars(evaluate.parse(["--data", "x", "--split", "no"]))))


def test_missing_data_folder_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scripts.evaluation.talker.TalkerSubject", lambda *_: Oracle(clip()))
    assert evaluate.main(["--data", str(tmp_path / "nowhere"), "--json"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ") and output.err.count("\n") == 1


def test_contact_sheet_keeps_every_pixel():
    frames = [np.full((8, 10, 3), value, np.uint8) for value in (10, 20, 30)]
    picture = contact_sheet.sheet([("one", frames), ("two", frames[:1])])
    assert picture.shape == (2 * (8 + contact_sheet.BAR), 30, 3)
    assert (picture[contact_sheet.BAR : contact_sheet.BAR + 8, 10:20] == 20).all()
    assert (picture[-8:, 10:] == 0).all() and (picture[-8:, :10] == 10).all()


def test_evenly_spread_columns():
    assert contact_sheet.evenly(100, 5) == [0, 25, 50, 74, 99]
    assert contact_sheet.evenly(2, 5) == [0, 1]
