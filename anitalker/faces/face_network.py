"""The small face network: a single-stage anchor detector, and a regressor of the 468 landmarks on a square crop.

Letters: B pictures, A anchors, N = 468 points, K = 4 key points (right eye, left eye, nose tip, mouth).
The detector follows Deng et al., "RetinaFace", 2019, and Lin et al., "Focal Loss", 2017. The landmark regressor refines
lips and eyes in a second step, after Grishchenko et al., "Attention Mesh", 2020. Both start with a space-to-depth stem,
because elementwise operations at full resolution cost more than convolutions on a CPU.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anitalker.config import LANDMARKS
from anitalker.faces.landmarks import CHIN, FOREHEAD, LEFT_EYE, LIPS, RIGHT_EYE
from anitalker.network_config import DetectorConfig, LandmarkConfig, from_dict

STRIDES = (8, 16, 32)
KEY_POINTS = 4
MARGIN = 1.25  # side of the landmark crop over the longer side of the upright box around the landmarks
REGIONS = {"mouth": (LIPS, 0.52), "eye": (RIGHT_EYE, 0.30)}  # refined points, and side of their crop in face heights
Network = TypeVar("Network", bound=nn.Module)


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU: [B,inputs,h,w] -> [B,outputs,h/stride,w/stride]."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        padding = (size - stride + 1) // 2 if stride > 2 else size // 2
        conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Residual block of two convolutions: [B,c,h,w] -> [B,c,h,w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        norm = nn.BatchNorm2d(channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), norm)
        nn.init.zeros_(norm.weight)  # the block starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """[B,c,h,w] -> [B,c,h,w]."""
        return self.second(self.first(x)).add_(x).relu_()


class Detector(nn.Module):
    """Face detector: three pyramid levels with two square anchors per cell each."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        c0, c1, c2, c3 = config.channels
        width = config.pyramid
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), Conv(48, c0, 1), Conv(c0, c1, 3, 2))
        coarser = (nn.Sequential(Conv(a, b, 3, 2), Residual(b)) for a, b in ((c1, c2), (c2, c3)))
        self.stages = nn.ModuleList([nn.Sequential(Residual(c1)), *coarser])
        self.lateral = nn.ModuleList(Conv(c, width, 1) for c in (c1, c2, c3))
        self.smooth = nn.ModuleList(Conv(width, width) for _ in STRIDES)
        self.per_anchor = 1 + 4 + 2 * KEY_POINTS
        heads = [nn.Conv2d(width, len(sizes) * self.per_anchor, 1) for sizes in config.anchors]
        for head in heads:
            nn.init.normal_(head.weight, std=0.01)
            bias = torch.zeros(len(head.weight))
            bias.view(-1, self.per_anchor)[:, 0] = -4.6  # focal loss, section 4.1: start at p = 0.01
            head.bias = nn.Parameter(bias)
        self.heads = nn.ModuleList(heads)
        self._cached_anchors: tuple = ((), None)  # (height, width, device) of the last pictures, and their anchors

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [B,3,H,W] in [-1,1], H and W multiples of 32 -> logits [B,A], boxes [B,A,4], points [B,A,K,2].

        Boxes are (dx,dy,log w,log h) relative to the anchors, points are in anchor sides from the anchors' centres.
        """
        x, features = self.stem(pictures), []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            features.append(lateral(x))
        for level in (1, 0):
            features[level] = features[level] + F.interpolate(features[level + 1], scale_factor=2.0)
        outputs = []
        for feature, smooth, head in zip(features, self.smooth, self.heads, strict=True):
            raw = head(smooth(feature)).permute(0, 2, 3, 1)  # [B,h,w,anchors*13]
            outputs.append(raw.reshape(len(raw), -1, self.per_anchor))
        flat = torch.cat(outputs, 1).float()
        return flat[..., 0], flat[..., 1:5], flat[..., 5:].unflatten(-1, (KEY_POINTS, 2))

    def anchors(self, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
        """(centre x, centre y, side) of all anchors in pixels, [A,3], in the order of `forward`."""
        levels = []
        for stride, sizes in zip(STRIDES, self.config.anchors, strict=True):
            y = (torch.arange(height // stride, device=device) + 0.5) * stride
            x = (torch.arange(width // stride, device=device) + 0.5) * stride
            grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[:, :, None].expand(-1, -1, len(sizes), -1)
            side = torch.tensor(sizes, dtype=grid.dtype, device=device).expand(*grid.shape[:3]).unsqueeze(-1)
            levels.append(torch.cat([grid, side], -1).reshape(-1, 3))
        return torch.cat(levels)

    @torch.no_grad()
    def detect(self, pictures: Tensor, threshold: float = 0.5, overlap: float = 0.35) -> list[Detections]:
        """Pictures [B,3,H,W] in [-1,1] -> the faces of each, best first, after non-maximum suppression.

        threshold: least score; overlap: IoU above which only the better of two boxes is kept.
        """
        key = (pictures.shape[-2], pictures.shape[-1], pictures.device)
        known, table = self._cached_anchors  # read once: other threads may look at pictures of other sizes
        table = table if known == key else self.anchors(*key)
        self._cached_anchors = (key, table)
        detections = []
        for logits, deltas, offsets in zip(*self(pictures), strict=True):
            score = logits.sigmoid()
            likely = (score > threshold).nonzero().squeeze(-1)  # few of some thousands: only these are decoded
            anchors, score, box = table[likely], score[likely], decode_boxes(table[likely], deltas[likely])
            kept = suppress(box, score, overlap)
            detections.append(Detections(box[kept], score[kept], decode_points(anchors, offsets[likely])[kept]))
        return detections


@dataclass(frozen=True)
class Detections:
    """Faces of one picture: boxes [F,4] as x0,y0,x1,y1, scores [F], key points [F,K,2]; all in input pixels."""

    boxes: Tensor
    scores: Tensor
    points: Tensor


def suppress(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression of boxes [F,4] as x0,y0,x1,y1: indices of those that are kept, best first.

    Equivalent to `torchvision.ops.nms(boxes, scores, overlap)`; but importing torchvision takes 1.2 s of processor time
    (it imports torch._dynamo), and a render needs nothing else of it.
    """
    order, kept = scores.argsort(descending=True, stable=True), []
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low, high = torch.maximum(boxes[best, :2], boxes[rest, :2]), torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        intersection = (high - low).clamp(min=0).prod(1)
        order = rest[intersection <= overlap * (areas[best] + areas[rest] - intersection)]
    return torch.stack(kept) if kept else order


