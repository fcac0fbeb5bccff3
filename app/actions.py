"""The functions behind the page's widgets: check the inputs, queue a job, follow it, restore what was there.

Values come as the browser sends them (a file is {"path": ...}). The guard has put the session's id into a header.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from anitalker.config import InputError, RenderOptions
from anitalker.media.text_to_speech import speak
from anitalker.server import limits
from anitalker.server.job_queue import Job

from . import components, controls, outputs, player, work
from .batch import make_batch
from .dubbing import DubRequest, make_dub
from .inputs import SKIP, dub_options, file_data, video_name
from .previews import Previews
from .sessions import Batch, Report, Session

MAX_RANDOM_SEED = 1_000_000  # short enough to be typed
POLL_SECONDS = 0.25  # between two looks at a job


class View(NamedTuple):
    """What the page shows; what is SKIP stays as it is."""

    status: object = SKIP
    video: object = SKIP
    player: object = SKIP  # the state of the player
    source: object = SKIP  # what the video is made of, beside it
    facts: object = SKIP
    shelf: object = SKIP  # the gallery of this session's videos
    archive: object = SKIP
    report: object = SKIP
    busy: bool | None = None  # whether a job of this tab is on: Cancel in place of the start buttons

    def for_page(self) -> View:
        """The same for people: the page's video shows no animated pictures, its player does."""
        path = self.video.get("path", "") if isinstance(self.video, dict) else ""
        return self._replace(video=None) if outputs.is_picture(Path(path)) else self


