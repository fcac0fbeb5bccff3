"""Scores of pictures, points and curves, and their bootstrap intervals over clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import ConvexHull
from skimage.metrics import structural_similarity

from anitalker.config import FPS, SAMPLE_RATE
from anitalker.faces.landmarks import face_height

CEILING = 100.0  # dB; JSON has no infinity, and identical 8-bit pictures would need it
MAX_LAG = 10  # frames, 0.4 s


def psnr(mse: float) -> float:
    """Peak signal to noise ratio in dB of a mean squared error in 8-bit units, at most CEILING."""
    return float(min(CEILING, 10 * np.log10(255**2 / max(mse, 1e-12))))


def squared_error(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Squared difference of uint8 pictures [...,H,W,3], mean over the colours -> float32 [...,H,W]."""
    return np.square(output.astype(np.float32) - target.astype(np.float32)).mean(-1)


def hull_mask(points: np.ndarray, size: int) -> np.ndarray:
    """Pixels whose centre is in the convex hull of `points` [N,2 or 3], crop units -> bool [size,size]."""
    centres = np.arange(size) + 0.5
    inside = np.ones((size, size), bool)
    for a, b, c in ConvexHull(np.asarray(points, np.float64)[:, :2] * size).equations:
        inside &= a * centres[None, :] + b * centres[:, None] + c <= 0
    return inside


def face_psnr(output: np.ndarray, target: np.ndarray, labels: np.ndarray) -> float:
    """PSNR of uint8 pictures [T,S,S,3] inside the hull of each frame's points [T,468,3]; every frame counts alike."""
    errors = [squared_error(o, t)[hull_mask(p, len(o))].mean() for o, t, p in zip(output, target, labels, strict=True)]
    return psnr(float(np.mean(errors)))


def ssim(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004: 11x11 Gaussian window of sigma 1.5) of uint8 [T,H,W,3] twice -> [T]."""
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(output, target, strict=True)
    return np.array([structural_similarity(a, b, channel_axis=2, data_range=255, **window) for a, b in pairs])


def landmark_distance(measured: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Mean distance in the picture plane of points [T,468,3] over the label's face height (10 to 152) -> [T]."""
    return np.linalg.norm(measured[..., :2] - label[..., :2], axis=-1).mean(-1) / face_height(label)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two curves of one length; 0 where one of them does not move."""
    a, b = np.asarray(a, np.float64) - np.mean(a), np.asarray(b, np.float64) - np.mean(b)
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 1e-12 else 0.0


def lagged(curve: np.ndarray, frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Correlations of `curve`, known at the frame numbers `frames`, with `truth` [T] -> [2 MAX_LAG + 1].

    Entry MAX_LAG + n compares the curve at frame t with the truth at t - n: where the best n is above zero, the curve
    comes late. Where fewer than 5 frames overlap the entry is 0.
    """
    values = []
    for lag in range(-MAX_LAG, MAX_LAG + 1):
        keep = (frames - lag >= 0) & (frames - lag < len(truth))
        values.append(pearson(curve[keep], truth[frames[keep] - lag]) if keep.sum() >= 5 else 0.0)
    return np.array(values)


def r2(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Coefficient of determination per column of [N,K]: 1 - residual sum of squares / total sum of squares."""
    residual = np.square(predicted - true).sum(0)
    return 1 - residual / np.maximum(np.square(true - true.mean(0)).sum(0), 1e-12)


def loudness(speech: np.ndarray, frames: int) -> np.ndarray:
    """Loudness of speech [N] in dB, floored 50 dB under its peak and smoothed -> [frames].

    The baseline "lips open with loudness": the correlation that needs no model.
    """
    hop = SAMPLE_RATE // FPS
    padded = np.zeros(frames * hop)
    padded[: min(len(speech), len(padded))] = speech[: len(padded)]
    level = 10 * np.log10(np.square(padded.reshape(frames, hop)).mean(1) + 1e-12)
    return gaussian_filter1d(np.maximum(level, level.max() - 50), 1.5, mode="nearest", radius=4)


def mean(values: Sequence[float]) -> float:
    """The mean as a plain float, for JSON."""
    return float(np.mean(values))


def interval(values: Sequence[float], draws: int = 2000) -> list[float]:
    """95% bootstrap interval of the mean of `values`, one per clip: [low, high]."""
    values = np.asarray(values, np.float64)
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    return np.percentile(values[picks].mean(1), [2.5, 97.5]).tolist()


def bootstrap(items: Sequence, statistic: Callable[[list], float] = mean, draws: int = 1000) -> list[float]:
    """95% bootstrap interval of a statistic of items, one per clip: [low, high]."""
    rng = np.random.default_rng(0)
    values = [statistic([items[i] for i in rng.integers(0, len(items), len(items))]) for _ in range(draws)]
    return np.percentile(values, [2.5, 97.5]).tolist()


def with_interval(name: str, items: Sequence, statistic: Callable[[list], float] = mean) -> dict:
    """A statistic of items, one per clip, under NAME, and its bootstrap interval under NAME_interval."""
    return {name: statistic(items), f"{name}_interval": bootstrap(items, statistic)}


def columns(rows: Sequence[dict]) -> dict[str, list]:
    """Rows with the same keys, one per clip -> a list per key."""
    return {key: [row[key] for row in rows] for key in rows[0]}


def row_means(rows: Sequence[dict[str, float]]) -> dict:
    """Scores of clips -> their means, and under `interval` the 95% bootstrap intervals over clips."""
    means = {key: mean(values) for key, values in columns(rows).items()}
    return means | {"interval": {key: interval(values) for key, values in columns(rows).items()}}
