"""The functions behind the page's widgets: check the input, queue a job, render, report progress. ui.py has the layout.

Values come as the browser sends them (a file is {"path": ...}). The guard has put the session's id into a header.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.media.text_to_speech import speak, write_wav
from anitalker.media.video import read_audio

from . import components, controls, limits
from .guard import SESSION_HEADER
from .jobs import Job, JobQueue
from .models import Models
from .sessions import Report, Result, Session, SessionStore

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

POLL_SECONDS = 0.25  # between two looks at a job
PREVIEW_SECONDS = 1.0  # of speech
BATCH_SIZE = 2  # frames; a cancelled job ends after a batch, and a larger one is hardly faster on a CPU
FACTS = ("frames", "fps", "seconds", "width", "height", "timings", "seed")
REPORT_FACTS = ("kind", "sections", "pictures", "seconds", "groups")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderRequest:
    """A checked request for a video. `source(folder, job)` returns the recording or the driving video."""

    kind: str  # speak, say or drive
    model: str | None
    portrait: Path
    source: Callable[[Path, Job], Path]
    options: RenderOptions
    absolute: bool  # drive: the video's own poses


def file_data(path: Path) -> dict:
    """Describe a file as Gradio's components do."""
    return {
        "path": str(path),
        "orig_name": path.name,
        "size": path.stat().st_size,
        "meta": {"_type": "gradio.FileData"},
    }


