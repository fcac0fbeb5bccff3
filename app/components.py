"""HTML of the page: boxes over the faces, progress, messages, finished videos. All input is escaped."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageOps

from anitalker.dubbing.tracks import MAX_PITCH, MAX_YAW
from anitalker.server.job_queue import Job
from anitalker.server.limits import MB, Limits

from .controls import describe
from .outputs import is_picture
from .player import result_buttons
from .sessions import Batch, Report, Result

if TYPE_CHECKING:
    from anitalker.config import InputError
    from anitalker.faces.detection import Face
    from anitalker.models.base import FaceCheck

    from .recordings import Recording

# Beyond these the result suffers.
MIN_FACE_PIXELS = 100
MAX_TURN_DEGREES = 30
JPEG_QUALITY = 88
PEOPLE_SIDE = 480  # pixels of the picture that shows who is in a video
STAGES = {
    "start": "Reading",
    "voice": "Speaking the text",
    "encode": "Reading the driving video",
    "motion": "Planning the motion",
    "ahead": "Drawing small, to be watched at once",
    "faces": "Following the faces",
    "frames": "Drawing",
    "sections": "Looking inside: section",
}
FOLLOWED = {  # of a performance: values of DubOptions.follow -> words
    "lips": "lips",
    "expression": "expression (lips, lids, brows)",
    "all": "all (the head, too)",
}
COUNTED_IN_FRAMES = ("frames", "faces")
STILL_WORDS = {
    "lips": "Mouth at its widest",
    "head": "Head at its furthest",
    "blink": "Lids at their lowest",
}
IDLE = "<div class='status idle'><p>Your video will appear here.</p></div>"
VERDICTS = {  # state of a verified file -> words, kind of message
    "intact": ("Made by AniTalker, and as it was made.", "good"),
    "altered": ("Made by AniTalker, and altered since.", "warn"),
    "unknown": ("Made by AniTalker. Nothing tells whether it was altered.", "good"),
}
NO_MARK = "No mark of AniTalker was found. That proves nothing: marks can be removed."
CHECKING = "<div class='status' role='status'><p>Checking the inputs</p><progress></progress></div>"


def face_boxes(width: int, height: int, faces: Sequence[Face], selected: str) -> str:
    """An SVG of clickable boxes over a picture of width x height pixels; a click chooses who speaks.

    `faces` are in pixels, the largest first; `selected` is an index, largest or all.
    """
    shapes = []
    for index, face in enumerate(faces):
        x0, y0, x1, y1 = face.box
        speaks = selected == "all" or selected == str(index) or (selected == "largest" and index == 0)
        label = f"<text x='{x0:.0f}' y='{y0 - height * 0.02:.0f}' font-size='{height * 0.06:.0f}'>{index + 1}</text>"
        shapes.append(
            f"<g class='face{' speaks' if speaks else ''}' data-face='{index}'><title>Face {index + 1}</title>"
            f"<rect x='{x0:.0f}' y='{y0:.0f}' width='{x1 - x0:.0f}' height='{y1 - y0:.0f}' rx='{height * 0.02:.0f}'/>"
            f"{label if len(faces) > 1 else ''}</g>"
        )
    box = f"viewBox='0 0 {width} {height}' preserveAspectRatio='xMidYMid meet'"
    return f"<svg class='face-boxes' {box}>{''.join(shapes)}</svg>"


def sentence(text: str) -> str:
    """A message of the library as a sentence of the page: a capital, a full stop, options without dashes."""
    text = re.sub(r"(?<!\w)--(?=\w)", "", text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def input_limits(kind: str, limits: Limits) -> str:
    """What an input takes, to be read before a file is refused: portrait, recording, text, video, performance, film (to
    dub)."""
    size, length = f"{limits.upload_bytes / MB:g} MB", _duration(limits.media_seconds)
    recording = f"WAV, MP3, M4A, FLAC or Ogg; of a video, the sound is taken. Up to {length} and {size}."
    words = {
        "portrait": f"A face from the front, at least {MIN_FACE_PIXELS} pixels high. JPEG, PNG, WebP or AVIF, up to "
        f"{limits.megapixels:g} megapixels and {size}.",
        "recording": f"{recording} Several files, or a ZIP, give a video each: up to {limits.batch_recordings}, and "
        f"{_duration(limits.batch_seconds)} in all.",
        "single recording": recording,
        "text": f"Up to {limits.text_characters:,} characters.",
        "text instead": f"Or a text of up to {limits.text_characters:,} characters:",
        "video": f"MP4, MOV or WebM. The face is there from the first frame on. Up to {length} and {size}.",
        "performance": "Or a performance: a video whose face the one in step 1 follows. Its sound is heard; if it has "
        f"none, that of step 1 stays. Up to {length} and {size}.",
        "film": f"MP4, MOV or WebM. Faces that look at the camera. Up to {length} and {size}.",
    }
    return f"<p class='limits'>{words[kind]}</p>"


def portrait_advice(faces: Sequence[Face], index: int = 0, check: FaceCheck | None = None) -> str:
    """A message about how well the face that was chosen can be animated; problems come first.

    `check` is what the model says of it.
    """
    if not faces:
        return message(
            "No face was found, or it is turned too far. Give a picture that shows a face from the front, at least "
            f"{MIN_FACE_PIXELS} pixels high.",
            "bad",
        )
    face = faces[index]
    turn = math.hypot(face.yaw, face.pitch)
    if check and check.rejected:
        reason = f"This face cannot be animated: {check.reason}"
        reason += f"; it is turned too far ({turn:.0f} degrees)" if turn > MAX_TURN_DEGREES else ""
        return message(f"{sentence(reason)} Give a picture of an uncovered face from the front.", "bad")
    problems = []
    if check and check.reason:
        problems.append(sentence(f"this face may not move well: {check.reason}"))
    problems += [sentence(text) for text in check.occlusion_warnings] if check else []
    if face.size < MIN_FACE_PIXELS:
        problems.append(
            f"The face is small ({face.size:.0f} pixels): the video will be soft. {MIN_FACE_PIXELS} or more are best."
        )
    if turn > MAX_TURN_DEGREES:
        problems.append(
            f"The face is turned too far ({turn:.0f} degrees): the video may tear. A view from the front is best."
        )
    return message(" ".join(problems), "warn") if problems else _good_faces(faces)


def film_advice(faces: Sequence[Face], index: int = 0) -> str:
    """A message about how well the lips of the face that was chosen in a video can be changed; problems come first."""
    if not faces:
        return message(
            "No face is seen at the beginning. Lips change only where a face looks at the camera, at least "
            f"{MIN_FACE_PIXELS} pixels high.",
            "warn",
        )
    face, problems = faces[index], []
    if face.size < MIN_FACE_PIXELS:
        problems.append(f"The face is small ({face.size:.0f} pixels): {MIN_FACE_PIXELS} or more are best.")
    if max(abs(face.yaw) / MAX_YAW, abs(face.pitch) / MAX_PITCH) > 1:
        problems.append("The face is turned away at the beginning: while it is, the filmed lips stay.")
    return message(" ".join(problems), "warn") if problems else _good_faces(faces)


def people(frame: np.ndarray, faces: Sequence[Face], selected: str) -> str:
    """A frame uint8 [H,W,3] of a video with boxes over its faces; a click chooses who speaks."""
    height, width = frame.shape[:2]
    boxes = face_boxes(width, height, faces, selected)
    small = np.asarray(ImageOps.contain(Image.fromarray(frame), (PEOPLE_SIDE, PEOPLE_SIDE)))
    return f"<figure class='people'><img src='{jpeg_address(small)}' alt='Who is in the video'>{boxes}</figure>"


def jpeg_address(picture: np.ndarray) -> str:
    """A picture uint8 [H,W,3] as an address that holds it, a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _good_faces(faces: Sequence[Face]) -> str:
    if len(faces) == 1:
        return message(f"One face, {faces[0].size:.0f} pixels. Good.", "good")
    return message(f"{len(faces)} faces. Click the one who speaks, or choose below.", "good")


