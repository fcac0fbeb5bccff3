"""Synthetic weights and inputs of the original's size, the same on every machine: values depend on names and shapes.

The recorded numbers of the public original in tests/ were made with these. Every array is drawn by
numpy.random.RandomState(crc32 of its name), which numpy keeps as it is. Scales are such that values inside the networks
stay as large as in trained ones: t weights are small because time enters raw, and the noisy motion and the prediction
share a basis, without which samples would end on the clip at -1 and 1, where errors hide.

Letters: T video frames (25 per second).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import savgol_filter

PASSED = 128  # numbers of the noisy motion in the denoiser's concatenation
MOTION = 20
FLOW = np.array([0.06, 0.06, 0.8]).reshape(1, 3, 1, 1, 1)  # x, y, mask


def weight(name: str, shape: Iterable[int], integer: bool = False) -> np.ndarray:
    """A tensor of a checkpoint under its full name (`enc.`, `dec.`, `ema_model.`): float32, or int64."""
    shape = tuple(shape)
    if integer:  # the step counter of batch norms
        return np.full(shape, 1000, np.int64)
    scale = _of_stage_one if name.startswith(("enc.", "dec.")) else _of_stage_two
    return np.ascontiguousarray(scale(name, name.rsplit(".", 1)[-1], _normal(name, shape)), np.float32)


def _draw(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))


def _normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return _draw(name).standard_normal(shape)


def _of_stage_one(name: str, leaf: str, normal: np.ndarray) -> np.ndarray:
    if ".net_decouping." in name and leaf == "weight":
        return normal * np.sqrt(2.0) / np.sqrt(normal.shape[1])
    if name.endswith("modulation.bias"):
        return 1.0 + 0.1 * normal
    if leaf == "bias":
        colour = name.startswith("dec.to_rgbs.") and name.count(".") == 3
        return 0.1 * normal - (0.15 if colour else 0)  # keeps the summed picture centred
    if name.startswith("dec.to_flows.") and name.endswith("conv.weight"):
        return normal * FLOW
    gains = {"dec.to_rgbs.": 2.0, "modulation.weight": 5.0, "enc.fc.4.weight": 1.5, ".noise.weight": 0.1}
    return normal * next((gain for pattern, gain in gains.items() if pattern in name), 1.0)


def _of_stage_two(name: str, leaf: str, normal: np.ndarray) -> np.ndarray:
    if leaf == "running_var":
        return np.exp(0.2 * normal)
    if name == "x_T" or leaf == "weights":
        return normal
    if leaf in ("pos_bias_u", "pos_bias_v"):
        return 0.5 * normal
    if leaf == "weight" and normal.ndim == 1:  # gains of norms
        return 1.0 + 0.1 * normal
    if name.endswith("t_encoder.0.weight"):
        return normal / 800.0
    if name.endswith("noisy_encoder.0.weight"):
        return 3 * np.sqrt(PASSED / MOTION) * _basis(name) + 0.1 * normal / np.sqrt(MOTION)
    if name.endswith("out_proj.weight"):
        out = 0.4 * normal / np.sqrt(normal.shape[1])
        out[:, -2 * PASSED : -PASSED] += 0.6 * _basis(name).T  # where the noisy motion stands
        return out
    if leaf.startswith("weight"):
        loud = name.endswith("down_sample1.weight") and normal.shape[1] == 39  # raw cepstra are of order ten
        return normal / np.sqrt(np.prod(normal.shape[1:])) * (0.15 if loud else 1)
    return 0.1 * normal


def _basis(name: str) -> np.ndarray:
    """Orthonormal [128,20], one per model, as Gram-Schmidt would make it."""
    basis, triangle = np.linalg.qr(_normal(f"{name.split('.')[0]}.passthrough", (PASSED, MOTION)))
    return basis * np.sign(np.diag(triangle))


def portrait_u8() -> np.ndarray:
    """A smooth face-like picture from formulae: uint8 [256,256,3]."""
    y, x = np.mgrid[0:256, 0:256] / 127.5 - 1
    face = 1 / (1 + np.exp(14 * (np.hypot(x / 0.62, (y + 0.02) / 0.8) - 1)))
    spots = {"left": (-0.25, -0.18, 0.10, 0.055), "right": (0.25, -0.18, 0.10, 0.055)}
    spots |= {"mouth": (0, 0.42, 0.24, 0.06), "nose": (-0.03, 0.1, 0.06, 0.2)}
    blob = {name: np.exp(-(((x - u) / w) ** 2) - ((y - v) / h) ** 2) for name, (u, v, w, h) in spots.items()}
    eyes, mouth, nose = blob["left"] + blob["right"], blob["mouth"], blob["nose"]
    wave = 0.06 * np.sin(7 * x + 3 * y) + 0.05 * np.cos(11 * y - 4 * x * x)
    red = 0.25 + 0.45 * face - 0.35 * eyes + 0.05 * mouth + 0.08 * nose + wave + 0.10 * x
    green = 0.35 + 0.22 * face - 0.30 * eyes - 0.25 * mouth + 0.06 * nose + wave - 0.08 * y
    blue = 0.50 - 0.05 * face - 0.20 * eyes - 0.20 * mouth + 0.05 * nose - wave + 0.12 * y * x
    return np.clip(np.floor(np.stack([red, green, blue], -1) * 255 + 0.5), 0, 255).astype(np.uint8)


def tone_wave() -> np.ndarray:
    """1.5 s at 16 kHz, float32: a chirp with partials, faint noise, and 0.15 s of exact silence."""
    time = np.arange(24_000) / 16_000
    phase = 2 * np.pi * np.cumsum(120 + 60 * time) / 16_000
    partials = {1: 0.5, 2: 0.3, 5: 0.15, 9: 0.1, 17: 0.05}
    wave = sum(gain * np.sin(number * phase) for number, gain in partials.items())
    wave = wave * 0.4 * (1 + np.sin(6 * np.pi * time)) / 2 + 0.002 * _normal("input.wave", time.shape)
    wave[9600:12_000] = 0
    return wave.astype(np.float32)


def hubert_feats(frames: int) -> np.ndarray:
    """Hidden states of a HuBERT: float32 [1,25,2T,1024]; the layers drift apart."""
    draw = _draw(f"input.hubert.{frames}")
    base = _smooth(draw.standard_normal((2 * frames, 1024)), 5)
    shares = np.linspace(0, 1, 25)
    states = [0.5 * ((1 - a) * base + (0.3 + 0.7 * a) * draw.standard_normal(base.shape)) for a in shares]
    return np.stack(states)[None].astype(np.float32)


def mfcc_feats(frames: int) -> np.ndarray:
    """Cepstra with the spread of real ones, and their slopes: float32 [1,4T,39]."""
    mean = np.concatenate([[-4.0], np.linspace(-8, 2, 12)])
    spread = np.concatenate([[3.0], np.linspace(14, 6, 12)])
    static = _smooth(_normal(f"input.mfcc.{frames}", (4 * frames, 13)), 9) * spread + mean
    slopes = [savgol_filter(static, width, 1, deriv=1, axis=0, mode="nearest") for width in (3, 5)]
    return np.concatenate([static, *slopes], 1)[None].astype(np.float32)


def controls(frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Location [1,T,1], scale [1,T,1] and pose [1,T,3], float32, moving in time."""
    time = np.arange(frames) / 25
    turn = 2 * np.pi * time
    location, scale = 0.5 + 0.2 * np.sin(0.7 * turn), 0.5 + 0.15 * np.cos(0.5 * turn)
    pose = [0.3 * np.sin(0.4 * turn), 0.2 * np.cos(0.6 * turn), 0.1 * np.sin(3 * time + 1)]
    return tuple(np.stack(each, -1)[None].astype(np.float32) for each in ([location], [scale], pose))


def noise(frames: int) -> np.ndarray:
    """The noise that a sample starts from: float32 [1,T,20]."""
    return _normal(f"input.noise.{frames}.a", (1, frames, MOTION)).astype(np.float32)


def start_code() -> np.ndarray:
    """The portrait's identity code: float32 [1,512]."""
    return _normal("input.start", (1, 512)).astype(np.float32)


def start_motion() -> np.ndarray:
    """The portrait's motion code: float32 [1,20]."""
    return (0.5 * _normal("input.motion", (1, MOTION))).astype(np.float32)


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Along the first axis, by a Hann window of unit energy."""
    window = np.hanning(width + 2)[1:-1]
    return convolve1d(values, window / np.sqrt(window @ window), axis=0, mode="constant")
