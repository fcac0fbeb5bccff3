"""Which action each widget of the page calls, and the scripts that run in the browser."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from . import controls
from .actions import Actions, View
from .inputs import SKIP

# The boxes over the picture are plain HTML; this script passes their clicks to Python.
ON_FACE_CLICK = (
    "element.addEventListener('click', e => { const f = e.target.closest('[data-face]'); "
    "if (f) trigger('choose', {face: f.dataset.face}); })"
)
# Gradio tells wrong types by lists of MIME types, takes no video for a recording and one file at a time: this looks at
# files before it.
CHECK_FILES = """
const takes = {
  portrait: "image", recording: "audio", "dub-recording": "audio", driving: "video", clip: "video", film: "video",
  performance: "video",
};
const boxes = Object.keys(takes).map(id => `#${id}`).join();
const tell = (words, kind) => {
  const note = document.createElement("p");
  note.className = `note ${kind}`;
  note.textContent = words;
  note.setAttribute("role", "status");
  element.replaceChildren(...(words ? [note] : []));
};
const takeSeveral = async files => {
  const taken = [], refused = [];
  for (const [number, file] of files.entries()) {
    tell(`Uploading ${number + 1} of ${files.length}`, "");
    try { taken.push({path: (await upload(file)).path, orig_name: file.name}); } catch { refused.push(file.name); }
  }
  tell(refused.length ? `Not uploaded, perhaps too large: ${refused.join(", ")}` : "", "bad");
  if (taken.length) trigger("several", {files: taken});
};
const check = async (event, files) => {
  const box = event.target.closest?.(boxes), widget = box?.id.replace("-", "_");
  const file = files?.[0], type = file?.type.split("/")[0];
  const several = box?.id === "recording" && (files?.length > 1 || /\\.zip$/i.test(file?.name ?? ""));
  if (!box || !file || (type === takes[box.id] && !several)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (several) return takeSeveral([...files]);
  if (takes[box.id] === "audio" && type === "video") {
    try {
      trigger("sound", {widget, file: {path: (await upload(file)).path}});
      return;
    } catch (error) { console.debug(error); }
  }
  trigger("refuse", {widget, name: file.name});
};
document.addEventListener("drop", event => check(event, event.dataTransfer?.files), true);
document.addEventListener("change", event => event.target.type === "file" && check(event, event.target.files), true);
document.addEventListener("error", event => {  // what this browser cannot play can be used; the note tells the rest
  if (event.target.tagName === "VIDEO" && event.target.closest(boxes)) event.stopImmediatePropagation();
}, true);
document.addEventListener("click", event => {
  const box = event.target.closest?.("#recording, #dub-recording"), input = box?.querySelector("input[type=file]");
  if (!input) return;
  const several = box.id === "recording";
  Object.assign(input, {accept: `audio/*,video/*${several ? ",.zip" : ""}`, multiple: several});
}, true);
"""
SCROLL_TO_RESULT = (  # returns the inputs, which go on to Python
    "(...inputs) => { document.querySelector('#status .idle')?.classList.remove('idle'); "  # where it is on a phone
    "const r = document.querySelector('#result'); const top = r.getBoundingClientRect().top; "
    "if (top < 0 || top > window.innerHeight / 2) r.scrollIntoView({behavior: 'smooth'}); return inputs }"
)
STREAMED: dict[str, Any] = {
    "preprocess": False,
    "postprocess": False,
    "show_progress": "hidden",
    "concurrency_limit": None,
}
TAB_IDS = {
    "Recording": "speak",
    "Text": "say",
    "Dub": "dub",
    "Drive": "drive",
    "Idle": "idle",
    "Inspect": "inspect",
    "Live": "live",
}
SUMMARIES = {  # kinds of work; for programs
    "speak": "Make the portrait speak a recording.",
    "batch": "Make the portrait speak several recordings, files or ZIPs of them: a video of each, all in a ZIP.",
    "say": "Make the portrait speak a text.",
    "dub": "Let people in a video say other words: a recording, a text, or like a performance, a video whose face "
    "is followed. start and stop: in seconds.",
    "drive": "Make the portrait move like the face in a video.",
    "idle": "Let the portrait wait and listen, without speech.",
    "inspect": "Report what the motion encoder sees in the portrait, or in a clip if one is given.",
}


API_NAMES = {"film": "video", **{f"dub_{name}": name for name in ("recording", "text", "voice", "face")}}
REQUIRED = {  # without a default, so that the samples of the API panel give them
    "speak": ("portrait", "recording"),
    "batch": ("portrait", "recordings"),
    "say": ("portrait", "text"),
    "dub": ("film", "dub_recording"),
    "drive": ("portrait", "driving"),
    "idle": ("portrait", "seconds"),
    "inspect": ("portrait",),
}
ALL_DEFAULTS = {**controls.DEFAULTS, **controls.DUB_DEFAULTS}  # of parameters that are options
OUTPUTS = {  # of the API, where they are not video, facts, status and gallery
    "batch": ("archive", "facts", "status", "shelf"),
    "inspect": ("archive", "facts", "status", "report"),
}


class Desk(NamedTuple):
    """The right half of the page, and the start buttons."""

    status: gr.HTML
    video: gr.Video
    player: gr.HTML
    source: gr.HTML
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

    def show(self, action: Callable[..., AsyncIterator[View]], of_event: bool = False) -> Callable:
        """Turn an action that yields views into an event's function that yields values of `widgets`.

        of_event: the action takes the event's data before the request.
        """
        enabled = [button.interactive for button in self.buttons.values()]

        async def call(event: gr.EventData, request: gr.Request, *values: object) -> AsyncIterator[list]:
            async for view in action(event, request, *values) if of_event else action(request, *values):
                changes = [SKIP] * (1 + len(enabled))
                if view.busy is not None:
                    interactive = [able and not view.busy for able in enabled]
                    # The style sheet hides a disabled Cancel; a quick change of `visible` can get lost.
                    changes = [gr.update(interactive=view.busy), *(gr.update(interactive=able) for able in interactive)]
                yield [*view[:-1], *changes]

        call.__annotations__ = {"event": gr.EventData, "request": gr.Request}
        return call


def connect(kind: str, actions: Actions, inputs: dict[str, Component], desk: Desk) -> None:
    """Connect a button on the page, and an endpoint of the same name for programs, whose errors are exceptions."""
    names, widgets = list(inputs), list(inputs.values())

    def run_on_page(request: gr.Request, *values: object) -> AsyncIterator[View]:
        return actions.run_on_page(kind, dict(zip(names, values, strict=True)), request)

    desk.buttons[kind].click(
        desk.show(run_on_page), widgets, desk.widgets, js=SCROLL_TO_RESULT, api_visibility="private", **STREAMED
    )
    outputs = [*OUTPUTS.get(kind, ("video", "facts", "status", "shelf"))]

    async def run_for_program(request: gr.Request, *values: object) -> AsyncIterator[list]:
        async for view in actions.run_for_program(kind, dict(zip(names, values, strict=True)), request):
            yield [getattr(view, output) for output in outputs]

    describe_call(run_for_program, names, REQUIRED[kind], SUMMARIES[kind])
    shown = [getattr(desk, output) for output in outputs]
    gr.Button(visible=False).click(run_for_program, widgets, shown, api_name=kind, **STREAMED)


def describe_call(call: Callable, names: list[str], required: Sequence[str], summary: str) -> None:
    """Give a function of (request, *values) the parameters that Gradio reads for the API, and its docstring.

    names: of the widgets; API_NAMES has the parameters that are named otherwise.
    """
    parameter = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("request", parameter, annotation=gr.Request)]
    for name in names:
        parameter_name = API_NAMES.get(name, name)
        default = inspect.Parameter.empty if name in required else ALL_DEFAULTS.get(parameter_name)
        parameters += [inspect.Parameter(parameter_name, parameter, default=default)]
    vars(call)["__signature__"] = inspect.Signature(parameters)
    call.__annotations__, call.__doc__ = {"request": gr.Request}, summary


def connect_results(actions: Actions, widgets: dict[str, Any], tabs: gr.Tabs, desk: Desk) -> None:
    """Connect the buttons of results, in the gallery and below the player: inputs again, and another take."""
    names = list(widgets)

    def again(event: gr.EventData, request: gr.Request) -> list:
        values = actions.inputs_of(event.number, request)
        tab = gr.update(selected=values["tab"]) if values else SKIP
        return [*(values.get(name, SKIP) for name in names), tab]

    async def take(event: gr.EventData, request: gr.Request) -> AsyncIterator[View]:
        async for view in actions.take_again(event.number, request):
            yield view

    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    for buttons in (desk.shelf, desk.player):
        buttons.again(again, None, [*widgets.values(), tabs], postprocess=False, **quiet)
        buttons.take(
            desk.show(take, of_event=True),
            None,
            desk.widgets,
            js=SCROLL_TO_RESULT,
            api_visibility="private",
            **STREAMED,
        )


def keep_inputs(page: gr.Blocks, actions: Actions, widgets: dict[str, Any], tabs: gr.Tabs) -> None:
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


def connect_checks(actions: Actions, widgets: dict[str, Any], notes: dict[str, gr.HTML], checker: gr.HTML) -> None:
    """Tell at once what is wrong with a file, in the note below the widget that it was given to.

    checker: runs CHECK_FILES.
    """
    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
    heard = ("recording", "dub_recording")
    for name in heard:
        widgets[name].change(actions.check_recording, widgets[name], notes[name], **quiet)
    widgets["recordings"].change(actions.check_recordings, widgets["recordings"], notes["recordings"], **quiet)
    for name in ("driving", "clip", "performance"):
        widgets[name].change(actions.check_driving, widgets[name], notes[name], **quiet)

    def take_sound(event: gr.EventData, request: gr.Request) -> list:
        sound, note = actions.take_sound(event.file["path"], request)
        return [value if name == event.widget else SKIP for value in (sound, note) for name in heard]

    def refuse(event: gr.EventData) -> list:
        return [actions.refuse_type(name, event.name) if name == event.widget else SKIP for name in notes]

    def take_several(event: gr.EventData, request: gr.Request) -> list:
        return actions.take_several(event.files, request)

    quiet |= {"postprocess": False}
    checker.sound(take_sound, None, [*(widgets[name] for name in heard), *(notes[name] for name in heard)], **quiet)
    checker.several(take_several, None, [widgets["recordings"], widgets["recording"]], queue=False, **quiet)
    checker.refuse(refuse, None, list(notes.values()), queue=False, **quiet)


def connect_people(actions: Actions, widgets: dict[str, Any], people: gr.HTML, advice: gr.HTML) -> None:
    """Show who is in a video to dub whenever it, or where it begins, changes; a click on a face chooses who speaks."""
    film, start, face = (widgets[name] for name in ("film", "start", "dub_face"))
    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
    outputs = [people, advice, face]
    changes = [film.change, start.change, face.input]
    gr.on(changes, actions.find_people, [film, start, face], outputs, trigger_mode="always_last", **quiet)

    def choose(film: object, start: object, event: gr.EventData, request: gr.Request):
        return actions.find_people(film, start, event.face, request)

    people.choose(choose, [film, start], outputs, **quiet)
