"""Stage one, second part: the decoder learns residual flow, masks and synthesised pixels; the encoder is refined
through it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import CROP, DecoderConfig, MotionSpaceConfig, to_dict
from anitalker.decoder import Decoder, Layers, compose
from anitalker.landmarks import FACE_OVAL, INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, draw, lip_opening
from anitalker.motion_space import Codes, MotionSpace
from anitalker.warp import landmark_flow, resize, warp
from scripts.training.adversarial import Adversarial, random_shift, views
from scripts.training.codes import score_codes, start_from_labels
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.loop import Run, load_module, schedule
from scripts.training.losses import PerceptualLoss, SqueezeFeatures, landmark_loss, point_weights
from scripts.training.pairs import Pairs, PairSampler, animate_stills

# Weights of the terms; L1 is the unit.
PERCEPTUAL, ROUGH, INVENTED, DRAWN, LANDMARK, CODE = 0.3, 0.2, 0.03, 0.3, 0.1, 0.05


def train_decoder(arguments: argparse.Namespace, train: FrameCache, val: FrameCache, labels: MotionLabels) -> None:
    """Without --codes: on label codes alone (a start). With it: on codes from pixels, encoder and decoder together."""
    space, decoder = MotionSpace(MotionSpaceConfig()), Decoder(DecoderConfig())
    start_from_labels(space, labels, train)
    learned = arguments.codes is not None
    if learned:
        load_module(space, arguments.codes, "motion_space")
    if arguments.start:
        load_module(decoder, arguments.start, "decoder")
    perceptual = PerceptualLoss(SqueezeFeatures(arguments.features)) if arguments.features else None
    groups = [{"params": list(decoder.parameters()), "peak": arguments.lr}]
    if learned and not arguments.frozen:
        groups.append({"params": list(space.parameters()), "peak": arguments.lr * 0.2})
    optimizer = torch.optim.AdamW([{**g, "lr": g["peak"]} for g in groups], weight_decay=0.01)
    resolved = {**vars(arguments), "motion_space": to_dict(space.config), "decoder": to_dict(decoder.config)}
    modules = {"motion_space": space, "decoder": decoder}
    adversarial = Adversarial(arguments.adversarial, arguments.adversarial_after) if arguments.adversarial else None
    helpers = {"adversarial": adversarial} if adversarial else {}
    run = Run(arguments.out, resolved, modules, optimizer, arguments.steps, arguments.batch, helpers=helpers)
    sampler = PairSampler(train, labels, stills=0.25, seed=arguments.seed)
    if run.resume():
        sampler.reseed(arguments.seed + run.step)
    for step in run.steps():
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(step, arguments.steps)
        pairs = animate_stills(opening_pairs(sampler.draw(arguments.batch)), space)
        with torch.set_grad_enabled(not arguments.frozen):
            codes = read_codes(space, pairs, learned)
        losses, made = picture_losses(space, decoder, pairs, codes, perceptual)
        judged = adversarial is not None and adversarial.active(step)
        if judged:
            shift = random_shift(arguments.batch)
            shown = views(made.frames, made.target, shift)
            losses["adversarial"], weight = adversarial.term(shown, made.asked, decoder.exit.weight, step)
            losses["total"] = losses["total"] + weight * losses["adversarial"]
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 2.0)
        optimizer.step()
        numbers = {name: value.item() for name, value in losses.items()}
        if judged:
            numbers |= adversarial.learn(shown, views(pairs.picture_b, pairs.landmarks_b, shift), step)
            numbers["d_weight"] = float(weight)
        run.log(**numbers)
        if (step + 1) % arguments.score == 0 or step + 1 == arguments.steps:
            row = torch.cat([pairs.picture_a, made.frames, pairs.picture_b, made.layers.masks * 2 - 1], 3)[:4]
            run.images("source, made, true, masks", (row.detach() + 1) / 2)
            report(run, val, labels, learned)


def opening_pairs(pairs: Pairs, share: float = 0.75) -> Pairs:
    """Let the drive be the one with the wider mouth in most pairs: opening a closed mouth is what must be learned."""
    wider = lip_opening(pairs.landmarks_a) > lip_opening(pairs.landmarks_b)
    swap = wider & (torch.rand(len(wider)) < share)
    names = ("picture", "landmarks", "codes")
    swapped = {}
    for name in names:
        a, b = getattr(pairs, f"{name}_a"), getattr(pairs, f"{name}_b")
        mask = swap.view(-1, *[1] * (a.ndim - 1))
        swapped |= {f"{name}_a": torch.where(mask, b, a), f"{name}_b": torch.where(mask, a, b)}
    return replace(pairs, **swapped)


@dataclass(frozen=True)
class Made:
    """frames [B,3,256,256] in [-1,1], their layers, the landmarks [B,468,3] that they shall show, and what the
    reconstruction terms ask of the frames (scalar).
    """

    frames: Tensor
    layers: Layers
    target: Tensor
    asked: Tensor


def read_codes(space: MotionSpace, pairs: Pairs, learned: bool) -> Codes:
    """Codes of sources, then drives [2B]: from pixels, or the labels (with an empty appearance) while there is no
    encoder.
    """
    labels = torch.cat([pairs.codes_a, pairs.codes_b])
    if not learned:
        empty = torch.zeros(len(labels), space.config.encoder.code_size)
        return Codes(labels, empty[:, : space.config.identity_size], empty, space.hal.weights())
    with torch.autocast("cpu", torch.bfloat16):
        return space(torch.cat([pairs.picture_a, pairs.picture_b]))


def picture_losses(
    space: MotionSpace, decoder: Decoder, pairs: Pairs, codes: Codes, perceptual: nn.Module | None
) -> tuple[dict[str, Tensor], Made]:
    """Terms by name with their `total`, and what was made."""
    count = len(pairs.labelled)
    a, b = codes.motion[:count], codes.motion[count:]
    # The landmarks of a user's portrait come from a network: teach the decoder with its kind of error.
    marks = pairs.landmarks_a + torch.randn(count, 1, 3) * 0.002 + torch.randn_like(pairs.landmarks_a) * 0.001
    target = space.landmarks(marks, a, b)
    prepared = decoder.prepare(pairs.picture_a, marks, a.detach(), codes.appearance[:count])
    with torch.autocast("cpu", torch.bfloat16):
        layers = decoder.frames(prepared, target, b.detach())
    frames = compose(pairs.picture_a, layers)
    weight, features = importance(pairs.landmarks_b)
    photometric = ((frames - pairs.picture_b).abs().mean(1, keepdim=True) * weight).mean()
    rough = sum(layers.flow.diff(dim=d).diff(dim=d).abs().mean() for d in (2, 3)) * CROP
    invented = (layers.masks[:, 2:] * (1 - features)).mean()
    # The synthesised pixels are also judged by themselves, so that they learn before the masks let them through.
    drawn = ((layers.pixels - pairs.picture_b).abs().mean(1, keepdim=True) * weight).mean()
    losses = {"l1": photometric, "rough": rough, "invented": invented, "drawn": drawn}
    total = photometric + ROUGH * rough + INVENTED * invented + DRAWN * drawn
    if perceptual is not None:
        losses["perceptual"] = _perceptual(perceptual, frames, pairs)
        total = total + PERCEPTUAL * losses["perceptual"]
    asked = photometric + PERCEPTUAL * losses.get("perceptual", 0.0)
    off = landmark_loss(target, pairs.landmarks_b, point_weights()).mean()
    known = torch.cat([pairs.codes_a, pairs.codes_b]) - codes.motion
    code = ((known / space.motion_std).abs().mean(1) * torch.where(pairs.labelled.repeat(2), 1.0, 0.1)).mean()
    losses |= {"landmark": off, "code": code, "total": total + LANDMARK * off + CODE * code}
    return losses, Made(frames, layers, target, asked)


def importance(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel weights [B,1,256,256] and where lips and eyes are, 0..1.

    Background 1, face 2, around lips and eyes 6, inside the open mouth 16.
    """
    rings = draw(landmarks, (FACE_OVAL, OUTER_LIPS, RIGHT_EYE, LEFT_EYE), 64)
    features = resize(F.max_pool2d(rings[:, 1:].amax(1, keepdim=True), 5, 1, 2), (CROP, CROP))
    mouth = resize(draw(landmarks, (INNER_LIPS,), CROP // 2), (CROP, CROP))
    return 1 + resize(rings[:, :1], (CROP, CROP)) + 4 * features + 10 * mouth, features


def _perceptual(perceptual: nn.Module, frames: Tensor, pairs: Pairs) -> Tensor:
    """Whole pictures at half size, and a patch of 64 pixels at double size: the mouth, every third time an eye."""
    with torch.autocast("cpu", torch.bfloat16):
        half = perceptual(F.avg_pool2d(frames, 2), F.avg_pool2d(pairs.picture_b, 2)).mean()
        point = (14, 14, 14, 14, 159, 386)[int(torch.randint(6, ()))]
        corner = (pairs.landmarks_b[:, point, :2] * CROP - 32).round().long().clamp(0, CROP - 64).tolist()
        made, true = (resize(_patches(x, corner), (128, 128)) for x in (frames, pairs.picture_b))
        return half + perceptual(made, true).mean()


def _patches(pictures: Tensor, corners: list[list[int]], side: int = 64) -> Tensor:
    """One patch of each picture [B,3,H,W], its corner given as x, y -> [B,3,side,side]."""
    return torch.stack([p[:, y : y + side, x : x + side] for p, (x, y) in zip(pictures, corners, strict=True)])


def report(run: Run, val: FrameCache, labels: MotionLabels, learned: bool) -> None:
    """Print and log the averaged networks' scores on val."""
    space, decoder = MotionSpace(MotionSpaceConfig()), Decoder(DecoderConfig())
    for name, module in (("motion_space", space), ("decoder", decoder)):
        parts = {k.removeprefix(f"{name}."): v for k, v in run.average.items() if k.startswith(f"{name}.")}
        module.load_state_dict(parts)
        module.eval()
    scores = score_pictures(space, decoder, val, labels, learned)
    if learned:
        scores |= score_codes(space, val, labels, stride=4)
    print("val " + " ".join(f"{name} {value:.3f}" for name, value in scores.items()), flush=True)
    run.write(**{f"val/{name}": value for name, value in scores.items()})


@torch.no_grad()
def score_pictures(
    space: MotionSpace, decoder: Decoder, val: FrameCache, labels: MotionLabels, learned: bool, per_clip: int = 12
) -> dict[str, float]:
    """PSNR of first frame -> later frames, whole and inside the face oval, for copying, the bare warp and the model."""
    from encoders.image import to_tensor

    rows: dict[str, list] = {"copy": [], "warp": [], "model": []}
    for number, row in enumerate(val.rows):
        mine = ((val.clip == number) & val.good).nonzero()[0]
        mine = mine[[0, *range(1, len(mine), max(1, len(mine) // per_clip))]]
        pictures, marks = to_tensor(torch.from_numpy(val.frames[mine])), torch.tensor(val.landmarks[mine])
        codes = Codes(labels.codes(val.landmarks[mine], row["identity"]), None, torch.zeros(len(mine), 256), None)
        with torch.autocast("cpu", torch.bfloat16):
            codes = space(pictures) if learned else codes
            first = codes.motion[:1].expand(len(mine), -1)
            target = space.landmarks(marks[:1].expand_as(marks), first, codes.motion)
            prepared = decoder.prepare(pictures[:1], marks[:1], codes.motion[:1], codes.appearance[:1])
            made = compose(pictures[:1], decoder.frames(prepared, target, codes.motion)).clamp(-1, 1)
        flow = resize(
            landmark_flow(marks[:1].expand_as(marks), target, DecoderConfig.grid, DecoderConfig.smoothing), (CROP, CROP)
        )
        face = draw(marks, (FACE_OVAL,), CROP)[1:]
        for name, frames in (
            ("copy", pictures[:1].expand_as(pictures)),
            ("warp", warp(pictures[:1].expand_as(pictures), flow)),
            ("model", made),
        ):
            error = (frames[1:] - pictures[1:]).square().mean(1, keepdim=True) / 4
            rows[name].append((-10 * error.mean().log10(), -10 * ((error * face).sum() / face.sum()).log10()))
    means = {name: torch.tensor(values).mean(0).tolist() for name, values in rows.items()}
    return {f"{name}_{part}": means[name][i] for name in means for i, part in enumerate(("whole", "face"))}
