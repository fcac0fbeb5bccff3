"""The lips of people never seen: speech of two folders drives portraits, scores are means over speakers.

Clips of the data folder speak from their own first frame. Clips of `--lips DIR` have no pictures; their sound drives
one still, and the opening stored there is the truth. Filmed and generated speakers are never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from anitalker.faces.landmarks import lip_opening
from scripts.contact_sheet import evenly
from scripts.evaluation.clips import Source, cut_to_sound
from scripts.evaluation.lips_folder import read_lips
from scripts.evaluation.metrics import interval, loudness, mean, pearson
from scripts.evaluation.people import SpokenLips, people_report, person_means, related_clips
from scripts.evaluation.session import Session
from scripts.evaluation.speaking import is_heard_and_seen
from scripts.training.data import load_stills

LANGUAGE_CLIPS = 3  # of a language, from which on it has a row of its own
CLOSED = 0.02  # lip opening of a still whose mouth is closed
SHEET = 8  # frames of a clip on its contact sheet
PREFIXES = {"frames": "", "codes": "codes_"}  # of the report's keys, by where an opening is read

Curves = dict[str, np.ndarray]  # lip openings: `codes` [T] from the motion codes, `frames` from rendered frames


@dataclass
class MeasuredClip:
    """A clip, and what each system (offline, stream) made of its speech."""

    spoken: SpokenLips
    generated: bool
    curves: dict[str, Curves] = field(default_factory=dict)


def run(session: Session) -> dict:
    """`lips` of the report (docs/evaluation.md); nothing where nobody speaks."""
    arguments = session.arguments
    steps = {"codes": 1}
    if arguments.render:
        steps["frames"] = 1 if arguments.whole else arguments.stride
    clips = [measure(session, clip, source, steps) for clip, source in driven_clips(session)]
    if not clips:
        return {}
    report: dict = {"still": choose_still(session)[0] if arguments.lips else None, "step": steps.get("frames")}
    streamed = {}
    for kind in ("filmed", "generated"):
        group = [clip for clip in clips if clip.generated == (kind == "generated")]
        if group:
            related = related_clips([clip.spoken for clip in group])
            report[kind] = group_report(group, "offline", related, steps)
            if arguments.stream:
                streamed[kind] = group_report(group, "stream", related, steps) | behind_offline(group, steps)
    return {"lips": report | ({"stream": streamed} if arguments.stream else {})}


def driven_clips(session: Session) -> Iterator[tuple[MeasuredClip, Source]]:
    """What speaks, with the portrait that shall speak it. A clip that both folders have counts once, with its own face.

    A clip whose first frame shows the face network no face is no portrait and is left to the other folder.
    """
    arguments, model, shown = session.arguments, session.model, set()
    for clip in session.clips(speech=True):
        if is_heard_and_seen(clip.row):
            clip, lost = cut_to_sound(clip), model.lost
            source = session.still_source(clip.frames[0])
            if model.lost > lost:
                session.progress(f"no face in the first frame of {clip.row['id']}, which is no portrait")
                continue
            shown.add(clip.row["id"])
            yield _clip(clip.row, clip.speech, lip_opening(clip.landmarks)), source
    if not arguments.lips:
        return
    still = session.still_source(choose_still(session)[1])
    for clip in read_lips(arguments.lips, arguments.split, arguments.clips):
        if clip.row["id"] not in shown:
            yield _clip(clip.row, clip.speech, clip.opening), still


def _clip(row: dict, speech: np.ndarray, truth: np.ndarray) -> MeasuredClip:
    person = row.get("like_existing") or row["identity"]
    spoken = SpokenLips(row["id"], person, row.get("language") or "", speech, truth, loudness(speech, len(truth)))
    return MeasuredClip(spoken, row["generated"] == "yes")


def choose_still(session: Session) -> tuple[str, np.ndarray]:
    """Id and picture uint8 [256,256,3] of the still that speaks for people without pictures.

    Of the split's stills with closed lips, those with a CC0 licence if there are any; of them the most frontal one:
    the smallest sum of |yaw|, |pitch| and |roll|.
    """
    arguments = session.arguments
    stills = [s for s in load_stills(arguments.data, (arguments.split,)) if lip_opening(s[2]) <= CLOSED]
    stills = [s for s in stills if s[0].get("licence", "").startswith("CC0")] or stills
    if not stills:
        raise InputError(
            f"{arguments.data} has no still of split {arguments.split!r} with closed lips; --lips needs one"
        )
    turns = np.abs(session.model.poses(np.stack([points for *_, points in stills]))[:, :3]).sum(1)
    row, picture, _ = stills[int(turns.argmin())]
    return row["id"], picture


def measure(session: Session, clip: MeasuredClip, source: Source, steps: dict[str, int]) -> MeasuredClip:
    """Let the portrait speak the clip's sound, offline and with --stream frame by frame, and read its lips.

    steps: which curves, and the distance of the frames at which each is read. With --out curves are kept there, and
    --resume takes those that were measured with the same weights, speech, portrait and steps.
    """
    model, arguments, spoken = session.model, session.arguments, clip.spoken
    settings = [getattr(model, "sha256", ""), steps.get("frames"), len(spoken.truth)]
    settings += [hashlib.sha256(values.tobytes()).hexdigest() for values in (spoken.speech, source.image)]
    for system in ("offline", "stream") if arguments.stream else ("offline",):
        path = Path(arguments.out or "") / "parts" / "lips" / f"{system}-{spoken.name}.json"
        curves = stored_curves(path, settings) if arguments.resume else None
        if curves is None:
            curves = read_curves(session, spoken, source, system, steps)
            if arguments.out:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"settings": settings} | {k: v.tolist() for k, v in curves.items()}))
        clip.curves[system] = curves
    session.progress(f"lips of {spoken.name}")
    return clip


def read_curves(session: Session, spoken: SpokenLips, source: Source, system: str, steps: dict[str, int]) -> Curves:
    """The openings of a portrait that speaks a clip's sound by a system."""
    model = session.model
    motion = (model.stream if system == "stream" else model.speak)(source, spoken.speech, 0)[: len(spoken.truth)]
    points = {"codes": model.posed(source.landmarks, source.motion, motion)}
    if "frames" in steps:
        frames = model.render(source, motion[:: steps["frames"]])
        points["frames"] = model.landmarks(frames)
        session.save_sheet(f"lips-{system}-{spoken.name}", [(spoken.name, frames[evenly(len(frames), SHEET)])])
    return {name: np.float64(lip_opening(found)) for name, found in points.items()}


