"""Crops that train and judge the identity verifier: frames of clips, stills, and stills under the motion of clips."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from anitalker.config import CROP
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.faces.landmarks import from_canonical
from anitalker.faces.similarity_transform import Similarity
from encoders.image import to_tensor
from scripts.evaluation.stills import group_of
from scripts.evaluation.verifier import SIDE, face_crops
from scripts.training.augment import apply_to_share, gamma, noise, resample
from scripts.training.data import FrameCache, manifest
from scripts.training.labels import align

FRAMES_PER_PERSON = 60  # of clips
ANIMATED_COPIES = 3  # of a still
PEOPLE_KEPT_OUT = 20  # of those with two photographs
SMALL_COLLECTION = 16  # people; smaller collections are thrown together
GRID = 32  # of the landmark flow


class Photographs:
    """A split of the cache: frames, the manifest rows of its stills, and who is in every frame."""

    def __init__(self, cache_dir: str | Path, data_dir: str | Path, split: str) -> None:
        self.cache = FrameCache(cache_dir, split)
        self.stills = [row for row in manifest(data_dir, "stills") if row["split"] == split]
        names = [self.cache.rows[clip]["identity"] for clip in self.cache.clip[self.cache.clip >= 0]]
        self.names = np.array(names + [still_person(row) for row in self.stills])

    def spread(self, count: int, without: tuple[str, ...] = ()) -> np.ndarray:
        """Numbers of at most `count` good frames of each person, evenly over everything that there is of them."""
        picks = []
        for name in dict.fromkeys(self.names):
            frames = np.flatnonzero((self.names == name) & self.cache.good)
            if len(frames) and name not in without:
                picks.append(frames[np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)])
        return np.concatenate(picks)

    @torch.no_grad()
    def crops(self, numbers: np.ndarray, template: Tensor, batch: int = 64) -> Tensor:
        """Aligned crops uint8 [n,4,SIDE,SIDE] of frames."""
        crops = []
        for first in range(0, len(numbers), batch):
            frames, landmarks = self.cache.draw(numbers[first : first + batch])
            crops.append(pack(face_crops(to_tensor(frames), landmarks, template)))
        return torch.cat(crops)

    @torch.no_grad()
    def animate(self, stills: np.ndarray, canonical: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Stills under the displacement and turn of random clips: pictures [B,3,256,256] and landmarks [B,N,3]."""
        frames, landmarks = self.cache.draw(stills)
        shape, pose = align(landmarks, canonical)
        starts = rng.choice(np.flatnonzero((self.cache.clip >= 0) & self.cache.good), len(stills))
        ends = np.array([rng.choice(self.cache.frames_of(clip)) for clip in self.cache.clip[starts]])
        (before, pose_before), (after, pose_after) = (
            align(torch.from_numpy(self.cache.landmarks[moments]), canonical) for moments in (starts, ends)
        )
        turn = (pose_after - pose_before)[:, :3].clamp(-0.25, 0.25)
        moved = from_canonical(shape + after - before, torch.cat([pose[:, :3] + turn, pose[:, 3:]], 1))
        moved[..., 2] += landmarks[..., 2].mean(1, keepdim=True) - moved[..., 2].mean(1, keepdim=True)
        flow = landmark_flow(landmarks, moved, GRID, 1e-3)
        return warp(to_tensor(frames), resize(flow, (CROP, CROP))), moved


def still_person(row: dict) -> str:
    """Who a still shows: each its own person, but for the set whose file names begin with the person's number."""
    number = re.search(r"inst/(?:neutral|smiling)_front/(\d+)_", row["source_path"])
    return f"london-{number[1]}" if number else f"still-{row['id']}"


def pack(crops: Tensor) -> Tensor:
    """float [B,4,H,W], colours in [-1,1], mask in 0..1 -> uint8."""
    return torch.cat([(crops[:, :3] + 1) * 127.5, crops[:, 3:] * 255], 1).round().clamp(0, 255).to(torch.uint8)


def unpack(crops: Tensor) -> Tensor:
    """The inverse of `pack`."""
    crops = crops.float()
    return torch.cat([crops[:, :3] / 127.5 - 1, crops[:, 3:] / 255], 1)


