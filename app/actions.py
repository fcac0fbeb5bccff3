"""What the page's buttons do: check, stand in line, render, tell. Widgets are in ui.py; here is no layout.

Values come as the browser sends them (files as {"path": ...}); who asks stands in a header that the guard sets.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.media.text_to_speech import speak, write_wav
from anitalker.media.video import read_audio
from app import cards, controls, limits
from app.guard import HEADER
from app.jobs import Job, Line
from app.models import Models
from app.visits import Report, Result, Visit, Visits

TELL_EVERY = 0.25  # seconds between looks at a job
PREVIEW = 1.0  # seconds of sound
BATCH = 2  # frames at once: a cancel is noticed after each batch, and more are hardly quicker on a processor
log = logging.getLogger(__name__)


def file_data(path: Path) -> dict:
    """A file as Gradio's components send and take it."""
    return {
        "path": str(path),
        "orig_name": path.name,
        "size": path.stat().st_size,
        "meta": {"_type": "gradio.FileData"},
    }


class Actions:
    """The page's verbs over one model in memory, one line of jobs and the visitors' folders."""

    def __init__(self, models: Models, visits: Visits, line: Line) -> None:
        self.models, self.visits, self.line, self.limits = models, visits, line, visits.limits

    def visit(self, request: gr.Request) -> tuple[str, Visit]:
        """Who asks: name and visit."""
        name = request.headers[HEADER.decode()]
        return name, self.visits.visit(name)

    def faces(self, portrait: object, chosen: object, request: gr.Request):
        """A picture -> (faces drawn over it, advice, who may be chosen)."""
        hidden = gr.update(choices=["largest"], value="largest", visible=False)
        if not portrait:
            return "", "", hidden
        try:
            picture, found = self._look(self._file(portrait, self.visit(request)[0], "portrait"))
        except InputError as error:
            return "", cards.note(self._clean(error), "bad"), hidden
        height, width = picture.shape[:2]
        names = ["largest", *map(str, range(len(found))), "all"]
        chosen = chosen if chosen in names else "largest"
        shapes = cards.faces(width, height, found, chosen) if found else ""
        words = [f"face {int(name) + 1}" if name.isdigit() else name for name in names]
        choice = gr.update(choices=list(zip(words, names, strict=True)), value=chosen, visible=len(found) > 1)
        return shapes, cards.advice(found), choice

    async def speak(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """The portrait speaks a recording."""
        name, _ = self.visit(request)
        given = values.get("recording") or values.get("video")
        speech = await self._checked(lambda: self._sound(given, name))
        async for told in self._make("speak", values, request, lambda folder, job: speech):
            yield told

    async def say(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """The portrait speaks a text."""
        text = await self._checked(lambda: limits.check_text(values.get("text"), self.limits))
        language = str(values.get("voice") or "") or None

        def speech(folder: Path, job: Job) -> Path:
            if language and language.endswith(".onnx"):  # a path on the server is nothing that a visitor may name
                raise InputError("voice files are for the command line; choose a language")
            speak(text, folder / "speech.wav", language, job.tell)
            return folder / "speech.wav"

        async for told in self._make("say", values, request, speech):
            yield told

    async def drive(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """The portrait moves like the face in a video."""
        name, _ = self.visit(request)
        clip = await self._checked(lambda: self._clip(values.get("driving"), name))
        async for told in self._make("drive", values, request, lambda folder, job: clip):
            yield told

    async def inspect(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """What the motion encoder sees in the portrait, or in a clip where one is given: (ZIP, facts, status, page)."""
        name, visit = self.visit(request)
        clip = values.get("clip")
        source = await self._checked(
            lambda: self._clip(clip, name) if clip else self._picture(values.get("portrait"), name)
        )
        model = values.get("model") or None

        def work(job: Job) -> Report:
            with visit.workplace() as folder:
                return self._report(job, visit, model, source, Path(folder) / "report")

        async for told in self._do(work, visit, request):
            yield told

    def cancel(self, request: gr.Request) -> None:
        """The job of this tab ends."""
        _, visit = self.visit(request)
        if job := visit.jobs.get(request.session_hash):
            job.cancel()

    def forget(self, request: gr.Request) -> tuple:
        """Everything of this visitor is deleted."""
        self.visits.forget(self.visit(request)[0])
        return None, None, cards.IDLE, cards.results([]), None, ""

    def shown(self, request: gr.Request) -> str:
        """The results of this visit."""
        return cards.results(self.visit(request)[1].results)

    def again(self, number: int, request: gr.Request) -> list:
        """The settings of a result, one per control."""
        for result in self.visit(request)[1].results:
            if result.number == number:
                return [result.facts["model"], *controls.shown(result.settings)]
        return [gr.skip()] * (1 + len(controls.NAMES))

    def reset(self) -> list:
        """The default of every control."""
        return [self.models.names[0], *controls.shown(controls.DEFAULTS)]

    async def _make(self, kind: str, values: dict, request: gr.Request, source: Callable) -> AsyncIterator[tuple]:
        """Stand in line and tell how it goes: (video, facts, status, results) again and again."""
        name, visit = self.visit(request)
        file = await self._checked(lambda: self._picture(values.get("portrait"), name))
        options = await self._checked(lambda: controls.options({key: values.get(key) for key in controls.DEFAULTS}))
        model, absolute = values.get("model") or None, values.get("absolute") is True

        def work(job: Job) -> Result:
            with visit.workplace() as folder:
                return self._render(job, visit, kind, model, file, source(Path(folder), job), options, absolute, folder)

        async for told in self._do(work, visit, request):
            yield told

    async def _do(self, work: Callable, visit: Visit, request: gr.Request) -> AsyncIterator[tuple]:
        """One job of this tab, from its place in line to its end."""
        job = await self._checked(lambda: self.line.submit(work))
        visit.jobs = {key: one for key, one in visit.jobs.items() if not one.ended.is_set()}
        visit.jobs[request.session_hash] = job
        try:
            async for told in self._follow(job, visit):
                yield told
        finally:
            job.cancel()  # nobody listens any more, or it has ended
        if job.error is not None:
            raise self._told(job.error)

    async def _follow(self, job: Job, visit: Visit) -> AsyncIterator[tuple]:
        early, before = False, None
        yield None, None, cards.progress(job, self.line.place(job)), gr.skip()
        while not job.ended.is_set():
            await asyncio.sleep(TELL_EVERY)
            visit.seen = time.monotonic()
            card = cards.progress(job, self.line.place(job))
            if job.early is not None and not early:
                early = True
                yield file_data(job.early), None, card, gr.skip()
            elif card != before:
                yield gr.skip(), gr.skip(), card, gr.skip()
            before = card
        if job.state == "done" and isinstance(job.result, Report):
            made = job.result
            words = f"Done: {made.facts['pictures']} pictures in {made.facts['seconds']:.0f} s. The report is below."
            yield file_data(made.archive), made.facts, cards.ended(words, "done"), cards.report(made)
        elif job.state == "done":
            result = job.result
            facts = {**result.facts, **result.settings}
            status = cards.ended(f"Done: {cards.made(result)}. {controls.in_words(result.settings)}", "done")
            yield file_data(result.file), facts, status, cards.results(visit.results)
        elif job.state == "cancelled":
            yield None, None, cards.ended("Cancelled.", "cancelled"), gr.skip()

    def _render(self, job, visit, kind, model, file, source, options: RenderOptions, absolute, folder) -> Result:
        """A job's work: preview, then the whole; both through the pipeline."""
        began = time.monotonic()
        job.tell("start")
        talker = self.models.get(model)
        talker.model.check(options)
        options = replace(options, batch_size=BATCH)
        portrait = talker.portrait(file, options.face, options.face_backend)
        out = Path(folder) / "whole.mp4"
        job.tell("motion")
        if kind == "drive":
            facts = talker.reenact(portrait, source, out, options, progress=job.tell, relative=not absolute)
        else:
            self._preview(job, talker, portrait, source, options, Path(folder), visit)
            facts = talker.render(portrait, source, out, options, progress=job.tell)
        facts = {key: facts[key] for key in ("frames", "fps", "seconds", "width", "height", "timings", "seed")}
        facts |= {"model": self.models.name, "kind": kind, "work_seconds": time.monotonic() - began}
        return visit.keep(out, kind, controls.settings(options), facts, self.limits.results)

    def _report(self, job: Job, visit: Visit, model: str | None, source: Path, folder: Path) -> Report:
        """A job's work: the report of `anitalker inspect`. A cancel is noticed after each of its sections."""
        from anitalker.inspection.attribution import need

        for package in ("captum", "matplotlib", "sklearn"):
            need(package)
        from anitalker.inspection.tour import inspect

        job.tell("start")
        talker = self.models.get(model)
        job.tell("sections", 0, 1)
        facts = inspect(talker, source, folder, progress=job.tell)
        facts = {key: facts[key] for key in ("kind", "sections", "pictures", "seconds", "groups")}
        return visit.keep_report(folder, facts | {"model": self.models.name})

    def _preview(self, job: Job, talker, portrait, speech: Path, options, folder: Path, visit: Visit) -> None:
        samples = read_audio(speech)
        limits.check_seconds(len(samples) / SAMPLE_RATE, "recording", self.limits)
        if len(samples) <= 2 * PREVIEW * SAMPLE_RATE:
            return  # the whole is as quick
        first, shown = folder / "first.wav", folder / "preview.mp4"
        write_wav(first, (samples[: int(PREVIEW * SAMPLE_RATE)] * 32767).astype("<i2"), SAMPLE_RATE)
        talker.render(
            portrait, first, shown, options, progress=lambda _stage, done, total: job.tell("preview", done, total)
        )
        job.early = shown

    def _look(self, file: Path):
        from anitalker.media.images import read_picture

        limits.check_picture(file, self.limits)
        picture = read_picture(file)
        return picture, self.models.get().finder().find(picture)

    def _file(self, value: object, name: str, what: str) -> Path:
        """The visitor's own file behind a value; InputError if there is none."""
        path = value.get("path") if isinstance(value, dict) else None
        file = self.visits.may_read(name, path) if isinstance(path, str) else None
        if file is None:
            raise InputError(f"there is no {what} yet; give one first")
        return file

    def _picture(self, value: object, name: str) -> Path:
        return limits.check_picture(self._file(value, name, "portrait"), self.limits)

    def _sound(self, value: object, name: str) -> Path:
        return limits.check_media(self._file(value, name, "recording"), self.limits, sound=True)

    def _clip(self, value: object, name: str) -> Path:
        return limits.check_media(self._file(value, name, "driving video"), self.limits, pictures=True)

    async def _checked(self, check: Callable):
        """A check off the event loop; what it refuses becomes a message."""
        try:
            return await asyncio.to_thread(check)
        except InputError as error:
            raise self._told(error) from None

    def _told(self, error: BaseException) -> gr.Error:
        """A message for the visitor: ours in full, a fault of ours as such, with the trace in the log."""
        if isinstance(error, InputError):
            return gr.Error(self._clean(error), print_exception=False)
        log.error("a job failed", exc_info=error)
        return gr.Error("this failed through a fault of ours; the server's log says more", print_exception=False)

    def _clean(self, error: InputError) -> str:
        """Without the server's paths: only names of files."""
        return re.sub(rf"{re.escape(str(self.visits.root))}/[^\s']*/", "", str(error))