def recording_advice(seconds: float, warnings: Sequence[str]) -> str:
    """A message about a recording: what may spoil the result, or how long it is."""
    if warnings:
        return message(" ".join(map(sentence, warnings)), "warn")
    return message(f"{seconds:.1f} s of sound. Good.", "good")


def recordings_advice(recordings: Sequence[Recording], message_for: Callable[[InputError], str]) -> str:
    """A message about several recordings: how many and how long, what is left out and what may spoil a result."""
    seconds = [recording.seconds for recording in recordings if not recording.refusal]
    refused = [left_out(entry.name, message_for(entry.refusal)) for entry in recordings if entry.refusal]
    doubts = [f"in {entry.name}: {warning}" for entry in recordings for warning in entry.warnings]
    count = f"{len(seconds)} recording{'' if len(seconds) == 1 else 's'}"
    if not seconds:
        return _warnings(refused) or message("There is no recording in it. Give one or more.", "bad")
    return message(f"{count}, {_duration(sum(seconds))} in all.", "good") + _warnings([*refused, *doubts])


def left_out(name: str, reason: str) -> str:
    """What is told of a recording that cannot be used."""
    return f"left out: {name}: " + re.sub(r": '[^']*'(?=[;,] | \()", "", reason)  # names the file once


def verdict(ours: bool, state: str, lines: Sequence[str]) -> str:
    """Whether a file was made by AniTalker, in a sentence; below it, to unfold, what was read. state: of `verify`."""
    words, kind = VERDICTS[state] if ours else (NO_MARK, "")
    items = "".join(f"<li>{escape(sentence(line))}</li>" for line in lines)
    return f"{message(words, kind)}<details><summary>What was read</summary><ul>{items}</ul></details>"


