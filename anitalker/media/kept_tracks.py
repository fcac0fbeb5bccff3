"""What else a video has and a dubbed one keeps: its other audio tracks, subtitles and chapters."""

from __future__ import annotations

import logging
from pathlib import Path

from anitalker.media.clip import Clip
from anitalker.media.streams import Track
from anitalker.media.video import input_arguments, run_ffmpeg

MP4_AUDIO = ("aac", "ac3", "alac", "eac3", "flac", "mp3", "opus")  # what MP4 holds; others become AAC
# What ffmpeg can turn into MP4's subtitles: text. Others are pictures (PGS, VobSub, DVB) or have no decoder.
TEXT_SUBTITLES = ("ass", "mov_text", "ssa", "srt", "stl", "subrip", "subviewer", "text", "webvtt")
TEXT_SECONDS = 30.0  # before the clip, where a text may have begun that is still shown
KINDS = {"Audio": "audio track", "Subtitle": "subtitle track"}
log = logging.getLogger(__name__)


def kept_arguments(clip: Clip, source: int, sounds: int, folder: Path) -> tuple[list[str], list[str]]:
    """Return the arguments of ffmpeg that add inputs, the first with number `source`, and those that map their streams.

    Kept are the audio tracks but the one that is heard by default, which the new sound replaces; subtitles of text;
    chapters. All are cut to the clip's stretch. sounds: number of audio tracks that the output has before these. Tags
    of language and title stay. A file with chapters is put into `folder`. Logs what cannot be kept.
    """
    inputs, maps = [], []
    audio, subtitles = kept_tracks(clip)
    if audio:
        inputs += [*_stretch(clip, clip.start), *input_arguments(clip.path)]
        for number, track in enumerate(audio, sounds):
            maps += ["-map", f"{source}:{track.index}", f"-disposition:a:{number}", "0"]
            maps += [f"-c:a:{number}", "copy"] if track.codec in MP4_AUDIO else [f"-b:a:{number}", "160k"]
        source += 1
    if subtitles:
        inputs += [*_stretch(clip, max(0.0, clip.start - TEXT_SECONDS)), *input_arguments(clip.path)]
        for track in subtitles:
            maps += ["-map", f"{source}:{track.index}"]
        maps += ["-c:s", "mov_text", "-bsf:s", _cut_texts(clip)]
        source += 1
    if chapters := _chapters(clip):
        file = folder / "chapters.txt"
        file.write_text(chapters, "utf-8")
        inputs += ["-f", "ffmetadata", "-i", f"file:{file}"]
        maps += ["-map_chapters", str(source)]
    return inputs, maps


def kept_tracks(clip: Clip) -> tuple[list[Track], list[Track]]:
    """Return the audio and the subtitle tracks of a clip that are kept; logs which of its tracks are not."""
    audio = [track for track in clip.media.tracks if track.kind == "Audio" and track.index != clip.media.audio_index]
    subtitles = [track for track in clip.media.tracks if track.kind == "Subtitle"]
    kept = [track for track in audio if track.codec != "none"], [s for s in subtitles if s.codec in TEXT_SUBTITLES]
    for track in (*audio, *subtitles):
        if track not in kept[0] and track not in kept[1]:
            log.warning("%s %d (%s) cannot be kept in MP4: it is left out", KINDS[track.kind], track.index, track.codec)
    return kept


def _stretch(clip: Clip, start: float) -> list[str]:
    """Return the options of an input that is read from `start` [s] to the end of a clip; the clip's start is zero."""
    seek = ["-ss", f"{start:.6f}", "-itsoffset", f"{start - clip.start:.6f}"] if clip.start else []
    return [*seek, "-t", f"{clip.start - start + clip.seconds:.6f}"]


def _cut_texts(clip: Clip) -> str:
    """Return the bit stream filters that cut texts at both ends: MP4 would shift those that begin before zero.

    A text that lasts beyond the end would make the video longer.
    """
    length = f"max(0,min(PTS+DURATION,{clip.seconds:.6f}/TB)-max(0,PTS))"
    cut = f"noise=amount=0:drop=lte(pts+duration,0),setts=pts=max(0,PTS):dts=max(0,DTS):duration={length}"
    return cut.replace(",", "\\,").replace("\\,setts", ",setts")


def _chapters(clip: Clip) -> str:
    """Return the chapters of a clip's stretch as an ffmetadata file; empty where there are none."""
    stretch = ("-ss", f"{clip.start:.6f}") if clip.start else ()
    output = ("-map_metadata:g", "-1", "-t", f"{clip.seconds:.6f}", "-f", "ffmetadata", "pipe:1")
    text = run_ffmpeg((*stretch, *input_arguments(clip.path), *output))[1]
    return text if "[CHAPTER]" in text else ""
