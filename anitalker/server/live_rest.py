"""Routes of live sessions: WebRTC by offer and answer, speech by WebSocket, texts and interruptions."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import Annotated, Literal

import numpy as np
from fastapi import (
    APIRouter,
    Depends,
    File,
    Form,
    HTTPException,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.requests import HTTPConnection
from pydantic import BaseModel, Field

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.media.video import read_audio
from anitalker.provenance.synthetic_sound import has_synthetic_voice
from anitalker.server.avatars import save_upload
from anitalker.server.guard import POLICY_VIOLATION, SPEECH_PROTOCOL
from anitalker.server.limits import check_seconds, check_text
from anitalker.server.live_session import LiveSession, Messages
from anitalker.server.live_sessions import LiveSessions, UnknownSession
from anitalker.server.rest import STATUSES, Avatars, Videos
from anitalker.server.trickle_ice import MEDIA_TYPE, parse_fragment
from anitalker.server.videos import check_recording

LIVE_SIZE = 512  # pixels of the shorter side at most, where the client does not say
router = APIRouter(prefix="/v1/sessions", responses=STATUSES)


class Offer(BaseModel):
    """What a client offers.

    sdp: with its ICE candidates, or the first of them; avatar: id of a portrait; microphone: what becomes of the
    client's audio track; size, frame, seed, label: as for videos.
    """

    sdp: str = Field(max_length=100_000)
    type: Literal["offer"] = "offer"
    avatar: str
    microphone: Literal["speak", "listen", "off"] = "listen"
    size: int = LIVE_SIZE
    frame: Literal["full", "crop"] = "full"
    seed: int = RenderOptions.seed
    label: bool = RenderOptions.label


class Answer(BaseModel):
    """The answer. id: of the session; sdp: with all ICE candidates; delay: seconds from speech to frame."""

    id: str
    sdp: str
    type: Literal["answer"] = "answer"
    delay: float


class IceServerFacts(BaseModel):
    """A STUN or TURN server, as RTCPeerConnection takes it."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class SessionFacts(BaseModel):
    """A live session. waiting: seconds of speech that were not heard yet; frame_rate: 25, 20 or 15."""

    id: str
    connected: bool
    microphone: str
    waiting: float
    delay: float
    frame_rate: int


class Said(BaseModel):
    """What was taken to be spoken. seconds: its length; waiting: seconds until all that waits has been heard."""

    seconds: float
    waiting: float


def live_sessions(connection: HTTPConnection) -> LiveSessions:
    """The live sessions of this server."""
    return connection.app.state.sessions


Sessions = Annotated[LiveSessions, Depends(live_sessions)]


@router.post("", status_code=201, summary="Open a live session")
async def open_session(offer: Offer, avatars: Avatars, sessions: Sessions, response: Response) -> Answer:
    """Answer a WebRTC offer that receives audio and video. The face lives from now on; 429 if too many are open."""
    options = RenderOptions(seed=offer.seed, size=offer.size, frame=offer.frame, label=offer.label)
    portrait = avatars.get(offer.avatar).portrait
    session, sdp = await sessions.open(portrait, offer.sdp, offer.microphone, options)
    assert session.face is not None
    response.headers["location"] = f"sessions/{session.id}"
    return Answer(id=session.id, sdp=sdp, delay=session.face.delay)


@router.get("", summary="Sessions that are open")
async def list_sessions(sessions: Sessions) -> list[SessionFacts]:
    """All sessions of this server, for a voice agent that joins them."""
    return [session_facts(session) for session in sessions.all() if session.face is not None]


@router.get("/ice-servers", summary="STUN and TURN servers", response_model_exclude_none=True)
async def list_ice_servers(sessions: Sessions) -> list[IceServerFacts]:
    """The servers of --ice-servers, for the client's RTCPeerConnection."""
    servers = sessions.settings.ice_servers
    return [
        IceServerFacts(urls=list(server.urls), username=server.username, credential=server.credential)
        for server in servers
    ]


@router.get("/{session_id}", summary="State of a session")
async def show_session(session_id: str, sessions: Sessions) -> SessionFacts:
    """Whether a session is connected, and how it does."""
    session = sessions.get(session_id)
    if session.face is None:  # it is being opened
        raise UnknownSession(session_id)
    return session_facts(session)


