"""The functions behind the room "My avatar": check what came, queue the job, follow it, and hand avatars over.

Values come as the browser sends them (a file is {"path": ...}). The guard has put the session's id into a header.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from anitalker.config import InputError
from anitalker.media.images import PICTURE_SUFFIXES
from anitalker.media.streams import Media
from anitalker.media.video import probe
from anitalker.person.from_photos import MAX_PHOTOS, MIN_PHOTOS
from anitalker.person.person_file import check_consent, is_person_file
from anitalker.person.takes import MIN_SECONDS
from anitalker.person.tune_options import TuneOptions
from anitalker.server import limits
from anitalker.server.job_queue import Job, JobQueue

from .. import components
from ..inputs import SKIP, Inputs, file_data, name_after
from ..models import Models
from ..sessions import Person, Session, SessionStore
from . import views
from .people import add_person, remove_person
from .work import TuneRequest, make_person

JOB = "avatar"  # its place among the session's jobs, which are otherwise named after tabs
POLL_SECONDS = 0.5  # between two looks at a job
MAX_VIDEO_SECONDS = 3600.0  # of which the first minutes are looked at
PHOTO_SUFFIXES = {*PICTURE_SUFFIXES, ".heif"}


class View(NamedTuple):
    """What the room shows; what is SKIP stays as it is."""

    status: object = SKIP
    gallery: object = SKIP
    row: object = SKIP  # of avatars below the portrait
    busy: bool | None = None


class AvatarActions(Inputs):
    """Makes avatars in the page's own queue, and keeps those of a visit."""

    def __init__(self, models: Models, sessions: SessionStore, jobs: JobQueue) -> None:
        super().__init__(models, sessions)
        self.jobs = jobs

    def take_files(self, files: object, request: gr.Request) -> tuple[Any, str, View]:
        """Look at files that were just given: person files among them become avatars at once.

        Returns the files that are left, a note on them, and what the room shows.
        """
        session, left, notes, taken = self._session(request), [], [], 0
        for file in files if isinstance(files, list) else []:
            if not is_person_file(file.get("path") if isinstance(file, dict) else None):
                left.append(file)
                continue
            try:
                self.take_person(file, session)
                taken += 1
            except InputError as error:
                notes.append(self._refusal(error))
        if taken:
            notes.append(components.message("Your person file is among the avatars of this visit.", "good"))
        if left:
            try:
                notes.append(components.message(self._told(left, session), "good"))
            except InputError as error:
                notes.append(self._refusal(error))
        shown = self._shown(session) if taken else View()
        return (left or None) if taken or len(notes) > 1 else SKIP, "".join(notes), shown

    def take_person(self, value: object, session: Session) -> Person:
        """Make an uploaded person file one of the visit's avatars. InputError where it is none."""
        upload = self._visitor_file(value, session, "person file")
        name = name_after(Path(str(value.get("orig_name") or upload.name)).stem if isinstance(value, dict) else "")
        return add_person(session, upload, name, self.limits.people)

    async def start(self, files: object, agreed: object, consent: object, request: gr.Request) -> Job:
        """Check what came and queue the job. Raises InputError."""
        session = self._session(request)
        if session.tuning is not None and not session.tuning.ended.is_set():
            raise InputError("an avatar is being made already; wait for it, or cancel it")
        wanted = await asyncio.to_thread(self._wanted, files, agreed, consent, session)

        def work_for_absent(job: Job) -> Person:
            try:
                return make_person(job, session, self.models, self.limits, wanted)
            finally:
                session.last_seen = time.monotonic()  # the visitor has the usual time to come back for it

        filmed = wanted.sources[0].suffix.lower() not in PHOTO_SUFFIXES
        told = {"kind": JOB, "training_seconds": 60 * wanted.options.minutes if filmed else 0}
        session.tuning = session.jobs[JOB] = self.jobs.submit(work_for_absent, told)
        return session.tuning

    async def follow(self, job: Job, request: gr.Request) -> AsyncIterator[View]:
        """Yield what there is to see of a job, from the queue to its end, whenever it changes."""
        session, shown = self._session(request), ""
        while not job.ended.is_set():
            session.last_seen = time.monotonic()
            if (now := views.progress(job, self.jobs.position(job))) != shown:
                shown = now
                yield View(now, busy=True)
            await asyncio.sleep(POLL_SECONDS)
        forgotten = self._session(request) is not session  # the visitor has deleted all files meanwhile
        yield View(views.IDLE, views.NOTHING, "", False) if forgotten else self._end_of(job, session)

    async def run_on_page(
        self, files: object, agreed: object, consent: object, request: gr.Request
    ) -> AsyncIterator[View]:
        """Make an avatar for the page. It goes on if the visitor leaves. Errors are shown."""
        yield View(components.CHECKING)
        try:
            job = await self.start(files, agreed, consent, request)
        except Exception as error:
            yield View(components.job_end(self.message_for(error), "failed"))
            return
        async for view in self.follow(job, request):
            yield view

    async def run_for_program(self, files: object, consent: object, request: gr.Request) -> AsyncIterator[list]:
        """Make an avatar for a program: yields file, facts and status. Errors are gr.Error; the job ends with it."""
        try:
            job = await self.start(files, True, consent, request)
        except Exception as error:
            raise gr.Error(self.message_for(error), print_exception=False) from None
        view = View()
        try:
            async for view in self.follow(job, request):
                yield [SKIP, SKIP, view.status]
        finally:
            job.cancel()  # without effect if it has ended
        if job.error is not None:
            raise gr.Error(self.message_for(job.error), print_exception=False)
        if job.result is not None:
            yield [file_data(job.result.file), {**job.result.facts, "consent": job.result.consent}, view.status]

    async def resume(self, request: gr.Request) -> AsyncIterator[View]:
        """Show a tab that was just opened what the session has: its avatars, and the latest job."""
        session = self._session(request)
        yield self._shown(session)
        if session.tuning is not None:
            async for view in self.follow(session.tuning, request):
                yield view

    def works(self, request: gr.Request) -> bool:
        """Whether an avatar of this visitor is being made."""
        job = self._session(request).tuning
        return job is not None and not job.ended.is_set()

    def cancel(self, request: gr.Request) -> None:
        """Cancel the job; what it has learned is kept."""
        if (job := self._session(request).tuning) is not None:
            job.cancel()

    def delete(self, number: int, request: gr.Request) -> View:
        """Delete an avatar of this visit."""
        session = self._session(request)
        remove_person(session, number)
        if session.tuning is not None and session.tuning.ended.is_set():
            session.tuning = None
        return self._shown(session)._replace(status=views.IDLE if session.tuning is None else SKIP)

    def picture_of(self, number: int, request: gr.Request) -> Any:
        """The picture that stands for an avatar in the portrait's widget; SKIP where it is gone."""
        people = self._session(request).people
        person = next((person for person in people if person.number == number), None)
        return SKIP if person is None else file_data(person.picture)

    def take_portrait(self, path: str, name: str, request: gr.Request) -> tuple[Any, str, View]:
        """Take a person file that was given to the portrait's widget: the widget's value, a note, the room's view."""
        session = self._session(request)
        try:
            person = self.take_person({"path": path, "orig_name": name}, session)
        except InputError as error:
            return None, self._refusal(error), View()
        return file_data(person.picture), "", self._shown(session)

    def _shown(self, session: Session) -> View:
        return View(gallery=views.gallery(session.people), row=views.row(session.people))

    def _end_of(self, job: Job, session: Session) -> View:
        shown = self._shown(session)._replace(busy=False)
        if job.error is not None:
            return shown._replace(status=components.job_end(self.message_for(job.error), "failed", job.warnings))
        if job.result is None:
            kept = session.people[-1] if session.people and not session.people[-1].finished else None
            return shown._replace(status=views.cancelled(kept, job.warnings))
        return shown._replace(status=views.end(job.result, job))

    def _wanted(self, files: object, agreed: object, consent: object, session: Session) -> TuneRequest:
        videos, photos = self._sorted(files, session)
        if not isinstance(consent, str) or not consent.strip():
            raise InputError("nobody is named who agreed; write who it is, and tick the box")
        if agreed is not True:
            raise InputError("the box is not ticked; tick it if the person has agreed")
        consent = check_consent(consent)
        for video in videos:
            self._media(video)
        for photo in photos:
            limits.check_picture(photo, self.limits)
        portrait = str(photos[0]) if videos and photos else None
        name = name_after((videos or photos)[0].stem)
        return TuneRequest(tuple(videos or photos), TuneOptions(consent, portrait, self.limits.tune_minutes), name)

    def _sorted(self, files: object, session: Session) -> tuple[list[Path], list[Path]]:
        """Videos and photos among the files. InputError where there is none, or what does not go together."""
        if not isinstance(files, list) or not files:
            raise InputError("there is no video yet; give one of a person who talks to the camera, or photos")
        uploads = [self._visitor_file(file, session, "file") for file in files]
        photos = [file for file in uploads if file.suffix.lower() in PHOTO_SUFFIXES]
        videos = [file for file in uploads if file not in photos]
        if any(map(is_person_file, videos)):
            raise InputError(
                "a person file came; it is an avatar already: use it as portrait, and give videos or photos"
            )
        if videos and len(photos) > 1:
            raise InputError(f"{len(photos)} photos came beside a video; give one, which becomes the portrait, or none")
        return videos, photos

    def _told(self, files: list, session: Session) -> str:
        """What will be made of the files."""
        videos, photos = self._sorted(files, session)
        if not videos:
            many = MIN_PHOTOS <= len(photos) <= MAX_PHOTOS
            if not many:
                raise InputError(
                    f"{len(photos)} photos came; give {MIN_PHOTOS} to {MAX_PHOTOS} of one person, or a video"
                )
            return f"{len(photos)} photos: an avatar in seconds, without training."
        media = [self._media(video) for video in videos]
        seconds = sum(video.seconds or 0.0 for video in media)
        if seconds < MIN_SECONDS and all(video.seconds for video in media):
            raise InputError(f"the video is {seconds:.0f} s long; give at least {MIN_SECONDS:.0f} s, or photos")
        words = f"{seconds:.0f} s of video: up to {self.limits.tune_minutes:g} minutes of training."
        if all(video.audio_codec is None for video in media):
            words += " It has no sound: the mouth is learned, and not how the lips follow speech."
        return words

    def _media(self, video: Path) -> Media:
        """What is in a video. InputError where it is none, or longer than any should be."""
        limits.check_media(video, replace(self.limits, media_seconds=MAX_VIDEO_SECONDS), "video", pictures=True)
        return probe(video, "video")