def augment(crops: Tensor) -> Tensor:
    """Place, size, roll, mirror; light from one side, colour, contrast, blur, noise, patches; float [B,4,SIDE,SIDE]."""
    count = len(crops)
    spread = torch.rand(4, count) * 2 - 1
    change = Similarity(spread[0] * 0.08, spread[1] * 0.06, (spread[2:] * 0.025).T)
    crops = change.pictures(torch.where(torch.rand(count, 1, 1, 1) < 0.5, crops.flip(3), crops))
    colours, mask = crops[:, :3].clone(), crops[:, 3:].clone()
    apply_to_share(colours, 1.0, lambda picture: gamma(picture, 0.35))
    grey = colours.mean(1, keepdim=True)
    colours = grey + torch.rand(count, 1, 1, 1) * 1.4 * (colours - grey)
    colours = colours * (1 + 0.3 * torch.randn(count, 3, 1, 1)) + 0.3 * torch.randn(count, 3, 1, 1)
    axis, slope = torch.linspace(-1, 1, SIDE), torch.randn(2, count, 1, 1, 1) * 0.25
    colours = colours + slope[0] * axis + slope[1] * axis[:, None]
    apply_to_share(colours, 0.5, resample(SIDE // 3, SIDE, SIDE))
    apply_to_share(colours, 1.0, lambda picture: noise(picture, 0.1))
    apply_to_share(mask, 0.4, v2.RandomErasing(1.0, (1 / 9, 1 / 9), (1, 1)))
    return torch.cat([colours, mask], 1)


@dataclass(frozen=True)
class TrainingSet:
    """crops uint8 [n,4,SIDE,SIDE]; people [n], number of each crop's person; collections, the name of every person's;
    kept_out: name and crops of people with two photographs who are not trained on.
    """

    crops: Tensor
    people: Tensor
    collections: list[str]
    kept_out: list[tuple[str, Tensor]]


def make_training_set(photos: Photographs, val: Photographs, canonical: Tensor, template: Tensor) -> TrainingSet:
    """Frames of clips, stills and animated stills of the people of train who are not in val by another photograph."""
    names, cache, rng = photos.names, photos.cache, np.random.default_rng(0)
    seen = {still_person(row) for row in val.stills}
    twice = sorted(n for n in set(names) if n.startswith("london") and (names == n).sum() > 1 and n not in seen)
    twice = twice[:PEOPLE_KEPT_OUT]
    picks = photos.spread(FRAMES_PER_PERSON, (*twice, *seen))
    crops, people = [photos.crops(picks, template)], [names[picks]]
    copies = np.tile(picks[cache.clip[picks] < 0], ANIMATED_COPIES)
    for first in range(0, len(copies), 64):
        stills = copies[first : first + 64]
        crops.append(pack(face_crops(*photos.animate(stills, canonical, rng), template)))
        people.append(names[stills])
    collections = np.array(["clips"] * int((cache.clip >= 0).sum()) + [group_of(row) for row in photos.stills])
    collection_of = dict(zip(names[picks].tolist(), collections[picks].tolist(), strict=True))
    numbers = {name: number for number, name in enumerate(collection_of)}
    kept_out = [(str(name), photos.crops(np.flatnonzero(names == name), template)) for name in twice]
    everybody = torch.tensor([numbers[name] for name in np.concatenate(people)])
    return TrainingSet(torch.cat(crops), everybody, list(collection_of.values()), kept_out)


class PeopleSampler:
    """Two crops each of different people: half of the people from clips, half from one collection of stills.

    people [n]: person of every crop; collections: of every person. Small collections are thrown together.
    """

    def __init__(self, people: Tensor, collections: list[str]) -> None:
        self.crops_of = torch.split(people.argsort(stable=True), torch.bincount(people).tolist())
        groups: dict[str, list[int]] = {}
        for person, name in enumerate(collections):
            groups.setdefault(name, []).append(person)
        self.clips = torch.tensor(groups.pop("clips", []), dtype=torch.long)
        small = [name for name in groups if len(groups[name]) < SMALL_COLLECTION]
        rest = [person for name in small for person in groups.pop(name)]
        self.stills = [torch.tensor(people) for people in (*groups.values(), rest) if people]
        self.weights = torch.tensor([float(len(people)) for people in self.stills])

    def draw(self, people: int) -> tuple[Tensor, Tensor]:
        """-> numbers of two crops of each person, and the people: [2, people] and [people], or fewer if there are."""
        groups = [self.clips]
        if self.stills:
            groups.append(self.stills[int(torch.multinomial(self.weights, 1))])
        share = -(-people // len(groups))
        chosen = torch.cat([group[torch.randperm(len(group))[:share]] for group in groups])[:people]
        crops = [self.crops_of[n][torch.randint(len(self.crops_of[n]), (2,))] for n in chosen.tolist()]
        return torch.stack(crops, 1), chosen
