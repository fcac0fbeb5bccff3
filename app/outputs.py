"""What becomes of the frames: the format of the file, subtitles, and marks, which only the operator may leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from anitalker.config import RenderOptions, check_choice
from anitalker.media.formats import FORMATS, SINGLE_FILES, check_options

from . import backgrounds
from .controls import FOR_PORTRAITS, build_widget

DEFAULTS: dict[str, Any] = {"format": SINGLE_FILES[0], "subtitles": None, **backgrounds.DEFAULTS}
PICTURES = tuple(f".{name}" for name in SINGLE_FILES if FORMATS[f".{name}"].is_picture)  # shown as pictures


def build(allow_no_marks: bool) -> dict[str, Component]:
    """Lay out the widgets, by the name of the parameter, with `controls.OUTPUTS`."""
    widgets: dict[str, Component] = {}
    with gr.Group():
        widgets |= backgrounds.build()
    with gr.Group():
        widgets["format"] = gr.Radio(
            list(SINGLE_FILES),
            value=DEFAULTS["format"],
            label="format",
            info="of the file; gif and webp are for short videos and have no sound",
            elem_id="option-format",
            elem_classes=FOR_PORTRAITS,
        )
        widgets["aspect"] = build_widget("aspect")
        widgets["subtitles"] = gr.File(
            label="subtitles (.srt)",
            file_types=[".srt"],
            height=110,
            elem_id="option-subtitles",
            elem_classes=FOR_PORTRAITS,
        )
        widgets["subtitles_as"] = build_widget("subtitles_as")
    if allow_no_marks:
        widgets["no_marks"] = _no_marks()
    return widgets


def _no_marks() -> gr.Checkbox:
    about = "no credentials and no watermark; the metadata says so. The law may ask for them"
    return gr.Checkbox(False, label="no marks", info=about, elem_id="option-no-marks")


def parse_format(value: object, options: RenderOptions) -> str:
    """Return the format of a file, as its suffix without dot; InputError where it does not fit the options."""
    name = str(value or DEFAULTS["format"]).lower()
    check_choice("format", name, SINGLE_FILES)
    check_options(FORMATS[f".{name}"], options)
    return name


def is_picture(file: Path) -> bool:
    """Whether a browser shows a file as a picture, not as a video."""
    return file.suffix.lower() in PICTURES
