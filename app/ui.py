"""The layout of the page, and which action each widget calls. No work is done here."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component
from gradio.themes import Soft

from anitalker.config import InputError

from . import components, controls
from .actions import Actions, visitor_error

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER / "examples"
PORTRAITS = ("portrait", "man", "woman", "elder", "pair")
INTRO = (
    "# AniTalker\nOne portrait, and a recording, a text or a video: the portrait speaks. "
    "Use faces and voices of people who agreed. Every video is marked as synthetic."
)
# The boxes over the picture and the gallery are plain HTML; these scripts pass their clicks to Python.
ON_FACE_CLICK = (
    "element.addEventListener('click', e => { const f = e.target.closest('[data-face]'); "
    "if (f) trigger('choose', {face: f.dataset.face}); })"
)
ON_AGAIN_CLICK = (
    "element.addEventListener('click', e => { const b = e.target.closest('[data-again]'); "
    "if (b) trigger('again', {number: Number(b.dataset.again)}); })"
)
SCROLL_TO_RESULT = (  # returns the inputs, which go on to Python
    "(...inputs) => { const r = document.querySelector('#result'); const top = r.getBoundingClientRect().top; "
    "if (top < 0 || top > window.innerHeight / 2) r.scrollIntoView({behavior: 'smooth'}); return inputs }"
)
THEME = Soft(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)


class Sources(NamedTuple):
    """The tabs: inputs by parameter name, and the button of each."""

    inputs: dict[str, dict[str, Component]]  # speak, say, drive, inspect
    buttons: dict[str, gr.Button]
    archive: gr.File


def voice_choices() -> list[tuple[str, str]]:
    """Return (label, value) of every language that can be spoken; empty where espeak-ng is not installed."""
    from anitalker.media.text_to_speech import voices

    try:
        return [("Guess from the text", ""), *((f"{voice.language} ({voice.name})", voice.name) for voice in voices())]
    except InputError:
        return []


def as_endpoint(action: Callable, names: Sequence[str]) -> Callable:
    """Turn an action over a dictionary into a function of positional values, whose names API clients see."""

    async def call(request: gr.Request, *values: object) -> AsyncIterator[tuple]:
        async for outputs in action(request, dict(zip(names, values, strict=True))):
            yield outputs

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("request", kind, annotation=gr.Request), inspect.Parameter(names[0], kind)]
    parameters += [inspect.Parameter(name, kind, default=controls.DEFAULTS.get(name)) for name in names[1:]]
    vars(call)["__signature__"] = inspect.Signature(parameters)  # Gradio reads the names from it
    call.__annotations__ = {"request": gr.Request}
    call.__doc__ = action.__doc__
    return call


def as_button_handler(action: Callable, names: Sequence[str]) -> Callable:
    """Turn an action over a dictionary into a button's function: its outputs, then updates of the button and of Cancel.

    An error becomes a status, and the button comes back whatever happens. The function itself never fails: Gradio runs
    no `.then` after a failure.
    """

    async def call(request: gr.Request, *values: object) -> AsyncIterator[tuple]:
        yield None, None, components.CHECKING, gr.skip(), gr.update(interactive=False), gr.update(visible=True)
        outputs: tuple = (gr.skip(),) * 4
        try:
            async for outputs in action(request, dict(zip(names, values, strict=True))):
                yield *outputs, gr.skip(), gr.skip()
        except Exception as error:  # a fault of ours leaves the button usable, too
            outputs = None, None, components.job_end(visitor_error(error).message, "failed"), gr.skip()
        yield *outputs, gr.update(interactive=True), gr.update(visible=False)

    call.__annotations__ = {"request": gr.Request}
    return call


def build_ui(actions: Actions) -> gr.Blocks:
    """Build the page over its actions."""
    with gr.Blocks(title="AniTalker", analytics_enabled=False) as page:
        gr.Markdown(INTRO, elem_id="intro")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=5, min_width=320):
                portrait, face = _portrait_section(actions)
                sources = _source_tabs()
                settings = _settings_section(actions)
            with gr.Column(scale=6, min_width=320, elem_id="result"):
                gr.Markdown("## Result")
                status = gr.HTML(components.IDLE, elem_id="status")
                cancel = gr.Button("Cancel", visible=False, variant="stop", elem_id="cancel")
                video = gr.Video(label="Video", autoplay=True, interactive=False, elem_id="video", height=400)
                facts = gr.JSON(visible=False)
                gr.Markdown("## Videos of this visit")
                gallery = gr.HTML(components.result_gallery([]), js_on_load=ON_AGAIN_CLICK, elem_id="shelf")
                delete = gr.Button("Delete my files now", size="sm", elem_id="forget")
        report = gr.HTML("", elem_id="report")
        inputs = {"portrait": portrait, "face": face, **settings}
        outputs = [video, facts, status, gallery]
        for kind, action in (("speak", actions.speak), ("say", actions.say), ("drive", actions.drive)):
            _connect(kind, action, {**inputs, **sources.inputs[kind]}, sources.buttons[kind], outputs, cancel)
        inspect_inputs = {"portrait": portrait, **sources.inputs["inspect"], "model": settings["model"]}
        inspect_outputs = [sources.archive, facts, status, report]
        _connect("inspect", actions.inspect, inspect_inputs, sources.buttons["inspect"], inspect_outputs, cancel)
        cancel.click(actions.cancel, None, None, queue=False, api_name="cancel")

        def restore(event: gr.EventData, request: gr.Request) -> list:
            return actions.restore_settings(event.number, request)

        restored = [settings["model"], *(settings[name] for name in controls.NAMES)]
        gallery.again(restore, None, restored, queue=False, api_visibility="private")
        emptied = [portrait, video, status, gallery, sources.archive, report]
        delete.click(actions.delete_files, None, emptied, queue=False, api_name="forget")
        page.load(actions.show_results, None, gallery, queue=False, api_visibility="private")
        page.unload(actions.cancel)
    return page.queue(default_concurrency_limit=None, max_size=200)


def _portrait_section(actions: Actions) -> tuple[gr.Image, gr.Radio]:
    """The portrait with boxes over its faces, and the choice of who speaks."""
    gr.Markdown("## 1. Portrait")
    with gr.Group(elem_id="portrait-box"):
        portrait = gr.Image(
            type="filepath",
            label="Portrait",
            show_label=False,
            sources=["upload", "webcam", "clipboard"],
            height=320,
            elem_id="portrait",
            buttons=[],
        )
        boxes = gr.HTML("", js_on_load=ON_FACE_CLICK, elem_id="boxes", container=False)
    advice = gr.HTML("", elem_id="advice")
    face = gr.Radio(["largest"], value="largest", label="face", info=controls.help_text("face"), visible=False)
    gr.Examples(
        [[str(EXAMPLES / f"{name}.webp")] for name in PORTRAITS], [portrait], label="Or take one of these (CC0)"
    )
    inputs, outputs = [portrait, face], [boxes, advice, face]
    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden"}
    portrait.change(actions.find_faces, inputs, outputs, **quiet, api_name="faces")
    face.input(actions.find_faces, inputs, outputs, **quiet, api_visibility="private")

    def choose(picture: object, event: gr.EventData, request: gr.Request):
        return actions.find_faces(picture, event.face, request)

    boxes.choose(choose, portrait, outputs, **quiet, api_visibility="private")
    return portrait, face


def _source_tabs() -> Sources:
    """The three ways to move a portrait and the inspection, a tab for each."""
    gr.Markdown("## 2. What moves it")
    inputs: dict = {}
    buttons: dict = {}
    with gr.Tabs(elem_id="sources"):
        with gr.Tab("Recording", id="speak"):
            recording = gr.Audio(
                type="filepath", label="Speech", sources=["upload", "microphone"], buttons=[], elem_id="recording"
            )
            gr.Examples([[str(EXAMPLES / "speech.flac")]], [recording], label="Or take this one")
            with gr.Accordion("Or take the sound of a video", open=False):
                video = gr.Video(label="Video with speech", sources=["upload"], height=200, elem_id="sound-video")
            inputs["speak"] = {"recording": recording, "video": video}
            buttons["speak"] = _start_button("Speak", "speak")
        with gr.Tab("Text", id="say"):
            choices = voice_choices()
            text = gr.Textbox(label="Text", lines=4, placeholder="What the portrait should say", elem_id="text")
            info = "language of the text" if choices else 'Needs espeak-ng: pip install "anitalker[voice]"'
            voice = gr.Dropdown(choices, value="" if choices else None, label="voice", info=info)
            inputs["say"] = {"text": text, "voice": voice}
            buttons["say"] = _start_button("Say it", "say", interactive=bool(choices))
        with gr.Tab("Driving video", id="drive"):
            driving = gr.Video(label="A face that moves", sources=["upload", "webcam"], height=240, elem_id="driving")
            absolute = gr.Checkbox(
                False, label="absolute", info="the video's own poses, not relative to its first frame"
            )
            inputs["drive"] = {"driving": driving, "absolute": absolute}
            buttons["drive"] = _start_button("Move like this", "drive")
        with gr.Tab("Inspect", id="inspect"):
            gr.Markdown(
                "What the motion encoder looks at in the portrait, and what each of its numbers does: a report with "
                "pictures, made in a few minutes."
            )
            with gr.Accordion("Or in a video", open=False):
                clip = gr.Video(label="A face that moves", sources=["upload"], height=200, elem_id="clip")
            archive = gr.File(label="The report as ZIP", interactive=False, height=80, elem_id="archive")
            inputs["inspect"] = {"clip": clip}
            buttons["inspect"] = _start_button("Look inside", "inspect")
    return Sources(inputs, buttons, archive)


def _start_button(label: str, kind: str, interactive: bool = True) -> gr.Button:
    return gr.Button(label, variant="primary", size="lg", elem_id=kind, interactive=interactive)


def _settings_section(actions: Actions) -> dict[str, Component]:
    """The model and every render option, by name."""
    gr.Markdown("## 3. How far it moves")
    sliders = controls.build_sliders()
    with gr.Accordion("Options", open=False, elem_id="options"):
        names = actions.models.names
        info = "the networks that draw; a change loads them first"
        model = gr.Dropdown(names, value=names[0], label="model", info=info)
        settings = {"model": model, **sliders, **controls.build_widgets()}
        reset = gr.Button("Reset", size="sm", elem_id="reset")
        widgets = [model, *(settings[name] for name in controls.NAMES)]
        reset.click(actions.reset_settings, None, widgets, queue=False, api_name="reset")
    return settings


def _connect(kind: str, action: Callable, inputs: dict, button: gr.Button, outputs: list, cancel: gr.Button) -> None:
    """Connect a button on the page, and an endpoint of the same name for programs, whose errors are exceptions."""
    quiet: dict[str, Any] = {
        "preprocess": False,
        "postprocess": False,
        "show_progress": "hidden",
        "concurrency_limit": None,
    }
    names, widgets = list(inputs), list(inputs.values())
    button.click(
        as_button_handler(action, names),
        widgets,
        [*outputs, button, cancel],
        js=SCROLL_TO_RESULT,
        api_visibility="private",
        **quiet,
    )
    gr.Button(visible=False).click(as_endpoint(action, names), widgets, outputs, api_name=kind, **quiet)
