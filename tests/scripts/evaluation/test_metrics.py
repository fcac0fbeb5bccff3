"""The evaluation's numbers against known answers."""

import numpy as np
import pytest

from anitalker.faces.landmarks import face_height
from scripts.evaluation import metrics


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


def test_ssim_is_the_formula_over_whole_windows():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (2, 40, 48, 3), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def blur(pictures):
        views = np.lib.stride_tricks.sliding_window_view(pictures.astype(np.float64), (11, 11), (1, 2))
        return (views * window).sum((-1, -2))

    x, y, c1, c2 = blur(a), blur(b), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    xx, yy, xy = (blur(p.astype(float) * q) for p, q in ((a, a), (b, b), (a, b)))
    structure = (2 * (xy - x * y) + c2) / (xx - x * x + yy - y * y + c2)
    expected = (structure * (2 * x * y + c1) / (x * x + y * y + c1)).mean((1, 2, 3))
    np.testing.assert_allclose(metrics.ssim(a, b), expected, atol=1e-6)
    np.testing.assert_allclose(metrics.ssim(a, a), 1, atol=1e-6)


def test_landmark_distance_is_in_face_heights_and_in_the_plane(fakes):
    label = np.stack([fakes.face(), fakes.face()])
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
    curve = metrics.loudness(speech, 25)
    assert curve.shape == (25,) and curve[13:18].min() > curve[:9].max() + 20
    assert np.ptp(metrics.loudness(np.zeros(0, np.float32), 25)) == 0


def test_bootstrap_of_a_known_mean():
    values = list(np.random.default_rng(0).normal(5, 1, 100))
    low, high = metrics.bootstrap(values)
    assert low < 5 < high and 0.25 < high - low < 0.55
    assert metrics.interval(values) == pytest.approx([low, high], abs=0.02)
    assert metrics.bootstrap([1, 1, 1], lambda chosen: float(np.sum(chosen))) == [3, 3]


def test_row_means_have_intervals():
    rows = metrics.row_means([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}])
    assert rows == {"a": 2, "b": 2, "interval": {"a": [1, 3], "b": [2, 2]}}