@router.patch(
    "/{session_id}",
    status_code=204,
    summary="Add ICE candidates",
    openapi_extra={"requestBody": {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}, "required": True}},
)
async def add_candidates(session_id: str, request: Request, sessions: Sessions) -> None:
    """Candidates that the client has found after its offer (trickle ICE), as WHIP sends them: a fragment of SDP with
    `a=mid`, `a=candidate` and `a=end-of-candidates`. A new ufrag, which would restart ICE, is not looked at.
    """
    session = sessions.get(session_id)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise HTTPException(415, f"candidates come as {MEDIA_TYPE}", {"accept-patch": MEDIA_TYPE})
    body = await request.body()
    session.add_candidates(*parse_fragment(body.decode("utf-8", "replace")))


@router.delete("/{session_id}", status_code=204, summary="End a session")
async def close_session(session_id: str, sessions: Sessions) -> None:
    """End a session and its connection."""
    await sessions.close(session_id)


@router.post("/{session_id}/interrupt", status_code=204, summary="Interrupt the face")
async def interrupt(session_id: str, sessions: Sessions) -> None:
    """Drop what waits to be said; the voice falls silent and the lips close within 200 ms."""
    sessions.get(session_id).interrupt()


@router.post("/{session_id}/say", status_code=202, summary="Say a text or a recording")
def say(
    session_id: str,
    sessions: Sessions,
    videos: Videos,
    text: Annotated[str | None, Form(description="a text to speak, or")] = None,
    voice: Annotated[str, Form(description="of /v1/voices; empty: guessed from the text")] = "",
    speech: Annotated[UploadFile | None, File(description="a recording")] = None,
) -> Said:
    """Speak behind what waits already, sentence by sentence, and tell `turn_ended` when it has been heard."""
    session = sessions.get(session_id)
    if (speech is None) == (text is None):
        raise InputError("the face needs a recording (speech) or a text; give one of them")
    if speech is not None:
        seconds = _say_recording(session, speech, videos)
    else:
        seconds = session.say_text(check_text(text, videos.limits), videos.voices.resolve(voice))
    return Said(seconds=seconds, waiting=session.face.waiting_seconds if session.face else 0.0)


def _say_recording(session: LiveSession, speech: UploadFile, videos: Videos) -> float:
    turn, name = session.turn, speech.filename or ""
    file = save_upload(speech.file, name, videos.folder)
    try:
        check_recording(file, name, videos.limits)
        samples = read_audio(file)
        if has_synthetic_voice([file]):
            samples = session.mark_synthetic(samples)
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)
    seconds = len(samples) / SAMPLE_RATE
    check_seconds(seconds, "recording", videos.limits)
    if session.say_samples(samples, turn):
        session.end_of_turn()
    return seconds


@router.websocket("/{session_id}/speech")
async def speech_socket(socket: WebSocket, session_id: str, sessions: Sessions, microphone: bool = False) -> None:
    """Speech as it is made: binary messages are 16-bit little-endian mono PCM at 16 kHz, texts are `end_of_turn` and
    `interrupt`. Every message of the session comes back as JSON, as over its data channel. With `?microphone=true`
    what the client says comes, too, as binary messages of the same kind: a voice agent hears and speaks here.
    """
    offered = socket.headers.get("sec-websocket-protocol", "")
    try:
        session = sessions.get(session_id)
    except UnknownSession:
        await socket.close(POLICY_VIOLATION)
        return
    await socket.accept(SPEECH_PROTOCOL if SPEECH_PROTOCOL in [name.strip() for name in offered.split(",")] else None)
    queue = session.subscribe(microphone)
    telling = asyncio.create_task(_tell_all(socket, queue))
    try:
        await _take_speech(socket, session)
    except InputError as error:
        with contextlib.suppress(RuntimeError):  # it is closed already
            await socket.close(POLICY_VIOLATION, str(error)[:120])
    finally:
        session.unsubscribe(queue)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _take_speech(socket: WebSocket, session: LiveSession) -> None:
    odd = b""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (data := message.get("bytes")) is not None:
            data = odd + data
            whole = len(data) // 2 * 2
            odd = data[whole:]
            samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768
            if not session.say_samples(samples):
                return
        elif message.get("text") == "end_of_turn":
            session.end_of_turn()
        elif message.get("text") == "interrupt":
            odd = b""
            session.interrupt()
        else:
            raise InputError("a text is none of end_of_turn and interrupt; speech comes as binary messages")


async def _tell_all(socket: WebSocket, queue: Messages) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            message = await queue.get()
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))


def session_facts(session: LiveSession) -> SessionFacts:
    """What clients are told of a session."""
    face = session.face
    assert face is not None
    return SessionFacts(
        id=session.id,
        connected=session.connected,
        microphone=session.microphone,
        waiting=face.waiting_seconds,
        delay=face.delay,
        frame_rate=face.frame_rate.rate,
    )
