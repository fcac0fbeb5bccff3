"""The user's options as frozen dataclasses, with every default and limit; constants; free of torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from encoders.rates import FPS as FPS
from encoders.rates import SAMPLE_RATE as SAMPLE_RATE

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CROP = 256  # side of the face crop in pixels
POSE_SIZE = 6  # yaw, pitch, roll [radians], x, y [crop widths from the centre], log of the face height [crop widths]
GAZE_SIZE = 3  # numbers that may follow a motion code: gaze to the right and up [radians], share of the way there
LANDMARKS = 468  # MediaPipe face mesh
LABEL_LANGUAGES = ("en", "zh", "de", "es", "fr", "it", "nl", "pl", "pt", "sv")  # of the visible label

EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted")
EXPRESSIONS = (
    *("smile", "lip_corner_down", "mouth_stretch", "jaw_open", "brow_raise", "inner_brow_raise", "brow_lower"),
    *("lid_raise", "cheek_raise", "nose_wrinkle"),
)

GAZES = ("natural", "camera", "portrait")
GAZE_LIMITS = {"gaze_x": 30.0, "gaze_y": 20.0}  # degrees to the right and up in the picture, and as far back


class InputError(ValueError):
    """The user's input or usage is wrong: one line that names what came, what is allowed and what to do."""


ORIGINAL_SIZE = "original"  # of RenderOptions.size: no limit
LITE_STEPS, LITE_GUIDANCE, ORIGINAL_STEPS = 8, 1.25, 10  # the original's authors take 50: docs/performance.md


def _option(default, about: str, low=None, high: float | None = None, unit: str = "", allowed=(), name: str = ""):
    """A field of user's options: a sentence about it, its limits, and its name for users where that is another."""
    rules = {"about": about, "low": low, "high": high, "unit": unit, "allowed": allowed, "name": name}
    return field(default=default, metadata=rules)


@dataclass(frozen=True)
class RenderOptions:
    """Options of the user. Every default and limit stands here; command line, page and batch read them."""

    seed: int = _option(0, "same seed, same inputs: the same motion", 0, 2**63 - 1)
    steps: int | None = _option(None, "sampler steps: more is slower and rarely better", 1, 200)  # None: the model's
    # Classifier-free guidance on speech, 1 is none; None: the model's own.
    guidance: float | None = _option(None, "how strongly speech decides on the motion", 0, 10)
    yaw: float | None = _option(
        None, "keep the head turned by this angle", -60, 60, "degrees"
    )  # None: the model's choice
    pitch: float | None = _option(None, "keep the head nodded by this angle", -60, 60, "degrees")
    roll: float | None = _option(None, "keep the head tilted by this angle", -60, 60, "degrees")
    pose: str | None = _option(None, ".npy of [T,3] degrees: yaw, pitch, roll per frame")
    scale: float | None = _option(None, "size of the head, 1 is the portrait's", 0.8, 1.2)
    location: float | None = _option(None, "shift of the head to the right, in face-crop widths", -0.15, 0.15)
    still: bool = _option(False, "the head stays where it is; lips and eyes still move")
    lips: float = _option(1.0, "how far the lips move: 1 is as made, 0 holds them still", 0, 2)
    head: float = _option(1.0, "how far the head moves: 1 is as made, 0 holds it still", 0, 2)
    blink: float = _option(1.0, "how far the lids move: 1 is as made, 0 takes blinks away", 0, 2)
    emotion: str = _option("", f"how the face looks, with a strength of 0 to 1 if wanted: {', '.join(EMOTIONS)}")
    expression: str = _option("", f"single expressions, each with a strength of -1 to 1: {', '.join(EXPRESSIONS)}")
    timeline: str | None = _option(None, ".csv or .json of expressions and emotions over time")
    gaze: str = _option(
        "natural",
        "where the eyes look: natural (into the camera, aside for a moment at pauses), camera, portrait (as in the "
        "portrait), or X,Y in degrees to the right and up in the picture",
    )
    # Pixels, or ORIGINAL_SIZE. Text is accepted, too, and becomes a number.
    size: int | str = _option(
        1080, "the video's shorter side in pixels at most, or original: as large as the picture", 64, 4096, "pixels"
    )
    frame: str = _option("full", "full: the whole picture; crop: the 256x256 face crop", allowed=("full", "crop"))
    background: str = _option(
        "keep",
        "what is behind the people: keep, transparent (webm, mov, png, webp, gif), blur, a colour (white, #1e90ff), or "
        "the file of a picture or video",
    )
    aspect: str = _option(
        "",
        "the video's proportions: a blurred copy of the picture fills what is around it",
        allowed=("", "9:16", "1:1", "16:9"),
    )
    subtitles: str | None = _option(None, ".srt of what is said")
    subtitles_as: str = _option(
        "burnt", "drawn into the picture, or a track that players can show", allowed=("burnt", "track")
    )
    also: tuple[str, ...] = _option((), "more pictures of the same person: open mouth, smile, turned, closed eyes")
    face: str = _option("largest", "who speaks: largest, all, or the index that `anitalker faces` prints")
    face_backend: str = _option("own", "the face detector", allowed=("own", "face-alignment"))
    # A constant rate factor of x264: at 17 losses are hardly visible.
    quality: int = _option(17, "quality of the video: less is better and larger, 0 loses nothing", 0, 51)
    codec: str = _option("h264", "how the video is encoded", allowed=("h264", "hevc"))
    enhance: str = _option("", "restore the portrait's faces before they move", allowed=("", "gfpgan"))
    batch_size: int | None = _option(None, "frames decoded at once; does not change the result", 1, 256)
    marks: bool = _option(True, "content credentials and an invisible watermark say that an AI made the video")
    label: bool = _option(False, "the words `AI-generated` in the corner of every frame")
    label_language: str = _option("en", "language of these words", allowed=LABEL_LANGUAGES)
    label_style: str = _option(
        "words", "the label as words, or as an icon: AI GENERATED or AI MODIFIED", allowed=("words", "icon")
    )
    label_seconds: float | None = _option(None, "the label is shown so long at the beginning", 0.04, None, "seconds")

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size(self.size))
        _check_fields(self)
        if self.pose is not None and any(getattr(self, n) is not None for n in ("yaw", "pitch", "roll")):
            raise InputError("pose came as a file and as angles; give either --pose or --yaw/--pitch/--roll")
        if self.face not in ("largest", "all") and not str(self.face).isdigit():
            raise InputError(f"face is {self.face!r}; allowed are largest, all, or an index from `anitalker faces`")
        _ = self.expressions, self.gaze_direction  # raise InputError

    @property
    def visible_label(self) -> str:
        """The visible label in words: `en`, `icon`, `en for 5 s`; empty: there is none."""
        look = "icon" if self.label_style == "icon" else self.label_language
        opening = "" if self.label_seconds is None else f" for {self.label_seconds:g} s"
        return look + opening if self.label else ""

    @property
    def gaze_direction(self) -> tuple[float, float]:
        """Where the eyes rest: degrees to the right and up in the picture, as the camera sees it; (0, 0): at it."""
        if self.gaze in GAZES:
            return 0.0, 0.0
        across, comma, up = str(self.gaze).partition(",")
        if not comma:
            raise InputError(f"gaze is {str(self.gaze)[:50]!r}; allowed are {', '.join(GAZES)}, or X,Y in degrees")
        angles = _number("gaze", across, "angle", "10,-5"), _number("gaze", up, "angle", "10,-5")
        for (name, limit), angle in zip(GAZE_LIMITS.items(), angles, strict=True):
            _range(name, angle, -limit, limit, " degrees")
        return angles

    @property
    def expressions(self) -> dict[str, float]:
        """The strengths of `emotion` and `expression` by name; of an emotion 0 to 1, of an expression -1 to 1."""
        emotion, colon, strength = self.emotion.strip().partition(":")
        if not emotion:
            return _expressions(self.expression)
        check_choice("emotion", emotion, EMOTIONS)
        share = _number("emotion", strength) if colon else 1.0
        _range("emotion", share, 0, 1)
        return {emotion: share} | _expressions(self.expression)


