"""Stage one of `lite`, second part: the decoder learns residual flow, masks and synthesised pixels; the encoder is
refined through it.
"""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import CROP, DecoderConfig, from_dict, to_dict
from anitalker.decoder.decoder import Decoder, Layers, compose
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.models.loading import read
from anitalker.motion.motion_space import Codes, MotionSpace
from scripts.training.codes import score_codes, standard, start_from_labels
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module, weights_of
from scripts.training.losses import LandmarkFlow, landmark_loss, point_weights
from scripts.training.pairs import Pairs, PairSampler
from scripts.training.pictures import PictureTerms, importance, score_frames
from scripts.training.presets import Decoder as Recipe
from scripts.training.presets import decoder_config, motion_space_config, weighted
from scripts.training.separation import SeparationTerms

ENCODER = 0.2  # the encoder's learning rate as a share of the decoder's


class DecoderObjective(nn.Module):
    """Terms of `PictureTerms`, and:

    flow_smoothness  second differences of the flow, pixels
    synthesis_area   synthesis where neither lips nor eyes are
    synthesis_l1     L1 of the synthesised pixels by themselves, so that they learn before the masks let them through
    flow             landmark-flow supervision (the flow begins as that of the landmarks: this holds the residual to it)
    landmark         driven landmarks against the true ones, percent of the face height
    code             codes against the labels, in units of their spread
    distillation     flow [pixels], masks and synthesised pixels against those of a trained `teacher`, the first where
                     its warped layer is seen, the last where its drawn one is (Hinton et al., "Distilling the knowledge
                     in a neural network", 2015)
    identity, mutual  see `SeparationTerms`; only where the encoder learns

    learned: codes come from pixels (else from labels, a start); frozen: the encoder stays as it is.
    """

    def __init__(
        self,
        space: MotionSpace,
        decoder: Decoder,
        recipe: Recipe,
        perceptual_network: str,
        people: int,
        learned: bool,
        frozen: bool,
        teacher: Decoder | None = None,
    ) -> None:
        super().__init__()
        self.space, self.decoder, self.recipe = space, decoder, recipe
        self.learned, self.frozen = learned, frozen
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self.terms = PictureTerms(recipe, perceptual_network)
        self.flow = LandmarkFlow(space.canonical, recipe.half_life)
        self.register_buffer("weights", point_weights(), persistent=False)
        self.adversaries, self.separation = dict(self.terms.adversaries), None
        if learned and not frozen:
            self.separation = SeparationTerms(recipe, people, space.config.identity_size, space.config.shown_size)
            self.adversaries |= self.separation.adversaries
        else:
            space.requires_grad_(False).eval()  # in training mode HAL leaves its last stage out now and then

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what adversaries learn from, and pictures of the log."""
        recipe, count, device = self.recipe, len(pairs.labelled), pairs.picture_a.device.type
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            codes = self.read(pairs)
        motion_a, motion_b = codes.motion[:count], codes.motion[count:]
        # The landmarks of a user's portrait come from a network: teach the decoder with its kind of error.
        landmarks = pairs.landmarks_a + torch.randn_like(pairs.landmarks_a[:, :1]) * 0.002
        landmarks = landmarks + torch.randn_like(pairs.landmarks_a) * 0.001
        target = self.space.landmarks(landmarks, motion_a, motion_b)
        portrait = pairs.picture_a, landmarks, motion_a.detach(), codes.appearance[:count]
        prepared = self.decoder.prepare(*portrait)
        with torch.autocast(device, torch.bfloat16):
            layers = self.decoder.layers(prepared, target, motion_b.detach())
        frames = compose(pairs.picture_a, layers)
        losses, total, outputs = self.terms(frames, pairs, target, self.decoder.exit.weight, step)
        weight, features = importance(pairs.landmarks_b, CROP)
        terms = {
            "flow_smoothness": sum(layers.flow.diff(dim=d).diff(dim=d).abs().mean() for d in (2, 3)) * CROP,
            "synthesis_area": (layers.masks[:, 2:] * (1 - features)).mean(),
            "synthesis_l1": ((layers.synthesised - pairs.picture_b).abs().mean(1, keepdim=True) * weight).mean(),
            "landmark": landmark_loss(target, pairs.landmarks_b, self.weights).mean(),
            "code": self._code(pairs, codes),
        }
        if self.teacher is not None:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                taught = self.teacher.layers(self.teacher.prepare(*portrait), target.detach(), motion_b.detach())
            terms["distillation"] = _distillation(layers, taught)
        if self.separation is not None:
            motion = standard(self.space, codes.motion)
            separation, inputs = self.separation(codes.identity, motion, pairs.identity)
            terms, outputs = terms | separation, outputs | inputs
        total = total + weighted(recipe, terms)
        if recipe.flow:
            terms["flow"] = self.flow(_places(layers.flow), pairs)
            total = total + recipe.flow * self.flow.strength(step) * terms["flow"]
        outputs["pictures"] = (frames.detach(), layers.masks.detach() * 2 - 1)
        return {**losses, **terms, "total": total}, outputs

    def read(self, pairs: Pairs) -> Codes:
        """Codes of sources, then drives [2B]: from pixels, or the labels (with an empty appearance) while there is no
        encoder.
        """
        if self.learned:
            with torch.autocast(pairs.picture_a.device.type, torch.bfloat16):
                return self.space(torch.cat([pairs.picture_a, pairs.picture_b]))
        return label_codes(self.space, torch.cat([pairs.codes_a, pairs.codes_b]))

    def _code(self, pairs: Pairs, codes: Codes) -> Tensor:
        motion = codes.motion[:, : self.space.config.shown_size]
        error = (torch.cat([pairs.codes_a, pairs.codes_b]) - motion) / self.space.motion_std
        return (error.abs().mean(1) * torch.where(pairs.labelled.repeat(2), 1.0, 0.1)).mean()


def label_codes(space: MotionSpace, labels: Tensor) -> Codes:
    """Codes whose motion are labels [B,20], and whose identity and appearance are 0."""
    empty = labels.new_zeros(len(labels), space.config.encoder.code_size)
    motion = F.pad(labels, (0, space.config.learned_size))
    return Codes(motion, empty[:, : space.config.identity_size], empty, space.hal.weights())


def _distillation(layers: Layers, teacher: Layers) -> Tensor:
    """How far layers are from a teacher's; inside mouths, which are small, the mean counts as that of all the rest."""
    _, warped, drawn = teacher.masks.split(1, 1)
    mouth = drawn / drawn.mean().clamp(min=1e-3)
    masks = (layers.masks - teacher.masks).abs()
    flow = ((layers.flow - teacher.flow).abs() * warped).mean() * CROP
    return flow + (masks * (3 + mouth)).mean() + ((layers.synthesised - teacher.synthesised).abs() * mouth).mean()


