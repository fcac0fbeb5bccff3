"""The small face network: a single-stage anchor detector, and a regressor of the 468 landmarks on a square crop.

Letters: B pictures, A anchors, N = 468 points, K = 4 key points (right eye, left eye, nose tip, mouth).
Detector after Deng et al., "RetinaFace", 2019, and Lin et al., "Focal Loss", 2017; the landmark regressor looks twice
at lips and eyes after Grishchenko et al., "Attention Mesh", 2020. Both start from a space-to-depth stem, since on a
CPU full-resolution elementwise work costs more than convolutions.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anitalker.config import LANDMARKS, DetectorConfig, LandmarkConfig, from_dict
from anitalker.faces.landmarks import CHIN, FOREHEAD, LEFT_EYE, LIPS, RIGHT_EYE

STRIDES = (8, 16, 32)
KEY_POINTS = 4
MARGIN = 1.25  # side of the landmark crop over the longer side of the upright box around the landmarks
PARTS = {"mouth": (LIPS, 0.52), "eye": (RIGHT_EYE, 0.30)}  # points, and side of the second look in face heights


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU: [B,i,h,w] -> [B,o,h/stride,w/stride]."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2d(
            inputs, outputs, size, stride, (size - stride + 1) // 2 if stride > 2 else size // 2, bias=False
        )
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions beside a skip: [B,c,h,w] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.second[1].weight)  # the block starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).add_(x).relu_()


class Detector(nn.Module):
    """Faces in pictures: three pyramid levels, two square anchors each.

    forward: pictures [B,3,H,W] in [-1,1], H and W multiples of 32 -> logits [B,A], boxes [B,A,4] as
    (dx,dy,log w,log h) relative to the anchors, points [B,A,K,2] in anchor sides from the anchors' centres.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        c0, c1, c2, c3 = config.channels
        width = config.pyramid
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), Conv(48, c0, 1), Conv(c0, c1, 3, 2))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(Residual(c1)),
                nn.Sequential(Conv(c1, c2, 3, 2), Residual(c2)),
                nn.Sequential(Conv(c2, c3, 3, 2), Residual(c3)),
            ]
        )
        self.lateral = nn.ModuleList(Conv(c, width, 1) for c in (c1, c2, c3))
        self.smooth = nn.ModuleList(Conv(width, width) for _ in STRIDES)
        self.per_anchor = 1 + 4 + 2 * KEY_POINTS
        self.heads = nn.ModuleList(nn.Conv2d(width, len(sizes) * self.per_anchor, 1) for sizes in config.anchors)
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            head.bias.data.view(-1, self.per_anchor)[:, 0] = -4.6  # focal loss, section 4.1: start at p = 0.01
        self._searched: tuple = ((), None)  # size and device of the last search, and its anchors

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, features = self.stem(pictures), []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            features.append(lateral(x))
        for level in (1, 0):
            features[level] = features[level] + F.interpolate(features[level + 1], scale_factor=2.0)
        out = []
        for feature, smooth, head in zip(features, self.smooth, self.heads, strict=True):
            raw = head(smooth(feature)).permute(0, 2, 3, 1)  # [B,h,w,anchors*13]
            out.append(raw.reshape(len(raw), -1, self.per_anchor))
        flat = torch.cat(out, 1).float()
        return flat[..., 0], flat[..., 1:5], flat[..., 5:].unflatten(-1, (KEY_POINTS, 2))

    def anchors(self, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
        """(centre x, centre y, side) in pixels of every anchor, in the order of `forward` -> [A,3]."""
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
        """Pictures [B,3,H,W] in [-1,1] -> faces of each, best first, after non-maximum suppression at IoU `overlap`."""
        place = (*pictures.shape[-2:], pictures.device)
        if self._searched[0] != place:  # the same for every picture of a video
            self._searched = (place, self.anchors(*place))
        found = []
        for logits, deltas, offsets in zip(*self(pictures), strict=True):
            score = logits.sigmoid()
            sure = (score > threshold).nonzero().squeeze(-1)  # few of some thousands: only these are decoded
            anchors, score = self._searched[1][sure], score[sure]
            box = decode_boxes(anchors, deltas[sure])
            kept = suppress(box, score, overlap)
            found.append(Detections(box[kept], score[kept], decode_points(anchors, offsets[sure])[kept]))
        return found


@dataclass(frozen=True)
class Detections:
    """Faces of one picture: boxes [F,4] as x0,y0,x1,y1, scores [F], points [F,K,2]; pixels of the network's input."""

    boxes: Tensor
    scores: Tensor
    points: Tensor


def suppress(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression: indices of the boxes that are kept, best first. Of two boxes whose IoU is above
    `overlap` the one with the higher score is kept.

    boxes: [F,4] as x0,y0,x1,y1. scores: [F]. The result equals that of torchvision.ops.nms, but importing torchvision
    takes 1.2 s of processor time (it imports torch._dynamo), and a render needs nothing else of it.
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
    """Deltas [...,A,4] on anchors [A,3] -> x0,y0,x1,y1 in pixels."""
    centre = anchors[:, :2] + deltas[..., :2] * anchors[:, 2:]
    half = 0.5 * anchors[:, 2:] * deltas[..., 2:].clamp(-4, 4).exp()
    return torch.cat([centre - half, centre + half], -1)


def encode_boxes(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The inverse of `decode_boxes`: boxes [...,A,4] in pixels -> deltas."""
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-3)
    return torch.cat([(centre - anchors[:, :2]) / anchors[:, 2:], (size / anchors[:, 2:]).log()], -1)


def decode_points(anchors: Tensor, points: Tensor) -> Tensor:
    """Points [...,A,K,2] in anchor sides -> pixels."""
    return anchors[:, None, :2] + points * anchors[:, None, 2:]


class LandmarkRegressor(nn.Module):
    """468 landmarks of the face in a square crop.

    forward: crops [B,3,S,S] in [-1,1] -> landmarks [B,N,3] in crop sides, x and y from the crop's upper left corner, z
    relative. The trunk gives a similarity and coefficients of a low-rank shape (no pooling before the head: place
    matters); lips and eyes are then looked at again in the first stage's features and corrected.
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
        place = (config.size // 16) ** 2
        self.head = nn.Linear(config.neck * place, 4 + config.coefficients)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)
        self.shape = nn.Linear(config.coefficients, LANDMARKS * 3)
        self.parts = nn.ModuleDict({name: Part(len(points), config) for name, (points, _) in PARTS.items()})

    def set_shape(self, mean: Tensor, directions: Tensor) -> None:
        """Start from a mean shape [N,3] (crop sides, origin in the crop's centre) and scaled directions [C,N,3]."""
        with torch.no_grad():
            self.shape.bias.copy_(mean.reshape(-1))
            self.shape.weight.copy_(directions.reshape(len(directions), -1).T)

    def forward(self, crops: Tensor) -> Tensor:
        return self.both(crops)[1]

    def coarse(self, crops: Tensor) -> Tensor:
        """The first estimate alone [B,N,3], for two thirds of the work: enough to place the next crop."""
        return self._first(crops)[1]

    def both(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The first estimate and the one after the second look, each [B,N,3]."""
        near, first = self._first(crops)
        with torch.autocast(crops.device.type, enabled=False):
            refined = first.detach().clone()
            for name, sides in (("mouth", ((LIPS, 1.0),)), ("eye", ((RIGHT_EYE, 1.0), (LEFT_EYE, -1.0)))):
                self._look_again(near, first.detach(), refined, name, sides)
        return first, refined

    def _first(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        near = self.near(self.stem(crops))
        numbers = self.head(self.far(near)).float()
        # Outside autocast: in bfloat16 a coordinate near 1 has steps of 1/256.
        with torch.autocast(crops.device.type, enabled=False):
            return near, self._place(numbers)

    def _place(self, numbers: Tensor) -> Tensor:
        shape = self.shape(numbers[:, 4:]).unflatten(-1, (LANDMARKS, 3))
        a, b = 1 + numbers[:, 0:1], numbers[:, 1:2]  # scaled cosine and sine
        x, y, z = shape.unbind(-1)
        scale = (a**2 + b**2 + 1e-8).sqrt()
        moved = [a * x - b * y + numbers[:, 2:3] + 0.5, b * x + a * y + numbers[:, 3:4] + 0.5, scale * z]
        return torch.stack(moved, -1)

    def _look_again(self, near: Tensor, first: Tensor, refined: Tensor, name: str, sides: tuple) -> None:
        """Correct `refined` in place at the points of each of `sides` (points, flip), all sides in one batch; flip -1
        mirrors: the left eye is seen by the right eye's weights."""
        height, down, side_way = upright(first)
        part, side = self.parts[name], (height * PARTS[name][1])[:, None, None]
        axis = (torch.arange(part.size, device=near.device) + 0.5) / part.size - 0.5
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1).reshape(1, -1, 2)
        ways, seen, shapes = [], [], []
        for points, flip in sides:
            axes = torch.stack([side_way * flip, down], 1)  # [B,2,2]: rows are the part's x and y in the crop
            own = first[:, points]
            middle = own.mean(1, keepdim=True)
            at = (middle[..., :2] + side * (grid @ axes)) * 2 - 1  # crop sides 0..1 -> -1..1
            at = at.reshape(len(near), part.size, part.size, 2)
            seen.append(F.grid_sample(near.float(), at, "bilinear", "border", align_corners=False))
            away = (own - middle) / side
            shapes.append(torch.cat([away[..., :2] @ axes.transpose(1, 2), away[..., 2:]], -1))
            ways.append(axes)
        with torch.autocast(near.device.type, torch.bfloat16, enabled=near.dtype == torch.bfloat16):
            deltas = part(torch.cat(seen), torch.cat(shapes)).float().chunk(len(sides))
        for (points, _), axes, delta in zip(sides, ways, deltas, strict=True):
            delta = delta * side
            refined[:, points] = first[:, points] + torch.cat([delta[..., :2] @ axes, delta[..., 2:]], -1)


class Part(nn.Module):
    """Second look: features [B,c,s,s] of one part and its points [B,P,3] as first seen -> corrections [B,P,3]."""

    def __init__(self, points: int, config: LandmarkConfig) -> None:
        super().__init__()
        self.size = config.part_size
        c = config.channels[0]
        self.trunk = nn.Sequential(Residual(c), Conv(c, c * 2, 3, 2), Residual(c * 2), Conv(c * 2, 24, 1), nn.Flatten())
        self.head = nn.Linear(24 * (self.size // 2) ** 2 + points * 3, points * 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, seen: Tensor, points: Tensor) -> Tensor:
        return self.head(torch.cat([self.trunk(seen), points.flatten(1)], -1)).reshape(points.shape)


def upright(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Face height [B], unit vector forehead to chin [B,2], and the one to its right [B,2] (the face's own axes)."""
    line = landmarks[:, CHIN, :2] - landmarks[:, FOREHEAD, :2]
    height = line.norm(dim=-1).clamp_min(1e-6)
    down = line / height[:, None]
    return height, down, torch.stack([down[:, 1], -down[:, 0]], -1)


def crop_frame(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The square that the regressor sees, from landmarks [B,N,>=2]: centre [B,2], side [B], axes [B,2,2].

    Upright by forehead and chin, centred on the landmarks' box, MARGIN around it. Used in training and at run time.
    """
    _, down, side_way = upright(landmarks)
    axes = torch.stack([side_way, down], 1)
    local = landmarks[..., :2] @ axes.transpose(1, 2)
    low, high = local.amin(1), local.amax(1)
    return (((low + high) / 2)[:, None] @ axes).squeeze(1), (high - low).amax(-1) * MARGIN, axes


def sample_crops(pictures: Tensor, centre: Tensor, side: Tensor, axes: Tensor, size: int) -> Tensor:
    """Turned squares of pictures [B,c,H,W] -> [B,c,size,size]; centre and side in pixels; the border is repeated."""
    height, width = pictures.shape[-2:]
    axis = (torch.arange(size, device=pictures.device, dtype=side.dtype) + 0.5) / size - 0.5
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1).reshape(1, -1, 2)
    at = centre[:, None] + side[:, None, None] * (grid @ axes)
    at = at * torch.tensor([2 / width, 2 / height], device=at.device, dtype=at.dtype) - 1
    at = at.reshape(len(pictures), size, size, 2).to(pictures.dtype)
    return F.grid_sample(pictures, at, "bilinear", "border", align_corners=False)


def to_crop(landmarks: Tensor, centre: Tensor, side: Tensor, axes: Tensor) -> Tensor:
    """Landmarks [B,N,3] in pixels -> crop sides of the square that `sample_crops` cuts."""
    local = (landmarks[..., :2] - centre[:, None]) @ axes.transpose(1, 2) / side[:, None, None] + 0.5
    return torch.cat([local, landmarks[..., 2:] / side[:, None, None]], -1)


def from_crop(landmarks: Tensor, centre: Tensor, side: Tensor, axes: Tensor) -> Tensor:
    """The inverse of `to_crop`."""
    flat = centre[:, None] + side[:, None, None] * ((landmarks[..., :2] - 0.5) @ axes)
    return torch.cat([flat, landmarks[..., 2:] * side[:, None, None]], -1)


class FaceNetwork(nn.Module):
    """`detector` and `landmarks`, as shipped in one file: keys detector.*, landmarks.*, a config for each."""

    def __init__(self, detector: DetectorConfig | None = None, landmarks: LandmarkConfig | None = None) -> None:
        super().__init__()
        self.detector = Detector(detector or DetectorConfig())
        self.landmarks = LandmarkRegressor(landmarks or LandmarkConfig())

    @classmethod
    def from_config(cls, config: dict) -> FaceNetwork:
        """The network of a weight file's config."""
        return cls(from_dict(DetectorConfig, config["detector"]), from_dict(LandmarkConfig, config["landmarks"]))

    def folded(self) -> FaceNetwork:
        """A copy for inference: see `fold_norms`."""
        return fold_norms(self)


def fold_norms(network: nn.Module) -> nn.Module:
    """A copy for inference: batch norms within the convolutions before them, channels last. The same numbers."""
    network = copy.deepcopy(network).eval()
    for block in network.modules():
        layers = list(block.named_children()) if isinstance(block, nn.Sequential) else []
        for (name, conv), (after, norm) in itertools.pairwise(layers):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(conv, norm))
                setattr(block, after, nn.Identity())
    return network.requires_grad_(False).to(memory_format=torch.channels_last)
