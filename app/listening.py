"""A text and its voice, and the button Listen: the voice speaks the text before a video is made of it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import components
from .actions import Actions

NO_VOICE = (
    "Texts cannot be spoken on this server. Whoever runs it installs espeak-ng: pip install espeakng-loader py3langid"
)


def build(actions: Actions, what: str, tab: str = "", lines: int = 4) -> tuple[gr.Textbox, gr.Dropdown]:
    """Lay out a text, its voice and the button; the player is there once there is something to hear.

    what: placeholder of the text, of so many lines; tab: begins the ids of a second one, for whose button programs
    have no call.
    """
    voices = actions.voices.choices()
    text = gr.Textbox(label="Text", lines=lines, placeholder=what, elem_id=f"{tab}text")
    voice = gr.Dropdown(
        voices, value="" if voices else None, label="voice", info="who speaks the text", elem_id=f"{tab}voice"
    )
    if not voices:
        gr.HTML(components.message(NO_VOICE, "warn"))
    listen = gr.Button("Listen", size="md", elem_id=f"{tab}listen", interactive=bool(voices))
    named = gr.HTML("", label="Voice", elem_id=f"{tab}named", elem_classes="named")
    player = gr.Audio(
        label="Spoken text", interactive=False, autoplay=True, visible=False, buttons=[], elem_id=f"{tab}heard-text"
    )
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 2, "postprocess": False}
    named_call: dict[str, Any] = {"api_visibility": "private"} if tab else {"api_name": "listen"}
    listen.click(actions.listen, [text, voice], [player, named], **named_call, **quiet)
    return text, voice
