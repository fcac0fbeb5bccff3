"""Subtitles of an SRT file: drawn into the frames, or as a track that players show on demand.

They are drawn by libass, which ffmpeg has, in a bold sans serif of the machine: its size follows the frame's shorter
side, its place is above the visible label.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.media.video import ffmpeg_messages
from anitalker.spreadsheet import text_encoding

MAX_BYTES, MAX_CUES = 2**22, 10_000
TIMES = re.compile(r"\s*(\d{1,3}):(\d{2}):(\d{2})[,.](\d{1,3})\s*-->\s*(\d{1,3}):(\d{2}):(\d{2})[,.](\d{1,3})(?:\s.*)?")
TAG = re.compile(r"</?(?:i|b|u|font)\b[^>]*>|\{\\[^}]*\}", re.IGNORECASE)  # of SRT files; only italics are kept
ITALICS = re.compile(r"<(/?)i>", re.IGNORECASE)
MISSING_GLYPH = re.compile(r"glyph 0x([0-9a-f]+)", re.IGNORECASE)  # as libass warns
PARENTHESES = str.maketrans("{}", "()")
TRACK_CODECS = {"MP4": "mov_text", "MOV": "mov_text", "WebM": "webvtt"}  # by name of the format
# Shares of the frame's shorter side: height of the letters, their outline, the distance from the edges.
LETTER_SHARE, OUTLINE_SHARE, SIDE_SHARE = 0.056, 0.0045, 0.06
# The distance from the bottom, of the frame's height, and, where the label is below, of its shorter side.
BOTTOM_SHARE, LABEL_SHARE = 0.06, 0.14
SCRIPT = """[Script Info]
ScriptType: v4.00+
WrapStyle: 0
ScaledBorderAndShadow: yes
PlayResX: {width}
PlayResY: {height}

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BackColour, Bold, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Sans,{letters},&H00FFFFFF,&H30000000,&H80000000,-1,1,{outline},{outline},2,{side},{side},{bottom},1

