"""What a visitor can try with one click: portraits by name, whole examples, and the sample that plays at the start.

NOTICE names the sources of the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio_client import handle_file

from .actions import Actions
from .document import EXAMPLE_ORIGIN
from .example_files import FOLDER, ROUTE
from .inputs import SKIP, file_data

SAMPLE = "sample.mp4"
SPOKEN = ("say", "dub")  # kinds of examples with a text
POSTER = "sample.webp"  # its first frame
SPEECH = "speech.flac"
DRIVING = "driving.mp4"
PORTRAITS = {  # name of the file -> what is seen
    "portrait": "Woman with dark wavy hair",
    "man": "Man in a light shirt",
    "woman": "Woman with short hair",
    "elder": "Elderly woman",
    "pair": "Two people",
}
# A click on a card passes what it names to Python.
ON_TAKE_CLICK = (
    "element.addEventListener('click', e => { const b = e.target.closest('[data-take]'); "
    "if (b) trigger('take', {name: b.dataset.take}); })"
)


@dataclass(frozen=True)
class Example:
    """A portrait with what moves it, or a video with what is said in it. kind: the tab (speak, say, dub or drive);
    portrait: for a dub, only on the card; value: a file here, or a text."""

    title: str
    detail: str
    portrait: str
    kind: str
    value: str
    voice: str = ""


EXAMPLES = {
    "english": Example("A recording", "English", "portrait", "speak", SPEECH),
    "german": Example("A text", "German", "man", "say", "Guten Tag! Ich bin ein Bild, und doch rede ich.", "de"),
    "chinese": Example("A text", "Mandarin", "man", "say", "你好，我是一张会说话的照片。", "cmn"),
    "video": Example("A driving video", "Her face, his moves", "woman", "drive", DRIVING),
    "dub": Example("A dub", "Now in Spanish", "man", "dub", "Antes hablaba inglés. Ahora hablo español.", "es"),
    "two": Example("Two people", "French, one speaks", "pair", "say", "Bonjour ! Lequel de nous deux parle ?", "fr-fr"),
}


def portrait_file(name: str) -> str:
    """The file name of an example portrait."""
    return f"{name}.webp"


def portrait_buttons() -> str:
    """The example portraits as buttons, each with its name."""
    buttons = []
    for name, words in PORTRAITS.items():
        file, width = _address(portrait_file(name)), 112 if name == "pair" else 56
        picture = f"<img src='{file}' alt='{escape(words)}' width='{width}' height='56' loading='lazy'>"
        button = f"<button type='button' class='face-button' data-take='portrait:{name}' title='{escape(words)}'>"
        buttons.append(f"{button}{picture}</button>")
    words = "<em>Or take one of these:</em>"
    return f"<div class='faces' role='group' aria-label='Example portraits'>{words}{''.join(buttons)}</div>"


def example_cards(can_speak_text: bool) -> str:
    """The whole examples as cards; those with a text only where texts can be spoken."""
    cards = "".join(
        f"<button type='button' class='example' data-take='example:{name}'>"
        f"<img src='{_address(portrait_file(example.portrait))}' alt='' width='48' height='48'>"
        f"<span><b>{escape(example.title)}</b><small>{escape(example.detail)}</small></span></button>"
        for name, example in EXAMPLES.items()
        if can_speak_text or example.kind not in SPOKEN
    )
    words = "<p class='limits'>Try an example: a click fills everything in.</p>"
    return f"{words}<div class='examples' role='group' aria-label='Examples'>{cards}</div>"


def sample_player() -> str:
    """The finished sample: it plays without sound, again and again, until the visitor asks for sound or stops it."""
    return (
        f"<figure class='sample'><video src='{_address(SAMPLE)}' poster='{_address(POSTER)}' width='512' height='512' "
        "muted autoplay loop playsinline controls aria-label='A sample: an example portrait speaks'></video>"
        "<figcaption><b>A sample</b>, made here from one picture and five seconds of speech. Turn the sound on in the "
        "player. Your video will appear in its place.</figcaption></figure>"
    )


def _address(name: str) -> str:
    return escape(quote(f"{ROUTE.lstrip('/')}{name}"))


def put_into_samples(widgets: dict[str, Any]) -> None:
    """Make the API panel's samples name our examples, which this server takes, in place of files of Gradio's own."""
    files = {"portrait": portrait_file("portrait")}
    files |= {"recording": SPEECH, "dub_recording": SPEECH}
    files |= dict.fromkeys(("driving", "clip", "film", "performance"), DRIVING)
    for name, file in files.items():
        put_into_sample(widgets[name], file)
    several = [handle_file(f"{EXAMPLE_ORIGIN}{ROUTE}{file}") for file in (SPEECH, SAMPLE)]
    widgets["recordings"].example_payload = lambda: several
    for name in ("text", "dub_text"):
        widgets[name].example_payload = lambda: "Hello. I say what you write."


def put_into_sample(widget: Any, file: str) -> None:
    """Make the API panel's samples give an example file, by its address on this server, for a widget."""
    widget.example_payload = lambda: handle_file(f"{EXAMPLE_ORIGIN}{ROUTE}{file}")


def taken(example: Example, folder: Path) -> dict[str, Any]:
    """What the widgets show after a click on an example, by name. folder: of the files, where visitors may read."""
    if example.kind == "dub":
        film = file_data(folder / DRIVING)
        said = {"dub_recording": None, "performance": None, "dub_text": example.value, "dub_voice": example.voice}
        return {"film": film, **said}
    shown: dict[str, Any] = {"portrait": file_data(folder / portrait_file(example.portrait))}
    if example.kind == "say":
        return {**shown, "text": example.value, "voice": example.voice}
    source = file_data(folder / example.value)
    return shown | ({"recording": source, "recordings": None} if example.kind == "speak" else {"driving": source})


def connect(cards: gr.HTML, actions: Actions, widgets: dict[str, Any], tabs: gr.Tabs) -> None:
    """Fill the page with what a visitor clicked: a portrait (portrait:NAME) or a whole example (example:NAME)."""
    names = ("portrait", "recording", "recordings", "text", "voice", "driving", "film", "dub_recording", "dub_text")
    names += ("dub_voice", "performance")

    def take(event: gr.EventData, request: gr.Request) -> list:
        kind, _, name = str(event.name).partition(":")
        folder = actions.sessions.root / FOLDER.name
        if kind == "portrait" and name in PORTRAITS:
            return [file_data(folder / portrait_file(name)), *[SKIP] * len(names)]
        if name not in EXAMPLES:
            return [SKIP] * (len(names) + 1)
        example = EXAMPLES[name]
        actions.remember(request, {"tab": example.kind})
        shown = taken(example, folder)
        return [*(shown.get(name, SKIP) for name in names), gr.update(selected=example.kind)]

    outputs = [*(widgets[name] for name in names), tabs]
    cards.take(take, None, outputs, queue=False, postprocess=False, show_progress="hidden", api_visibility="private")
