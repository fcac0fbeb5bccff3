"""Sections of the report that one picture is enough for.

Letters: S stages, M motion numbers, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anitalker.config import FPS, SAMPLE_RATE, InputError, RenderOptions
from anitalker.faces.landmarks import STABLE, face_height
from anitalker.inspection import attention, attribution, effects, figures, maximise, stages
from anitalker.inspection.report import Report
from anitalker.inspection.views import View, blank, to_display
from anitalker.media.video import read_audio
from anitalker.motion.samplers import ddim_steps

DEMO = Path(__file__).resolve().parents[2] / "app/examples/speech.flac"
HEARD = 5  # seconds of speech whose attention is drawn
REACH = FPS  # frames: of the profile of attention
SOFT = 3.0  # pixels: saliency is smoothed for the eye by this much
STEPS = tuple(enumerate(effects.STRIP))
RAISED = 3  # numbers of each group whose pictures are shown


@dataclass
class Case:
    """A loaded model and the picture it is asked about.

    seen [1,3,n,n]: what the encoder reads of it; stage_names [S]; groups [M]: pose, lips, eyes or none, filled by
    `directions`.
    """

    talker: object
    view: View
    subject: object
    seen: torch.Tensor
    stage_names: list[str]
    speech: Path | None
    groups: list[str]

    @classmethod
    def of(cls, talker, view: View, subject, speech: Path | None) -> Case:
        """Of a subject that the talker made of a portrait."""
        seen = view.seen(subject.crop.image[None])
        with torch.no_grad():
            sizes = [f"{stage.shape[-1]}x{stage.shape[-1]}" for stage in view.pyramid(seen)]
        return cls(talker, view, subject, seen, sizes, speech, ["none"] * len(view.names))

    @property
    def picture(self) -> np.ndarray:
        """What the encoder reads, float [n,n,3]."""
        return to_display(self.seen)[0]

    def members(self) -> dict[str, list[int]]:
        """Numbers of each group that has some, in the order pose, lips, eyes."""
        every = {name: [n for n, one in enumerate(self.groups) if one == name] for name in ("pose", "lips", "eyes")}
        return {name: numbers for name, numbers in every.items() if numbers}


def directions(case: Case, report: Report) -> None:
    """Strips along every number, what they move, and what --lips, --head and --blink leave."""
    report.section(
        "directions",
        "What each number does",
        "Every number of the motion code is moved by itself from two of its usual steps below the portrait's own "
        "value to two above, the frames are drawn, and the face network finds the landmarks on them. A number "
        "belongs to the group that moves furthest: the head as a whole (pose), the lips, or the lids (eyes).",
    )
    frames = effects.strips(case.talker.model, case.subject, case.view.spread)
    found, missing = effects.effects(case.talker.finder(), frames)
    if not found:
        report.words("No face was found on the drawn frames, so that nothing could be measured.")
        return
    known = effects.predicted(case.talker.model, case.subject, case.view.spread) if _is_lite(case) else found
    case.groups = [one.group for one in known]
    names, rows, close = case.view.names, [], _close_up(frames, case.subject.crop.landmarks)
    half = -(-len(names) // 2)
    for first in range(half):
        both = [n for n in (first, first + half) if n < len(names)]
        captions = [
            (f"{names[n]} ({case.groups[n]}) " if not at else "") + f"{step:+.0f}" for n in both for at, step in STEPS
        ]
        rows.append(("", [frame for n in both for frame in close[n]], captions))
    report.picture(
        figures.gallery(rows, 1.3),
        "Five frames for each number, named over the first with its group: from two usual steps below the "
        "portrait's own value (-2) over the portrait itself (+0) to two above. What changes along the five is what "
        "the number means.",
        "strips",
    )
    base = torch.tensor(case.subject.crop.landmarks)
    shape = ((base - base[list(STABLE)].mean(0)) / face_height(base))[:, :2].numpy()
    report.picture(
        figures.movement(shape, found, names),
        "Arrows lead from where a point of the face lies at two steps below to two steps above, drawn at twice "
        "their length, after the movement of the head as a whole is taken away; bright points move by 3% of the "
        "face height. Arrows around the mouth or the lids alone are a pure number.",
        "movement",
    )
    heads = ("number", "group", "head %", "lips %", "lids %", "mouth opens", "eyes open", "yaw °", "pitch °", "roll °")
    table = [
        (
            name,
            group,
            *(f"{value:.2f}" for value in (one.head, one.lips, one.lids)),
            *(f"{100 * value:+.1f}" for value in (one.lip_opening, one.eye_opening)),
            *(f"{value:+.1f}" for value in (one.yaw, one.pitch, one.roll)),
        )
        for name, group, one in zip(names, case.groups, found, strict=True)
    ]
    report.table(
        heads,
        table,
        "Movement over the four steps, mean over the points, in percent of the face height; the opening of the "
        "mouth in percent of the face height, that of the eyes in percent of their width; the turn of the head in "
        "degrees. The group is told by the landmarks themselves, as the codes move them, where the model knows "
        f"that, else by these figures. On {missing} of {2 * len(found)} frames no face was found.",
    )
    if known is not found:
        report.words(effects.agreement(found, known))


def _is_lite(case: Case) -> bool:
    return case.talker.model.family == "lite"


def _close_up(frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Frames [M,n,s,s,3] cut to the face, landmarks [N,3] in frame widths, with room to move."""
    size = frames.shape[2]
    middle = (landmarks[:, :2].min(0) + landmarks[:, :2].max(0)) / 2
    half = min(0.5, 0.62 * float(np.ptp(landmarks[:, :2], axis=0).max()))
    left, top = (int(np.clip(at - half, 0, 1 - 2 * half) * size) for at in middle)
    side = int(2 * half * size)
    return frames[:, :, top : top + side, left : left + side]


