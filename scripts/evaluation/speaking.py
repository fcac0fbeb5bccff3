"""Speech-driven portraits: lips against the speaker's own, against loudness and strangers; lips at rest in silence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.judges import Judges
from scripts.evaluation.lips import Lips
from scripts.evaluation.metrics import interval, loudness
from scripts.evaluation.presence import Presence, seam_check
from scripts.evaluation.subject import EvalClip, Source, Subject

SILENCE = 3  # seconds
OPEN_MOUTH = 0.05  # lip opening over face height from which a still counts as clearly open
CLOSED = 0.025  # closed to the eye


def lips_of(subject: Subject, source: Source, motion: np.ndarray) -> np.ndarray:
    """Lip opening [T] on the rendered frames, as the shipped face network sees it."""
    return lip_opening(subject.landmarks(subject.render(source, motion)))


def is_spoken(row: dict) -> bool:
    """A real person whose speech is heard and whose mouth is seen: what the audio-driven score is made of."""
    return row["speaking_visible"] == "yes" and row["generated"] == "no" and row["has_audio"] == "yes"


def heard(clip: EvalClip) -> EvalClip:
    """The frames of a clip that its sound reaches: a recording may end a little before its pictures."""
    count = min(len(clip.frames), -(-len(clip.speech) * FPS // SAMPLE_RATE))
    return EvalClip(clip.row, clip.frames[:count], clip.landmarks[:count], clip.speech)


class AudioDriven:
    """The first frame of a clip speaks the clip's sound, `samples` single samples; lip opening against the labels.

    With a stride only every stride-th frame is rendered and compared; the truth is known for every frame, so lags are
    still whole frames. `whole`: all frames of the first sample are rendered, for what stands in single frames:
    closures, blinks, trembling, the background.

    outputs: frames that another system made of a clip, in place of rendering, as one sample.
    """

    def __init__(
        self,
        subject: Subject,
        samples: int = 5,
        stride: int = 2,
        whole: bool = True,
        judges: Judges | None = None,
        outputs: Callable[[EvalClip], np.ndarray] | None = None,
    ) -> None:
        self.subject, self.samples, self.stride, self.whole = subject, samples, stride, whole
        self.judges, self.outputs = judges or Judges(), outputs
        self.lips, self.presence = Lips(stride), Presence()
        self.silent: list[np.ndarray] = []
        self.sync: dict[str, list[dict]] = {"made": [], "true": []}
        self.sheet: list[np.ndarray] = []  # of the last clip: true, made; for contact sheets
        self.first: Source | None = None
        self.speech: list[np.ndarray] = []

    def add(self, clip: EvalClip, codes: np.ndarray | None = None) -> None:
        """Render one clip; codes [T,20] are those of its frames, of which the first is used."""
        given = None if self.outputs is None else self.outputs(clip)
        subject, clip = self.subject, heard(clip)
        seen = subject.landmarks(clip.frames if self.whole else clip.frames[:: self.stride])
        if given is None:
            source = Source(clip.frames[0], subject.landmarks(clip.frames[:1])[0], codes[0])
            curves, whole = self._render(clip, source, seen)
            motion = subject.speak(source, np.zeros(SILENCE * SAMPLE_RATE, np.float32), 0)
            self.silent.append(lips_of(subject, source, motion[:: self.stride]))
            self.first = self.first or source
            self.speech.append(clip.speech)
        else:
            whole = self._watch(clip, given[: len(clip.frames)], seen)
            curves = [whole[:: self.stride]]
        loud = loudness(clip.speech, len(clip.landmarks), SAMPLE_RATE, FPS)
        self.lips.add(lip_opening(clip.landmarks), curves, whole, lip_opening(seen), loud, clip.row["identity"])

    def _render(self, clip: EvalClip, source: Source, seen: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Lips of every sample at frames 0, stride, ... and of the first at every frame (or nothing)."""
        curves, whole = [], np.zeros(0)
        for seed in range(self.samples):
            motion = self.subject.speak(source, clip.speech, seed)[: len(clip.landmarks)]
            if seed == 0 and self.whole:
                whole = self._watch(clip, self.subject.render(source, motion), seen)
                curves.append(whole[:: self.stride])
            else:
                curves.append(lips_of(self.subject, source, motion[:: self.stride]))
        return curves, whole

    def _watch(self, clip: EvalClip, frames: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Everything that needs all frames of a video; its lips [T]."""
        points = self.subject.landmarks(frames)
        self.presence.add("made", frames, points, self.subject.poses(points))
        if len(seen) == len(clip.frames):
            self.presence.add("true", clip.frames, seen, self.subject.poses(seen))
        self.sheet = [clip.frames[: len(frames)], frames]
        if self.judges.syncnet is not None:
            self.sync["made"].append(self.judges.syncnet(frames, points, clip.speech))
            self.sync["true"].append(self.judges.syncnet(clip.frames, clip.landmarks, clip.speech))
        return lip_opening(points)

    def result(self) -> dict:
        """The contract's keys, among them; see `Lips.result` and `Presence.result`."""
        report = self.lips.result() | {"samples": self.samples if self.outputs is None else 1}
        report |= {"silence_ratio": None, "silence_ratio_with_closing": None}
        if self.silent:
            spoken = max(np.mean([np.mean([m.std() for m in made]) for made in self.lips.made]), 1e-9)
            settled = [s[-(-FPS // self.stride) :] for s in self.silent]
            report["silence_ratio"] = float(np.mean([s.std() for s in settled]) / spoken)
            report["silence_ratio_with_closing"] = float(np.mean([s.std() for s in self.silent]) / spoken)
            ratios = [s.std() / spoken for s in settled]
            report["silence_ratio_interval"] = interval(ratios)
        if self.presence.rows:
            report["presence"] = self.presence.result()
        if self.first is not None:
            report["seams"] = seam_check(self.subject, self.first, np.concatenate(self.speech))
        if self.sync["made"]:
            report["syncnet"] = {
                row: {key: float(np.mean([one[key] for one in rows])) for key in rows[0]}
                for row, rows in self.sync.items()
            }
        return report


class OpenMouthStills:
    """Portraits with an open mouth and silence: the lips must come together, and stay."""

    def __init__(self, subject: Subject, stride: int = 2) -> None:
        self.subject, self.stride = subject, stride
        self.before: list[float] = []
        self.curves: list[np.ndarray] = []
        self.last: np.ndarray | None = None  # rendered frame at the end, for contact sheets

    def add(self, image: np.ndarray, label: np.ndarray) -> None:
        """One still, uint8 [256,256,3], with its labelled landmarks [468,3]."""
        subject = self.subject
        source = Source(image, subject.landmarks(image[None])[0], subject.codes(image[None])[0])
        motion = subject.speak(source, np.zeros(SILENCE * SAMPLE_RATE, np.float32), 0)
        frames = subject.render(source, motion[FPS :: 2 * self.stride])
        self.before.append(float(lip_opening(label)))
        self.curves.append(lip_opening(subject.landmarks(frames)))
        self.last = frames[-1]

    def result(self) -> dict:
        """Openings over face height: labelled before; per still the mean from 1 s to 3 s, of which mean and worst."""
        after = np.array([curve.mean() for curve in self.curves])
        return {
            "stills": len(after),
            "opening_before": float(np.mean(self.before)),
            "smallest_before": float(np.min(self.before)),
            "opening_after_1s": float(after.mean()),
            "worst_after_1s": float(after.max()),
            "share_closed": float((after <= CLOSED).mean()),
        }


def widest(stills: list[tuple[np.ndarray, np.ndarray]], count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The `count` stills (image, landmarks [468,3]) whose labelled lips are widest open."""
    return sorted(stills, key=lambda still: -float(lip_opening(still[1])))[:count]
