"""The room "My avatar" beside the one where videos are made: its layout, and what its widgets do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import gradio as gr
from gradio_client import handle_file

from ..actions import Actions
from ..document import EXAMPLE_ORIGIN
from ..events import STREAMED
from ..example_files import ROUTE
from ..examples import portrait_file
from ..inputs import SKIP
from . import views
from .actions import AvatarActions, View

MAKE, AVATAR = "make", "avatar"  # the rooms
KEPT = ("tune_files", "tune_agreed", "tune_consent")  # names of the inputs that a reload brings back
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AGREED = "I am this person, or this person has agreed to this avatar"
ON_PERSON_CLICK = """
element.addEventListener("click", async event => {
  const use = event.target.closest("[data-use]"), lost = event.target.closest("[data-drop]");
  if (use) trigger("use", {number: Number(use.dataset.use)});
  if (lost && await askFirst("Delete this avatar? It cannot be brought back, unless you have downloaded it.", "Delete"))
    trigger("drop", {number: Number(lost.dataset.drop)});
});
const together = event => {  // before and after play in step; the one that was started is heard
  const pair = event.target.closest?.(".pair");
  for (const video of pair?.querySelectorAll("video") ?? []) {
    if (video === event.target || event.target.dataset.follows) continue;
    if (event.type === "play") {
      Object.assign(video, {muted: true, currentTime: event.target.currentTime});
      video.dataset.follows = "yes";
      event.target.muted = false;
      video.play().catch(() => {});
    } else {
      video.pause();
      delete video.dataset.follows;
    }
  }
};
for (const name of ["play", "pause", "ended"]) element.addEventListener(name, together, true);
"""
# The portrait's widget takes pictures: a person file that is given to it is caught before it, and what the widgets take
# is told to the file chooser.
ON_PERSON_FILE = """
const isPerson = file => /[.]safetensors$/i.test(file?.name ?? "");
const take = async (event, file) => {
  if (!event.target.closest?.("#portrait") || !isPerson(file)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  trigger("person", {path: (await upload(file)).path, name: file.name});
};
window.addEventListener("drop", event => take(event, event.dataTransfer?.files[0]), true);
window.addEventListener("change", event => event.target.type === "file" && take(event, event.target.files[0]), true);
window.addEventListener("click", event => {
  const portrait = event.target.closest?.("#portrait")?.querySelector("input[type=file]");
  const files = event.target.closest?.("#tune-files")?.querySelector("input[type=file]");
  if (portrait) portrait.accept = "image/*,.heic,.heif,.avif,.safetensors";
  if (files) files.accept = "video/*,image/*,.heic,.heif,.avif,.mkv,.safetensors";
}, true);
"""


class Room(NamedTuple):
    """The widgets of the room, and what it shows elsewhere: rooms are tabs; row: avatars below the portrait."""

    rooms: gr.Tabs
    files: gr.File
    note: gr.HTML
    agreed: gr.Checkbox
    consent: gr.Textbox
    start: gr.Button
    cancel: gr.Button
    status: gr.HTML
    gallery: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """What a visitor gives."""
        return [self.files, self.agreed, self.consent]


def build(actions: Actions) -> Room:
    """Lay out the tabs of the two rooms. That of the videos is empty: the style sheet shows the desk below it."""
    with gr.Tabs(elem_id="rooms") as rooms:
        gr.Tab("Make a video", id=MAKE, elem_id="tab-make")
        with gr.Tab("My avatar", id=AVATAR, elem_id="tab-avatar"), gr.Row(elem_id="studio"):
            with gr.Column(scale=5, min_width=300, elem_id="studio-inputs"):
                gr.HTML(views.how(actions.limits), container=False)
                files = gr.File(
                    label="Video, or photos",
                    show_label=False,
                    file_count="multiple",
                    height=170,
                    elem_id="tune-files",
                )
                note = gr.HTML("", elem_id="tune-note")
                agreed = gr.Checkbox(False, label=AGREED, elem_id="tune-agreed")
                consent = gr.Textbox(
                    label="Who agreed",
                    max_lines=1,
                    placeholder="Ada Lovelace",
                    info="a name; it is stored in the file, and in the credentials of every video made with it",
                    elem_id="tune-consent",
                )
                with gr.Row(elem_id="tune-bar"):
                    start = gr.Button("Make my avatar", variant="primary", size="lg", elem_id="tune")
                    cancel = gr.Button("Cancel", variant="stop", size="lg", interactive=False, elem_id="tune-cancel")
            with gr.Column(scale=6, min_width=300, elem_id="studio-result"):
                status = gr.HTML(views.IDLE, label="Status", elem_id="tune-status")
                gr.HTML("<h2>Avatars of this visit</h2>", container=False)
                gallery = gr.HTML(views.NOTHING, label="Avatars", js_on_load=ON_PERSON_CLICK, elem_id="avatars")
    several = [handle_file(f"{EXAMPLE_ORIGIN}{ROUTE}{portrait_file('portrait')}") for _ in range(2)]
    files.example_payload = lambda: several  # of the API panel's sample
    return Room(rooms, files, note, agreed, consent, start, cancel, status, gallery)


def build_row() -> gr.HTML:
    """Lay out the avatars of the visit where portraits are chosen."""
    return gr.HTML("", label="Your avatars", js_on_load=ON_PERSON_CLICK, elem_id="people-row", container=False)


def connect(
    page: gr.Blocks,
    actions: Actions,
    room: Room,
    row: gr.HTML,
    portrait: gr.Image,
    advice: gr.HTML,
    forget: gr.HTML,
) -> None:
    """Connect the room, and the row of avatars below the portrait. forget: deletes all of the visitor's files."""
    avatars = AvatarActions(actions.models, actions.sessions, actions.jobs)
    shown = [room.status, room.gallery, row, room.start, room.cancel]
    private = {**STREAMED, "api_visibility": "private"}

    def values(view: View) -> list:
        if view.busy is None:
            return [*view[:-1], SKIP, SKIP]
        return [*view[:-1], gr.update(interactive=not view.busy), gr.update(interactive=view.busy)]

    async def run(files: Any, agreed: Any, consent: Any, request: gr.Request) -> AsyncIterator[list]:
        async for view in avatars.run_on_page(files, agreed, consent, request):
            yield values(view)

    room.start.click(run, room.inputs, shown, **private)
    room.cancel.click(avatars.cancel, None, None, queue=False, api_visibility="private")

    async def for_programs(files: Any, consent: Any, request: gr.Request) -> AsyncIterator[list]:
        """Make an avatar of videos, 20 s to 5 minutes in all, or of 2 to 9 photos. consent: who agreed to it."""
        async for outputs in avatars.run_for_program(files, consent, request):
            yield outputs

    file, facts = gr.File(visible=False, label="person file"), gr.JSON(visible=False, label="facts")
    hidden = gr.Button(visible=False)
    hidden.click(for_programs, [room.files, room.consent], [file, facts, room.status], api_name="avatar", **STREAMED)

    def take_files(files: Any, request: gr.Request) -> list:
        left, note, view = avatars.take_files(files, request)
        return [left, note, *values(view)]

    room.files.change(take_files, room.files, [room.files, room.note, *shown], preprocess=False, **QUIET)

    def drop(event: gr.EventData, request: gr.Request) -> list:
        return values(avatars.delete(event.number, request))

    room.gallery.drop(drop, None, shown, postprocess=False, queue=False, **QUIET)

    def use(event: gr.EventData, request: gr.Request) -> list:
        picture = avatars.picture_of(event.number, request)
        there = picture is not SKIP
        return [picture, gr.update(selected=MAKE) if there else SKIP]

    for widget in (room.gallery, row):
        widget.use(use, None, [portrait, room.rooms], postprocess=False, queue=False, **QUIET)
    _connect_portrait(avatars, portrait, advice, shown, values)
    _keep(page, actions, avatars, room, shown, values)

    def empty() -> list:
        return [None, "", False, "", *values(View(views.IDLE, views.NOTHING, "", False))]

    forget.forget(empty, None, [room.files, room.note, room.agreed, room.consent, *shown], queue=False, **QUIET)


def _connect_portrait(avatars: AvatarActions, portrait: gr.Image, advice: gr.HTML, shown: list, values: Any) -> None:
    """Let the portrait's widget take person files."""
    checker = gr.HTML("", js_on_load=ON_PERSON_FILE, elem_id="person-checker", container=False)

    def take(event: gr.EventData, request: gr.Request) -> list:
        picture, note, view = avatars.take_portrait(event.path, event.name, request)
        return [picture, note, *values(view)]

    checker.person(take, None, [portrait, advice, *shown], postprocess=False, queue=False, **QUIET)


def _keep(page: gr.Blocks, actions: Actions, avatars: AvatarActions, room: Room, shown: list, values: Any) -> None:
    """Show inputs, avatars and the job again when the page is loaded again; the room where one is being made."""

    def remember(request: gr.Request, *given: object) -> None:
        actions.remember(request, dict(zip(KEPT, given, strict=True)))

    changes = [widget.change for widget in room.inputs]
    gr.on(changes, remember, room.inputs, None, preprocess=False, trigger_mode="always_last", queue=False, **QUIET)

    def restore(request: gr.Request) -> list:
        kept = actions.restore(request)
        return [
            *(kept.get(name, SKIP) for name in KEPT),
            gr.update(selected=AVATAR) if avatars.works(request) else SKIP,
        ]

    page.load(restore, None, [*room.inputs, room.rooms], postprocess=False, queue=False, **QUIET)

    async def resume(request: gr.Request) -> AsyncIterator[list]:
        async for view in avatars.resume(request):
            yield values(view)

    page.load(resume, None, shown, api_visibility="private", **STREAMED)
