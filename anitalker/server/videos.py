"""Videos that are rendered for clients of the REST interface, one at a time."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from anitalker.config import InputError, RenderOptions
from anitalker.media import text_to_speech
from anitalker.server.avatars import save_upload
from anitalker.server.job_queue import Job, JobQueue
from anitalker.server.limits import Limits, check_media, check_seconds, check_text

if TYPE_CHECKING:
    from anitalker.pipeline import Portrait, Talker
    from anitalker.server.voices import Voices

BATCH_SIZE = 2  # frames; a cancelled job ends after a batch
FAULT = "the server has a fault; its log says more"
log = logging.getLogger(__name__)


class UnknownVideo(KeyError):
    """There is no video of this id: it was never ordered, was deleted, or was kept long enough."""


class QueueFull(Exception):
    """Too many videos wait; one line for the client."""


@dataclass
class Video:
    """A video that is waited for, rendered or finished. file: where it is, or will be."""

    id: str
    file: Path
    job: Job
    ordered: float = field(default_factory=time.monotonic)

    @property
    def error(self) -> str | None:
        """Why the job failed, in one line; None if it did not."""
        if self.job.error is None:
            return None
        return " ".join(str(self.job.error).split()) if isinstance(self.job.error, InputError) else FAULT


class VideoStore:
    """Takes orders, renders them and keeps the videos. At most `Limits.results` are kept."""

    def __init__(self, talker: Talker, folder: Path, limits: Limits, voices: Voices) -> None:
        self.talker, self.folder, self.limits, self.voices = talker, folder, limits, voices
        self.queue = JobQueue(limits.waiting_jobs)
        self._videos: OrderedDict[str, Video] = OrderedDict()
        self._lock = threading.Lock()

    def order_speech(self, portrait: Portrait, speech: IO[bytes], name: str, options: RenderOptions) -> Video:
        """Let a portrait speak a recording that was uploaded under `name`. InputError, QueueFull."""
        recording = save_upload(speech, name, self.folder)
        try:
            check_recording(recording, name, self.limits)
            return self._submit(portrait, recording.parent, options, lambda job: recording)
        except BaseException:
            shutil.rmtree(recording.parent, ignore_errors=True)
            raise

    def order_text(self, portrait: Portrait, text: str, voice: str, options: RenderOptions) -> Video:
        """Let a portrait speak a text, with a voice as `Voices.resolve` takes it. InputError, QueueFull."""
        text, resolved = check_text(text, self.limits), self.voices.resolve(voice)
        folder = self.folder / secrets.token_hex(8)

        def speak(job: Job) -> Path:
            folder.mkdir(parents=True)
            facts = text_to_speech.speak(text, folder / "speech.wav", resolved, job.report)
            check_seconds(facts["seconds"], "spoken text", self.limits)
            return folder / "speech.wav"

        return self._submit(portrait, folder, options, speak)

    def _submit(self, portrait: Portrait, folder: Path, options: RenderOptions, recording: Any) -> Video:
        options, output = replace(options, batch_size=BATCH_SIZE), folder / "video.mp4"

        def work(job: Job) -> Any:
            try:
                return self.talker.render(portrait, recording(job), output, options, job.report)
            except InputError:
                raise
            except Exception:
                if not job.cancelled:
                    log.exception("a video could not be rendered")
                raise

        try:
            job = self.queue.submit(work)
        except InputError as full:
            raise QueueFull(str(full)) from None
        video = Video(secrets.token_hex(16), output, job)
        with self._lock:
            self._videos[video.id] = video
            ended = [other.id for other in self._videos.values() if other.job.ended.is_set()]
            excess = ended[: max(0, len(self._videos) - self.limits.results)]
        for video_id in excess:
            self.delete(video_id)
        return video

    def get(self, video_id: str) -> Video:
        """The video of an id; UnknownVideo if there is none."""
        with self._lock:
            if video_id not in self._videos:
                raise UnknownVideo(video_id)
            return self._videos[video_id]

    def position(self, video: Video) -> int:
        """The number of videos before this one; 0 when it is rendered, or ended."""
        return self.queue.position(video.job)

    def delete(self, video_id: str) -> None:
        """Cancel a video that is not finished, and delete its file; UnknownVideo if there is none."""
        with self._lock:
            video = self._videos.pop(video_id, None)
        if video is None:
            raise UnknownVideo(video_id)
        video.job.cancel()
        self.queue.position(video.job)  # a waiting job leaves the queue now
        if video.job.ended.is_set():
            shutil.rmtree(video.file.parent, ignore_errors=True)
        else:
            threading.Thread(target=_remove_after, args=(video,), daemon=True).start()

    def sweep(self) -> None:
        """Delete videos that ended longer than `Limits.keep_seconds` ago, counted from their order."""
        oldest = time.monotonic() - self.limits.keep_seconds
        with self._lock:
            old = [video.id for video in self._videos.values() if video.job.ended.is_set() and video.ordered < oldest]
        for video_id in old:
            self.delete(video_id)

    def close(self) -> None:
        """Cancel everything; the server ends."""
        self.queue.cancel_all()


def check_recording(recording: Path, name: str, limits: Limits) -> None:
    """InputError, with the client's name of the file, for a recording without sound or one that is too long."""
    try:
        check_media(recording, limits, sound=True)
    except InputError as error:
        raise InputError(str(error).replace(str(recording), Path(name).name[:80])) from None


def _remove_after(video: Video) -> None:
    video.job.ended.wait()
    shutil.rmtree(video.file.parent, ignore_errors=True)
