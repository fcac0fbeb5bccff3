"""What comes before a video is made: a still that follows the sliders, the spoken text, the time that it will take."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from anitalker.config import InputError
from anitalker.media.text_to_speech import speak
from anitalker.media.video import probe
from anitalker.provenance.synthetic_sound import mark_speech_file
from anitalker.server import limits
from anitalker.server.job_queue import JobQueue
from anitalker.server.voices import Voices

from . import backgrounds, components, controls, expressions
from .inputs import SKIP, Inputs, dub_options, file_data, portrait_name
from .models import Models
from .sessions import Session, SessionStore
from .stills import STRENGTHS, Stills, spoken_seconds

ESTIMATED = {  # kinds of work whose time is told before the start -> the inputs that tell how long a video gets
    "speak": ("recording",),
    "batch": ("recordings",),
    "say": ("text",),
    "dub": ("dub_recording", "dub_text", "performance"),
    "drive": ("driving",),
}
# That change a still, and a saved one.
STILL_OPTIONS = (*controls.SLIDERS, *controls.POSE, *expressions.FIELDS, "gaze", "still", "label")
SAVED_OPTIONS = (*STILL_OPTIONS, "face", "frame", "size", "enhance")
MOMENTS = ("rest", *STRENGTHS)


class Previews(Inputs):
    """Draws stills, speaks texts and estimates times for the inputs of visitors."""

    def __init__(self, models: Models, sessions: SessionStore, jobs: JobQueue, voices: Voices | None = None) -> None:
        super().__init__(models, sessions)
        self.jobs, self.stills, self.voices = jobs, Stills(models), voices or Voices()

    def listen(self, text: object, voice: object, request: gr.Request) -> tuple:
        """Speak a text. Returns the player's new value and who speaks, or what is wrong."""
        output = self._session(request).upload_folder() / "speech.wav"
        try:
            facts = speak(limits.check_text(text, self.limits), output, self.voices.resolve(voice))
            mark_speech_file(output)
        except InputError as error:
            return gr.update(value=None, visible=False), self._refusal(error)
        words = f"{facts['seconds']:.1f} s. Voice: {self.voices.name_of(facts['voice'])}."
        return gr.update(value=file_data(output), visible=True), components.message(words, "good")

    async def draw_still(self, values: dict, request: gr.Request) -> object:
        """Draw what the sliders and the pose do to the portrait. Returns HTML; SKIP for a value that is being typed.

        If a slider is what has changed since the last still, it shows lips, head or lids at their furthest, else rest.
        """
        session = self._session(request)
        try:
            file = self._portrait(values.get("portrait"), session)
            shown = {name: values.get(name) for name in (*STILL_OPTIONS, "face")}
            options = replace(controls.parse_options(shown), background=self._background(values, session))
        except InputError:
            return SKIP if values.get("portrait") else components.still("")
        shown |= {"portrait": file, "background": options.background}
        changed = [name for name, value in shown.items() if session.still.get(name) != value]
        moment = changed[0] if len(changed) == 1 and changed[0] in STRENGTHS else MOMENTS[0]
        session.still, session.moment = shown, moment
        model = values.get("model") or None
        try:
            address = await asyncio.wrap_future(self.stills.draw(session.id, file, options, moment, model))
        except InputError:  # the note below the portrait says what is wrong with it, or this model has no stills
            return ""
        return components.still(address, moment)

    async def save_still(self, values: dict, request: gr.Request, moment: str | None = None) -> tuple[Path, str]:
        """Draw a still at the size of the video, as a PNG with the same marks. Returns the file and a line about it.

        moment: of `stills.STRENGTHS` or rest; None for that of the last still. Raises InputError.
        """
        session = self._session(request)
        file = self._portrait(values.get("portrait"), session)
        options = controls.parse_options({name: values.get(name) for name in SAVED_OPTIONS})
        options = replace(options, background=self._background(values, session))
        moment = session.moment if moment is None else moment
        if moment not in MOMENTS:
            raise InputError(f"moment is {str(moment)[:20]!r}; allowed are {', '.join(MOMENTS)}")
        output = session.still_file(portrait_name(values, "still"))
        drawing = self.stills.save(file, options, moment, values.get("model") or None, output)
        height, width = await asyncio.wrap_future(drawing)
        return output, f"{width}x{height}"

    async def save_still_on_page(self, values: dict, request: gr.Request) -> str:
        """Draw the still that is shown at the size of the video. Returns a link to it, or what is wrong."""
        try:
            output, words = await self.save_still(values, request)
        except Exception as error:
            return components.message(components.sentence(self.message_for(error)), "bad")
        return components.saved_still(output, words)

    def _background(self, values: dict, session: Session) -> str:
        """What shall be behind the portrait. Raises InputError."""
        return backgrounds.chosen(values, lambda file: self._visitor_file(file, session, "background"))

    def _seconds(self, name: str, value: Any, session: Session) -> float:
        """How long an input of that name is. Raises InputError for a file that cannot be read."""
        if name == "recordings":
            return sum(recording.seconds for recording in self._recordings({"recordings": value}, session))
        if name in ("text", "dub_text"):
            return spoken_seconds(value)
        return probe(self._visitor_file(value, session, name)).seconds or 0.0

    async def estimate(self, values: dict, request: gr.Request) -> dict[str, str]:
        """Estimate how long each kind of video will take. Returns HTML by kind, empty while an input is missing."""
        session, told = self._session(request), {}
        for kind, names in ESTIMATED.items():
            told[kind] = ""
            name = next((name for name in names if values.get(name)), None)
            if name is None or not values.get("film" if kind == "dub" else "portrait"):
                continue
            try:
                length = await asyncio.to_thread(self._seconds, name, values[name], session)
                work_left = await asyncio.to_thread(self._work_seconds, kind, length, values, session)
                seconds = await asyncio.wrap_future(work_left)
            except InputError:  # told below the input, or at the start
                continue
            told[kind] = components.estimated(seconds, self.jobs.count)
        return told

    def _work_seconds(self, kind: str, length: float, values: dict, session: Session) -> Future[float]:
        """Begin to estimate the work for a video, of a speech or driving video of `length` seconds."""
        model = values.get("model") or None
        options = controls.parse_options({name: values.get(name) for name in ("size", "frame", "face")})
        if kind == "dub":
            options = controls.parse_options({"size": values.get("size"), "face": values.get("dub_face")})
            dubbing = dub_options(
                {name: values.get(name) for name in ("fit", "start", "stop", "performance", "follow")}
            )
            film = self._film(values["film"], session)
            return self.stills.estimate_dub(session.id, film, length, options, dubbing, model)
        portrait = self._portrait(values["portrait"], session)
        return self.stills.estimate(session.id, portrait, length, options, kind == "drive", model)
