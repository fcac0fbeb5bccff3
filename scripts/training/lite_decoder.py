"""Stage one of `lite`, second part: the decoder learns residual flow, masks and synthesised pixels; the encoder is
refined through it.
"""

from __future__ import annotations

from argparse import Namespace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import CROP, InputError
from anitalker.decoder.composition import compose
from anitalker.decoder.decoder import Decoder
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.models import loading
from anitalker.motion.motion_space import MotionSpace
from anitalker.network_config import to_dict
from scripts.training.codes import score_codes, standard, start_from_labels
from scripts.training.data import FrameCache
from scripts.training.distillation import DecoderDistillation
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module
from scripts.training.losses import LandmarkFlow, landmark_loss, point_weights
from scripts.training.pairs import Pairs, PairSampler
from scripts.training.pictures import FACE_POINTS, PERCEPTUAL_POINTS, PictureTerms, importance, lips_mask, score_frames
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
    identity, mutual  see `SeparationTerms`; only where the encoder learns

    frozen: the encoder stays as it is.
    """

    def __init__(
        self,
        space: MotionSpace,
        decoder: Decoder,
        recipe: Recipe,
        perceptual_network: str,
        people: int,
        frozen: bool,
    ) -> None:
        super().__init__()
        self.space, self.decoder, self.recipe = space, decoder, recipe
        self.frozen = frozen
        points = PERCEPTUAL_POINTS if recipe.mouth else FACE_POINTS
        self.terms = PictureTerms(recipe, perceptual_network, points)
        self.flow = LandmarkFlow(space.canonical, recipe.half_life)
        self.register_buffer("weights", point_weights(), persistent=False)
        self.adversaries, self.separation = dict(self.terms.adversaries), None
        if not frozen:
            self.separation = SeparationTerms(recipe, people, space.config.identity_size, space.config.shown_size)
            self.adversaries |= self.separation.adversaries
        else:
            space.requires_grad_(False).eval()  # in training mode HAL leaves its last stage out now and then

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what adversaries learn from, and pictures of the log."""
        recipe, count, device = self.recipe, len(pairs.labelled), pairs.picture_a.device.type
        with torch.autocast(device, torch.bfloat16):
            codes = self.space(torch.cat([pairs.picture_a, pairs.picture_b]))
        motion_a, motion_b = codes.motion[:count], codes.motion[count:]
        # The landmarks of a user's portrait come from a network: teach the decoder with its kind of error.
        landmarks = pairs.landmarks_a + torch.randn_like(pairs.landmarks_a[:, :1]) * 0.002
        landmarks = landmarks + torch.randn_like(pairs.landmarks_a) * 0.001
        target = self.space.landmarks(landmarks, motion_a, motion_b)
        own_teeth = recipe.mouth > 0
        prepared = self.decoder.prepare(
            pairs.picture_a, landmarks, motion_a.detach(), codes.appearance[:count], own_teeth
        )
        with torch.autocast(device, torch.bfloat16):
            layers = self.decoder.layers(prepared, target, motion_b.detach())
        frames = compose(pairs.picture_a, layers)
        other = (1 - recipe.mouth) * lips_mask(pairs.landmarks_b, CROP)  # the share that somebody else draws
        judged = torch.lerp(frames, pairs.picture_b, other)
        losses, total, outputs = self.terms(judged, pairs, target, self.decoder.exit.weight, step)
        weight, features = importance(pairs.landmarks_b, CROP)
        weight = weight * (1 - other)
        error = (torch.cat([pairs.codes_a, pairs.codes_b]) - codes.motion) / self.space.motion_std
        terms = {
            "flow_smoothness": sum(layers.flow.diff(dim=d).diff(dim=d).abs().mean() for d in (2, 3)) * CROP,
            "synthesis_area": (layers.masks[:, 2:] * (1 - features)).mean(),
            "synthesis_l1": ((layers.synthesised - pairs.picture_b).abs().mean(1, keepdim=True) * weight).mean(),
            "landmark": landmark_loss(target, pairs.landmarks_b, self.weights).mean(),
            "code": (error.abs().mean(1) * torch.where(pairs.labelled.repeat(2), 1.0, 0.1)).mean(),
        }
        if self.separation is not None:
            separation, inputs = self.separation(codes.identity, standard(self.space, codes.motion), pairs.identity)
            terms, outputs = terms | separation, outputs | inputs
        total = total + weighted(recipe, terms)
        if recipe.flow:
            terms["flow"] = self.flow(_places(layers.flow), pairs)
            total = total + recipe.flow * self.flow.strength(step) * terms["flow"]
        outputs["pictures"] = (frames.detach(), layers.masks.detach() * 2 - 1)
        return {**losses, **terms, "total": total}, outputs


def _places(flow: Tensor) -> Tensor:
    """Flow [B,2,n,n] -> where each place comes from, crop widths."""
    axis = (torch.arange(flow.shape[-1], device=flow.device) + 0.5) / flow.shape[-1]
    return flow + torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])


def train_decoder(
    engine: Engine, options: Namespace, recipe: Recipe, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """On codes from pixels, encoder and decoder together, or (--frozen) the decoder alone, or (--teacher) as another
    one draws."""
    if options.codes is None:
        raise InputError("stage decoder came without --codes; name the run of stage codes, or weights")
    space = MotionSpace(motion_space_config(recipe))
    decoder = Decoder(decoder_config(recipe, space.config))
    start_from_labels(space, labels, train)
    load_module(space, options.codes, "motion_space")
    if options.start:
        load_module(decoder, options.start, "decoder")
    network = options.perceptual_network
    if options.teacher:
        objective = DecoderDistillation(space, decoder, _teacher(options.teacher), recipe)
    else:
        objective = DecoderObjective(space, decoder, recipe, network, train.people, options.frozen)
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
        scores = score_pictures(averaged, run.averaged("decoder"), val)
        run.scores(scores | score_codes(averaged, val, labels, stride=4))

    fit(run, engine, objective, draw, report)


def _teacher(name: str) -> Decoder:
    """The decoder of a model, by registry name or file."""
    config, tensors = loading.read(name)
    decoder = cast(Decoder, loading.build(config, ("decoder",), name)["decoder"])
    own = {key.removeprefix("decoder."): value for key, value in tensors.items() if key.startswith("decoder.")}
    decoder.load_state_dict(own)
    return decoder


def score_pictures(space: MotionSpace, decoder: Decoder, val: FrameCache) -> dict[str, float]:
    """PSNR of first frame -> later frames, whole and inside the face oval, for copying, the bare warp and the model."""
    device, config = space.canonical.device, decoder.config

    def predict(_: np.ndarray, pictures: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            codes = space(pictures)
            first, source = codes.motion[:1].expand_as(codes.motion), landmarks[:1].expand_as(landmarks)
            target = space.landmarks(source, first, codes.motion)
            prepared = decoder.prepare(pictures[:1], landmarks[:1], codes.motion[:1], codes.appearance[:1])
            predicted = compose(pictures[:1], decoder.layers(prepared, target, codes.motion))
        flow = resize(landmark_flow(source, target, config.grid, config.smoothing), (CROP, CROP))
        return {"warp": warp(pictures[:1].expand_as(pictures), flow), "model": predicted}

    return {name: float(np.mean(values)) for name, values in score_frames(val, device, predict).items()}