def stored_curves(path: Path, settings: list) -> Curves | None:
    """Curves of a clip that an evaluation which was broken off has measured with the same settings, else None."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    if stored.pop("settings") != settings:
        return None
    return {name: np.array(curve) for name, curve in stored.items()}


def group_report(clips: Sequence[MeasuredClip], system: str, related: np.ndarray, steps: dict[str, int]) -> dict:
    """Scores of one kind of speakers by one system, of each language with enough clips, and of each clip."""
    languages, report = [clip.spoken.language for clip in clips], scores(clips, system, related, steps)
    report["languages"] = {}
    for language in sorted({*languages} - {""}):
        chosen = [n for n, spoken in enumerate(languages) if spoken == language]
        if len(chosen) >= LANGUAGE_CLIPS:
            pairs = related[np.ix_(chosen, chosen)]
            report["languages"][language] = scores([clips[n] for n in chosen], system, pairs, steps)
    report["per_clip"] = [
        {
            "id": clip.spoken.name,
            "person": clip.spoken.person,
            "loudness_baseline": pearson(clip.spoken.loudness, clip.spoken.truth),
            **{f"{PREFIXES[name]}lip_correlation": correlation(clip, system, name, steps[name]) for name in steps},
        }
        for clip in clips
    ]
    return report


def scores(clips: Sequence[MeasuredClip], system: str, related: np.ndarray, steps: dict[str, int]) -> dict:
    """Scores over people: of rendered frames where there are any, and with the prefix `codes_` those of the codes."""
    spoken = [clip.spoken for clip in clips]
    people = [clip.person for clip in spoken]
    loud = person_means(people, np.array([pearson(clip.loudness, clip.truth) for clip in spoken]))
    report: dict = {"people": len(set(people)), "clips": len(clips), "loudness_baseline": mean(loud)}
    for name, step in steps.items():
        values = people_report(spoken, [clip.curves[system][name] for clip in clips], related, step)
        if name == "codes":
            values["lip_correlation_interval"] = values.pop("interval")
        report |= {f"{PREFIXES[name]}{key}": value for key, value in values.items()}
    return report


def behind_offline(clips: Sequence[MeasuredClip], steps: dict[str, int]) -> dict:
    """How far the stream's correlation lies below the offline one's, mean over people, with its interval."""
    report, people = {}, [clip.spoken.person for clip in clips]
    for name, step in steps.items():
        pairs = [[correlation(clip, system, name, step) for system in ("offline", "stream")] for clip in clips]
        losses = person_means(people, np.array([offline - stream for offline, stream in pairs]))
        key = f"{PREFIXES[name]}behind_offline"
        report |= {key: mean(losses), f"{key}_interval": interval(losses)}
    return report


def correlation(clip: MeasuredClip, system: str, name: str, step: int) -> float:
    """A clip's correlation at zero lag."""
    return pearson(clip.curves[system][name], clip.spoken.truth[::step])