@dataclass(frozen=True)
class DubOptions:
    """What a dubbed video is made of, beside RenderOptions."""

    fit: str = _option("trim", "where speech and video differ in length", allowed=("trim", "loop", "hold", "speed"))
    start: float = _option(0.0, "where in the video to begin", 0, None, "seconds", name="from")
    stop: float | None = _option(None, "where in the video to end", 0, None, "seconds", name="to")
    segments: str | None = _option(None, "table of lines, .srt or .csv: start, end, recording, face; no speech then")
    original_sound: float = _option(0.0, "gain of the video's own sound under the speech, 0 leaves it out", 0, 2)
    follow: str = _option(
        "speech",
        "what of the recording moves the face: its sound, or, of the face that it shows, the lips, the expression "
        "(lips, lids and brows) or all (the head, too)",
        allowed=("speech", "lips", "expression", "all"),
    )

    def __post_init__(self) -> None:
        _check_fields(self)


def check_size(size: int | str) -> int | str:
    """Return a size as `RenderOptions.size` has it: a whole number of pixels, or ORIGINAL_SIZE; InputError else."""
    return RenderOptions(size=size).size


def _size(value: int | str) -> int | str:
    text = str(value).strip().lower()
    if text == ORIGINAL_SIZE:
        return ORIGINAL_SIZE
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError(f"size is {str(value)[:50]!r}; allowed are a whole number of pixels, or {ORIGINAL_SIZE}")
    return int(text)


def _expressions(text: str) -> dict[str, float]:
    """Parse `smile=.4,brow_raise=.2`."""
    values: dict[str, float] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, equals, strength = (piece.strip() for piece in item.partition("="))
        if not equals:
            raise InputError(f"expression is {item[:50]!r}; allowed is NAME=STRENGTH, several with commas between them")
        check_choice("expression", name, EXPRESSIONS)
        values[name] = _number(f"expression {name}", strength)
        _range(f"expression {name}", values[name], -1, 1)
    return values


def _number(name: str, text: str, quantity: str = "strength", example: str = "0.5") -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} has the {quantity} {text[:20]!r}; give a number such as {example}") from None


def _check_fields(options: DataclassInstance) -> None:
    for option in fields(options):
        value, rule = getattr(options, option.name), option.metadata
        name = rule.get("name") or option.name
        if rule.get("low") is not None and value != ORIGINAL_SIZE:
            _range(name, value, rule["low"], rule["high"], f" {rule['unit']}".rstrip())
        if rule.get("allowed"):
            check_choice(name, value, rule["allowed"])


def _range(name: str, value: float | None, low: float, high: float | None, unit: str = "") -> None:
    if value is not None and not low <= value <= (math.inf if high is None else high):  # also refuses NaN
        allowed = f"{low} or more" if high is None else f"{low} to {high}"
        raise InputError(f"{name} is {value}; allowed is {allowed}{unit}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise InputError if a value is not among those that are allowed."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; allowed are {', '.join(filter(None, allowed))}")
