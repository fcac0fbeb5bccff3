"""Report sections for a single picture.

Letters: S stages, M motion numbers, T frames.
"""

from __future__ import annotations

import numpy as np
import torch

from anitalker.config import FPS, SAMPLE_RATE, InputError, RenderOptions
from anitalker.faces.landmarks import STABLE, face_height
from anitalker.files import EXAMPLES
from anitalker.inspection import attention, attribution, effects, figures, maximise, stages
from anitalker.inspection.report import Report
from anitalker.inspection.shared_state import Inspection, as_lite
from anitalker.inspection.views import grey_input, to_display
from anitalker.media.video import read_audio
from anitalker.motion.samplers import ddim_steps

DEMO_SPEECH = EXAMPLES / "speech.flac"
SPEECH_SECONDS = 5  # of the recording that are analysed
MAX_ATTENTION_DISTANCE = FPS  # frames, of the attention profile
SALIENCY_BLUR_STD_PIXELS = 3.0  # for display
NUMBERS_PER_GROUP = 3  # whose activation maximisation is shown


def directions(inspection: Inspection, report: Report) -> None:
    """Frames along every number, and what each number moves."""
    report.section(
        "directions",
        "What each number does",
        "Every number of the motion code is moved by itself from two standard deviations below the portrait's own "
        "value to two above, the frames are drawn, and the face network finds the landmarks on them. A number "
        "belongs to the group that moves furthest: the head as a whole (pose), the lips, or the lids (eyes).",
    )
    frames = effects.draw_strips(inspection.talker.model, inspection.face, inspection.view.std)
    measured, missing = effects.measure_effects(inspection.talker.finder(), frames)
    if not measured:
        report.paragraph("No face was found on the drawn frames, so that nothing could be measured.")
        return
    lite = as_lite(inspection)
    known = effects.predict_effects(*lite, inspection.view.std) if lite else measured
    inspection.groups = [effect.group for effect in known]
    names, rows, close = inspection.view.names, [], _close_up(frames, inspection.face.crop.landmarks)
    half = -(-len(names) // 2)
    for first in range(half):
        numbers = [n for n in (first, first + half) if n < len(names)]
        captions = [
            (f"{names[n]} ({inspection.groups[n]}) " if column == 0 else "") + f"{step:+.0f}"
            for n in numbers
            for column, step in enumerate(effects.STRIP_STEPS)
        ]
        rows.append(("", [frame for n in numbers for frame in close[n]], captions))
    report.picture(
        figures.gallery(rows, 1.3),
        "Five frames for each number, named over the first with its group: from two standard deviations below the "
        "portrait's own value (-2) over the portrait itself (+0) to two above. What changes along the five is what "
        "the number means.",
        "strips",
    )
    base = torch.tensor(inspection.face.crop.landmarks)
    shape = ((base - base[list(STABLE)].mean(0)) / face_height(base))[:, :2].numpy()
    report.picture(
        figures.movement(shape, measured, names),
        "Arrows lead from where a point of the face lies at two steps below to two steps above, drawn at twice "
        "their length, after the movement of the head as a whole is taken away; bright points move by 3% of the "
        "face height. Arrows around the mouth or the lids alone are a pure number.",
        "movement",
    )
    headings = (
        "number",
        "group",
        "head %",
        "lips %",
        "lids %",
        "mouth opens",
        "eyes open",
        "yaw °",
        "pitch °",
        "roll °",
    )
    table = [
        (
            name,
            group,
            *(f"{value:.2f}" for value in (effect.head, effect.lips, effect.lids)),
            *(f"{100 * value:+.1f}" for value in (effect.lip_opening, effect.eye_opening)),
            *(f"{value:+.1f}" for value in (effect.yaw, effect.pitch, effect.roll)),
        )
        for name, group, effect in zip(names, inspection.groups, measured, strict=True)
    ]
    report.table(
        headings,
        table,
        "Movement over the four steps, mean over the points, in percent of the face height; the opening of the "
        "mouth in percent of the face height, that of the eyes in percent of their width; the turn of the head in "
        "degrees. The group follows from the landmarks as the codes move them, where the model has such "
        f"directions, else from these figures. On {missing} of {2 * len(measured)} frames no face was found.",
    )
    if known is not measured:
        report.paragraph(effects.describe_agreement(measured, known))


def _close_up(frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Crop frames [M,n,s,s,3] to the face with landmarks [N,3] in frame widths, with a margin for movement."""
    size = frames.shape[2]
    centre = (landmarks[:, :2].min(0) + landmarks[:, :2].max(0)) / 2
    half = min(0.5, 0.62 * float(np.ptp(landmarks[:, :2], axis=0).max()))
    left, top = (int(np.clip(middle - half, 0, 1 - 2 * half) * size) for middle in centre)
    side = int(2 * half * size)
    return frames[:, :, top : top + side, left : left + side]


def damping(inspection: Inspection, report: Report) -> None:
    """How far --lips, --head and --blink scale the motion of a recording."""
    report.section("groups", "Lips, eyes and pose by themselves")
    lite = as_lite(inspection)
    if lite is None:
        report.paragraph(
            "The directions of this model have no geometry of their own, so that it has no --lips, --head, --blink."
        )
        return
    model, face = lite
    purity = model.subspaces.purity
    report.paragraph(
        f"Mixed directions are turned until each moves lips or lids as purely as can be: {int((purity > 0.5).sum())} "
        f"move the lips, {int((purity <= 0.5).sum())} the lids. Shares of the lips in what each of them moves: "
        + ", ".join(f"{100 * value:.0f}%" for value in purity)
    )
    if inspection.speech is None:
        report.paragraph("Give --speech to see what is left of the motion of a recording.")
        return
    samples = read_audio(inspection.speech)[: SPEECH_SECONDS * SAMPLE_RATE]
    features = model.speech_features(torch.tensor(samples))
    rows = effects.measure_scalings(model, face, model.generate_motion(features, face, RenderOptions(gaze="portrait")))
    report.table(
        ("options", "mouth", "eyes", "head °"),
        [(name, *(f"{value:.3f}" for value in values)) for name, *values in rows],
        f"The first {SPEECH_SECONDS} s of the speech: how far the opening of the mouth (percent of the face height), "
        "of the eyes (percent of their width) and the angles of the head vary over time, on the landmarks that the "
        "codes move. A group at 0 should leave next to nothing of its own column and the others as they are.",
    )


def hal(inspection: Inspection, report: Report) -> None:
    """HAL's weights of the stages, and what each stage adds to the motion code of this picture."""
    view = inspection.view
    report.section(
        "hal",
        "The Hierarchical Aggregation Layer",
        "The encoder's stages, from fine maps to one number per channel, each give a code; HAL adds them up by "
        "weights.",
    )
    weights = view.weights().detach().cpu().numpy()
    report.picture(
        figures.stage_bars(inspection.stage_names, weights, "weight"),
        "The weight of each stage's code in the sum, from the finest map to the coarsest; they add up to one. A "
        "weight by itself does not say how much a stage decides: codes differ in length. The next picture does.",
        "weights",
    )
    codes, _ = stages.read_codes(view, inspection.image)
    reference, _ = stages.read_codes(view, grey_input(view))
    contributions = (stages.contributions(view, codes, reference[0])[0] / view.std).cpu().numpy()
    report.picture(
        figures.contribution_matrix(
            inspection.stage_names,
            view.names,
            contributions,
            "What each stage adds to each number of this picture",
            "standard deviations",
        ),
        "Every number changes from a grey picture to this one. A column shows how much of the change comes from each "
        "stage, in standard deviations (integrated gradients through the motion head; a column adds up to the whole "
        "change).",
        "contributions",
    )
    if members := inspection.members():
        shares = {}
        for name, numbers in members.items():
            mean = np.abs(contributions[:, numbers]).mean(1)
            shares[name] = mean / max(mean.sum(), 1e-9)
        report.picture(
            figures.grouped_bars(inspection.stage_names, shares, "share of the contributions"),
            "The same by groups: mean size of the contributions to the numbers of pose, lips and eyes, as shares "
            "that add up to one in each colour. A colour that is high at fine stages depends on fine maps.",
            "groups",
        )


def activations(inspection: Inspection, report: Report) -> None:
    """Feature maps of every stage but the last, which has a single position."""
    report.section("activations", "What each stage responds to")
    with torch.no_grad():
        maps = [stage[0].cpu().numpy() for stage in inspection.view.pyramid(inspection.image) if stage.shape[-1] > 1]
    report.picture(
        figures.activations(inspection.picture, maps, inspection.stage_names[: len(maps)]),
        "One row per stage. First the strength of all channels together over the picture (bright: strong), then the "
        "six channels that vary most over this picture, each from its least value (black) to its greatest (white).",
    )


def saliency(inspection: Inspection, report: Report) -> None:
    """Saliency maps by four methods, by group and by number."""
    report.section(
        "saliency",
        "Where the picture decides on the numbers",
        "Occlusion blurs a patch and measures how far a number moves. The input gradient measures the effect of single "
        "pixels; guided backpropagation follows rising activity only; integrated gradients add gradients up on the "
        "path from a blurred picture. Where all four agree, believe them: the gradient methods, and guided "
        "backpropagation most of all, also mark edges that do not matter.",
    )
    view = inspection.view
    maps = {name: method(view.motion, inspection.image) for name, method in attribution.METHODS.items()}

    def smooth(heat: torch.Tensor) -> np.ndarray:
        return attribution.gaussian_blur(heat[None, None], SALIENCY_BLUR_STD_PIXELS)[0, 0].cpu().numpy()

    members = inspection.members() or {"none": list(range(len(view.names)))}
    rows = {
        group: {name: smooth(attribution.combine_maps(heat, view.std, numbers)) for name, heat in maps.items()}
        for group, numbers in members.items()
    }
    report.picture(
        figures.saliency(inspection.picture, rows),
        "One row per group of numbers, one column per method; bright places decide. Lips should light up at the "
        "mouth, eyes at the lids, pose where the outline of the face and its features lie. Each map has its own "
        "scale.",
        "groups",
    )
    for name, heat in maps.items():
        report.picture(
            figures.saliency_grid(
                inspection.picture,
                np.stack([smooth(number_heat) for number_heat in heat]),
                view.names,
                inspection.groups,
            ),
            f"{name.capitalize()}, number by number; the colour of a name is its group (blue pose, red lips, green "
            "eyes).",
            name.replace(" ", "-"),
        )


def maximised(inspection: Inspection, report: Report) -> None:
    """Activation maximisation from the portrait and from a grey picture."""
    report.section("maximised", "Pictures that raise or lower a number")
    numbers = [n for members in inspection.members().values() for n in members[:NUMBERS_PER_GROUP]] or list(range(4))
    view = inspection.view
    rows = []
    for name, start in (("from this picture", inspection.image), ("from grey", grey_input(view))):
        for sign, word in ((1.0, "raised"), (-1.0, "lowered")):
            pictures, gains = maximise.maximise(view.motion, start, numbers, view.std, sign, maximise.STEPS)
            captions = [
                f"{view.names[n]} ({inspection.groups[n]}) {gain:+.1f}" for n, gain in zip(numbers, gains, strict=True)
            ]
            rows.append((f"{name}, {word}", list(to_display(pictures)), captions))
            if sign > 0 and name == "from this picture":
                change = (pictures - start).abs().mean(1).cpu().numpy()
                rows.append(("what changed", list(change / change.max()), captions))
    report.picture(
        figures.gallery(rows, 1.5),
        "Gradient ascent on one number each, held back by a penalty on roughness and on distance from the start. "
        "The caption says by how many standard deviations the number rose or fell. The second row shows where the "
        "portrait changed: there the encoder reads the number. From grey, the shapes appear that the encoder "
        "responds to.",
    )


def speech_attention(inspection: Inspection, report: Report) -> None:
    """Attention maps of the motion generator over the speech."""
    report.section("attention", "What the motion generator attends to in speech")
    if inspection.speech is None:
        report.paragraph("No speech was given and the demo's is not installed; give --speech FILE.")
        return
    model = inspection.talker.model
    samples = read_audio(inspection.speech)[: SPEECH_SECONDS * SAMPLE_RATE]
    steps = 1 if as_lite(inspection) else ddim_steps()[0]
    features, recorder = model.speech_features(torch.tensor(samples)), attention.AttentionRecorder()
    with recorder:
        model.generate_motion(features, inspection.face, RenderOptions(steps=steps), 0)
    maps = attention.first_pass(recorder.maps, steps)
    if not maps:
        raise InputError("the speech is too short for attention maps; give at least a second")
    length = maps[0].shape[-1]
    maps = [weights for weights in maps if weights.shape[-1] == length]
    block = max(1, len(samples) // length)
    loudness = (
        np.sqrt((samples[: block * length].reshape(-1, block) ** 2).mean(1)) if len(samples) >= length else samples
    )
    rate = round(length / (len(samples) / SAMPLE_RATE))
    max_distance = min(MAX_ATTENTION_DISTANCE, length - 1)
    shares = ", ".join(f"{100 * attention.local_share(weights, rate // 5):.0f}%" for weights in maps)
    report.picture(
        figures.attention(
            [weights.mean(0).numpy() for weights in maps],
            [attention.distance_profile(weights, max_distance).numpy() for weights in maps],
            loudness,
            max_distance,
            rate,
        ),
        "Above, one map per layer, mean over its heads: row by row, a frame of motion and how much it attends to "
        "each frame (bright: much; square root); the blue line is the loudness of the speech along the same axis. A "
        "bright diagonal means that frames look at their neighbours, columns that all look at one sound. Below, the "
        "mean by distance in time, one line per head: left of zero lies the past. Attention within a fifth of a "
        f"second of the frame itself, layer by layer: {shares}.",
    )


SECTIONS = (directions, damping, hal, activations, saliency, maximised, speech_attention)
