"""Pieces of HTML: the faces on the picture, how far the work is, finished videos. Everything that came is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from app.controls import in_words
from app.jobs import Job
from app.visits import Report, Result

SMALL, AWAY = 100, 30  # pixels and degrees: beyond them the result suffers
STAGES = {"start": "Reading", "voice": "Speaking the text", "encode": "Reading the driving video"}
STAGES |= {"motion": "Planning the motion", "preview": "Preview of the first second", "frames": "Drawing"}
STAGES |= {"sections": "Looking inside: section"}
IDLE = "<div class='status idle'><p>Your video will appear here.</p></div>"


def faces(width: int, height: int, found: Sequence, chosen: str) -> str:
    """Boxes over the picture; a click chooses who speaks. found: anitalker.faces.detection.Face, the largest first."""
    shapes = []
    for number, face in enumerate(found):
        x0, y0, x1, y1 = face.box
        speaks = chosen == "all" or chosen == str(number) or (chosen == "largest" and number == 0)
        label = f"<text x='{x0:.0f}' y='{y0 - height * 0.02:.0f}' font-size='{height * 0.06:.0f}'>{number + 1}</text>"
        shapes.append(
            f"<g class='face{' speaks' if speaks else ''}' data-face='{number}'><title>Face {number + 1}</title>"
            f"<rect x='{x0:.0f}' y='{y0:.0f}' width='{x1 - x0:.0f}' height='{y1 - y0:.0f}' rx='{height * 0.02:.0f}'/>"
            f"{label if len(found) > 1 else ''}</g>"
        )
    return f"<svg viewBox='0 0 {width} {height}' preserveAspectRatio='xMidYMid meet'>{''.join(shapes)}</svg>"


def advice(found: Sequence) -> str:
    """What the picture is good for, in a sentence; problems first."""
    if not found:
        return note("No face was found. Give a picture that shows one from the front, at least 100 pixels high.", "bad")
    one = found[0]
    size, away = one.size, math.hypot(one.yaw, one.pitch)
    problems = []
    if size < SMALL:
        problems.append(f"The face is small ({size:.0f} pixels): the video will be soft. Best are {SMALL} or more.")
    if away > AWAY:
        problems.append(f"The face looks away ({away:.0f} degrees): the video may tear. Best is a view from the front.")
    if problems:
        return note(" ".join(problems), "warn")
    if len(found) == 1:
        return note(f"One face, {size:.0f} pixels. Good.", "good")
    return note(f"{len(found)} faces. Click the one who speaks, or choose below.", "good")


def note(text: str, kind: str = "") -> str:
    """A short message. kind: good, warn or bad."""
    return f"<p class='note {kind}' role='status'>{escape(text)}</p>"


def progress(job: Job, place: int) -> str:
    """A job that waits or works: place in line, or step, frames and time left."""
    if job.state == "waiting" and place:
        return f"<div class='status' role='status'><p>Place {place} in the queue.</p><progress></progress></div>"
    stage = STAGES.get(job.stage, job.stage.capitalize() or "Starting")
    count = f" {job.done} of {job.total}{' frames' if job.stage == 'frames' else ''}" if job.total > 1 else ""
    left = job.seconds_left()
    ends = f"<span>about {_duration(left)} left</span>" if left is not None and job.total > 1 else ""
    bar = f"<progress max='{job.total}' value='{job.done}'></progress>" if job.total > 1 else "<progress></progress>"
    return f"<div class='status' role='status'><p><span>{escape(stage)}{count}</span>{ends}</p>{bar}</div>"


def ended(line: str, kind: str) -> str:
    """How a job ended: done, cancelled or failed, in a line."""
    return f"<div class='status {kind}' role='status'><p>{escape(line)}</p></div>"


def made(result: Result) -> str:
    """One line about a finished video."""
    facts = result.facts
    size = f"{facts['width']}x{facts['height']}"
    return f"{facts['seconds']:.1f} s, {facts['frames']} frames, {size}, made in {facts['work_seconds']:.1f} s"


def results(finished: Sequence[Result]) -> str:
    """The videos of this visit, the newest first, each with its settings, download and 'same settings again'."""
    if not finished:
        return "<p class='note'>The videos of this visit will be kept here until you delete them or leave.</p>"
    return f"<div class='cards'>{''.join(map(_card, reversed(finished)))}</div>"


def report(made: Report) -> str:
    """The report's page as a part of ours: its pictures are the visitor's files, its links stay in the ZIP."""
    from anitalker.inspection.report import PAGE

    text = (made.folder / PAGE).read_text(encoding="utf-8")
    text = re.sub(r"<nav>.*?</nav>", "", text[text.index("<body>") + len("<body>") : text.index("</body>")])
    place = escape("/gradio_api/file=" + quote(str(made.folder)))
    return re.sub(r'<img src="([\w-]+\.png)"', rf'<img src="{place}/\1"', text)


def _card(result: Result) -> str:
    url = "/gradio_api/file=" + quote(str(result.file))
    words = f"{result.facts['model']} · {in_words(result.settings)}"
    return (
        f"<figure><video src='{escape(url)}' controls preload='metadata' playsinline></video><figcaption>"
        f"<b>Video {result.number}</b> {escape(made(result))}<br><small>{escape(words)}</small></figcaption>"
        f"<a href='{escape(url)}' download='anitalker-{result.number}.mp4'>Download</a>"
        f"<button type='button' data-again='{result.number}'>Same settings again</button></figure>"
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
