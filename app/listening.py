"""The button Listen: the voice speaks the text before a video is made of it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .actions import Actions


def build(actions: Actions, text: gr.Textbox, voice: gr.Dropdown) -> None:
    """Lay out the button, the player and the name of the voice; the player is there once there is something to hear."""
    listen = gr.Button("Listen", size="md", elem_id="listen", interactive=bool(actions.voices.choices()))
    named = gr.HTML("", label="Voice", elem_id="named")
    player = gr.Audio(
        label="Spoken text", interactive=False, autoplay=True, visible=False, buttons=[], elem_id="heard-text"
    )
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 2, "postprocess": False}
    listen.click(actions.listen, [text, voice], [player, named], api_name="listen", **quiet)
