"""The page: what stands where, and which action each widget calls. No work is done here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr

from anitalker.config import InputError
from app import cards, controls
from app.actions import Actions

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
PORTRAITS = ("portrait", "man", "woman", "elder", "pair")
INTRO = (
    "# AniTalker\nOne portrait, and a recording, a text or a video: the portrait speaks. "
    "Use faces and voices of people who agreed. Every video is marked as synthetic."
)
# The boxes over the picture and the cards are plain HTML; these lines hand their clicks to Python.
CHOOSE = (
    "element.addEventListener('click', e => { const f = e.target.closest('[data-face]'); "
    "if (f) trigger('choose', {face: f.dataset.face}); })"
)
AGAIN = (
    "element.addEventListener('click', e => { const b = e.target.closest('[data-again]'); "
    "if (b) trigger('again', {number: Number(b.dataset.again)}); })"
)
SHOW_RESULT = (
    "() => { const r = document.querySelector('#result'); const top = r.getBoundingClientRect().top; "
    "if (top < 0 || top > window.innerHeight / 2) r.scrollIntoView({behavior: 'smooth'}) }"
)
THEME = gr.themes.Soft(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)


def voices() -> list[tuple[str, str]]:
    """What the text can be spoken in: guessed, or a language; nothing where espeak-ng is not installed."""
    from anitalker.media.text_to_speech import voices

    try:
        return [("Guess from the text", ""), *((f"{one.about} ({one.name})", one.name) for one in voices())]
    except InputError:
        return []


def named(action: Callable, names: Sequence[str]) -> Callable:
    """An action over a dictionary -> a function of positional values, whose parameters programs see by name."""

    async def call(request: gr.Request, *values):
        try:
            async for told in action(request, dict(zip(names, values, strict=True))):
                yield told
        except gr.Error as error:  # a message for programs, which passes; a card for people, which stays
            yield None, None, cards.ended(error.message, "failed"), gr.skip()
            raise

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("request", kind, annotation=gr.Request), inspect.Parameter(names[0], kind)]
    parameters += [inspect.Parameter(name, kind, default=controls.DEFAULTS.get(name)) for name in names[1:]]
    call.__signature__ = inspect.Signature(parameters)
    call.__annotations__ = {"request": gr.Request}
    call.__doc__ = action.__doc__
    return call


def build_ui(actions: Actions) -> gr.Blocks:
    """The page over its actions."""
    with gr.Blocks(title="AniTalker", analytics_enabled=False) as page:
        gr.Markdown(INTRO, elem_id="intro")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=5, min_width=320):
                portrait, face = _portrait(actions)
                inputs = _sources()
                settings = _settings(actions)
            with gr.Column(scale=6, min_width=320, elem_id="result"):
                gr.Markdown("## Result")
                status = gr.HTML(cards.IDLE, elem_id="status")
                cancel = gr.Button("Cancel", visible=False, variant="stop", elem_id="cancel")
                video = gr.Video(label="Video", autoplay=True, interactive=False, elem_id="video", height=400)
                facts = gr.JSON(visible=False)
                gr.Markdown("## Videos of this visit")
                shelf = gr.HTML(cards.results([]), js_on_load=AGAIN, elem_id="shelf")
                forget = gr.Button("Delete my files now", size="sm", elem_id="forget")
        report = gr.HTML("", elem_id="report")
        shared = {"portrait": portrait, "face": face, **settings}
        outputs = [video, facts, status, shelf]
        for kind, action in (("speak", actions.speak), ("say", actions.say), ("drive", actions.drive)):
            _wire(kind, action, {**shared, **inputs[kind]}, inputs[f"{kind}_button"], outputs, cancel)
        shown = [inputs["archive"], facts, status, report]
        within = {"portrait": portrait, "clip": inputs["clip"], "model": settings["model"]}
        _wire("inspect", actions.inspect, within, inputs["inspect_button"], shown, cancel)
        cancel.click(actions.cancel, None, None, queue=False, api_name="cancel")
        again = [settings["model"], *(settings[name] for name in controls.NAMES)]

        def apply(event: gr.EventData, request: gr.Request) -> list:
            return actions.again(event.number, request)

        shelf.again(apply, None, again, queue=False, api_visibility="private")
        left = [portrait, video, status, shelf, inputs["archive"], report]
        forget.click(actions.forget, None, left, queue=False, api_name="forget")
        page.load(actions.shown, None, shelf, queue=False, api_visibility="private")
        page.unload(actions.cancel)
    return page.queue(default_concurrency_limit=None, max_size=200)


def _portrait(actions: Actions) -> tuple:
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
        boxes = gr.HTML("", js_on_load=CHOOSE, elem_id="boxes", container=False)
    advice = gr.HTML("", elem_id="advice")
    face = gr.Radio(["largest"], value="largest", label="face", info=controls.info("face"), visible=False)
    gr.Examples(
        [[str(EXAMPLES / f"{name}.webp")] for name in PORTRAITS], [portrait], label="Or take one of these (CC0)"
    )
    shown = [boxes, advice, face]
    portrait.change(actions.faces, [portrait, face], shown, preprocess=False, show_progress="hidden", api_name="faces")
    face.input(
        actions.faces, [portrait, face], shown, preprocess=False, show_progress="hidden", api_visibility="private"
    )

    def choose(picture, event: gr.EventData, request: gr.Request):
        return actions.faces(picture, event.face, request)

    boxes.choose(choose, portrait, shown, preprocess=False, show_progress="hidden", api_visibility="private")
    return portrait, face


def _sources() -> dict:
    """The three ways to move a portrait, and the look inside, each with its button."""
    gr.Markdown("## 2. What moves it")
    made: dict = {}
    with gr.Tabs(elem_id="sources"):
        with gr.Tab("Recording", id="speak"):
            recording = gr.Audio(
                type="filepath", label="Speech", sources=["upload", "microphone"], buttons=[], elem_id="recording"
            )
            gr.Examples([[str(EXAMPLES / "speech.flac")]], [recording], label="Or take this one")
            with gr.Accordion("Or take the sound of a video", open=False):
                clip = gr.Video(label="Video with speech", sources=["upload"], height=200, elem_id="sound-video")
            made["speak"] = {"recording": recording, "video": clip}
            made["speak_button"] = gr.Button("Speak", variant="primary", size="lg", elem_id="speak")
        with gr.Tab("Text", id="say"):
            known = voices()
            text = gr.Textbox(label="Text", lines=4, placeholder="What the portrait shall say", elem_id="text")
            missing = "" if known else 'Needs espeak-ng: pip install "anitalker[voice]"'
            voice = gr.Dropdown(
                known, value="" if known else None, label="voice", info=missing or "language of the text"
            )
            made["say"] = {"text": text, "voice": voice}
            made["say_button"] = gr.Button(
                "Say it", variant="primary", size="lg", elem_id="say", interactive=bool(known)
            )
        with gr.Tab("Driving video", id="drive"):
            driving = gr.Video(label="A face that moves", sources=["upload", "webcam"], height=240, elem_id="driving")
            absolute = gr.Checkbox(
                False, label="absolute", info="the video's own poses, not relative to its first frame"
            )
            made["drive"] = {"driving": driving, "absolute": absolute}
            made["drive_button"] = gr.Button("Move like this", variant="primary", size="lg", elem_id="drive")
        with gr.Tab("Inspect", id="inspect"):
            gr.Markdown(
                "What the motion encoder looks at in the portrait, and what each of its numbers does: a report of "
                "pictures, made in some minutes."
            )
            with gr.Accordion("Or in a video", open=False):
                made["clip"] = gr.Video(label="A face that moves", sources=["upload"], height=200, elem_id="clip")
            made["archive"] = gr.File(label="The report as ZIP", interactive=False, height=80, elem_id="archive")
            made["inspect_button"] = gr.Button("Look inside", variant="primary", size="lg", elem_id="inspect")
    return made


def _settings(actions: Actions) -> dict:
    gr.Markdown("## 3. How far it moves")
    factors = controls.sliders()
    with gr.Accordion("Options", open=False, elem_id="options"):
        names = actions.models.names
        model = gr.Dropdown(names, value=names[0], label="model", info="which networks draw; changing loads them first")
        made = {"model": model, **factors, **controls.widgets()}
        reset = gr.Button("Reset", size="sm", elem_id="reset")
        reset.click(
            actions.reset, None, [model, *(made[name] for name in controls.NAMES)], queue=False, api_name="reset"
        )
    return made


def _wire(kind: str, action: Callable, inputs: dict, button: gr.Button, outputs: list, cancel: gr.Button) -> None:
    """A button's way: show cancel, do the job, hide cancel."""
    at_work = button.click(
        lambda: (gr.update(interactive=False), gr.update(visible=True)),
        None,
        [button, cancel],
        queue=False,
        js=SHOW_RESULT,
        api_visibility="private",
    )
    job = at_work.then(
        named(action, list(inputs)),
        list(inputs.values()),
        outputs,
        preprocess=False,
        postprocess=False,
        show_progress="hidden",
        concurrency_limit=None,
        api_name=kind,
    )
    job.then(
        lambda: (gr.update(interactive=True), gr.update(visible=False)),
        None,
        [button, cancel],
        queue=False,
        api_visibility="private",
    )
