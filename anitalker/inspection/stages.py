"""What each stage of the pyramid brings to the motion code: contributions, the claim of HAL on a clip, linear probes.

Letters: B pictures, S stages, D width of a stage's code, M motion numbers, T frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.inspection.attribution import need
from anitalker.inspection.views import View

STEPS = 8  # of the path from the reference to the picture
FOLDS = 5  # stretches of a clip; each is asked of a probe that was taught by the others


def contributions(view: View, codes: Tensor, reference: Tensor) -> Tensor:
    """What every stage adds to every number, from a reference to pictures: codes [B,S,D], reference [S,D] -> [B,S,M].

    Integrated gradients over the stages' weighed codes (Sundararajan et al. 2017): the stages' parts add up to the
    difference of the two motion codes, whatever the motion head does in between.
    """
    weights = view.weights().detach()[:, None]
    way, count = (codes - reference) * weights, len(codes)
    shares = (torch.arange(STEPS, device=codes.device) + 0.5) / STEPS
    start = (reference * weights).sum(0)
    path = (start + shares[:, None, None] * way.sum(1)).flatten(0, 1).detach().requires_grad_()  # [STEPS B,D]
    motion = view.head(path)
    found = []
    for number in range(motion.shape[1]):
        (slope,) = torch.autograd.grad(motion[:, number].sum(), path, retain_graph=True)
        mean = slope.unflatten(0, (STEPS, count)).mean(0)  # [B,D]
        found.append((way * mean[:, None]).sum(-1))
    return torch.stack(found, -1).detach()


def shares_of_variation(parts: Tensor) -> Tensor:
    """Contributions [T,S,M] over a clip -> the part of each number's variation that comes from each stage, [S,M].

    Covariance with the sum over its variance, so the parts of all stages add up to one; one may be below zero.
    """
    own = parts - parts.mean(0)
    whole = own.sum(1, keepdim=True)
    return (own * whole).mean(0) / whole.square().mean(0).clamp(min=1e-12)


def probe(features: np.ndarray, target: np.ndarray) -> float:
    """How well a ridge regression reads a target [T] from features [T,D] on stretches it has not seen: R2, at most 1.

    The clip is cut into FOLDS stretches, so that neighbours in time are not on both sides.
    """
    ridge, scaler = need("sklearn.linear_model").RidgeCV, need("sklearn.preprocessing").StandardScaler
    pipeline, folds = need("sklearn.pipeline").make_pipeline, need("sklearn.model_selection")
    model = pipeline(scaler(), ridge(np.logspace(0, 6, 13)))
    told = folds.cross_val_predict(model, features, target, cv=folds.KFold(FOLDS))
    spread = ((target - target.mean()) ** 2).mean()
    return float(1 - ((told - target) ** 2).mean() / max(spread, 1e-12))


@torch.no_grad()
def read(view: View, seen: Tensor, batch: int = 8) -> tuple[Tensor, Tensor]:
    """Pictures as the encoder sees them [T,3,n,n] -> stage codes [T,S,D] and motion [T,M]."""
    codes = torch.cat([view.codes(view.pyramid(part)) for part in seen.split(batch)])
    return codes, view.head((codes * view.weights()[:, None]).sum(1))
