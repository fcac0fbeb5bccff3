"""Numbers of the evaluation: pictures against pictures, points against points, curves against curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anitalker.faces.landmarks import face_height

CEILING = 100.0  # dB; JSON has no infinity, and identical 8-bit pictures would need it
MAX_LAG = 10  # frames, 0.4 s


def psnr(mse: float) -> float:
    """Peak signal to noise ratio in dB of a mean squared error in 8-bit units, at most CEILING."""
    return float(min(CEILING, 10 * np.log10(255**2 / max(mse, 1e-12))))


def hull_mask(points: np.ndarray, size: int) -> np.ndarray:
    """Pixels whose centre is in the convex hull of `points` [N,2 or 3], crop units -> bool [size,size]."""
    from scipy.spatial import ConvexHull

    centres = np.arange(size) + 0.5
    inside = np.ones((size, size), bool)
    for a, b, c in ConvexHull(np.asarray(points, np.float64)[:, :2] * size).equations:
        inside &= a * centres[None, :] + b * centres[:, None] + c <= 0
    return inside


def squared_error(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Squared difference of uint8 pictures [...,H,W,3], mean over the colours -> float32 [...,H,W]."""
    return np.square(output.astype(np.float32) - target.astype(np.float32)).mean(-1)


def ssim(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Structural similarity of uint8 pictures [T,H,W,3] -> [T].

    Wang et al. 2004: 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, range 255, every colour by itself,
    windows that lie wholly inside the picture.
    """
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2)).astype(np.float32)
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(x: np.ndarray) -> np.ndarray:
        # Sums of shifted pictures: on a CPU ten times as fast as a convolution with one channel.
        x = sum(window[i] * x[:, i : x.shape[1] - 10 + i] for i in range(11))
        return sum(window[i] * x[:, :, i : x.shape[2] - 10 + i] for i in range(11))

    values = []
    for a, b in zip(output, target, strict=True):
        x, y = (picture.transpose(2, 0, 1).astype(np.float32, order="C") for picture in (a, b))
        mean_x, mean_y, xx, yy, xy = np.split(blur(np.concatenate([x, y, x * x, y * y, x * y])), 5)
        structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
        values.append(float((structure * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)).mean()))
    return np.array(values)


def landmark_distance(found: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Mean distance in the picture plane of points [T,468,3] over the label's face height (10 to 152) -> [T]."""
    return np.linalg.norm(found[..., :2] - label[..., :2], axis=-1).mean(-1) / face_height(label)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two curves of one length; 0 where one of them does not move."""
    a, b = np.asarray(a, np.float64) - np.mean(a), np.asarray(b, np.float64) - np.mean(b)
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 1e-12 else 0.0


def lagged(curve: np.ndarray, frames: np.ndarray, truth: np.ndarray, max_lag: int = MAX_LAG) -> np.ndarray:
    """Correlations of `curve`, known at the frame numbers `frames`, with `truth` [T] late by -max_lag..max_lag frames.

    Entry max_lag + n compares curve at frame t with the truth at t - n: a best n above zero: the curve comes late.
    Where fewer than 5 frames overlap the entry is 0.
    """
    values = []
    for lag in range(-max_lag, max_lag + 1):
        keep = (frames - lag >= 0) & (frames - lag < len(truth))
        values.append(pearson(curve[keep], truth[frames[keep] - lag]) if keep.sum() >= 5 else 0.0)
    return np.array(values)


def r2(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Coefficient of determination per column of [N,K]: 1 - residual sum of squares / total sum of squares."""
    residual = np.square(predicted - true).sum(0)
    return 1 - residual / np.maximum(np.square(true - true.mean(0)).sum(0), 1e-12)


def interval(values: Sequence[float], draws: int = 2000) -> list[float]:
    """95% bootstrap interval of the mean of `values`, one per clip: [low, high]."""
    values = np.asarray(values, np.float64)
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    return [float(x) for x in np.percentile(values[picks].mean(1), [2.5, 97.5])]


def bootstrap(items: Sequence, statistic: Callable[[list], float], draws: int = 1000) -> list[float]:
    """95% bootstrap interval of a statistic of items, one per clip: [low, high]."""
    rng = np.random.default_rng(0)
    values = [statistic([items[i] for i in rng.integers(0, len(items), len(items))]) for _ in range(draws)]
    return [float(x) for x in np.percentile(values, [2.5, 97.5])]


def loudness(speech: np.ndarray, frames: int, rate: int, fps: int, sigma: float = 1.5) -> np.ndarray:
    """Loudness curve in dB, floored 50 dB under its peak and smoothed by a Gaussian of `sigma` frames -> [frames].

    The baseline 'lips open with loudness': what a correlation is worth that needs no model.
    """
    hop = rate // fps
    padded = np.zeros(frames * hop)
    padded[: min(len(speech), len(padded))] = speech[: len(padded)]
    level = 10 * np.log10(np.square(padded.reshape(frames, hop)).mean(1) + 1e-12)
    level = np.maximum(level, level.max() - 50)
    reach = np.arange(-4, 5)
    kernel = np.exp(-(reach**2) / (2 * sigma**2))
    return np.convolve(np.pad(level, 4, mode="edge"), kernel / kernel.sum(), mode="valid")
