"""What comes before a video is made: a still that follows the sliders, the spoken text, the time that it will take."""

from __future__ import annotations

import asyncio

import gradio as gr

from anitalker.config import InputError
from anitalker.media.text_to_speech import speak

from . import components, controls, limits
from .inputs import SKIP, Inputs, file_data
from .jobs import JobQueue
from .models import Models
from .sessions import SessionStore
from .stills import Stills, seconds_of
from .voices import Voices

STILL_OPTIONS = (*controls.SLIDERS, *controls.POSE, "still", "label")  # that change a still


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
            options = controls.parse_options(shown)
        except InputError:
            return SKIP if values.get("portrait") else components.still("")
        shown["portrait"] = file
        changed = [name for name, value in shown.items() if session.still.get(name) != value]
        moment = changed[0] if len(changed) == 1 else "rest"  # of what is no slider, stills show the portrait at rest
        session.still = shown
        model = values.get("model") or None
        try:
            address = await asyncio.wrap_future(self.stills.draw(session.id, file, options, moment, model))
        except InputError:  # the note below the portrait says what is wrong with it, or this model has no stills
            return ""
        return components.still(address, moment)

    async def estimate(self, values: dict, request: gr.Request) -> dict[str, str]:
        """Estimate how long each kind of video will take. Returns HTML by kind, empty while an input is missing."""
        session, told = self._session(request), {}
        for kind, name in (("speak", "recording"), ("say", "text"), ("drive", "driving")):
            told[kind] = ""
            value = values.get(name)
            if not value or not values.get("portrait"):
                continue
            try:
                file = None if kind == "say" else self._visitor_file(value, session, name)
                portrait = self._portrait(values["portrait"], session)
                options = controls.parse_options({name: values.get(name) for name in ("size", "frame", "face")})
                length = await asyncio.to_thread(seconds_of, kind, file, str(value))
                driven, model = kind == "drive", values.get("model") or None
                work_left = self.stills.estimate(session.id, portrait, length, options, driven, model)
                seconds = await asyncio.wrap_future(work_left)
            except InputError:  # told below the input, or at the start
                continue
            told[kind] = components.estimated(seconds, self.jobs.count)
        return told
