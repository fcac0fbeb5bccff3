"""Pictures made on the fly to train the face network: jittered face crops, and scenes with several faces.

Frames are uint8 [B,256,256,3], landmarks [B,N,3] in crop widths. Random numbers come from torch's global generator.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from anitalker.config import CROP
from anitalker.faces.face_network import KEY_POINTS, crop_frame, sample_crops, to_crop
from anitalker.faces.landmarks import LEFT_EYE, RIGHT_EYE
from encoders.image import to_tensor as to_pictures
from scripts.training.augment import apply_to_share, colour, degrade, mirror_index

SLOTS = 5  # faces of a scene, at most
FACE_COUNTS = (0.1, 0.5, 0.2, 0.1, 0.06, 0.04)  # chances of 0 to 5 faces in a scene
SHUFFLED_BOX = np.array([[0.2, 0.2], [0.8, 0.8]])  # of a shuffled face alone: what counts as its box
SMALLEST, LARGEST, LARGEST_OF_SEVERAL = 0.045, 0.95, 0.5  # sides of a face as shares of the scene's


def uniform(count: int, low: float, high: float) -> Tensor:
    """[count] numbers, uniform from low to high."""
    return torch.rand(count) * (high - low) + low


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
    count, pixels = len(frames), landmarks * frames.shape[2]
    centre, side, axes = crop_frame(pixels)
    spread = torch.where(torch.rand(count) < wide, 1.0, 0.25)
    centre = centre + side[:, None] * spread[:, None] * torch.randn(count, 2).clamp(-2, 2) * 0.06
    side = side * (spread * torch.randn(count).clamp(-2, 2) * 0.10).exp()
    axes = turn(axes, spread * torch.randn(count).clamp(-2, 2) * math.radians(16))
    flip = torch.rand(count) < 0.5
    axes[flip, 0] *= -1
    labels = to_crop(pixels, centre, side, axes)
    labels[flip] = labels[flip][:, mirror]
    crops = degrade(colour(sample_crops(to_pictures(frames), centre, side, axes, size), 0.6))
    return apply_to_share(crops, 0.25, v2.RandomErasing(1.0, (0.02, 0.2), value="random")).clamp_(-1, 1), labels


def turn(axes: Tensor, angle: Tensor) -> Tensor:
    """Axes [B,2,2] (rows) turned by `angle` [B] radians."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], 1) @ axes


