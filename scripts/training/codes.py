"""Stage one, first part: the encoder learns to read motion and identity codes from pixels; labels are landmarks."""

from __future__ import annotations

import copy
from argparse import Namespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import LANDMARKS, POSE_SIZE
from anitalker.faces.landmarks import from_canonical, lip_opening
from anitalker.motion.motion_space import Codes as Readings
from anitalker.motion.motion_space import MotionSpace, lid_scale
from anitalker.network_config import EncoderConfig, MotionSpaceConfig, to_dict
from encoders.image import to_tensor
from scripts.training.augment import colour, degrade
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module
from scripts.training.losses import closed_neutral_loss, landmark_loss, point_weights
from scripts.training.pairs import Pairs, PairSampler, animate_stills
from scripts.training.presets import Codes, motion_space_config, weighted
from scripts.training.separation import SeparationTerms


def start_from_labels(space: MotionSpace, labels: MotionLabels, cache: FrameCache) -> None:
    """Put canonical face, directions, and mean and spread of the training codes into the motion space's buffers."""
    space.canonical.copy_(labels.canonical)
    space.directions.copy_(labels.directions)
    numbers = [(row, cache.frames_of(clip)) for clip, row in enumerate(cache.rows)]
    codes = [labels.codes(cache.landmarks[frames], row["identity"]) for row, frames in numbers if len(frames)]
    codes = torch.cat(codes)
    space.motion_mean.copy_(codes.mean(0))
    space.motion_std.copy_(codes.std(0).clamp_min(0.02))


def label_space(labels: MotionLabels, cache: FrameCache) -> MotionSpace:
    """A motion space whose network is next to nothing, for the geometry of the labels."""
    space = MotionSpace(MotionSpaceConfig(encoder=EncoderConfig(channels=(8,) * 6, code_size=8), hidden=8))
    start_from_labels(space, labels, cache)
    return space


def standard(space: MotionSpace, motion: Tensor) -> Tensor:
    """Motion codes [B,20] in deviations from their mean."""
    return (motion - space.motion_mean) / space.motion_std


