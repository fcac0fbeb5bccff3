"""Deleting asks first: a single video of the shelf, or all of a visitor's files."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import components, player
from .actions import Actions
from .events import Desk

ON_SHELF_CLICK = (
    player.ON_CARD_CLICK
    + """;
element.addEventListener('click', async event => {
  const video = event.target.closest('[data-delete]');
  if (video && await askFirst(`Delete video ${video.dataset.delete}? It cannot be brought back.`, 'Delete'))
    trigger('drop', {number: Number(video.dataset.delete)});
})"""
)
ON_FORGET_CLICK = (
    "element.addEventListener('click', async event => { if (event.target.closest('button') && await askFirst("
    "'Delete all your files on this server: pictures, recordings, videos and reports? A running job is cancelled.', "
    "'Delete everything')) trigger('forget') })"
)
FORGET_BUTTON = "<button type='button' id='forget' class='plain'>Delete my files now</button>"


def forget_button() -> gr.HTML:
    """Lay out the button that deletes everything."""
    return gr.HTML(FORGET_BUTTON, js_on_load=ON_FORGET_CLICK, elem_id="forget-all", container=False)


def connect(actions: Actions, desk: Desk, button: gr.HTML, inputs: list[Any]) -> None:
    """Connect the shelf and the button that deletes everything. `inputs` are emptied with everything else."""
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    shown = [desk.status, desk.video, desk.player, desk.source]

    def forget(request: gr.Request) -> list:
        actions.delete_files(request)
        nothing = [components.IDLE, None, player.EMPTY, "", None, "", components.result_gallery([])]
        return [*([None] * len(inputs)), *nothing]

    everything = [*inputs, *shown, desk.archive, desk.report, desk.shelf]
    gr.Button(visible=False).click(forget, None, everything, queue=False, api_name="forget")
    button.forget(forget, None, everything, **private)

    def drop(event: gr.EventData, request: gr.Request) -> list:
        return actions.delete_video(event.number, request)

    desk.shelf.drop(drop, None, [desk.shelf, *shown, desk.archive], postprocess=False, **private)