def make_scenes(frames: Tensor, landmarks: Tensor, count: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scenes with 0 to 5 of these faces -> [count,3,size,size] in [-1,1], boxes [count,5,4] and key points
    [count,5,K,2] in pixels, valid [count,5].

    Faces with their surroundings, feathered, over textures, among faces cut into shuffled tiles that are none.
    """
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    grounds = texture(to_pictures(frames), beside_face(landmarks), count, size)
    boxes, points = torch.zeros(count, SLOTS, 4), torch.zeros(count, SLOTS, KEY_POINTS, 2)
    valid, scenes = torch.zeros(count, SLOTS, dtype=torch.bool), []
    for i, ground in enumerate(grounds):
        scene = to_image(ground)
        for slot, face in enumerate(scatter(scene, frames.numpy(), landmarks[..., :2].numpy(), rng)):
            boxes[i, slot] = torch.from_numpy(np.concatenate([face.min(0), face.max(0)]))
            points[i, slot], valid[i, slot] = key_points(torch.from_numpy(face).float()), True
        scenes.append(torch.from_numpy(np.array(scene)))
    return degrade(colour(to_pictures(torch.stack(scenes)), 0.6)), boxes, points, valid


def to_image(picture: Tensor) -> Image.Image:
    """float [3,H,W] in [-1,1] -> a PIL picture."""
    return Image.fromarray(((picture.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy())


def scatter(scene: Image.Image, stills: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> list:
    """Paste stills uint8 [S,256,256,3] with landmarks [S,N,2] and shuffled faces into a scene, clear of each other.

    Returns the landmarks [N,2] of its faces in pixels.
    """
    faces, fakes = int(rng.choice(len(FACE_COUNTS), p=FACE_COUNTS)), int(rng.integers(5))
    largest = LARGEST if faces == 1 else LARGEST_OF_SEVERAL
    sides = scene.width * np.exp(rng.uniform(np.log(SMALLEST), np.log(largest), faces + fakes))
    placed: list[np.ndarray] = []
    taken: list[np.ndarray] = []
    for number in np.argsort(-sides):
        side, which = sides[number], rng.integers(len(stills))
        still, marks = stills[which], landmarks[which]
        if rng.random() < 0.5:
            still, marks = np.ascontiguousarray(still[:, ::-1]), marks * [-1, 1] + [1, 0]
        if number >= faces:
            still, marks = face_alone(shuffle_tiles(still, marks, rng), marks), SHUFFLED_BOX
        for _ in range(6):
            centre, roll = rng.uniform(0.35 * side, scene.width - 0.35 * side, 2), random_roll(rng)
            points = place_points(marks, centre, side, roll)
            if all(apart(points, other) for other in taken):
                paste(scene, still, marks, centre, side, roll)
                taken.append(points)
                placed += [points] if number < faces else []
                break
    return placed


def random_roll(rng: np.random.Generator) -> float:
    """Degrees, at most 35."""
    return float(np.clip(rng.normal(0, 12), -35, 35))


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


def apart(points: np.ndarray, other: np.ndarray) -> bool:
    """Whether two faces [N,2] stand so far apart that no still covers the other's face."""
    (low, high), (other_low, other_high) = ((face.min(0), face.max(0)) for face in (points, other))
    reach = 0.35 * float(max((high - low).max(), (other_high - other_low).max()))
    return bool(((low - reach > other_high) | (high + reach < other_low)).any())


def rotation(degrees: float) -> np.ndarray:
    """[2,2]; turns columns clockwise where y points down."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


def place_points(points: np.ndarray, centre: np.ndarray, side: float, roll: float) -> np.ndarray:
    """Landmarks [N,2] in crop widths -> pixels of the scene; roll in degrees, clockwise."""
    low, high = points.min(0), points.max(0)
    return ((points - (low + high) / 2) * side / (high - low).max()) @ rotation(roll).T + centre


def paste(
    scene: Image.Image, still: np.ndarray, points: np.ndarray, centre: np.ndarray, side: float, roll: float
) -> None:
    """A still, enlarged or reduced and turned, into the scene, with a soft edge."""
    low, high = points.min(0), points.max(0)
    size = max(round(side / float((high - low).max())), 2)  # pixels of the whole still
    edge = np.minimum(np.arange(CROP), np.arange(CROP)[::-1]) / (0.1 * CROP)
    edge = np.clip(np.minimum(edge[:, None], edge[None]), 0, 1)
    mask = Image.fromarray((255 * edge * edge * (3 - 2 * edge)).astype(np.uint8))
    patch, mask = (image.resize((size, size), Image.Resampling.BICUBIC) for image in (Image.fromarray(still), mask))
    patch, mask = (image.rotate(-roll, Image.Resampling.BICUBIC, expand=True) for image in (patch, mask))
    away = rotation(roll) @ ((low + high) / 2 - 0.5) * size
    corner = centre - away - np.array(patch.size) / 2
    scene.paste(patch, tuple(int(v) for v in corner.round()), mask)


def face_alone(still: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The box of a still's face enlarged to the whole picture: without hair and outline, which still say "head"."""
    box = CROP * np.concatenate([points.min(0), points.max(0)]).clip(0, 1)
    return np.asarray(Image.fromarray(still).resize((CROP, CROP), Image.Resampling.BILINEAR, tuple(box)))


def shuffle_tiles(still: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A still whose face is cut into 9 to 25 tiles, which change places: skin and eyes, no face."""
    cells, shuffled = int(rng.integers(3, 6)), still.copy()
    low, high = ((CROP * corner.clip(0, 1)).astype(int) for corner in (points.min(0), points.max(0)))
    width, height = (high - low) // cells
    corners = [(low[1] + row * height, low[0] + column * width) for row in range(cells) for column in range(cells)]
    for (y, x), (v, u) in zip(corners, rng.permutation(corners), strict=True):
        shuffled[y : y + height, x : x + width] = still[v : v + height, u : u + width]
    return shuffled
