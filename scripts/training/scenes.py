"""Pictures made on the fly to train the face network: jittered face crops, and scenes with several faces.

Everything is batched torch on uint8 frames [B,256,256,3] and landmarks [B,N,3] in crop widths, so that one thread keeps
up with training. Random numbers come from torch's global generator (the run saves and restores it).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from anitalker.faces.face_network import KEY_POINTS, crop_frame, sample_crops, to_crop
from anitalker.faces.landmarks import LEFT_EYE, RIGHT_EYE
from encoders.image import to_tensor as to_pictures
from scripts.training.augment import apply_to_share, mirror_index, noise, resample


def uniform(count: int, low: float, high: float) -> Tensor:
    """[count] numbers, uniform from low to high."""
    return torch.rand(count) * (high - low) + low


def chance(share: float) -> bool:
    """True in this share of the calls."""
    return float(torch.rand(())) < share


def mirror_order(landmarks: Tensor) -> Tensor:
    """Which point each point becomes in a mirror, by the mean upright shape of labels [B,N,3] -> [N]."""
    shape = to_crop(landmarks, *crop_frame(landmarks)).mean(0)
    shape[:, 0] -= (shape[10, 0] + shape[152, 0]) / 2
    return mirror_index(shape)


def face_crops(
    frames: Tensor, landmarks: Tensor, mirror: Tensor, size: int, wide: float = 0.35
) -> tuple[Tensor, Tensor]:
    """Jittered, mirrored, degraded crops [B,3,size,size] in [-1,1] and their landmarks [B,N,3] in crop sides.

    A share `wide` of the crops is misplaced as a detector's box would be and turned up to 32 degrees; the rest a
    quarter of that, as a first estimate of the landmarks would be.
    """
    count, width = len(frames), frames.shape[2]
    pixels = landmarks * width
    centre, side, axes = crop_frame(pixels)
    loose = torch.rand(count) < wide
    spread = torch.where(loose, 1.0, 0.25)
    centre = centre + side[:, None] * spread[:, None] * torch.randn(count, 2).clamp(-2, 2) * 0.06
    side = side * (spread * torch.randn(count).clamp(-2, 2) * 0.10).exp()
    axes = turn(axes, spread * torch.randn(count).clamp(-2, 2) * math.radians(16))
    flip = torch.rand(count) < 0.5
    axes[flip, 0] *= -1
    labels = to_crop(pixels, centre, side, axes)
    labels[flip] = labels[flip][:, mirror]
    return degrade(sample_crops(to_pictures(frames), centre, side, axes, size)), labels


def turn(axes: Tensor, angle: Tensor) -> Tensor:
    """Axes [B,2,2] (rows) turned by `angle` [B] radians."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], 1) @ axes


