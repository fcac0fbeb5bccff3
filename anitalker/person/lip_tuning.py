"""The lip regressor's last layer, fitted to how one person's lips follow the person's own speech.

Letters: T frames at 25 per second, S speech features, W width of the regressor, M = 20 motion numbers, K = 14 of them
expression. With the hidden activations H [T,W] and normalised lips Y [T,K], the change of the layer is a ridge
regression of what the shipped layer misses (Hoerl and Kennard 1970): (H'H + l I) D = H'(Y - H W0). The penalty l is the
one whose layer errs least on the held-out tail; if none errs less than the shipped layer, that one stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.models.base import DubbingModel
from anitalker.motion.generator import MotionGenerator
from anitalker.person.selection import TAIL_SHARE
from anitalker.person.takes import Take

PENALTIES = (1.0, 1e1, 1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5)  # activations are of order one, frames about a thousand
LEAST_GAIN = 0.01  # of the squared error of the tail
MAX_LAG = 8  # frames by which sound may be late, and half of that early
LAG_GAIN = 0.05  # of the correlation, without which no shift is believed
LEAST_FRAMES = 250  # of speech


@dataclass(frozen=True)
class Spoken:
    """Speech of one take beside what the face shows: features [T,S], motion [T,M], free bool [T]; lag: frames by which
    the sound was late, and by which it has been shifted."""

    features: Tensor
    motion: np.ndarray
    opening: np.ndarray
    free: np.ndarray
    lag: int


@dataclass(frozen=True)
class LipTuning:
    """layer: weight [K,W] and bias [K], empty where nothing was gained; before, after: squared errors of the tail."""

    layer: dict[str, Tensor]
    before: float
    after: float


@torch.inference_mode()
def listen(model: DubbingModel, take: Take, lips: np.ndarray) -> Spoken | None:
    """A take's speech beside its face, in step; lips [n]: openings. None where nobody is heard.

    Sound of web cameras is often late. The shift is the one at which the regressor's lips fit those that are seen best.
    """
    if not len(take.speech):
        return None
    features = model.speech_features(torch.from_numpy(take.speech))[0]
    motion, opening, free = (take.at_speech(values) for values in (take.motion, lips, take.free))
    count = min(len(features), len(motion))
    features, motion, opening, free = features[:count], motion[:count], opening[:count], free[:count]
    if model.generator.lips is None:
        return Spoken(features, motion, opening, free, 0)
    guess = _lip_number(model, hidden(model.generator, features) @ model.generator.lips.out.weight.T)
    shown = _lip_number(model, _normalised(model.generator, torch.from_numpy(motion).to(features)))
    lags = range(-MAX_LAG // 2, MAX_LAG + 1)
    fits = {lag: _correlation(*_shifted(lag, guess, shown, free)) for lag in lags}
    lag = max(lags, key=lambda shift: fits[shift])
    if fits[lag] < fits[0] + LAG_GAIN:
        lag = 0
    start, stop = max(lag, 0), count + min(lag, 0)  # sound at frame t + lag belongs to the face at frame t
    faces = slice(start - lag, stop - lag)
    return Spoken(features[start:stop], motion[faces], opening[faces], free[faces], lag)


def _shifted(lag: int, sound: np.ndarray, face: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start, stop = max(lag, 0), len(sound) + min(lag, 0)
    faces = slice(start - lag, stop - lag)
    return sound[start:stop][free[faces]], face[faces][free[faces]]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 and min(a.std(), b.std()) > 1e-9 else 0.0


def _normalised(generator: MotionGenerator, motion: Tensor) -> Tensor:
    """The expression of motion [T,M], as the regressor gives it: [T,K]."""
    return ((motion - generator.mean) / generator.std)[:, POSE_SIZE:]


def _lip_number(model: DubbingModel, lips: Tensor) -> np.ndarray:
    """How far a normalised expression [T,K] opens the lips, up to scale: [T]."""
    directions = model.space.directions.unflatten(0, (-1, 3))
    down = (directions[14, 1] - directions[13, 1]) * model.generator.std[POSE_SIZE:]
    return (lips @ down).cpu().numpy()


@torch.no_grad()
def hidden(generator: MotionGenerator, features: Tensor) -> Tensor:
    """Activations before the regressor's last layer, window by window as when speaking: [T,S] -> [T,W]."""
    lips, config = generator.lips, generator.config
    assert lips is not None
    kept: list[Tensor] = []
    hook = lips.out.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0][0]))
    pieces = []
    try:
        for start in range(0, len(features), config.window):
            first = max(0, start - config.previous)
            lips(features[None, first : start + config.window])
            pieces.append(kept.pop()[start - first :])
    finally:
        hook.remove()
    return torch.cat(pieces)


@torch.no_grad()
def tune_lips(model: DubbingModel, spoken: Sequence[Spoken]) -> LipTuning | None:
    """Fit the last layer; None where the model has no regressor or there is too little speech."""
    generator = model.generator
    if generator.lips is None or sum(int(said.free.sum()) for said in spoken) < LEAST_FRAMES:
        return None
    weight, bias = generator.lips.out.weight.double(), generator.lips.out.bias.double()
    inputs = torch.cat([hidden(generator, said.features)[torch.from_numpy(said.free)] for said in spoken]).double()
    motion = torch.from_numpy(np.concatenate([said.motion[said.free] for said in spoken]))
    wanted = _normalised(generator, motion.to(generator.mean)).double()
    spoken_part = generator.spoken[POSE_SIZE:, POSE_SIZE:].double()
    missed = (wanted - inputs @ weight.T - bias) @ spoken_part
    learned = round((1 - TAIL_SHARE) * len(inputs))
    centre, shift = inputs[:learned].mean(0), missed[:learned].mean(0)
    values, vectors = torch.linalg.eigh((inputs[:learned] - centre).T @ (inputs[:learned] - centre))
    moments = vectors.T @ ((inputs[:learned] - centre).T @ (missed[:learned] - shift))

    def error(change: Tensor, constant: Tensor) -> float:
        rest = missed[learned:] - (inputs[learned:] - centre) @ change - constant
        return float((rest - rest.mean(0)).square().mean())  # the mean is the rest of the manner

    none = torch.zeros(inputs.shape[1], missed.shape[1], dtype=inputs.dtype)
    before = error(none, 0 * shift)
    fits = {penalty: vectors @ (moments / (values[:, None] + penalty)) for penalty in PENALTIES}
    best = min(PENALTIES, key=lambda penalty: error(fits[penalty], shift))
    after = error(fits[best], shift)
    if after > (1 - LEAST_GAIN) * before:
        return LipTuning({}, before, before)
    layer = {"weight": weight + fits[best].T, "bias": bias + shift - centre @ fits[best]}
    return LipTuning({name: value.float() for name, value in layer.items()}, before, after)
