"""A dub from file to file: video, script, faces, lips, sound."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anitalker import rendering
from anitalker.config import SAMPLE_RATE, DubOptions, InputError, RenderOptions
from anitalker.dubbing.dubbed_frames import dubbed_frames
from anitalker.dubbing.known_mouths import KnownMouth, by_person
from anitalker.dubbing.people import People
from anitalker.dubbing.speaking import Performances, Utterance, speak
from anitalker.dubbing.stretches import follow
from anitalker.dubbing.tracks import Track
from anitalker.files import check_output, check_output_is_no_input
from anitalker.media.clip import Clip, filmed_frames, frames_of, open_clip
from anitalker.media.dubbed_sound import dubbed_sound
from anitalker.media.fit import playback, playback_note
from anitalker.media.lines import Line, read_lines
from anitalker.media.soundtrack import Soundtrack
from anitalker.media.video import read_audio
from anitalker.media.yuv import FilmedFrame
from anitalker.models.base import Model, PathLike, ProgressCallback
from anitalker.rendering import RenderFacts
from anitalker.runtime.device import Clock
from anitalker.runtime.memory import trim_heap

AROUND_SECONDS = 4.0  # about each line, in which frames are looked at too: they show what the mouth looks like
TIMES_TOLD = 5  # stretches that keep their lips which a warning names
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Script:
    """Who says what when: utterances in output frames; indices [T]: the video's frame that each output frame shows;
    needed [n]: frames of the video that matter; lines: of a table; track: recordings that are spoken throughout.
    """

    utterances: list[Utterance]
    indices: np.ndarray
    needed: np.ndarray
    lines: list[Line]
    track: Soundtrack | None = None

    @property
    def is_heard(self) -> bool:
        """Whether any recording has sound."""
        return bool(self.lines) or (self.track is not None and set(self.track.files) > self.track.mute)

    def without_samples(self) -> Script:
        """The same without recordings in memory, which only motion needs; the sound is read from their files."""
        track = None if self.track is None else replace(self.track, samples={})
        return replace(self, utterances=[], track=track)


@contextlib.contextmanager
def sound_of(
    clip: Clip, frames: int, options: DubOptions, track: Soundtrack | None, lines: Sequence[Line] = ()
) -> Iterator[Path | None]:
    """Give a file with the sound of a dub of so many frames; None where it has none.

    Where nobody is heard, since the recordings are videos without sound, the video's own sound stays.
    """
    seconds = float(frames / clip.fps)
    speech, original = None, options.original_sound
    with contextlib.ExitStack() as stack:
        if track is not None and set(track.files) > track.mute:
            speech = stack.enter_context(track.file())
        elif not lines:
            original = original or 1.0
        if speech is None and not lines and clip.media.audio_index is None:
            yield None
        else:
            yield stack.enter_context(dubbed_sound(clip, seconds, speech, lines, original, options.fit))


def dub(
    model: Model,
    people: People,
    video: PathLike,
    speech: PathLike | None,
    output: PathLike,
    options: RenderOptions,
    dubbing: DubOptions = DubOptions(),
    progress: ProgressCallback | None = None,
    speech_for: Mapping[int, PathLike] | None = None,
    on_frame: Callable[[np.ndarray], None] | None = None,
    known: Sequence[KnownMouth] = (),
) -> RenderFacts:
    """Let people in a video speak a recording, or the lines of a table, to an MP4. known: mouths of `options.also`; for
    the other arguments see `Talker.dub`."""
    clock, recordings, segments = Clock(), dict(speech_for or {}), dubbing.segments
    if model.dubbing is None:
        raise InputError(f"model {model.name} cannot dub: its codes move whole faces; take --model lite")
    if (speech is None) == (segments is None):
        raise InputError("dub takes a recording or --segments with a table of lines; give one of the two")
    if segments is not None and recordings:
        raise InputError("speech-for came with segments; write the face of each line into the table")
    if segments is not None and dubbing.fit != DubOptions.fit:
        raise InputError(f"fit {dubbing.fit} came with segments; lines keep the length of the video, leave it away")
    check_output_is_no_input(check_output(output), video, speech, segments, *options.also, *recordings.values())
    clip = open_clip(video, dubbing.start, dubbing.stop, options.size)
    if segments is not None:
        lines = read_lines(segments, clip)
        check_output_is_no_input(output, *(line.speech for line in lines))
        script = line_script(clip, lines)
    else:
        assert speech is not None
        track = Soundtrack.read(speech, recordings, videos=dubbing.follow != "speech")
        script = whole_script(clip, track, dubbing)
    clock("speech")
    also = {utterance.person for utterance in script.utterances if utterance.person is not None}
    fps = float(clip.fps)
    tracks = follow(
        model.dubbing,
        people,
        lambda start, stop: frames_of(clip, np.arange(start, stop)),
        script.needed,
        fps,
        options.face,
        also,
        progress,
    )
    more = by_person(known, people, (track.person for track in tracks))
    trim_heap()
    warn_of_kept_lips(tracks, clip, script)
    clock("faces")
    if dubbing.follow == "speech":
        spoken = [speak(model.dubbing, said, tracks, script.indices, options) for said in script.utterances]
    else:
        spoken = list(map(Performances(model, people.finder, progress), script.utterances))
    script = script.without_samples()
    trim_heap()
    clock("motion")
    with (
        sound_of(clip, len(script.indices), dubbing, script.track, script.lines) as sound,
        contextlib.closing(filmed_frames(clip, script.indices)) as shown,
    ):
        drawn: deque[FilmedFrame] = deque()  # and not written yet: a few
        pictures = _noted(shown, drawn)
        frames = dubbed_frames(
            model.dubbing, tracks, spoken, script.indices, pictures, fps, options.lips, dubbing.follow, more
        )
        frames = rendering.shown_to(on_frame, frames)
        shape = (len(script.indices), clip.height, clip.width)
        kept = None if dubbing.fit == "speed" else replace(clip, frames=min(clip.frames, len(script.indices)))
        return rendering.write_video(
            model,
            frames,
            shape,
            output,
            sound,
            replace(options, aspect="", subtitles=None),
            clock,
            progress,
            fps=clip.fps,
            keep=kept,
            filmed=iter(drawn.popleft, None),
            ingredients=(clip.path,),
            consent="; ".join(dict.fromkeys(mouth.consent for mouth in known if mouth.consent)),
            inputs=() if speech is None else (speech,),
            is_dubbed=script.is_heard,
        )


def _noted(shown: Iterator[FilmedFrame], drawn: deque[FilmedFrame]) -> Iterator[np.ndarray]:
    """Yield the pictures of filmed frames, and append each frame to those that are drawn."""
    for frame in shown:
        drawn.append(frame)
        yield frame.rgb


def whole_script(clip: Clip, track: Soundtrack, dubbing: DubOptions) -> Script:
    """The script of recordings that are spoken from the first frame on."""
    for sentence in track.warnings():
        log.warning("%s", sentence)
    seconds = track.length / SAMPLE_RATE
    indices = playback(dubbing.fit, clip.frames, clip.fps, seconds)
    if note := playback_note(dubbing.fit, clip.frames, clip.fps, seconds):
        log.warning("%s", note)
    length = round(len(indices) / clip.fps * SAMPLE_RATE)
    utterances = [
        Utterance(person, 0, len(indices), _fitted(samples, length), track.files.get(person))
        for person, samples in track.samples.items()
    ]
    needed = np.ones(int(indices.max()) + 1, bool)
    return Script(utterances, indices, needed, [], track)


def line_script(clip: Clip, lines: list[Line]) -> Script:
    """The script of a table of lines: the video goes on as it is outside of them."""
    utterances, needed = [], np.zeros(clip.frames, bool)
    for line in lines:
        first, stop = (min(round(second * clip.fps), clip.frames) for second in (line.start, line.end))
        stop = max(stop, first + 1)
        samples = read_audio(line.speech)
        length = round((stop - first) / clip.fps * SAMPLE_RATE)
        utterances.append(Utterance(line.face, first, stop, _fitted(samples, length), line.speech))
        around = round(AROUND_SECONDS * clip.fps)
        needed[max(first - around, 0) : stop + around] = True
    return Script(utterances, np.arange(clip.frames), needed, lines)


def _fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Samples cut to a length, or padded with silence."""
    if len(samples) >= length:
        return samples[:length]  # no copy
    return np.pad(samples[:length], (0, max(length - len(samples), 0)))


def warn_of_kept_lips(tracks: list[Track], clip: Clip, script: Script) -> None:
    """Log where nobody's lips can be changed although somebody speaks: no face, turned away, or covered."""
    spoken = np.zeros(len(script.needed), bool)
    for said in script.utterances:
        spoken[script.indices[said.first : said.stop]] = True
    free = np.zeros(len(spoken), bool)
    for track in tracks:
        free[track.first : track.first + len(track)] |= track.free()[: len(free) - track.first]
    kept = np.flatnonzero(spoken & ~free)
    if not len(kept):
        return
    runs = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)
    times = [f"{float(run[0] / clip.fps):.1f} to {float((run[-1] + 1) / clip.fps):.1f} s" for run in runs[:TIMES_TOLD]]
    more = f" and {len(runs) - TIMES_TOLD} more times" if len(runs) > TIMES_TOLD else ""
    log.warning(
        "%d of %d spoken frames keep the filmed lips: no face, turned too far away, or its mouth covered (%s%s)",
        len(kept),
        int(spoken.sum()),
        ", ".join(times),
        more,
    )
