"""Emotions and expressions as widgets: a choice, a strength, and a slider for each expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields, make_dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from anitalker.config import EMOTIONS, EXPRESSIONS, RenderOptions

WORDS = {
    "smile": "corners of the lips up",
    "lip_corner_down": "corners of the lips down",
    "mouth_stretch": "wide lips",
    "jaw_open": "jaw down",
    "brow_raise": "both brows up",
    "inner_brow_raise": "their inner ends up",
    "brow_lower": "brows down and together",
    "lid_raise": "wide eyes; less: tired ones",
    "cheek_raise": "cheeks up, as in a true smile",
    "nose_wrinkle": "sides of the nose up",
}
PER_ROW = 2  # sliders


def _field(name: str, default: Any, about: str, low: float | None = None, allowed: tuple[str, ...] = ()) -> tuple:
    rules = {"about": about, "low": low, "high": None if low is None else 1, "unit": "", "allowed": allowed}
    return name, type(default), field(default=default, metadata=rules)


_FIELDS = (
    _field("emotion", EMOTIONS[0], "how the face looks while it speaks", allowed=EMOTIONS),
    _field("emotion_strength", 1.0, "how much of it", 0),
    *(_field(name, 0.0, WORDS[name], -1) for name in EXPRESSIONS),
)
FIELDS = {option.name: option for option in fields(make_dataclass("ExpressionWidgets", _FIELDS))}
LABELS = {name: name.replace("_", " ") for name in FIELDS}


def build(build_widget: Callable[[str], Component], hidden_class: str) -> dict[str, Component]:
    """Lay out the widgets; hidden_class: of what a dub does not show."""
    with gr.Group(elem_id="emotions", elem_classes=hidden_class):
        widgets = {name: build_widget(name) for name in ("emotion", "emotion_strength")}
    with gr.Accordion("Expressions", open=False, elem_id="expressions", elem_classes=hidden_class):
        for start in range(0, len(EXPRESSIONS), PER_ROW):
            with gr.Row(elem_classes="numbers"):
                widgets |= {name: build_widget(name) for name in EXPRESSIONS[start : start + PER_ROW]}
    return widgets


def combine(values: dict[str, Any]) -> dict[str, Any]:
    """Turn the values of widgets, among others, into options."""
    options = {name: value for name, value in values.items() if name not in FIELDS}
    if (emotion := values.get("emotion", EMOTIONS[0])) != EMOTIONS[0]:
        options["emotion"] = f"{emotion}:{values.get('emotion_strength', 1.0)}"
    strengths = {name: values[name] for name in EXPRESSIONS if values.get(name)}
    if strengths:
        options["expression"] = ",".join(f"{name}={value}" for name, value in strengths.items())
    return options


def split(options: RenderOptions) -> dict[str, Any]:
    """Turn options into the values of the widgets."""
    values: Mapping[str, float] = options.expressions
    shown: dict[str, Any] = {name: widget.default for name, widget in FIELDS.items()}
    for name, value in values.items():
        shown |= {"emotion": name, "emotion_strength": value} if name in EMOTIONS else {name: value}
    return shown
