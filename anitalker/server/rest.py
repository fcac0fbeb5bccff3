"""REST routes: avatars, videos that are rendered for later, voices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel
from sse_starlette import EventSourceResponse

from anitalker.config import InputError, RenderOptions
from anitalker.media.backdrop import word_or_colour
from anitalker.server.avatars import Avatar, AvatarStore
from anitalker.server.limits import check_marks
from anitalker.server.videos import Video, VideoStore

POLL_SECONDS = 0.25  # between two looks at a job whose progress a client follows
STATUSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The input is wrong; `detail` says what is allowed"},
    401: {"description": "The token is missing or wrong"},
    403: {"description": "This web site or host may not use the server"},
    404: {"description": "There is nothing of this id"},
    408: {"description": "The request came too slowly"},
    409: {"description": "Not in this state"},
    415: {"description": "Not this content type"},
    413: {"description": "The body is too large"},
    429: {"description": "The server is busy; try again later"},
}
router = APIRouter(prefix="/v1", responses=STATUSES)


class AvatarFacts(BaseModel):
    """A prepared portrait: its id, its size in pixels, and the indices of the faces that will speak."""

    id: str
    width: int
    height: int
    faces: list[int]


class VideoFacts(BaseModel):
    """A video that was ordered.

    state: waiting, running, done, failed or cancelled; position: videos before it; stage, done, total: progress of the
    running step; seconds_left: of that step; error: why it failed; facts: of the finished video, as `--json` of the
    command line has them, without the path.
    """

    id: str
    state: str
    position: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    error: str | None = None
    facts: dict[str, Any] | None = None


class VoiceFacts(BaseModel):
    """A voice for texts. value: what requests take; label: its name for people."""

    value: str
    label: str


def avatar_store(request: Request) -> AvatarStore:
    """The avatars of this server."""
    return request.app.state.avatars


def video_store(request: Request) -> VideoStore:
    """The videos of this server."""
    return request.app.state.videos


Avatars = Annotated[AvatarStore, Depends(avatar_store)]
Videos = Annotated[VideoStore, Depends(video_store)]


def render_options(
    seed: Annotated[int, Form()] = RenderOptions.seed,
    size: Annotated[str, Form(description="shorter side in pixels, or original")] = str(RenderOptions.size),
    frame: Annotated[str, Form(description="full or crop")] = RenderOptions.frame,
    still: Annotated[bool, Form()] = RenderOptions.still,
    lips: Annotated[float, Form()] = RenderOptions.lips,
    head: Annotated[float, Form()] = RenderOptions.head,
    blink: Annotated[float, Form()] = RenderOptions.blink,
    gaze: Annotated[str, Form(description="natural, camera, portrait, or X,Y in degrees")] = RenderOptions.gaze,
    emotion: Annotated[str, Form(description="such as happy:0.7")] = RenderOptions.emotion,
    expression: Annotated[str, Form(description="such as smile=.4,brow_raise=.2")] = RenderOptions.expression,
    aspect: Annotated[str, Form(description="empty, 9:16, 1:1 or 16:9")] = RenderOptions.aspect,
    quality: Annotated[int, Form()] = RenderOptions.quality,
    codec: Annotated[str, Form(description="h264 or hevc")] = RenderOptions.codec,
    background: Annotated[str, Form(description="keep, blur, or a colour such as #1e90ff")] = RenderOptions.background,
    label: Annotated[bool, Form()] = RenderOptions.label,
    marks: Annotated[bool, Form(description="false only where the operator allows it")] = RenderOptions.marks,
) -> RenderOptions:
    """The options of a video, as the command line has them."""
    known = word_or_colour(background)
    if known is None or known.kind == "transparent":  # a client names no files of the server
        raise InputError(f"background is {background[:50]!r}; allowed are keep, blur, and a colour such as #1e90ff")
    return RenderOptions(
        seed=seed,
        size=size,
        frame=frame,
        still=still,
        lips=lips,
        head=head,
        blink=blink,
        gaze=gaze,
        emotion=emotion,
        expression=expression,
        aspect=aspect,
        quality=quality,
        codec=codec,
        background=background,
        label=label,
        marks=marks,
    )


@router.post("/avatars", status_code=201, summary="Prepare a portrait")
def add_avatar(
    portrait: Annotated[UploadFile, File(description="a picture, a video, or a person file")],
    avatars: Avatars,
    face: Annotated[str, Form(description="largest, all, or an index")] = RenderOptions.face,
) -> AvatarFacts:
    """Find the face of a portrait and prepare it to speak. The id serves for videos and sessions."""
    return avatar_facts(avatars.add(portrait.file, portrait.filename or "", face))


@router.get("/avatars/{avatar_id}", summary="A prepared portrait")
def show_avatar(avatar_id: str, avatars: Avatars) -> AvatarFacts:
    """The size and the faces of a portrait."""
    return avatar_facts(avatars.get(avatar_id))


@router.delete("/avatars/{avatar_id}", status_code=204, summary="Forget a portrait")
def delete_avatar(avatar_id: str, avatars: Avatars) -> None:
    """Forget a portrait. Videos and sessions that have it go on."""
    avatars.delete(avatar_id)


@router.post("/videos", status_code=202, summary="Order a video")
def order_video(
    avatar: Annotated[str, Form(description="id of a portrait")],
    avatars: Avatars,
    videos: Videos,
    options: Annotated[RenderOptions, Depends(render_options)],
    speech: Annotated[UploadFile | None, File(description="a recording, or")] = None,
    text: Annotated[str | None, Form(description="a text to speak")] = None,
    voice: Annotated[str, Form(description="of /v1/voices; empty: guessed from the text")] = "",
) -> VideoFacts:
    """Let a portrait speak a recording or a text. The video is rendered when those before it are done."""
    if (speech is None) == (text is None):
        raise InputError("a video needs a recording (speech) or a text; give one of them")
    check_marks(options.marks, videos.limits)
    portrait = avatars.talker.resized(avatars.get(avatar).portrait, options.size)
    if speech is not None:
        video = videos.order_speech(portrait, speech.file, speech.filename or "", options)
    else:
        video = videos.order_text(portrait, text or "", voice, options)
    return video_facts(video, videos)


@router.get("/videos/{video_id}", summary="State of a video")
def show_video(video_id: str, videos: Videos) -> VideoFacts:
    """How far a video is."""
    return video_facts(videos.get(video_id), videos)


@router.get("/videos/{video_id}/events", summary="Progress of a video", response_class=EventSourceResponse)
async def follow_video(video_id: str, videos: Videos) -> EventSourceResponse:
    """Server-sent events `progress`, each with the state of the video, until it has ended."""
    video = videos.get(video_id)

    async def events() -> AsyncIterator[dict[str, str]]:
        last = None
        while True:
            ended = video.job.ended.is_set()
            facts = video_facts(video, videos)
            if facts != last:
                yield {"event": "progress", "data": json.dumps(facts.model_dump())}
            if ended:
                return
            last = facts
            await asyncio.sleep(POLL_SECONDS)

    return EventSourceResponse(events())


@router.get("/videos/{video_id}/file", summary="A finished video", response_class=FileResponse)
def read_video(video_id: str, videos: Videos) -> FileResponse:
    """The MP4, with content credentials and watermark unless they were left out."""
    video = videos.get(video_id)
    if video.job.state != "done":
        raise HTTPException(409, f"the video is {video.job.state}; it can be read when its state is done")
    return FileResponse(video.file, media_type="video/mp4", filename="anitalker.mp4")


@router.post("/videos/{video_id}/cancel", summary="Stop a video")
def cancel_video(video_id: str, videos: Videos) -> VideoFacts:
    """Cancel a video that waits or is rendered; one that has ended stays as it is."""
    video = videos.get(video_id)
    video.job.cancel()
    return video_facts(video, videos)


@router.delete("/videos/{video_id}", status_code=204, summary="Delete a video")
def delete_video(video_id: str, videos: Videos) -> None:
    """Cancel a video if it is not finished, and delete its file."""
    videos.delete(video_id)


@router.get("/voices", summary="Voices for texts")
def list_voices(videos: Videos) -> list[VoiceFacts]:
    """The voices that speak texts. The empty value guesses the language."""
    return [VoiceFacts(value=value, label=label) for label, value in videos.voices.choices()]


def avatar_facts(avatar: Avatar) -> AvatarFacts:
    """What clients are told of an avatar."""
    height, width = avatar.portrait.picture.shape[:2]
    return AvatarFacts(id=avatar.id, width=width, height=height, faces=list(avatar.portrait.indices))


def video_facts(video: Video, videos: VideoStore) -> VideoFacts:
    """What clients are told of a video."""
    job, result = video.job, None
    if job.state == "done":
        result = {key: value for key, value in job.result.items() if key != "output"}
    return VideoFacts(
        id=video.id,
        state=job.state,
        position=videos.position(video),
        stage=job.stage,
        done=job.done,
        total=job.total,
        seconds_left=job.seconds_left(),
        error=video.error,
        facts=result,
    )
