"""The functions behind the page's widgets: check the inputs, queue a job, follow it, restore what was there.

Values come as the browser sends them (a file is {"path": ...}). The guard has put the session's id into a header.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.media.audio_checks import audio_warnings
from anitalker.media.text_to_speech import speak
from anitalker.media.video import mix_audio, read_audio

from . import components, controls, limits, work
from .guard import SESSION_HEADER
from .jobs import Job, JobQueue
from .models import Models
from .sessions import Report, Session, SessionStore

POLL_SECONDS = 0.25  # between two looks at a job
SKIP = gr.skip()
FAULT = "this failed because of a fault of ours; see the server's log"
WANTED = {  # what each widget takes, and what to give
    "portrait": ("picture", "a JPEG, PNG, WebP or AVIF"),
    "recording": ("recording", "a WAV, MP3, M4A, FLAC or Ogg, or a video with sound"),
    "driving": ("video", "an MP4, MOV or WebM"),
}
log = logging.getLogger(__name__)


class View(NamedTuple):
    """What the page shows; what is SKIP stays as it is."""

    status: object = SKIP
    video: object = SKIP
    facts: object = SKIP
    shelf: object = SKIP  # the gallery of this session's videos
    archive: object = SKIP
    report: object = SKIP
    busy: bool | None = None  # whether a job of this tab is on: Cancel in place of the start buttons


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
            return "", self._refusal(error), hidden
        height, width = picture.shape[:2]
        names = ["largest", *map(str, range(len(faces))), "all"]
        selected = chosen if isinstance(chosen, str) and chosen in names else "largest"
        boxes = components.face_boxes(width, height, faces, selected) if faces else ""
        labels = [f"face {int(name) + 1}" if name.isdigit() else name for name in names]
        choice = gr.update(choices=list(zip(labels, names, strict=True)), value=selected, visible=len(faces) > 1)
        index = int(selected) if selected.isdigit() else 0
        check = self._check_face(picture, faces[index]) if faces else None
        return boxes, components.portrait_advice(faces, index, check), choice

    def check_recording(self, recording: object, request: gr.Request) -> str:
        """Return what may be wrong with a recording before anything is made of it."""
        if not recording:
            return ""
        try:
            file = self._recording_file({"recording": recording}, self._session(request))
            samples = read_audio(file, what="recording")
        except InputError as error:
            return self._refusal(error)
        return components.recording_advice(len(samples) / SAMPLE_RATE, audio_warnings(samples))

    def check_driving(self, video: object, request: gr.Request) -> str:
        """Return what may be wrong with a driving video before anything is made of it."""
        try:
            if video:
                self._driving_video(video, self._session(request))
        except InputError as error:
            return self._refusal(error)
        return ""

    def take_sound(self, path: str, request: gr.Request) -> tuple:
        """Take the sound out of an uploaded video. Returns the recording and what may be wrong with it."""
        session = self._session(request)
        try:
            video = self._recording_file({"recording": {"path": path}}, session)
            sound = session.upload_folder() / f"{video.stem}.flac"
            mix_audio([video], sound)
        except InputError as error:
            return SKIP, self._refusal(error)
        return file_data(sound), ""

    def refuse_type(self, widget: str, name: str) -> str:
        """Return that a file is none that a widget takes. `widget` is portrait, recording, driving or clip."""
        kind, remedy = WANTED.get(widget, WANTED["driving"])
        return components.message(f"{name[:80]} is no {kind} that this page takes. Give {remedy}.", "bad")

    async def start(self, kind: str, values: dict, request: gr.Request) -> Job:
        """Check the inputs of speak, say, drive or inspect and queue this tab's job. Raises InputError."""
        session = self._session(request)
        plan = await asyncio.to_thread(self._plan, kind, values, session)

        def work_for_absent(job: Job) -> Any:
            try:
                return plan(job)
            finally:
                session.last_seen = time.monotonic()  # the visitor has the usual time to come back for the result

        job = self.jobs.submit(work_for_absent)
        session.watch(str(request.session_hash), job)
        return job

    async def follow(self, job: Job, request: gr.Request) -> AsyncIterator[View]:
        """Yield what there is to see of a job, from the queue to its end, whenever it changes."""
        session, preview_shown = self._session(request), False
        status = components.job_progress(job, self.jobs.position(job))
        yield View(status, video=None, facts=None, archive=None, busy=True)
        while not job.ended.is_set():
            await asyncio.sleep(POLL_SECONDS)
            session.last_seen = time.monotonic()
            shown, status = status, components.job_progress(job, self.jobs.position(job))
            if job.preview is not None and not preview_shown:
                preview_shown = True
                yield View(status, video=file_data(job.preview))
            elif status != shown:
                yield View(status)
        yield self._end_of(job, session)

    async def run_for_program(self, kind: str, values: dict, request: gr.Request) -> AsyncIterator[View]:
        """Do a job for a program, which gets errors as gr.Error. If the program leaves, the job ends."""
        try:
            job = await self.start(kind, values, request)
        except Exception as error:
            raise gr.Error(self.message_for(error), print_exception=False) from None
        try:
            async for view in self.follow(job, request):
                yield view
        finally:
            job.cancel()  # without effect if it has ended
        if job.error is not None:
            raise gr.Error(self.message_for(job.error), print_exception=False)

    async def run_on_page(self, kind: str, values: dict, request: gr.Request) -> AsyncIterator[View]:
        """Do a job for the page. It goes on if the visitor leaves. Errors are shown: Gradio runs nothing after one."""
        yield View(components.CHECKING, video=None, archive=None)
        try:
            job = await self.start(kind, values, request)
        except Exception as error:
            yield View(components.job_end(self.message_for(error), "failed"), busy=False)
            return
        async for view in self.follow(job, request):
            yield view

    async def resume(self, request: gr.Request) -> AsyncIterator[View]:
        """Show a tab that was just opened what the session has: videos, the report, and its latest job."""
        session = self._session(request)
        yield View(shelf=components.result_gallery(session.results), **self._report_view(session.report))
        if job := session.latest_job:
            session.watch(str(request.session_hash), job)
            if job.ended.is_set():
                yield self._end_of(job, session)
                return
            async for view in self.follow(job, request):
                yield view

    def cancel(self, request: gr.Request) -> None:
        """Cancel the job that this browser tab shows."""
        if job := self._session(request).jobs.get(str(request.session_hash)):
            job.cancel()

    def delete_files(self, request: gr.Request) -> None:
        """Delete the session with all of its files."""
        self.sessions.delete(self._session(request).id)
        self._session(request).restored_tabs.add(str(request.session_hash))

    def remember(self, request: gr.Request, values: dict) -> None:
        """Keep what the widgets show. A tab that has not been restored yet shows nothing worth keeping."""
        session = self._session(request)
        if str(request.session_hash) in session.restored_tabs:
            session.inputs.update(values)

    def restore(self, request: gr.Request) -> dict:
        """Return what the widgets showed, by name. Files that are gone become None."""
        session = self._session(request)
        session.restored_tabs.add(str(request.session_hash))
        return {name: self._still_there(value, session) for name, value in session.inputs.items()}

    def restore_settings(self, number: int, request: gr.Request) -> list:
        """Return the settings of a result: model, then one value per control."""
        for result in self._session(request).results:
            if result.number == number:
                return [result.facts["model"], *controls.widget_values(result.settings)]
        return [SKIP] * (1 + len(controls.NAMES))

    def reset_settings(self) -> list:
        """Return the defaults: model, then one value per control."""
        return [self.models.names[0], *controls.widget_values(controls.DEFAULTS)]

    def message_for(self, error: BaseException) -> str:
        """What a visitor reads: an InputError with file names in place of paths; a fault of ours goes to the log."""
        if isinstance(error, InputError):
            return re.sub(rf"{re.escape(str(self.sessions.root))}/[^\s']*/", "", str(error))
        log.error("a job failed", exc_info=error)
        return FAULT

    def _plan(self, kind: str, values: dict, session: Session) -> Callable[[Job], Any]:
        """Check the inputs and return the work of the job. Raises InputError."""
        model = values.get("model") or None
        if kind == "inspect":
            clip = values.get("clip")
            file = self._driving_video(clip, session) if clip else self._portrait(values.get("portrait"), session)
            return lambda job: work.make_report(job, session, self.models, model, file)
        portrait = self._portrait(values.get("portrait"), session)
        source = {"speak": self._recording, "say": self._speech, "drive": self._driving}[kind](values, session)
        options = controls.parse_options({name: values.get(name) for name in controls.DEFAULTS})
        wanted = work.VideoRequest(kind, model, portrait, source, options, values.get("absolute") is True)
        return lambda job: work.make_video(job, session, self.models, self.limits, wanted)

    def _recording(self, values: dict, session: Session) -> work.Source:
        recording = self._recording_file(values, session)
        return lambda folder, job: recording

    def _recording_file(self, values: dict, session: Session) -> Path:
        upload = self._visitor_file(values.get("recording") or values.get("video"), session, "recording")
        return limits.check_media(upload, self.limits, sound=True)

    def _speech(self, values: dict, session: Session) -> work.Source:
        text, voice = limits.check_text(values.get("text"), self.limits), str(values.get("voice") or "") or None
        if voice and voice.endswith(".onnx"):  # a visitor may not name files on the server
            raise InputError("voice files are for the command line; choose a language")

        def synthesise(folder: Path, job: Job) -> Path:
            speak(text, folder / "speech.wav", voice, job.report)
            return folder / "speech.wav"

        return synthesise

    def _driving(self, values: dict, session: Session) -> work.Source:
        clip = self._driving_video(values.get("driving"), session)
        return lambda folder, job: clip

    def _portrait(self, value: object, session: Session) -> Path:
        return limits.check_picture(self._visitor_file(value, session, "portrait"), self.limits)

    def _driving_video(self, value: object, session: Session) -> Path:
        return limits.check_media(self._visitor_file(value, session, "driving video"), self.limits, pictures=True)

    def _visitor_file(self, value: object, session: Session, what: str) -> Path:
        """Return the visitor's own file behind a widget's value. Raises InputError if there is none."""
        path = value.get("path") if isinstance(value, dict) else None
        file = self.sessions.resolve_readable(session.id, path) if isinstance(path, str) else None
        if file is None:
            raise InputError(f"there is no {what} yet; give one first")
        return file

    def _still_there(self, value: Any, session: Session) -> Any:
        """Return a widget's value, or None if it is a file that is gone."""
        if not isinstance(value, dict) or "path" not in value:
            return value
        file = self.sessions.resolve_readable(session.id, str(value["path"]))
        return file and {**file_data(file), "orig_name": value.get("orig_name") or file.name}

    def _end_of(self, job: Job, session: Session) -> View:
        """What is to be seen of a job that has ended."""
        if job.error is not None:
            return View(components.job_end(self.message_for(job.error), "failed"), video=None, busy=False)
        if job.state == "cancelled":
            return View(components.job_end("Cancelled", "cancelled"), video=None, busy=False)
        if isinstance(job.result, Report):
            facts = job.result.facts
            words = f"Done: {facts['pictures']} pictures in {facts['seconds']:.0f} s. The report is below."
            status = components.job_end(words, "done")
            return View(status, facts=facts, busy=False, **self._report_view(job.result))
        result = job.result
        words = f"Done: {components.finished(result)}. {controls.describe(result.settings)}"
        facts, shelf = {**result.facts, **result.settings}, components.result_gallery(session.results)
        video = file_data(result.file) if result.file.exists() else None  # a newer one may have taken its place
        return View(components.job_end(words, "done", job.warnings), video, facts, shelf, busy=False)

    def _report_view(self, report: Report | None) -> dict:
        return {"archive": file_data(report.archive), "report": components.report_page(report)} if report else {}

    def _detect(self, file: Path) -> tuple:
        from anitalker.media.images import read_picture

        limits.check_picture(file, self.limits)
        picture = read_picture(file)
        return picture, self.models.get().finder().find(picture)

    def _check_face(self, picture: Any, face: Any) -> Any:
        model = self.models.get().model
        return model.check_face(face, model.crop(picture, face), self.models.get().finder())

    def _refusal(self, error: InputError) -> str:
        return components.message(components.sentence(self.message_for(error)), "bad")

    def _session(self, request: gr.Request) -> Session:
        """The session of the visitor who sent the request."""
        return self.sessions.get(request.headers[SESSION_HEADER])


def file_data(path: Path) -> dict:
    """Describe a file as Gradio's components do."""
    return {
        "path": str(path),
        "orig_name": path.name,
        "size": path.stat().st_size,
        "meta": {"_type": "gradio.FileData"},
    }
