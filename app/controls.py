"""Widgets built from the fields of RenderOptions and DubOptions: names, defaults, ranges and help are the command
line's."""

from __future__ import annotations

import math
from dataclasses import fields
from importlib.util import find_spec
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

from anitalker.batch.table import DUB_OPTIONS
from anitalker.config import GAZES, ORIGINAL_SIZE, DubOptions, InputError, RenderOptions
from anitalker.weights import registry

from . import expressions

# `face` is chosen on the picture, `follow` beside the performance. Every video of the page is marked, and plays in each
# browser. A visitor may not name files on the server.
HIDDEN = ("face", "face_backend", "batch_size", "marks", "label_language", "quality", "codec")
HIDDEN += ("pose", "also", "segments", "follow", "subtitles", "background")
HIDDEN += ("emotion", "expression", "timeline")
RENDER_FIELDS = {field.name: field for field in fields(RenderOptions)}
DUB_FIELDS = {field.name: field for field in fields(DubOptions) if field.name not in HIDDEN}
FIELDS = {**RENDER_FIELDS, **{field.name: field for field in fields(DubOptions)}, **expressions.FIELDS}
SIZES = (360, 720, 1080, ORIGINAL_SIZE)  # of the video's shorter side; programs may send any
NUMBERS = tuple(
    name for name, field in RENDER_FIELDS.items() if field.metadata["low"] is not None and name not in (*HIDDEN, "size")
)
# What the page offers.
NAMES = (*(name for name in RENDER_FIELDS if name not in (*NUMBERS, *HIDDEN)), *NUMBERS, *expressions.FIELDS)
SLIDERS = tuple(name for name in NUMBERS if isinstance(FIELDS[name].default, float))  # always visible
OUTPUTS = ("aspect", "subtitles_as")  # beside the format, see `outputs`
POSE = ("yaw", "pitch", "roll", "scale", "location")  # always visible
FIELDS_PER_ROW, MIN_WIDTH = 3, 90  # pixels
FOR_DUBS, FOR_PORTRAITS = "for-dubs", "for-portraits"  # classes of widgets that are of no use in the other tabs
Options = TypeVar("Options", RenderOptions, DubOptions)
DUB_NAMES = tuple(DUB_FIELDS)  # further ones, of a dub
DUBBED = tuple(name for name in NAMES if name in DUB_OPTIONS)  # of NAMES: what a dub heeds, too
DEFAULTS = {name: FIELDS[name].default for name in (*NAMES, "face")}
DUB_DEFAULTS = {name: FIELDS[name].default for name in (*DUBBED, "face", *DUB_NAMES)}
UNTOUCHED = {**DEFAULTS, **DUB_DEFAULTS, "seed": None}  # what the widgets show at first: a random seed, which the
# result tells
PLACEHOLDERS = {
    "seed": "random",
    "stop": "end",
    "label_seconds": "throughout",
}  # of empty fields; the others are empty for the model's own choice
LABELS = expressions.LABELS | {  # as the command line names them
    "start": "from",
    "stop": "to",
    "original_sound": "original sound",
    "subtitles_as": "subtitles as",
    "label_style": "label style",
    "label_seconds": "label seconds",
}
MAX_INTEGER = 2**53 - 1  # the largest that a browser counts exactly


def is_integer(name: str) -> bool:
    """Whether an option is a whole number."""
    return "int" in str(FIELDS[name].type)


def help_text(name: str) -> str:
    """What an option does and what it accepts, in one sentence."""
    rule = FIELDS[name].metadata
    text = rule["about"]
    if rule["low"] is not None and rule["high"] is None:
        text += f", in {rule['unit']}"
    elif rule["high"] is not None and rule["high"] <= MAX_INTEGER:
        text += f"; {rule['low']:g} to {rule['high']:g} {rule['unit']}".rstrip()
    return text


def can_enhance() -> bool:
    """Whether this server has what `enhance` needs: GFPGAN's weights and the package spandrel."""
    return registry.locate(registry.REGISTRY["gfpgan"]) is not None and find_spec("spandrel") is not None


def label_of(name: str) -> str:
    """The name of an option on the page."""
    return LABELS.get(name, name)


