"""The layout of the page. No work is done here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component
from gradio.themes import Soft

from anitalker.config import InputError

from . import components, controls, player
from .actions import Actions
from .events import ON_FACE_CLICK, STREAMED, Desk, connect, connect_checks, connect_results, connect_stills, keep_inputs

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER / "examples"
PORTRAITS = ("portrait", "man", "woman", "elder", "pair")
INTRO = (
    "# AniTalker\nOne portrait, and a recording, a text or a video: the portrait speaks. "
    "Use faces and voices of people who agreed. Every video is marked as synthetic."
)
THEME = Soft(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)


EMPTIED = (gr.Audio, gr.Image, gr.Textbox, gr.Video)  # by "Delete my files now"


class Sources(NamedTuple):
    """The tabs: inputs by parameter name, and the button of each."""

    tabs: gr.Tabs
    inputs: dict[str, dict[str, Component]]  # speak, say, drive, inspect
    buttons: dict[str, gr.Button]
    archive: gr.File
    notes: dict[str, gr.HTML]  # below recording, driving and clip: what is wrong with the file
    estimates: dict[str, gr.HTML]  # speak, say, drive: how long it will take, beside the button


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
                portrait, face, advice = _portrait_section(actions)
                sources = _source_tabs(actions)
                settings, still, reset = _settings_section(actions)
            with gr.Column(scale=6, min_width=320, elem_id="result"):
                gr.Markdown("## Result")
                status = gr.HTML(components.IDLE, elem_id="status")
                cancel = gr.Button("Cancel", interactive=False, variant="stop", elem_id="cancel")
                with gr.Column(elem_id="stage"):
                    source = gr.HTML("", elem_id="source")
                    video = gr.Video(label="Video", autoplay=True, interactive=False, elem_id="video", height=400)
                bar = gr.HTML(player.EMPTY, html_template=player.TEMPLATE, js_on_load=player.SCRIPT, elem_id="player")
                facts = gr.JSON(visible=False)
                gr.Markdown("## Videos of this visit")
                gallery = gr.HTML(components.result_gallery([]), js_on_load=player.ON_CARD_CLICK, elem_id="shelf")
                delete = gr.Button("Delete my files now", size="sm", elem_id="forget")
        report = gr.HTML("", elem_id="report")
        desk = Desk(status, video, bar, source, facts, gallery, sources.archive, report, cancel, sources.buttons)
        inputs = {"portrait": portrait, "face": face, **settings}
        for kind in ("speak", "say", "drive"):
            connect(kind, actions, {**inputs, **sources.inputs[kind]}, desk)
        connect(
            "inspect", actions, {"portrait": portrait, **sources.inputs["inspect"], "model": settings["model"]}, desk
        )
        cancel.click(actions.cancel, None, None, queue=False, api_name="cancel")

        files = {name: widget for tab in sources.inputs.values() for name, widget in tab.items()}
        connect_checks(actions, files, {"portrait": advice, **sources.notes})
        keep_inputs(page, actions, {**inputs, **files}, sources.tabs)
        connect_stills(actions, {**inputs, **files}, still, sources.estimates, reset)
        connect_results(actions, {**inputs, **files}, sources.tabs, desk)
        emptied = [portrait, *(widget for widget in files.values() if isinstance(widget, EMPTIED))]

        def forget(request: gr.Request) -> list:
            actions.delete_files(request)
            nothing = [components.IDLE, None, player.EMPTY, "", components.result_gallery([]), None, ""]
            return [*([None] * len(emptied)), *nothing]

        emptied_outputs = [*emptied, status, video, bar, source, gallery, sources.archive, report]
        delete.click(forget, None, emptied_outputs, queue=False, api_name="forget")
        page.load(desk.show(actions.resume), None, desk.widgets, api_visibility="private", **STREAMED)
    return page.queue(default_concurrency_limit=None, max_size=200)


def _portrait_section(actions: Actions) -> tuple[gr.Image, gr.Radio, gr.HTML]:
    """The portrait with boxes over its faces, the choice of who speaks, and advice."""
    gr.Markdown("## 1. Portrait")
    gr.HTML(components.input_limits("portrait", actions.limits))
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
    return portrait, face, advice


def _source_tabs(actions: Actions) -> Sources:
    """The three ways to move a portrait and the inspection, a tab for each."""
    gr.Markdown("## 2. What moves it")
    inputs: dict = {}
    buttons: dict = {}
    estimates: dict = {}
    with gr.Tabs(elem_id="sources") as tabs:
        with gr.Tab("Recording", id="speak"):
            gr.HTML(components.input_limits("recording", actions.limits))
            recording = gr.Audio(
                type="filepath", label="Speech", sources=["upload", "microphone"], buttons=[], elem_id="recording"
            )
            heard = gr.HTML("", elem_id="heard")
            gr.Examples([[str(EXAMPLES / "speech.flac")]], [recording], label="Or take this one")
            video = gr.Video(visible=False)  # for programs; on the page a video is dropped on the recording
            inputs["speak"] = {"recording": recording, "video": video}
            buttons["speak"], estimates["speak"] = _start_button("Speak", "speak"), _estimate()
        with gr.Tab("Text", id="say"):
            choices = voice_choices()
            gr.HTML(components.input_limits("text", actions.limits))
            text = gr.Textbox(
                label="Text",
                lines=4,
                placeholder="What the portrait should say",
                elem_id="text",
            )
            info = "language of the text" if choices else 'Needs espeak-ng: pip install "anitalker[voice]"'
            voice = gr.Dropdown(choices, value="" if choices else None, label="voice", info=info)
            inputs["say"] = {"text": text, "voice": voice}
            buttons["say"], estimates["say"] = _start_button("Say it", "say", interactive=bool(choices)), _estimate()
        with gr.Tab("Driving video", id="drive"):
            gr.HTML(components.input_limits("video", actions.limits))
            driving = gr.Video(label="A face that moves", sources=["upload", "webcam"], height=240, elem_id="driving")
            seen = gr.HTML("", elem_id="seen")
            absolute = gr.Checkbox(
                False, label="absolute", info="the video's own poses, not relative to its first frame"
            )
            inputs["drive"] = {"driving": driving, "absolute": absolute}
            buttons["drive"], estimates["drive"] = _start_button("Move like this", "drive"), _estimate()
        with gr.Tab("Inspect", id="inspect"):
            gr.Markdown(
                "What the motion encoder looks at in the portrait, and what each of its numbers does: a report with "
                "pictures, made in a few minutes."
            )
            with gr.Accordion("Or in a video", open=False):
                gr.HTML(components.input_limits("video", actions.limits))
                clip = gr.Video(label="A face that moves", sources=["upload"], height=200, elem_id="clip")
                clip_seen = gr.HTML("", elem_id="clip-seen")
            archive = gr.File(label="The report as ZIP", interactive=False, height=80, elem_id="archive")
            inputs["inspect"] = {"clip": clip}
            buttons["inspect"] = _start_button("Look inside", "inspect")
    notes = {"recording": heard, "driving": seen, "clip": clip_seen}
    return Sources(tabs, inputs, buttons, archive, notes, estimates)


def _start_button(label: str, kind: str, interactive: bool = True) -> gr.Button:
    return gr.Button(label, variant="primary", size="lg", elem_id=kind, interactive=interactive)


def _estimate() -> gr.HTML:
    return gr.HTML("", elem_classes="estimates", container=False)


def _settings_section(actions: Actions) -> tuple[dict[str, Component], gr.HTML, gr.Button]:
    """The model and every render option, by name; the still that shows what they do; the button that resets them."""
    gr.Markdown("## 3. How far it moves")
    still = gr.HTML(components.still(""), elem_id="still", container=False)
    sliders = controls.build_sliders()
    with gr.Accordion("Options", open=False, elem_id="options"):
        names = actions.models.names
        info = "the networks that draw; a change loads them first"
        model = gr.Dropdown(names, value=names[0], label="model", info=info)
        settings = {"model": model, **sliders, **controls.build_widgets()}
        reset = gr.Button("Reset", size="sm", elem_id="reset")
        widgets = [model, *(settings[name] for name in controls.NAMES)]
        reset.click(actions.reset_settings, None, widgets, queue=False, api_name="reset")
    return settings, still, reset
