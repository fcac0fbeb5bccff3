"""Stage one of `lite`, second part: the decoder learns residual flow, masks and synthesised pixels; the encoder is
refined through it.
"""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import CROP, DecoderConfig, from_dict, to_dict
from anitalker.decoder.decoder import Decoder, Layers, compose
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.models.loading import read
from anitalker.motion.motion_space import Codes, MotionSpace
from scripts.training.augment import colour_pairs
from scripts.training.codes import score_codes, start_from_labels
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module, weights_of
from scripts.training.losses import LandmarkFlow, landmark_loss, point_weights
from scripts.training.pairs import Pairs, PairSampler, animate_stills, opening_pairs
from scripts.training.pictures import PictureTerms, importance, score_frames
from scripts.training.presets import Decoder as Recipe
from scripts.training.presets import decoder_config, motion_space_config
from scripts.training.separation import MutualInformation, metric_loss

ENCODER = 0.2  # the encoder's learning rate as a share of the decoder's


class DecoderObjective(nn.Module):
    """Terms of `PictureTerms`, and:

    rough     second differences of the flow, pixels
    invented  synthesis where neither lips nor eyes are
    drawn     L1 of the synthesised pixels by themselves, so that they learn before the masks let them through
    flow      landmark-flow supervision (the flow begins as that of the landmarks: this holds the residual to it)
    landmark  driven landmarks against the true ones, percent of the face height
    code      codes against the labels, in units of their spread
    taught    distillation: flow [pixels], masks and synthesised pixels against those of a trained `teacher`, the first
              where its warped layer is seen, the last where its drawn one is (after Hinton et al., "Distilling the
              knowledge in a neural network", 2015)
    identity, mutual  as in the codes stage; only where the encoder learns

    learned: codes come from pixels (else from labels, a start); frozen: the encoder stays as it is.
    """

    def __init__(
        self,
        space: MotionSpace,
        decoder: Decoder,
        recipe: Recipe,
        features: str,
        people: int,
        learned: bool,
        frozen: bool,
        teacher: Decoder | None = None,
    ) -> None:
        super().__init__()
        self.space, self.decoder, self.recipe = space, decoder, recipe
        self.learned, self.frozen = learned, frozen
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self.terms = PictureTerms(recipe, features)
        self.flow = LandmarkFlow(space.canonical, recipe.half_life)
        self.register_buffer("weights", point_weights(), persistent=False)
        self.opponents = dict(self.terms.opponents)
        self.teachers = nn.ModuleDict()
        config = space.config
        if learned and not frozen:
            metric = (
                metric_loss(recipe.metric, people, config.identity_size, recipe.margin) if recipe.identity else None
            )
            self.teachers.update({"identity": metric} if metric is not None else {})
            if recipe.mutual:
                self.opponents["density"] = MutualInformation(config.identity_size, config.shown_size)
        if frozen or not learned:
            space.requires_grad_(False).eval()  # in training mode HAL leaves its last stage out now and then

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what opponents learn from, and pictures of the log under `shown`."""
        recipe, count = self.recipe, len(pairs.labelled)
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            codes = self.read(pairs)
        a, b = codes.motion[:count], codes.motion[count:]
        # The landmarks of a user's portrait come from a network: teach the decoder with its kind of error.
        marks = pairs.landmarks_a + torch.randn_like(pairs.landmarks_a[:, :1]) * 0.002
        marks = marks + torch.randn_like(pairs.landmarks_a) * 0.001
        target = self.space.landmarks(marks, a, b)
        given = pairs.picture_a, marks, a.detach(), codes.appearance[:count]
        prepared = self.decoder.prepare(*given)
        with torch.autocast(pairs.picture_a.device.type, torch.bfloat16):
            layers = self.decoder.frames(prepared, target, b.detach())
        frames = compose(pairs.picture_a, layers)
        losses, total, left = self.terms(frames, pairs, target, self.decoder.exit.weight, step)
        weight, features = importance(pairs.landmarks_b, CROP)
        own = {
            "rough": sum(layers.flow.diff(dim=d).diff(dim=d).abs().mean() for d in (2, 3)) * CROP,
            "invented": (layers.masks[:, 2:] * (1 - features)).mean(),
            "drawn": ((layers.pixels - pairs.picture_b).abs().mean(1, keepdim=True) * weight).mean(),
            "landmark": landmark_loss(target, pairs.landmarks_b, self.weights).mean(),
            "code": self._code(pairs, codes),
        }
        if self.teacher is not None:
            with torch.no_grad(), torch.autocast(pairs.picture_a.device.type, torch.bfloat16):
                shown = self.teacher.frames(self.teacher.prepare(*given), target.detach(), b.detach())
            own["taught"] = _apart(layers, shown)
        total = total + sum(getattr(recipe, name) * value for name, value in own.items())
        if recipe.flow:
            poses = pairs.codes_a[:, :6], pairs.codes_b[:, :6]
            own["flow"] = self.flow(_places(layers.flow), pairs.landmarks_a, pairs.landmarks_b, *poses)
            total = total + recipe.flow * self.flow.strength(step) * own["flow"]
        if "identity" in self.teachers:
            own["identity"] = self.teachers["identity"](codes.identity, pairs.identity.repeat(2))
            total = total + recipe.identity * own["identity"]
        if density := self.opponents.get("density"):
            motion = (self._shown(codes.motion) - self.space.motion_mean) / self.space.motion_std
            own["mutual"] = density.bound(codes.identity, motion)
            total = total + recipe.mutual * own["mutual"]
            left["density"] = (codes.identity.detach(), motion.detach())
        left["shown"] = (frames.detach(), layers.masks.detach())
        return {**losses, **own, "total": total}, left

    def read(self, pairs: Pairs) -> Codes:
        """Codes of sources, then drives [2B]: from pixels, or the labels (with an empty appearance) while there is no
        encoder.
        """
        if self.learned:
            with torch.autocast(pairs.picture_a.device.type, torch.bfloat16):
                return self.space(torch.cat([pairs.picture_a, pairs.picture_b]))
        labels = torch.cat([pairs.codes_a, pairs.codes_b])
        labels = nn.functional.pad(labels, (0, self.space.config.learned_size))
        empty = labels.new_zeros(len(labels), self.space.config.encoder.code_size)
        return Codes(labels, empty[:, : self.space.config.identity_size], empty, self.space.hal.weights())

    def _code(self, pairs: Pairs, codes: Codes) -> Tensor:
        off = (torch.cat([pairs.codes_a, pairs.codes_b]) - self._shown(codes.motion)) / self.space.motion_std
        return (off.abs().mean(1) * torch.where(pairs.labelled.repeat(2), 1.0, 0.1)).mean()

    def _shown(self, motion: Tensor) -> Tensor:
        """Of motion [B,M] what labels give."""
        return motion[:, : self.space.config.shown_size]


def _apart(layers: Layers, shown: Layers) -> Tensor:
    """How far layers are from a teacher's; inside mouths, which are small, the mean counts as that of all the rest."""
    _, warped, drawn = shown.masks.split(1, 1)
    inside = drawn / drawn.mean().clamp(min=1e-3)
    masks = (layers.masks - shown.masks).abs()
    flow = ((layers.flow - shown.flow).abs() * warped).mean() * CROP
    return flow + (masks * (3 + inside)).mean() + ((layers.pixels - shown.pixels).abs() * inside).mean()


