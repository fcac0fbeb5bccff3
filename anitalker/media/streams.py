"""What ffmpeg says about a media file: its streams, and which of them are taken."""

from __future__ import annotations

import re
from dataclasses import dataclass

STREAM = re.compile(r"^\s*Stream #0:(\d+)\S*: (Video|Audio): (\w+)(.*)$", re.MULTILINE)
TRACK = re.compile(r"^\s*Stream #0:(\d+)\S*: (Audio|Subtitle): (\w+)", re.MULTILINE)
COVER = re.compile(r"\((attached pic|timed thumbnails)\)")  # a picture that comes with music is no video
PIXEL_FORMAT = re.compile(r"^(?: \([^)]*\))*, (\w+)(?:\(((?:[^()]|\([^)]*\))*)\))?")  # yuv420p(tv, bt709, progressive)
# Profile 5 has colours of its own, which no tag names; the other profiles are HLG, PQ or SDR underneath.
DOLBY_VISION_5 = re.compile(r"DOVI configuration record:.*profile: 5\b")
# WebM keeps alpha as a second picture beside each; ffmpeg's own decoders pass over it.
HIDDEN_ALPHA = re.compile(r"^ +alpha_mode +: 1$", re.MULTILINE | re.IGNORECASE)
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
ALPHA_FORMAT = re.compile(r"(yuva|gbrap|rgba|bgra|argb|abgr|ayuv|vuya|ya\d|pal8)")
RGB_FORMAT = re.compile(r"(gbr|rgb|bgr|argb|abgr|0rgb|0bgr|x2rgb|x2bgr|pal8|bayer|mono|gray|ya\d)")
FIELD_ORDER = re.compile(r"(top|bottom) (coded )?first")
MAX_PIXEL_ASPECT = 4.0  # a pixel that is longer than that is a wrong header


@dataclass(frozen=True)
class Track:
    """A stream of sound or subtitles. kind: Audio or Subtitle; index: its number among all streams of the file."""

    index: int
    kind: str
    codec: str


@dataclass(frozen=True)
class Media:
    """Properties of a media file, as ffmpeg reads them; None where it has no such stream or does not say.

    video_index, audio_index: numbers of the streams that are taken; width, height: stored pixels; pixel_aspect: width
    of a pixel over its height; interlaced: its frames are made of two fields; full_range: whether black is 0;
    matrix, primaries, transfer: ffmpeg's names of the colour space (ITU-T H.273); audio_layout: mono, stereo, 5.1 ...;
    fps: frames per second, their mean; nominal_fps: the rate that ffmpeg guesses from the time stamps (its `tbr`);
    alpha_decoder: the one that ffmpeg must be told to take, or alpha is lost; tracks: all of sound and subtitles.
    """

    seconds: float | None
    video_codec: str | None = None
    pixel_format: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    audio_codec: str | None = None
    audio_rate: int | None = None
    comment: str | None = None
    aigc: str | None = None
    video_index: int | None = None
    audio_index: int | None = None
    pixel_aspect: float = 1.0
    interlaced: bool = False
    full_range: bool | None = None
    matrix: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    audio_layout: str | None = None
    alpha_decoder: str | None = None
    nominal_fps: float | None = None
    tracks: tuple[Track, ...] = ()

    @property
    def has_alpha(self) -> bool:
        """Whether its frames may be transparent."""
        return self.alpha_decoder is not None or bool(ALPHA_FORMAT.match(self.pixel_format or ""))

    @property
    def is_yuv(self) -> bool:
        """Whether its pixels are luma and chroma, which a matrix turns into RGB."""
        return not RGB_FORMAT.match(self.pixel_format or "")

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height in square pixels; the stored ones where they are not stretched. Needs a video stream."""
        assert self.width and self.height
        aspect = self.pixel_aspect
        return round(self.width * max(aspect, 1)), round(self.height / min(aspect, 1))


def parse_media(text: str) -> Media:
    """Parse what `ffmpeg -i FILE` prints.

    Of several streams of a kind the first that is marked as default is taken, as players do, else the first. A cover
    picture and a stream without a decoder do not count.
    """
    properties: dict = {"seconds": None}
    if match := re.search(r"Duration: (\d+):(\d+):([\d.]+)", text):
        properties["seconds"] = int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
    for key in ("comment", "AIGC"):
        if match := re.search(rf"^ +{key} +: (.*)$", text, re.MULTILINE | re.IGNORECASE):  # Matroska has capitals
            properties[key.lower()] = match[1].strip()
    properties["tracks"] = tuple(Track(int(index), kind, codec) for index, kind, codec in TRACK.findall(text))
    if video := _chosen(text, "Video"):
        properties |= _video_properties(video)
        if HIDDEN_ALPHA.search(text):
            properties["alpha_decoder"] = ALPHA_DECODERS.get(video[3])
        if DOLBY_VISION_5.search(text):
            properties["matrix"] = "ipt-c2"
    if audio := _chosen(text, "Audio"):
        properties |= {"audio_index": int(audio[1]), "audio_codec": audio[3]}
        if match := re.search(r"(\d+) Hz, ([^,]+)", audio[4]):
            properties |= {"audio_rate": int(match[1]), "audio_layout": match[2].strip()}
    return Media(**properties)


def _chosen(text: str, kind: str) -> re.Match[str] | None:
    streams = [
        match
        for match in STREAM.finditer(text)
        if match[2] == kind and match[3] != "none" and not COVER.search(match[4])
    ]
    return next((match for match in streams if "(default)" in match[4]), streams[0] if streams else None)


def _video_properties(video: re.Match[str]) -> dict:
    properties: dict = {"video_index": int(video[1]), "video_codec": video[3]}
    if match := PIXEL_FORMAT.match(video[4]):
        properties["pixel_format"] = match[1]
        properties |= _colour_properties(match[2] or "")
    if match := re.search(r", (\d+)x(\d+)", video[4]):
        properties |= {"width": int(match[1]), "height": int(match[2])}
    for across, up in re.findall(r"SAR (\d+):(\d+)", video[4]):  # the container's own comes last and wins
        aspect = int(across) / int(up) if int(up) else 0.0
        properties["pixel_aspect"] = aspect if 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT else 1.0
    for name, unit in (("fps", "fps"), ("nominal_fps", "tbr")):
        if match := re.search(rf"([\d.]+)(k?) {unit}\b", video[4]):
            properties[name] = float(match[1]) * (1000 if match[2] else 1)
    return properties


def _colour_properties(words: str) -> dict:
    """Parse e.g. `tv, bt2020nc/bt2020/arib-std-b67, top first`; one name stands for all three."""
    properties: dict = {"interlaced": bool(FIELD_ORDER.search(words))}
    for word in words.split(", "):
        if word in ("tv", "pc"):
            properties["full_range"] = word == "pc"
        elif word and word != "progressive" and not FIELD_ORDER.match(word):
            names = (word.split("/") * 3)[:3] if "/" not in word else word.split("/")
            known = [None if name in ("unknown", "reserved") else name for name in names]
            properties |= dict(zip(("matrix", "primaries", "transfer"), known, strict=False))
    return properties
