"""Widgets built from the fields of RenderOptions: names, defaults, ranges and help are those of the command line."""

from __future__ import annotations

import math
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

import gradio as gr
from gradio.components import Component

from anitalker.config import ORIGINAL_SIZE, InputError, RenderOptions
from anitalker.weights import registry

# `face` is chosen on the picture. Every video of the page is marked. A visitor may not name files on the server.
HIDDEN = ("face", "face_backend", "batch_size", "marks", "pose", "also", "quality", "codec")
FIELDS = {field.name: field for field in fields(RenderOptions)}
SIZES = (360, 720, 1080, ORIGINAL_SIZE)  # of the video's shorter side; programs may send any
NUMBERS = tuple(
    name for name, field in FIELDS.items() if field.metadata["low"] is not None and name not in (*HIDDEN, "size")
)
NAMES = (*(name for name in FIELDS if name not in (*NUMBERS, *HIDDEN)), *NUMBERS)  # what the page offers
SLIDERS = tuple(name for name in NUMBERS if isinstance(FIELDS[name].default, float))  # always visible
POSE = ("yaw", "pitch", "roll", "scale", "location")  # always visible
FIELDS_PER_ROW, MIN_WIDTH = 3, 90  # pixels
DEFAULTS = {name: FIELDS[name].default for name in (*NAMES, "face")}
UNTOUCHED = {**DEFAULTS, "seed": None}  # what the widgets show at first: a random seed, which the result tells
PLACEHOLDERS = {"seed": "random"}  # of empty fields; the others are empty for the model's own choice
MAX_INTEGER = 2**53 - 1  # the largest that a browser counts exactly


def is_integer(name: str) -> bool:
    """Whether an option is a whole number."""
    return "int" in str(FIELDS[name].type)


def help_text(name: str) -> str:
    """What an option does and what it accepts, in one sentence."""
    rule = FIELDS[name].metadata
    text = rule["about"]
    if rule["high"] is not None and rule["high"] <= MAX_INTEGER:
        text += f"; {rule['low']:g} to {rule['high']:g} {rule['unit']}".rstrip()
    return text


def can_enhance() -> bool:
    """Whether this server has what `enhance` needs: GFPGAN's weights and the package spandrel."""
    return registry.locate(registry.REGISTRY["gfpgan"]) is not None and find_spec("spandrel") is not None


def build_widget(name: str) -> Component:
    """Build an option's checkbox, radio buttons, slider or number field. An empty field means the model's default."""
    rule = FIELDS[name].metadata
    default: Any = UNTOUCHED[name]
    shared: dict[str, Any] = {"label": name, "info": help_text(name), "elem_id": f"option-{name}"}
    if isinstance(default, bool):
        return gr.Checkbox(default, **shared)
    if name == "size":
        return gr.Radio([(str(size), size) for size in SIZES], value=default, **shared)
    if rule["allowed"]:
        if name == "enhance" and not can_enhance():  # the page downloads nothing
            shared |= {"interactive": False, "info": f"{help_text(name)}; not installed on this server"}
        return gr.Radio([(value or "off", value) for value in rule["allowed"]], value=default, **shared)
    assert rule["low"] is not None, name
    if default is None:  # Gradio's number field turns an empty value into 0
        return gr.Textbox("", placeholder=PLACEHOLDERS.get(name, "auto"), max_lines=1, min_width=MIN_WIDTH, **shared)
    shared |= {"minimum": rule["low"], "maximum": min(rule["high"], MAX_INTEGER), "min_width": MIN_WIDTH}
    if name in SLIDERS:
        return gr.Slider(value=default, step=0.1, buttons=[], **shared)
    return gr.Number(default, precision=0 if is_integer(name) else None, step=1 if is_integer(name) else 0.1, **shared)


def build_sliders() -> dict[str, Component]:
    """Lay out what is always visible: sliders for lips, head and eyelids, the numbers of the pose, the size."""
    with gr.Group(elem_id="sliders"):
        widgets = {name: build_widget(name) for name in SLIDERS}
        with gr.Row(elem_classes="numbers"):
            widgets |= {name: build_widget(name) for name in POSE}
        return widgets | {"size": build_widget("size")}


def build_widgets() -> dict[str, Component]:
    """Lay out the widgets of the other options."""
    widgets = {name: build_widget(name) for name in NAMES if name not in (*NUMBERS, "size")}
    names = [name for name in NUMBERS if name not in (*SLIDERS, *POSE)]
    for start in range(0, len(names), FIELDS_PER_ROW):
        with gr.Row(elem_classes="numbers"):
            widgets |= {name: build_widget(name) for name in names[start : start + FIELDS_PER_ROW]}
    return widgets


def parse_options(values: dict) -> RenderOptions:
    """Turn the values of widgets (or of a program) into render options. Raises InputError for a wrong value."""
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
    return RenderOptions(**options)


def _parse_number(name: str, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (is_integer(name) and number != int(number)):
        raise InputError(f"{name} is {str(value)[:20]!r}; give a {'whole ' if is_integer(name) else ''}number")
    return int(number) if is_integer(name) else number


def widget_values(settings: dict) -> dict[str, Any]:
    """Turn settings into the values of the widgets, by name, in the order of NAMES."""
    return {name: "" if settings[name] is None else settings[name] for name in NAMES}


def settings_of(options: RenderOptions) -> dict:
    """Return the options that the page offers, as plain values."""
    return {name: getattr(options, name) for name in DEFAULTS}


def describe(settings: dict) -> str:
    """Settings in one line: frame and seed always, the others where they differ from the default."""
    words = [f"{name} {settings[name]}" for name in ("frame", "seed")]
    for name, value in settings.items():
        if name == "face" and str(value).isdigit():
            words.append(f"face {int(value) + 1}")  # the number on the picture
        elif name in ("frame", "seed") or value == DEFAULTS.get(name) or value is None:
            continue
        elif value is True:
            words.append(name)
        else:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return " · ".join(words)