def decode_boxes(anchors: Tensor, deltas: Tensor) -> Tensor:
    """Deltas [...,A,4] relative to anchors [A,3] -> boxes x0,y0,x1,y1 in pixels."""
    centre = anchors[:, :2] + deltas[..., :2] * anchors[:, 2:]
    half = 0.5 * anchors[:, 2:] * deltas[..., 2:].clamp(-4, 4).exp()
    return torch.cat([centre - half, centre + half], -1)


def encode_boxes(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The inverse of `decode_boxes`: boxes [...,A,4] in pixels -> deltas."""
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-3)
    return torch.cat([(centre - anchors[:, :2]) / anchors[:, 2:], (size / anchors[:, 2:]).log()], -1)


def decode_points(anchors: Tensor, points: Tensor) -> Tensor:
    """Points [...,A,K,2] in anchor sides, relative to anchors [A,3] -> pixels."""
    return anchors[:, None, :2] + points * anchors[:, None, 2:]


class LandmarkRegressor(nn.Module):
    """Regressor of the 468 landmarks of the face in a square crop.

    The trunk predicts a similarity and the coefficients of a low-rank shape; nothing is pooled before its head, so that
    positions are kept. Lips and eyes are then refined from the features of the first stage.
    """

    def __init__(self, config: LandmarkConfig) -> None:
        super().__init__()
        self.config = config
        c1, c2, c3 = config.channels
        self.stem = Conv(3, c1, 8, 4)
        self.near = nn.Sequential(*(Residual(c1) for _ in range(config.blocks)))
        self.far = nn.Sequential(
            Conv(c1, c2, 3, 2),
            *(Residual(c2) for _ in range(config.blocks)),
            Conv(c2, c3, 3, 2),
            *(Residual(c3) for _ in range(config.blocks)),
            Conv(c3, config.neck, 1),
            nn.Flatten(),
        )
        self.head = nn.Linear(config.neck * (config.size // 16) ** 2, 4 + config.coefficients)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)
        self.shape = nn.Linear(config.coefficients, LANDMARKS * 3)
        self.parts = nn.ModuleDict({name: RegionRefiner(len(points), config) for name, (points, _) in REGIONS.items()})

    def set_shape(self, mean: Tensor, directions: Tensor) -> None:
        """Set the shape's mean [N,3] (crop sides, origin at the crop's centre) and scaled directions [C,N,3]."""
        with torch.no_grad():
            self.shape.bias.copy_(mean.reshape(-1))
            self.shape.weight.copy_(directions.reshape(len(directions), -1).T)

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [B,3,S,S] in [-1,1] -> landmarks [B,N,3] in crop sides from the crop's upper left corner."""
        return self.coarse_and_refined(crops)[1]

    def coarse(self, crops: Tensor) -> Tensor:
        """The coarse estimate alone [B,N,3], for two thirds of the work: enough to place the next crop."""
        return self._coarse(crops)[1]

    def coarse_and_refined(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The coarse estimate and the one with refined lips and eyes, each [B,N,3]."""
        features, coarse = self._coarse(crops)
        with torch.autocast(crops.device.type, enabled=False):
            refined = coarse.detach().clone()
            for name, groups in (("mouth", ((LIPS, 1.0),)), ("eye", ((RIGHT_EYE, 1.0), (LEFT_EYE, -1.0)))):
                self._refine(features, coarse.detach(), refined, name, groups)
        return coarse, refined

    def _coarse(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        features = self.near(self.stem(crops))
        parameters = self.head(self.far(features)).float()
        # Outside autocast: in bfloat16 a coordinate near 1 has steps of 1/256.
        with torch.autocast(crops.device.type, enabled=False):
            return features, self._landmarks(parameters)

    def _landmarks(self, parameters: Tensor) -> Tensor:
        """Similarity and shape coefficients [B,4+C] -> landmarks [B,N,3]."""
        shape = self.shape(parameters[:, 4:]).unflatten(-1, (LANDMARKS, 3))
        a, b = 1 + parameters[:, 0:1], parameters[:, 1:2]  # scaled cosine and sine
        x, y, z = shape.unbind(-1)
        scale = (a**2 + b**2 + 1e-8).sqrt()
        moved = [a * x - b * y + parameters[:, 2:3] + 0.5, b * x + a * y + parameters[:, 3:4] + 0.5, scale * z]
        return torch.stack(moved, -1)

    def _refine(self, features: Tensor, coarse: Tensor, refined: Tensor, name: str, groups: tuple) -> None:
        """Correct `refined` in place at the points of all `groups` (points, flip) of a region, in one batch; flip -1
        mirrors the crop, so that the right eye's weights refine the left eye."""
        height, down, right = face_axes(coarse)
        refiner, side = cast(RegionRefiner, self.parts[name]), (height * REGIONS[name][1])[:, None, None]
        axis = (torch.arange(refiner.size, device=features.device) + 0.5) / refiner.size - 0.5
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1).reshape(1, -1, 2)
        all_axes, samples, shapes = [], [], []
        for points, flip in groups:
            axes = torch.stack([right * flip, down], 1)  # [B,2,2]: rows are the region's x and y in the crop
            middle = coarse[:, points].mean(1, keepdim=True)
            at = (middle[..., :2] + side * (grid @ axes)) * 2 - 1  # crop sides 0..1 -> -1..1
            at = at.reshape(len(features), refiner.size, refiner.size, 2)
            samples.append(F.grid_sample(features.float(), at, "bilinear", "border", align_corners=False))
            offsets = (coarse[:, points] - middle) / side
            shapes.append(torch.cat([offsets[..., :2] @ axes.transpose(1, 2), offsets[..., 2:]], -1))
            all_axes.append(axes)
        with torch.autocast(features.device.type, torch.bfloat16, enabled=features.dtype == torch.bfloat16):
            deltas = refiner(torch.cat(samples), torch.cat(shapes)).float().chunk(len(groups))
        for (points, _), axes, delta in zip(groups, all_axes, deltas, strict=True):
            delta = delta * side
            refined[:, points] = coarse[:, points] + torch.cat([delta[..., :2] @ axes, delta[..., 2:]], -1)


