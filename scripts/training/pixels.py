"""Stage one of the original's architecture (`full-256` and the ablation's arms): all from pixels, in one training.

Two frames of a person: the first's appearance under the second's motion code must give the second (AniTalker, Liu et
al. 2024, section 3.2; LIA, Wang et al. 2022). Landmarks only show the flow where to go, less and less.

`original.styled_decoder` draws many frames of one portrait and keeps no graph. `draw_frames` is the same function of
the same parameters, with a portrait of its own for every frame, and gradients. Letters: B pictures, S the style's
width, M motion numbers, n pixels.
"""

from __future__ import annotations

import math
from argparse import Namespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.network_config import to_dict
from anitalker.original.stage_one import StageOne
from anitalker.original.styled_decoder import EPSILON, StyledDecoder
from encoders.equalized import SLOPE, binomial, depthwise, double
from scripts.training.codes import label_space
from scripts.training.data import FrameCache
from scripts.training.engine import Engine, fit, open_run
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module
from scripts.training.losses import LandmarkFlow
from scripts.training.pairs import Pairs, PairSampler
from scripts.training.pictures import PictureTerms, score_frames
from scripts.training.presets import Pixels, weighted
from scripts.training.separation import SeparationTerms

LAST_STAGE_LOGIT = 50.0  # leaves HAL nothing but its last stage