class Actions:
    """The page's functions over one model in memory, one job queue and the visitors' sessions."""

    def __init__(self, models: Models, sessions: SessionStore, jobs: JobQueue) -> None:
        self.models, self.sessions, self.jobs, self.limits = models, sessions, jobs, sessions.limits

    def find_faces(self, portrait: object, chosen: object, request: gr.Request):
        """Find the faces of a portrait. Returns boxes to lay over it, advice, and the choice of who speaks."""
        hidden = gr.update(choices=["largest"], value="largest", visible=False)
        if not portrait:
            return "", "", hidden
        try:
            picture, faces = self._detect(self._visitor_file(portrait, self._session(request), "portrait"))
        except InputError as error:
            return "", components.message(str(self._without_paths(error)), "bad"), hidden
        height, width = picture.shape[:2]
        names = ["largest", *map(str, range(len(faces))), "all"]
        selected = chosen if isinstance(chosen, str) and chosen in names else "largest"
        boxes = components.face_boxes(width, height, faces, selected) if faces else ""
        labels = [f"face {int(name) + 1}" if name.isdigit() else name for name in names]
        choice = gr.update(choices=list(zip(labels, names, strict=True)), value=selected, visible=len(faces) > 1)
        return boxes, components.portrait_advice(faces), choice

    async def speak(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """Make the portrait speak a recording."""
        session = self._session(request)
        upload = values.get("recording") or values.get("video")
        recording = await self._checked(lambda: self._recording(upload, session))
        async for outputs in self._make_video("speak", values, request, lambda folder, job: recording):
            yield outputs

    async def say(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """Make the portrait speak a text."""
        text = await self._checked(lambda: limits.check_text(values.get("text"), self.limits))
        language = str(values.get("voice") or "") or None

        def synthesise(folder: Path, job: Job) -> Path:
            if language and language.endswith(".onnx"):  # a visitor may not name files on the server
                raise InputError("voice files are for the command line; choose a language")
            speak(text, folder / "speech.wav", language, job.report)
            return folder / "speech.wav"

        async for outputs in self._make_video("say", values, request, synthesise):
            yield outputs

    async def drive(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """Make the portrait move like the face in a video."""
        session = self._session(request)
        clip = await self._checked(lambda: self._driving_video(values.get("driving"), session))
        async for outputs in self._make_video("drive", values, request, lambda folder, job: clip):
            yield outputs

    async def inspect(self, request: gr.Request, values: dict) -> AsyncIterator[tuple]:
        """Report what the motion encoder sees in the portrait, or in a clip if one is given.

        Yields (ZIP file, facts, status, page).
        """
        session, clip = self._session(request), values.get("clip")
        source = await self._checked(
            lambda: self._driving_video(clip, session) if clip else self._portrait(values.get("portrait"), session)
        )
        model = values.get("model") or None

        def work(job: Job) -> Report:
            with session.job_folder() as folder:
                return self._write_report(job, session, model, source, Path(folder) / "report")

        async for outputs in self._run_job(work, session, request):
            yield outputs

    def cancel(self, request: gr.Request) -> None:
        """Cancel the job of this browser tab."""
        if job := self._session(request).jobs.get(str(request.session_hash)):
            job.cancel()

    def delete_files(self, request: gr.Request) -> tuple:
        """Delete the session with all of its files. Returns the emptied widgets."""
        self.sessions.delete(self._session(request).id)
        return None, None, components.IDLE, components.result_gallery([]), None, ""

    def show_results(self, request: gr.Request) -> str:
        """Return the gallery of this session's videos."""
        return components.result_gallery(self._session(request).results)

    def restore_settings(self, number: int, request: gr.Request) -> list:
        """Return the settings of a result: model, then one value per control."""
        for result in self._session(request).results:
            if result.number == number:
                return [result.facts["model"], *controls.widget_values(result.settings)]
        return [gr.skip()] * (1 + len(controls.NAMES))

    def reset_settings(self) -> list:
        """Return the defaults: model, then one value per control."""
        return [self.models.names[0], *controls.widget_values(controls.DEFAULTS)]

    async def _make_video(
        self, kind: str, values: dict, request: gr.Request, source: Callable[[Path, Job], Path]
    ) -> AsyncIterator[tuple]:
        """Queue a video and yield (video, facts, status, results) as it progresses."""
        session = self._session(request)
        portrait = await self._checked(lambda: self._portrait(values.get("portrait"), session))
        options = await self._checked(
            lambda: controls.parse_options({name: values.get(name) for name in controls.DEFAULTS})
        )
        model, absolute = values.get("model") or None, values.get("absolute") is True
        wanted = RenderRequest(kind, model, portrait, source, options, absolute)

        def work(job: Job) -> Result:
            with session.job_folder() as folder:
                return self._render(job, session, wanted, Path(folder))

        async for outputs in self._run_job(work, session, request):
            yield outputs

    async def _run_job(self, work: Callable[[Job], Any], session: Session, request: gr.Request) -> AsyncIterator[tuple]:
        """Run a job of this tab, from the queue to its end. Raises gr.Error if it fails."""
        job = await self._checked(lambda: self.jobs.submit(work))
        session.jobs = {tab: other for tab, other in session.jobs.items() if not other.ended.is_set()}
        session.jobs[str(request.session_hash)] = job
        try:
            async for outputs in self._follow(job, session):
                yield outputs
        finally:
            job.cancel()  # without effect if it has ended; otherwise the visitor has left
        if job.error is not None:
            raise visitor_error(self._without_paths(job.error) if isinstance(job.error, InputError) else job.error)

    async def _follow(self, job: Job, session: Session) -> AsyncIterator[tuple]:
        """Yield the outputs of a job whenever they change: (file, facts, status, results or report)."""
        preview_shown, shown_status = False, None
        yield None, None, components.job_progress(job, self.jobs.position(job)), gr.skip()
        while not job.ended.is_set():
            await asyncio.sleep(POLL_SECONDS)
            session.last_seen = time.monotonic()
            status = components.job_progress(job, self.jobs.position(job))
            if job.preview is not None and not preview_shown:
                preview_shown = True
                yield file_data(job.preview), None, status, gr.skip()
            elif status != shown_status:
                yield gr.skip(), gr.skip(), status, gr.skip()
            shown_status = status
        if job.state == "cancelled":
            yield None, None, components.job_end("Cancelled.", "cancelled"), gr.skip()
        elif job.state == "done" and isinstance(job.result, Report):
            report = job.result
            text = f"Done: {report.facts['pictures']} pictures in {report.facts['seconds']:.0f} s. The report is below."
            status = components.job_end(text, "done")
            yield file_data(report.archive), report.facts, status, components.report_page(report)
        elif job.state == "done":
            result = job.result
            text = f"Done: {components.finished(result)}. {controls.describe(result.settings)}"
            facts, status = {**result.facts, **result.settings}, components.job_end(text, "done")
            yield file_data(result.file), facts, status, components.result_gallery(session.results)

    def _render(self, job: Job, session: Session, wanted: RenderRequest, folder: Path) -> Result:
        """The work of a video's job: a preview, then the whole."""
        source = wanted.source(folder, job)
        start = time.monotonic()
        job.report("start")
        talker = self.models.get(wanted.model)
        talker.model.check(wanted.options)
        options = replace(wanted.options, batch_size=BATCH_SIZE)
        portrait = talker.portrait(wanted.portrait, options.face, options.face_backend)
        output = folder / "whole.mp4"
        job.report("motion")
        if wanted.kind == "drive":
            facts = talker.reenact(portrait, source, output, options, progress=job.report, relative=not wanted.absolute)
        else:
            self._render_preview(job, talker, portrait, source, options, folder)
            facts = talker.render(portrait, source, output, options, progress=job.report)
        facts = {key: facts[key] for key in FACTS}
        facts |= {"model": self.models.name, "kind": wanted.kind, "work_seconds": time.monotonic() - start}
        return session.add_result(output, wanted.kind, controls.settings_of(options), facts, self.limits.results)

    def _render_preview(
        self, job: Job, talker: Talker, portrait: Any, speech: Path, options: RenderOptions, folder: Path
    ) -> None:
        """Render the first second of a recording and show it. A short recording gets none: the whole is as quick."""
        samples = read_audio(speech)
        limits.check_seconds(len(samples) / SAMPLE_RATE, "recording", self.limits)
        if len(samples) <= 2 * PREVIEW_SECONDS * SAMPLE_RATE:
            return
        opening, output = folder / "first.wav", folder / "preview.mp4"
        write_wav(opening, (samples[: int(PREVIEW_SECONDS * SAMPLE_RATE)] * 32767).astype("<i2"), SAMPLE_RATE)

        def progress(_stage: str, done: int, total: int) -> None:
            job.report("preview", done, total)

        talker.render(portrait, opening, output, options, progress=progress)
        job.preview = output

    def _write_report(self, job: Job, session: Session, model: str | None, source: Path, folder: Path) -> Report:
        """The work of a report's job, as `anitalker inspect` does it. A cancelled job ends after a section."""
        from anitalker.inspection.attribution import import_extra

        for package in ("captum", "matplotlib", "sklearn"):
            import_extra(package)
        from anitalker.inspection.tour import inspect

        job.report("start")
        talker = self.models.get(model)
        job.report("sections", 0, 1)
        facts = inspect(talker, source, folder, progress=job.report)
        return session.set_report(folder, {key: facts[key] for key in REPORT_FACTS} | {"model": self.models.name})

    def _detect(self, file: Path) -> tuple:
        from anitalker.media.images import read_picture

        limits.check_picture(file, self.limits)
        picture = read_picture(file)
        return picture, self.models.get().finder().find(picture)

    def _session(self, request: gr.Request) -> Session:
        """The session of the visitor who sent the request."""
        return self.sessions.get(request.headers[SESSION_HEADER])

    def _visitor_file(self, value: object, session: Session, what: str) -> Path:
        """Return the visitor's own file behind a widget's value. Raises InputError if there is none."""
        path = value.get("path") if isinstance(value, dict) else None
        file = self.sessions.resolve_readable(session.id, path) if isinstance(path, str) else None
        if file is None:
            raise InputError(f"there is no {what} yet; give one first")
        return file

    def _portrait(self, value: object, session: Session) -> Path:
        return limits.check_picture(self._visitor_file(value, session, "portrait"), self.limits)

    def _recording(self, value: object, session: Session) -> Path:
        return limits.check_media(self._visitor_file(value, session, "recording"), self.limits, sound=True)

    def _driving_video(self, value: object, session: Session) -> Path:
        return limits.check_media(self._visitor_file(value, session, "driving video"), self.limits, pictures=True)

    async def _checked(self, check: Callable[[], Any]) -> Any:
        """Run a check on a thread. Its InputError becomes a gr.Error."""
        try:
            return await asyncio.to_thread(check)
        except InputError as error:
            raise visitor_error(self._without_paths(error)) from None

    def _without_paths(self, error: InputError) -> InputError:
        """Put file names in place of the server's paths in an error's message."""
        return InputError(re.sub(rf"{re.escape(str(self.sessions.root))}/[^\s']*/", "", str(error)))


def visitor_error(error: BaseException) -> gr.Error:
    """Turn an exception into a message: an InputError in full, a fault of ours without its trace (see the log)."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, InputError):
        return gr.Error(str(error), print_exception=False)
    log.error("a job failed", exc_info=error)
    return gr.Error("this failed because of a fault of ours; see the server's log", print_exception=False)