class RegionRefiner(nn.Module):
    """Refines the points of one region from the features around it."""

    def __init__(self, points: int, config: LandmarkConfig) -> None:
        super().__init__()
        self.size = config.part_size
        c = config.channels[0]
        self.trunk = nn.Sequential(Residual(c), Conv(c, c * 2, 3, 2), Residual(c * 2), Conv(c * 2, 24, 1), nn.Flatten())
        self.head = nn.Linear(24 * (self.size // 2) ** 2 + points * 3, points * 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor, points: Tensor) -> Tensor:
        """Features [B,c,s,s] and coarse points [B,P,3] in crop sides of the region -> corrections [B,P,3]."""
        return self.head(torch.cat([self.trunk(features), points.flatten(1)], -1)).reshape(points.shape)


def face_axes(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Face height [B], unit vector from forehead to chin [B,2], and the unit vector across the face [B,2]."""
    line = landmarks[:, CHIN, :2] - landmarks[:, FOREHEAD, :2]
    height = line.norm(dim=-1).clamp_min(1e-6)
    down = line / height[:, None]
    return height, down, torch.stack([down[:, 1], -down[:, 0]], -1)


def crop_frame(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The square crop of the regressor around landmarks [B,N,>=2]: centre [B,2], side [B], axes [B,2,2].

    It is upright along forehead and chin, centred on the landmarks' box and MARGIN times as large.
    """
    _, down, right = face_axes(landmarks)
    axes = torch.stack([right, down], 1)
    local = landmarks[..., :2] @ axes.transpose(1, 2)
    low, high = local.amin(1), local.amax(1)
    return (((low + high) / 2)[:, None] @ axes).squeeze(1), (high - low).amax(-1) * MARGIN, axes


def sample_crops(pictures: Tensor, centre: Tensor, side: Tensor, axes: Tensor, size: int) -> Tensor:
    """Rotated squares of pictures [B,c,H,W] -> [B,c,size,size]; centre and side in pixels; borders are replicated."""
    height, width = pictures.shape[-2:]
    axis = (torch.arange(size, device=pictures.device, dtype=side.dtype) + 0.5) / size - 0.5
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1).reshape(1, -1, 2)
    at = centre[:, None] + side[:, None, None] * (grid @ axes)
    at = at * torch.tensor([2 / width, 2 / height], device=at.device, dtype=at.dtype) - 1
    at = at.reshape(len(pictures), size, size, 2).to(pictures.dtype)
    return F.grid_sample(pictures, at, "bilinear", "border", align_corners=False)


def to_crop(landmarks: Tensor, centre: Tensor, side: Tensor, axes: Tensor) -> Tensor:
    """Landmarks [B,N,3] in pixels -> in crop sides of the square that `sample_crops` cuts."""
    local = (landmarks[..., :2] - centre[:, None]) @ axes.transpose(1, 2) / side[:, None, None] + 0.5
    return torch.cat([local, landmarks[..., 2:] / side[:, None, None]], -1)


def from_crop(landmarks: Tensor, centre: Tensor, side: Tensor, axes: Tensor) -> Tensor:
    """The inverse of `to_crop`: landmarks [B,N,3] in crop sides -> pixels."""
    flat = centre[:, None] + side[:, None, None] * ((landmarks[..., :2] - 0.5) @ axes)
    return torch.cat([flat, landmarks[..., 2:] * side[:, None, None]], -1)


class FaceNetwork(nn.Module):
    """Detector and landmark regressor, as shipped in one file: keys detector.*, landmarks.*, and a config for each."""

    def __init__(self, detector: DetectorConfig | None = None, landmarks: LandmarkConfig | None = None) -> None:
        super().__init__()
        self.detector = Detector(detector or DetectorConfig())
        self.landmarks = LandmarkRegressor(landmarks or LandmarkConfig())

    @classmethod
    def from_config(cls, config: dict) -> FaceNetwork:
        """The untrained network of a weight file's config."""
        return cls(from_dict(DetectorConfig, config["detector"]), from_dict(LandmarkConfig, config["landmarks"]))

    def folded(self) -> FaceNetwork:
        """A copy for inference: see `fold_norms`."""
        return fold_norms(self)


def fold_norms(network: Network) -> Network:
    """A copy for inference: batch norms folded into the convolutions before them, channels last. The same function."""
    network = copy.deepcopy(network).eval()
    for block in network.modules():
        layers = list(block.named_children()) if isinstance(block, nn.Sequential) else []
        for (name, conv), (after, norm) in itertools.pairwise(layers):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(conv, norm))
                setattr(block, after, nn.Identity())
    return cast(Any, network.requires_grad_(False)).to(memory_format=torch.channels_last)
