"""Speech-driven portraits: lips against the speaker's own, liveliness, lips at rest in silence, seams, SyncNet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE
from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.av_offsets import av_offset, shift_back
from scripts.evaluation.clips import EvalClip, Source, cut_to_sound
from scripts.evaluation.lips import LipCurves, lip_report
from scripts.evaluation.liveliness import liveliness, measure, seam_check
from scripts.evaluation.metrics import columns, interval, loudness, mean
from scripts.evaluation.session import Session

SILENCE = np.zeros(3 * SAMPLE_RATE, np.float32)


@dataclass
class SpokenClip:
    """What was measured on one clip; videos: `made` and `true`, liveliness of each; sync: SyncNet's figures of each.

    source, silent (lips [T] in silence): None for another system's video.
    """

    speech: np.ndarray
    lips: LipCurves | None = None
    source: Source | None = None
    silent: np.ndarray | None = None
    videos: dict[str, dict] = field(default_factory=dict)
    sync: dict[str, dict] = field(default_factory=dict)


def run(session: Session) -> dict:
    """The clips of people whose speech is heard and whose mouth is seen: the first frame speaks the clip's sound.

    With a stride only every stride-th frame is rendered and compared; the truth is known for every frame, so lags are
    still whole frames. --whole: all frames of the first sample are rendered.
    """
    spoken = [speak_clip(session, clip) for clip in session.clips(speech=True) if is_spoken(clip.row)]
    return {"audio_driven": report(session, spoken)} if spoken else {}


def is_spoken(row: dict) -> bool:
    """A real person whose speech is heard and whose mouth is seen: what the audio-driven score is made of."""
    return is_heard_and_seen(row) and row["generated"] == "no"


def is_heard_and_seen(row: dict) -> bool:
    """A clip, filmed or generated, whose sound says what the lips in the picture do."""
    return row["speaking_visible"] == "yes" and row["has_audio"] == "yes"


def speak_clip(session: Session, clip: EvalClip) -> SpokenClip:
    """Render (or read) the clip's videos and measure them."""
    model, arguments = session.model, session.arguments
    stride, whole = arguments.stride, arguments.whole
    video = session.videos(clip) if session.videos else None
    if video is not None:  # it was made from the clip's sound as it is; the speech here is in step
        video = shift_back(video, av_offset(clip.row), "edge")
    clip = cut_to_sound(clip)
    true_points = model.landmarks(clip.frames if whole else clip.frames[::stride])
    spoken, every_frame, samples = SpokenClip(clip.speech), np.zeros(0), []
    if video is not None:
        every_frame = measure_video(session, spoken, clip, video[: len(clip.frames)], true_points)
        samples.append(every_frame[::stride])
    else:
        source = spoken.source = session.source(clip)
        for seed in range(arguments.samples):
            motion = model.speak(source, clip.speech, seed)[: len(clip.frames)]
            if seed == 0 and whole:
                every_frame = measure_video(session, spoken, clip, model.render(source, motion), true_points)
                samples.append(every_frame[::stride])
            else:
                samples.append(lip_opening(model.landmarks(model.render(source, motion[::stride]))))
        silence = model.render(source, model.speak(source, SILENCE, 0)[::stride])
        spoken.silent = lip_opening(model.landmarks(silence))
    loud, truth = loudness(clip.speech, len(clip.frames)), lip_opening(clip.landmarks)
    spoken.lips = LipCurves(clip.row["identity"], truth, samples, lip_opening(true_points), loud, every_frame)
    session.progress(f"speech of {clip.row['id']}")
    return spoken


def measure_video(
    session: Session, spoken: SpokenClip, clip: EvalClip, frames: np.ndarray, true_points: np.ndarray
) -> np.ndarray:
    """Measure everything that needs all frames of a video into `spoken`; its lips [T]."""
    model, syncnet = session.model, session.networks.syncnet
    points = model.landmarks(frames)
    spoken.videos["made"] = measure(frames, points, model.poses(points))
    if len(true_points) == len(clip.frames):
        spoken.videos["true"] = measure(clip.frames, true_points, model.poses(true_points))
    if syncnet is not None:
        spoken.sync["made"] = syncnet(frames, points, clip.speech)
        spoken.sync["true"] = syncnet(clip.frames, clip.landmarks, clip.speech)
    session.sheet(f"speaking-{clip.row['id']}", [clip.frames[: len(frames)], frames])
    return lip_opening(points)


def report(session: Session, spoken: list[SpokenClip]) -> dict:
    """The share of the report under `audio_driven`."""
    stride = session.arguments.stride
    result = lip_report([clip.lips for clip in spoken], stride)
    result |= {"samples": len(spoken[0].lips.samples), "silence_ratio": None, "silence_ratio_with_closing": None}
    if not session.videos:
        deviation = max(np.mean([np.mean([s.std() for s in clip.lips.samples]) for clip in spoken]), 1e-9)
        settled = [clip.silent[-(-FPS // stride) :].std() / deviation for clip in spoken]  # after the first second
        result |= {"silence_ratio": mean(settled), "silence_ratio_interval": interval(settled)}
        result["silence_ratio_with_closing"] = mean([clip.silent.std() / deviation for clip in spoken])
        speech = np.concatenate([clip.speech for clip in spoken])
        result["seams"] = seam_check(session.model, spoken[0].source, speech)
    if generated := [clip.videos["made"] for clip in spoken if clip.videos]:
        result["presence"] = liveliness(generated, [clip.videos["true"] for clip in spoken if "true" in clip.videos])
    if synced := [clip.sync for clip in spoken if clip.sync]:
        result["syncnet"] = {
            row: {key: mean(values) for key, values in columns(clips).items()} for row, clips in columns(synced).items()
        }
    return result
