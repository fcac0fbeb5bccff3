"""Stage one, first part: the encoder learns to read motion and identity codes from pixels; labels are landmarks."""

from __future__ import annotations

import copy
from argparse import Namespace

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import LANDMARKS, POSE_SIZE, to_dict
from anitalker.faces.landmarks import from_canonical, lip_opening
from anitalker.motion.motion_space import Codes as Read
from anitalker.motion.motion_space import MotionSpace, lid_scale
from encoders.image import to_tensor
from scripts.training.augment import colour, degrade
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module
from scripts.training.losses import closed_neutral_loss, landmark_loss, point_weights
from scripts.training.pairs import Pairs, PairSampler, animate_stills
from scripts.training.presets import Codes, motion_space_config
from scripts.training.separation import MutualInformation, metric_loss

LAST_STAGE = 0.6  # share of HAL's last stage at a restart


def start_from_labels(space: MotionSpace, labels: MotionLabels, cache: FrameCache) -> None:
    """Put canonical face, directions, and mean and spread of the training codes into the motion space's buffers."""
    space.canonical.copy_(labels.canonical)
    space.directions.copy_(labels.directions)
    codes = []
    for number, row in enumerate(cache.rows):
        mine = (cache.clip == number) & cache.good
        if mine.any():
            codes.append(labels.codes(cache.landmarks[mine], row["identity"]))
    codes = torch.cat(codes)
    space.motion_mean.copy_(codes.mean(0))
    space.motion_std.copy_(codes.std(0).clamp_min(0.02))


