"""Widgets for RenderOptions, made from their fields: same names, defaults, ranges and sentences as the command line."""

from __future__ import annotations

import math
from dataclasses import fields

import gradio as gr

from anitalker.config import InputError, RenderOptions

# `face` is chosen on the picture; every video of the page is marked; files on the server are nobody's to name.
# The page downloads nothing, so it does not enhance.
HIDDEN = ("face", "face_backend", "batch_size", "marks", "pose", "enhance")
FIELDS = {one.name: one for one in fields(RenderOptions)}
NUMBERS = tuple(name for name, one in FIELDS.items() if one.metadata["low"] is not None and name not in HIDDEN)
NAMES = (*(name for name in FIELDS if name not in (*NUMBERS, *HIDDEN)), *NUMBERS)  # what the page offers
SLIDERS = tuple(name for name in NUMBERS if isinstance(FIELDS[name].default, float))  # always seen, above the rest
IN_A_ROW = 3
DEFAULTS = {name: FIELDS[name].default for name in (*NAMES, "face")}
BIGGEST = 2**53 - 1  # whole numbers of a browser


def is_whole(name: str) -> bool:
    """Whether an option is a whole number."""
    return "int" in str(FIELDS[name].type)


def info(name: str) -> str:
    """What an option does and what is allowed, in one sentence."""
    rule = FIELDS[name].metadata
    text = rule["about"]
    if rule["high"] is not None and rule["high"] <= BIGGEST:
        text += f"; {rule['low']:g} to {rule['high']:g} {rule['unit']}".rstrip()
    return text


def widget(name: str) -> gr.components.Component:
    """A checkbox, a choice, a slider or a number field; an empty field leaves it to the model."""
    rule, default = FIELDS[name].metadata, FIELDS[name].default
    shown = {"label": name, "info": info(name), "elem_id": f"option-{name}"}
    if isinstance(default, bool):
        return gr.Checkbox(default, **shown)
    if rule["allowed"]:
        return gr.Radio(list(rule["allowed"]), value=default, **shown)
    assert rule["low"] is not None, name
    if default is None:  # Gradio's number field turns an empty one into 0
        return gr.Textbox("", placeholder="auto", max_lines=1, min_width=110, **shown)
    shown |= {"minimum": rule["low"], "maximum": min(rule["high"], BIGGEST), "min_width": 110}
    if name in SLIDERS:
        return gr.Slider(value=default, step=0.1, buttons=[], **shown)
    return gr.Number(default, precision=0 if is_whole(name) else None, step=1 if is_whole(name) else 0.1, **shown)


def sliders() -> dict[str, gr.components.Component]:
    """How far lips, head and lids move, one under the other."""
    with gr.Group(elem_id="sliders"):
        return {name: widget(name) for name in SLIDERS}


def widgets() -> dict[str, gr.components.Component]:
    """One per other option, laid out."""
    made = {name: widget(name) for name in NAMES if name not in NUMBERS}
    fields = [name for name in NUMBERS if name not in SLIDERS]
    for at in range(0, len(fields), IN_A_ROW):
        with gr.Row(elem_classes="numbers"):
            made |= {name: widget(name) for name in fields[at : at + IN_A_ROW]}
    return made


def options(values: dict) -> RenderOptions:
    """What the widgets (or a program) sent -> checked options. InputError for what is not allowed."""
    given = {}
    for name, value in values.items():
        kind = FIELDS[name].default
        if value is None or value == "":
            given[name] = kind
        elif isinstance(kind, bool):
            given[name] = value is True
        elif isinstance(kind, str):
            given[name] = str(value)
        else:
            given[name] = _number(name, value)
    return RenderOptions(**given)


def _number(name: str, value: object) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (is_whole(name) and number != int(number)):
        raise InputError(f"{name} is {str(value)[:20]!r}; give a {'whole ' if is_whole(name) else ''}number")
    return int(number) if is_whole(name) else number


def shown(values: dict) -> list:
    """Settings as values of the widgets, in their order."""
    return ["" if values[name] is None else values[name] for name in NAMES]


def settings(options: RenderOptions) -> dict:
    """The options that the page offers, as plain values."""
    return {name: getattr(options, name) for name in DEFAULTS}


def in_words(values: dict) -> str:
    """Settings in one line: seed and frame always, the others where they are not the default."""
    said = [f"{name} {values[name]}" for name in ("frame", "seed")]
    for name, value in values.items():
        if name == "face" and str(value).isdigit():
            said.append(f"face {int(value) + 1}")  # as it is numbered on the picture
        elif name not in ("frame", "seed") and value != DEFAULTS.get(name) and value is not None:
            said.append(
                name if value is True else f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            )
    return " · ".join(said)