def degrade(pictures: Tensor, occluded: float = 0.25) -> Tensor:
    """Light, colour, grey, occlusion, blur, low resolution, noise, JPEG, each on its share of [B,3,H,W] in [-1,1]."""
    size = pictures.shape[-1]
    pictures = recolour(pictures)
    covered = (torch.rand(len(pictures)) < occluded).nonzero().squeeze(-1)
    pictures[covered] = occlude(pictures[covered])
    apply_to_share(pictures, 0.2, v2.GaussianBlur(9, (0.4, 2.0)))
    apply_to_share(pictures, 0.2, resample(size // 4, 2 * size // 3, size))
    apply_to_share(pictures, 0.3, lambda picture: noise(picture, 0.2))
    apply_to_share(pictures, 0.12, jpeg)
    return pictures.clamp_(-1, 1)


def recolour(pictures: Tensor) -> Tensor:
    """Contrast, brightness and a colour matrix near the identity; every sixth picture is grey."""
    count = len(pictures)
    matrix = torch.eye(3) * uniform(count, 0.6, 1.3)[:, None, None] + torch.randn(count, 3, 3) * 0.06
    grey = torch.rand(count) < 0.17
    matrix[grey] = torch.tensor([0.3, 0.59, 0.11]) * uniform(int(grey.sum()), 0.7, 1.2)[:, None, None]
    flat = matrix @ pictures.flatten(2) + uniform(count, -0.3, 0.3)[:, None, None]
    return flat.view_as(pictures)


def jpeg(picture: Tensor) -> Tensor:
    """Through JPEG at quality 20 to 80."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).to(torch.uint8)
    return v2.functional.jpeg(pixels, int(torch.randint(20, 80, ()))).float() / 127.5 - 1


def occlude(pictures: Tensor) -> Tensor:
    """A turned box or ellipse, plain or with the texture of another picture, over up to a third of the side."""
    count, _, height, width = pictures.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grid = torch.stack([x, y], -1).reshape(1, -1, 2) - (torch.rand(count, 1, 2) * 2 - 1) * 0.9
    axes = turn(torch.eye(2).expand(count, 2, 2), uniform(count, 0, math.pi))
    local = (grid @ axes) / (torch.rand(count, 1, 2) * 0.35 + 0.06)
    norm = torch.where(torch.rand(count, 1) < 0.5, local.abs().amax(-1), local.norm(dim=-1))
    inside = (norm < 1).view(count, 1, height, width)
    plain = (torch.rand(count, 3, 1, 1) * 2 - 1).expand_as(pictures)
    other = pictures.roll(1, 0).flip(2)
    return torch.where(inside, torch.where(torch.rand(count, 1, 1, 1) < 0.5, plain, other), pictures)


def make_scenes(frames: Tensor, landmarks: Tensor, count: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scenes with 0 to 5 of these faces -> [count,3,size,size] in [-1,1], boxes [count,5,4] and key points
    [count,5,K,2] in pixels, valid [count,5].

    A third are single frames, zoomed and turned; the rest are faces with their surroundings, feathered, over
    textures (procedural, or mirrored tiles of what lies beside a face), with face-free pieces pasted the same way.
    """
    pictures, pixels = to_pictures(frames), landmarks * frames.shape[2]
    rooms = beside_face(landmarks)
    scenes = texture(pictures, rooms, count, size)
    boxes, points = torch.zeros(count, SLOTS, 4), torch.zeros(count, SLOTS, KEY_POINTS, 2)
    valid = torch.zeros(count, SLOTS, dtype=torch.bool)
    for i in range(count):
        if chance(0.33):
            placed = [whole_frame(scenes[i], pictures, pixels)]
        else:
            placed = scatter(scenes[i], pictures, pixels, rooms)
        for slot, face in enumerate(placed):
            low, high = face[:, :2].amin(0), face[:, :2].amax(0)
            boxes[i, slot], points[i, slot], valid[i, slot] = torch.cat([low, high]), key_points(face), True
    return degrade(scenes, occluded=0.0), boxes, points, valid


SLOTS = 5
FACES = torch.tensor([0.12, 0.45, 0.2, 0.12, 0.07, 0.04])  # chance of 0..5 faces in a composed scene


def key_points(landmarks: Tensor) -> Tensor:
    """Right eye, left eye, nose tip, mouth of landmarks [N,>=2] -> [K,2]; in a mirrored face the eyes change names."""
    groups = (list(RIGHT_EYE), list(LEFT_EYE), [1], [61, 291])
    points = torch.stack([landmarks[group, :2].mean(0) for group in groups])
    across, down = points[1] - points[0], points[3] - points[:2].mean(0)
    mirrored = across[0] * down[1] - across[1] * down[0] < 0
    return points[[1, 0, 2, 3]] if mirrored else points


def beside_face(landmarks: Tensor) -> Tensor:
    """The largest strip beside, above or below each face, free of it: [B,N,3] -> x0,y0,x1,y1 [B,4] in crop widths."""
    low, high = landmarks[..., :2].amin(1), landmarks[..., :2].amax(1)
    gap = 0.1 * (high - low)
    low, high = (low - gap).clamp(0, 1), (high + gap).clamp(0, 1)
    strips = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(landmarks), 4, 1)
    strips[:, 0, 2], strips[:, 1, 0] = low[:, 0], high[:, 0]  # to the left and right of the face
    strips[:, 2, 3], strips[:, 3, 1] = low[:, 1], high[:, 1]  # above and below it
    area = (strips[..., 2:] - strips[..., :2]).prod(-1) * uniform(len(landmarks) * 4, 0.3, 1.0).view(-1, 4)
    return strips[torch.arange(len(strips)), area.argmax(1)]


def texture(pictures: Tensor, rooms: Tensor, count: int, size: int) -> Tensor:
    """Backgrounds [count,3,size,size]: octaves of noise, or mirrored tiles of strips without a face, or both."""
    octaves = uniform(count * 3, -0.8, 0.8).view(count, 3, 1, 1)
    for cells in (2, 5, 12, 40, size):
        octaves = F.interpolate(octaves, size=(cells, cells), mode="bilinear")
        if cells < size:
            octaves += torch.randn(count, 3, cells, cells) * uniform(count, 0, 0.7).square()[:, None, None, None]
    which = torch.randint(len(pictures), (count,))
    axes = turn(torch.eye(2).expand(count, 2, 2), torch.randint(4, (count,)) * (math.pi / 2) + torch.randn(count) * 0.2)
    axis = torch.linspace(-1, 1, size)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1).view(1, -1, 2)
    repeats = uniform(count, -1.5, 1.2).exp()[:, None, None]
    wave = 1 - ((grid @ axes * repeats + torch.rand(count, 1, 2) * 2) % 2 - 1).abs()  # mirrored tiles, 0..1
    low, high = rooms[which, None, :2], rooms[which, None, 2:]
    at = (low + wave * (high - low)) * 2 - 1
    tiles = F.grid_sample(pictures[which], at.view(count, size, size, 2), "bilinear", "border", align_corners=False)
    share = torch.rand(count).mul(2).clamp(max=1)[:, None, None, None]
    return torch.lerp(octaves, tiles, share)


