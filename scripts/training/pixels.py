"""Stage one of the original's architecture (`full-256` and the ablation's arms): all from pixels, in one training.

Two frames of a person: the first's appearance under the second's motion code must give the second (AniTalker, Liu et
al. 2024, section 3.2; LIA, Wang et al. 2022). Landmarks only show the flow where to go, less and less.
"""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import EncoderConfig, MotionSpaceConfig, StageOneConfig, to_dict
from anitalker.motion.motion_space import MotionSpace
from anitalker.original.stage_one import StageOne
from scripts.training import styled
from scripts.training.augment import colour_pairs
from scripts.training.codes import start_from_labels
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module
from scripts.training.losses import LandmarkFlow
from scripts.training.pairs import Pairs, PairSampler, animate_stills, opening_pairs
from scripts.training.pictures import PictureTerms, score_frames
from scripts.training.presets import Pixels
from scripts.training.separation import MutualInformation, metric_loss

ALONE = 50.0  # logit that leaves HAL nothing but its last stage
TINY = EncoderConfig(channels=(8,) * 6, code_size=8)  # of a motion space of which only the geometry is used


class PixelsObjective(nn.Module):
    """Terms of `PictureTerms`, and:

    flow      landmark-flow supervision of the finest level, fading
    identity  metric learning on the identity feature (AAM-softmax or triplet)
    mutual    vCLUB bound of the information that the identity feature has of the motion code, nats
    cross     drive A by the B of another pair and read the frame again: B's motion code, in units of its spread, and
              1 - cosine to A's identity feature
    """

    def __init__(self, recipe: Pixels, features: str, people: int, canonical: Tensor) -> None:
        super().__init__()
        self.recipe, config = recipe, recipe.config()
        self.network = StageOne(config)
        if not recipe.hal:
            alone_(self.network)
        self.terms = PictureTerms(recipe, features)
        self.flow = LandmarkFlow(canonical, recipe.half_life)
        metric = metric_loss(recipe.metric, people, config.style, recipe.margin) if recipe.identity else None
        self.teachers = nn.ModuleDict({} if metric is None else {"identity": metric})
        density = MutualInformation(config.style, config.motion) if recipe.mutual else None
        self.opponents = self.terms.opponents | ({} if density is None else {density.NAME: density})

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what opponents learn from, and pictures of the log under `shown`."""
        recipe, network, count = self.recipe, self.network, len(pairs.labelled)
        device = pairs.picture_a.device.type
        with torch.autocast(device, torch.bfloat16):
            look = network.enc(torch.cat([pairs.picture_a, pairs.picture_b]))
            code, skips = look.image_code[:count], tuple(skip[:count] for skip in look.skips)
            motion, identity = look.motion_code.float(), F.normalize(look.identity.float(), dim=1)
            frames, place = styled.draw(network.dec, code, skips, motion[count:])
        last = network.dec.to_rgbs[-1].conv[0].weight
        losses, total, left = self.terms(frames, pairs, pairs.landmarks_b, last, step)
        marks, poses = (pairs.landmarks_a, pairs.landmarks_b), (pairs.codes_a[:, :6], pairs.codes_b[:, :6])
        own = {"flow": self.flow(place, *marks, *poses)}
        total = total + recipe.flow * self.flow.strength(step) * own["flow"]
        if "identity" in self.teachers:
            own["identity"] = self.teachers["identity"](identity, pairs.identity.repeat(2))
            total = total + recipe.identity * own["identity"]
        if density := self.opponents.get(MutualInformation.NAME):
            own["mutual"] = density.bound(identity, motion)
            total = total + recipe.mutual * own["mutual"]
            left[density.NAME] = (identity.detach(), motion.detach())
        if recipe.cross and step >= recipe.cross_after:
            with torch.autocast(device, torch.bfloat16):
                own["cross"] = self._cross(code, skips, motion, identity[:count])
            total = total + recipe.cross * own["cross"]
        left["shown"] = (frames.detach(),)
        return {**losses, **own, "last_stage": look.weights[-1].detach(), "total": total}, left

    def _cross(self, code: Tensor, skips: tuple[Tensor, ...], motion: Tensor, identity: Tensor) -> Tensor:
        drive = motion[len(code) :].roll(1, 0).detach()
        made, _ = styled.draw(self.network.dec, code, skips, drive)
        again = self.network.enc(made.clamp(-1, 1))
        spread = motion.detach().std(0).clamp_min(1e-3)
        moved = ((again.motion_code.float() - drive) / spread).abs().mean()
        return moved + 1 - F.cosine_similarity(again.identity.float(), identity.detach()).mean()


def alone_(network: StageOne) -> None:
    """HAL off: the last stage has all of the weight, for good. The file stays one that the original's code reads."""
    weights = network.enc.net_app.ws.weights
    weights.requires_grad_(False).zero_()
    weights[-1] = ALONE


def geometry_of(labels: MotionLabels, cache: FrameCache) -> MotionSpace:
    """A motion space whose network is nothing: what `animate_stills` needs of one."""
    space = MotionSpace(MotionSpaceConfig(encoder=TINY, hidden=8))
    start_from_labels(space, labels, cache)
    return space


def train_pixels(
    engine: Engine, arguments: Namespace, recipe: Pixels, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """Train the original's stage one; scores on val every `recipe.score` steps and at the end."""
    people = int(train.identity.max()) + 1
    objective = PixelsObjective(recipe, arguments.features, people, labels.canonical)
    network, config = objective.network, recipe.config()
    if arguments.start:
        load_module(network, arguments.start, "stage1")
    objective.to(engine.device)
    opponents = [one.to(engine.device) for one in objective.opponents.values()]
    learned = [p for module in (network, objective.teachers) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": learned, "peak": recipe.lr}], recipe.lr, betas=(0.5, 0.99), weight_decay=0.0
    )
    run = open_run(engine, arguments, recipe, {"stage1": network}, optimizer, opponents, {"stage1": to_dict(config)})
    geometry = geometry_of(labels, train).to(engine.device)
    sampler = PairSampler(train, labels, recipe.stills, device=engine.device)

    def draw(seed: int) -> Pairs:
        sampler.reseed(seed)
        pairs = animate_stills(opening_pairs(sampler.draw(recipe.batch)), geometry)
        if recipe.jitter:
            colour_pairs(pairs.picture_a, pairs.picture_b, recipe.jitter)
        return pairs

    def report(step: int, pairs: Pairs, left: dict) -> None:
        row = torch.cat([pairs.picture_a, left["shown"][0], pairs.picture_b], 3)[:4]
        run.images("source, made, true", (row + 1) / 2)
        averaged = read_stage_one(config, run.averaged("stage1")).to(engine.device)
        scores = score_frames(val, engine.device, lambda *given: {"model": reenact(averaged, given[1])})
        run.scores({name: float(np.mean(values)) for name, values in scores.items()})

    fit(run, engine, objective, draw, opponents, recipe, report)


def read_stage_one(config: StageOneConfig, tensors: dict[str, Tensor]) -> StageOne:
    """The network of these sizes with these weights, for inference."""
    network = StageOne(config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def reenact(network: StageOne, pictures: Tensor, chunk: int = 16) -> Tensor:
    """The first of pictures [n,3,s,s] under the motion of each -> frames [n,3,s,s], not clamped."""
    look = network.encode(pictures[:1])
    parts = [network.render(look, network.encode(piece).motion_code).pictures for piece in pictures.split(chunk)]
    return torch.cat(parts)