class CodesObjective(nn.Module):
    """Everything that teaches the codes, in percent of the face height unless said otherwise.

    absolute  the label's neutral under the predicted code against the landmarks
    relative  a's landmarks driven by (code b - code a) against b's landmarks: what inference does
    neutral   the lips of the inferred neutral are shut
    code      smooth L1 of the codes in units of their spread; a tenth for people without a known neutral
    place     all landmarks by one linear layer from HAL's code (training only): who knows where the features of a face
              lie can tell a pitched head from a short one
    identity, mutual  see `SeparationTerms`
    """

    def __init__(self, space: MotionSpace, recipe: Codes, people: int) -> None:
        super().__init__()
        self.space, self.recipe = space, recipe
        self.separation = SeparationTerms(recipe, people, space.config.identity_size, space.config.shown_size)
        place = nn.Linear(space.config.encoder.code_size, 2 * LANDMARKS)
        self.heads = nn.ModuleDict({"place": place, **self.separation.heads})
        self.register_buffer("weights", point_weights(), persistent=False)

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what the density network is to learn from."""
        pictures = degrade(colour(torch.cat([pairs.picture_a, pairs.picture_b])))
        with torch.autocast(pictures.device.type, torch.bfloat16):
            codes = self.space.look(pictures)
        terms, outputs = self.separation(codes.identity, standard(self.space, codes.motion), pairs.identity)
        losses = self._geometry(pairs, codes) | terms
        return losses | {"last_stage": codes.hal_weights[-1].detach(), "total": weighted(self.recipe, losses)}, outputs

    def _geometry(self, pairs: Pairs, codes: Readings) -> dict[str, Tensor]:
        """What landmarks and label codes say."""
        space, count = self.space, len(pairs.labelled)
        motion, label = codes.motion, torch.cat([pairs.codes_a, pairs.codes_b])
        landmarks = torch.cat([pairs.landmarks_a, pairs.landmarks_b])
        known = pairs.labelled.repeat(2)
        neutral = pairs.neutral.repeat(2, 1, 1)
        scale = lid_scale(neutral, space.canonical)
        # A still's own shape carries its expression: there only the pose is judged.
        shape = neutral + scale * space._displacement(torch.where(known[:, None], motion, label))
        residual = from_canonical(neutral + scale * space._displacement(label), label[:, :POSE_SIZE])
        absolute = landmark_loss(from_canonical(shape, motion[:, :POSE_SIZE]), residual, self.weights)
        driven = space.landmarks(pairs.landmarks_a, motion[:count], motion[count:])
        relative = landmark_loss(driven, pairs.landmarks_b, self.weights)
        code = F.smooth_l1_loss(motion, label, reduction="none", beta=1e-3) / space.motion_std
        mean = from_canonical(space.canonical[None], space.motion_mean[None, :POSE_SIZE])[..., :2]
        places = mean + 0.1 * self.heads["place"](codes.appearance).unflatten(1, (LANDMARKS, 2))
        return {
            "place": landmark_loss(places, landmarks, self.weights).mean(),
            "absolute": absolute.mean(),
            "relative": relative.mean(),
            "neutral": closed_neutral_loss(space.neutral(landmarks, motion)).mean(),
            "code": (code.mean(1) * torch.where(known, 1.0, 0.1)).mean(),
        }


def train_codes(
    engine: Engine, options: Namespace, recipe: Codes, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """Pairs of frames -> codes; prints the scores on val every `recipe.score` steps and at the end."""
    space = MotionSpace(motion_space_config(recipe))
    start_from_labels(space, labels, train)
    if options.start:
        load_module(space, options.start, "motion_space")
    objective = CodesObjective(space, recipe, train.people).to(engine.device)
    # HAL's logits at the common rate: at ten times, the quick pooled stages starved the last one, which keeps place.
    optimizer = torch.optim.AdamW([*space.parameters(), *objective.heads.parameters()], recipe.lr, weight_decay=0.01)
    modules = {"motion_space": space, "loss": objective.heads}
    configs, helpers = {"motion_space": to_dict(space.config)}, objective.separation.adversaries
    run = open_run(engine, options, recipe, modules, optimizer, configs, helpers)
    sampler = PairSampler(train, labels, recipe.stills, recipe.aligned, engine.device)

    def draw(step: int, seed: int) -> Pairs:
        return animate_stills(sampler.draw(recipe.batch, seed), space)

    def report(pairs: Pairs, outputs: dict) -> None:
        run.scores(score_codes(run.averaged("motion_space"), val, labels))

    fit(run, engine, objective, draw, report)


@torch.no_grad()
def score_codes(space: MotionSpace, cache: FrameCache, labels: MotionLabels, stride: int = 3) -> dict[str, float]:
    """Codes against labels on the clips of a split: R2 of pose, lip opening r per clip, relative landmark error (%)."""
    correlations, relative, predicted, true = [], [], [], []
    geometry, device = copy.deepcopy(space).cpu(), space.canonical.device
    for clip, row in enumerate(cache.rows):
        frames = cache.frames_of(clip)[::stride]
        with torch.autocast(device.type, torch.bfloat16):
            looks = [
                space(to_tensor(cache.pictures(few, device))) for few in np.array_split(frames, -(-len(frames) // 32))
            ]
        motion = torch.cat([look.motion for look in looks]).cpu()
        landmarks, neutral = torch.tensor(cache.landmarks[frames]), labels.neutrals[row["identity"]]
        frontal = neutral + lid_scale(neutral, labels.canonical) * geometry._displacement(motion)
        correlations.append(torch.corrcoef(torch.stack([lip_opening(frontal), lip_opening(landmarks)]))[0, 1])
        driven = geometry.landmarks(landmarks[:1].expand_as(landmarks), motion[:1].expand_as(motion), motion)
        relative.append(landmark_loss(driven, landmarks, torch.ones(LANDMARKS)).mean())
        predicted.append(motion)
        true.append(labels.codes(cache.landmarks[frames], row["identity"]))
    predicted, true = torch.cat(predicted), torch.cat(true)
    r2 = 1 - (predicted - true).square().mean(0) / true.var(0)
    scores = {f"r2_{name}": r2[i].item() for i, name in enumerate(("yaw", "pitch", "roll", "x", "y", "scale"))}
    scores["r2_expression"] = r2[POSE_SIZE:].mean().item()
    return {**scores, "lip_r": torch.stack(correlations).mean().item(), "relative": torch.stack(relative).mean().item()}
