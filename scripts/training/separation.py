"""What keeps who apart from how: metric learning on the identity code, mutual information between the two codes.

AniTalker (Liu et al. 2024, section 3.2) takes AAM-softmax and CLUB; the triplet is the alternative of its ablation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.training.engine import AdversarialNetwork
from scripts.training.presets import StageOneRecipe


class AngularMargin(nn.Module):
    """AAM-softmax over the training people (Deng et al. 2019, "ArcFace", eq. 3).

    -log exp(s cos(t_y + m)) / (exp(s cos(t_y + m)) + sum_j exp(s cos t_j)), t_j the angle between the code and the
    weight of person j, y the true one, s = `scale`, m = `margin` in radians; m = 0 is NormFace (Wang et al. 2017).
    """

    def __init__(self, people: int, size: int, scale: float = 16.0, margin: float = 0.2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people, size))
        self.scale, self.margin = scale, margin

    def forward(self, code: Tensor, person: Tensor) -> Tensor:
        """Codes [B,size] of any length and person numbers [B] -> scalar, nats."""
        cosine = F.normalize(code.float(), dim=1) @ F.normalize(self.weight, dim=1).T
        target = cosine.gather(1, person[:, None])
        shifted = (target.clamp(-1 + 1e-6, 1 - 1e-6).acos() + self.margin).cos()
        # Past pi - m the cosine would rise again: there the margin is a plain subtraction, as in the authors' code.
        shifted = torch.where(target > -math.cos(self.margin), shifted, target - self.margin * math.sin(self.margin))
        return F.cross_entropy(self.scale * cosine.scatter(1, person[:, None], shifted), person)


class Triplet(nn.Module):
    """max(0, |a - p|^2 - |a - n|^2 + margin) on unit codes (Schroff et al. 2015, "FaceNet", eq. 2).

    p the other frame of a's pair, n the nearest code of somebody else in the batch (batch-hard: Hermans et al. 2017,
    eq. 5).
    """

    def __init__(self, margin: float = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, code: Tensor, person: Tensor) -> Tensor:
        """Codes [2B,size], first frames, then second ones of the same pairs; person numbers [2B] -> scalar."""
        code = F.normalize(code.float(), dim=1)
        distance = (2 - 2 * code @ code.T).clamp_min(0)
        partner = torch.arange(len(code), device=code.device).roll(len(code) // 2)
        near = distance.gather(1, partner[:, None]).squeeze(1)
        other = distance.masked_fill(person[:, None] == person, 4.0).amin(1)
        return F.relu(near - other + self.margin).mean()


class MutualInformation(AdversarialNetwork):
    """vCLUB: an upper bound of the mutual information between identity code i and motion code m, to be minimised.

    E_p(i,m) log q(m|i) - E_p(i) E_p(m) log q(m|i), where q(m|i) = N(mean(i), variance(i)), the density network, is
    trained in alternation by maximum likelihood (Cheng et al. 2020, "CLUB", section 3.2 and algorithm 1). The second
    expectation takes all pairs of the batch. The motion code is standardised over the batch first, so that the bound
    cannot be lowered by making it small.
    """

    NAME = "density"

    def __init__(self, identity_size: int, motion_size: int, hidden: int = 256, rate: float = 1e-3) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(identity_size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, motion_size)
        self.log_variance = nn.Sequential(nn.Linear(hidden, motion_size), nn.Tanh())  # within exp(-+1), as the authors'
        self.optimizer = torch.optim.Adam(self.parameters(), rate)

    def log_density(self, identity: Tensor, motion: Tensor) -> Tensor:
        """log q(m_j | i_b) up to a constant, of codes [B,I] and [B or 1,N,M] -> [B,N], nats."""
        x = self.trunk(identity)
        mean, log_variance = self.mean(x)[:, None], self.log_variance(x)[:, None]
        return -0.5 * ((motion - mean).square() / log_variance.exp() + log_variance).sum(-1)

    def bound(self, identity: Tensor, motion: Tensor) -> Tensor:
        """Identity [B,I] and motion [B,M] codes of the same pictures -> scalar, nats; the density stays as it is."""
        self.requires_grad_(False)
        with torch.autocast(identity.device.type, enabled=False):
            table = self.log_density(identity.float(), _standard(motion.float())[None])
        self.requires_grad_(True)
        return table.diagonal().mean() - table.mean()

    def loss(self, identity: Tensor, motion: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """Negative log likelihood per number of the motion code, which teaches the density."""
        identity, motion = identity.detach().float(), _standard(motion.detach().float())
        loss = -self.log_density(identity, motion[:, None]).mean() / motion.shape[1]
        return loss, {"density": loss.item()}


class SeparationTerms(nn.Module):
    """Metric learning and the bound of mutual information, as far as a recipe has them.

    heads has the learned weights of metric learning; adversaries, by name, the density network: a dict, so that its
    parameters stay outside of what the main optimizer and DistributedDataParallel see.
    """

    def __init__(self, recipe: StageOneRecipe, people: int, identity_size: int, motion_size: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        if recipe.identity and recipe.metric != "none":
            self.heads["identity"] = AngularMargin(people, identity_size) if recipe.metric == "aam" else Triplet()
        density = MutualInformation(identity_size, motion_size) if recipe.mutual else None
        self.adversaries = {} if density is None else {density.NAME: density}

    def forward(self, identity: Tensor, motion: Tensor, person: Tensor) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Identity [2B,I] and motion [2B,M] codes of sources, then drives, and the pairs' people [B] -> terms
        `identity` and `mutual`, not weighted, and what the density network learns from.
        """
        terms, outputs = {}, {}
        if "identity" in self.heads:
            terms["identity"] = self.heads["identity"](identity, person.repeat(2))
        for name, density in self.adversaries.items():
            terms["mutual"] = density.bound(identity, motion)
            outputs[name] = (identity.detach(), motion.detach())
        return terms, outputs


def _standard(x: Tensor) -> Tensor:
    """[B,C] with mean 0 and deviation 1 over the batch, which are taken as constants."""
    fixed = x.detach()
    return (x - fixed.mean(0)) / fixed.std(0, correction=0).clamp_min(1e-3)