def message(text: str, kind: str = "") -> str:
    """A short message. `kind` is good, warn, bad or empty."""
    return f"<p class='note {kind}' role='status'>{escape(text)}</p>"


def still(address: str, moment: str = "") -> str:
    """A still of the portrait under the sliders; `address` of the picture, or empty: what will be here."""
    if not address:
        return "<p class='nothing'>With a portrait, a still here follows the sliders.</p>"
    words = STILL_WORDS.get(moment, "At rest")
    return (
        f"<figure><img src='{address}' alt='Still: {words}'><figcaption>{words}</figcaption>"
        "<button type='button' data-save>Save the still</button></figure>"
    )


def saved_still(file: Path, words: str) -> str:
    """A link to a still that was drawn at the size of the video; the browser follows it by itself."""
    link = f"<a href='{_file_url(file)}' download='{escape(file.name)}'>{escape(file.name)}</a>"
    return f"<p class='note good' role='status'>Saved: {link} {escape(words)}</p>"


def estimated(seconds: float, jobs: int) -> str:
    """How long a video will take, and how many are before it."""
    words = f"Takes about {_duration(_rounded(seconds))}"
    if jobs:
        words += f", after {jobs} other video{'s' if jobs > 1 else ''}"
    return f"<p class='estimate' role='status'>{words}.</p>"