def whole_frame(scene: Tensor, pictures: Tensor, pixels: Tensor) -> Tensor:
    """Fill `scene` [3,S,S] with one frame, zoomed and turned -> its landmarks in pixels of the scene."""
    which, width = int(torch.randint(len(pictures), ())), pictures.shape[-1]
    centre = torch.full((1, 2), width / 2) + torch.randn(1, 2) * 0.05 * width
    side, axes = width * uniform(1, 0.7, 1.1), turn(torch.eye(2)[None], torch.randn(1) * 0.15)
    scene.copy_(sample_crops(pictures[which : which + 1], centre, side, axes, scene.shape[-1])[0])
    return to_crop(pixels[which : which + 1], centre, side, axes)[0] * scene.shape[-1]


def scatter(scene: Tensor, pictures: Tensor, pixels: Tensor, rooms: Tensor) -> list[Tensor]:
    """Paste faces and face-free pieces into `scene` [3,S,S], clear of each other -> landmarks of the faces."""
    size, count = scene.shape[-1], int(torch.multinomial(FACES, 1))
    pieces = int(torch.randint(5, ()))
    longest = 0.95 if count == 1 else 0.5
    sides = (size * (uniform(count + pieces, math.log(0.045), math.log(longest))).exp()).tolist()
    is_face = [True] * count + [False] * pieces
    taken: list[tuple[float, float, float]] = []
    placed = []
    for side, face in sorted(zip(sides, is_face, strict=True), reverse=True):
        for _ in range(6):
            x, y = (torch.rand(2) * (size - 0.7 * side) + 0.35 * side).tolist()
            if all(max(abs(x - u), abs(y - v)) > 0.5 * (t + 1.7 * side) for u, v, t in taken):
                taken.append((x, y, side))
                moved = paste(scene, pictures, pixels, rooms, (x, y), side, face)
                if face:
                    placed.append(moved)
                break
    return placed