class PixelsObjective(nn.Module):
    """Terms of `PictureTerms` and `SeparationTerms`, and:

    flow    landmark-flow supervision of the finest level, fading
    cross   drive A by the B of another pair and read the frame again: B's motion code, in units of its spread, and
            1 - cosine to A's identity feature
    """

    def __init__(self, recipe: Pixels, perceptual_network: str, people: int, canonical: Tensor) -> None:
        super().__init__()
        self.recipe, config = recipe, recipe.config()
        self.network = StageOne(config)
        if not recipe.hal:
            use_last_stage_only(self.network)
        self.terms = PictureTerms(recipe, perceptual_network)
        self.flow = LandmarkFlow(canonical, recipe.half_life)
        self.separation = SeparationTerms(recipe, people, config.style, config.motion)
        self.adversaries = self.terms.adversaries | self.separation.adversaries

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`; what adversaries learn from, and pictures of the log."""
        recipe, network, count = self.recipe, self.network, len(pairs.labelled)
        device = pairs.picture_a.device.type
        with torch.autocast(device, torch.bfloat16):
            look = network.enc(torch.cat([pairs.picture_a, pairs.picture_b]))
            code, skips = look.image_code[:count], tuple(skip[:count] for skip in look.skips)
            motion, identity = look.motion_code.float(), F.normalize(look.identity.float(), dim=1)
            frames, place = draw_frames(network.dec, code, skips, motion[count:])
        last = network.dec.to_rgbs[-1].conv[0].weight
        losses, total, outputs = self.terms(frames, pairs, pairs.landmarks_b, last, step)
        terms, inputs = self.separation(identity, motion, pairs.identity)
        if recipe.cross and step >= recipe.cross_after:
            with torch.autocast(device, torch.bfloat16):
                terms["cross"] = self._cross(code, skips, motion, identity[:count])
        total = total + weighted(recipe, terms)
        terms["flow"] = self.flow(place, pairs)
        total = total + recipe.flow * self.flow.strength(step) * terms["flow"]
        outputs |= inputs | {"pictures": frames.detach()}
        return {**losses, **terms, "last_stage": look.weights[-1].detach(), "total": total}, outputs

    def _cross(self, code: Tensor, skips: tuple[Tensor, ...], motion: Tensor, identity: Tensor) -> Tensor:
        drive = motion[len(code) :].roll(1, 0).detach()
        frames, _ = draw_frames(self.network.dec, code, skips, drive)
        look = self.network.enc(frames.clamp(-1, 1))
        spread = motion.detach().std(0).clamp_min(1e-3)
        motion_error = ((look.motion_code.float() - drive) / spread).abs().mean()
        return motion_error + 1 - F.cosine_similarity(look.identity.float(), identity.detach()).mean()


def use_last_stage_only(network: StageOne) -> None:
    """HAL off: the last stage has all of the weight, for good. The file stays one that the original's code reads."""
    weights = network.enc.net_app.ws.weights
    weights.requires_grad_(False).zero_()
    weights[-1] = LAST_STAGE_LOGIT


def train_pixels(
    engine: Engine, options: Namespace, recipe: Pixels, train: FrameCache, val: FrameCache, labels: MotionLabels
) -> None:
    """Train the original's stage one; scores on val every `recipe.score` steps and at the end."""
    objective = PixelsObjective(recipe, options.perceptual_network, train.people, labels.canonical)
    network, heads = objective.network, objective.separation.heads
    if options.start:
        load_module(network, options.start, "stage1")
    objective.to(engine.device)
    learned = [p for module in (network, heads) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, recipe.lr, betas=(0.5, 0.99), weight_decay=0.0)
    helpers = objective.adversaries | ({"heads": heads} if len(heads) else {})
    run = open_run(
        engine, options, recipe, {"stage1": network}, optimizer, {"stage1": to_dict(recipe.config())}, helpers
    )
    geometry = label_space(labels, train).to(engine.device)  # what moves stills
    sampler = PairSampler(train, labels, recipe.stills, device=engine.device)

    def draw(step: int, seed: int) -> Pairs:
        return sampler.opening_pairs(recipe, geometry, seed)

    def report(pairs: Pairs, outputs: dict) -> None:
        run.images("source, predicted, true", torch.cat([pairs.picture_a, outputs["pictures"], pairs.picture_b], 3)[:4])
        averaged = run.averaged("stage1")
        scores = score_frames(val, engine.device, lambda _, pictures, __: {"model": reenact(averaged, pictures)})
        run.scores({name: float(np.mean(values)) for name, values in scores.items()})

    fit(run, engine, objective, draw, report)


def draw_frames(
    decoder: StyledDecoder, image_code: Tensor, skips: tuple[Tensor, ...], motion: Tensor
) -> tuple[Tensor, Tensor]:
    """Image codes [B,S], skips from 8x8 up [B,C,n,n] and motion [B,M] -> frames [B,3,n,n], about -1..1, and where each
    of their pixels comes from, [B,2,n,n] in crop widths (of the finest level).

    style = code + Q motion; at every level x <- mask warp(skip) + (1 - mask) x, picture <- colour(mask warp(skip)) +
    doubled picture (LIA, Wang et al. 2022, section 3.3). Flow, places and colour are float32 under autocast too.
    """
    style = image_code.float() + motion.float() @ decoder.directions().T
    x = decoder.input.input.expand(len(style), -1, -1, -1)
    x = _styled(decoder.conv1, x, style)
    flow = picture = None
    for index, skip in enumerate(skips):
        x = _styled(decoder.convs[2 * index], x, style, doubles=True)
        x = _styled(decoder.convs[2 * index + 1], x, style)
        with torch.autocast(x.device.type, enabled=False):
            layer = decoder.to_flows[index]
            weight = layer.conv.scaled()[..., 0, 0] * layer.conv.modulation(style)[:, None]  # [B,3,C]
            drawn = torch.einsum("bkc,bchw->bkhw", weight, x.float()) + layer.bias
            flow = drawn if flow is None else drawn + double(flow)
            n = x.shape[-1]
            axis = torch.linspace(-1, 1, n, device=x.device)
            grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])
            place, mask = grid + flow[:, :2].tanh(), flow[:, 2:].sigmoid()
            warped = F.grid_sample(skip.float(), place.permute(0, 2, 3, 1), align_corners=False) * mask
            colour = decoder.to_rgbs[index]
            residual = colour.conv(warped) + colour.bias
            picture = residual if picture is None else residual + double(picture)
        x = warped.to(x.dtype) + x * (1 - mask).to(x.dtype)
    return picture, (place + 1) / 2


def _styled(layer, x: Tensor, style: Tensor, doubles: bool = False) -> Tensor:
    """Modulated convolution, demodulated, then bias and activation (StyleGAN2, Karras et al. 2020, eq. 1-3)."""
    weight = layer.conv.scaled()
    with torch.autocast(x.device.type, enabled=False):
        scale = layer.conv.modulation(style)
        energy = weight.float().square().sum((2, 3))
        demodulation = (scale.square() @ energy.T + EPSILON).rsqrt()
    x = x * scale[..., None, None].to(x.dtype)
    if doubles:
        blur = depthwise(binomial(4.0), len(weight)).to(x)
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        x = F.conv2d(x, blur.to(x.dtype), padding=1, groups=len(blur))
    else:
        x = F.conv2d(x, weight, padding=1)
    x = x * demodulation[..., None, None].to(x.dtype) + layer.activate.bias.to(x.dtype)
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)


@torch.no_grad()
def reenact(network: StageOne, pictures: Tensor, chunk: int = 16) -> Tensor:
    """The first of pictures [n,3,s,s] under the motion of each -> frames [n,3,s,s], not clamped."""
    look = network.encode(pictures[:1])
    batches = pictures.split(chunk)
    return torch.cat([network.render(look, network.encode(batch).motion_code).pictures for batch in batches])
