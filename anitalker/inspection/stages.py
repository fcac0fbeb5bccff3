"""Contribution of each pyramid stage to the motion code: per picture, over a clip, and by linear probes.

Letters: B pictures, S stages, D width of a stage's code, M motion numbers, T frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.inspection.attribution import import_extra
from anitalker.inspection.views import View

PATH_STEPS = 8  # from the reference to the picture
FOLDS = 5  # contiguous parts of a clip, for cross-validation


def contributions(view: View, codes: Tensor, reference: Tensor) -> Tensor:
    """What every stage adds to every number, from a reference to pictures: codes [B,S,D], reference [S,D] -> [B,S,M].

    Integrated gradients over the stages' weighted codes (Sundararajan et al. 2017): contributions add up to the
    difference of the two motion codes, however nonlinear the motion head is.
    """
    weights = view.weights().detach()[:, None]
    difference, count = (codes - reference) * weights, len(codes)
    fractions = (torch.arange(PATH_STEPS, device=codes.device) + 0.5) / PATH_STEPS
    start = (reference * weights).sum(0)
    path = start + fractions[:, None, None] * difference.sum(1)
    path = path.flatten(0, 1).detach().requires_grad_()  # [PATH_STEPS B,D]
    motion = view.head(path)
    by_number = []
    for index in range(motion.shape[1]):
        (gradient,) = torch.autograd.grad(motion[:, index].sum(), path, retain_graph=True)
        mean = gradient.unflatten(0, (PATH_STEPS, count)).mean(0)  # [B,D]
        by_number.append((difference * mean[:, None]).sum(-1))
    return torch.stack(by_number, -1).detach()


def shares_of_variation(stage_contributions: Tensor) -> Tensor:
    """Contributions [T,S,M] over a clip -> the share of each number's variance that comes from each stage, [S,M].

    The covariance with the sum over the sum's variance, so shares of all stages add up to 1; a share may be negative.
    """
    centred = stage_contributions - stage_contributions.mean(0)
    total = centred.sum(1, keepdim=True)
    return (centred * total).mean(0) / total.square().mean(0).clamp(min=1e-12)


def probe(features: np.ndarray, target: np.ndarray) -> float:
    """How well a ridge regression predicts a target [T] from features [T,D]: cross-validated R2, at most 1.

    Folds are contiguous parts of the clip, so that neighbouring frames are not in both training and test set.
    """
    ridge, scaler = import_extra("sklearn.linear_model").RidgeCV, import_extra("sklearn.preprocessing").StandardScaler
    pipeline, folds = import_extra("sklearn.pipeline").make_pipeline, import_extra("sklearn.model_selection")
    model = pipeline(scaler(), ridge(np.logspace(0, 6, 13)))
    predictions = folds.cross_val_predict(model, features, target, cv=folds.KFold(FOLDS))
    variance = ((target - target.mean()) ** 2).mean()
    return float(1 - ((predictions - target) ** 2).mean() / max(variance, 1e-12))


@torch.no_grad()
def read_codes(view: View, images: Tensor, batch_size: int = 8) -> tuple[Tensor, Tensor]:
    """Images from `View.encoder_input` [T,3,n,n] -> stage codes [T,S,D] and motion [T,M]."""
    codes = torch.cat([view.codes(view.pyramid(batch)) for batch in images.split(batch_size)])
    return codes, view.head((codes * view.weights()[:, None]).sum(1))