def build_widget(name: str) -> Component:
    """Build an option's checkbox, radio buttons, slider or number field. An empty field means the model's default."""
    rule = FIELDS[name].metadata
    default: Any = UNTOUCHED[name]
    shared: dict[str, Any] = {"label": label_of(name), "info": help_text(name), "elem_id": f"option-{name}"}
    if name in DUB_NAMES or name not in DUBBED:  # the style sheet hides it in the other tabs
        shared["elem_classes"] = FOR_DUBS if name in DUB_NAMES else FOR_PORTRAITS
    if isinstance(default, bool):
        return gr.Checkbox(default, **shared)
    if name == "size":
        return gr.Radio([(str(size), size) for size in SIZES], value=default, **shared)
    if name == "gaze":  # X,Y may be typed
        return gr.Dropdown(list(GAZES), value=default, allow_custom_value=True, **shared)
    if rule["allowed"]:
        if name == "enhance" and not can_enhance():  # the page downloads nothing
            shared |= {"interactive": False, "info": f"{help_text(name)}; not installed on this server"}
        return gr.Radio([(value or "off", value) for value in rule["allowed"]], value=default, **shared)
    assert rule["low"] is not None, name
    if default is None:  # Gradio's number field turns an empty value into 0
        return gr.Textbox("", placeholder=PLACEHOLDERS.get(name, "auto"), max_lines=1, min_width=MIN_WIDTH, **shared)
    shared |= {"minimum": rule["low"], "maximum": min(rule["high"] or MAX_INTEGER, MAX_INTEGER), "min_width": MIN_WIDTH}
    if name in (*SLIDERS, *expressions.FIELDS):
        return gr.Slider(value=default, step=0.1, buttons=[], **shared)
    return gr.Number(default, precision=0 if is_integer(name) else None, step=1 if is_integer(name) else 0.1, **shared)


def build_sliders() -> dict[str, Component]:
    """Lay out what is always visible: sliders for lips, head and eyelids, the numbers of the pose, the size."""
    with gr.Group(elem_id="sliders"):
        widgets = {name: build_widget(name) for name in SLIDERS}
        with gr.Row(elem_classes=["numbers", FOR_PORTRAITS]):
            widgets |= {name: build_widget(name) for name in POSE}
        widgets["size"] = build_widget("size")
    widgets |= expressions.build(build_widget, FOR_PORTRAITS)
    return widgets | {"gaze": build_widget("gaze")}


def build_widgets() -> dict[str, Component]:
    """Lay out the widgets of the other options but OUTPUTS, those of a dub first."""
    widgets = {"fit": build_widget("fit")}
    with gr.Row(elem_classes=["numbers", FOR_DUBS]):
        widgets |= {name: build_widget(name) for name in DUB_NAMES if name != "fit"}
    shown = (*NUMBERS, "size", "gaze", *expressions.FIELDS, *OUTPUTS)
    widgets |= {name: build_widget(name) for name in NAMES if name not in shown}
    names = [name for name in NUMBERS if name not in (*SLIDERS, *POSE)]
    for start in range(0, len(names), FIELDS_PER_ROW):
        with gr.Row(elem_classes="numbers"):
            widgets |= {name: build_widget(name) for name in names[start : start + FIELDS_PER_ROW]}
    return widgets


def parse_options(values: dict) -> RenderOptions:
    """Turn the values of widgets (or of a program) into render options. Raises InputError for a wrong value."""
    return _parse(RenderOptions, values)


def parse_dub_options(values: dict) -> DubOptions:
    """Turn the values of widgets (or of a program) into a dub's options. Raises InputError for a wrong value."""
    return _parse(DubOptions, values)


def _parse(kind: type[Options], values: dict) -> Options:
    options: dict[str, Any] = {}
    for name, value in values.items():
        default = FIELDS[name].default
        if value is None or value == "":
            options[name] = default
        elif isinstance(default, bool):
            options[name] = value is True
        elif isinstance(default, str) or value == ORIGINAL_SIZE:
            options[name] = str(value)
        else:
            options[name] = _parse_number(name, value)
    return kind(**(expressions.combine(options) if kind is RenderOptions else options))


def _parse_number(name: str, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (is_integer(name) and number != int(number)):
        whole = "whole " if is_integer(name) else ""
        raise InputError(f"{label_of(name)} is {str(value)[:20]!r}; give a {whole}number")
    return int(number) if is_integer(name) else number


def widget_values(settings: dict) -> dict[str, Any]:
    """Turn settings into the values of the widgets, by name, in the order of NAMES, then of DUB_NAMES."""
    names = [name for name in (*NAMES, *DUB_NAMES) if name in settings]
    return {name: "" if settings[name] is None else settings[name] for name in names}


def settings_of(options: RenderOptions) -> dict:
    """Return the options that the page offers, as plain values."""
    values = {name: getattr(options, name) for name in DEFAULTS if name not in expressions.FIELDS}
    return values | expressions.split(options)


def dub_settings(options: RenderOptions, dubbing: DubOptions) -> dict:
    """Return the options of a dub that the page offers, as plain values."""
    return {name: getattr(dubbing if name in DUB_NAMES else options, name) for name in DUB_DEFAULTS}


def describe(settings: dict) -> str:
    """Settings in one line: frame and seed always, the others where they differ from the default."""
    always = [name for name in ("frame", "seed") if name in settings]
    words = [f"{name} {settings[name]}" for name in always]
    for name, value in settings.items():
        label = label_of(name)
        if name == "face" and str(value).isdigit():
            words.append(f"face {int(value) + 1}")  # the number on the picture
        elif name in always or name not in FIELDS or value == FIELDS[name].default or value is None:
            continue
        elif value is True:
            words.append(label)
        else:
            words.append(f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}")
    return " · ".join(words)
