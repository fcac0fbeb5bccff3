"""The section that tells whether a video was made here: its credentials, its watermark, and what they say."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import examples
from .actions import Actions

HINT = (
    "<p class='limits'>Drop a video or a picture. Every video of this page carries signed credentials, which tell who "
    "made it and whether it was altered since, and a watermark, which stays when it is cut, scaled or sent on.</p>"
)


def build(actions: Actions) -> None:
    """Lay out the section and connect it."""
    with gr.Accordion("Was it made here?", open=False, elem_id="verify"):
        gr.HTML(HINT, container=False)
        file = gr.File(label="file", show_label=False, file_types=["video", "image"], height=140, elem_id="suspect")
        verdict = gr.HTML("", label="verdict", elem_id="verdict")
    examples.put_into_sample(file, examples.SAMPLE)
    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "concurrency_limit": 2}
    file.change(actions.verify, file, verdict, api_name="verify", **quiet)