[Events]
Format: Layer, Start, End, Style, MarginL, MarginR, MarginV, Text
"""


@dataclass(frozen=True)
class Cue:
    """A text of one or more lines, plain but for `<i>`, and when it is shown, in seconds."""

    start: float
    end: float
    text: str


def read_subtitles(path: str | os.PathLike) -> tuple[Cue, ...]:
    """Read the cues of an SRT file in the order of their beginnings; InputError where it is none, naming the line."""
    file = existing_file(path, "subtitles")
    if file.suffix.lower() != ".srt":
        raise InputError(f"subtitles are {str(file)!r}; allowed is a name that ends in .srt")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"subtitles are larger than {MAX_BYTES >> 20} MiB: {str(file)!r}; give those of this video")
    try:
        rows = file.read_text(text_encoding(file, "subtitles")).splitlines()
    except UnicodeDecodeError:
        raise InputError(f"subtitles are not text: {str(file)!r}; save them in UTF-8") from None
    places = [place for place, row in enumerate(rows) if "-->" in row]
    if not 0 < len(places) <= MAX_CUES:
        raise InputError(f"subtitles have {len(places)} texts: {str(file)!r}; allowed are 1 to {MAX_CUES:,}")
    return tuple(sorted((_cue(rows, place) for place in places), key=lambda cue: cue.start))


def _cue(rows: list[str], place: int) -> Cue:
    times = TIMES.fullmatch(rows[place])
    if not times:
        raise InputError(
            f"subtitles, line {place + 1}: {rows[place].strip()[:60]!r}; a time is 00:00:01,500 --> 00:00:03,000"
        )
    hours, minutes, seconds, parts = (times.group(n, n + 4) for n in (1, 2, 3, 4))
    start, end = (
        int(h) * 3600 + int(m) * 60 + int(s) + float(f"0.{p}")
        for h, m, s, p in zip(hours, minutes, seconds, parts, strict=True)
    )
    if end <= start:
        raise InputError(f"subtitles, line {place + 1}: the text ends at {end:g} s, but begins at {start:g} s")
    texts = []
    for row in rows[place + 1 :]:
        if not row.strip():
            break
        texts.append(row.strip())
    kept = ITALICS.sub(r"\0\1\0", "\n".join(texts))
    return Cue(start, end, re.sub(r"\0(/?)\0", r"<\1i>", TAG.sub("", kept)))


def within(cues: tuple[Cue, ...], seconds: float) -> tuple[Cue, ...]:
    """Return the cues of the first `seconds`; one that lasts longer is cut. InputError where there is none."""
    kept = tuple(replace(cue, end=min(cue.end, seconds)) for cue in cues if cue.start < seconds and cue.text)
    if not kept:
        raise InputError(f"subtitles begin after the video, which lasts {seconds:.2f} s; give those of this speech")
    return kept


def track_text(cues: tuple[Cue, ...]) -> str:
    """Write cues as the text of an SRT file; braces, which ffmpeg reads as commands, become parentheses."""
    blocks = (
        f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{_plain(cue.text).translate(PARENTHESES)}\n"
        for number, cue in enumerate(cues, 1)
    )
    return "\n".join(blocks)


def script_text(cues: tuple[Cue, ...], width: int, height: int, above_label: bool = False) -> str:
    """Write cues as a script for libass, which draws them into frames of width x height pixels."""
    short = min(width, height)
    bottom = max(BOTTOM_SHARE * height, LABEL_SHARE * short * above_label)
    sizes = {"letters": round(LETTER_SHARE * short, 1), "outline": round(OUTLINE_SHARE * short, 1)}
    sizes |= {"side": round(SIDE_SHARE * short), "bottom": round(bottom)}
    lines = [
        f"Dialogue: 0,{_time(cue.start, '.')[1:-1]},{_time(cue.end, '.')[1:-1]},Default,0,0,0,{_drawn(cue.text)}\n"
        for cue in cues
    ]
    return SCRIPT.format(width=width, height=height, **sizes) + "".join(lines)


def _drawn(text: str) -> str:
    """Escape a text for libass, which reads braces as commands."""
    text = _plain(text).replace("{", "\\{").replace("}", "\\}").replace("\n", "\\N")
    return ITALICS.sub(lambda tag: "{\\i0}" if tag[1] else "{\\i1}", text)


def _plain(text: str) -> str:
    """Part backslashes from what follows by a joiner without width, so that nothing takes them for a command."""
    return text.replace("\\", "\\\u2060")


def _time(seconds: float, point: str) -> str:
    """HH:MM:SS and milliseconds after a point."""
    whole = round(1000 * seconds)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{point}{whole % 1000:03}"


def drawing_filter(file: Path, alpha: bool = False) -> str:
    """Return the filter of ffmpeg that draws a script, whatever the path of its file looks like; alpha: opaquely onto
    frames with alpha."""
    value = re.sub(r"([\\':])", r"\\\1", str(file))  # as the value of an option, then within a graph of filters
    return "ass=f=" + re.sub(r"([\\'\[\],;])", r"\\\1", value) + (":alpha=1" if alpha else "")


def check_letters(cues: tuple[Cue, ...], folder: Path) -> None:
    """Raise InputError where this machine's fonts lack letters of the texts. folder: for a script, for a moment."""
    moments = [replace(cue, start=n / 10, end=(n + 1) / 10) for n, cue in enumerate(cues)]
    script = folder / "letters.ass"
    script.write_text(script_text(tuple(moments), 256, 256), "utf-8")
    source = f"color=size=256x256:rate=10:duration={len(cues) / 10}"
    messages = ffmpeg_messages(("-f", "lavfi", "-i", source, "-vf", drawing_filter(script), "-f", "null", "-"))
    missing = sorted({chr(int(code, 16)) for code in MISSING_GLYPH.findall(messages)})
    if missing:
        raise InputError(
            f"subtitles have letters that no font of this machine has: {''.join(missing)[:20]!r}; install a font, "
            "e.g. Noto Sans, or give --subtitles-as track"
        )


@dataclass(frozen=True)
class Subtitles:
    """The cues of a video, and whether they are drawn into its frames, above the visible label, or become a track."""

    cues: tuple[Cue, ...]
    is_drawn: bool
    above_label: bool = False

    def arguments(
        self, folder: Path, width: int, height: int, source: int, codec: str, alpha: bool = False
    ) -> tuple[list[str], list[str], str]:
        """Return what they add to a command of ffmpeg: an input, its map with the codec, and a filter.

        folder: for their file; width, height: of the frames; source: number of the input; codec: of the track; alpha:
        whether frames have it.
        """
        if self.is_drawn:
            check_letters(self.cues, folder)
            script = folder / "subtitles.ass"
            script.write_text(script_text(self.cues, width, height, self.above_label), "utf-8")
            return [], [], drawing_filter(script, alpha)
        track = folder / "subtitles.srt"
        track.write_text(track_text(self.cues), "utf-8")
        return ["-f", "srt", "-i", f"file:{track}"], ["-map", f"{source}:s:0", "-c:s", codec], ""
