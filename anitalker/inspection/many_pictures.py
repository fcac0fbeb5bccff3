"""Report sections for many pictures: a folder of portraits, or a clip.

Letters: n pictures, T frames of a clip, S stages, M motion numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from anitalker.config import FPS
from anitalker.faces.landmarks import STABLE, eye_opening, face_height, fit_pose, lip_opening
from anitalker.inspection import effects, figures, maps, stages
from anitalker.inspection.report import Report
from anitalker.inspection.shared_state import Inspection

QUERY_COUNT, NEIGHBOUR_COUNT = 5, 6  # rows and columns of the nearest neighbours


@dataclass
class PictureSet:
    """Crops uint8 [n,256,256,3], the encoder's input images, their stage codes [n,S,D], motion [n,M] and names.

    labels: measurements of the landmarks, [n] each, by name with unit. step: distance of neighbours in frames of the
    clip; 0 for pictures that are not a clip.
    """

    crops: np.ndarray
    images: torch.Tensor
    codes: torch.Tensor
    motion: torch.Tensor
    names: list[str]
    labels: dict[str, np.ndarray]
    step: int = 0

    @classmethod
    def read(cls, inspection: Inspection, crops: np.ndarray, names: list[str], step: int = 0) -> PictureSet:
        """Encode crops with the model, and measure them with its face finder."""
        batches = np.array_split(crops, -(-len(crops) // 8))
        images = torch.cat([inspection.view.encoder_input(batch) for batch in batches])
        codes, _ = stages.read_codes(inspection.view, images)
        portrait_landmarks = inspection.face.crop.landmarks
        landmarks, _ = effects.find_landmarks(inspection.talker.finder(), crops, portrait_landmarks)
        points, base = torch.tensor(landmarks), torch.tensor(portrait_landmarks)
        shape = (base - base[list(STABLE)].mean(0)) / face_height(base)
        angles = torch.rad2deg(fit_pose(points, shape)[:, :3]).numpy()
        labels = {
            "yaw, °": angles[:, 0],
            "pitch, °": angles[:, 1],
            "mouth opening, %": 100 * lip_opening(points).numpy(),
            "eye opening, %": 100 * eye_opening(points).numpy(),
        }
        motion = inspection.talker.model.read_codes(torch.tensor(crops))[0].clone()  # in the crop's own frame
        return cls(crops, images, codes, motion, names, labels, step)

    def standardised(self, inspection: Inspection) -> np.ndarray:
        """Motion codes in units of their standard deviation [n,M]."""
        return (self.motion / inspection.view.std).cpu().numpy()


def stage_variation(inspection: Inspection, pictures: PictureSet, report: Report) -> None:
    """Which stages carry the variation of pose, lips and eyes over a clip, and what probes read from each stage."""
    report.section(
        "clip-stages",
        "Fine motion and pose, stage by stage",
        "The paper's claim is that fine motion lives in shallow stages and pose in deep ones. Here are two "
        "measurements.",
    )
    view = inspection.view
    contributions = stages.contributions(view, pictures.codes, pictures.codes.mean(0))
    shares = stages.shares_of_variation(contributions)
    variance = (contributions.sum(1).var(0) / view.std**2).cpu()
    members = inspection.members() or {"none": list(range(len(view.names)))}
    series = {}
    for name, numbers in members.items():
        weight = variance[numbers] / variance[numbers].sum().clamp(min=1e-9)
        series[name] = (shares.cpu()[:, numbers] * weight).sum(1).numpy()
    report.picture(
        figures.grouped_bars(inspection.stage_names, series, "share of the variation"),
        "How much of the movement of this clip (variation over time of the numbers of pose, lips and eyes) comes "
        "through each stage's code; each colour adds up to one. The claim would show as red and green to the left "
        "of blue. "
        "Measured here: "
        + "; ".join(_main_stage(name, values, inspection.stage_names) for name, values in series.items())
        + ".",
        "variation",
    )
    if len(pictures.crops) < 4 * stages.FOLDS:
        report.paragraph("The clip is too short for probes.")
        return
    scores = {
        label: np.array(
            [stages.probe(pictures.codes[:, stage].cpu().numpy(), values) for stage in range(pictures.codes.shape[1])]
            + [stages.probe(pictures.motion.cpu().numpy(), values)]
        )
        for label, values in pictures.labels.items()
    }
    report.picture(
        figures.grouped_bars(
            [*inspection.stage_names, "motion code"],
            {label.split(",")[0]: values.clip(-0.25) for label, values in scores.items()},
            "R² on unseen stretches",
        ),
        "What a linear probe (ridge regression) reads from each stage's code alone, and from the motion code: "
        "angles of the head and openings of mouth and eyes as the face network measures them. 1 is perfect, 0 no "
        "better than the mean; below zero worse, cut at -0.25. Every probe is asked about stretches of the clip "
        "that it was not taught.",
        "probes",
    )


def _main_stage(name: str, values: np.ndarray, stage_names: list[str]) -> str:
    """A phrase that names the stage with most of a group's variation."""
    index = int(np.argmax(values))
    return f"{name} mainly from {stage_names[index]} ({100 * values[index]:.0f}%)"