class CodesObjective(nn.Module):
    """Everything that teaches the codes, in percent of the face height unless said otherwise.

    absolute  the label's neutral under the predicted code against the landmarks
    relative  a's landmarks driven by (code b - code a) against b's landmarks: what inference does
    neutral   the lips of the inferred neutral are shut
    code      smooth L1 of the codes in units of their spread; a tenth for people without a known neutral
    identity  metric learning on the identity code over the training people (AAM-softmax or triplet)
    mutual    vCLUB bound of the information that the identity code has of the motion code, nats
    place     all landmarks by one linear layer from HAL's code (training only): who knows where the features of a face
              lie can tell a pitched head from a short one

    Arguments: space; recipe; people, how many in training; density, the opponent that the bound needs, or None.
    """

    def __init__(self, space: MotionSpace, recipe: Codes, people: int, density: MutualInformation | None) -> None:
        super().__init__()
        self.space, self.recipe = space, recipe
        self.opponents = {} if density is None else {density.NAME: density}  # a dict, so that they stay outside
        self.teachers = nn.ModuleDict({"place": nn.Linear(space.config.encoder.code_size, 2 * LANDMARKS)})
        metric = metric_loss(recipe.metric, people, space.config.identity_size, recipe.margin)
        if metric is not None and recipe.identity:
            self.teachers["identity"] = metric
        self.register_buffer("weights", point_weights(), persistent=False)

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what the density is to learn from."""
        recipe, space = self.recipe, self.space
        pictures = degrade(colour(torch.cat([pairs.picture_a, pairs.picture_b])))
        with torch.autocast(pictures.device.type, torch.bfloat16):
            codes = space.look(pictures)
        losses = self._geometry(pairs, codes)
        total = sum(getattr(recipe, name) * value for name, value in losses.items())
        if "identity" in self.teachers:
            losses["identity"] = self.teachers["identity"](codes.identity, pairs.identity.repeat(2))
            total = total + recipe.identity * losses["identity"]
        left = {}
        if density := self.opponents.get(MutualInformation.NAME):
            motion = (codes.motion[:, : space.config.shown_size] - space.motion_mean) / space.motion_std
            losses["mutual"] = density.bound(codes.identity, motion)
            total = total + recipe.mutual * losses["mutual"]
            left[density.NAME] = (codes.identity.detach(), motion.detach())
        return {**losses, "last_stage": codes.hal_weights[-1].detach(), "total": total}, left

    def _geometry(self, pairs: Pairs, codes: Read) -> dict[str, Tensor]:
        """What landmarks and label codes say."""
        space, count = self.space, len(pairs.labelled)
        motion, label = codes.motion[:, : space.config.shown_size], torch.cat([pairs.codes_a, pairs.codes_b])
        marks = torch.cat([pairs.landmarks_a, pairs.landmarks_b])
        known = pairs.labelled.repeat(2)
        neutral = pairs.neutral.repeat(2, 1, 1)
        scale = lid_scale(neutral, space.canonical)
        # A still's own shape carries its expression: there only the pose is judged.
        shape = neutral + scale * space._displacement(torch.where(known[:, None], motion, label))
        residual = from_canonical(neutral + scale * space._displacement(label), label[:, :POSE_SIZE])
        absolute = landmark_loss(from_canonical(shape, motion[:, :POSE_SIZE]), residual, self.weights)
        driven = space.landmarks(pairs.landmarks_a, motion[:count], motion[count:])
        relative = landmark_loss(driven, pairs.landmarks_b, self.weights)
        shut = closed_neutral_loss(space.neutral(marks, motion))
        off = nn.functional.smooth_l1_loss(motion, label, reduction="none", beta=1e-3) / space.motion_std
        mean = from_canonical(space.canonical[None], space.motion_mean[None, :POSE_SIZE])[..., :2]
        places = mean + 0.1 * self.teachers["place"](codes.appearance).unflatten(1, (LANDMARKS, 2))
        return {
            "place": landmark_loss(places, marks, self.weights).mean(),
            "absolute": absolute.mean(),
            "relative": relative.mean(),
            "neutral": shut.mean(),
            "code": (off.mean(1) * torch.where(known, 1.0, 0.1)).mean(),
        }


def train_codes(
    engine: Engine, arguments: Namespace, recipe: Codes, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """Pairs of frames -> codes; prints the scores on val every `recipe.score` steps and at the end."""
    space = MotionSpace(motion_space_config(recipe))
    start_from_labels(space, labels, train)
    if arguments.start:
        load_module(space, arguments.start, "motion_space")
        if recipe.hal and len(space.hal.logits) > 1:
            factor = space.hal.rebalance(LAST_STAGE)
            with torch.no_grad():
                for parameter in space.encoder.last.parameters():
                    parameter.mul_(factor)
    density = MutualInformation(space.config.identity_size, space.config.shown_size) if recipe.mutual else None
    objective = CodesObjective(space, recipe, int(train.identity.max()) + 1, density).to(engine.device)
    opponents = [one.to(engine.device) for one in objective.opponents.values()]
    # HAL's logits at the common rate: at ten times, the quick pooled stages starved the last one, which keeps place.
    parameters = [*space.parameters(), *objective.teachers.parameters()]
    optimizer = torch.optim.AdamW([{"params": parameters, "peak": recipe.lr}], recipe.lr, weight_decay=0.01)
    modules = {"motion_space": space, "loss": objective.teachers}
    configs = {"motion_space": to_dict(space.config)}
    run = open_run(engine, arguments, recipe, modules, optimizer, opponents, configs)
    sampler = PairSampler(train, labels, recipe.stills, recipe.aligned, device=engine.device)

    def draw(seed: int) -> Pairs:
        sampler.reseed(seed)
        return animate_stills(sampler.draw(recipe.batch), space)

    def report(step: int, pairs: Pairs, left: dict) -> None:
        averaged = MotionSpace(space.config).to(engine.device)
        averaged.load_state_dict(run.averaged("motion_space"))
        run.scores(score_codes(averaged, val, labels))

    fit(run, engine, objective, draw, opponents, recipe, report)


@torch.no_grad()
def score_codes(space: MotionSpace, cache: FrameCache, labels: MotionLabels, stride: int = 3) -> dict[str, float]:
    """Codes against labels on the clips of a split: R2 of pose, lip opening r per clip, relative landmark error (%)."""
    correlations, relative, predicted, true = [], [], [], []
    geometry = copy.deepcopy(space).cpu()
    for number, row in enumerate(cache.rows):
        mine = ((cache.clip == number) & cache.good).nonzero()[0][::stride]
        motion, marks = (
            read_motion(space, cache, mine)[:, : space.config.shown_size],
            torch.tensor(cache.landmarks[mine]),
        )
        label = labels.codes(cache.landmarks[mine], row["identity"])
        neutral = labels.neutrals[row["identity"]]
        frontal = neutral + lid_scale(neutral, labels.canonical) * geometry._displacement(motion)
        correlations.append(torch.corrcoef(torch.stack([lip_opening(frontal), lip_opening(marks)]))[0, 1])
        driven = geometry.landmarks(marks[:1].expand_as(marks), motion[:1].expand_as(motion), motion)
        relative.append(landmark_loss(driven, marks, torch.ones(marks.shape[1])).mean())
        predicted.append(motion)
        true.append(label)
    predicted, true = torch.cat(predicted), torch.cat(true)
    r2 = 1 - (predicted - true).square().mean(0) / true.var(0)
    names = ("yaw", "pitch", "roll", "x", "y", "scale")
    scores = {f"r2_{name}": r2[i].item() for i, name in enumerate(names)}
    scores["r2_expression"] = r2[POSE_SIZE:].mean().item()
    return {**scores, "lip_r": torch.stack(correlations).mean().item(), "relative": torch.stack(relative).mean().item()}


@torch.no_grad()
def read_motion(space: MotionSpace, cache: FrameCache, numbers: np.ndarray, chunk: int = 32) -> torch.Tensor:
    """Motion codes [n,20] of frames by number, on the CPU; `space` in evaluation mode for the time."""
    was, device, parts = space.training, space.canonical.device, []
    space.eval()
    for first in range(0, len(numbers), chunk):
        with torch.autocast(device.type, torch.bfloat16):
            parts.append(space(to_tensor(cache.pictures(numbers[first : first + chunk], device))).motion.cpu())
    space.train(was)
    return torch.cat(parts)
