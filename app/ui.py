"""The layout of the page, and which action each widget calls. No work is done here."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component
from gradio.themes import Soft

from anitalker.config import InputError

from . import components, controls
from .actions import SKIP, Actions, View

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


STREAMED: dict[str, Any] = {
    "preprocess": False,
    "postprocess": False,
    "show_progress": "hidden",
    "concurrency_limit": None,
}
EMPTIED = (gr.Audio, gr.Image, gr.Textbox, gr.Video)  # by "Delete my files now"
TAB_IDS = {"Recording": "speak", "Text": "say", "Driving video": "drive", "Inspect": "inspect"}
SUMMARIES = {  # for programs
    "speak": "Make the portrait speak a recording.",
    "say": "Make the portrait speak a text.",
    "drive": "Make the portrait move like the face in a video.",
    "inspect": "Report what the motion encoder sees in the portrait, or in a clip if one is given.",
}


class Desk(NamedTuple):
    """The right half of the page, and the start buttons."""

    status: gr.HTML
    video: gr.Video
    facts: gr.JSON
    shelf: gr.HTML
    archive: gr.File
    report: gr.HTML
    cancel: gr.Button
    buttons: dict[str, gr.Button]

    @property
    def widgets(self) -> list[Component]:
        """What a view is shown in."""
        return [*self[:-1], *self.buttons.values()]

    def show(self, action: Callable[..., AsyncIterator[View]]) -> Callable:
        """Turn an action that yields views into an event's function that yields values of `widgets`."""
        enabled = [button.interactive for button in self.buttons.values()]

        async def call(request: gr.Request, *values: object) -> AsyncIterator[list]:
            async for view in action(request, *values):
                changes = [SKIP] * (1 + len(enabled))
                if view.busy is not None:
                    interactive = [able and not view.busy for able in enabled]
                    changes = [gr.update(visible=view.busy), *(gr.update(interactive=able) for able in interactive)]
                yield [*view[:-1], *changes]

        call.__annotations__ = {"request": gr.Request}
        return call


class Sources(NamedTuple):
    """The tabs: inputs by parameter name, and the button of each."""

    tabs: gr.Tabs
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
        desk = Desk(status, video, facts, gallery, sources.archive, report, cancel, sources.buttons)
        inputs = {"portrait": portrait, "face": face, **settings}
        for kind in ("speak", "say", "drive"):
            _connect(kind, actions, {**inputs, **sources.inputs[kind]}, desk)
        _connect(
            "inspect", actions, {"portrait": portrait, **sources.inputs["inspect"], "model": settings["model"]}, desk
        )
        cancel.click(actions.cancel, None, None, queue=False, api_name="cancel")

        def restore(event: gr.EventData, request: gr.Request) -> list:
            return actions.restore_settings(event.number, request)

        restored = [settings["model"], *(settings[name] for name in controls.NAMES)]
        gallery.again(restore, None, restored, queue=False, api_visibility="private")
        files = {name: widget for tab in sources.inputs.values() for name, widget in tab.items()}
        _keep_inputs(page, actions, {**inputs, **files}, sources.tabs)
        emptied = [portrait, *(widget for widget in files.values() if isinstance(widget, EMPTIED))]

        def forget(request: gr.Request) -> list:
            actions.delete_files(request)
            return [*([None] * len(emptied)), components.IDLE, None, components.result_gallery([]), None, ""]

        emptied_outputs = [*emptied, status, video, gallery, sources.archive, report]
        delete.click(forget, None, emptied_outputs, queue=False, api_name="forget")
        page.load(desk.show(actions.resume), None, desk.widgets, api_visibility="private", **STREAMED)
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
    with gr.Tabs(elem_id="sources") as tabs:
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
    return Sources(tabs, inputs, buttons, archive)


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


def _connect(kind: str, actions: Actions, inputs: dict[str, Component], desk: Desk) -> None:
    """Connect a button on the page, and an endpoint of the same name for programs, whose errors are exceptions."""
    names, widgets = list(inputs), list(inputs.values())

    def run_on_page(request: gr.Request, *values: object) -> AsyncIterator[View]:
        return actions.run_on_page(kind, dict(zip(names, values, strict=True)), request)

    desk.buttons[kind].click(
        desk.show(run_on_page), widgets, desk.widgets, js=SCROLL_TO_RESULT, api_visibility="private", **STREAMED
    )
    outputs = ["archive", "facts", "status", "report"] if kind == "inspect" else ["video", "facts", "status", "shelf"]

    async def run_for_program(request: gr.Request, *values: object) -> AsyncIterator[list]:
        async for view in actions.run_for_program(kind, dict(zip(names, values, strict=True)), request):
            yield [getattr(view, output) for output in outputs]

    parameter = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("request", parameter, annotation=gr.Request)]
    parameters += [inspect.Parameter(names[0], parameter)]
    parameters += [inspect.Parameter(name, parameter, default=controls.DEFAULTS.get(name)) for name in names[1:]]
    vars(run_for_program)["__signature__"] = inspect.Signature(parameters)  # Gradio reads the names from it
    run_for_program.__annotations__ = {"request": gr.Request}
    run_for_program.__doc__ = SUMMARIES[kind]
    shown = [getattr(desk, output) for output in outputs]
    gr.Button(visible=False).click(run_for_program, widgets, shown, api_name=kind, **STREAMED)


def _keep_inputs(page: gr.Blocks, actions: Actions, widgets: dict[str, Component], tabs: gr.Tabs) -> None:
    """Tell the server what the widgets show whenever they change, and show it again when the page is loaded again."""
    names, kept = list(widgets), list(widgets.values())
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def remember(request: gr.Request, *values: object) -> None:
        actions.remember(request, dict(zip(names, values, strict=True)))

    changes = [widget.change for widget in kept]
    gr.on(changes, remember, kept, None, preprocess=False, trigger_mode="always_last", **quiet)

    def remember_tab(event: gr.SelectData, request: gr.Request) -> None:
        actions.remember(request, {"tab": TAB_IDS[event.value]})

    tabs.select(remember_tab, None, None, **quiet)

    def restore(request: gr.Request) -> list:
        values = actions.restore(request)
        tab = gr.update(selected=values["tab"]) if "tab" in values else SKIP
        return [*(values.get(name, SKIP) for name in names), tab]

    page.load(restore, None, [*kept, tabs], postprocess=False, **quiet)
