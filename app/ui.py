"""The layout of the page. No work is done here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from anitalker.motion.idle import MAX_SECONDS

from . import (
    components,
    controls,
    deletion,
    examples,
    listening,
    live_tab,
    masthead,
    outputs,
    player,
    still_panel,
    verification,
)
from .actions import Actions
from .avatar import room as avatar_room
from .events import (
    CHECK_FILES,
    ON_FACE_CLICK,
    STREAMED,
    Desk,
    connect,
    connect_checks,
    connect_people,
    connect_results,
    keep_inputs,
)
from .previews import ESTIMATED

EMPTIED = (gr.Audio, gr.File, gr.Image, gr.Textbox, gr.Video)  # by "Delete my files now"


LABELS = {  # of the start buttons
    "speak": "Speak",
    "batch": "Speak all",
    "say": "Say it",
    "dub": "Dub",
    "drive": "Move like this",
    "idle": "Idle",
    "inspect": "Look inside",
}
NO_INSPECTION = 'Whoever runs it installs the extra: pip install "anitalker[inspect]"'


class Sources(NamedTuple):
    """The tabs and their inputs by parameter name."""

    tabs: gr.Tabs
    inputs: dict[str, dict[str, Component]]  # of each kind of work
    notes: dict[str, gr.HTML]  # below recordings and videos, by the name of the widget: what is wrong with the file
    checker: gr.HTML  # looks at files before Gradio takes them


def build_ui(actions: Actions, can_log_out: bool = False, live: live_tab.LiveFaces | None = None) -> gr.Blocks:
    """Build the page over its actions. can_log_out: whether a password was asked for; live: None where the extra
    `serve` is not installed."""
    voices = actions.voices.choices()
    with gr.Blocks(title="AniTalker", analytics_enabled=False) as page:
        gr.HTML(masthead.header(can_log_out), js_on_load=masthead.ON_LOGOUT, elem_id="masthead", container=False)
        room = avatar_room.build(actions)
        cards = _card_html(examples.example_cards(bool(voices)), "cards")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=7, min_width=320, elem_id="inputs"):
                with gr.Row(elem_id="steps"):
                    with gr.Column(scale=5, min_width=280):
                        with gr.Column(elem_classes=["subject", controls.FOR_PORTRAITS]):
                            portrait, face, advice, faces = _portrait_section(actions)
                            people_row = avatar_room.build_row()
                        with gr.Column(elem_classes=["subject", controls.FOR_DUBS]):
                            film, dub_face, film_advice, people = _film_section(actions)
                    with gr.Column(scale=6, min_width=300):
                        sources = _source_tabs(actions)
                with sources.tabs:
                    live_tab.build(live, portrait, face)
                sources.inputs["dub"] = {"film": film, **sources.inputs["dub"], "dub_face": dub_face}
                settings, stills, reset = _settings_section(actions)
                with gr.Column(elem_id="bar"):
                    estimates = {kind: _estimate(kind) for kind in ESTIMATED}
                    with gr.Row(elem_id="start"):
                        buttons = {kind: _start_button(kind, bool(voices)) for kind in LABELS}
                        cancel = gr.Button("Cancel", interactive=False, variant="stop", size="lg", elem_id="cancel")
            with gr.Column(scale=4, min_width=320, elem_id="result"):
                gr.HTML("<h2>Result</h2>", container=False)
                gr.HTML(examples.sample_player(), elem_id="sample", container=False)
                with gr.Column(elem_id="stage"):
                    source = gr.HTML("", label="Source", elem_id="source")
                    video = gr.Video(
                        label="Video", show_label=False, autoplay=True, interactive=False, elem_id="video", height=440
                    )
                bar = gr.HTML(
                    player.EMPTY,
                    label="Player",
                    html_template=player.TEMPLATE,
                    js_on_load=player.SCRIPT,
                    elem_id="player",
                )
                status = gr.HTML(components.IDLE, label="Status", elem_id="status")
                archive = gr.File(label="All as ZIP", interactive=False, height=80, elem_id="archive")
                facts = gr.JSON(label="Facts", visible=False)
        with gr.Column(elem_id="visit"):
            gr.HTML("<h2>Videos of this visit</h2>", container=False)
            gallery = gr.HTML(
                components.result_gallery([]), label="Gallery", js_on_load=deletion.ON_SHELF_CLICK, elem_id="shelf"
            )
            forget = deletion.forget_button()
        report = gr.HTML("", label="Report", elem_id="report")
        verification.build(actions)
        gr.HTML(masthead.footer(), elem_id="colophon", container=False)
        desk = Desk(status, video, bar, source, facts, gallery, archive, report, cancel, buttons)
        inputs = {"portrait": portrait, "face": face, **settings}
        for_portraits = {name: widget for name, widget in inputs.items() if name not in controls.DUB_NAMES}
        for kind in ("speak", "batch", "say", "drive", "idle"):
            connect(kind, actions, {"portrait": portrait, **sources.inputs[kind], **for_portraits}, desk)
        for_dubs = {name: settings[name] for name in ("model", *controls.DUB_NAMES, *controls.DUBBED)}
        for_dubs |= {"no_marks": settings["no_marks"]} if "no_marks" in settings else {}
        connect("dub", actions, {**sources.inputs["dub"], **for_dubs}, desk)
        connect(
            "inspect", actions, {"portrait": portrait, **sources.inputs["inspect"], "model": settings["model"]}, desk
        )
        cancel.click(actions.cancel, None, None, queue=False, api_name="cancel")

        files = {name: widget for tab in sources.inputs.values() for name, widget in tab.items()}
        notes = {"portrait": advice, "film": film_advice, **sources.notes}
        connect_checks(actions, files, notes, sources.checker)
        connect_people(actions, {**inputs, **files}, people, film_advice)
        keep_inputs(page, actions, {**inputs, **files}, sources.tabs)
        still_panel.connect(actions, {**inputs, **files}, stills, estimates, reset)
        connect_results(actions, {**inputs, **files}, sources.tabs, desk)
        for widget in (cards, faces):
            examples.connect(widget, actions, {"portrait": portrait, **files}, sources.tabs)
        examples.put_into_samples({"portrait": portrait, **files})
        emptied = [portrait, *(widget for widget in files.values() if isinstance(widget, EMPTIED))]
        deletion.connect(actions, desk, forget, emptied)
        avatar_room.connect(page, actions, room, people_row, portrait, advice, forget)
        page.load(desk.show(actions.resume), None, desk.widgets, api_visibility="private", **STREAMED)
    return page.queue(default_concurrency_limit=None, max_size=200)


def _card_html(html: str, elem_id: str) -> gr.HTML:
    """Buttons in HTML whose clicks take an example."""
    return gr.HTML(html, js_on_load=examples.ON_TAKE_CLICK, elem_id=elem_id, container=False)


def _portrait_section(actions: Actions) -> tuple[gr.Image, gr.Radio, gr.HTML, gr.HTML]:
    """The portrait with boxes over its faces, the choice of who speaks, advice, and the example portraits."""
    _step(1, "Portrait")
    gr.HTML(components.input_limits("portrait", actions.limits))
    with gr.Group(elem_id="portrait-box"):
        portrait = gr.Image(
            type="filepath",
            label="Portrait",
            show_label=False,
            sources=["upload", "webcam", "clipboard"],
            height=270,
            elem_id="portrait",
            buttons=[],
        )
        boxes = gr.HTML("", label="Boxes", js_on_load=ON_FACE_CLICK, elem_id="boxes", container=False)
    advice = gr.HTML("", label="Advice", elem_id="advice")
    face = gr.Radio(["largest"], value="largest", label="face", info=controls.help_text("face"), visible=False)
    faces = _card_html(examples.portrait_buttons(), "faces")
    inputs, outputs = [portrait, face], [boxes, advice, face]
    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden"}
    portrait.change(actions.find_faces, inputs, outputs, **quiet, api_name="faces")
    face.input(actions.find_faces, inputs, outputs, **quiet, api_visibility="private")

    def choose(picture: object, event: gr.EventData, request: gr.Request):
        return actions.find_faces(picture, event.face, request)

    boxes.choose(choose, portrait, outputs, **quiet, api_visibility="private")
    return portrait, face, advice, faces


def _film_section(actions: Actions) -> tuple[gr.Video, gr.Radio, gr.HTML, gr.HTML]:
    """The video to dub with the choice of who speaks, advice, and a picture of its people if there are several."""
    _step(1, "Video")
    gr.HTML(components.input_limits("film", actions.limits))
    film = gr.Video(label="Video to dub", show_label=False, sources=["upload", "webcam"], height=270, elem_id="film")
    people = gr.HTML("", label="People", js_on_load=ON_FACE_CLICK, elem_id="people", container=False)
    advice = gr.HTML("", label="Advice", elem_id="film-advice")
    face = gr.Radio(["largest"], value="largest", label="face", info=controls.help_text("face"), visible=False)
    return film, face, advice, people


def _source_tabs(actions: Actions) -> Sources:
    """The ways to move a portrait and the inspection, a tab for each."""
    _step(2, "What moves it", controls.FOR_PORTRAITS)
    _step(2, "What is said", controls.FOR_DUBS)
    inputs: dict = {}
    idle_limit = int(min(actions.limits.media_seconds, MAX_SECONDS))
    with gr.Tabs(elem_id="sources") as tabs:
        with gr.Tab("Recording", id="speak", elem_id="tab-speak"):
            gr.HTML(components.input_limits("recording", actions.limits))
            recording = gr.Audio(
                type="filepath", label="Speech", sources=["upload", "microphone"], buttons=[], elem_id="recording"
            )
            heard = gr.HTML("", elem_id="heard")
            checker = gr.HTML("", js_on_load=CHECK_FILES, elem_id="checker", container=False)
            recordings = gr.File(label="Recordings", file_count="multiple", height=220, elem_id="recordings")
            listed = gr.HTML("", elem_id="listed")
            with gr.Accordion("A second person speaks, too", open=False, elem_id="second"):
                second = gr.Audio(
                    type="filepath", label="Second recording", sources=["upload", "microphone"], buttons=[]
                )
                second_face = gr.Number(
                    2, label="second face", precision=0, minimum=1, info="who speaks it: the number on the picture"
                )
            inputs["batch"] = {"recordings": recordings}
            inputs["speak"] = {"recording": recording, "second_recording": second, "second_face": second_face}
        with gr.Tab("Text", id="say", elem_id="tab-say"):
            gr.HTML(components.input_limits("text", actions.limits))
            text, voice = listening.build(actions, "What the portrait should say")
            inputs["say"] = {"text": text, "voice": voice}
        with gr.Tab("Dub", id="dub", elem_id="tab-dub"):
            gr.HTML("<p class='limits'>People in the video of step 1 say other words. All else stays as filmed.</p>")
            gr.HTML(components.input_limits("single recording", actions.limits))
            dub_recording = gr.Audio(
                type="filepath", label="Speech", sources=["upload", "microphone"], buttons=[], elem_id="dub-recording"
            )
            dub_heard = gr.HTML("", elem_id="dub-heard")
            gr.HTML(components.input_limits("text instead", actions.limits))
            dub_text, dub_voice = listening.build(actions, "What the person should say", "dub-", 2)
            inputs["dub"] = {"dub_recording": dub_recording, "dub_text": dub_text, "dub_voice": dub_voice}
            performance, performance_seen, follow = _performance_section(actions)
            inputs["dub"] |= {"performance": performance, "follow": follow}
        with gr.Tab("Drive", id="drive", elem_id="tab-drive"):
            gr.HTML(components.input_limits("video", actions.limits))
            driving = gr.Video(label="A face that moves", sources=["upload", "webcam"], height=240, elem_id="driving")
            seen = gr.HTML("", elem_id="seen")
            absolute = gr.Checkbox(
                False, label="absolute", info="the video's own poses, not relative to the portrait's own pose"
            )
            inputs["drive"] = {"driving": driving, "absolute": absolute}
        with gr.Tab("Idle", id="idle", elem_id="tab-idle"):
            gr.HTML("<p class='limits'>Nothing moves it: the portrait waits and listens, blinks and looks about.</p>")
            seconds = gr.Slider(
                1, idle_limit, value=min(8, idle_limit), step=1, label="seconds", info="length of the video", buttons=[]
            )
            loop = gr.Checkbox(False, label="loop", info="the end leads over to the beginning", elem_id="option-loop")
            inputs["idle"] = {"seconds": seconds, "loop": loop}
        with gr.Tab("Inspect", id="inspect", elem_id="tab-inspect"):
            gr.HTML(
                "<p class='limits'>What the motion encoder looks at in the portrait, and what each of its "
                "numbers does: a report with pictures, made in a few minutes.</p>"
            )
            if missing := missing_to_inspect():
                gr.HTML(components.message(f"{missing} {NO_INSPECTION}", "warn"))
            with gr.Accordion("Or in a video", open=False):
                gr.HTML(components.input_limits("video", actions.limits))
                clip = gr.Video(label="A face that moves", sources=["upload"], height=200, elem_id="clip")
                clip_seen = gr.HTML("", elem_id="clip-seen")
            inputs["inspect"] = {"clip": clip}
    notes = {
        "recording": heard,
        "dub_recording": dub_heard,
        "recordings": listed,
        "driving": seen,
        "clip": clip_seen,
        "performance": performance_seen,
    }
    return Sources(tabs, inputs, notes, checker)


def _performance_section(actions: Actions) -> tuple[gr.Video, gr.HTML, gr.Radio]:
    """A video whose face the dubbed one follows, what is wrong with it, and how much of the face is followed."""
    gr.HTML(components.input_limits("performance", actions.limits))
    performance = gr.Video(label="A face that speaks", sources=["upload", "webcam"], height=200, elem_id="performance")
    seen = gr.HTML("", elem_id="performance-seen")
    choices = [(words, name) for name, words in components.FOLLOWED.items()]
    follow = gr.Radio(choices, value="expression", label="follow", info="what the face in step 1 takes over")
    return performance, seen, follow


def missing_to_inspect() -> str:
    """The packages that reports need and that are not installed, as the beginning of a sentence; empty if all are."""
    missing = [package for package in ("captum", "matplotlib", "sklearn") if find_spec(package) is None]
    return (
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed on this server." if missing else ""
    )


def _start_button(kind: str, can_speak_text: bool) -> gr.Button:
    """The button of a tab; the style sheet shows that of the open one."""
    able = not ((kind == "say" and not can_speak_text) or (kind == "inspect" and missing_to_inspect()))
    return gr.Button(LABELS[kind], variant="primary", size="lg", elem_id=kind, interactive=able)


def _step(number: int, title: str, shown: str = "") -> None:
    """The heading of a step of the work. shown: class of the tabs that have it."""
    heading = f"<h2 class='step'><span aria-hidden='true'>{number}</span>{title}</h2>"
    gr.HTML(heading, container=False, elem_classes=shown)


def _estimate(kind: str) -> gr.HTML:
    """How long the video will take; the style sheet shows that of the open tab."""
    return gr.HTML("", label="Estimate", elem_id=f"estimate-{kind}", elem_classes="estimates", container=False)


def _settings_section(actions: Actions) -> tuple[dict[str, Component], tuple[gr.HTML, gr.HTML], gr.Button]:
    """The model and every option, by name; the still that shows what they do; the button that resets them."""
    _step(3, "How far it moves")
    with gr.Row(elem_id="motion"):
        still, saved = still_panel.build()
        with gr.Column(elem_id="strengths"):
            sliders = controls.build_sliders()
            with gr.Accordion("Options", open=False, elem_id="options"):
                names = actions.models.names
                info = "the networks that draw; a change loads them first"
                model = gr.Dropdown(names, value=names[0], label="model", info=info)
                settings = {"model": model, **sliders, **controls.build_widgets()}
                settings |= outputs.build(actions.limits.allow_no_marks)
                reset = gr.Button("Reset", size="sm", elem_id="reset")
                widgets = [
                    settings[name] for name in ("model", *controls.NAMES, *controls.DUB_NAMES, *outputs.DEFAULTS)
                ]
                reset.click(actions.reset_settings, None, widgets, queue=False, api_name="reset")
    return settings, (still, saved), reset