def _places(flow: Tensor) -> Tensor:
    """Flow [B,2,n,n] -> where each place comes from, crop widths."""
    axis = (torch.arange(flow.shape[-1], device=flow.device) + 0.5) / flow.shape[-1]
    return flow + torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])


def train_decoder(
    engine: Engine, arguments: Namespace, recipe: Recipe, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """Without --codes: on label codes alone (a start). With it: on codes from pixels, encoder and decoder together."""
    space = MotionSpace(motion_space_config(recipe))
    decoder = Decoder(decoder_config(recipe, space.config))
    start_from_labels(space, labels, train)
    learned = arguments.codes is not None
    if learned:
        load_module(space, arguments.codes, "motion_space", "learned_out")
    if arguments.start:
        load_module(decoder, arguments.start, "decoder")
    people = int(train.identity.max()) + 1
    teacher = None
    if arguments.teacher:
        config, _ = read(weights_of(arguments.teacher))
        teacher = Decoder(from_dict(DecoderConfig, config["decoder"]))
        load_module(teacher, arguments.teacher, "decoder")
    objective = DecoderObjective(space, decoder, recipe, arguments.features, people, learned, arguments.frozen, teacher)
    objective.to(engine.device)
    opponents = [one.to(engine.device) for one in objective.opponents.values()]
    groups = [{"params": list(decoder.parameters()), "peak": recipe.lr}]
    if learned and not arguments.frozen:
        groups.append({"params": list(space.parameters()), "peak": recipe.lr * ENCODER})
    if objective.teachers:
        groups.append({"params": list(objective.teachers.parameters()), "peak": recipe.lr})
    optimizer = torch.optim.AdamW([{**g, "lr": g["peak"]} for g in groups], weight_decay=0.01)
    modules = {"motion_space": space, "decoder": decoder}
    configs = {"motion_space": to_dict(space.config), "decoder": to_dict(decoder.config)}
    run = open_run(engine, arguments, recipe, modules, optimizer, opponents, configs)
    sampler = PairSampler(train, labels, recipe.stills, device=engine.device)

    def draw(seed: int) -> Pairs:
        sampler.reseed(seed)
        pairs = animate_stills(opening_pairs(sampler.draw(recipe.batch)), space)
        if recipe.jitter:
            colour_pairs(pairs.picture_a, pairs.picture_b, recipe.jitter)
        return pairs

    def report(step: int, pairs: Pairs, left: dict) -> None:
        frames, masks = left["shown"]
        row = torch.cat([pairs.picture_a, frames, pairs.picture_b, masks * 2 - 1], 3)[:4]
        run.images("source, made, true, masks", (row + 1) / 2)
        own = MotionSpace(space.config).to(engine.device), Decoder(decoder.config).to(engine.device)
        for module, name in zip(own, ("motion_space", "decoder"), strict=True):
            module.load_state_dict(run.averaged(name))
            module.eval()
        scores = score_pictures(*own, val, labels, learned)
        run.scores(scores | score_codes(own[0], val, labels, stride=4) if learned else scores)

    fit(run, engine, objective, draw, opponents, recipe, report)


@torch.no_grad()
def score_pictures(
    space: MotionSpace, decoder: Decoder, val: FrameCache, labels: MotionLabels, learned: bool
) -> dict[str, float]:
    """PSNR of first frame -> later frames, whole and inside the face oval, for copying, the bare warp and the model."""
    device, config = space.canonical.device, decoder.config

    def make(numbers: np.ndarray, pictures: Tensor, marks: Tensor) -> dict[str, Tensor]:
        person = val.rows[val.clip[numbers[0]]]["identity"]
        known = labels.codes(val.landmarks[numbers], person).to(device)
        known = nn.functional.pad(known, (0, space.config.learned_size))
        codes = Codes(known, None, known.new_zeros(len(numbers), config.code_size), None)
        with torch.autocast(device.type, torch.bfloat16):
            codes = space(pictures) if learned else codes
            first = codes.motion[:1].expand(len(numbers), -1)
            target = space.landmarks(marks[:1].expand_as(marks), first, codes.motion)
            prepared = decoder.prepare(pictures[:1], marks[:1], codes.motion[:1], codes.appearance[:1])
            made = compose(pictures[:1], decoder.frames(prepared, target, codes.motion))
        flow = landmark_flow(marks[:1].expand_as(marks), target, config.grid, config.smoothing)
        return {"warp": warp(pictures[:1].expand_as(pictures), resize(flow, (CROP, CROP))), "model": made}

    return {name: float(np.mean(values)) for name, values in score_frames(val, device, make).items()}
