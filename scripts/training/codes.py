"""Stage one, first part: the encoder learns to read motion and identity codes from pixels; labels are landmarks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anitalker.config import LANDMARKS, POSE_SIZE
from anitalker.landmarks import from_canonical, lip_opening
from anitalker.motion_space import MotionSpace, lid_scale
from scripts.training.augment import colour, degrade
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.losses import IdentityLoss, closed_neutral_loss, landmark_loss
from scripts.training.pairs import Pairs


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


class CodesLoss(nn.Module):
    """Everything that teaches the codes, in percent of the face height unless said otherwise.

    absolute  the label's neutral under the predicted code against the landmarks
    relative  a's landmarks driven by (code b - code a) against b's landmarks: what inference does
    neutral   the lips of the inferred neutral are shut
    code      smooth L1 of the codes in units of their spread; a tenth for people without a known neutral
    identity  cosine softmax over the training people
    place     all landmarks by one linear layer from HAL's code (training only): who knows where the features of a face
              lie can tell a pitched head from a short one
    """

    def __init__(self, people: int, identity_size: int, code_size: int, weights: Tensor) -> None:
        super().__init__()
        self.identity = IdentityLoss(people, identity_size)
        self.place = nn.Linear(code_size, 2 * LANDMARKS)
        self.register_buffer("weights", weights)

    def forward(self, space: MotionSpace, pairs: Pairs) -> dict[str, Tensor]:
        """A dict of scalars; `total` is what to minimise."""
        pictures = degrade(colour(torch.cat([pairs.picture_a, pairs.picture_b])))
        count = len(pairs.labelled)
        with torch.autocast(pictures.device.type, torch.bfloat16):
            codes = space.look(pictures)
        motion, label = codes.motion, torch.cat([pairs.codes_a, pairs.codes_b])
        marks = torch.cat([pairs.landmarks_a, pairs.landmarks_b])
        known = pairs.labelled.repeat(2)
        neutral = pairs.neutral.repeat(2, 1, 1)
        scale = lid_scale(neutral, space.canonical)
        # A still's own shape carries its expression: there only the pose is judged.
        shape = neutral + scale * space._displacement(torch.where(known[:, None], motion, label))
        residual = from_canonical(neutral + scale * space._displacement(label), label[:, :POSE_SIZE])
        absolute = landmark_loss(from_canonical(shape, motion[:, :POSE_SIZE]), residual, self.weights)
        a, b = motion[:count], motion[count:]
        driven = space.landmarks(pairs.landmarks_a, a, b)
        relative = landmark_loss(driven, pairs.landmarks_b, self.weights)
        shut = closed_neutral_loss(space.neutral(marks, motion))
        off = nn.functional.smooth_l1_loss(motion, label, reduction="none", beta=1e-3) / space.motion_std
        code = (off.mean(1) * torch.where(known, 1.0, 0.1)).mean()
        identity = self.identity(codes.identity, pairs.identity.repeat(2))
        mean = from_canonical(space.canonical[None], space.motion_mean[None, :POSE_SIZE])[..., :2]
        places = mean + 0.1 * self.place(codes.appearance).unflatten(1, (LANDMARKS, 2))
        place = landmark_loss(places, marks, self.weights)
        losses = {
            "place": place.mean(),
            "absolute": absolute.mean(),
            "relative": relative.mean(),
            "neutral": shut.mean(),
        }
        total = absolute.mean() + relative.mean() + 0.5 * shut.mean() + 3 * code + 0.1 * identity + place.mean()
        return {**losses, "code": code, "identity": identity, "total": total}


@torch.no_grad()
def score_codes(space: MotionSpace, cache: FrameCache, labels: MotionLabels, stride: int = 3) -> dict[str, float]:
    """Codes against labels on the clips of a split: R2 of pose, lip opening r per clip, relative landmark error (%)."""
    from encoders.image import to_tensor

    was, correlations, relative, predicted, true = space.training, [], [], [], []
    space.eval()
    for number, row in enumerate(cache.rows):
        mine = ((cache.clip == number) & cache.good).nonzero()[0][::stride]
        with torch.autocast("cpu", torch.bfloat16):
            parts = [space(to_tensor(torch.from_numpy(cache.frames[n]))).motion for n in _chunks(mine, 32)]
        motion, marks = torch.cat(parts), torch.tensor(cache.landmarks[mine])
        label = labels.codes(cache.landmarks[mine], row["identity"])
        neutral = labels.neutrals[row["identity"]]
        frontal = neutral + lid_scale(neutral, labels.canonical) * space._displacement(motion)
        correlations.append(torch.corrcoef(torch.stack([lip_opening(frontal), lip_opening(marks)]))[0, 1])
        driven = space.landmarks(marks[:1].expand_as(marks), motion[:1].expand_as(motion), motion)
        relative.append(landmark_loss(driven, marks, torch.ones(marks.shape[1])).mean())
        predicted.append(motion)
        true.append(label)
    space.train(was)
    predicted, true = torch.cat(predicted), torch.cat(true)
    r2 = 1 - (predicted - true).square().mean(0) / true.var(0)
    names = ("yaw", "pitch", "roll", "x", "y", "scale")
    scores = {f"r2_{name}": r2[i].item() for i, name in enumerate(names)}
    scores["r2_expression"] = r2[POSE_SIZE:].mean().item()
    return {**scores, "lip_r": torch.stack(correlations).mean().item(), "relative": torch.stack(relative).mean().item()}


def _chunks(numbers, size: int):
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]
