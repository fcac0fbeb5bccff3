"""Detects what hides a portrait's mouth or eyes: a mask, a hand, a microphone, a cup, dark glasses; and shut lids.

A linear probe (logistic regression) on HAL's appearance code, with one row per part of the face. It was trained by
scripts/train_motion_prior.py on pictures with drawn occlusions, and is shipped inside the motion prior's file.
Landmarks do not show occlusions: the landmark network guesses hidden parts, and guesses them well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anitalker.faces.detection import Face, FaceFinder
from anitalker.faces.landmarks import eye_opening

PARTS = ("mouth", "eyes")  # in the order of the rows
UNREACHABLE_LOGIT = 1e9  # a limit that no logit exceeds; weight files must not hold infinity
# The warning for each occluded part.
MESSAGES = {
    "mouth": "something seems to cover the mouth, and lips will be drawn over it; give a picture that shows the lips",
    "eyes": "something seems to cover the eyes, and lids will be drawn over it; give a picture that shows the eyes, or "
    "hold the lids still with --blink 0",
}
SHUT_EYES = "its eyes seem shut, and will stay shut; give a picture with open eyes"
SHUT_EYE_OPENING = 0.165  # `eye_opening`: of 100 stills with the narrowest open eyes none has less, of 13 blinks 9 have


def shut_eyes_warnings(face: Face, finder: FaceFinder) -> tuple[str, ...]:
    """A sentence if the eyes of a face are shut. Only a calibrated finder's landmarks are fine enough to tell."""
    return (SHUT_EYES,) if finder.calibrated and eye_opening(face.landmarks) < SHUT_EYE_OPENING else ()


class OcclusionProbe(nn.Module):
    """Logits of occluded PARTS, and the `limits` above which a part counts as occluded; untrained, it finds none."""

    weight: Tensor
    bias: Tensor
    limits: Tensor

    def __init__(self, code_size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(len(PARTS), code_size))
        self.register_buffer("bias", torch.zeros(len(PARTS)))
        self.register_buffer("limits", torch.full((len(PARTS),), UNREACHABLE_LOGIT))

    def forward(self, code: Tensor) -> Tensor:
        """Appearance codes [B,D] -> logits [B,2]; larger means more surely occluded."""
        return code @ self.weight.T + self.bias

    def occluded_parts(self, code: Tensor) -> list[str]:
        """The PARTS that are occluded in one picture with appearance code [1,D]."""
        above_limit = (self(code) > self.limits)[0].tolist()
        return [name for name, occluded in zip(PARTS, above_limit, strict=True) if occluded]

    def fit(self, code: Tensor, occluded: Tensor, weight_decay: float = 1e-3, max_iterations: int = 100) -> float:
        """Fit weight and bias to codes [N,D] and labels occluded [N,2] (0 or 1) by L-BFGS -> the final loss.

        weight_decay: factor of the L2 penalty on weights of standardised codes. `limits` do not change.
        """
        mean, std = code.mean(0), code.std(0).clamp(min=1e-4)
        x = (code - mean) / std
        weight = torch.zeros_like(self.weight, requires_grad=True)
        bias = torch.zeros_like(self.bias, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=max_iterations, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            cross_entropy = nn.functional.binary_cross_entropy_with_logits(x @ weight.T + bias, occluded)
            total = cross_entropy + weight_decay * weight.square().sum()
            total.backward()
            return total

        optimizer.step(loss)
        final_loss = float(loss().detach())
        self.weight.copy_(weight.detach() / std)
        self.bias.copy_(bias.detach() - self.weight @ mean)
        return final_loss