def job_progress(job: Job, position: int) -> str:
    """The status of an unfinished job: its position in the queue, or its stage, frames and time left."""
    if job.state == "waiting" and position:
        return f"<div class='status' role='status'><p>Place {position} in the queue.</p><progress></progress></div>"
    words = escape(job.step or STAGES.get(job.stage, job.stage.capitalize() or "Starting"))
    time_left = ""
    bar = "<progress></progress>"
    if job.total > 1 and (job.done or not job.step):
        if not job.step:  # a batch has one bar for all of its videos
            words += f" {job.done} of {job.total}{' frames' if job.stage in COUNTED_IN_FRAMES else ''}"
        bar = f"<progress max='{job.total}' value='{job.done}'></progress>"
        if (seconds := job.seconds_left()) is not None:
            time_left = f"<span>about {_duration(seconds)} left</span>"
    line = f"<p><span>{words}</span>{time_left}</p>"
    return f"<div class='status' role='status'>{line}{bar}</div>{_warnings(job.warnings)}"


def job_end(text: str, kind: str, warnings: Sequence[str] = ()) -> str:
    """The status of an ended job. `kind` is done, cancelled or failed; `warnings` are what may have spoilt it."""
    return f"<div class='status {kind}' role='status'><p>{escape(sentence(text))}</p></div>{_warnings(warnings)}"


def finished(result: Result) -> str:
    """One line about a finished video: length, size, working time."""
    facts = result.facts
    size = f"{facts['width']}x{facts['height']}"
    return f"{facts['seconds']:.1f} s, {facts['frames']} frames, {size}, made in {facts['work_seconds']:.1f} s"


def batch_end(batch: Batch) -> str:
    """One line about the videos of several recordings."""
    made, left, seconds = len(batch.facts["videos"]), len(batch.facts["left_out"]), batch.facts["work_seconds"]
    words = f"Done: {made} video{'' if made == 1 else 's'}, made in {seconds:.1f} s; they are below and in the ZIP"
    return f"{words}. {left} of {made + left} recordings {'is' if left == 1 else 'are'} left out" if left else words


def result_gallery(results: Sequence[Result]) -> str:
    """The session's videos, newest first, each with its settings, a download and what can be done again."""
    if not results:
        return "<p class='note'>The videos of this visit will be kept here until you delete them or leave.</p>"
    return f"<div class='cards'>{''.join(map(_result_card, reversed(results)))}</div>"


def report_page(report: Report) -> str:
    """The body of the report's own page. Its pictures become the visitor's files; its links stay in the ZIP."""
    from anitalker.inspection.report import PAGE

    html = (report.folder / PAGE).read_text(encoding="utf-8")
    body = html[html.index("<body>") + len("<body>") : html.index("</body>")]
    body = re.sub(r"<nav>.*?</nav>", "", body)
    return re.sub(r'<img src="([\w-]+\.png)"', rf'<img src="{_file_url(report.folder)}/\1"', body)


def _result_card(result: Result) -> str:
    url = _file_url(result.file)
    settings = f"{result.facts['model']} · {describe(result.settings)}"
    return (
        f"<figure>{shown_file(result)}<figcaption>"
        f"<b>Video {result.number}</b> {escape(finished(result))}<br><small>{escape(settings)}</small></figcaption>"
        f"<a href='{url}' download='{escape(result.file.name)}'>Download</a>{result_buttons(result.number)}"
        f"<button type='button' data-delete='{result.number}' aria-label='Delete video {result.number}'>Delete</button>"
        "</figure>"
    )


def shown_file(result: Result) -> str:
    """A finished file as the browser shows it: a video with controls, or an animated picture."""
    url = _file_url(result.file)
    if is_picture(result.file):
        return f"<img src='{url}' alt='Video {result.number}' loading='lazy'>"
    return f"<video src='{url}' controls preload='metadata' playsinline></video>"


def _warnings(texts: Sequence[str]) -> str:
    return "".join(message(sentence(text), "warn") for text in texts)


def _file_url(path: object) -> str:
    return escape("gradio_api/file=" + quote(str(path)))


def _rounded(seconds: float) -> float:
    """An estimate in steps that promise no more than it can keep."""
    step = 1 if seconds < 10 else 5 if seconds < 60 else 15
    return max(1, step * round(seconds / step))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