def damping(case: Case, report: Report) -> None:
    """What --lips, --head and --blink leave of the motion of a recording."""
    report.section("groups", "Lips, eyes and pose by themselves")
    model = case.talker.model
    if not _is_lite(case):
        report.words(
            "The directions of this model have no geometry of their own, so that it has no --lips, --head, --blink."
        )
        return
    purity = model.groups.purity
    report.words(
        f"Mixed directions are turned until each moves lips or lids as purely as can be: {int((purity > 0.5).sum())} "
        f"move the lips, {int((purity <= 0.5).sum())} the lids. Shares of the lips in what each of them moves: "
        + ", ".join(f"{100 * value:.0f}%" for value in purity)
    )
    if case.speech is None:
        report.words("Give --speech to see what is left of the motion of a recording.")
        return
    samples = read_audio(case.speech)[: HEARD * SAMPLE_RATE]
    sound = model.speech_features(torch.tensor(samples))
    rows = effects.damped(model, case.subject, model.generate_motion(sound, case.subject))
    report.table(
        ("options", "mouth", "eyes", "head °"),
        [(name, *(f"{value:.3f}" for value in values)) for name, *values in rows],
        f"The first {HEARD} s of the speech: how far the opening of the mouth (percent of the face height), of the "
        "eyes (percent of their width) and the angles of the head vary over time, on the landmarks that the codes "
        "move. A group at 0 should leave next to nothing of its own column and the others as they are.",
    )


def hal(case: Case, report: Report) -> None:
    """Weights of the stages, and what each of them adds to the motion code of this picture."""
    view = case.view
    report.section(
        "hal",
        "The Hierarchical Aggregation Layer",
        "The encoder's stages, from fine maps to one number per channel, each give a code; HAL adds them up by "
        "weights.",
    )
    weights = view.weights().detach().cpu().numpy()
    report.picture(
        figures.bars(case.stage_names, weights, "weight"),
        "The weight of each stage's code in the sum, from the finest map to the coarsest; they add up to one. A "
        "weight by itself does not say how much a stage decides: codes differ in length. The next picture does.",
        "weights",
    )
    codes, _ = stages.read(view, case.seen)
    reference, _ = stages.read(view, blank(view))
    parts = (stages.contributions(view, codes, reference[0])[0] / view.spread).cpu().numpy()
    report.picture(
        figures.stage_parts(
            case.stage_names, view.names, parts, "What each stage adds to each number of this picture", "usual steps"
        ),
        "From a grey picture to this one every number changes; the column shows how much of the change each stage "
        "brings (integrated gradients through the motion head; a column adds up to the whole change), in usual "
        "steps.",
        "contributions",
    )
    if members := case.members():
        shares = {}
        for name, numbers in members.items():
            mean = np.abs(parts[:, numbers]).mean(1)
            shares[name] = mean / max(mean.sum(), 1e-9)
        report.picture(
            figures.grouped_bars(case.stage_names, shares, "share of the contributions"),
            "The same by groups: mean size of the contributions to the numbers of pose, lips and eyes, as shares "
            "that add up to one in each colour. A colour that is high at fine stages leans on fine maps.",
            "groups",
        )


def activations(case: Case, report: Report) -> None:
    """Feature maps of every stage but the last, which has one place."""
    report.section("activations", "What each stage responds to")
    with torch.no_grad():
        maps = [one[0].cpu().numpy() for one in case.view.pyramid(case.seen) if one.shape[-1] > 1]
    report.picture(
        figures.activations(case.picture, maps, case.stage_names[: len(maps)]),
        "One row per stage. First the strength of all channels together over the picture (bright: strong), then the "
        "six channels that vary most over this picture, each from its least value (black) to its greatest (white).",
    )