def _places(flow: Tensor) -> Tensor:
    """Flow [B,2,n,n] -> where each place comes from, crop widths."""
    axis = (torch.arange(flow.shape[-1], device=flow.device) + 0.5) / flow.shape[-1]
    return flow + torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])


def train_decoder(
    engine: Engine, options: Namespace, recipe: Recipe, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """Without --codes: on label codes alone (a start). With it: on codes from pixels, encoder and decoder together."""
    space = MotionSpace(motion_space_config(recipe))
    decoder = Decoder(decoder_config(recipe, space.config))
    start_from_labels(space, labels, train)
    learned, teacher = options.codes is not None, None
    if learned:
        load_module(space, options.codes, "motion_space", "learned_out")
    if options.start:
        load_module(decoder, options.start, "decoder")
    if options.teacher:
        config, _ = read(weights_of(options.teacher))
        teacher = Decoder(from_dict(DecoderConfig, config["decoder"]))
        load_module(teacher, options.teacher, "decoder")
    network = options.perceptual_network
    objective = DecoderObjective(space, decoder, recipe, network, train.people, learned, options.frozen, teacher)
    objective.to(engine.device)
    groups, helpers = [{"params": list(decoder.parameters())}], dict(objective.adversaries)
    if objective.separation is not None:
        groups.append({"params": list(space.parameters()), "lr": recipe.lr * ENCODER})
        if heads := list(objective.separation.heads.parameters()):
            groups.append({"params": heads})
            helpers["heads"] = objective.separation.heads
    optimizer = torch.optim.AdamW(groups, recipe.lr, weight_decay=0.01)
    configs = {"motion_space": to_dict(space.config), "decoder": to_dict(decoder.config)}
    modules = {"motion_space": space, "decoder": decoder}
    run = open_run(engine, options, recipe, modules, optimizer, configs, helpers)
    sampler = PairSampler(train, labels, recipe.stills, device=engine.device)

    def draw(step: int, seed: int) -> Pairs:
        return sampler.opening_pairs(recipe, space, seed)

    def report(pairs: Pairs, outputs: dict) -> None:
        frames, masks = outputs["pictures"]
        run.images(
            "source, predicted, true, masks", torch.cat([pairs.picture_a, frames, pairs.picture_b, masks], 3)[:4]
        )
        averaged = run.averaged("motion_space")
        scores = score_pictures(averaged, run.averaged("decoder"), val, labels, learned)
        run.scores(scores | score_codes(averaged, val, labels, stride=4) if learned else scores)

    fit(run, engine, objective, draw, report)


def score_pictures(
    space: MotionSpace, decoder: Decoder, val: FrameCache, labels: MotionLabels, learned: bool
) -> dict[str, float]:
    """PSNR of first frame -> later frames, whole and inside the face oval, for copying, the bare warp and the model."""
    device, config = space.canonical.device, decoder.config

    def predict(numbers: np.ndarray, pictures: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            if learned:
                codes = space(pictures)
            else:
                person = val.rows[val.clip[numbers[0]]]["identity"]
                codes = label_codes(space, labels.codes(val.landmarks[numbers], person).to(device))
            first, source = codes.motion[:1].expand(len(numbers), -1), landmarks[:1].expand_as(landmarks)
            target = space.landmarks(source, first, codes.motion)
            prepared = decoder.prepare(pictures[:1], landmarks[:1], codes.motion[:1], codes.appearance[:1])
            predicted = compose(pictures[:1], decoder.layers(prepared, target, codes.motion))
        flow = resize(landmark_flow(source, target, config.grid, config.smoothing), (CROP, CROP))
        return {"warp": warp(pictures[:1].expand_as(pictures), flow), "model": predicted}

    return {name: float(np.mean(values)) for name, values in score_frames(val, device, predict).items()}
