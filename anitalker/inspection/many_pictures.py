"""Sections of the report that need many pictures: a folder of portraits, or a clip.

Letters: n pictures, T frames of a clip, S stages, M motion numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from anitalker.config import FPS
from anitalker.faces.landmarks import STABLE, eye_opening, face_height, fit_pose, lip_opening
from anitalker.inspection import effects, figures, maps, stages
from anitalker.inspection.one_picture import Case
from anitalker.inspection.report import Report

ROWS, COLUMNS = 5, 6  # of nearest neighbours


@dataclass
class Many:
    """Crops uint8 [n,256,256,3], what the encoder reads of them, their stage codes [n,S,D] and motion [n,M], names.

    labels: what landmarks say, each [n], by name with its unit. step: frames of the clip from one to the next; 0 for
    pictures that are no clip.
    """

    crops: np.ndarray
    seen: torch.Tensor
    codes: torch.Tensor
    motion: torch.Tensor
    names: list[str]
    labels: dict[str, np.ndarray]
    step: int = 0

    @classmethod
    def of(cls, case: Case, crops: np.ndarray, names: list[str], step: int = 0) -> Many:
        """Read crops with the model of a case, and measure them with its face finder."""
        seen = torch.cat([case.view.seen(part) for part in np.array_split(crops, -(-len(crops) // 8))])
        codes, _ = stages.read(case.view, seen)
        marks, _ = effects.find_marks(case.talker.finder(), crops, case.subject.crop.landmarks)
        points, own = torch.tensor(marks), torch.tensor(case.subject.crop.landmarks)
        shape = (own - own[list(STABLE)].mean(0)) / face_height(own)
        turn = torch.rad2deg(fit_pose(points, shape)[:, :3]).numpy()
        labels = {
            "yaw, °": turn[:, 0],
            "pitch, °": turn[:, 1],
            "mouth opening, %": 100 * lip_opening(points).numpy(),
            "eye opening, %": 100 * eye_opening(points).numpy(),
        }
        motion = case.talker.model.read_codes(torch.tensor(crops))[0].clone()  # in the crop's own frame, as elsewhere
        return cls(crops, seen, codes, motion, names, labels, step)

    def standard(self, case: Case) -> np.ndarray:
        """Motion codes in usual steps [n,M]."""
        return (self.motion / case.view.spread).cpu().numpy()


def over_time(case: Case, many: Many, report: Report) -> None:
    """HAL's claim on a clip: which stages carry the variation of pose, lips and eyes, and what each alone knows."""
    report.section(
        "clip-stages",
        "Fine motion and pose, stage by stage",
        "The paper's claim is that fine motion lives in shallow stages and pose in deep ones. Here are two "
        "measurements.",
    )
    view = case.view
    parts = stages.contributions(view, many.codes, many.codes.mean(0))
    share = stages.shares_of_variation(parts)
    spread = (parts.sum(1).var(0) / view.spread**2).cpu()
    members = case.members() or {"none": list(range(len(view.names)))}
    series = {}
    for name, numbers in members.items():
        weight = spread[numbers] / spread[numbers].sum().clamp(min=1e-9)
        series[name] = (share.cpu()[:, numbers] * weight).sum(1).numpy()
    report.picture(
        figures.grouped_bars(case.stage_names, series, "share of the variation"),
        "How much of the movement of this clip (variation over time of the numbers of pose, lips and eyes) comes "
        "through each stage's code; each colour adds up to one. The claim would show as red and green to the left "
        "of blue. "
        "Measured here: " + "; ".join(_middle(name, values, case.stage_names) for name, values in series.items()) + ".",
        "variation",
    )
    if len(many.crops) < 4 * stages.FOLDS:
        report.words("The clip is too short for probes.")
        return
    found = {
        label: np.array(
            [stages.probe(many.codes[:, stage].cpu().numpy(), values) for stage in range(many.codes.shape[1])]
            + [stages.probe(many.motion.cpu().numpy(), values)]
        )
        for label, values in many.labels.items()
    }
    report.picture(
        figures.grouped_bars(
            [*case.stage_names, "motion code"],
            {label.split(",")[0]: values.clip(-0.25) for label, values in found.items()},
            "R² on unseen stretches",
        ),
        "What a linear probe (ridge regression) reads from each stage's code alone, and from the motion code: "
        "angles of the head and openings of mouth and eyes as the face network measures them. 1 is perfect, 0 no "
        "better than the mean; below zero worse, cut at -0.25. Every probe is asked about stretches of the clip "
        "that it was not taught.",
        "probes",
    )


def _middle(name: str, values: np.ndarray, stage_names: list[str]) -> str:
    """Words for where the variation of a group mainly comes from."""
    first = int(np.argmax(values))
    return f"{name} mainly from {stage_names[first]} ({100 * values[first]:.0f}%)"


def places(case: Case, many: Many, report: Report) -> None:
    """PCA and t-SNE of the codes, coloured by what landmarks say."""
    report.section("places", "Where the codes lie")
    chosen = {label: many.labels[label] for label in ("yaw, °", "mouth opening, %")}
    report.picture(
        figures.places(maps.flat(many.standard(case)), chosen),
        "Every point is the motion code of one frame, the grey line goes through time; left coloured by the turn of "
        "the head, right by the opening of the mouth, both as the face network measures them on the pixels. PCA "
        "keeps distances in the two directions of most variation; t-SNE keeps neighbours together, and its "
        "distances between groups mean nothing. Colours that change smoothly across the map are told by the code.",
    )


def nearest(case: Case, many: Many, report: Report) -> None:
    """Pictures whose motion is most alike."""
    report.section("neighbours", "Nearest neighbours in the motion space")
    apart = -(-maps.NEAR // many.step) if many.step else 0  # in pictures of the list
    if len(many.crops) < 2 * apart + 3:
        report.words("There are too few pictures for neighbours.")
        return
    codes = many.standard(case)
    asked = maps.spread_out(codes, ROWS)
    found, far = maps.neighbours(codes, asked, COLUMNS, apart)
    rows = [
        (
            "",
            [many.crops[n], *many.crops[others]],
            [f"asked: {many.names[n]}", *(f"{many.names[o]}, {d:.1f}" for o, d in zip(others, lengths, strict=True))],
        )
        for n, others, lengths in zip(asked, found, far, strict=True)
    ]
    report.picture(
        figures.gallery(rows, 1.7),
        "Left a picture, then those whose motion codes are nearest, with the distance in usual steps. They should "
        "share turn, mouth and eyes, whoever the person is"
        + (f"; frames less than {maps.NEAR / FPS:.1f} s apart are left out." if apart else "."),
    )


def patches(case: Case, many: Many, report: Report, stage: int | None, channel: int | None) -> None:
    """Over a folder: the patches that excite a channel of each stage most."""
    report.section("patches", "What excites a channel")
    with torch.no_grad():
        sizes = [one.shape[-1] for one in case.view.pyramid(many.seen[:1])]
    rows = []
    for number in [n for n, size in enumerate(sizes) if size > 1] if stage is None else [stage]:
        which, cuts, values = maps.exciting_patches(case.view, many.seen, number, channel)
        name = f"{case.stage_names[number]}, channel {which}"
        rows.append((name, list(cuts), [f"{value:.1f}" for value in values]))
    report.picture(
        figures.gallery(rows, 1.5),
        "Each row is one channel of one stage (at its left), with the patches of all pictures where it is "
        "strongest, at most one per picture, and its value there. What the patches share is what the channel looks "
        "for. Choose others with --stage and --channel.",
    )


CLIP = (over_time, places, nearest)