def saliency(case: Case, report: Report) -> None:
    """Four methods, by groups and number by number."""
    report.section(
        "saliency",
        "Where the picture decides on the numbers",
        "Occlusion blurs a patch away and looks how far a number moves. The input gradient asks for the smallest "
        "changes of single pixels, guided backpropagation for those that work along rising activity only, "
        "integrated gradients add gradients up on the way from a blurred picture. Where all four agree, believe "
        "them; the gradient methods, and guided backpropagation most of all, also mark edges by themselves.",
    )
    view = case.view
    maps = {name: method(view.motion, case.seen) for name, method in attribution.METHODS.items()}
    spread = view.spread

    def soft(heat: torch.Tensor) -> np.ndarray:
        return attribution.blurred(heat[None, None], SOFT)[0, 0].cpu().numpy()

    members = case.members() or {"none": list(range(len(view.names)))}
    rows = {
        group: {name: soft(attribution.together(found, spread, numbers)) for name, found in maps.items()}
        for group, numbers in members.items()
    }
    report.picture(
        figures.saliency(case.picture, rows),
        "One row per group of numbers, one column per method; bright places decide. Lips should light up at the "
        "mouth, eyes at the lids, pose where the outline of the face and its features lie. Each map has its own "
        "scale.",
        "groups",
    )
    for name, found in maps.items():
        report.picture(
            figures.saliency_grid(case.picture, np.stack([soft(one) for one in found]), view.names, case.groups),
            f"{name.capitalize()}, number by number; the colour of a name is its group (blue pose, red lips, green "
            "eyes).",
            name.replace(" ", "-"),
        )


def maximised(case: Case, report: Report) -> None:
    """The portrait, and a grey picture, changed until a number is large."""
    report.section("maximised", "Pictures that the numbers ask for")
    numbers = [n for mine in case.members().values() for n in mine[:RAISED]] or list(range(4))
    spread, view = case.view.spread, case.view
    rows = []
    for name, start in (("from this picture", case.seen), ("from grey", blank(view))):
        for sign, word in ((1.0, "raised"), (-1.0, "lowered")):
            pictures, gained = maximise.maximise(view.motion, start, numbers, spread, sign, maximise.STEPS)
            captions = [
                f"{view.names[n]} ({case.groups[n]}) {gain:+.1f}" for n, gain in zip(numbers, gained, strict=True)
            ]
            rows.append((f"{name}, {word}", list(to_display(pictures)), captions))
            if sign > 0 and name == "from this picture":
                change = (pictures - start).abs().mean(1).cpu().numpy()
                rows.append(("what changed", list(change / change.max()), captions))
    report.picture(
        figures.gallery(rows, 1.5),
        "Gradient ascent on one number each, held back by a penalty on roughness and on distance from the start. "
        "The caption tells by how many usual steps the number rose or fell. From the portrait, look at the second "
        "row, where the change is bright: it lies where the encoder reads the number. From grey appear the shapes "
        "that it looks for.",
    )


def speech_attention(case: Case, report: Report) -> None:
    """Attention maps of the motion generator over the speech."""
    report.section("attention", "What the motion generator attends to in speech")
    if case.speech is None:
        report.words("No speech was given and the demo's is not installed; give --speech FILE.")
        return
    model = case.talker.model
    samples = read_audio(case.speech)[: HEARD * SAMPLE_RATE]
    steps = 1 if _is_lite(case) else ddim_steps()[0]
    sound, watch = model.speech_features(torch.tensor(samples)), attention.Watch()
    with watch:
        model.generate_motion(sound, case.subject, RenderOptions(steps=steps), 0)
    maps = attention.first_pass(watch.maps, steps)
    if not maps:
        raise InputError("the speech is too short for attention maps; give at least a second")
    length = maps[0].shape[-1]
    maps = [one for one in maps if one.shape[-1] == length]
    block = max(1, len(samples) // length)
    loud = np.sqrt((samples[: block * length].reshape(-1, block) ** 2).mean(1)) if len(samples) >= length else samples
    rate = round(length / (len(samples) / SAMPLE_RATE))
    reach = min(REACH, length - 1)
    near = rate // 5
    shares = ", ".join(f"{100 * attention.recent_share(one, near):.0f}%" for one in maps)
    report.picture(
        figures.attention(
            [one.mean(0).numpy() for one in maps],
            [attention.distance_profile(one, reach).numpy() for one in maps],
            loud,
            reach,
            rate,
        ),
        "Above, one map per layer, mean over its heads: row by row, a frame of motion and how much it attends to "
        "each frame (bright: much; square root); the blue line is the loudness of the speech along the same axis. A "
        "bright diagonal means that frames look at their neighbours, columns that all look at one sound. Below, the "
        "mean by distance in time, one line per head: left of zero lies the past. Attention within a fifth of a "
        f"second of the frame itself, layer by layer: {shares}.",
    )


SECTIONS = (directions, damping, hal, activations, saliency, maximised, speech_attention)
