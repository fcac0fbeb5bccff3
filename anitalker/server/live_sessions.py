"""All live sessions of a server: at most so many, none without a client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import TYPE_CHECKING

from anitalker.config import RenderOptions
from anitalker.provenance.marks import frame_filters
from anitalker.server.live_session import LiveSession
from anitalker.server.metrics import Metrics
from anitalker.server.settings import ServerSettings
from anitalker.streaming.live_face import LiveFace
from anitalker.streaming.live_processes import LiveProcesses, default_count

if TYPE_CHECKING:
    from anitalker.pipeline import Portrait, Talker

CONNECT_SECONDS = 30.0  # from the answer to the connection
LOOK_SECONDS = 1.0  # between two looks for sessions that are over
log = logging.getLogger(__name__)


class UnknownSession(KeyError):
    """There is no session of this id: it never was, or has ended."""


class TooManySessions(Exception):
    """The server has as many sessions as it may; one line for the client."""


class LiveSessions:
    """Opens sessions and ends them. All methods run in the event loop."""

    def __init__(self, talker: Talker, settings: ServerSettings, metrics: Metrics) -> None:
        self.talker, self.settings, self.metrics = talker, settings, metrics
        self._sessions: dict[str, LiveSession] = {}
        self._looking: asyncio.Task | None = None
        count = default_count(talker.device) if settings.drawing_processes is None else settings.drawing_processes
        self._processes = LiveProcesses(talker, count) if count else None

    @property
    def count(self) -> int:
        """The number of sessions that are open, or about to be."""
        return len(self._sessions)

    async def open(
        self, portrait: Portrait, offer: str, microphone: str, options: RenderOptions
    ) -> tuple[LiveSession, str]:
        """Open a session: the session and its SDP answer. TooManySessions; InputError for a bad offer or option."""
        if self.count >= self.settings.max_sessions:
            self.metrics.refused.inc()
            raise TooManySessions(f"{self.count} sessions are open, and no more are allowed; try again later")
        session_id = secrets.token_hex(16)
        session = LiveSession(session_id, microphone, self.settings.ice_servers, self.metrics, self._forget)
        self._sessions[session.id] = session
        self.metrics.sessions.set(self.count)
        try:
            face = await asyncio.to_thread(self._make_face, portrait, options, session)
            answer = await session.answer(face, offer)
        except BaseException:  # a client that leaves meanwhile cancels this
            await asyncio.shield(session.close())
            raise
        self.metrics.opened.inc()
        return session, answer

    def _make_face(self, portrait: Portrait, options: RenderOptions, session: LiveSession) -> LiveFace:
        portrait = self.talker.resized(portrait, options.size)
        crop = (self.talker.model.size,) * 2
        height, width = portrait.picture.shape[:2] if options.frame == "full" else crop
        session.has_marks = options.marks
        filters = frame_filters(width, height, options.label, options.marks, session.identifier, options.label_language)
        if filters:
            # The watermark takes its place from the first frame that it sees: the same one in all processes.
            rest = next(self.talker.draw(portrait, [face.motion for face in portrait.faces], options))
            for apply_filter in filters:
                rest = apply_filter(rest)
        return LiveFace(
            self.talker,
            portrait,
            options,
            filters,
            on_frame=session.take_frame,
            on_event=session.take_event,
            processes=self._processes,
        )

    def get(self, session_id: str) -> LiveSession:
        """The session of an id; UnknownSession if there is none."""
        if session_id not in self._sessions:
            raise UnknownSession(session_id)
        return self._sessions[session_id]

    def all(self) -> list[LiveSession]:
        """All sessions, the oldest first."""
        return list(self._sessions.values())

    async def close(self, session_id: str) -> None:
        """End a session; UnknownSession if there is none."""
        await self.get(session_id).close()

    def load(self) -> None:
        """Start what draws now, not while the first client waits."""
        if self._processes is not None:
            self._processes.start()

    def start_looking(self) -> None:
        """Begin to end sessions that are over."""
        self._looking = asyncio.create_task(self._look_regularly())

    async def close_all(self) -> None:
        """End everything; the server ends."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await asyncio.gather(*(session.close() for session in self.all()))
        if self._processes is not None:
            await asyncio.to_thread(self._processes.close)

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for session in self.all():
                if session.is_over(now, CONNECT_SECONDS, self.settings.idle_seconds):
                    session.tell({"event": "closed", "reason": "idle"})
                    await session.close()

    def _forget(self, session: LiveSession) -> None:
        self._sessions.pop(session.id, None)
        self.metrics.sessions.set(self.count)
