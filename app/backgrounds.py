"""What is behind a portrait, as widgets: a choice, a colour, a file; and what the choice means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from anitalker.config import InputError, RenderOptions, check_choice
from anitalker.media.backdrop import WORDS, word_or_colour

from .controls import FOR_PORTRAITS

CHOICES = (*WORDS, "colour", "file")
DEFAULTS: dict[str, Any] = {
    "background": RenderOptions.background,
    "background_colour": "#1e90ff",
    "background_file": None,
}
ABOUT = "behind the people; transparent needs the format webm, mov, gif or webp; a file is a picture or a video"


def build() -> dict[str, Component]:
    """Lay out the widgets, by the name of the parameter."""
    shared: dict[str, Any] = {"elem_classes": FOR_PORTRAITS}
    return {
        "background": gr.Radio(
            list(CHOICES),
            value=DEFAULTS["background"],
            label="background",
            info=ABOUT,
            elem_id="option-background",
            **shared,
        ),
        "background_colour": gr.ColorPicker(
            DEFAULTS["background_colour"], label="its colour", elem_id="option-background-colour", **shared
        ),
        "background_file": gr.File(
            label="its picture or video",
            file_types=["image", "video"],
            height=110,
            elem_id="option-background-file",
            **shared,
        ),
    }


def chosen(values: dict, read_file: Callable[[object], Path]) -> str:
    """Return `RenderOptions.background` of the widgets' values; InputError for a wrong choice, or a missing file.

    read_file: makes a visitor's file of a value. A visitor names no files of the server.
    """
    choice = str(values.get("background") or DEFAULTS["background"]).strip().lower()
    check_choice("background", choice, CHOICES)
    if choice == "file":
        if not values.get("background_file"):
            raise InputError("background is file, but there is none; give a picture or a video")
        return str(read_file(values["background_file"]))
    if choice != "colour":
        return choice
    colour = _css_number(str(values.get("background_colour") or DEFAULTS["background_colour"]).strip())
    known = word_or_colour(colour)
    if known is None or known.kind != "colour":
        raise InputError(f"background colour is {colour[:20]!r}; give one such as white or #1e90ff")
    return colour


def _css_number(colour: str) -> str:
    """A colour without alpha: pickers give `rgba(30.2, 144, 255, 1)`, too."""
    if not colour.lower().startswith("rgb"):
        return colour
    try:
        red, green, blue = (round(float(part)) for part in colour.split("(")[1].rstrip(")").split(",")[:3])
    except (IndexError, ValueError):
        raise InputError(f"background colour is {colour[:30]!r}; give one such as white or #1e90ff") from None
    return f"rgb({red},{green},{blue})"
