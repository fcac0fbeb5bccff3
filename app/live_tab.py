"""The tab Live: the portrait of step 1 listens, and says what it hears or what is written, now."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anitalker.config import InputError
from anitalker.server.settings import missing_package

from . import components
from .inputs import Inputs
from .models import Models
from .sessions import SessionStore

if TYPE_CHECKING:
    from .live_routes import LiveRoutes

HINT = (
    "<p class='limits'>The portrait of step 1 looks at you, listens, and says what you say or write, a fifth of a "
    "second later. Its head moves, its eyes blink. Pictures carry a watermark.</p>"
)
EMPTY = ""


class LiveFaces(Inputs):
    """Makes visitors' portraits ready to live."""

    def __init__(self, models: Models, sessions: SessionStore, routes: LiveRoutes) -> None:
        super().__init__(models, sessions)
        self.routes = routes

    def wake(self, portrait: object, face: object, request: gr.Request) -> str:
        """Prepare a portrait: HTML with the live page for it, or one line that says why not."""
        session = self._session(request)
        try:
            file = self._visitor_file(portrait, session, "portrait")
            avatar = self.routes.add_avatar(session.id, file, str(face or "largest"))
        except InputError as error:
            return self._refusal(error)
        address = f"{self.routes.prefix.lstrip('/')}?avatar={escape(avatar.id)}"
        return f"<iframe id='live-face' src='{address}' title='The live face' allow='microphone; autoplay'></iframe>"


def build(live: LiveFaces | None, portrait: gr.Image, face: gr.Radio) -> None:
    """Lay out the tab, inside the page's tabs, and connect it. live: None where the extra is not installed."""
    with gr.Tab("Live", id="live", elem_id="tab-live"):
        gr.HTML(HINT)
        if live is None:
            missing = f"{missing_package()} is not installed on this server. Whoever runs it installs the extra: "
            gr.HTML(components.message(f'{missing}pip install "anitalker[serve]"', "warn"))
            return
        wake = gr.Button("Wake it up", variant="primary", size="lg", elem_id="wake")
        stage = gr.HTML(EMPTY, label="Live", elem_id="live-stage", container=False)
        quiet: dict[str, Any] = {"preprocess": False, "concurrency_limit": 2, "api_visibility": "private"}
        wake.click(live.wake, [portrait, face], stage, **quiet)
        portrait.change(lambda: EMPTY, None, stage, queue=False, api_visibility="private")