class Actions(Previews):
    """The page's functions over one model in memory, one job queue and the visitors' sessions."""

    async def start(self, kind: str, values: dict, request: gr.Request) -> Job:
        """Check the inputs of a kind of work, as in `events.SUMMARIES`, and queue this tab's job. Raises InputError."""
        session = self._session(request)
        plan = await asyncio.to_thread(self._plan, kind, values, session)

        def work_for_absent(job: Job) -> Any:
            try:
                return plan(job)
            finally:
                session.last_seen = time.monotonic()  # the visitor has the usual time to come back for the result

        job = self.jobs.submit(work_for_absent, {**values, "kind": kind})
        session.watch(str(request.session_hash), job)
        return job

    async def follow(self, job: Job, request: gr.Request) -> AsyncIterator[View]:
        """Yield what there is to see of a job, from the queue to its end, whenever it changes."""
        session, shown = self._session(request), self._progress(job)
        source = player.source_view(job.inputs)
        yield shown._replace(video=None, source=source, facts=None, archive=None, busy=True)
        count = session.result_count
        while not job.ended.is_set():
            await asyncio.sleep(POLL_SECONDS)
            session.last_seen = time.monotonic()
            before, shown = shown, self._progress(job)
            if shown != before:  # the live video is told once
                # Busy again: the browser may have lost it, or got the end of an earlier job after it.
                yield (shown if shown.player != before.player else View(shown.status))._replace(busy=True)
            if session.result_count != count:  # a video of a batch
                count = session.result_count
                yield View(shelf=components.result_gallery(session.results))
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
        yield View(components.CHECKING, video=None, player=player.EMPTY, archive=None)
        try:
            job = await self.start(kind, values, request)
        except Exception as error:
            yield View(components.job_end(self.message_for(error), "failed"), player=player.EMPTY, busy=False)
            return
        async for view in self.follow(job, request):
            yield view.for_page()

    async def resume(self, request: gr.Request) -> AsyncIterator[View]:
        """Show a tab that was just opened what the session has: videos, the report, and its latest job."""
        session = self._session(request)
        yield View(shelf=components.result_gallery(session.results), **self._report_view(session.report))
        if job := session.latest_job:
            session.watch(str(request.session_hash), job)
            if job.ended.is_set():
                yield self._end_of(job, session).for_page()
                return
            async for view in self.follow(job, request):
                yield view.for_page()

    def cancel(self, request: gr.Request) -> None:
        """Cancel the job that this browser tab shows."""
        if job := self._session(request).jobs.get(str(request.session_hash)):
            job.cancel()

    def delete_video(self, number: int, request: gr.Request) -> list:
        """Delete a video of the shelf, and a ZIP with it.

        Returns the shelf; status, video, player, source and archive, empty if they show it.
        """
        session = self._session(request)
        batch = session.batch
        deleted = session.delete_result(number)
        latest = session.latest_job.result if session.latest_job and session.latest_job.ended.is_set() else None
        shown = deleted is not None and deleted is (latest.shown if isinstance(latest, Batch) else latest)
        if shown:
            session.latest_job = None
        emptied = [components.IDLE, None, player.EMPTY, ""] if shown else [SKIP] * 4
        archive = None if batch is not None and batch is not session.batch else SKIP
        return [components.result_gallery(session.results), *emptied, archive]

    def delete_files(self, request: gr.Request) -> None:
        """Delete the session with all of its files."""
        session_id = self._session(request).id
        self.sessions.delete(session_id)
        self.stills.forget(session_id)
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

    def inputs_of(self, number: int, request: gr.Request) -> dict:
        """Return what the widgets showed when a result was made, by name, with its seed. Empty if it is gone."""
        session = self._session(request)
        for result in session.results:
            if result.number == number:
                settings = {"model": result.facts["model"], **controls.widget_values(result.settings)}
                inputs = {**result.inputs, **settings, "tab": result.kind}
                if result.kind == "speak":
                    inputs["recordings"] = None  # a list of several would hide the single one
                return {name: self._still_there(value, session) for name, value in inputs.items()}
        return {}

    async def take_again(self, number: int, request: gr.Request) -> AsyncIterator[View]:
        """Make a result again with another seed."""
        job = self._session(request).jobs.get(str(request.session_hash))
        if job and not job.ended.is_set():  # the style sheet disables the button meanwhile
            return
        inputs = self.inputs_of(number, request)
        if not inputs:
            yield View(components.job_end("This video is no longer here", "failed"))
            return
        async for view in self.run_on_page(inputs["tab"], {**inputs, "seed": ""}, request):
            yield view

    def reset_settings(self) -> list:
        """Return the defaults: model, then one value per control, then those of `outputs`."""
        return [self.models.names[0], *controls.widget_values(controls.UNTOUCHED).values(), *outputs.DEFAULTS.values()]

    def _progress(self, job: Job) -> View:
        return View(components.job_progress(job, self.jobs.position(job)), player=player.in_the_making(job))

    def _plan(self, kind: str, values: dict, session: Session) -> Callable[[Job], Any]:
        """Check the inputs and return the work of the job. Raises InputError."""
        model = values.get("model") or None
        if kind == "inspect":
            clip = values.get("clip")
            file = self._driving_video(clip, session) if clip else self._portrait(values.get("portrait"), session)
            return lambda job: work.make_report(job, session, self.models, model, file)
        if kind == "dub":
            wanted_dub = self._dub_request(values, session)
            return lambda job: make_dub(job, session, self.models, self.limits, wanted_dub)
        portrait = self._portrait(values.get("portrait"), session)
        recordings = self._usable_recordings(values, session) if kind == "batch" else []
        sources = {
            "batch": self._no_source,
            "speak": self._recording,
            "say": self._speech,
            "drive": self._driving,
            "idle": self._no_source,
        }
        source = sources[kind](values, session)
        options, absolute = self._render_options(values, controls.DEFAULTS), values.get("absolute") is True
        options = replace(options, background=self._background(values, session))
        if values.get("subtitles"):
            options = replace(options, subtitles=str(self._visitor_file(values["subtitles"], session, "subtitles")))
        name, form = video_name(kind, values), outputs.parse_format(values.get("format"), options)
        seconds = limits.check_idle(values.get("seconds"), self.limits) if kind == "idle" else 0.0
        others = self._second_recording(values, session) if kind == "speak" else {}
        more = {"others": others, "format": form, "loop": values.get("loop") is True}
        wanted = work.VideoRequest(kind, model, portrait, source, options, absolute, name, seconds, **more)
        if kind == "batch":
            return lambda job: make_batch(job, session, self.models, self.limits, wanted, recordings, self.message_for)
        return lambda job: work.make_video(job, session, self.models, self.limits, wanted)

    def _dub_request(self, values: dict, session: Session) -> DubRequest:
        """Check the inputs of a dub. Raises InputError."""
        given = {**values, "face": values.get("dub_face")}
        film = self._film(values.get("film"), session)
        options = self._render_options(given, (*controls.DUBBED, "face"))
        dubbing = dub_options({name: values.get(name) for name in (*controls.DUB_NAMES, "performance", "follow")})
        said = self._said_in_dub(values, session)
        return DubRequest(values.get("model") or None, film, said, options, dubbing, video_name("dub", values))

    def _render_options(self, values: dict, names: Iterable[str]) -> RenderOptions:
        """The render options of these names; without a seed a random one. Raises InputError."""
        chosen = {name: values.get(name) for name in names}
        if chosen["seed"] in (None, ""):
            chosen["seed"] = secrets.randbelow(MAX_RANDOM_SEED)
        marks = values.get("no_marks") is not True
        limits.check_marks(marks, self.limits)
        return replace(controls.parse_options(chosen), marks=marks)

    def _said_in_dub(self, values: dict, session: Session) -> work.Source:
        """The recording or performance of a dub, or what makes it of a text. Raises InputError for none, or several."""
        recording, text, performance = (values.get(name) for name in ("dub_recording", "dub_text", "performance"))
        given = {"a recording": recording, "a text": str(text or "").strip(), "a performance": performance}
        names = [name for name, value in given.items() if value]
        if len(names) > 1:
            raise InputError(f"{' and '.join(names)} came; give one of them")
        if not names:
            raise InputError("there is no recording, text or performance yet; give one of them")
        if performance:
            return self._driving({"driving": performance}, session)
        if recording:
            return self._recording({"recording": recording}, session)
        return self._speech({"text": text, "voice": values.get("dub_voice")}, session)

    def _recording(self, values: dict, session: Session) -> work.Source:
        recording = self._recording_file(values, session)
        return lambda folder, job: recording

    def _speech(self, values: dict, session: Session) -> work.Source:
        text, voice = limits.check_text(values.get("text"), self.limits), self.voices.resolve(values.get("voice"))

        def synthesise(folder: Path, job: Job) -> Path:
            speak(text, folder / "speech.wav", voice, job.report)
            return folder / "speech.wav"

        return synthesise

    def _no_source(self, values: dict, session: Session) -> work.Source:
        return lambda folder, job: folder

    def _driving(self, values: dict, session: Session) -> work.Source:
        clip = self._driving_video(values.get("driving"), session)
        return lambda folder, job: clip

    def _still_there(self, value: Any, session: Session) -> Any:
        """Return a widget's value, or None if it is a file that is gone; of a list, what is there."""
        if isinstance(value, list):
            return [there for item in value if (there := self._still_there(item, session))] or None
        if not isinstance(value, dict) or "path" not in value:
            return value
        file = self.sessions.resolve_readable(session.id, str(value["path"]))
        return file and {**file_data(file), "orig_name": value.get("orig_name") or file.name}

    def _end_of(self, job: Job, session: Session) -> View:
        """What is to be seen of a job that has ended."""
        if job.error is not None:
            ended = components.job_end(self.message_for(job.error), "failed")
            return View(ended, video=None, player=player.EMPTY, busy=False)
        if job.state == "cancelled":
            words = "Cancelled" + ("; finished videos are below" if job.step else "")
            shelf = components.result_gallery(session.results)
            status = components.job_end(words, "cancelled")
            return View(status, video=None, player=player.EMPTY, shelf=shelf, busy=False)
        if isinstance(job.result, Report):
            facts = job.result.facts
            words = f"Done: {facts['pictures']} pictures in {facts['seconds']:.0f} s. The report is below."
            status = components.job_end(words, "done")
            return View(status, player=player.EMPTY, facts=facts, busy=False, **self._report_view(job.result))
        if isinstance(job.result, Batch):
            return self._end_of_batch(job, job.result, session)
        result = job.result
        words = f"Done: {components.finished(result)}. {controls.describe(result.settings)}"
        facts, shelf = {**result.facts, **result.settings}, components.result_gallery(session.results)
        status = components.job_end(words, "done", job.warnings)
        if not result.file.exists():  # a newer one has taken its place
            return View(status, None, player.EMPTY, "", facts, shelf, busy=False)
        source = player.source_view(job.inputs)
        return View(status, file_data(result.file), player.done(result), source, facts, shelf, busy=False)

    def _end_of_batch(self, job: Job, batch: Batch, session: Session) -> View:
        """What is to be seen of several videos: the last one, and the ZIP while all of them are there."""
        status = components.job_end(components.batch_end(batch), "done", job.warnings)
        shelf = components.result_gallery(session.results)
        archive = file_data(batch.archive) if batch.archive.exists() else None
        last = batch.shown
        if last is None or not last.file.exists():
            return View(status, None, player.EMPTY, "", batch.facts, shelf, archive, busy=False)
        video, source = file_data(last.file), player.source_view(job.inputs)
        return View(status, video, player.done(last), source, batch.facts, shelf, archive, busy=False)

    def _report_view(self, report: Report | None) -> dict:
        return {"archive": file_data(report.archive), "report": components.report_page(report)} if report else {}