def code_maps(inspection: Inspection, pictures: PictureSet, report: Report) -> None:
    """PCA and t-SNE of the codes, coloured by head turn and mouth opening."""
    report.section("places", "Where the codes lie")
    chosen = {label: pictures.labels[label] for label in ("yaw, °", "mouth opening, %")}
    report.picture(
        figures.scatter_maps(maps.project_to_plane(pictures.standardised(inspection)), chosen),
        "Every point is the motion code of one frame, the grey line goes through time; left coloured by the turn of "
        "the head, right by the opening of the mouth, both as the face network measures them on the pixels. PCA "
        "keeps distances in the two directions of most variation; t-SNE keeps neighbours together, and its "
        "distances between groups mean nothing. Colours that change smoothly across the map are encoded.",
    )


def nearest_neighbours(inspection: Inspection, pictures: PictureSet, report: Report) -> None:
    """Pictures with the most similar motion codes."""
    report.section("neighbours", "Nearest neighbours in the motion space")
    min_gap = -(-maps.MIN_DISTANCE_FRAMES // pictures.step) if pictures.step else 0  # in pictures of the list
    if len(pictures.crops) < 2 * min_gap + 3:
        report.paragraph("There are too few pictures for neighbours.")
        return
    codes = pictures.standardised(inspection)
    queries = maps.farthest_points(codes, QUERY_COUNT)
    neighbours, distances = maps.nearest_neighbours(codes, queries, NEIGHBOUR_COUNT, min_gap)
    rows = [
        (
            "",
            [pictures.crops[n], *pictures.crops[others]],
            [
                f"query: {pictures.names[n]}",
                *(f"{pictures.names[o]}, {d:.1f}" for o, d in zip(others, row_distances, strict=True)),
            ],
        )
        for n, others, row_distances in zip(queries, neighbours, distances, strict=True)
    ]
    report.picture(
        figures.gallery(rows, 1.7),
        "Left a picture, then those whose motion codes are nearest, with the distance in standard deviations. They "
        "should share turn, mouth and eyes, whoever the person is"
        + (f"; frames less than {maps.MIN_DISTANCE_FRAMES / FPS:.1f} s apart are left out." if min_gap else "."),
    )


def strongest_patches(
    inspection: Inspection, pictures: PictureSet, report: Report, stage: int | None, channel: int | None
) -> None:
    """The patches of a folder's pictures that activate a channel of each stage most."""
    report.section("patches", "What excites a channel")
    with torch.no_grad():
        sizes = [features.shape[-1] for features in inspection.view.pyramid(pictures.images[:1])]
    rows = []
    for index in [n for n, size in enumerate(sizes) if size > 1] if stage is None else [stage]:
        chosen, patches, values = maps.strongest_patches(inspection.view, pictures.images, index, channel)
        name = f"{inspection.stage_names[index]}, channel {chosen}"
        rows.append((name, list(patches), [f"{value:.1f}" for value in values]))
    report.picture(
        figures.gallery(rows, 1.5),
        "Each row is one channel of one stage (at its left), with the patches of all pictures where it is "
        "strongest, at most one per picture, and its value there. What the patches share is what the channel looks "
        "for. Choose others with --stage and --channel.",
    )


CLIP_SECTIONS = (stage_variation, code_maps, nearest_neighbours)
