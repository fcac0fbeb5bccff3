"""What a visitor gives: files found in the visitor's own folder, checked, and what is told about them.

Values come as the browser sends them (a file is {"path": ...}). The guard has put the session's id into a header.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anitalker.config import SAMPLE_RATE, DubOptions, InputError, RenderOptions
from anitalker.media.audio_checks import audio_warnings
from anitalker.media.clip import open_clip
from anitalker.media.video import mix_audio, read_audio
from anitalker.provenance.verify import summary_lines, verify
from anitalker.server import limits

from . import components
from .avatar.people import file_behind, person_behind
from .controls import parse_dub_options
from .dubbing import first_faces
from .guard import SESSION_HEADER
from .models import Models
from .recordings import Recording, read_recordings
from .sessions import Session, SessionStore

if TYPE_CHECKING:
    from anitalker.faces.detection import Face

MAX_NAME = 40  # characters of one input in the name of a video
SKIP = gr.skip()
NO_CHOICE = gr.update(choices=["largest"], value="largest", visible=False)  # of who speaks
FAULT = "this failed because of a fault of ours; see the server's log"
WANTED = {  # what each widget takes, and what to give
    "portrait": ("picture", "a JPEG, PNG, WebP or AVIF"),
    "recording": ("recording", "a WAV, MP3, M4A, FLAC or Ogg, or a video with sound"),
    "driving": ("video", "an MP4, MOV or WebM"),
}
log = logging.getLogger(__name__)


class Inputs:
    """Finds and checks the files of visitors."""

    def __init__(self, models: Models, sessions: SessionStore) -> None:
        self.models, self.sessions, self.limits = models, sessions, sessions.limits

    def find_faces(self, portrait: object, chosen: object, request: gr.Request):
        """Find the faces of a portrait. Returns boxes to lay over it, advice, and the choice of who speaks."""
        if not portrait:
            return "", "", NO_CHOICE
        session = self._session(request)
        try:
            file = self._visitor_file(portrait, session, "portrait")
            picture, faces = self._detect(file)
        except InputError as error:
            return "", self._refusal(error), NO_CHOICE
        selected, choice = _choice_of(faces, chosen)
        height, width = picture.shape[:2]
        boxes = components.face_boxes(width, height, faces, selected) if faces else ""
        index = int(selected) if selected.isdigit() else 0
        check = self._check_face(picture, faces[index]) if faces else None
        person = person_behind(session, file)
        known = "" if person is None else components.message(f"Your avatar {person.name} speaks.", "good")
        return boxes, known + components.portrait_advice(faces, index, check), choice

    def find_people(self, film: object, start: object, chosen: object, request: gr.Request):
        """Find the faces that a video to dub begins with, at `start` [s].

        Returns a picture of several with boxes, advice, and the choice of who speaks.
        """
        if not film:
            return "", "", NO_CHOICE
        try:
            file = self._film(film, self._session(request))
            clip = open_clip(file, parse_dub_options({"start": start}).start, size=RenderOptions.size)
            frame, faces = first_faces(clip, self.models.get().finder())
        except InputError as error:
            return "", self._refusal(error), NO_CHOICE
        selected, choice = _choice_of(faces, chosen)
        people = components.people(frame, faces, selected) if len(faces) > 1 else ""
        return people, components.film_advice(faces, int(selected) if selected.isdigit() else 0), choice

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

    def check_recordings(self, recordings: object, request: gr.Request) -> str:
        """Return how many recordings came and how long they are in all, or what is wrong with them."""
        if not recordings:
            return ""
        session = self._session(request)
        try:
            read = self._recordings({"recordings": recordings}, session)
        except InputError as error:
            return self._refusal(error)
        return components.recordings_advice(read, self.message_for)

    def take_several(self, files: object, request: gr.Request) -> list:
        """Take several uploads, or a ZIP, that were given to the field of one: new values of recordings, recording."""
        session, taken = self._session(request), []
        for file in files if isinstance(files, list) else []:
            upload = self._visitor_file(file, session, "recording")
            taken.append({**file_data(upload), "orig_name": str(file.get("orig_name") or upload.name)})
        return [taken or SKIP, None]

    def check_driving(self, video: object, request: gr.Request) -> str:
        """Return what may be wrong with a driving video before anything is made of it."""
        try:
            if video:
                self._driving_video(video, self._session(request))
        except InputError as error:
            return self._refusal(error)
        return ""

    def take_sound(self, path: str, request: gr.Request) -> tuple[Any, str]:
        """Take the sound out of an uploaded video. Returns the recording and what may be wrong with it."""
        session = self._session(request)
        try:
            video = self._recording_file({"recording": {"path": path}}, session)
            sound = session.upload_folder() / f"{video.stem}.flac"
            mix_audio([video], sound)
        except InputError as error:
            return SKIP, self._refusal(error)
        return file_data(sound), ""

    def verify(self, file: object, request: gr.Request) -> str:
        """Return whether a video or picture was made here, as HTML."""
        if not file:
            return ""
        try:
            suspect = limits.check_suspect(self._visitor_file(file, self._session(request), "file"), self.limits)
            verdict = verify(suspect)
        except InputError as error:
            return self._refusal(error)
        lines = summary_lines({**verdict, "file": suspect.name})
        return components.verdict(verdict["made_by"] == "anitalker", verdict["state"], lines[1:])

    def refuse_type(self, widget: str, name: str) -> str:
        """Return that a file is none that a widget, by its name, takes."""
        kind, remedy = WANTED.get(widget.removeprefix("dub_"), WANTED["driving"])
        return components.message(f"{name[:80]} is no {kind} that this page takes. Give {remedy}.", "bad")

    def message_for(self, error: BaseException) -> str:
        """What a visitor reads: an InputError with file names in place of paths; a fault of ours goes to the log."""
        if isinstance(error, InputError):
            return re.sub(rf"{re.escape(str(self.sessions.root))}/[^\s']*/", "", str(error))
        log.error("a job failed", exc_info=error)
        return FAULT

    def _recording_file(self, values: dict, session: Session) -> Path:
        upload = self._visitor_file(values.get("recording"), session, "recording")
        return limits.check_media(upload, self.limits, sound=True)

    def _recordings(self, values: dict, session: Session) -> list[Recording]:
        """Return the recordings of the uploads, checked. InputError if there is none, or they are too many in all."""
        files = values.get("recordings")
        if not isinstance(files, list) or not files:
            raise InputError("there are no recordings yet; give some first")
        uploads = []
        for file in files:
            upload = self._visitor_file(file, session, "recording")
            uploads.append((str(file.get("orig_name") or upload.name), upload))
        key = tuple(str(upload) for _, upload in uploads)
        with session.reading:
            if session.recordings[0] != key:
                session.recordings = (), []  # whose files may go now
                session.recordings = key, read_recordings(uploads, session.unpack_folder, self.limits)
            return session.recordings[1]

    def _usable_recordings(self, values: dict, session: Session) -> list[Recording]:
        """Return `_recordings` if at least one can be used. Raises InputError, with the reasons, otherwise."""
        recordings = self._recordings(values, session)
        refused = [(entry.name, self.message_for(entry.refusal)) for entry in recordings if entry.refusal]
        if len(refused) == len(recordings):
            reasons = [components.left_out(*told) for told in refused]
            raise InputError(" ".join(map(components.sentence, ["no recording can be used; give others", *reasons])))
        return recordings

    def _second_recording(self, values: dict, session: Session) -> dict[int, Path]:
        """Return the recording of a second face by its index; empty without one. Raises InputError."""
        if not values.get("second_recording"):
            return {}
        number = values.get("second_face")
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 1 or number != int(number):
            raise InputError(f"second face is {str(number)[:20]!r}; give the number on the picture, 1 or more")
        return {int(number) - 1: self._recording_file({"recording": values["second_recording"]}, session)}

    def _portrait(self, value: object, session: Session) -> Path:
        """Return the portrait: a picture, or the person file that a picture stands for. Raises InputError."""
        picture = limits.check_picture(self._visitor_file(value, session, "portrait"), self.limits)
        return file_behind(session, picture)

    def _driving_video(self, value: object, session: Session) -> Path:
        return self._video(value, session, "driving video")

    def _film(self, value: object, session: Session) -> Path:
        """Return the video that is to be dubbed. Raises InputError."""
        return self._video(value, session, "video")

    def _video(self, value: object, session: Session, what: str) -> Path:
        return limits.check_media(self._visitor_file(value, session, what), self.limits, what, pictures=True)

    def _visitor_file(self, value: object, session: Session, what: str) -> Path:
        """Return the visitor's own file behind a widget's value. Raises InputError if there is none."""
        path = value.get("path") if isinstance(value, dict) else None
        file = self.sessions.resolve_readable(session.id, path) if isinstance(path, str) else None
        if file is None:
            raise InputError(f"there is no {what} yet; give one first")
        return file

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


def _choice_of(faces: Sequence[Face], chosen: object) -> tuple[str, Any]:
    """Who of these faces speaks: the value that was chosen, if it still is one, and the update of the choice."""
    names = ["largest", *map(str, range(len(faces))), "all"]
    selected = chosen if isinstance(chosen, str) and chosen in names else "largest"
    labels = [f"face {int(name) + 1}" if name.isdigit() else name for name in names]
    return selected, gr.update(choices=list(zip(labels, names, strict=True)), value=selected, visible=len(faces) > 1)


def video_name(kind: str, values: dict) -> str:
    """The name of a video after its inputs, without suffix: portrait-speech."""
    if kind == "dub":
        recording = values.get("dub_recording") or values.get("performance")
        words = str(values.get("dub_text") or "").strip() or _file_name(recording)
        return name_after(_file_name(values.get("film")), words)
    moved_by = {"speak": values.get("recording"), "drive": values.get("driving")}.get(kind)
    words = {"say": values.get("text"), "idle": "idle"}.get(kind, _file_name(moved_by))
    return name_after(_file_name(values.get("portrait")), str(words))


def dub_options(values: dict) -> DubOptions:
    """The options of a dub, by name; `follow` counts with a performance alone. Raises InputError for a wrong value."""
    follow = values["follow"] if values.get("performance") else DubOptions.follow
    return parse_dub_options({**{n: v for n, v in values.items() if n != "performance"}, "follow": follow})


def portrait_name(values: dict, suffix: str) -> str:
    """The name of what is made of a portrait, without the suffix of a file: portrait-still."""
    return name_after(_file_name(values.get("portrait")), suffix)


def name_after(*names: str) -> str:
    """Join names to that of a file, of letters, digits and dashes, without suffix."""
    plain = [re.sub(r"\W+", "-", name).strip("-_")[:MAX_NAME].rstrip("-_") for name in names]
    return "-".join(filter(None, plain)) or "anitalker"


def _file_name(value: Any) -> str:
    """The name of a widget's file, as the visitor knows it, without suffix."""
    name = (value.get("orig_name") or value.get("path") or "") if isinstance(value, dict) else ""
    return Path(str(name)).stem
