"""Is mouth or eyes of a portrait hidden by something: a mask, a hand, a microphone, a cup, dark glasses?

A linear probe (logistic regression) on the appearance code that HAL gives anyway, one row per part of the face; trained
by scripts/train_covers.py on pictures with drawn covers, shipped inside the motion prior's file. Landmarks do not tell:
they guess what they do not see, and guess it well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PARTS = ("mouth", "eyes")  # in the order of the rows
NEVER = 1e9  # a limit that no logit reaches; files hold no infinity
# What is said where one is covered.
MESSAGES = {
    "mouth": "something seems to cover the mouth, and lips will be drawn over it; give a picture that shows the lips",
    "eyes": "something seems to cover the eyes, and lids will be drawn over it; give a picture that shows the eyes, or "
    "hold the lids still with --blink 0",
}


class OcclusionProbe(nn.Module):
    """Logits of covered PARTS, and the `limits` above which they are told; untrained, it tells nothing."""

    def __init__(self, code_size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(len(PARTS), code_size))
        self.register_buffer("bias", torch.zeros(len(PARTS)))
        self.register_buffer("limits", torch.full((len(PARTS),), NEVER))

    def forward(self, code: Tensor) -> Tensor:
        """Appearance codes [B,D] -> logits [B,2], larger is more surely covered."""
        return code @ self.weight.T + self.bias

    def found(self, code: Tensor) -> list[str]:
        """The PARTS that are covered in one picture, appearance code [1,D]."""
        above = (self(code) > self.limits)[0].tolist()
        return [part for part, yes in zip(PARTS, above, strict=True) if yes]

    def learn(self, code: Tensor, covered: Tensor, decay: float = 1e-3, rounds: int = 100) -> float:
        """Fit to codes [N,D] and covered [N,2] (0 or 1) by L-BFGS, with an L2 penalty on standardised codes -> loss.

        Both parts apart; `limits` stay as they are.
        """
        mean, spread = code.mean(0), code.std(0).clamp(min=1e-4)
        x = (code - mean) / spread
        weight = torch.zeros_like(self.weight, requires_grad=True)
        bias = torch.zeros_like(self.bias, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=rounds, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            fit = nn.functional.binary_cross_entropy_with_logits(x @ weight.T + bias, covered)
            total = fit + decay * weight.square().sum()
            total.backward()
            return total

        optimizer.step(loss)
        last = float(loss().detach())
        self.weight.copy_(weight.detach() / spread)
        self.bias.copy_(bias.detach() - self.weight @ mean)
        return last