def paste(
    scene: Tensor, pictures: Tensor, pixels: Tensor, rooms: Tensor, centre: tuple[float, float], side: float, face: bool
) -> Tensor:
    """Paste a face (its landmarks' box `side` pixels long) or face-free piece into `scene` -> moved landmarks."""
    which, width = int(torch.randint(len(pictures), ())), pictures.shape[-1]
    landmarks = pixels[which : which + 1]
    picture = pictures[which : which + 1]
    low, high = landmarks[0, :, :2].amin(0), landmarks[0, :, :2].amax(0)
    if not face:  # the same seams and colours without a face
        shuffled = chance(0.5)
        picture = shuffle(picture, low, high) if shuffled else texture(picture, rooms[which : which + 1], 1, width // 2)
        width, low, high = width // 2, torch.full((2,), width * 0.1), torch.full((2,), width * 0.4)
    middle, extent = (low + high) / 2, float((high - low).max())
    axes = turn(torch.eye(2)[None], torch.randn(1) * 0.25)
    if chance(0.5):
        axes[:, 0] *= -1
    mask = feathered(width, middle, extent)
    layers = torch.cat([picture, mask[None, None]], 1)
    ratio = extent / side
    while ratio > 1.6:  # halve until the sampling below does not alias
        layers, middle, extent, ratio = F.avg_pool2d(layers, 2), middle / 2, extent / 2, ratio / 2
    place, reach = torch.tensor(centre), 0.5 * width / (high - low).max().item() * side * 1.5
    window = torch.cat([(place - reach).floor(), (place + reach).ceil()]).clamp(0, scene.shape[-1]).int().tolist()
    x, y = torch.arange(window[0], window[2]) + 0.5, torch.arange(window[1], window[3]) + 0.5
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1) - place
    at = (middle + ratio * (grid @ axes[0])) * (2 / layers.shape[-1]) - 1
    sampled = F.grid_sample(layers, at[None], "bilinear", "border", align_corners=False)[0]
    target = scene[:, window[1] : window[3], window[0] : window[2]]
    target.copy_(torch.lerp(target, sampled[:3], sampled[3:]))
    moved = to_crop(landmarks, ((low + high) / 2)[None], (high - low).max()[None], axes)[0]
    moved[:, :2] -= 0.5
    moved = moved * side
    moved[:, :2] += place
    if face and chance(0.2):
        cover(scene, moved, side)
    return moved


def shuffle(picture: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The face of picture [1,3,W,W] cut into 4 to 16 tiles, none in its place -> [1,3,W/2,W/2]: skin, eyes, no face."""
    (x0, y0), (x1, y1) = low.clamp(min=0).int().tolist(), high.ceil().int().tolist()
    cells, size = int(torch.randint(2, 5, ())), picture.shape[-1] // 2
    face = F.interpolate(picture[:, :, y0:y1, x0:x1], size=(size // cells * cells,) * 2, mode="bilinear")
    tiles = face.unflatten(3, (cells, -1)).unflatten(2, (cells, -1))  # [1,3,cells,h,cells,w]
    shift = [int(s) for s in torch.randint(1, cells, (2,))]
    tiles = tiles.roll(shift, (2, 4)).flip(3 if chance(0.5) else 5)
    return F.interpolate(tiles.flatten(2, 3).flatten(3, 4), size=(size, size), mode="bilinear")


def feathered(width: int, middle: Tensor, extent: float) -> Tensor:
    """Mask [width,width], 0 at the border: the whole frame or an ellipse around the face, with a soft edge."""
    axis = torch.arange(width) + 0.5
    edge = float(uniform(1, 0.01, 0.12)) * width
    border = (torch.minimum(axis, width - axis) - 0.5).clamp(min=0) / edge
    mask = torch.minimum(border[:, None], border[None])
    if chance(0.4):
        radius = extent * float(uniform(1, 0.6, 0.85))
        far = ((axis - middle[0])[None] ** 2 * 1.3 + (axis - middle[1])[:, None] ** 2).sqrt()
        mask = torch.minimum(mask, (radius - far) / edge)
    return mask.clamp(0, 1)


def cover(scene: Tensor, landmarks: Tensor, side: float) -> None:
    """A plain box over up to 40% of a face's side, somewhere on it."""
    x, y = landmarks[int(torch.randint(len(landmarks), ())), :2].tolist()
    w, h = (uniform(2, 0.05, 0.2) * side).tolist()
    y0, y1, x0, x1 = (max(int(v), 0) for v in (y - h, y + h, x - w, x + w))
    scene[:, y0:y1, x0:x1] = torch.rand(3, 1, 1) * 2 - 1
