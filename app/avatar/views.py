"""HTML of the room "My avatar": progress with the time left, and the avatars of this visit. All input is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from anitalker.person.from_photos import MAX_PHOTOS, MIN_PHOTOS
from anitalker.person.takes import MAX_SECONDS, MIN_SECONDS
from anitalker.server.job_queue import Job
from anitalker.server.limits import MB, Limits

from .. import components
from ..sessions import Person

STAGES = {
    "start": "Loading",
    "faces": "Following the face",
    "pictures": "Choosing pictures of the mouth",
    "speech": "Measuring how the lips follow speech",
    "tuning": "Learning the mouth",
    "samples": "Drawing before and after",
}
USUAL_SECONDS = {"pictures": 10, "speech": 15, "samples": 10}  # of the stages beside following and training
HOW = (
    "One photo is guesswork about teeth and manner. Give a video in which you talk to the camera: "
    f"{MIN_SECONDS:.0f} seconds at least, best a minute or more. Or give {MIN_PHOTOS} to {MAX_PHOTOS} photos "
    "(mouth open, smiling, closed): they show the mouth, and nothing is learned. A photo beside a video becomes the "
    "portrait."
)
KEPT = (
    "The file holds your portrait and up to eight small pictures of the mouth: whoever has it can see them. It is "
    "deleted here with your other files; download it to keep it."
)
NOTHING = "<p class='note'>The avatars of this visit will be kept here until you delete them or leave.</p>"
IDLE = ""


def how(limits: Limits) -> str:
    """What to give, and what becomes of it."""
    takes = (
        f"MP4, MOV, WebM, JPEG, PNG, WebP, HEIC, or a person file. Up to {limits.upload_bytes / MB:g} MB a file; of "
    )
    takes += f"videos the first {MAX_SECONDS / 60:.0f} minutes count."
    return f"<p class='how'>{escape(HOW)}</p><p class='limits'>{escape(takes)} {escape(KEPT)}</p>"


def progress(job: Job, position: int) -> str:
    """The status of an unfinished job: its place in the queue, or its stage and the time that is left of all stages."""
    if job.state == "waiting" and position:
        return components.job_progress(job, position)
    words = STAGES.get(job.stage, "Starting")
    bar = "<progress></progress>"
    if job.total > 1 and job.done:
        bar = f"<progress max='{job.total}' value='{job.done}'></progress>"
    if job.cancelled:
        words = "Keeping the best so far" if job.stage in ("tuning", "samples") else "Ending"
    seconds = None if job.cancelled else time_left(job)
    left = "" if seconds is None else f"<span>{_about(seconds)} left</span>"
    return f"<div class='status' role='status'><p><span>{words}</span>{left}</p>{bar}</div>" + warnings(job.warnings)


def time_left(job: Job) -> float | None:
    """Seconds until the job's end, at most; None while nothing is known."""
    training = float(job.inputs.get("training_seconds", 0))
    if job.stage == "tuning":
        return job.total - job.done + USUAL_SECONDS["samples"]
    stage = job.seconds_left()
    if stage is None:
        return None
    if job.stage == "samples":
        return stage
    if job.stage == "faces":
        return stage + training + sum(USUAL_SECONDS.values())
    if job.stage == "speech":
        return stage + training + USUAL_SECONDS["samples"]
    return None


def warnings(texts: Sequence[str]) -> str:
    """Messages of what may have spoilt the result."""
    return "".join(components.message(components.sentence(text), "warn") for text in texts)


def end(person: Person, job: Job) -> str:
    """The status of a finished job."""
    words = f"Done: {learned(person.facts)} Before and after are below. Take it with “Use as portrait”"
    return components.job_end(words, "done", job.warnings)


def cancelled(person: Person | None, warned: Sequence[str] = ()) -> str:
    """The status of a cancelled job; person: what it has kept."""
    words = "Cancelled. Nothing was learned yet"
    if person is not None:
        words = "Cancelled. The best so far is kept below; “Make my avatar” goes on from there"
    return components.job_end(words, "cancelled", warned)


def learned(facts: dict) -> str:
    """What a person file knows beside the portrait, in a sentence or two."""
    if photos := _whole(facts, "photos"):
        return f"made of {photos} photos; nothing was trained."
    words = [f"learned from {_whole(facts, 'seconds')} s of video."]
    for key, what in (("mouth_tail", "mouth"), ("lips_tail", "lips' motion")):
        before, after = _pair(facts.get(key))
        if after < before:
            words.append(f"On video it has not learned from, the {what} is {100 * (1 - after / before):.0f}% closer.")
    if not _whole(facts, "speech_seconds"):
        words.append("No speech was heard: lips and head move as usual.")
    return " ".join(words)


def gallery(people: Sequence[Person]) -> str:
    """The avatars of this visit, the newest first, each with its samples and what can be done with it."""
    return f"<div class='avatars'>{''.join(map(_card, reversed(people)))}</div>" if people else NOTHING


def row(people: Sequence[Person]) -> str:
    """The avatars of this visit as buttons below the portrait; empty without any."""
    if not people:
        return ""
    buttons = "".join(
        f"<button type='button' class='face-button' data-use='{person.number}' title='{escape(person.name)}'>"
        f"<img src='{_url(person.picture)}' alt='{escape(person.name)}' width='56' height='56'></button>"
        for person in reversed(people)
    )
    return f"<div class='faces' role='group' aria-label='Your avatars'><em>Or one of your avatars:</em>{buttons}</div>"


def _card(person: Person) -> str:
    name, number = escape(person.name), person.number
    samples = (("Before: the portrait alone", person.before), ("After", person.after))
    pair = "".join(
        f"<figure><video src='{_url(file)}' poster='{_url(person.picture)}' controls playsinline preload='metadata' "
        f"aria-label='{words}, {name}'></video>"
        f"<figcaption>{words}</figcaption></figure>"
        for words, file in samples
        if file is not None
    )
    pair = pair or f"<figure><img src='{_url(person.picture)}' alt='{name}'></figure>"
    state = "" if person.finished else "<b>Unfinished.</b> "
    return (
        f"<article class='avatar'><div class='pair'>{pair}</div><div class='about'><h3>{name}</h3>"
        f"<p>{state}{escape(components.sentence(learned(person.facts)))}<br>Agreed: {escape(person.consent)}</p>"
        f"<button type='button' class='use' data-use='{number}'>Use as portrait</button>"
        f"<a href='{_url(person.file)}' download='{escape(person.file.name)}'>Download</a>"
        f"<button type='button' data-drop='{number}' aria-label='Delete {name}'>Delete</button></div></article>"
    )


def _url(path: Path) -> str:
    return escape("gradio_api/file=" + quote(str(path)))


def _about(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60))} min" if seconds > 90 else f"about {max(5, 5 * round(seconds / 5))} s"


def _whole(facts: dict, key: str) -> int:
    """A number of a file that is not trusted; 0 for anything else."""
    value = facts.get(key)
    return round(value) if isinstance(value, int | float) and 0 <= value < 1e9 else 0


def _pair(value: object) -> tuple[float, float]:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(x, int | float) and x > 0 for x in value):
        return float(value[0]), float(value[1])
    return 1.0, 1.0
