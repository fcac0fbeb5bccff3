"""The still that follows sliders and pose, and how it is saved; the time that a video will take. Events only."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import backgrounds, components, controls, expressions
from .actions import Actions
from .events import describe_call
from .inputs import file_data
from .previews import ESTIMATED, MOMENTS, SAVED_OPTIONS

ON_SAVE_CLICK = "element.addEventListener('click', e => { if (e.target.closest('[data-save]')) trigger('save') })"
FOLLOW_LINK = "watch('value', () => element.querySelector('a[download]')?.click())"
QUIET: dict[str, Any] = {
    "queue": False,
    "preprocess": False,
    "postprocess": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}


def build() -> tuple[gr.HTML, gr.HTML]:
    """Lay out the still with its button, and the note with the link to one that was saved."""
    with gr.Column(elem_id="still-column", min_width=140):
        still = gr.HTML(components.still(""), label="Still", js_on_load=ON_SAVE_CLICK, elem_id="still", container=False)
        saved = gr.HTML("", label="Saved still", js_on_load=FOLLOW_LINK, elem_id="saved", container=False)
    return still, saved


def connect(
    actions: Actions,
    widgets: dict[str, Any],
    stills: tuple[gr.HTML, gr.HTML],
    estimates: dict[str, gr.HTML],
    reset: gr.Button,
) -> None:
    """Redraw the still while a slider is dragged, and estimate the time when an input changes; the latest wins.

    stills: of `build`.
    """
    names, shown = list(widgets), list(widgets.values())
    still, saved = stills
    _connect_saving(actions, widgets, still, saved)

    async def draw(request: gr.Request, *values: object) -> list:
        return [await actions.draw_still(dict(zip(names, values, strict=True)), request), ""]

    # A single dependency, so that the latest wins also where two widgets are moved one after the other.
    dragged = [widgets[name].input for name in (*controls.SLIDERS, *expressions.FIELDS)]
    redrawn = (*controls.POSE, "gaze", "still", "label", "portrait", "face", *backgrounds.DEFAULTS)
    others = [widgets[name].change for name in redrawn]
    gr.on([*dragged, *others, reset.click], draw, shown, [still, saved], trigger_mode="always_last", **QUIET)

    async def estimate(request: gr.Request, *values: object) -> list[str]:
        told = await actions.estimate(dict(zip(names, values, strict=True)), request)
        return [told[kind] for kind in estimates]

    lengths = [name for names in ESTIMATED.values() for name in names]
    inputs = ("portrait", "face", "film", "dub_face", *lengths, "fit", "start", "stop", "size", "frame", "model")
    changes = [widgets[name].change for name in inputs]
    gr.on(changes, estimate, shown, list(estimates.values()), trigger_mode="always_last", **QUIET)


def _connect_saving(actions: Actions, widgets: dict[str, Any], still: gr.HTML, saved: gr.HTML) -> None:
    """Connect the button below the still, and an endpoint for programs."""
    chosen = {name: widgets[name] for name in ("portrait", "model", *SAVED_OPTIONS, *backgrounds.DEFAULTS)}

    async def save(request: gr.Request, *values: object) -> str:
        return await actions.save_still_on_page(dict(zip(chosen, values, strict=True)), request)

    still.save(save, list(chosen.values()), saved, **QUIET)

    moment = gr.Radio(MOMENTS, value=MOMENTS[0], label="moment", visible=False)
    file, status = gr.File(label="Still", visible=False), gr.HTML("", label="Status", visible=False)
    names = ("portrait", "moment", *list(chosen)[1:])

    async def save_for_program(request: gr.Request, *values: object) -> list:
        given = dict(zip(names, values, strict=True))
        try:
            output, words = await actions.save_still(given, request, str(given.get("moment") or MOMENTS[0]))
        except Exception as error:
            raise gr.Error(actions.message_for(error), print_exception=False) from None
        return [file_data(output), words]

    summary = "Draw a picture of the portrait under the sliders and the pose; moment: what it shows at its furthest."
    describe_call(save_for_program, list(names), ("portrait",), summary)
    inputs = [chosen["portrait"], moment, *list(chosen.values())[1:]]
    quiet = {**QUIET, "api_visibility": "public"}
    gr.Button(visible=False).click(save_for_program, inputs, [file, status], api_name="still", **quiet)
